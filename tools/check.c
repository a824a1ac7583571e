// SPDX-License-Identifier: GPL-2.0
/* check: read every superblock, record, header and checksum that counts, and say how it stands. */
#include <uuid/uuid.h>

#include "media.h"
#include "show.h"

struct report {
	const char *state;
	bool damaged;
	bool others;		/* it seems to be something else's by now */
	struct ranges lost;	/* backing sectors whose newest copy is bad */
};

static int find_lost(const struct log_scan *scan, struct ranges *lost)
{
	const struct copies *c = &scan->copies;
	size_t i;

	for (i = 0; i < c->nr; i++) {
		if (c->v[i].bad && c->v[i].live &&
		    ranges_add_block(lost, c->v[i].block, c->v[i].live))
			return out_of_memory();
	}
	ranges_merge(lost);
	return RC_OK;
}

/* ---------------------------------------------------------------- for people */

static void print_log(const struct media *m, const struct log_scan *scan)
{
	const struct wb_walk *w = &scan->walk;
	char size[TEXT_LEN];
	u64 i;

	if (w->nr_chunks)
		printf("  log          segments %llu to %llu: %llu chunk%s, %llu block%s\n",
		       (unsigned long long)m->r.migrated + 1, (unsigned long long)w->last.id,
		       (unsigned long long)w->nr_chunks, plural(w->nr_chunks),
		       (unsigned long long)w->nr_blocks, plural(w->nr_blocks));
	else
		printf("  log          empty: all up to segment %llu is on the backing device\n",
		       (unsigned long long)m->r.migrated);
	printf("  dirty        %s in %llu block%s\n",
	       size_text(scan->copies.live_sectors << WB_SECTOR_SHIFT, size),
	       (unsigned long long)scan->copies.live_blocks, plural(scan->copies.live_blocks));
	for (i = 0; i < scan->nr_findings && i < MAX_FINDINGS; i++) {
		const struct finding *f = &scan->findings[i];

		printf("  segment %llu, block %u (byte %llu): %s: %s\n", (unsigned long long)f->id,
		       f->block, (unsigned long long)show_offset(m, f->id, f->block), f->text,
		       wb_verdict_text(f->why));
	}
	if (scan->nr_findings > MAX_FINDINGS)
		printf("  and %llu more\n", (unsigned long long)(scan->nr_findings - MAX_FINDINGS));
}

static void print_advice(const struct media *m, const struct log_scan *scan, const struct report *r)
{
	const char *path = m->dev->path;

	if (r->others) {
		printf("It seems to have been given to something else since: repair it only if not so\n");
		return;
	}

	if (!scan) {
		printf("The target refuses to start with this, and where the log begins cannot be told; "
		       TOOL_NAME " dump %s --all shows what is there\n", path);
		return;
	}
	if (scan->unreadable || scan->broken)
		printf("The target refuses to start with this. ");
	else if (scan->damaged && !r->lost.nr)
		printf("The target starts with this, and nothing is lost: what is damaged has been overwritten "
		       "since. Best create and drain it. ");
	else if (scan->damaged)
		printf("The target starts with this, and loses what is listed unless that is overwritten; what "
		       "comes after it in the log is written back last. Best save all else: " TOOL_NAME
		       " repair %s --skip --backing DEV. ", path);
	else
		printf("The target can still use it. ");
	printf("What can be done: " TOOL_NAME " repair %s\n", path);
}

static void print_people(const struct media *m, const struct log_scan *scan, const struct report *r)
{
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(m->s.uuid, uuid);
	printf("%s: %s\n  uuid         %s\n", m->dev->path, r->state, uuid);
	printf("  superblocks  %s; %s\n", wb_verdict_text(m->super[0].verdict),
	       wb_verdict_text(m->super[1].verdict));
	printf("  records      %s; %s\n", wb_verdict_text(m->record[0].verdict),
	       wb_verdict_text(m->record[1].verdict));
	if (scan) {
		print_log(m, scan);
		show_ranges("  damaged      ", &r->lost);
	} else {
		printf("  log          cannot be read without a good record\n");
	}
	if (r->damaged)
		print_advice(m, scan, r);
}

/* ---------------------------------------------------------------- for programs */

static struct json_object *json_log(const struct media *m, const struct log_scan *scan)
{
	const struct wb_walk *w = &scan->walk;
	struct json_object *o = json_new();

	json_str(o, "state", scan_state(scan));
	json_num(o, "migrated_id", m->r.migrated);
	json_num(o, "last_id", w->last.id);
	json_num(o, "durable_id", w->durable.id);
	json_num(o, "chunks", w->nr_chunks);
	json_num(o, "blocks", w->nr_blocks);
	json_num(o, "dirty_blocks", scan->copies.live_blocks);
	json_num(o, "dirty_bytes", scan->copies.live_sectors << WB_SECTOR_SHIFT);
	json_num(o, "chunks_with_bad_data", scan->rotten_chunks);
	json_num(o, "end_id", w->bad_id);
	json_num(o, "end_block", w->bad_block);
	json_str(o, "end_why", wb_verdict_text(w->bad_why));
	return o;
}

static int print_json(const struct media *m, const struct log_scan *scan, const struct report *r)
{
	struct json_object *o = json_new(), *list = json_list(), *f;
	char uuid[UUID_STR_LEN];
	u64 i;

	uuid_unparse_lower(m->s.uuid, uuid);
	json_num(o, "schema_version", SCHEMA_VERSION);
	json_str(o, "device", m->dev->path);
	json_str(o, "state", r->state);
	json_str(o, "uuid", uuid);
	json_obj(o, "superblocks", show_json_supers(m));
	json_obj(o, "records", show_json_records(m));
	if (scan)
		json_obj(o, "log", json_log(m, scan));
	else
		json_null(o, "log");
	for (i = 0; scan && i < scan->nr_findings && i < MAX_FINDINGS; i++) {
		f = json_new();
		json_num(f, "id", scan->findings[i].id);
		json_num(f, "block", scan->findings[i].block);
		json_num(f, "offset_bytes",
			 show_offset(m, scan->findings[i].id, scan->findings[i].block));
		json_str(f, "why", wb_verdict_text(scan->findings[i].why));
		json_str(f, "text", scan->findings[i].text);
		json_append(list, f);
	}
	json_obj(o, "findings", list);
	json_num(o, "nr_findings", scan ? scan->nr_findings : 0);
	json_obj(o, "damaged_ranges", show_json_ranges(&r->lost));
	return json_print(o);
}

/* ---------------------------------------------------------------- the verb */

static int check(const struct media *m, const struct options *o)
{
	struct report r = { 0 };
	struct log_scan scan;
	bool walked = false;
	int rc = RC_OK, i;

	media_find_others(m, &r.others);	/* whoever only reads may go on where one cannot tell */
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (m->super[i].verdict != WB_OK || m->record[i].verdict != WB_OK)
			r.damaged = true;
	}
	if (media_whole(m)) {
		rc = scan_log(&scan, m, true);
		if (rc)
			return rc;
		walked = true;
		r.damaged |= scan.damaged;
		rc = find_lost(&scan, &r.lost);
	}
	r.state = r.damaged || !walked ? "damaged" : scan_state(&scan);
	if (!rc && o->json)
		rc = print_json(m, walked ? &scan : NULL, &r);
	else if (!rc)
		print_people(m, walked ? &scan : NULL, &r);
	ranges_free(&r.lost);
	if (walked)
		scan_free(&scan);
	if (!rc)
		rc = r.damaged ? RC_DAMAGE : r.others ? RC_DEVICE : RC_OK;
	return rc;
}

int verb_check(const struct args *a, const struct options *o)
{
	struct device d;
	struct media *m;
	int rc = device_open(&d, a->v[0], DEVICE_IMAGE);

	if (rc)
		return rc;
	m = malloc(sizeof(*m));
	if (!m) {
		device_close(&d);
		return out_of_memory();
	}
	media_read(m, &d);
	if (m->super_verdict != WB_OK)
		rc = media_explain(m);
	else if (m->shorter)
		rc = media_shorter(m);
	else
		rc = check(m, o);
	free(m);
	device_close(&d);
	return rc;
}
