// SPDX-License-Identifier: GPL-2.0
/*
 * repair: mend a damaged cache device, or save what is on it.
 *
 * It first says what is wrong and what each way out would lose, by backing range; then it asks;
 * only then it writes. A bad superblock or record copy is rewritten from the good one. A damaged log is
 *
 *   cut (--cut, the default): it ends before the damage, as if nothing after that had been written to
 *   it, though some of that may be on the backing device already; or
 *   salvaged (--skip): all that can be read, also behind the damage, is written to the backing
 *   device, then the log is recorded as empty.
 *
 * Either ends with a record of a new life, whose epoch is higher than that of any header, so that
 * nothing that was cut off can come back.
 */
#include "salvage.h"
#include "show.h"
#include "sysfs.h"

typedef unsigned long long ull;

struct repair {
	const struct options *o;
	struct device *dev;
	struct media m;
	struct log_scan scan;
	bool scanned;
	bool log;			/* something is to be done about the log */
	struct salvage salvage;
	struct ranges cut_loses, skip_loses;
	struct device backing;		/* with --skip */
};

/* ---------------------------------------------------------------- what is wrong */

static void say_copies(const struct repair *r)
{
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		if (r->m.super[i].verdict != WB_OK)
			printf("superblock %d is bad (%s): it will be rewritten from the other one\n",
			       i, wb_verdict_text(r->m.super[i].verdict));
	}
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (r->m.record[i].verdict != WB_OK && r->m.record_verdict == WB_OK)
			printf("record %d is bad (%s): it will be rewritten from the other one\n",
			       i,
			       wb_verdict_text(r->m.record[i].verdict));
	}
}

static int find_losses(struct repair *r)
{
	const struct copies *c = &r->salvage.copies;
	size_t i;

	for (i = 0; i < c->nr; i++) {
		const struct copy *e = &c->v[i];

		if (!e->live)
			continue;
		if ((i >= r->salvage.cut_copies || e->bad) &&
		    ranges_add_block(&r->cut_loses, e->block, e->live))
			return out_of_memory();
		if (e->bad && ranges_add_block(&r->skip_loses, e->block, e->live))
			return out_of_memory();
	}
	ranges_merge(&r->cut_loses);
	ranges_merge(&r->skip_loses);
	return RC_OK;
}

static void say_findings(const struct repair *r)
{
	const struct finding *f;
	u64 i;

	for (i = 0; i < r->scan.nr_findings && i < MAX_FINDINGS; i++) {
		f = &r->scan.findings[i];
		printf("log, segment %llu, block %u (byte %llu): %s: %s\n", (ull)f->id, f->block,
		       (ull)show_offset(&r->m, f->id, f->block), f->text, wb_verdict_text(f->why));
	}
	if (r->scan.nr_findings > MAX_FINDINGS)
		printf("and %llu more\n", (ull)(r->scan.nr_findings - MAX_FINDINGS));
}

static void say_holes(const struct salvage *s)
{
	u64 i;

	for (i = 0; i < s->nr_holes && i < MAX_HOLES; i++)
		printf("  chunks after segment %llu, block %u are gone: what they held cannot be told\n",
		       (ull)s->holes[i].id, s->holes[i].block);
	if (s->nr_holes > MAX_HOLES)
		printf("  and %llu more such places\n", (ull)(s->nr_holes - MAX_HOLES));
	if (s->unproved)
		printf("  %llu chunk%s left out: it cannot be told whether they belong to the log\n",
		       (ull)s->unproved, plural(s->unproved));
}

static void say_log(const struct repair *r)
{
	char size[TEXT_LEN], all[TEXT_LEN];

	say_findings(r);
	if (r->o->skip) {
		printf("--skip writes what can be read to %s and empties the log. This loses:\n",
		       r->o->backing);
		show_ranges("  ", &r->skip_loses);
	} else {
		printf("--cut ends the log before the damage. This loses:\n");
		show_ranges("  ", &r->cut_loses);
	}
	say_holes(&r->salvage);
	if (r->o->skip)
		return;
	printf("Of what was written after, some may be on the backing device already: check the file system "
	       "after it.\n");
	printf("The alternative: " TOOL_NAME " repair %s --skip --backing DEV would lose %s of %s\n",
	       r->dev->path, size_text(r->skip_loses.sectors << WB_SECTOR_SHIFT, size),
	       size_text(r->salvage.copies.live_sectors << WB_SECTOR_SHIFT, all));
}

/* Read all of it, and say what is wrong. *@todo: is anything? */
static int examine(struct repair *r, bool *todo)
{
	int rc, i;

	*todo = false;
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (r->m.super[i].verdict != WB_OK ||
		    (r->m.record_verdict == WB_OK && r->m.record[i].verdict != WB_OK))
			*todo = true;
	}
	say_copies(r);
	if (r->m.record_verdict != WB_OK) {
		err("both records of %s are bad (%s; %s): where its log begins cannot be told, so the "
		    "log cannot be repaired; dump --all shows what is there", r->dev->path,
		    wb_verdict_text(r->m.record[0].verdict),
		    wb_verdict_text(r->m.record[1].verdict));
		return RC_OK;
	}
	rc = scan_log(&r->scan, &r->m, true);
	if (rc)
		return rc;
	r->scanned = true;
	/* A log that is good can be written back, too: where there is no module to do it. */
	if (!r->scan.damaged && !(r->o->skip && r->scan.copies.live_blocks))
		return RC_OK;
	*todo = true;
	r->log = true;
	rc = salvage_log(&r->salvage, &r->m, r->scan.cut);
	if (rc)
		return rc;
	rc = find_losses(r);
	if (!rc)
		say_log(r);
	return rc;
}

/* ---------------------------------------------------------------- writing to the cache */

static int write_cache(struct repair *r, u64 offset, const void *block)
{
	int e = device_write(r->dev, offset, WB_BLOCK_SIZE, block);

	if (!e)
		e = device_sync(r->dev);
	if (!e)
		return RC_OK;
	return fail_errno(-e, "cannot write to %s at byte %llu", r->dev->path, (ull)offset);
}

/* The copies that are bad, from the good ones. */
static int mend_copies(struct repair *r)
{
	u8 block[WB_BLOCK_SIZE];
	int rc = RC_OK, i;

	for (i = 0; i < WB_NR_COPIES && !rc; i++) {
		if (r->m.super[i].verdict != WB_OK)
			rc = write_cache(r, WB_SUPER_OFFSET(i), r->m.super[r->m.super_which].raw);
	}
	if (r->log || r->m.record_verdict != WB_OK)
		return rc;	/* the records will be written anyway, or cannot be */
	for (i = 0; i < WB_NR_COPIES && !rc; i++) {
		if (r->m.record[i].verdict == WB_OK)
			continue;
		r->m.r.seq++;
		wb_record_encode(&r->m.s.geom, &r->m.r, block);
		rc = write_cache(r, WB_RECORD_OFFSET(i), block);
	}
	return rc;
}

/*
 * Both copies, the stale one first, each durable before the next: from the first on, the new life
 * counts, and nothing but this has been written for it.
 */
static int write_records(struct repair *r, struct wb_record *rec)
{
	int which = !r->m.record_which, rc = RC_OK, i;
	u8 block[WB_BLOCK_SIZE];
	struct wb_record check;

	rec->seq = r->m.r.seq;
	/*
	 * The log ends here, for certain, as after a stop in order: nothing behind it, be it unreadable,
	 * is to be searched for more.
	 */
	rec->clean = true;
	if (rec->epoch <= r->salvage.epoch)
		rec->epoch = r->salvage.epoch + 1;
	for (i = 0; i < WB_NR_COPIES && !rc; i++, which = !which) {
		rec->seq++;
		wb_record_encode(&r->m.s.geom, rec, block);
		if (wb_record_decode(&r->m.s.geom, block, &check) != WB_OK) {
			err("internal error: the new record would not be accepted");
			return RC_DEVICE;
		}
		rc = write_cache(r, WB_RECORD_OFFSET(which), block);
	}
	return rc;
}

static int cut_log(struct repair *r)
{
	static const u8 zero[WB_BLOCK_SIZE];
	const struct wb_geom *g = &r->m.s.geom;
	struct wb_walk end = r->scan.walk;
	struct wb_record rec;
	u32 block;
	u64 id;
	int rc, i;

	/* As recovery after a walk that ended at the cut. */
	end.last = r->scan.cut;
	end.last_end = r->scan.cut_end;
	end.last_crc = r->scan.cut_crc;
	end.nr_chunks = r->scan.cut_chunks;
	for (i = 0; wb_walk_must_destroy(&end, i, &id, &block); i++) {
		rc = write_cache(r, wb_slot_offset(g, wb_slot_of(g, id), block), zero);
		if (rc)
			return rc;
	}
	wb_walk_next_life(&end, &rec);
	return write_records(r, &rec);
}

/* ---------------------------------------------------------------- salvage */

/* Write the runs of sectors @mask of @data to backing block @block. */
static int write_back(struct repair *r, u64 block, u8 mask, const u8 *data)
{
	unsigned int i, n;
	int e = 0;

	for (i = 0; i < WB_BLOCK_SECTORS && !e; i += n ? n : 1) {
		for (n = 0; i + n < WB_BLOCK_SECTORS && (mask >> (i + n)) & 1; n++)
			;
		if (n)
			e = device_write(&r->backing,
					 (block << WB_BLOCK_SHIFT) + i * WB_SECTOR_SIZE,
					 n * WB_SECTOR_SIZE, data + i * WB_SECTOR_SIZE);
	}
	return e;
}

static int skip_log(struct repair *r)
{
	struct copies *c = &r->salvage.copies;
	const struct wb_geom *g = &r->m.s.geom;
	u8 data[WB_BLOCK_SIZE];
	struct wb_record rec;
	char size[TEXT_LEN];
	u64 written = 0;
	size_t i;
	int e = 0;

	copies_sort(c);
	for (i = 0; i < c->nr && !e; i++) {
		struct copy *f = &c->v[i];

		if (!f->live || f->bad)
			continue;
		if (interrupted) {
			err("interrupted; the log is kept as it is, run repair again");
			return RC_INTERRUPTED;
		}
		if (device_read(r->dev, wb_slot_offset(g, 0, 0) + ((u64)f->place << WB_BLOCK_SHIFT),
				WB_BLOCK_SIZE, data) || wb_data_crc(data, f->mask) != f->crc) {
			err("%s: block at place %u could be read before and cannot now; nothing was "
			    "recorded, run repair again", r->dev->path, f->place);
			return RC_DEVICE;
		}
		e = write_back(r, f->block, f->live, data);
		written += hweight8(f->live);
	}
	if (!e)
		e = device_sync(&r->backing);
	if (e)
		return fail_errno(-e, "cannot write to %s; the log is kept as it is",
				  r->backing.path);
	printf("wrote %s to %s\n", size_text(written << WB_SECTOR_SHIFT, size), r->backing.path);

	rec = (struct wb_record){
		.epoch = r->m.r.epoch + 1,
		.life_start = r->salvage.top + 1,
		.migrated = r->salvage.top,
		.durable = { .id = r->salvage.top },
	};
	return write_records(r, &rec);
}

/* The device that the log is to be written to must be the one it belongs to. */
static int open_backing(struct repair *r)
{
	char id[WB_BACKING_ID_LEN];
	int rc = device_check_pair(r->o->backing, r->dev->path);

	if (!rc)
		rc = device_open(&r->backing, r->o->backing,
				 DEVICE_WRITE | DEVICE_IMAGE | DEVICE_CACHED);
	if (rc)
		return rc;
	if (r->backing.sectors < r->m.s.geom.backing_sectors) {
		err("%s has %llu sectors, but the backing device of %s has %llu: it is not that one",
		    r->backing.path, (ull)r->backing.sectors, r->dev->path,
		    (ull)r->m.s.geom.backing_sectors);
		rc = RC_DEVICE;
	} else if (*r->m.s.backing_id && !r->o->force) {
		device_identity(&r->backing, r->m.s.backing_id, id);
		if (strcmp(id, r->m.s.backing_id)) {
			err("%s is '%s', but %s belongs to '%s'; if it is a copy of that device, add "
			    "--force", r->backing.path, *id ? id : "unknown", r->dev->path,
			    r->m.s.backing_id);
			rc = RC_REFUSED;
		}
	}
	if (rc)
		device_close(&r->backing);
	return rc;
}

/* ---------------------------------------------------------------- the verb */

/* Is it good now? Read everything again, from the device. */
static int confirm_repair(struct repair *r)
{
	struct log_scan scan;
	bool good;
	int rc;

	media_read(&r->m, r->dev);
	good = media_whole(&r->m) && r->m.super[0].verdict == WB_OK &&
	       r->m.super[1].verdict == WB_OK && r->m.record[0].verdict == WB_OK &&
	       r->m.record[1].verdict == WB_OK;
	if (good) {
		rc = scan_log(&scan, &r->m, true);
		if (rc)
			return rc;
		good = !scan.damaged;
		if (good)
			printf("%s is repaired: %s\n", r->dev->path, scan_state(&scan));
		scan_free(&scan);
	}
	if (good)
		return RC_OK;
	err("%s is still damaged; see check", r->dev->path);
	return RC_DAMAGE;
}

static int mend(struct repair *r)
{
	int rc;

	rc = mend_copies(r);
	if (!rc && r->log)
		rc = r->o->skip ? skip_log(r) : cut_log(r);
	return rc ? rc : confirm_repair(r);
}

/* Nobody asked for the log to be cut, and only copies that have been superseded are damaged. */
static bool needless(const struct repair *r)
{
	return !r->o->cut && !r->o->skip && !r->scan.broken && !r->scan.unreadable &&
	       !r->skip_loses.nr && !r->salvage.nr_holes && !r->salvage.unproved;
}

static int repair(struct repair *r)
{
	bool todo;
	int rc;

	media_read(&r->m, r->dev);
	if (r->m.super_verdict != WB_OK)
		return media_explain(&r->m);
	if (r->m.shorter)
		return media_shorter(&r->m);
	rc = media_writable(&r->m, r->o->force);
	if (rc)
		return rc;
	rc = examine(r, &todo);
	if (rc)
		return rc;
	if (!todo) {
		if (r->m.record_verdict != WB_OK)
			return RC_DAMAGE;
		printf("%s: nothing to repair: %s\n", r->dev->path, scan_state(&r->scan));
		return RC_OK;
	}
	if (r->log && needless(r)) {
		err("refused: the target starts with this, and nothing of it is lost, as what is damaged has "
		    "been overwritten since: create and drain it. Or say --skip or --cut");
		return RC_REFUSED;
	}
	if (r->log && r->o->skip) {
		rc = open_backing(r);
		if (rc)
			return rc;
	}
	rc = confirm(r->o->yes, r->log ? "Write this, and lose what is listed?" : "Write this?");
	if (!rc)
		rc = mend(r);
	if (r->log && r->o->skip)
		device_close(&r->backing);
	return rc;
}

int verb_repair(const struct args *a, const struct options *o)
{
	struct repair *r;
	struct device d;
	int rc;

	if (o->cut && o->skip) {
		err("repair: --cut and --skip exclude each other");
		return RC_USAGE;
	}
	if (o->skip != !!o->backing) {
		err("repair: --skip and --backing DEV go together");
		return RC_USAGE;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return out_of_memory();
	rc = device_open(&d, a->v[0], DEVICE_WRITE | DEVICE_IMAGE);
	if (!rc) {
		r->o = o;
		r->dev = &d;
		rc = repair(r);
		device_close(&d);
	}
	if (r->scanned)
		scan_free(&r->scan);
	salvage_free(&r->salvage);
	ranges_free(&r->cut_loses);
	ranges_free(&r->skip_loses);
	free(r);
	return rc;
}
