/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The index: backing block -> the places where copies of it lie.
 *
 * A *place* is a block of the slots, counted through: slot * slot_blocks + block in the slot. There
 * is one entry for each place, in one array, so an entry needs no pointer to its place and a place
 * finds its entry without a search. Entries of one hash bucket are chained by place; those of one
 * backing block stand in the chain newest first. 12 bytes for a place and 4 for a bucket of two to
 * four: at most 14 bytes for each cached block.
 *
 *   heads[bucket] ─▶ place ─▶ place ─▶ place       entries[place] = block, mask, flags, next
 *
 * Newer and older. The log is a ring, so the age of a place follows from where the ring's head is.
 * Places up to the end of the highest *prepared* slot belong to its lap or stand before it in this
 * one; those behind belong to the lap before. wb_index_rank() turns that into one number that grows
 * with age's opposite: of two copies the one of higher rank is the newer write.
 *
 * Dead copies. A copy is superseded, sector by sector, by newer ones. But a newer copy that is not
 * durable yet protects nothing: until it is, the older one must stay. So an entry is unlinked only
 * when copies *at or before the durable point* cover all its sectors (pruning, at each insert), or
 * when its slot is reused. An entry that newer copies cover, durable or not, is SHADOWED: it does
 * not count as cached, though it is still here.
 *
 * Locking: this file takes no lock. A call for a block must be made under that block's bucket lock
 * (wb_index_lock_nr()), which makes lookup, insert and unlink of that block's copies one step
 * against each other. Blocks of one aligned group of eight share a lock and a cache line of heads.
 */
#ifndef WB_INDEX_H
#define WB_INDEX_H

#include "encode.h"

#define WB_INDEX_LOCKS		1024u	/* a power of two */
#define WB_INDEX_GROUP_SHIFT	3

#define WB_NO_PLACE		0xffffffffu

#define WB_ENTRY_LINKED		0x01	/* in its chain */
#define WB_ENTRY_SHADOWED	0x02	/* newer copies cover all of it */
#define WB_ENTRY_ROTTEN		0x04	/* its data on the cache device is known to be bad */

/* Its first eight bytes are those of an entry on the media (wb_entry_word()), but for the flags. */
struct wb_index_entry {
	__le32 block_lo;
	u8 block_hi;
	u8 mask;
	u8 flags;
	u8 unused;
	u32 next;	/* place + 1 of the next in the chain, 0 = end */
};

static_assert(sizeof(struct wb_index_entry) == 12, "12 bytes for a cached block");

/**
 * struct wb_index - the index of one cache
 * @entries: one for each place
 * @heads: place + 1 of the first in each bucket, 0 = none
 * @nr_places: places
 * @slot_shift: log2 of blocks in a slot
 * @group_bits: log2 of the number of groups of eight buckets
 * @hash: what a block's number is multiplied with
 * @hash_shift: the low bits of the product, which do not count
 */
struct wb_index {
	struct wb_index_entry *entries;
	u32 *heads;
	u64 nr_places;
	u32 slot_shift;
	u32 group_bits;
	u32 hash_shift;
	u64 hash;
};

/**
 * struct wb_index_view - what "newer" and "durable" mean at the moment of a call
 * @head_end: place after the highest prepared slot: all before it are of its lap
 * @durable_rank: copies of a rank below this are at or before the durable point
 *
 * Read under the bucket lock, after taking it: whoever published a copy under that lock had seen
 * its slot prepared.
 */
struct wb_index_view {
	u64 head_end;
	u64 durable_rank;
};

/** wb_index_bytes() - the memory that the index of such a cache takes */
u64 wb_index_bytes(const struct wb_geom *g);

/** Return: 0 or -ENOMEM. May sleep. */
int wb_index_init(struct wb_index *ix, const struct wb_geom *g);
void wb_index_exit(struct wb_index *ix);

/* The numbers of an index for @g, without its memory: a test brings its own. */
void wb_index_lay_out(struct wb_index *ix, const struct wb_geom *g);

/* Forget everything. No one else may use the index meanwhile. */
void wb_index_clear(struct wb_index *ix);

static inline u64 wb_index_group(const struct wb_index *ix, u64 block)
{
	return ((block >> WB_INDEX_GROUP_SHIFT) * ix->hash) >> ix->hash_shift;
}

static inline u32 wb_index_lock_nr(const struct wb_index *ix, u64 block)
{
	return wb_index_group(ix, block) & (WB_INDEX_LOCKS - 1);
}

static inline u64 wb_index_rank(const struct wb_index *ix, const struct wb_index_view *v, u32 place)
{
	return place < v->head_end ? place + ix->nr_places : place;
}

static inline u64 wb_index_block(const struct wb_index_entry *e)
{
	return le32_to_cpu(e->block_lo) | ((u64)e->block_hi << 32);
}

/**
 * wb_index_first() - the newest copy of @block
 *
 * Return: its place or WB_NO_PLACE.
 */
u32 wb_index_first(const struct wb_index *ix, u64 block);

/** wb_index_next() - the next older copy of the same block */
u32 wb_index_next(const struct wb_index *ix, u32 place);

/* What an insert did to the older copies: slots whose count of cached blocks changes. */
typedef void (*wb_index_count_fn)(void *ctx, u32 place, int delta);

/**
 * wb_index_insert() - publish the copy at @place
 * @block: backing block
 * @mask: its valid sectors
 * @v: the view
 * @count: called with +1 for a copy that begins to count as cached and -1 for one that ceases to
 * @ctx: for @count
 *
 * Racing writers may insert out of order: the place decides which is newer. Older copies that
 * durable ones cover are unlinked, those covered at all become SHADOWED.
 */
void wb_index_insert(struct wb_index *ix, u64 block, u32 place, u8 mask,
		     const struct wb_index_view *v, wb_index_count_fn count, void *ctx);

/**
 * wb_index_insert_only() - publish the copy at @place of a block that has no other
 *
 * wb_index_first() must have said so under the same hold of the lock. Needs no view; the caller
 * counts the copy.
 */
void wb_index_insert_only(struct wb_index *ix, u64 block, u32 place, u8 mask);

/**
 * wb_index_load() - publish the copies of a chunk that was read back, as far as they are simple
 * @h: its header, decoded
 * @raw: its header
 * @from: first entry
 * @place: place of entry 0
 * @count: called with -1 for each copy that ceases to count as cached. Those of the chunk that begin
 *	to are left to the caller
 * @ctx: for @count
 *
 * Goes on while each is a copy of all of its block, or of a block that has no other. For recovery,
 * which nobody shares the index with, and to which all that it reads is durable and newer than what
 * it has read: no lock, no view.
 *
 * Return: the entry where that ends: @h->nr_entries, a tombstone, or a copy for wb_index_insert().
 */
u32 wb_index_load(struct wb_index *ix, const struct wb_header *h, const struct wb_header_disk *raw,
		  u32 from, u32 place, wb_index_count_fn count, void *ctx);

/**
 * wb_index_grow() - the linked copy at @place got more valid sectors (overwritten in RAM)
 *
 * As wb_index_insert() for what it now covers.
 */
void wb_index_grow(struct wb_index *ix, u32 place, u8 mask, const struct wb_index_view *v,
		   wb_index_count_fn count, void *ctx);

/** wb_index_unlink() - take the linked copy at @place out of its chain */
void wb_index_unlink(struct wb_index *ix, u32 place, wb_index_count_fn count, void *ctx);

/**
 * wb_index_live() - the sectors of the copy at @place that migration has to write
 *
 * Its valid sectors without those of newer copies at or before the durable point of @v. 0 if it is
 * not linked any more.
 */
u8 wb_index_live(const struct wb_index *ix, u32 place, const struct wb_index_view *v);

#endif /* WB_INDEX_H */
