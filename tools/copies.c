// SPDX-License-Identifier: GPL-2.0
#include "copies.h"

/* ---------------------------------------------------------------- sets of sectors */

/* Room for one more of @size bytes in an array that doubles. NULL where there is no memory. */
static void *grow(void *v, size_t *room, size_t nr, size_t size)
{
	size_t want = *room ? *room * 2 : 64;

	if (nr < *room)
		return v;
	v = realloc(v, want * size);
	if (v)
		*room = want;
	return v;
}

int ranges_add(struct ranges *r, u64 first, u64 nr)
{
	struct range *last = r->nr ? &r->v[r->nr - 1] : NULL, *v;

	if (!nr)
		return 0;
	if (last && last->first + last->nr == first) {
		last->nr += nr;
		return 0;
	}
	v = grow(r->v, &r->room, r->nr, sizeof(*r->v));
	if (!v)
		return -ENOMEM;
	r->v = v;
	r->v[r->nr++] = (struct range){ first, nr };
	return 0;
}

int ranges_add_block(struct ranges *r, u64 block, u8 mask)
{
	unsigned int i;

	for (i = 0; i < WB_BLOCK_SECTORS; i++) {
		if ((mask >> i) & 1 && ranges_add(r, (block << WB_BLOCK_SECTOR_SHIFT) + i, 1))
			return -ENOMEM;
	}
	return 0;
}

static int by_first(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

void ranges_merge(struct ranges *r)
{
	struct range *to;
	size_t i, nr = 0;
	u64 end;

	r->sectors = 0;
	if (!r->nr)
		return;
	qsort(r->v, r->nr, sizeof(*r->v), by_first);
	to = r->v;
	for (i = 1; i < r->nr; i++) {
		end = r->v[i].first + r->v[i].nr;
		if (r->v[i].first > to->first + to->nr)
			*++to = r->v[i];
		else if (end > to->first + to->nr)
			to->nr = end - to->first;
	}
	nr = (size_t)(to - r->v) + 1;
	for (i = 0; i < nr; i++)
		r->sectors += r->v[i].nr;
	r->nr = nr;
}

void ranges_free(struct ranges *r)
{
	free(r->v);
	*r = (struct ranges){ 0 };
}

/* ---------------------------------------------------------------- copies */

int copies_add_chunk(struct copies *c, const struct wb_geom *g, const struct wb_header *h,
		     const struct wb_header_disk *raw)
{
	struct wb_entry e;
	struct copy *v;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		v = grow(c->v, &c->room, c->nr, sizeof(*c->v));
		if (!v)
			return -ENOMEM;
		c->v = v;
		c->v[c->nr++] = (struct copy){
			.block = e.block,
			.place = (u32)(wb_slot_of(g, h->id) * g->slot_blocks + h->block + 1 + i),
			.crc = e.crc,
			.mask = e.mask,
			.tombstone = e.flags & WB_ENTRY_TOMBSTONE,
		};
	}
	return 0;
}

/*
 * Which sectors of which blocks a newer copy has: an open hash table, at most half full. A key of 0
 * is a free entry, so keys are blocks plus one.
 */
struct seen {
	u64 *key;
	u8 *mask;
	size_t size;
};

static u8 *seen_mask(struct seen *s, u64 block)
{
	size_t at = (size_t)((block + 1) * 0x9e3779b97f4a7c15ull >> 20) & (s->size - 1);

	while (s->key[at] && s->key[at] != block + 1)
		at = (at + 1) & (s->size - 1);
	s->key[at] = block + 1;
	return &s->mask[at];
}

/* Is @block in one of the ranges? They are disjoint and sorted; here they count blocks. */
static bool discarded(const struct ranges *r, u64 block)
{
	size_t low = 0, high = r->nr, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (block < r->v[mid].first)
			high = mid;
		else if (block >= r->v[mid].first + r->v[mid].nr)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

static int resolve(struct copies *c, struct seen *seen, struct ranges *dead)
{
	struct copy *e;
	size_t i, waiting = 0;
	u8 *mask;

	for (i = c->nr; i-- > 0;) {
		e = &c->v[i];
		e->live = 0;
		if (e->tombstone) {
			if (ranges_add(dead, e->block, e->crc))
				return -ENOMEM;
			waiting++;
			continue;
		}
		if (waiting) {		/* sort once for a run of tombstones */
			ranges_merge(dead);
			waiting = 0;
		}
		if (discarded(dead, e->block))
			continue;
		mask = seen_mask(seen, e->block);
		e->live = e->mask & (u8)~*mask;
		if (!*mask)
			c->live_blocks++;
		*mask |= e->mask;
		c->live_sectors += hweight8(e->live);
	}
	return 0;
}

int copies_resolve(struct copies *c)
{
	struct seen seen = { .size = 64 };
	struct ranges dead = { 0 };
	int e = -ENOMEM;

	c->live_blocks = 0;
	c->live_sectors = 0;
	while (seen.size < c->nr * 2)
		seen.size *= 2;
	seen.key = calloc(seen.size, sizeof(*seen.key));
	seen.mask = calloc(seen.size, sizeof(*seen.mask));
	if (seen.key && seen.mask)
		e = resolve(c, &seen, &dead);
	free(seen.key);
	free(seen.mask);
	ranges_free(&dead);
	return e;
}

static int by_block(const void *a, const void *b)
{
	const struct copy *x = a, *y = b;

	return x->block < y->block ? -1 : x->block > y->block;
}

void copies_sort(struct copies *c)
{
	if (c->nr)
		qsort(c->v, c->nr, sizeof(*c->v), by_block);
}

void copies_free(struct copies *c)
{
	free(c->v);
	*c = (struct copies){ 0 };
}
