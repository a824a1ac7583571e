// SPDX-License-Identifier: GPL-2.0
#include <time.h>
#include <uuid/uuid.h>

#include "show.h"

typedef unsigned long long ull;

#define MAX_RANGES 1000		/* shown as text; JSON has all */

void show_ranges(const char *head, const struct ranges *r)
{
	char size[TEXT_LEN];
	size_t i;

	for (i = 0; i < r->nr && i < MAX_RANGES; i++)
		printf("%sbacking sectors %llu to %llu (%s)\n", head, (ull)r->v[i].first,
		       (ull)(r->v[i].first + r->v[i].nr - 1),
		       size_text(r->v[i].nr << WB_SECTOR_SHIFT, size));
	if (r->nr > MAX_RANGES)
		printf("%sand %zu more ranges\n", head, r->nr - MAX_RANGES);
	if (r->nr > 1)
		printf("%sin all %s\n", head, size_text(r->sectors << WB_SECTOR_SHIFT, size));
}

struct json_object *show_json_ranges(const struct ranges *r)
{
	struct json_object *list = json_list(), *o;
	size_t i;

	for (i = 0; i < r->nr; i++) {
		o = json_new();
		json_num(o, "first_sector", r->v[i].first);
		json_num(o, "sectors", r->v[i].nr);
		json_append(list, o);
	}
	return list;
}

/* ---------------------------------------------------------------- superblocks */

static void when(u64 seconds, char *to, size_t len)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds > 253402300799ull || !gmtime_r(&t, &tm) ||
	    !strftime(to, len, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(to, len, "%llu", (ull)seconds);
}

/* Text from the media, for a terminal: no control characters. */
static void printable(const char *from, char *to, size_t len)
{
	size_t i;

	for (i = 0; from[i] && i < len - 1; i++)
		to[i] = from[i] >= ' ' && from[i] < 0x7f ? from[i] : '?';
	to[i] = '\0';
}

void show_supers(const struct media *m)
{
	char uuid[UUID_STR_LEN], created[40], id[WB_BACKING_ID_LEN];
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		const struct super_copy *c = &m->super[i];
		const struct wb_super *s = &c->s;

		printf("superblock %d at byte %llu: %s\n", i, (ull)WB_SUPER_OFFSET(i),
		       wb_verdict_text(c->verdict));
		if (c->verdict != WB_OK)
			continue;
		uuid_unparse_lower(s->uuid, uuid);
		when(s->created, created, sizeof(created));
		printable(s->backing_id, id, sizeof(id));
		printf("  uuid             %s\n  created          %s\n", uuid, created);
		printf("  features         compat %#llx, ro_compat %#llx, incompat %#llx\n",
		       (ull)s->compat, (ull)s->ro_compat, (ull)s->incompat);
		printf("  segments         %llu of %u blocks\n", (ull)s->geom.nr_slots,
		       s->geom.slot_blocks);
		printf("  cache sectors    %llu\n  backing sectors  %llu\n",
		       (ull)s->geom.cache_sectors, (ull)s->geom.backing_sectors);
		printf("  backing id       %s\n", *id ? id : "(none)");
	}
}

struct json_object *show_json_supers(const struct media *m)
{
	struct json_object *list = json_list(), *o;
	char uuid[UUID_STR_LEN], id[WB_BACKING_ID_LEN];
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		const struct super_copy *c = &m->super[i];
		const struct wb_super *s = &c->s;

		o = json_new();
		json_num(o, "offset_bytes", WB_SUPER_OFFSET(i));
		json_flag(o, "good", c->verdict == WB_OK);
		json_str(o, "verdict", wb_verdict_text(c->verdict));
		if (c->verdict == WB_OK) {
			uuid_unparse_lower(s->uuid, uuid);
			printable(s->backing_id, id, sizeof(id));
			json_str(o, "uuid", uuid);
			json_num(o, "created_seconds", s->created);
			json_num(o, "compat", s->compat);
			json_num(o, "ro_compat", s->ro_compat);
			json_num(o, "incompat", s->incompat);
			json_num(o, "segments", s->geom.nr_slots);
			json_num(o, "segment_bytes", (u64)s->geom.slot_blocks << WB_BLOCK_SHIFT);
			json_num(o, "cache_sectors", s->geom.cache_sectors);
			json_num(o, "backing_sectors", s->geom.backing_sectors);
			json_str(o, "backing_id", id);
		}
		json_append(list, o);
	}
	return list;
}

/* ---------------------------------------------------------------- records */

void show_records(const struct media *m)
{
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		const struct record_copy *c = &m->record[i];

		printf("record %d at byte %llu: %s%s\n", i, (ull)WB_RECORD_OFFSET(i),
		       wb_verdict_text(c->verdict),
		       m->record_verdict == WB_OK && i == m->record_which ? ", current" : "");
		if (c->verdict != WB_OK)
			continue;
		printf("  sequence         %llu\n", (ull)c->r.seq);
		printf("  epoch            %llu, from segment %llu on, link %08x\n",
		       (ull)c->r.epoch,
		       (ull)c->r.life_start, c->r.life_link);
		printf("  migrated         segment %llu\n", (ull)c->r.migrated);
		printf("  durable          segment %llu, chunk %u%s\n", (ull)c->r.durable.id,
		       c->r.durable.chunk, c->r.clean ? ", the end: stopped in order" : "");
	}
}

struct json_object *show_json_records(const struct media *m)
{
	struct json_object *list = json_list(), *o;
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		const struct record_copy *c = &m->record[i];

		o = json_new();
		json_num(o, "offset_bytes", WB_RECORD_OFFSET(i));
		json_flag(o, "good", c->verdict == WB_OK);
		json_flag(o, "current", m->record_verdict == WB_OK && i == m->record_which);
		json_str(o, "verdict", wb_verdict_text(c->verdict));
		if (c->verdict == WB_OK) {
			json_num(o, "sequence", c->r.seq);
			json_num(o, "epoch", c->r.epoch);
			json_num(o, "life_start_id", c->r.life_start);
			json_num(o, "life_link", c->r.life_link);
			json_num(o, "migrated_id", c->r.migrated);
			json_num(o, "durable_id", c->r.durable.id);
			json_num(o, "durable_chunk", c->r.durable.chunk);
			json_flag(o, "stopped_in_order", c->r.clean);
		}
		json_append(list, o);
	}
	return list;
}
