// SPDX-License-Identifier: GPL-2.0
/*
 * Records: any two sectors in their places, on a cache of any geometry.
 *
 * Input: a byte of flags, eight of geometry, then the two copies, 72 bytes each (what follows in
 * the sector is zero, or with TAIL from the input, too).
 */
#include "fuzz.h"
#include "recover.h"

enum {
	SEAL_0 = 1, SEAL_1 = 2,		/* magic, seed and checksum that fit */
	GONE_0 = 4, GONE_1 = 8,		/* cannot be read */
	TAIL = 16,
	NEAR = 32,			/* ids of the second copy are relative to the first's */
};

/* Higher counts are refused, so close to them the next one would be. */
#define SANE ((1ull << 62) - 8)

static void geometry(struct wb_geom *g, u64 how)
{
	u32 segment = WB_MIN_SEGMENT_SIZE << (how & 7) % 7;
	u64 slots = WB_MIN_SLOTS + (how >> 8) % (how & 8 ? 64 : 1ull << 34);

	CHECK(!wb_geometry(g, (WB_FIRST_SLOT_OFFSET + slots * segment) >> WB_SECTOR_SHIFT,
			   1 + (how >> 40), segment));
	g->seed = how;
}

static void check_good(const struct wb_geom *g, const struct wb_record *r)
{
	u8 block[WB_BLOCK_SIZE];
	struct wb_record again, next;
	struct wb_walk w;
	u64 last = r->migrated + g->nr_slots;

	CHECK(last > r->migrated);
	CHECK(r->life_start && r->life_start <= last + 1);
	CHECK(r->durable.id <= last && r->durable.chunk < g->slot_blocks);
	CHECK(wb_slot_of(g, last) < g->nr_slots && wb_lap_of(g, last) >= 1);

	wb_record_encode(g, r, block);
	CHECK(wb_record_decode(g, block, &again) == WB_OK);
	CHECK(again.seq == r->seq && again.epoch == r->epoch && again.life_start == r->life_start &&
	      again.life_link == r->life_link && again.migrated == r->migrated &&
	      again.clean == r->clean && !wb_pos_cmp(again.durable, r->durable));

	/* The life after an empty log: what recovery would write is accepted, and says no less. */
	if (r->epoch >= SANE || r->seq >= SANE)
		return;
	w = (struct wb_walk){ .geom = g, .record = r, .last = { r->migrated, ~0u },
			      .last_crc = r->life_link };
	wb_walk_next_life(&w, &next);
	wb_record_encode(g, &next, block);
	CHECK(wb_record_decode(g, block, &again) == WB_OK);
	CHECK(again.epoch > r->epoch && again.seq > r->seq && again.migrated == r->migrated &&
	      !again.clean && again.life_start == r->migrated + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	const void *copies[WB_NR_COPIES] = { 0 };
	enum wb_verdict v, one[WB_NR_COPIES];
	struct wb_record r = { 0 }, single[WB_NR_COPIES];
	struct wb_record_disk *d, *first = NULL;
	u8 flags = input_byte(&in);
	struct wb_geom g;
	int i, which = -1;

	geometry(&g, input_u64(&in));
	for (i = 0; i < WB_NR_COPIES; i++) {
		d = calloc(1, WB_BLOCK_SIZE);
		if (!d)
			abort();
		input_bytes(&in, d, flags & TAIL ? WB_SECTOR_SIZE : 72);
		if (i && flags & NEAR) {
			d->seq = cpu_to_le64(le64_to_cpu(first->seq) + (s64)le64_to_cpu(d->seq));
			d->migrated = cpu_to_le64(le64_to_cpu(first->migrated) +
						  le64_to_cpu(d->migrated));
			d->life_start = cpu_to_le64(le64_to_cpu(d->migrated) +
						    le64_to_cpu(d->life_start));
		}
		if (flags & (SEAL_0 << i)) {
			d->magic = cpu_to_le64(WB_RECORD_MAGIC);
			d->seed = cpu_to_le64(g.seed);
			seal_record(d);
		}
		if (!i)
			first = d;
		copies[i] = d;
		one[i] = wb_record_decode(&g, d, &single[i]);
		CHECK(*wb_verdict_text(one[i]));
		if (one[i] == WB_OK)
			check_good(&g, &single[i]);
	}
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (!(flags & (GONE_0 << i)))
			continue;
		free((void *)copies[i]);
		copies[i] = NULL;
		one[i] = WB_READ_ERROR;
	}
	v = wb_record_pick(&g, copies, &r, &which);
	CHECK((v == WB_OK) == (one[0] == WB_OK || one[1] == WB_OK));
	if (v == WB_OK) {
		CHECK((which == 0 || which == 1) && one[which] == WB_OK);
		CHECK(r.seq == single[which].seq && r.migrated == single[which].migrated &&
		      r.epoch == single[which].epoch && r.life_start == single[which].life_start);
		CHECK(one[!which] != WB_OK || single[!which].seq <= r.seq);
	} else {
		CHECK(v == one[0]);
	}
	free((void *)copies[0]);
	free((void *)copies[1]);
	return 0;
}
