// SPDX-License-Identifier: GPL-2.0
/*
 * format on whole small devices, whatever is on them. Input: a recipe.
 *
 * It never destroys dirty data unless it is forced to; what it made is good and empty; and cut off at
 * any write it leaves what was there or something that nobody starts.
 */
#include "model.h"
#include "recipe.h"
#include "verbs.h"

enum {
	OPT_FORCE = 1, OPT_YES = 2, OPT_SIZE_SHIFT = 2, OPT_BACKING_SHIFT = 5,
	OPT_CUT_OFF_SHIFT = 8,
};

static struct image image;
static struct image_copy copy;
static struct model before, after;
static struct recipe recipe;
static struct said said;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	image_init(&image, true);
	verbs_init(&image);
	return 0;
}

static void formatted(u64 backing)
{
	struct options o = { .json = true };

	CHECK(after.starts && !after.nr_chunks && after.super_verdict == WB_OK);
	CHECK(after.super.geom.backing_sectors == backing);
	CHECK(after.super.geom.cache_sectors == image.sectors);
	CHECK(before.super_verdict != WB_OK ||
	      memcmp(after.super.uuid, before.super.uuid, sizeof(after.super.uuid)));
	verbs_call(&said, verb_check, &o);
	CHECK(said.rc == RC_OK && says(&said, "\"state\":\"clean\""));
}

static void cut_off(void)
{
	if (!after.starts)
		return;
	if (before.super_verdict == WB_OK &&
	    !memcmp(after.super.uuid, before.super.uuid, sizeof(after.super.uuid)))
		CHECK(before.starts && model_is_prefix(&before, &after) &&
		      after.nr_chunks == before.nr_chunks);
	else
		CHECK(!after.nr_chunks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct options o = { 0 };
	u64 backing;

	if (getenv("FUZZ_SHOW"))
		recipe_show(data, size);
	recipe_make(&recipe, &image, data, size);
	model_make(&before, &image);
	image_save(&image, &copy);
	o.force = recipe.options & OPT_FORCE;
	o.yes = recipe.options & OPT_YES;
	o.segment_size = WB_MIN_SEGMENT_SIZE << (recipe.options >> OPT_SIZE_SHIFT & 7) % 7;
	backing = recipe.options >> OPT_BACKING_SHIFT & 7;
	backing = backing == 7 ? (WB_MAX_BACKING_BLOCKS + 1) * 8 : backing == 6 ? 0 : 64 << backing;
	verbs_backing(backing);
	o.backing = verbs.backing;
	/* libblkid, when it wipes a signature, writes by itself. */
	image.written[0] = image.written[16] = true;

	verbs.may_write = o.yes || before.super_verdict != WB_OK;
	verbs.fail_at = recipe.options >> OPT_CUT_OFF_SHIFT & 15;
	verbs_call(&said, verb_format, &o);
	model_make(&after, &image);
	if (said.rc == RC_OK)
		formatted(backing);
	else if (verbs.failed)
		cut_off();
	else
		CHECK(image_same(&image, &copy));
	if (before.starts && before.nr_owned && !o.force)
		CHECK(said.rc == RC_REFUSED || said.rc == RC_DEVICE);
	CHECK(!verbs.nr_backing_written);
	verbs.may_write = false;
	verbs.fail_at = 0;
	return 0;
}
