// SPDX-License-Identifier: GPL-2.0
/*
 * The largest caches: 3 TiB, 16 TiB, and as many sectors as there can be.
 *
 * The memory of their index and the media are sparse: what nobody wrote costs nothing. A log is
 * written over the end of the last slot into the next lap, on media that is found by byte offset;
 * the walk has to read it back, and the index to find all of it, the newest copies first.
 */
#include <sys/mman.h>

#include "index.h"
#include "recover.h"
#include "test.h"

#define TiB(n)		((u64)(n) << 40 >> WB_SECTOR_SHIFT)
#define MEDIA_BLOCKS	1024u
#define BEFORE		3u	/* segments before the end of the lap */
#define AFTER		3u	/* and after */
#define ENTRIES		3u

/* ---------------------------------------------------------------- sparse media */

static struct {
	u64 offset;
	u8 data[WB_BLOCK_SIZE];
} media[MEDIA_BLOCKS];
static u32 media_used;

static u8 *media_at(u64 offset, bool make)
{
	u32 i;

	for (i = 0; i < media_used; i++)
		if (media[i].offset == offset)
			return media[i].data;
	if (!make)
		return NULL;
	CHECK(media_used < MEDIA_BLOCKS);
	media[media_used].offset = offset;
	memset(media[media_used].data, 0, WB_BLOCK_SIZE);
	return media[media_used++].data;
}

/* Where a block of a segment is, reckoned in another way than wb_slot_offset() does it. */
static u64 byte_of(const struct wb_geom *g, u64 id, u32 block)
{
	unsigned __int128 at = (unsigned __int128)((id - 1) % g->nr_slots) * g->slot_blocks + block;

	at = at * WB_BLOCK_SIZE + (1u << 20);
	CHECKF(at + WB_BLOCK_SIZE <= (unsigned __int128)g->cache_sectors * WB_SECTOR_SIZE,
	       "segment %llu, block %u is behind the device's end", (unsigned long long)id, block);
	return (u64)at;
}

/* ---------------------------------------------------------------- a sparse index */

static void *sparse(u64 bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECKF(p != MAP_FAILED, "no address space for %llu bytes", (unsigned long long)bytes);
	return p;
}

static u64 heads_bytes(const struct wb_index *ix)
{
	return sizeof(*ix->heads) << (ix->group_bits + WB_INDEX_GROUP_SHIFT);
}

static void make_index(struct wb_index *ix, const struct wb_geom *g)
{
	wb_index_lay_out(ix, g);
	ix->entries = sparse(ix->nr_places * sizeof(*ix->entries));
	ix->heads = sparse(heads_bytes(ix));
}

static void drop_index(struct wb_index *ix)
{
	munmap(ix->entries, ix->nr_places * sizeof(*ix->entries));
	munmap(ix->heads, heads_bytes(ix));
}

/* ---------------------------------------------------------------- the log */

struct log {
	struct wb_geom g;
	struct wb_index ix;
	u64 first, last;	/* segments */
	u64 applied;
};

/* The blocks that segment @id holds: one of its own, far up; two that every segment has. */
static u64 block_of(const struct log *l, u64 id, u32 i)
{
	u64 end = wb_backing_blocks(&l->g);

	return i == 0 ? end - 1 - (id - l->first) : i == 1 ? (1ull << 32) : 7;
}

static void write_log(struct log *l)
{
	struct wb_header h = { .epoch = 1, .nr_entries = ENTRIES };
	struct wb_entry e = { 0 };
	u8 *header, *data;
	u32 link = 0x12345678, i;
	u64 id;

	for (id = l->first; id <= l->last; id++) {
		header = media_at(byte_of(&l->g, id, 0), true);
		for (i = 0; i < ENTRIES; i++) {
			data = media_at(byte_of(&l->g, id, 1 + i), true);
			memset(data, (int)(id + i), WB_BLOCK_SIZE);
			e.block = block_of(l, id, i);
			e.mask = wb_block_mask(&l->g, e.block);
			e.crc = wb_data_crc(data, e.mask);
			wb_entry_encode((void *)header, i, &e);
		}
		h.id = id;
		h.durable = (struct wb_pos){ .id = id - 1 };
		h.link = link;
		wb_header_encode(&l->g, &h, (void *)header);
		link = h.crc;
	}
}

static int walk_read(void *ctx, u64 id, u32 block, u32 nr, void *buf)
{
	struct log *l = ctx;
	u8 *at;
	u32 i;

	CHECK(block + nr <= l->g.slot_blocks);
	for (i = 0; i < nr; i++) {
		CHECK(wb_slot_offset(&l->g, wb_slot_of(&l->g, id), block + i) ==
		      byte_of(&l->g, id, block + i));
		at = media_at(byte_of(&l->g, id, block + i), false);
		if (at)
			memcpy((u8 *)buf + i * WB_BLOCK_SIZE, at, WB_BLOCK_SIZE);
		else
			memset((u8 *)buf + i * WB_BLOCK_SIZE, 0, WB_BLOCK_SIZE);
	}
	return 0;
}

static void count(void *ctx, u32 place, int delta)
{
	const struct log *l = ctx;

	CHECK(place < l->ix.nr_places && (delta == 1 || delta == -1));
}

static struct wb_index_view view(const struct log *l, u64 head)
{
	return (struct wb_index_view){
		.head_end = (wb_slot_of(&l->g, head) + 1) << l->ix.slot_shift,
		.durable_rank = ~0ull,
	};
}

static int walk_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct log *l = ctx;
	struct wb_index_view v = view(l, h->id);
	u32 place = (u32)(wb_slot_of(&l->g, h->id) << l->ix.slot_shift) + h->block + 1;
	struct wb_entry e;
	u32 i;

	CHECK(h->id == l->first + l->applied);
	l->applied++;
	for (i = 0; i < h->nr_entries; i++) {
		i = wb_index_load(&l->ix, h, raw, i, place, count, l);
		if (i == h->nr_entries)
			break;
		wb_entry_decode(raw, i, &e);
		wb_index_insert(&l->ix, e.block, place + i, e.mask, &v, count, l);
	}
	return 0;
}

static const struct wb_walk_ops ops = { .read = walk_read, .apply = walk_apply };

static void check_copy(const struct log *l, u64 id, u32 i)
{
	u64 block = block_of(l, id, i);
	u32 place = wb_index_first(&l->ix, block);
	u64 wanted = wb_slot_of(&l->g, id) * l->g.slot_blocks + 1 + i;

	CHECKF(place == wanted, "block %llu is at place %u, not %llu", (unsigned long long)block, place,
	       (unsigned long long)wanted);
	CHECK((u64)place < l->ix.nr_places && wb_index_block(&l->ix.entries[place]) == block);
	CHECK(place >> l->ix.slot_shift == wb_slot_of(&l->g, id));
	/* All are durable, so the older copies of the common blocks went. */
	CHECK(wb_index_next(&l->ix, place) == WB_NO_PLACE);
}

static void over_the_end(u64 cache_sectors, u64 backing_sectors, u32 segment_size, u64 laps)
{
	struct log l = { 0 };
	struct wb_record r = { .seq = 1, .epoch = 1, .life_start = 1 }, back;
	struct wb_walk w = { .geom = &l.g, .record = &r, .verify_all = true, .ops = &ops, .ctx = &l };
	struct wb_index_view v;
	u8 block[WB_BLOCK_SIZE];
	u64 id, before, after;

	CHECK(!wb_geometry(&l.g, cache_sectors, backing_sectors, segment_size));
	l.g.seed = 0x0123456789abcdefull;
	make_index(&l.ix, &l.g);
	/* Memory for a place: 12 bytes, and 4 for a head of two to four. All places fit their number. */
	CHECK(wb_index_bytes(&l.g) >= l.ix.nr_places * 13);
	CHECK(wb_index_bytes(&l.g) <= l.ix.nr_places * 14);
	CHECK(l.ix.nr_places == l.g.nr_slots * l.g.slot_blocks && l.ix.nr_places < WB_NO_PLACE);

	media_used = 0;
	l.first = laps * l.g.nr_slots - BEFORE + 1;
	l.last = l.first + BEFORE + AFTER - 1;
	CHECK(wb_slot_of(&l.g, l.first + BEFORE - 1) == l.g.nr_slots - 1);
	CHECK(wb_slot_of(&l.g, l.first + BEFORE) == 0);
	write_log(&l);
	r.migrated = l.first - 1;
	r.durable.id = l.first - 1;
	wb_record_encode(&l.g, &r, block);
	CHECK(wb_record_decode(&l.g, block, &back) == WB_OK && back.migrated == r.migrated);

	CHECK(!wb_walk(&w));
	CHECKF(w.state == WB_LOG_ENDS && w.nr_chunks == BEFORE + AFTER && l.applied == w.nr_chunks,
	       "%llu chunks of %u, state %u", (unsigned long long)w.nr_chunks, BEFORE + AFTER, w.state);
	CHECK(w.last.id == l.last && w.nr_blocks == (BEFORE + AFTER) * ENTRIES);
	for (id = l.first; id <= l.last; id++)
		check_copy(&l, id, 0);
	check_copy(&l, l.last, 1);
	check_copy(&l, l.last, 2);

	/* The segments behind the end are the newer ones; and are live whatever stands before. */
	v = view(&l, l.last);
	before = wb_index_rank(&l.ix, &v, wb_index_first(&l.ix, block_of(&l, l.first, 0)));
	after = wb_index_rank(&l.ix, &v, wb_index_first(&l.ix, block_of(&l, l.last, 0)));
	CHECK(before < after && after - before == (BEFORE + AFTER - 1) * (u64)l.g.slot_blocks);
	for (id = l.first; id <= l.last; id++) {
		u32 place = wb_index_first(&l.ix, block_of(&l, id, 0));

		CHECK(wb_index_live(&l.ix, place, &v) == wb_block_mask(&l.g, block_of(&l, id, 0)));
		wb_index_unlink(&l.ix, place, count, &l);
		CHECK(wb_index_first(&l.ix, block_of(&l, id, 0)) == WB_NO_PLACE);
	}
	drop_index(&l.ix);
}

/* The very last place, and both ends of the range of blocks, in one bucket's chain or not. */
static void test_last_place(void)
{
	struct wb_index_view v = { .durable_rank = 0 };
	struct log l = { 0 };
	u32 last, i;
	u64 block;

	test_case("the last place of 16 TiB");
	CHECK(!wb_geometry(&l.g, TiB(16) + 4096, 1ull << 43, WB_DEFAULT_SEGMENT_SIZE));
	make_index(&l.ix, &l.g);
	last = (u32)(l.ix.nr_places - 1);
	CHECK(l.ix.nr_places == WB_MAX_PLACES);
	v.head_end = l.ix.nr_places;
	for (i = 0; i < 2; i++) {
		block = i ? WB_MAX_BACKING_BLOCKS - 1 : 0;
		wb_index_insert(&l.ix, block, last - 1, 0x0f, &v, count, &l);
		wb_index_insert(&l.ix, block, last, 0xf0, &v, count, &l);
		CHECK(wb_index_first(&l.ix, block) == last);
		CHECK(wb_index_next(&l.ix, last) == last - 1);
		CHECK(wb_index_next(&l.ix, last - 1) == WB_NO_PLACE);
		wb_index_unlink(&l.ix, last, count, &l);
		CHECK(wb_index_first(&l.ix, block) == last - 1);
		wb_index_unlink(&l.ix, last - 1, count, &l);
		CHECK(wb_index_first(&l.ix, block) == WB_NO_PLACE);
	}
	drop_index(&l.ix);
}

int main(int argc, char **argv)
{
	u32 size;

	test_begin(argc, argv);
	test_case("a log over the end of 3 TiB");
	for (size = WB_MIN_SEGMENT_SIZE; size <= WB_MAX_SEGMENT_SIZE; size *= 2)
		over_the_end(TiB(3) + 4096, TiB(64) - 3, size, 1);
	test_case("a log over the end of 16 TiB, many laps later");
	for (size = WB_MIN_SEGMENT_SIZE; size <= WB_MAX_SEGMENT_SIZE; size *= 2)
		over_the_end(TiB(16) + 4096, 1ull << 43, size, 100000);
	test_case("a log over the end of the largest device there can be");
	over_the_end((1ull << 54) - 1, 1ull << 43, WB_MAX_SEGMENT_SIZE, 3);
	test_last_place();
	return test_end();
}
