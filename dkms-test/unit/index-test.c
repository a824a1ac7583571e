// SPDX-License-Identifier: GPL-2.0
/*
 * The index against a naive map.
 *
 * A small ring of slots is written lap after lap. Places are reserved in log order and published in
 * racing order; the durable point follows; slots are purged and prepared anew; blocks are
 * discarded. The model keeps every copy that was published, sector by sector, and never prunes:
 * reads must find the newest copy of every sector, migration must write every sector whose newest
 * durable copy lies in the segment, and no copy may go before durable ones cover it.
 */
#include "index.h"
#include "test.h"

#define MAX_COPIES 512
#define NR_BLOCKS 40

/* @pos counts blocks of the log through all laps: (id - 1) * slot_blocks + block in the slot. */
struct copy {
	u64 pos;
	u64 block;
	u8 mask;
	bool published;
	bool dead;	/* the model allows the index to have dropped it: durable ones cover it */
	bool counted;
};

struct model {
	struct wb_geom geom;
	struct wb_index ix;
	struct rng r;
	struct copy c[MAX_COPIES];	/* in log order */
	u32 nr;
	u64 next;		/* position of the next reservation */
	u64 head;		/* highest prepared segment */
	u64 durable;		/* all positions below are durable */
	s64 *live;		/* what was counted, by slot */
	u64 blocks[NR_BLOCKS];	/* the backing blocks in use */
};

static u32 place_of(const struct model *m, u64 pos)
{
	return (u32)(pos % m->ix.nr_places);
}

static struct wb_index_view view(const struct model *m)
{
	u64 end = m->head * m->geom.slot_blocks;	/* position behind the head */
	u64 head_end = (end - 1) % m->ix.nr_places + 1;

	return (struct wb_index_view){
		.head_end = head_end,
		.durable_rank = head_end + m->ix.nr_places - (end - m->durable),
	};
}

static void count(void *ctx, u32 place, int delta)
{
	struct model *m = ctx;
	u32 i;

	for (i = 0; i < m->nr; i++)
		if (m->c[i].published && place_of(m, m->c[i].pos) == place)
			break;
	CHECK(i < m->nr && (delta == 1 || delta == -1));
	CHECK(m->c[i].counted == (delta < 0));
	m->c[i].counted = delta > 0;
	m->live[place / m->geom.slot_blocks] += delta;
}

/* What newer published copies of the same block cover: all of them, or those that are durable. */
static u8 covered(const struct model *m, u32 i, bool durable)
{
	u8 mask = 0;
	u32 k;

	for (k = i + 1; k < m->nr; k++)
		if (m->c[k].published && m->c[k].block == m->c[i].block &&
		    (!durable || m->c[k].pos < m->durable))
			mask |= m->c[k].mask;
	return mask;
}

static void check_block(struct model *m, u64 block)
{
	struct wb_index_view v = view(m);
	u8 found = 0, linked;
	u32 place, i, steps = 0, chain[MAX_COPIES];

	for (place = wb_index_first(&m->ix, block); place != WB_NO_PLACE;
	     place = wb_index_next(&m->ix, place)) {
		CHECKF(steps < MAX_COPIES, "the chain is a loop");
		CHECK(m->ix.entries[place].flags & WB_ENTRY_LINKED);
		CHECK(wb_index_block(&m->ix.entries[place]) == block);
		CHECKF(!steps || wb_index_rank(&m->ix, &v, chain[steps - 1]) >
		       wb_index_rank(&m->ix, &v, place), "not newest first");
		chain[steps++] = place;
	}
	/* Newest to oldest: the model's copies and the chain. */
	linked = 0;
	found = 0;
	for (i = m->nr; i--; ) {
		struct copy *c = &m->c[i];
		u32 k;

		if (!c->published || c->block != block)
			continue;
		place = place_of(m, c->pos);
		for (k = 0; k < steps && chain[k] != place; k++)
			;
		if (k == steps) {
			CHECKF(c->dead,
			       "copy of block %llu at %llu is gone: mask %02x, durably covered %02x",
			       (unsigned long long)block, (unsigned long long)c->pos, c->mask,
			       covered(m, i, true));
			CHECK(!c->counted);
			continue;
		}
		found++;
		CHECKF(!c->dead, "copy of block %llu at %llu should be gone",
		       (unsigned long long)block, (unsigned long long)c->pos);
		CHECK(m->ix.entries[place].mask == c->mask);
		/* Sector by sector the first in the chain that has it is the newest of all. */
		CHECKF((c->mask & ~linked) == (c->mask & ~covered(m, i, false)),
		       "a read would not see the newest sectors of block %llu",
		       (unsigned long long)block);
		linked |= c->mask;
		CHECKF(wb_index_live(&m->ix, place, &v) == (c->mask & ~covered(m, i, true)),
		       "sectors %02x of block %llu are to be written, should be %02x",
		       wb_index_live(&m->ix, place, &v), (unsigned long long)block,
		       c->mask & ~covered(m, i, true));
		/* Shadowed, and not counted, as soon as newer ones cover it. */
		CHECK(c->counted == !!(c->mask & ~covered(m, i, false)));
		CHECK(!(m->ix.entries[place].flags & WB_ENTRY_SHADOWED) == c->counted);
	}
	CHECKF(found == steps, "%u copies in the chain, %u known", steps, found);
}

/* After the index looked at @block: what may be gone by now. */
static void judge(struct model *m, u64 block)
{
	u32 i;

	for (i = 0; i < m->nr; i++)
		if (m->c[i].published && m->c[i].block == block &&
		    !(m->c[i].mask & ~covered(m, i, true)))
			m->c[i].dead = true;
}

static void forget(struct model *m, u32 i)
{
	memmove(&m->c[i], &m->c[i + 1], (--m->nr - i) * sizeof(m->c[0]));
}

static void unlink_copy(struct model *m, u32 i)
{
	u32 place = place_of(m, m->c[i].pos);

	if (m->ix.entries[place].flags & WB_ENTRY_LINKED)
		wb_index_unlink(&m->ix, place, count, m);
	CHECK(!m->c[i].counted);
	CHECK(!(m->ix.entries[place].flags & WB_ENTRY_LINKED));
	CHECK(!wb_index_live(&m->ix, place, &(struct wb_index_view){ 0 }));
	forget(m, i);
}

static u64 oldest_unpublished(const struct model *m)
{
	u32 i;

	for (i = 0; i < m->nr; i++)
		if (!m->c[i].published)
			return m->c[i].pos;
	return m->next;
}

static u8 some_mask(struct rng *r)
{
	u32 first = rng_below(r, 8);

	if (rng_one_in(r, 2))
		return WB_MASK_ALL;
	return (u8)(((1u << (1 + rng_below(r, 8 - first))) - 1) << first);
}

static void step(struct model *m)
{
	struct wb_index_view v = view(m);
	struct copy *c;
	u32 i, n = 0, found = ~0u;
	u64 limit, block;

	switch (rng_below(&m->r, 12)) {
	case 0:
	case 1:
	case 2:	/* reserve */
		if (m->next >= m->head * m->geom.slot_blocks || m->nr == MAX_COPIES)
			break;
		block = m->blocks[rng_below(&m->r, rng_one_in(&m->r, 2) ? 4 : NR_BLOCKS)];
		if (m->next % m->geom.slot_blocks)	/* block 0 is a header's */
			m->c[m->nr++] = (struct copy){ .pos = m->next, .block = block,
						       .mask = some_mask(&m->r) };
		m->next++;
		break;
	case 3:
	case 4:
	case 5:	/* publish, in any order */
	case 6:
		for (i = 0; i < m->nr; i++)
			if (!m->c[i].published && rng_one_in(&m->r, ++n))
				found = i;
		if (!n)
			break;
		c = &m->c[found];
		c->published = true;
		trace("publish block %llu mask %02x at %llu, durable %llu",
		      (unsigned long long)c->block, c->mask, (unsigned long long)c->pos,
		      (unsigned long long)m->durable);
		judge(m, c->block);
		CHECK(!c->dead);
		wb_index_insert(&m->ix, c->block, place_of(m, c->pos), c->mask, &v, count, m);
		check_block(m, c->block);
		break;
	case 7:	/* absorb: only the newest copy, and only before it is durable */
		block = m->blocks[rng_below(&m->r, NR_BLOCKS)];
		for (i = m->nr; i--; )
			if (m->c[i].published && m->c[i].block == block)
				break;
		if (i == ~0u || m->c[i].pos < m->durable)
			break;
		CHECK(wb_index_first(&m->ix, block) == place_of(m, m->c[i].pos));
		n = m->c[i].mask;
		m->c[i].mask |= some_mask(&m->r);
		trace("grow block %llu to mask %02x", (unsigned long long)block, m->c[i].mask);
		if (m->c[i].mask != n)
			judge(m, block);
		wb_index_grow(&m->ix, place_of(m, m->c[i].pos), m->c[i].mask, &v, count, m);
		check_block(m, block);
		break;
	case 8:	/* the durable point moves */
		limit = oldest_unpublished(m);
		m->durable += rng_below(&m->r, (u32)(limit - m->durable) + 1);
		break;
	case 9:	/* prepare the next slot: what is in it is durable, and migrated */
		limit = m->head + 1 > m->geom.nr_slots ?
			(m->head + 1 - m->geom.nr_slots) * m->geom.slot_blocks : 0;
		if (m->durable < limit)
			break;
		trace("prepare %llu", (unsigned long long)m->head + 1);
		while (m->nr && m->c[0].pos < limit)
			unlink_copy(m, 0);
		m->head++;
		break;
	case 10:	/* discard a range */
		if (!rng_one_in(&m->r, 6))
			break;
		block = m->blocks[rng_below(&m->r, NR_BLOCKS)];
		limit = block + 1 + rng_below(&m->r, 30);
		limit = limit < WB_MAX_BACKING_BLOCKS ? limit : WB_MAX_BACKING_BLOCKS;
		trace("discard %llu to %llu", (unsigned long long)block, (unsigned long long)limit);
		for (; block < limit; block++) {
			u32 place;

			while ((place = wb_index_first(&m->ix, block)) != WB_NO_PLACE)
				wb_index_unlink(&m->ix, place, count, m);
			for (i = m->nr; i--; )
				if (m->c[i].published && m->c[i].block == block) {
					CHECK(!m->c[i].counted);
					forget(m, i);
				}
		}
		break;
	case 11:	/* migrated: unlink one that is durable */
		if (!m->nr || !rng_one_in(&m->r, 4))
			break;
		/* The oldest, so that none is older than what goes to the backing device. */
		if (m->c[0].published && m->c[0].pos < m->durable)
			unlink_copy(m, 0);
		break;
	}
}

static void check_all(struct model *m)
{
	s64 live[64] = { 0 };
	u64 i, linked = 0, known = 0;

	for (i = 0; i < NR_BLOCKS; i++)
		check_block(m, m->blocks[i]);
	for (i = 0; i < m->nr; i++) {
		live[place_of(m, m->c[i].pos) / m->geom.slot_blocks] += m->c[i].counted;
		known += m->c[i].published && (m->ix.entries[place_of(m, m->c[i].pos)].flags &
					       WB_ENTRY_LINKED);
	}
	for (i = 0; i < m->geom.nr_slots; i++)
		CHECK(live[i] == m->live[i] && live[i] >= 0);
	for (i = 0; i < m->ix.nr_places; i++)
		linked += m->ix.entries[i].flags & WB_ENTRY_LINKED;
	CHECKF(linked == known, "%llu linked, %llu known", (unsigned long long)linked,
	       (unsigned long long)known);
}

static void one(u64 seed, u32 slots, u32 segment_size, u32 steps)
{
	struct model m = { 0 };
	u32 i;

	trace_reset();
	m.r = rng_init(seed);
	CHECK(!wb_geometry(&m.geom, (WB_FIRST_SLOT_OFFSET + (u64)slots * segment_size) >>
			   WB_SECTOR_SHIFT, 1ull << 43, segment_size));
	CHECK(!wb_index_init(&m.ix, &m.geom));
	CHECK(m.ix.nr_places == (u64)slots * m.geom.slot_blocks);
	CHECK(1u << m.ix.slot_shift == m.geom.slot_blocks);
	m.live = calloc(slots, sizeof(*m.live));
	/* Neighbours, which share a group; some that differ in the high bits; the last ones. */
	for (i = 0; i < NR_BLOCKS; i++)
		m.blocks[i] = i < 16 ? i : i < 32 ? ((u64)(i & 3) << 32) + (i - 16) * 8 :
			      (1ull << 40) - 1 - (i - 32);
	for (i = 0; i < NR_BLOCKS; i++)
		CHECK(wb_index_first(&m.ix, m.blocks[i]) == WB_NO_PLACE);
	m.head = 1;
	for (i = 0; i < steps; i++) {
		step(&m);
		if (i % 64 == 0)
			check_all(&m);
	}
	check_all(&m);
	wb_index_clear(&m.ix);
	for (i = 0; i < NR_BLOCKS; i++)
		CHECK(wb_index_first(&m.ix, m.blocks[i]) == WB_NO_PLACE);
	wb_index_exit(&m.ix);
	free(m.live);
}

static void runs(const char *name, u32 slots, u32 segment_size, u32 steps, u64 rounds)
{
	u64 seed = test_options.seed, i;

	test_case(name);
	for (i = 0; test_more(i, rounds); i++) {
		test_options.seed = seed + i;
		one(seed + i, slots, segment_size, steps);
	}
	test_options.seed = seed;
}

/* Every bucket and lock number is in range, neighbours share a lock, and the blocks are spread. */
static void test_hash(void)
{
	static u32 used[WB_INDEX_LOCKS];
	struct wb_geom g = { 0 };
	struct wb_index ix;
	u64 block, most = 0;
	u32 i, size;

	test_case("buckets and locks");
	for (size = 4; size <= 4096; size *= 8) {
		CHECK(!wb_geometry(&g, (WB_FIRST_SLOT_OFFSET + (u64)size * WB_MIN_SEGMENT_SIZE) >>
				   WB_SECTOR_SHIFT, 1ull << 43, WB_MIN_SEGMENT_SIZE));
		CHECK(!wb_index_init(&ix, &g));
		CHECK(ix.nr_places / (8ull << ix.group_bits) >= 2 &&
		      (ix.nr_places < 16 || ix.nr_places / (8ull << ix.group_bits) <= 4));
		for (i = 0; i < 100000; i++) {
			block = i < 1000 ? i : mix64(i) >> 24;
			CHECK(wb_index_group(&ix, block) < 1u << ix.group_bits);
			CHECK(wb_index_lock_nr(&ix, block) < WB_INDEX_LOCKS);
			CHECK(wb_index_lock_nr(&ix, block) == wb_index_lock_nr(&ix, block | 7));
		}
		wb_index_exit(&ix);
	}
	ix.group_bits = 16;
	for (i = 0; i < WB_INDEX_LOCKS * 8; i++)	/* a sequential write's locks */
		used[wb_index_lock_nr(&ix, (u64)i * 8)]++;
	for (i = 0; i < WB_INDEX_LOCKS; i++)
		most = used[i] > most ? used[i] : most;
	CHECKF(most < 40, "one lock for %llu of %u groups", (unsigned long long)most,
	       WB_INDEX_LOCKS * 8);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_hash();
	runs("random copies, 4 slots of 16 KiB", 4, 16 << 10, 4000, 60);
	runs("random copies, 5 slots of 32 KiB", 5, 32 << 10, 6000, 60);
	runs("random copies, 33 slots of 64 KiB", 33, 64 << 10, 20000, 10);
	return test_end();
}
