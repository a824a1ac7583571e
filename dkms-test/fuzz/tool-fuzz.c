// SPDX-License-Identifier: GPL-2.0
/*
 * check, dump and repair on whole small devices. Input: a recipe.
 *
 * check and dump change nothing, and check says what the module would do. repair changes nothing
 * unless it was told yes; then either it says that it cannot, or the device is good, what is on it
 * is what was there up to some chunk, and what is not there any more was named beforehand. Cut off at
 * any write, it can be done again.
 */
#include "model.h"
#include "recipe.h"
#include "verbs.h"

enum {
	OPT_SKIP = 1, OPT_JSON = 2, OPT_ENTRIES = 4, OPT_ALL = 8, OPT_FORCE = 16,
	OPT_CUT_OFF_SHIFT = 8,		/* in so many writes; 4 bits */
};

/* What starts of a device can count to; see record-fuzz.c. */
#define SANE ((1ull << 62) - 8)

static struct image image;
static struct image_copy copy;
static struct model before, after;
static struct recipe recipe;
static bool unreadable;		/* where it decides */
static bool others;		/* something else's signature was found before the log */
static struct said json, text, said;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	image_init(&image, true);
	verbs_init(&image);
	return 0;
}

/* ---------------------------------------------------------------- check */

static const char *state_of(const struct model *m)
{
	if (m->walk.state == WB_LOG_TORN)
		return "\"state\":\"torn tail\"";
	return m->nr_owned ? "\"state\":\"dirty\"" : "\"state\":\"clean\"";
}

static void check_numbers(const struct model *m)
{
	CHECK(said_number(&json, "chunks") == m->walk.nr_chunks);
	CHECK(said_number(&json, "blocks") == m->walk.nr_blocks);
	CHECK(said_number(&json, "last_id") == m->walk.last.id);
	CHECK(said_number(&json, "dirty_blocks") == m->nr_owned);
	CHECK(said_number(&json, "dirty_bytes") == m->live_sectors << WB_SECTOR_SHIFT);
}

static void compare_check(const struct model *m)
{
	struct options o = { .json = true };
	bool refuses, good;

	verbs_call(&json, verb_check, &o);
	o.json = false;
	verbs_call(&text, verb_check, &o);
	CHECK(json.rc == text.rc);
	others = says(&json, "where nothing but the cache's own blocks");
	if (m->super_verdict != WB_OK || m->shorter) {
		CHECK(json.rc == RC_DEVICE || (json.rc == RC_DAMAGE && !m->shorter));
		return;
	}
	if (m->record_verdict != WB_OK) {
		CHECK(json.rc == RC_DAMAGE && says(&json, "\"log\":null"));
		CHECK(others || says(&text, "The target refuses to start"));
		return;
	}
	refuses = m->err || m->walk.state == WB_LOG_DAMAGED;
	good = !refuses && m->copies_good && !m->rotten_chunks;
	CHECK(json.rc == (!good ? RC_DAMAGE : others ? RC_DEVICE : RC_OK));
	/* Where it may be something else by now, that is the advice. */
	CHECKF((refuses && !others) == says(&text, "The target refuses to start"),
	       "the module %s, and check says something else", refuses ? "refuses" : "starts");
	CHECK((others && !good) == says(&text, "given to something else since"));
	if (!refuses)
		CHECK(said_number(&json, "chunks_with_bad_data") == m->rotten_chunks);
	if (good) {
		CHECK(says(&json, state_of(m)));
		check_numbers(m);
	} else {
		CHECK(says(&json, "\"state\":\"damaged\""));
	}
}

static void dump(void)
{
	struct options o = {
		.json = recipe.options & OPT_JSON,
		.entries = recipe.options & OPT_ENTRIES,
		.all = recipe.options & OPT_ALL,
	};

	verbs_call(&said, verb_dump, &o);
	CHECK(said.rc == RC_OK || before.super_verdict != WB_OK);
}

/* ---------------------------------------------------------------- repair */

static u32 owner(const struct model *m, u64 block, u32 sector)
{
	u32 i;

	for (i = 0; i < m->nr_owned; i++)
		if (m->owned[i].block == block)
			return m->owned[i].place[sector];
	return NO_OWNER;
}

static bool was_written(u64 sector)
{
	u32 i;

	for (i = 0; i < verbs.nr_backing_written; i++)
		if (sector >= verbs.backing_written[i].sector &&
		    sector - verbs.backing_written[i].sector < verbs.backing_written[i].nr)
			return true;
	return false;
}

/* Every sector that the log had and has no more was named, or is on the backing device now. */
static void check_losses(const struct said *announced)
{
	u64 sector;
	u32 i, s, place;

	for (i = 0; i < before.nr_owned; i++) {
		for (s = 0; s < WB_BLOCK_SECTORS; s++) {
			place = before.owned[i].place[s];
			sector = (before.owned[i].block << WB_BLOCK_SECTOR_SHIFT) + s;
			if (place == NO_OWNER || owner(&after, before.owned[i].block, s) == place ||
			    said_sector(announced, sector) || was_written(sector))
				continue;
			CHECKF(0, "backing sector %llu, at place %u, was lost without a word",
			       (unsigned long long)sector, place);
		}
	}
}

/* Is there a tombstone anywhere? Behind damage it may discard what the model still knows. */
static bool has_tombstone(void)
{
	const struct wb_geom *g = &before.super.geom;
	struct wb_header h;
	struct wb_entry e;
	u64 i;
	u32 n;

	for (i = 0; i < g->nr_slots * g->slot_blocks; i++) {
		const void *raw = image_at(&image, wb_slot_offset(g, 0, 0) + (i << WB_BLOCK_SHIFT));

		if (wb_header_decode(g, raw, &h) != WB_OK)
			continue;
		for (n = 0; n < h.nr_entries; n++) {
			wb_entry_decode(raw, n, &e);
			if (e.flags & WB_ENTRY_TOMBSTONE)
				return true;
		}
	}
	return false;
}

static void repaired(const struct options *o, const struct said *announced, bool tombstones)
{
	bool log = unreadable || before.walk.state == WB_LOG_DAMAGED || (o->skip && before.nr_owned) ||
		   !strstr(json.out, "\"chunks_with_bad_data\":0");

	model_make(&after, &image);
	CHECK(after.starts);
	compare_check(&after);
	CHECK(json.rc == RC_OK || (json.rc == RC_DEVICE && others && o->force));
	CHECK(!memcmp(after.super.uuid, before.super.uuid, sizeof(after.super.uuid)));
	if (log && o->skip) {
		CHECK(!after.nr_chunks && !after.nr_owned);
	} else {
		CHECK(model_is_prefix(&before, &after));
		CHECK(after.record.migrated == before.record.migrated);
		if (!log)
			CHECK(after.nr_chunks == before.nr_chunks);
	}
	/* Where nobody can have written so, repair trusts less than the module, and speaks of a hole. */
	if (!tombstones && !verbs.fail_at && before.plausible)
		check_losses(announced);

	/* Once more: nothing to do, and nothing is done. */
	image_save(&image, &copy);
	verbs_call(&said, verb_repair, o);
	CHECK(said.rc == RC_OK && says(&said, "nothing to repair") && !verbs.writes);
	CHECK(image_same(&image, &copy));
}

static void repair(void)
{
	struct options o = {
		.skip = recipe.options & OPT_SKIP,
		.force = recipe.options & OPT_FORCE,
	};
	static struct said announced;
	bool usable = before.super_verdict == WB_OK && !before.shorter &&
		      !(before.super.ro_compat & ~WB_RO_COMPAT_KNOWN), tombstones;
	u64 backing = before.super_verdict == WB_OK ? before.super.geom.backing_sectors : 64;

	verbs_backing(backing);
	o.backing = o.skip ? verbs.backing : NULL;

	/* Not told yes: it only says what it would do. */
	verbs_call(&announced, verb_repair, &o);
	CHECK(!verbs.nr_backing_written && image_same(&image, &copy));
	CHECK(announced.rc != RC_OK || json.rc == RC_OK || json.rc != RC_DAMAGE);
	if (!usable) {
		CHECK(announced.rc == RC_DEVICE || announced.rc == RC_DAMAGE);
		return;
	}
	tombstones = has_tombstone();
	o.yes = true;
	verbs.may_write = true;
	verbs.fail_at = recipe.options >> OPT_CUT_OFF_SHIFT & 15;
	verbs_call(&said, verb_repair, &o);
	if (verbs.failed) {
		CHECK(said.rc != RC_OK);
		verbs.fail_at = 0;
		verbs_call(&said, verb_repair, &o);
		verbs.fail_at = 1;	/* only to remember it */
	}
	if (json.rc != RC_DAMAGE && !(o.skip && before.nr_owned && said.rc == RC_OK)) {
		CHECK(said.rc == (others && !o.force ? RC_REFUSED : RC_OK));
		CHECK(!verbs.writes && image_same(&image, &copy));
	} else if (said.rc == RC_REFUSED || before.record_verdict != WB_OK) {
		/* Given to something else since; or where the log begins cannot be told. */
		CHECK(said.rc == RC_REFUSED || said.rc == RC_DAMAGE);
		CHECK(!verbs.nr_backing_written);
	} else if (before.record.epoch < SANE && before.record.seq < SANE) {
		CHECKF(said.rc == RC_OK, "repair ended with %d", said.rc);
		repaired(&o, &announced, tombstones);
	}
	verbs.may_write = false;
	verbs.fail_at = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (getenv("FUZZ_SHOW"))
		recipe_show(data, size);
	recipe_make(&recipe, &image, data, size);
	model_make(&before, &image);
	image_save(&image, &copy);
	compare_check(&before);
	dump();
	CHECK(image_same(&image, &copy));
	/* What can be told of a log that cannot be read everywhere. */
	unreadable = before.err;
	if (unreadable)
		model_make_blind(&before, &image);
	repair();
	return 0;
}
