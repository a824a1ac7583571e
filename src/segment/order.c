// SPDX-License-Identifier: GPL-2.0
#include "order.h"

void wb_order_init(struct wb_order *o, const struct wb_geom *g, const struct wb_record *r)
{
	memset(o, 0, sizeof(*o));
	o->nr_slots = g->nr_slots;
	o->durable = r->durable;
	o->current_id = r->life_start - 1;
	o->prepared = o->current_id;
	o->durable_segment = o->current_id;
	o->migrated = r->migrated;
	o->recorded[0] = r->migrated;
	o->recorded[1] = r->migrated;
}

bool wb_order_full(const struct wb_order *o)
{
	return o->prepared + 1 > wb_order_reusable(o) + o->nr_slots;
}

bool wb_order_may_prepare(const struct wb_order *o)
{
	return !o->failed && !wb_order_full(o) &&
	       o->prepared + 1 <= o->durable_segment + WB_MAX_VOLATILE_SEGMENTS;
}

void wb_order_prepared(struct wb_order *o)
{
	o->prepared++;
}

bool wb_order_may_seal(const struct wb_order *o)
{
	return o->open + 1 - o->first < WB_ORDER_CHUNKS;
}

bool wb_order_may_open(const struct wb_order *o)
{
	return !o->failed && o->current_id < o->prepared &&
	       o->ring[o->open % WB_ORDER_CHUNKS].state == WB_CHUNK_FREE;
}

static void begin(struct wb_order *o, u64 id, u32 chunk)
{
	*wb_order_chunk(o, o->open) = (struct wb_order_chunk){
		.id = id,
		.chunk = chunk,
		.state = WB_CHUNK_OPEN,
	};
}

void wb_order_open_segment(struct wb_order *o)
{
	o->current_id++;
	begin(o, o->current_id, 0);
}

u64 wb_order_seal(struct wb_order *o, u32 end, bool closes)
{
	struct wb_order_chunk *c = wb_order_chunk(o, o->open);
	u64 seq = o->open++;

	c->state = WB_CHUNK_SEALED;
	c->end = end;
	c->closes = closes;
	if (closes)
		wb_order_chunk(o, o->open)->state = WB_CHUNK_FREE;
	else
		begin(o, c->id, c->chunk + 1);
	return seq;
}

void wb_order_close(struct wb_order *o)
{
	wb_order_chunk(o, o->open)->state = WB_CHUNK_FREE;
	if (o->first == o->open)
		o->durable_segment = o->current_id;
	else
		wb_order_chunk(o, o->open - 1)->closes = true;
}

static bool on_its_way_with_fua(const struct wb_order_chunk *c)
{
	return c->state == WB_CHUNK_WRITING && c->fua;
}

bool wb_order_all_written(const struct wb_order *o, u64 seq)
{
	const struct wb_order_chunk *c;
	u64 s;

	for (s = o->first; s < seq; s++) {
		c = &o->ring[s % WB_ORDER_CHUNKS];
		if (c->state < WB_CHUNK_WRITTEN && !on_its_way_with_fua(c))
			return false;
	}
	return true;
}

bool wb_order_settled(const struct wb_order *o, u64 seq)
{
	const struct wb_order_chunk *c;
	u64 s;

	/* What a failed flush covered still looks as if it were covered. */
	if (o->failed)
		return seq <= o->first;
	for (s = o->first; s < seq; s++) {
		c = &o->ring[s % WB_ORDER_CHUNKS];
		if (c->state < WB_CHUNK_FLUSHING && !on_its_way_with_fua(c))
			return false;
	}
	return true;
}

/* Those whose write completed before now are what a flush issued now covers. */
static void flush_begins(struct wb_order *o)
{
	u64 s;

	o->flushing = true;
	for (s = o->first; s < o->open; s++)
		if (wb_order_chunk(o, s)->state == WB_CHUNK_WRITTEN)
			wb_order_chunk(o, s)->state = WB_CHUNK_FLUSHING;
}

/* Move the durable point over the chunks that are durable without a gap. */
static bool advance(struct wb_order *o)
{
	struct wb_order_chunk *c;
	u64 before = o->first;

	/* The failure may have taken what a flush that succeeds after it seems to have covered. */
	if (o->failed)
		return false;
	for (; o->first < o->open; o->first++) {
		c = wb_order_chunk(o, o->first);
		if (c->state != WB_CHUNK_DURABLE)
			break;
		o->durable = (struct wb_pos){ c->id, c->chunk };
		o->durable_end = c->end;
		if (c->closes)
			o->durable_segment = c->id;
		c->state = WB_CHUNK_FREE;
	}
	return o->first != before;
}

static bool flush_ends(struct wb_order *o, bool ok)
{
	u64 s;

	o->flushing = false;
	if (!ok) {
		/* What it covered may be lost although its writes succeeded: nothing is trusted now. */
		o->failed = true;
		return false;
	}
	for (s = o->first; s < o->open; s++)
		if (wb_order_chunk(o, s)->state == WB_CHUNK_FLUSHING)
			wb_order_chunk(o, s)->state = WB_CHUNK_DURABLE;
	return advance(o);
}

enum wb_write_how wb_order_write(struct wb_order *o, u64 seq, bool commit)
{
	struct wb_order_chunk *c = wb_order_chunk(o, seq);

	c->state = WB_CHUNK_WRITING;
	/* After a failure nothing may turn what the failed flush covered into something durable. */
	if (!commit || o->failed)
		return WB_WRITE_PLAIN;
	c->fua = wb_order_settled(o, seq);
	if (c->fua)
		return WB_WRITE_FUA;
	if (o->flushing || !wb_order_all_written(o, seq))
		return WB_WRITE_PLAIN;
	flush_begins(o);
	c->fua = true;
	c->flushes = true;
	return WB_WRITE_FLUSH_FUA;
}

bool wb_order_written(struct wb_order *o, u64 seq, bool ok)
{
	struct wb_order_chunk *c = wb_order_chunk(o, seq);

	if (!ok) {
		o->failed = true;
		c->fua = false;		/* not on its way any more, and never to be trusted */
		if (c->flushes)
			flush_ends(o, false);
		return false;
	}
	c->state = c->fua ? WB_CHUNK_DURABLE : WB_CHUNK_WRITTEN;
	return c->flushes ? flush_ends(o, true) : advance(o);
}

bool wb_order_may_flush(const struct wb_order *o)
{
	u64 s;

	if (o->flushing || o->failed)
		return false;
	for (s = o->first; s < o->open; s++)
		if (o->ring[s % WB_ORDER_CHUNKS].state == WB_CHUNK_WRITTEN)
			return true;
	return false;
}

void wb_order_flush(struct wb_order *o)
{
	flush_begins(o);
}

bool wb_order_flushed(struct wb_order *o, bool ok)
{
	return flush_ends(o, ok);
}

void wb_order_migrated(struct wb_order *o, u64 id)
{
	if (id > o->migrated && id <= o->durable_segment)
		o->migrated = id;
}

void wb_order_recorded(struct wb_order *o, int copy, u64 migrated)
{
	o->recorded[copy] = migrated;
}
