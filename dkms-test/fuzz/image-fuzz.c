// SPDX-License-Identifier: GPL-2.0
/*
 * Whole small devices, as the module's recovery sees them. Input: a recipe.
 *
 * Beyond what model.c checks in each walk: the same device gives the same result twice; recovery cut
 * off at any point and done again gives the same log; and what the module itself would have written
 * is found again.
 */
#include <unistd.h>

#include "model.h"
#include "recipe.h"

static struct image image;
static struct model first, again;
static struct recipe recipe;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	image_init(&image, false);
	return 0;
}

static bool same_log(const struct model *a, const struct model *b)
{
	return a->nr_chunks == b->nr_chunks && model_is_prefix(a, b);
}

static void twice(void)
{
	model_make(&again, &image);
	CHECK(again.super_verdict == first.super_verdict && again.shorter == first.shorter &&
	      again.record_verdict == first.record_verdict && again.walked == first.walked &&
	      again.err == first.err && again.starts == first.starts);
	if (!first.walked || first.err)
		return;
	CHECK(again.walk.state == first.walk.state && same_log(&first, &again));
	CHECK(again.walk.bad_id == first.walk.bad_id && again.walk.bad_block == first.walk.bad_block &&
	      again.walk.bad_why == first.walk.bad_why);
	CHECK(again.nr_owned == first.nr_owned && again.live_sectors == first.live_sectors);
}

/* The steps of src/recovery.c, each followed by another start. */
static void recover(void)
{
	const struct wb_geom *g = &first.super.geom;
	static u8 zero[WB_BLOCK_SIZE], block[WB_BLOCK_SIZE];
	/* Far from where sums of them end; see also record-fuzz.c. */
	bool sane = first.record.epoch < (1ull << 62) - 8 &&
		    first.record.seq < (1ull << 62) - 8;
	struct wb_record next;
	u32 at;
	u64 id;
	int i;

	if (!first.starts || !sane || !first.plausible || image.nr_unreadable)
		return;
	if (wb_walk_must_record(&first.walk, &next)) {
		first.which = !first.which;
		wb_record_encode(g, &next, block);
		image_write(&image, WB_RECORD_OFFSET(first.which), WB_BLOCK_SIZE, block);
		model_make(&again, &image);
		CHECK(again.starts && same_log(&first, &again) && again.which == first.which);
		first.record = next;
	}
	for (i = 0; wb_walk_must_destroy(&first.walk, i, &id, &at); i++) {
		CHECK(id == first.walk.last.id && at == first.walk.last_end && at < g->slot_blocks);
		image_write(&image, wb_slot_offset(g, wb_slot_of(g, id), at), WB_BLOCK_SIZE, zero);
		model_make(&again, &image);
		CHECK(again.starts && same_log(&first, &again));
	}
	wb_walk_next_life(&first.walk, &next);
	for (i = 0; i < WB_NR_COPIES; i++) {
		wb_record_encode(g, &next, block);
		image_write(&image, WB_RECORD_OFFSET(i ? first.which : !first.which), WB_BLOCK_SIZE,
			    block);
		next.seq++;
		model_make(&again, &image);
		CHECK(again.starts && same_log(&first, &again));
		CHECK(again.record.epoch == first.record.epoch + 1);
		CHECK(again.nr_owned == first.nr_owned && again.live_sectors == first.live_sectors);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (getenv("FUZZ_SHOW"))
		recipe_show(data, size);
	recipe_make(&recipe, &image, data, size);
	model_make(&first, &image);
	if (recipe.honest) {
		CHECK(first.starts);
		CHECKF(wb_pos_cmp(recipe.must, first.walk.last) <= 0 ||
		       recipe.must.id <= first.record.migrated,
		       "chunk %llu.%u is lost: the log ends at %llu.%u",
		       (unsigned long long)recipe.must.id, recipe.must.chunk,
		       (unsigned long long)first.walk.last.id, first.walk.last.chunk);
	}
	twice();
	recover();
	return 0;
}
