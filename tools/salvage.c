// SPDX-License-Identifier: GPL-2.0
#include "salvage.h"
#include "slot.h"

/* Epochs count starts of a device. What claims more is not worth being outdone. */
#define EPOCH_SANE	(1ull << 62)

/* A chunk that belongs to the log. */
struct found {
	u64 id;
	u64 epoch;
	struct wb_pos durable;
	u32 chunk;
	u32 block;	/* of the header in the slot */
	u32 end;	/* block after its data */
	u32 crc;
	u32 link;
};

struct work {
	const struct media *m;
	struct salvage *s;
	struct slot *slot;
	struct found *v;
	size_t nr, room;
	u64 last_id;		/* to look at */
	u64 last_epoch;		/* of the newest segment accepted so far: they never go down */
};

/* May @h stand in segment @id, as far as epochs say? */
static bool allowed(const struct work *w, const struct wb_header *h, u64 id)
{
	const struct wb_record *r = &w->m->r;

	if (h->id != id)
		return false;
	if (id >= r->life_start)
		return h->epoch == r->epoch;
	return h->epoch < r->epoch && h->epoch >= w->last_epoch;
}

static int add(struct work *w, const struct wb_header *h)
{
	struct found *v;
	size_t want;

	if (w->nr == w->room) {
		want = w->room ? w->room * 2 : 256;
		v = realloc(w->v, want * sizeof(*v));
		if (!v)
			return -ENOMEM;
		w->v = v;
		w->room = want;
	}
	w->v[w->nr++] = (struct found){
		.id = h->id,
		.epoch = h->epoch,
		.durable = h->durable,
		.chunk = h->chunk,
		.block = h->block,
		.end = h->block + 1 + h->nr_entries,
		.crc = h->crc,
		.link = h->link,
	};
	w->last_epoch = h->epoch;
	return 0;
}

/* ---------------------------------------------------------------- how far to look */

/* The first header of segment @id, if it is a good one that may stand there. */
static bool first_header(const struct work *w, u64 id, struct wb_header *h)
{
	return !media_read_slot(w->m, id, 0, 1, w->slot->data) &&
	       wb_header_decode(&w->m->s.geom, w->slot->data, h) == WB_OK &&
	       !h->block && !h->chunk;
}

static int survey(struct work *w)
{
	const struct wb_record *r = &w->m->r;
	u64 last = r->migrated + w->m->s.geom.nr_slots, id;
	struct salvage *s = w->s;
	struct wb_header h;

	s->top = r->migrated;
	if (s->top < r->durable.id)
		s->top = r->durable.id;
	if (s->top < r->life_start - 1)
		s->top = r->life_start - 1;
	s->epoch = r->epoch;
	for (id = r->migrated + 1; id <= last; id++) {
		if (interrupted)
			return -EINTR;
		if (!first_header(w, id, &h))
			continue;
		if (h.epoch > s->epoch && h.epoch < EPOCH_SANE)
			s->epoch = h.epoch;
		if (allowed(w, &h, id) && id > s->top)
			s->top = id;
	}
	w->last_id = s->top + WB_MAX_VOLATILE_SEGMENTS;
	if (w->last_id > last)
		w->last_id = last;
	return 0;
}

/* ---------------------------------------------------------------- one segment */

/* What the next segment says this one ends with. */
static bool end_link(struct work *w, u64 id, u32 *link)
{
	const struct wb_record *r = &w->m->r;
	struct wb_header h;

	if (id + 1 == r->life_start) {
		*link = r->life_link;
		return true;
	}
	if (!first_header(w, id + 1, &h) || !allowed(w, &h, id + 1))
		return false;
	*link = h.link;
	return true;
}

/*
 * Chunks behind a break in the slot's chain. In the current life all of them belong; in an earlier
 * one those up to the chunk that the next segment links to. A segment is written by one life.
 */
static int behind_break(struct work *w, u64 id, u32 block, bool linked, u32 link)
{
	bool current = id >= w->m->r.life_start;
	size_t first = w->nr, keep = w->nr, i;
	u64 epoch = w->last_epoch;
	struct wb_header h;
	int e;

	while (block + 1 < w->m->s.geom.slot_blocks) {
		if (slot_header(w->m, w->slot, block, &h) != WB_OK || !allowed(w, &h, id)) {
			block++;
			continue;
		}
		e = add(w, &h);
		if (e)
			return e;
		if (current || (linked && h.crc == link))
			keep = w->nr;
		block += 1 + h.nr_entries;
	}
	for (i = first; i < keep; i++)
		if (w->v[i].epoch != w->v[keep - 1].epoch)
			keep = first;
	w->s->unproved += w->nr - keep;
	w->nr = keep;
	w->last_epoch = keep > first ? w->v[keep - 1].epoch : epoch;
	return 0;
}

static int gather_segment(struct work *w, u64 id)
{
	u32 block = 0, chunk = 0, link = 0, end = 0;
	bool linked = end_link(w, id, &end);	/* reads into the slot's buffer: before the slot */
	struct wb_header h;
	int e;

	slot_read(w->m, wb_slot_of(&w->m->s.geom, id), w->slot);
	while (block + 1 < w->m->s.geom.slot_blocks) {
		if (slot_header(w->m, w->slot, block, &h) != WB_OK || !allowed(w, &h, id) ||
		    h.chunk != chunk || (chunk && h.link != link))
			break;
		e = add(w, &h);
		if (e)
			return e;
		link = h.crc;
		chunk++;
		block += 1 + h.nr_entries;
		if (linked && link == end)
			return 0;	/* that was the last one, for certain */
	}
	return behind_break(w, id, block, linked, end);
}

/* ---------------------------------------------------------------- all of them */

static int add_chunk(struct work *w, const struct found *f, struct wb_pos cut)
{
	struct salvage *s = w->s;
	size_t first = s->copies.nr;
	struct wb_header h;
	u32 i;
	int e;

	/* Headers were good when they were found; if not now, that is a hole like any other. */
	if (slot_header(w->m, w->slot, f->block, &h) != WB_OK)
		return 0;
	e = copies_add_chunk(&s->copies, &w->m->s.geom, &h, slot_block(w->slot, f->block));
	if (e)
		return e;
	for (i = 0; i < h.nr_entries; i++)
		s->copies.v[first + i].bad = !slot_entry_good(w->slot, &h, i);
	if (wb_pos_cmp((struct wb_pos){ f->id, f->chunk }, cut) <= 0)
		s->cut_copies = s->copies.nr;
	s->nr_chunks++;
	return 0;
}

static bool whole(const struct work *w, const struct found *f)
{
	struct wb_header h;
	u32 i;

	if (slot_header(w->m, w->slot, f->block, &h) != WB_OK)
		return false;
	for (i = 0; i < h.nr_entries; i++)
		if (!slot_entry_good(w->slot, &h, i))
			return false;
	return true;
}

static void hole(struct salvage *s, u64 id, u32 block)
{
	if (s->nr_holes < MAX_HOLES)
		s->holes[s->nr_holes] = (struct hole){ id, block };
	s->nr_holes++;
}

/* From the chunks found to the copies in them, up to where the log ends. */
static int take(struct work *w, struct wb_pos cut)
{
	const struct wb_record *r = &w->m->r;
	struct wb_pos durable = r->durable, at = { .id = r->migrated, .chunk = ~0u };
	bool link_known = r->migrated + 1 == r->life_start, follows;
	u32 link = r->life_link, end = 0;
	struct found *f;
	size_t i;
	int e;

	for (i = 0; i < w->nr; i++)
		durable = wb_pos_max(durable, w->v[i].durable);
	w->slot->nr = ~0ull;
	for (i = 0; i < w->nr; i++) {
		f = &w->v[i];
		if (interrupted)
			return -EINTR;
		if (w->slot->nr != wb_slot_of(&w->m->s.geom, f->id))
			slot_read(w->m, wb_slot_of(&w->m->s.geom, f->id), w->slot);
		/* The first chunk of a log that starts in an earlier life has nothing to link to. */
		follows = link_known ? f->link == link : f->id == r->migrated + 1 && !f->chunk;
		at = (struct wb_pos){ f->id, f->chunk };
		/* A torn tail: nobody was told of this or what follows. What is whole recovery would take. */
		if (wb_pos_cmp(at, durable) > 0 && (!follows || !whole(w, f)))
			return 0;
		if (!follows)
			hole(w->s, i ? w->v[i - 1].id : r->migrated + 1, end);
		e = add_chunk(w, f, cut);
		if (e)
			return e;
		link_known = true;
		link = f->crc;
		end = f->end;
	}
	if (wb_pos_cmp(durable, at) > 0)
		hole(w->s, w->nr ? at.id : r->migrated + 1, end);
	return 0;
}

static int salvage(struct work *w, struct wb_pos cut)
{
	u64 id;
	int e;

	e = survey(w);
	for (id = w->m->r.migrated + 1; !e && id <= w->last_id; id++)
		e = interrupted ? -EINTR : gather_segment(w, id);
	if (!e)
		e = take(w, cut);
	if (!e)
		e = copies_resolve(&w->s->copies);
	return e;
}

int salvage_log(struct salvage *s, const struct media *m, struct wb_pos cut)
{
	struct work w = { .m = m, .s = s };
	int e = -ENOMEM;

	memset(s, 0, sizeof(*s));
	w.slot = malloc(sizeof(*w.slot));
	if (w.slot)
		e = salvage(&w, cut);
	free(w.slot);
	free(w.v);
	if (!e)
		return RC_OK;
	salvage_free(s);
	if (e == -ENOMEM)
		return out_of_memory();
	err("interrupted");
	return RC_INTERRUPTED;
}

void salvage_free(struct salvage *s)
{
	copies_free(&s->copies);
}
