// SPDX-License-Identifier: GPL-2.0
#include "index.h"

static u32 log2_floor(u64 n)
{
	u32 bits = 0;

	while (n >>= 1)
		bits++;
	return bits;
}

void wb_index_lay_out(struct wb_index *ix, const struct wb_geom *g)
{
	memset(ix, 0, sizeof(*ix));
	ix->nr_places = g->nr_slots * g->slot_blocks;
	ix->slot_shift = log2_floor(g->slot_blocks);
	/* Rounded down: two to four places for each bucket. */
	ix->group_bits = log2_floor(ix->nr_places / 2) - WB_INDEX_GROUP_SHIFT;
	if (ix->nr_places / 2 < (1u << WB_INDEX_GROUP_SHIFT))
		ix->group_bits = 0;
	/*
	 * Fibonacci hashing: the high bits of a product with 2^37 / golden ratio (Knuth, TAOCP 6.4), for
	 * a group has a number of 37 bits; at the top of a word, so that whatever stands above the number
	 * does not matter. All blocks are of one group if there is but one.
	 */
	ix->hash = ix->group_bits ? 0x13c6ef372full << 27 : 0;
	ix->hash_shift = ix->group_bits ? 64 - ix->group_bits : 0;
}

static size_t entries_size(const struct wb_index *ix)
{
	return ix->nr_places * sizeof(*ix->entries);
}

static size_t heads_size(const struct wb_index *ix)
{
	return sizeof(*ix->heads) << (ix->group_bits + WB_INDEX_GROUP_SHIFT);
}

u64 wb_index_bytes(const struct wb_geom *g)
{
	struct wb_index ix;

	wb_index_lay_out(&ix, g);
	return (u64)entries_size(&ix) + heads_size(&ix);
}

int wb_index_init(struct wb_index *ix, const struct wb_geom *g)
{
	wb_index_lay_out(ix, g);
	ix->entries = wb_zalloc(entries_size(ix));
	ix->heads = wb_zalloc(heads_size(ix));
	if (!ix->entries || !ix->heads) {
		wb_index_exit(ix);
		return -ENOMEM;
	}
	return 0;
}

void wb_index_exit(struct wb_index *ix)
{
	wb_free(ix->entries);
	wb_free(ix->heads);
	ix->entries = NULL;
	ix->heads = NULL;
}

void wb_index_clear(struct wb_index *ix)
{
	memset(ix->entries, 0, entries_size(ix));
	memset(ix->heads, 0, heads_size(ix));
}

/* Of @block the low 40 bits count. */
static u32 *head_of(const struct wb_index *ix, u64 block)
{
	return &ix->heads[(wb_index_group(ix, block) << WB_INDEX_GROUP_SHIFT) +
			  (block & ((1u << WB_INDEX_GROUP_SHIFT) - 1))];
}

static bool is_copy_of(const struct wb_index_entry *e, u64 block)
{
	return e->block_lo == cpu_to_le32((u32)block) && e->block_hi == (u8)(block >> 32);
}

static u32 find(const struct wb_index *ix, u32 link, u64 block)
{
	while (link && !is_copy_of(&ix->entries[link - 1], block))
		link = ix->entries[link - 1].next;
	return link ? link - 1 : WB_NO_PLACE;
}

u32 wb_index_first(const struct wb_index *ix, u64 block)
{
	return find(ix, *head_of(ix, block), block);
}

u32 wb_index_next(const struct wb_index *ix, u32 place)
{
	const struct wb_index_entry *e = &ix->entries[place];

	return find(ix, e->next, wb_index_block(e));
}

static void drop_link(struct wb_index *ix, u32 *link, wb_index_count_fn count, void *ctx)
{
	u32 place = *link - 1;
	struct wb_index_entry *e = &ix->entries[place];

	*link = e->next;
	if (!(e->flags & WB_ENTRY_SHADOWED))
		count(ctx, place, -1);
	e->flags = 0;
	e->next = 0;
}

/*
 * Judge all copies of @block anew, newest to oldest, after something was published: which are
 * covered by newer ones (they no longer count), and by newer durable ones (they go).
 */
static void settle(struct wb_index *ix, u64 block, const struct wb_index_view *v,
		   wb_index_count_fn count, void *ctx)
{
	u32 *link = head_of(ix, block);
	u8 covered = 0, durable = 0;
	struct wb_index_entry *e;

	while (*link) {
		e = &ix->entries[*link - 1];
		if (!is_copy_of(e, block)) {
			link = &e->next;
			continue;
		}
		if (!(e->mask & ~durable)) {
			drop_link(ix, link, count, ctx);
			continue;
		}
		if (!(e->mask & ~covered) && !(e->flags & WB_ENTRY_SHADOWED)) {
			e->flags |= WB_ENTRY_SHADOWED;
			count(ctx, *link - 1, -1);
		}
		covered |= e->mask;
		if (wb_index_rank(ix, v, *link - 1) < v->durable_rank)
			durable |= e->mask;
		link = &e->next;
	}
}

static void link_in(const struct wb_index *ix, u32 *link, u64 block, u32 place, u8 mask)
{
	ix->entries[place] = (struct wb_index_entry){
		.block_lo = cpu_to_le32((u32)block),
		.block_hi = (u8)(block >> 32),
		.mask = mask,
		.flags = WB_ENTRY_LINKED,
		.next = *link,
	};
	*link = place + 1;
}

void wb_index_insert_only(struct wb_index *ix, u64 block, u32 place, u8 mask)
{
	link_in(ix, head_of(ix, block), block, place, mask);
}

/*
 * Publish a copy of all of a block, newer than all others, which therefore go. @head: its bucket.
 */
static void replace(struct wb_index *ix, u32 *head, u64 block, u32 place, wb_index_count_fn count,
		    void *ctx)
{
	u32 *link = head;

	while (*link) {
		if (is_copy_of(&ix->entries[*link - 1], block))
			drop_link(ix, link, count, ctx);
		else
			link = &ix->entries[*link - 1].next;
	}
	link_in(ix, head, block, place, WB_MASK_ALL);
}

/*
 * Publish a copy whose entry on the media has this word and no flags, if there is no other of its
 * block. A start spends half of its time here.
 */
static __always_inline bool load_first(const struct wb_index *ix, struct wb_index_entry *e,
				       u32 place, u64 word)
{
	u32 *head = head_of(ix, word);
	u32 old = *head;
	__le64 disk = cpu_to_le64(word);

	if (unlikely(old) && find(ix, old, word & WB_ENTRY_BLOCK) != WB_NO_PLACE)
		return false;
	memcpy(e, &disk, sizeof(disk));
	e->flags = WB_ENTRY_LINKED;
	e->next = old;
	*head = place + 1;
	return true;
}

/* As many as can be loaded so. Eight at a time, or to count them would cost as much as a fifth of it. */
static u32 load_firsts(const struct wb_index *index, const struct wb_header_disk *raw, u32 from,
		       u32 nr, u32 place)
{
	const struct wb_index ix = *index;	/* so that the compiler sees that nothing here changes it */
	struct wb_index_entry *e = &ix.entries[place + from];
	const struct wb_entry_disk *d = &raw->entry[from], *end = &raw->entry[nr];
	u32 at = place + from;

	for (; end - d >= 8; at += 8, e += 8, d += 8) {
		if (!load_first(&ix, e, at, wb_entry_word(d)))
			return at - place;
		if (!load_first(&ix, e + 1, at + 1, wb_entry_word(d + 1)))
			return at + 1 - place;
		if (!load_first(&ix, e + 2, at + 2, wb_entry_word(d + 2)))
			return at + 2 - place;
		if (!load_first(&ix, e + 3, at + 3, wb_entry_word(d + 3)))
			return at + 3 - place;
		if (!load_first(&ix, e + 4, at + 4, wb_entry_word(d + 4)))
			return at + 4 - place;
		if (!load_first(&ix, e + 5, at + 5, wb_entry_word(d + 5)))
			return at + 5 - place;
		if (!load_first(&ix, e + 6, at + 6, wb_entry_word(d + 6)))
			return at + 6 - place;
		if (!load_first(&ix, e + 7, at + 7, wb_entry_word(d + 7)))
			return at + 7 - place;
	}
	while (d < end && load_first(&ix, e++, at, wb_entry_word(d++)))
		at++;
	return at - place;
}

u32 wb_index_load(struct wb_index *ix, const struct wb_header *h, const struct wb_header_disk *raw,
		  u32 from, u32 place, wb_index_count_fn count, void *ctx)
{
	struct wb_entry e;
	u32 i = from;
	u32 *head;

	for (;;) {
		if (!h->nr_tombstones)
			i = load_firsts(ix, raw, i, h->nr_entries, place);
		if (i == h->nr_entries)
			return i;
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			return i;
		head = head_of(ix, e.block);
		if (e.mask == WB_MASK_ALL)
			replace(ix, head, e.block, place + i, count, ctx);
		else if (find(ix, *head, e.block) == WB_NO_PLACE)
			link_in(ix, head, e.block, place + i, e.mask);
		else
			return i;
		i++;
	}
}

void wb_index_insert(struct wb_index *ix, u64 block, u32 place, u8 mask,
		     const struct wb_index_view *v, wb_index_count_fn count, void *ctx)
{
	struct wb_index_entry *other;
	u64 rank = wb_index_rank(ix, v, place);
	u32 *head = head_of(ix, block), *link = head;
	bool others = false;

	/* Behind the copies of this block that are newer; before all else. */
	for (u32 *l = head; *l; l = &other->next) {
		other = &ix->entries[*l - 1];
		if (!is_copy_of(other, block))
			continue;
		others = true;
		if (wb_index_rank(ix, v, *l - 1) < rank)
			break;
		link = &other->next;
	}
	link_in(ix, link, block, place, mask);
	count(ctx, place, 1);
	if (others)
		settle(ix, block, v, count, ctx);
}

void wb_index_grow(struct wb_index *ix, u32 place, u8 mask, const struct wb_index_view *v,
		   wb_index_count_fn count, void *ctx)
{
	struct wb_index_entry *e = &ix->entries[place];

	if (!(mask & ~e->mask))
		return;
	e->mask |= mask;
	settle(ix, wb_index_block(e), v, count, ctx);
}

void wb_index_unlink(struct wb_index *ix, u32 place, wb_index_count_fn count, void *ctx)
{
	u32 *link = head_of(ix, wb_index_block(&ix->entries[place]));

	while (*link != place + 1)
		link = &ix->entries[*link - 1].next;
	drop_link(ix, link, count, ctx);
}

u8 wb_index_live(const struct wb_index *ix, u32 place, const struct wb_index_view *v)
{
	const struct wb_index_entry *e = &ix->entries[place];
	u8 durable = 0;
	u32 p;

	if (!(e->flags & WB_ENTRY_LINKED))
		return 0;
	for (p = wb_index_first(ix, wb_index_block(e)); p != place; p = wb_index_next(ix, p))
		if (wb_index_rank(ix, v, p) < v->durable_rank)
			durable |= ix->entries[p].mask;
	return e->mask & ~durable;
}
