// SPDX-License-Identifier: GPL-2.0
/*
 * Superblocks: any two blocks in their places.
 *
 * Input: a byte of flags, then the two copies, up to a block each; the second one may be the first.
 */
#include "fuzz.h"

enum {
	SEAL_0 = 1, SEAL_1 = 2,		/* give it the checksum that fits */
	MAGIC_0 = 4, MAGIC_1 = 8,	/* and the magic */
	SAME = 16,			/* the second copy is the first one */
	GONE_0 = 32, GONE_1 = 64,	/* cannot be read */
	SHORT = 128,			/* copies of 256 bytes: the rest is zeros */
};

static void check_good(const struct wb_super *s)
{
	const struct wb_geom *g = &s->geom;
	u8 block[WB_BLOCK_SIZE];
	struct wb_super again;
	u64 places = g->nr_slots * g->slot_blocks, end;

	CHECK(g->slot_blocks >= WB_MIN_SEGMENT_SIZE >> WB_BLOCK_SHIFT);
	CHECK(g->slot_blocks <= WB_MAX_SLOT_BLOCKS && !(g->slot_blocks & (g->slot_blocks - 1)));
	CHECK(g->nr_slots >= WB_MIN_SLOTS && g->nr_slots <= WB_MAX_PLACES);
	CHECK(places <= WB_MAX_PLACES);
	/* The last byte of the last slot is on the device, and no sum on the way overflowed. */
	end = wb_slot_offset(g, g->nr_slots - 1, g->slot_blocks - 1) + WB_BLOCK_SIZE;
	CHECK(end > WB_FIRST_SLOT_OFFSET && end >> WB_SECTOR_SHIFT <= g->cache_sectors);
	CHECK(g->backing_sectors && wb_backing_blocks(g) <= WB_MAX_BACKING_BLOCKS);
	CHECK(wb_block_mask(g, wb_backing_blocks(g) - 1));
	CHECK(memchr(s->backing_id, 0, sizeof(s->backing_id)));
	CHECK(!(s->incompat & ~WB_INCOMPAT_KNOWN));

	wb_super_encode(s, block);
	CHECK(wb_super_decode(block, &again) == WB_OK);
	CHECK(again.compat == s->compat && again.ro_compat == s->ro_compat &&
	      again.incompat == s->incompat && again.created == s->created &&
	      !memcmp(again.uuid, s->uuid, sizeof(s->uuid)) &&
	      !strcmp(again.backing_id, s->backing_id));
	CHECK(again.geom.seed == g->seed && again.geom.nr_slots == g->nr_slots &&
	      again.geom.slot_blocks == g->slot_blocks &&
	      again.geom.cache_sectors == g->cache_sectors &&
	      again.geom.backing_sectors == g->backing_sectors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	const void *copies[WB_NR_COPIES] = { 0 };
	u8 flags = input_byte(&in), *block;
	enum wb_verdict v, one[WB_NR_COPIES];
	struct wb_super s, single;
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		/* Heap blocks of the exact size: what is read beyond them is noticed. */
		block = calloc(1, WB_BLOCK_SIZE);
		if (!block)
			abort();
		if (i && flags & SAME)
			memcpy(block, copies[0], WB_BLOCK_SIZE);
		else
			input_bytes(&in, block, flags & SHORT ? 256 : WB_BLOCK_SIZE);
		if (flags & (MAGIC_0 << i))
			memcpy(block, WB_MAGIC, WB_MAGIC_LEN);
		if (flags & (SEAL_0 << i))
			seal_super(block);
		copies[i] = block;
		one[i] = wb_super_decode(block, &single);
		CHECK(one[i] == wb_super_decode(block, &single));
		CHECK(*wb_verdict_text(one[i]));
		if (one[i] == WB_OK)
			check_good(&single);
	}
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (!(flags & (GONE_0 << i)))
			continue;
		free((void *)copies[i]);
		copies[i] = NULL;
		one[i] = WB_READ_ERROR;
	}
	v = wb_super_pick(copies, &s);
	if (v == WB_OK) {
		i = one[0] == WB_OK ? 0 : 1;
		CHECK(one[i] == WB_OK);
		check_good(&s);
		CHECK(wb_super_decode(copies[i], &single) == WB_OK);
		CHECK(single.geom.seed == s.geom.seed && single.geom.nr_slots == s.geom.nr_slots);
		/* What has become something else, or is of a newer version, is never taken for ours. */
		CHECK(one[0] != WB_FOREIGN && one[0] != WB_OLD_WRITEBOOST &&
		      one[0] != WB_BAD_FEATURE && one[0] != WB_BAD_VERSION);
	} else {
		CHECK(one[0] != WB_OK);
		CHECK(v == one[0] || v == one[1]);
	}
	free((void *)copies[0]);
	free((void *)copies[1]);
	return 0;
}
