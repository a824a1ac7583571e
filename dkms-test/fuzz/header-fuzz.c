// SPDX-License-Identifier: GPL-2.0
/*
 * A chunk header: any block, on a cache of any slot size, and the data behind it.
 *
 * Input: a byte of flags, eight of geometry, then the header block; what follows is data.
 */
#include "fuzz.h"
#include "index.h"
#include "recover.h"

enum {
	SEAL = 1,		/* magic, seed and checksum that fit */
	LAP = 2,		/* and the lap that follows from the id */
	SMALL_ENTRIES = 4,	/* all entries become possible ones */
	DATA_CRC = 8,		/* checksums of the data that fit */
};

static void geometry(struct wb_geom *g, u64 how)
{
	u32 segment = WB_MIN_SEGMENT_SIZE << (how & 7) % 7;
	u64 slots = WB_MIN_SLOTS + (how >> 8) % 4;

	CHECK(!wb_geometry(g, (WB_FIRST_SLOT_OFFSET + slots * segment) >> WB_SECTOR_SHIFT,
			   1 + (how >> 16) % (how & 8 ? 300 : WB_MAX_BACKING_BLOCKS * 8), segment));
	g->seed = how;
}

static void no_count(void *ctx, u32 place, int delta)
{
	s64 *counted = ctx;

	(void)place;
	*counted += delta;
}

/* What recovery does with an accepted chunk: into the index, tombstones out of it. */
static void into_index(const struct wb_geom *g, const struct wb_header *h,
		       const struct wb_header_disk *raw)
{
	struct wb_index_view v = { .durable_rank = ~0ull };
	u64 slot = wb_slot_of(g, h->id), place;
	struct wb_index ix;
	struct wb_entry e;
	s64 counted = 0;
	u32 i, n, at;

	CHECK(!wb_index_init(&ix, g));
	v.head_end = (slot + 1) << ix.slot_shift;
	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			for (n = 0; n < e.crc; n++)
				while ((at = wb_index_first(&ix, e.block + n)) != WB_NO_PLACE)
					wb_index_unlink(&ix, at, no_count, &counted);
			continue;
		}
		place = (slot << ix.slot_shift) + h->block + 1 + i;
		CHECK(place < ix.nr_places);
		wb_index_insert(&ix, e.block, (u32)place, e.mask, &v, no_count, &counted);
		CHECK(wb_index_first(&ix, e.block) == place);
	}
	CHECK(counted >= 0 && counted <= h->nr_entries);
	wb_index_exit(&ix);
}

static void check_good(const struct wb_geom *g, const struct wb_header *h, const void *block)
{
	u64 blocks = wb_backing_blocks(g), sectors;
	const struct wb_header_disk *raw = block;
	struct wb_header again, sealed = *h;
	u8 copy[WB_BLOCK_SIZE];
	struct wb_entry e;
	u32 i;

	CHECK(h->id && h->nr_entries && h->block + 1 + h->nr_entries <= g->slot_blocks);
	CHECK(h->nr_entries <= WB_MAX_ENTRIES);
	CHECK(wb_slot_of(g, h->id) < g->nr_slots);
	CHECK(wb_pos_cmp(h->durable, (struct wb_pos){ h->id, h->chunk }) < 0);
	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		CHECK(e.block < blocks);
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			CHECK(e.crc && e.crc <= WB_MAX_TOMBSTONE_BLOCKS && e.block + e.crc <= blocks);
			continue;
		}
		/* The last valid sector is one that the backing device has. */
		CHECK(e.mask);
		sectors = (e.block << WB_BLOCK_SECTOR_SHIFT) + 32 - (u64)__builtin_clz(e.mask);
		CHECK(sectors <= g->backing_sectors);
	}

	memcpy(copy, block, sizeof(copy));
	wb_header_encode(g, &sealed, (struct wb_header_disk *)copy);
	CHECK(wb_header_decode(g, copy, &again) == WB_OK);
	CHECK(again.epoch == h->epoch && again.id == h->id && again.link == h->link &&
	      again.chunk == h->chunk && again.block == h->block &&
	      again.nr_entries == h->nr_entries && !wb_pos_cmp(again.durable, h->durable) &&
	      again.crc == sealed.crc);
	into_index(g, h, raw);
}

/* Make entries possible that are not; those that are stay. */
static void mend_entries(const struct wb_geom *g, struct wb_header_disk *d, u32 nr)
{
	u64 blocks = wb_backing_blocks(g);
	struct wb_entry e;
	u32 i;

	for (i = 0; i < nr; i++) {
		wb_entry_decode(d, i, &e);
		e.block %= blocks;
		e.flags &= WB_ENTRY_FLAGS_KNOWN;
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			e.mask = 0;
			e.crc = 1 + e.crc % 64;
			if (e.crc > blocks - e.block)
				e.crc = (u32)(blocks - e.block);
		} else {
			e.mask &= wb_block_mask(g, e.block);
			if (!e.mask)
				e.mask = wb_block_mask(g, e.block);
		}
		wb_entry_encode(d, i, &e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	u8 flags = input_byte(&in), *behind;
	struct wb_header_disk *d;
	struct wb_header h, again;
	enum wb_verdict v;
	struct wb_entry e;
	struct wb_geom g;
	u32 i, nr, bad = ~0u;

	geometry(&g, input_u64(&in));
	d = calloc(1, WB_BLOCK_SIZE);
	if (!d)
		abort();
	input_bytes(&in, d, WB_BLOCK_SIZE);
	nr = le16_to_cpu(d->nr_entries);
	if (nr >= g.slot_blocks)
		nr = g.slot_blocks - 1;
	behind = calloc(nr + 1, WB_BLOCK_SIZE);
	if (!behind)
		abort();
	for (i = 0; i < nr && in.left; i++)
		input_bytes(&in, behind + (size_t)i * WB_BLOCK_SIZE, 64);
	if (flags & SMALL_ENTRIES)
		mend_entries(&g, d, nr);
	for (i = 0; flags & DATA_CRC && i < nr; i++) {
		wb_entry_decode(d, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		e.crc = wb_data_crc(behind + (size_t)i * WB_BLOCK_SIZE, e.mask);
		wb_entry_encode(d, i, &e);
	}
	if (flags & LAP && le64_to_cpu(d->id))
		d->lap = cpu_to_le64(wb_lap_of(&g, le64_to_cpu(d->id)));
	if (flags & SEAL) {
		d->magic = cpu_to_le32(WB_CHUNK_MAGIC);
		d->seed = cpu_to_le64(g.seed);
		seal_header(d, g.slot_blocks);
	}

	v = wb_header_decode(&g, d, &h);
	CHECK(*wb_verdict_text(v));
	CHECK(v == wb_header_decode(&g, d, &again));
	if (v == WB_OK) {
		check_good(&g, &h, d);
		v = wb_verify_chunk(&h, d, behind, &bad);
		CHECK(v == WB_OK || (v == WB_BAD_DATA && bad < h.nr_entries));
		CHECK(v == WB_OK || !(flags & DATA_CRC));
	}
	free(behind);
	free(d);
	return 0;
}
