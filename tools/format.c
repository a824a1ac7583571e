// SPDX-License-Identifier: GPL-2.0
/*
 * format: make a device the cache of a backing device.
 *
 * Writes the superblocks and records alone, in O(1): the log of an earlier cache is refused by its
 * seed, which comes from the new random UUID. The order of writes is such that, cut off anywhere,
 * the device is either what it was or is refused: the old superblocks go first, and the new ones
 * come only when all that they stand for is durable, the first one last.
 *
 * The backing device is opened to look at it and to see that nobody uses it, and never written.
 */
#include <time.h>
#include <uuid/uuid.h>

#include "media.h"
#include "signature.h"
#include "sysfs.h"

struct job {
	const struct options *o;
	struct device cache, backing;
	struct media old;
	struct signatures foreign;
	u64 foreign_end;	/* where to look for signatures: see look_for_foreign() */
	struct wb_super s;
};

/* ---------------------------------------------------------------- what is there */

/*
 * The slots of a cache of ours hold blocks of the backing device, which may look like anything, so
 * there only what lies before them counts.
 */
static int look_for_foreign(struct job *j)
{
	int rc;

	j->foreign_end = media_is_ours(&j->old) ? WB_FIRST_SLOT_OFFSET : 0;
	rc = signatures_find(&j->cache, j->foreign_end, &j->foreign);
	if (!rc && j->foreign.unreadable) {
		err("cannot look for signatures on %s: it cannot be read", j->cache.path);
		rc = RC_DEVICE;
	}
	return rc;
}

/*
 * Look at an existing cache of ours. *@refuse is set when formatting it would lose data, or when
 * that cannot be told.
 */
static int look_at_log(struct job *j, bool *refuse)
{
	const char *path = j->cache.path;
	char size[TEXT_LEN];
	struct log_scan scan;
	int rc;

	*refuse = true;
	if (j->old.super_verdict != WB_OK) {
		err("%s holds a dm-writeboost cache that cannot be read (%s); it may hold dirty data",
		    path, wb_verdict_text(j->old.super_verdict));
		return RC_OK;
	}
	if (!media_whole(&j->old)) {
		err("%s holds a damaged dm-writeboost cache (%s); it may hold dirty data", path,
		    j->old.shorter ? "the device is shorter than recorded" : "both records are bad");
		return RC_OK;
	}
	rc = scan_log(&scan, &j->old, false);
	if (rc)
		return rc;
	size_text(scan.copies.live_sectors << WB_SECTOR_SHIFT, size);
	if (scan.damaged)
		err("%s holds a damaged dm-writeboost cache with at least %s of dirty data", path,
		    size);
	else if (scan.copies.live_blocks)
		err("%s holds a dm-writeboost cache with %s of dirty data in %llu block%s, which the "
		    "backing device does not have", path, size,
		    (unsigned long long)scan.copies.live_blocks, plural(scan.copies.live_blocks));
	else
		*refuse = false;
	scan_free(&scan);
	return RC_OK;
}

/* Refuse, or ask, if formatting would destroy something. */
static int ask(struct job *j)
{
	const char *path = j->cache.path;
	bool ours = media_is_ours(&j->old);
	bool old = j->old.super[0].verdict == WB_OLD_WRITEBOOST;
	bool refuse = false;
	char question[512];
	int rc, i;

	rc = look_for_foreign(j);
	if (rc)
		return rc;
	for (i = 0; i < j->foreign.nr; i++)
		err("found on %s: %s (at byte %llu)", path, j->foreign.found[i].what,
		    (unsigned long long)j->foreign.found[i].offset);
	if (old)
		err("found on %s: a cache of dm-writeboost 2.x, which may hold dirty data", path);
	if (ours) {
		rc = look_at_log(j, &refuse);
		if (rc)
			return rc;
	}
	if ((refuse || old || j->foreign.nr) && !j->o->force) {
		err("refused to format %s; to destroy what is there, add --force", path);
		return RC_REFUSED;
	}
	if (!ours && !old && !j->foreign.nr)
		return RC_OK;
	if (ours && !refuse && !j->foreign.nr && !old)
		snprintf(question, sizeof(question),
			 "%s is already a dm-writeboost cache, without dirty data. Format it again?", path);
	else
		snprintf(question, sizeof(question), "Destroy what is on %s?", path);
	return confirm(j->o->yes, question);
}

/* ---------------------------------------------------------------- writing */

static int lay_out(struct job *j)
{
	const char *why = wb_geometry(&j->s.geom, j->cache.sectors, j->backing.sectors,
				      j->o->segment_size);

	if (why) {
		err("cannot format %s as a cache of %s: %s", j->cache.path, j->backing.path, why);
		return RC_DEVICE;
	}
	uuid_generate_random(j->s.uuid);
	j->s.created = (u64)time(NULL);
	device_identity(&j->backing, NULL, j->s.backing_id);
	return RC_OK;
}

/* A step of writing; keeps the first error. */
static void put(struct job *j, int *e, u64 offset, const void *block)
{
	if (!*e)
		*e = device_write(&j->cache, offset, WB_BLOCK_SIZE, block);
}

static void sync_all(struct job *j, int *e)
{
	if (!*e)
		*e = device_sync(&j->cache);
}

static int write_all(struct job *j)
{
	static const u8 zero[WB_BLOCK_SIZE];
	u8 super[WB_BLOCK_SIZE], record[WB_BLOCK_SIZE];
	struct wb_record r = { .epoch = 1, .life_start = 1, .clean = true };
	struct wb_super check;
	int e = 0, rc, i;

	wb_super_encode(&j->s, super);
	if (wb_super_decode(super, &check) != WB_OK) {
		err("internal error: the new superblock would not be accepted");
		return RC_DEVICE;
	}
	j->s.geom.seed = check.geom.seed;	/* made from the UUID */

	for (i = 0; i < WB_NR_COPIES; i++)
		put(j, &e, WB_SUPER_OFFSET(i), zero);
	sync_all(j, &e);
	if (!e && j->foreign.nr) {
		rc = signatures_wipe(&j->cache, j->foreign_end);
		if (rc)
			return rc;
	}
	for (i = 0; i < WB_NR_COPIES; i++) {
		r.seq++;
		wb_record_encode(&j->s.geom, &r, record);
		put(j, &e, WB_RECORD_OFFSET(i), record);
	}
	sync_all(j, &e);
	for (i = WB_NR_COPIES; i-- > 0;) {
		put(j, &e, WB_SUPER_OFFSET(i), super);
		sync_all(j, &e);
	}
	if (e)
		return fail_errno(-e, "cannot write to %s; format it again before it is used",
				  j->cache.path);
	return RC_OK;
}

/* Read back what was written: a device that lies is better found now. */
static int verify(struct job *j)
{
	struct media *m = &j->old;
	int i;

	media_read(m, &j->cache);
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (m->super[i].verdict != WB_OK || m->record[i].verdict != WB_OK ||
		    memcmp(m->super[i].s.uuid, j->s.uuid, sizeof(j->s.uuid))) {
			err("%s does not give back what was written to it", j->cache.path);
			return RC_DEVICE;
		}
	}
	return RC_OK;
}

static void report(const struct job *j)
{
	char uuid[UUID_STR_LEN], cache[TEXT_LEN], segment[TEXT_LEN], backing[TEXT_LEN];
	const struct wb_geom *g = &j->s.geom;

	uuid_unparse_lower(j->s.uuid, uuid);
	size_text((u64)g->nr_slots * g->slot_blocks << WB_BLOCK_SHIFT, cache);
	size_text((u64)g->slot_blocks << WB_BLOCK_SHIFT, segment);
	size_text(g->backing_sectors << WB_SECTOR_SHIFT, backing);
	printf("%s is now a cache of %s\n", j->cache.path, j->backing.path);
	printf("  uuid      %s\n", uuid);
	printf("  log       %s: %llu segments of %s\n", cache, (unsigned long long)g->nr_slots,
	       segment);
	printf("  backing   %s%s%s\n", backing, *j->s.backing_id ? ", " : "", j->s.backing_id);
	if (j->cache.block && j->backing.block)
		printf("Next: " TOOL_NAME " create NAME %s %s\n", j->backing.path, j->cache.path);
}

static int format(struct job *j)
{
	int rc;

	rc = lay_out(j);
	if (rc)
		return rc;
	media_read(&j->old, &j->cache);
	rc = ask(j);
	if (rc)
		return rc;
	rc = write_all(j);
	if (!rc)
		rc = verify(j);
	if (!rc)
		report(j);
	return rc;
}

int verb_format(const struct args *a, const struct options *o)
{
	struct job *j;
	int rc;

	if (!o->backing) {
		err("format: say which device is to be cached: --backing DEV");
		return RC_USAGE;
	}
	j = calloc(1, sizeof(*j));
	if (!j)
		return out_of_memory();
	j->o = o;
	rc = device_check_pair(o->backing, a->v[0]);
	if (!rc)
		rc = device_open(&j->cache, a->v[0], DEVICE_WRITE | DEVICE_IMAGE);
	if (!rc) {
		rc = device_open(&j->backing, o->backing, DEVICE_IMAGE);
		if (!rc) {
			rc = format(j);
			device_close(&j->backing);
		}
		device_close(&j->cache);
	}
	free(j);
	return rc;
}
