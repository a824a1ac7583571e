/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The copies of backing blocks that a log holds, and which sectors of which copy are the newest.
 *
 * Copies are added in log order. Resolving goes through them backwards: a sector is live in the
 * newest copy that has it, unless a later tombstone discarded the block. Only live sectors matter:
 * they are what migration would write, and what damage to them would lose.
 */
#ifndef COPIES_H
#define COPIES_H

#include "encode.h"

struct copy {
	u64 block;	/* backing block */
	u32 place;	/* its data: slot * slot_blocks + block in the slot */
	u32 crc;	/* of the valid sectors; of a tombstone, the number of blocks */
	u8 mask;	/* sectors it has */
	u8 live;	/* sectors that are the newest, after copies_resolve() */
	bool tombstone;
	bool bad;	/* data unreadable or its checksum wrong */
};

static_assert(sizeof(struct copy) == 24, "there may be hundreds of millions");

struct copies {
	struct copy *v;
	size_t nr, room;
	u64 live_blocks;	/* after copies_resolve(): different backing blocks */
	u64 live_sectors;
};

/* Add all entries of an accepted chunk. Return: 0 or -ENOMEM. */
int copies_add_chunk(struct copies *c, const struct wb_geom *g, const struct wb_header *h,
		     const struct wb_header_disk *raw);

/* Find what is live. Return: 0 or -ENOMEM. */
int copies_resolve(struct copies *c);

/* Sort by backing block, for writing in that order. Log order is lost. */
void copies_sort(struct copies *c);

void copies_free(struct copies *c);

/*
 * A set of backing sectors, told as ranges.
 */
struct range {
	u64 first, nr;	/* sectors */
};

struct ranges {
	struct range *v;
	size_t nr, room;
	u64 sectors;	/* after ranges_merge() */
};

/* Add the sectors @mask of block @block. Return: 0 or -ENOMEM. */
int ranges_add_block(struct ranges *r, u64 block, u8 mask);
int ranges_add(struct ranges *r, u64 first, u64 nr);

/* Sort and join what touches or overlaps. */
void ranges_merge(struct ranges *r);
void ranges_free(struct ranges *r);

#endif /* COPIES_H */
