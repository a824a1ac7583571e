// SPDX-License-Identifier: GPL-2.0
/*
 * dump: show what is on a cache device, good or not.
 *
 * Where everything else asks what counts, this shows what is there: each block of a slot is looked
 * at for a header, whether the chain leads to it or not. Without --all only the segments that are
 * not written back yet are shown; --all goes through every slot, leftovers included.
 */
#include "show.h"
#include "slot.h"

typedef unsigned long long ull;

struct dump {
	const struct media *m;
	const struct options *o;
	bool all;
	struct slot *slot;
	struct json_object *segments;	/* NULL for text */
};

/* A chunk is judged here by itself: checksums alone. */
static u32 count_bad(const struct dump *d, const struct wb_header *h)
{
	u32 i, bad = 0;

	for (i = 0; i < h->nr_entries; i++)
		bad += !slot_entry_good(d->slot, h, i);
	return bad;
}

/* ---------------------------------------------------------------- one chunk */

static void text_entries(const struct dump *d, const struct wb_header *h)
{
	const struct wb_header_disk *raw = slot_block(d->slot, h->block);
	struct wb_entry e;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			printf("      %3u: discarded: backing blocks %llu to %llu\n", i,
			       (ull)e.block,
			       (ull)(e.block + e.crc - 1));
		else
			printf("      %3u: backing block %llu, sectors %02x, crc %08x%s\n", i,
			       (ull)e.block, e.mask, e.crc,
			       slot_entry_good(d->slot, h, i) ? "" : ", DATA BAD");
	}
}

static void text_chunk(const struct dump *d, const struct wb_header *h, u32 bad)
{
	printf("    chunk %u at block %u: %u block%s, epoch %llu, durable %llu.%u, link %08x, crc %08x",
	       h->chunk, h->block, h->nr_entries, plural(h->nr_entries), (ull)h->epoch,
	       (ull)h->durable.id, h->durable.chunk, h->link, h->crc);
	if (bad)
		printf(", DATA BAD in %u block%s", bad, plural(bad));
	putchar('\n');
	if (d->o->entries)
		text_entries(d, h);
}

static struct json_object *json_entries(const struct dump *d, const struct wb_header *h)
{
	const struct wb_header_disk *raw = slot_block(d->slot, h->block);
	struct json_object *list = json_list(), *o;
	struct wb_entry e;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		o = json_new();
		json_num(o, "backing_block", e.block);
		json_flag(o, "tombstone", e.flags & WB_ENTRY_TOMBSTONE);
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			json_num(o, "blocks", e.crc);
		} else {
			json_num(o, "sector_mask", e.mask);
			json_num(o, "crc", e.crc);
			json_flag(o, "data_good", slot_entry_good(d->slot, h, i));
		}
		json_append(list, o);
	}
	return list;
}

static struct json_object *json_chunk(const struct dump *d, const struct wb_header *h, u32 bad)
{
	struct json_object *o = json_new();

	json_num(o, "chunk", h->chunk);
	json_num(o, "block", h->block);
	json_str(o, "verdict", wb_verdict_text(WB_OK));
	json_num(o, "epoch", h->epoch);
	json_num(o, "durable_id", h->durable.id);
	json_num(o, "durable_chunk", h->durable.chunk);
	json_num(o, "link", h->link);
	json_num(o, "crc", h->crc);
	json_num(o, "blocks", h->nr_entries);
	json_num(o, "bad_blocks", bad);
	if (d->o->entries)
		json_obj(o, "entries", json_entries(d, h));
	return o;
}

/* ---------------------------------------------------------------- one slot */

/* The segment that chunks are being printed of; a slot may hold leftovers of several. */
struct open_segment {
	u64 id;
	struct json_object *chunks;
};

static void begin_segment(const struct dump *d, struct open_segment *seg, u64 id)
{
	const struct wb_geom *g = &d->m->s.geom;
	struct json_object *o;
	u64 offset = wb_slot_offset(g, d->slot->nr, 0);

	if (seg->id == id && id)
		return;
	seg->id = id;
	if (!d->segments) {
		printf("  segment %llu in slot %llu, lap %llu, byte %llu\n", (ull)id,
		       (ull)d->slot->nr, (ull)wb_lap_of(g, id), (ull)offset);
		return;
	}
	o = json_new();
	seg->chunks = json_list();
	json_num(o, "id", id);
	json_num(o, "slot", d->slot->nr);
	json_num(o, "lap", wb_lap_of(g, id));
	json_num(o, "offset_bytes", offset);
	json_obj(o, "chunks", seg->chunks);
	json_append(d->segments, o);
}

static void bad_header(const struct dump *d, struct open_segment *seg, u64 id, u32 block,
		       enum wb_verdict v)
{
	struct json_object *o;

	begin_segment(d, seg, seg->id ? seg->id : id);
	if (!d->segments) {
		printf("    at block %u: a header that is not good: %s\n", block,
		       wb_verdict_text(v));
		return;
	}
	o = json_new();
	json_num(o, "block", block);
	json_str(o, "verdict", wb_verdict_text(v));
	json_append(seg->chunks, o);
}

/*
 * Show what is in a slot. @id: the segment wanted; with --all, the one to name where nothing else
 * does. Return: whether there was a header of it.
 */
static bool dump_slot(struct dump *d, u64 id)
{
	const struct wb_geom *g = &d->m->s.geom;
	struct open_segment seg = { 0 };
	struct wb_header h;
	enum wb_verdict v;
	bool found = false;
	u32 block = 0, bad;

	slot_read(d->m, wb_slot_of(g, id), d->slot);
	while (block + 1 < g->slot_blocks) {
		v = slot_header(d->m, d->slot, block, &h);
		if (v == WB_OK && (d->all || h.id == id)) {
			bad = count_bad(d, &h);
			begin_segment(d, &seg, h.id);
			if (d->segments)
				json_append(seg.chunks, json_chunk(d, &h, bad));
			else
				text_chunk(d, &h, bad);
			found = true;
			block += 1 + h.nr_entries;
			continue;
		}
		/* In the middle of leftovers an odd header means nothing; behind a good one, it may. */
		if (v != WB_OK && v != WB_NOT_OURS && (d->all || found || !block))
			bad_header(d, &seg, id, block, v);
		block++;
	}
	return found;
}

static int dump_log(struct dump *d)
{
	const struct wb_geom *g = &d->m->s.geom;
	u64 id, last, gap = 0, fit;

	if (d->all) {
		/* Not beyond the end of a device that is shorter than it was. */
		fit = d->m->dev->sectors << WB_SECTOR_SHIFT;
		fit = fit < WB_FIRST_SLOT_OFFSET ? 0 : fit - WB_FIRST_SLOT_OFFSET;
		fit /= (u64)g->slot_blocks << WB_BLOCK_SHIFT;
		last = fit < g->nr_slots ? fit : g->nr_slots;
		id = 1;
	} else {
		id = d->m->r.migrated + 1;
		last = d->m->r.migrated + g->nr_slots;
	}
	for (; id <= last && (d->all || gap <= WB_MAX_VOLATILE_SEGMENTS); id++) {
		if (interrupted) {
			err("interrupted");
			return RC_INTERRUPTED;
		}
		gap = dump_slot(d, id) ? 0 : gap + 1;
	}
	return RC_OK;
}

static int dump(const struct media *m, const struct options *o)
{
	struct dump d = { .m = m, .o = o, .all = o->all };
	bool log = m->super_verdict == WB_OK;
	struct json_object *top = NULL;
	int rc = RC_OK;

	if (log && m->record_verdict != WB_OK) {
		warn("%s has no good record: showing all segments", m->dev->path);
		d.all = true;
	}
	d.slot = malloc(sizeof(*d.slot));
	if (!d.slot)
		return out_of_memory();
	if (o->json) {
		top = json_new();
		d.segments = json_list();
		json_num(top, "schema_version", SCHEMA_VERSION);
		json_str(top, "device", m->dev->path);
		json_num(top, "device_sectors", m->dev->sectors);
		json_obj(top, "superblocks", show_json_supers(m));
		json_obj(top, "records", log ? show_json_records(m) : json_list());
		json_obj(top, "segments", d.segments);
	} else {
		show_supers(m);
		if (log)
			show_records(m);
		printf("log%s\n", !log ? ": cannot be shown without a good superblock" :
		       d.all ? ", all slots" : ", not written back yet");
	}
	if (log)
		rc = dump_log(&d);
	if (top) {
		if (rc)
			json_free(top);
		else
			rc = json_print(top);
	}
	free(d.slot);
	return rc;
}

int verb_dump(const struct args *a, const struct options *o)
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
	if (m->super_verdict != WB_OK && !media_is_ours(m))
		rc = media_explain(m);
	else
		rc = dump(m, o);
	free(m);
	device_close(&d);
	return rc;
}
