// SPDX-License-Identifier: GPL-2.0
/*
 * What src/daemons does, in steps, and what completions of requests lead to.
 */
#include "sim.h"

/* ---------------------------------------------------------------- flush.c */

static bool commit_now(const struct sim *s)
{
	const struct wb_order *o = &s->order;

	return s->need > o->open && !o->failed && (!o->flushing || wb_order_settled(o, o->open));
}

static void write_chunk(struct sim *s, struct ram_chunk *c, bool commit)
{
	u8 *image = image_of(s, c->id, c->start);
	struct chunk_model *cm = &s->m->chunk[c->chunk];
	enum wb_write_how how;

	c->complete = false;
	cm->h.durable = s->order.durable;
	cm->h.link = s->link;
	wb_header_encode(&s->geom, &cm->h, (void *)image);
	cm->written = true;
	s->link = cm->h.crc;
	s->next_write++;
	how = wb_order_write(&s->order, c->seq, commit);
	trace("write chunk %u%s%s, durable point %llu.%u", c->chunk,
	      how == WB_WRITE_FLUSH_FUA ? " with PREFLUSH" : "", how ? " with FUA" : "",
	      ULL(cm->h.durable.id), cm->h.durable.chunk);
	io_begin(s, IO_CHUNK, false, how == WB_WRITE_FLUSH_FUA,
		 device_write(&s->cache, place_sector(s, (slot_of(s, c->id) << s->index.slot_shift) +
						      c->start),
			      (1 + c->nr) * WB_BLOCK_SECTORS, image,
			      (how == WB_WRITE_FLUSH_FUA ? W_PREFLUSH : 0) | (how ? W_FUA : 0)),
		 c->seq);
}

bool push_step(struct sim *s)
{
	struct wb_order *o = &s->order;
	struct ram_chunk *c;

	if (s->pos != CLOSED && s->pos >= s->geom.slot_blocks)
		log_seal(s, false);
	log_open(s);
	if (commit_now(s))
		log_seal(s, false);
	c = ram_chunk(s, s->next_write);
	if (s->next_write < o->open && c->complete && !o->failed) {
		write_chunk(s, c, s->next_write < s->need);
		return true;
	}
	if (s->need <= o->first || !wb_order_may_flush(o) ||
	    !wb_order_all_written(o, s->need < o->open ? s->need : o->open))
		return false;
	wb_order_flush(o);
	trace("flush of the cache device");
	io_begin(s, IO_LOG_FLUSH, false, true, device_flush(&s->cache), 0);
	return true;
}

static void log_completed(struct sim *s, bool ok, bool moved)
{
	if (moved) {
		log_durable_moved(s);
		trace("durable point %llu.%u", ULL(s->order.durable.id), s->order.durable.chunk);
	}
	if (!ok)
		log_fails(s, "a write or flush of the log");
	take_finished(s);
}

static void chunk_done(struct sim *s, u64 seq, bool ok)
{
	struct ram_chunk *c = ram_chunk(s, seq);

	CHECK(c->seq == seq);
	buf_of(s, c->id)->unwritten--;
	trace("chunk %u is written%s", c->chunk, ok ? "" : ": FAILED");
	log_completed(s, ok, wb_order_written(&s->order, seq, ok));
}

/* Slots ahead of the writers, one step after the other; readers come in between. */
bool prepare_step(struct sim *s)
{
	u64 id = s->order.prepared + 1;
	u32 slot = slot_of(s, id), place;
	struct ram_buf *b = buf_of(s, id);

	if (!wb_order_may_prepare(&s->order))
		return false;
	if (s->purging != id) {
		if (s->order.failed || (b->id && (!b->closed || b->unwritten)))
			return false;
		b->id = 0;
		s->purging = id;
		s->purged = 0;
		return true;
	}
	if (s->purged < s->geom.slot_blocks) {
		place = (slot << s->index.slot_shift) + s->purged++;
		if (s->index.entries[place].flags & WB_ENTRY_LINKED)
			wb_index_unlink(&s->index, place, count_nothing, NULL);
		return true;
	}
	if (s->slot_refs[slot])
		return false;
	s->purging = 0;
	*b = (struct ram_buf){ .id = id };
	wb_order_prepared(&s->order);
	s->head = s->order.prepared;
	trace("segment %llu may be filled", ULL(id));
	log_open(s);
	return true;
}

/* ---------------------------------------------------------------- recorder.c, sync.c */

u64 record_request(struct sim *s)
{
	return ++s->record_wanted;
}

static void write_record(struct sim *s, u32 copy)
{
	u8 block[WB_BLOCK_SIZE];

	s->record.seq++;
	wb_record_encode(&s->geom, &s->record, block);
	s->record_state = copy + 1;
	trace("write copy %u of the record: migrated %llu, durable %llu.%u%s", copy,
	      ULL(s->record.migrated), ULL(s->record.durable.id), s->record.durable.chunk,
	      s->record.clean ? ", the end" : "");
	io_begin(s, IO_RECORD, false, false,
		 device_write(&s->cache, record_sector(copy), WB_BLOCK_SECTORS, block,
			      W_FUA), copy);
}

static void record_ends(struct sim *s, bool failed)
{
	if (failed)
		log_fails(s, "a write of the record");
	s->record_failed = failed;
	s->record_done = s->record_serving;
	s->record_state = 0;
	if (s->phase == RESUMES)
		s->phase = RUNS;
}

bool record_step(struct sim *s)
{
	struct wb_order *o = &s->order;

	if (s->record_state || s->record_done >= s->record_wanted)
		return false;
	s->record_serving = s->record_wanted;
	s->record_migrated = o->migrated;
	s->record.migrated = o->migrated;
	s->record.durable = o->durable;
	s->record.clean = s->stopped && o->first == o->open && log_open_is_empty(s);
	if (s->record.durable.id < o->migrated)
		s->record.durable = (struct wb_pos){ .id = o->migrated };
	write_record(s, 0);
	return true;
}

static void record_done(struct sim *s, u32 copy, bool ok)
{
	if (ok && s->phase != RESUMES)
		wb_order_recorded(&s->order, (int)copy, s->record_migrated);
	if (!ok || copy == WB_NR_COPIES - 1)
		record_ends(s, !ok);
	else
		write_record(s, copy + 1);
}

bool sync_step(struct sim *s)
{
	struct wb_order *o = &s->order;
	u64 seen = everything(s);

	if (s->phase != RUNS)
		return false;
	/* The flush daemon's own: not too far ahead, and what is full must get durable to migrate. */
	if (o->current_id >= o->durable_segment + WB_MAX_VOLATILE_SEGMENTS || wb_order_full(o))
		s->need = s->need > o->open ? s->need : o->open;
	if (rng_one_in(&s->rng, 4) && seen > s->need)
		s->need = seen;
	if (!s->failed && (wb_pos_cmp(o->durable, s->record.durable) > 0 ||
			   o->migrated > s->record.migrated))
		record_request(s);
	return true;
}

/* ---------------------------------------------------------------- migrate.c */

static void bad_segment(struct migrator *m, u64 id)
{
	if (!m->bad_id || id < m->bad_id)
		m->bad_id = id;
}

static void collect_chunk(struct sim *s, const struct wb_header *h, const struct wb_header_disk *raw)
{
	u32 base = slot_of(s, h->id) << s->index.slot_shift, i;
	const struct wb_index_entry *entry;
	struct migrator *m = &s->mig;
	struct wb_index_view v;
	struct wb_entry e;
	struct wb_cand *c;
	bool same;

	index_view(s, &v);
	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		c = &m->fresh[m->nr_fresh];
		*c = (struct wb_cand){ .block = e.block, .place = base + h->block + 1 + i,
				       .crc = e.crc, .mask = e.mask,
				       .segment = (u8)(h->id % WB_SWEEP_SEGMENTS) };
		entry = &s->index.entries[c->place];
		same = wb_index_block(entry) == e.block && entry->mask == e.mask;
		if ((entry->flags & WB_ENTRY_LINKED) && !same)
			bad_segment(m, h->id);
		c->live = same ? wb_index_live(&s->index, c->place, &v) : 0;
		if (c->live)
			m->nr_fresh++;
	}
}

static void collect_segment(struct sim *s, u64 id)
{
	u32 base = slot_of(s, id) << s->index.slot_shift, block = 0, chunk = 0;
	const struct wb_geom *g = &s->geom;
	union {
		struct wb_header_disk raw;
		u8 bytes[WB_BLOCK_SIZE];
	} u;
	struct wb_header h;
	bool ok = true;

	s->mig.nr_fresh = 0;
	while (block + 1 < g->slot_blocks) {
		ok = device_read(&s->cache, place_sector(s, base + block), WB_BLOCK_SECTORS, u.bytes);
		if (!ok || wb_header_decode(g, u.bytes, &h) != WB_OK || h.id != id ||
		    h.chunk != chunk || h.block != block)
			break;
		collect_chunk(s, &h, &u.raw);
		block += 1 + h.nr_entries;
		chunk++;
	}
	for (; block < g->slot_blocks; block++)
		ok &= !(s->index.entries[base + block].flags & WB_ENTRY_LINKED);
	if (ok)
		return;
	CHECKF(s->rot, "the headers of segment %llu cannot be read", ULL(id));
	bad_segment(&s->mig, id);
}

static bool is_behind(const struct wb_cand *a, const struct wb_cand *b)
{
	return a->block > b->block || (a->block == b->block && a->place > b->place);
}

static void sort_fresh(struct migrator *m)
{
	struct wb_cand c;
	u32 i, k;

	for (i = 1; i < m->nr_fresh; i++) {
		c = m->fresh[i];
		for (k = i; k && is_behind(&m->fresh[k - 1], &c); k--)
			m->fresh[k] = m->fresh[k - 1];
		m->fresh[k] = c;
	}
}

static u64 free_slots(const struct sim *s)
{
	const struct wb_order *o = &s->order;

	return wb_order_reusable(o) + o->nr_slots - o->current_id;
}

static bool room_is_short(const struct sim *s)
{
	return free_slots(s) * 2 < s->order.nr_slots;
}

/* The last segment that may join the sweep now. */
static u64 may_join(const struct sim *s)
{
	const struct migrator *m = &s->mig;
	u64 first = m->sweep.first, last = s->order.durable_segment;

	if (last > first + s->manners.batch - 1)
		last = first + s->manners.batch - 1;
	if (first <= m->stuck_id && last >= m->stuck_id)
		last = first > m->stuck_id - 1 ? first : m->stuck_id - 1;
	return last;
}

/* Return: false if there is nothing to migrate. */
static bool begin_batch(struct sim *s)
{
	struct migrator *m = &s->mig;

	wb_sweep_begin(&m->sweep, s->order.migrated + 1);
	if (may_join(s) < m->sweep.first)
		return false;
	m->bad_id = 0;
	m->failed = false;
	m->flush_failed = false;
	m->unflushed = false;
	m->more = true;
	m->flush_failures = s->flush_failures;
	m->state = M_COLLECT;
	return true;
}

/* One segment, or go on with what has joined. */
static void collect(struct sim *s)
{
	struct migrator *m = &s->mig;
	u64 id = m->sweep.last + 1;

	if (id <= may_join(s) && !m->bad_id && !m->stop) {
		trace("segment %llu joins the sweep", ULL(id));
		collect_segment(s, id);
		sort_fresh(m);
		CHECK(m->sweep.nr + m->nr_fresh <= m->sweep.max);
		wb_sweep_join(&m->sweep, id, m->fresh, m->nr_fresh);
		return;
	}
	m->more |= m->sweep.last >= m->sweep.first;
	m->state = m->more ? M_TURN : M_END;
}

static void batch_failed(struct sim *s)
{
	trace("the batch failed");
	s->mig.failures++;
	if (s->mode == HOLD && !s->past_log) {
		s->gate = false;
		log_open(s);
		s->mode = WRITEBACK;
	}
	s->mig.state = M_IDLE;
}

/* Call migrated what is, if that is worth a flush now. */
static void settle(struct sim *s)
{
	struct migrator *m = &s->mig;
	u64 done = wb_sweep_done(&m->sweep), first = m->sweep.first;

	m->settled = done;
	if (m->bad_id && done >= m->bad_id)
		m->settled = m->bad_id - 1;
	if (m->failed) {
		m->state = M_END;
	} else if ((m->more && !room_is_short(s) && done < first + s->manners.settle) ||
		   m->settled < first) {
		m->state = M_FINISH;
		m->settled = 0;
	} else {
		m->state = m->unflushed ? M_FLUSHING : M_FINISH;
		if (m->unflushed)
			io_begin(s, IO_MOVE_FLUSH, true, true, device_flush(&s->backing), 0);
	}
}

static void flush_was_lost(struct migrator *m)
{
	m->flush_failed = true;
	m->state = M_END;
}

/* It is flushed, if it had to be. Then let others join. */
static void finish(struct sim *s)
{
	struct migrator *m = &s->mig;

	if (m->settled) {
		m->unflushed = false;
		wb_order_migrated(&s->order, m->settled);
		wb_sweep_leave(&m->sweep, m->settled);
		trace("migrated up to %llu", ULL(s->order.migrated));
		if (room_is_short(s))
			record_request(s);
	}
	if (!m->bad_id)
		m->state = M_COLLECT;
	else
		m->state = m->more ? M_TURN : M_END;
}

static void end_batch(struct sim *s)
{
	struct migrator *m = &s->mig;

	if (room_is_short(s) && s->order.migrated > wb_order_reusable(&s->order))
		record_request(s);
	m->state = M_IDLE;
	if (m->stop)
		return;
	if (m->failed || m->flush_failed) {
		batch_failed(s);
		return;
	}
	m->stuck_id = m->bad_id;
	if (m->bad_id)
		batch_failed(s);
	else
		m->failures = 0;
}

/* ---------------------------------------------------------------- window.c */

/* Return: false if it is still on its way. */
static bool retire(struct migrator *m, struct window *w)
{
	u32 i;

	if (w->in_flight)
		return false;
	if (w->in_line)
		wb_range_leave(&m->ranges, &w->range);
	w->in_line = false;
	m->failed |= w->error;
	m->unflushed |= w->wrote;
	for (i = 0; i < w->nr; i++)
		wb_sweep_finished(&m->sweep, &w->cands[i]);
	w->nr = 0;
	w->wrote = false;
	w->error = false;
	return true;
}

static bool all_retired(struct migrator *m)
{
	return retire(m, &m->win[0]) && retire(m, &m->win[1]);
}

static void undrain_at_once(struct sim *s);

/* What is served next; or wait for users. */
static void choose_limit(struct sim *s)
{
	struct migrator *m = &s->mig;
	u64 room = free_slots(s) * (s->geom.slot_blocks - 1);

	/* An end to the drain that the batch is for. */
	if (s->undrain && !s->past_log && !m->stop)
		undrain_at_once(s);
	m->state = m->stop ? M_END : rng_one_in(&s->rng, 12) ? M_GIVE_WAY : M_TAKE;
	if (m->state != M_TAKE)
		return;
	m->limit = m->sweep.last;
	if (room_is_short(s) && !m->bad_id && !(s->draining && !s->nr_held))
		m->limit = wb_sweep_limit(&m->sweep, wb_pace_ahead(room));
	m->turn ^= 1;
}

static void take_window(struct sim *s)
{
	struct migrator *m = &s->mig;
	struct window *w = &m->win[m->turn];

	w->nr = wb_sweep_take(&m->sweep, m->limit, w->cands, s->manners.window, s->manners.runs,
			      &m->again);
	w->i = 0;
	w->kept = 0;
	m->state = M_PASS;
}

static void drop_dead(struct sim *s, struct window *w)
{
	struct wb_cand *c = &w->cands[w->i++];
	struct wb_index_view v;

	index_view(s, &v);
	c->live = c->live & wb_index_live(&s->index, c->place, &v);
	if (c->live)
		w->cands[w->kept++] = *c;
	else
		wb_sweep_finished(&s->mig.sweep, c);
}

static void read_window(struct sim *s, struct window *w)
{
	struct wb_cand *c;
	u32 i;

	w->i = 0;
	for (i = 0; i < w->nr; i++) {
		c = &w->cands[i];
		if (device_read(&s->cache, place_sector(s, c->place), WB_BLOCK_SECTORS, w->data[i]) &&
		    wb_data_crc(w->data[i], c->mask) == c->crc)
			continue;
		CHECKF(s->rot, "place %u, block %llu, has other data than its entry says", c->place,
		       ULL(c->block));
		if (s->index.entries[c->place].flags & WB_ENTRY_LINKED)
			s->index.entries[c->place].flags |= WB_ENTRY_ROTTEN;
		c->bad = true;
		bad_segment(&s->mig, place_id(s, c->place));
	}
}

static void look_again(struct sim *s, struct wb_cand *c)
{
	struct wb_index_view v;

	index_view(s, &v);
	c->live &= wb_index_live(&s->index, c->place, &v);
	if (c->bad)
		c->live = 0;
	else if (c->live)
		s->index.entries[c->place].flags &= (u8)~WB_ENTRY_ROTTEN;
}

/* Of the copies of a block, the one that has sector @sector to write. */
static int owner(const struct window *w, u32 sector)
{
	u32 i;

	for (i = 0; i < w->nr; i++)
		if (w->cands[i].block == sector / WB_BLOCK_SECTORS &&
		    w->cands[i].live >> sector % WB_BLOCK_SECTORS & 1)
			return (int)i;
	return -1;
}

/* The next request of the window: sectors in a row. */
static bool write_run(struct sim *s, struct window *w)
{
	u32 end = ((u32)w->cands[w->nr - 1].block + 1) * WB_BLOCK_SECTORS, nr = 0;
	static u8 bytes[MAX_REQUEST * WB_SECTOR_SIZE];
	int own;

	while (w->s < end && owner(w, w->s) < 0)
		w->s++;
	for (; w->s + nr < end && nr < MAX_REQUEST; nr++) {
		own = owner(w, w->s + nr);
		if (own < 0)
			break;
		memcpy(bytes + nr * WB_SECTOR_SIZE,
		       w->data[own] + (w->s + nr) % WB_BLOCK_SECTORS * WB_SECTOR_SIZE,
		       WB_SECTOR_SIZE);
	}
	if (!nr)
		return false;
	trace("migrate sectors %u to %u", w->s, w->s + nr - 1);
	io_begin(s, IO_MOVE, true, false, device_write(&s->backing, w->s, nr, bytes, 0),
		 s->mig.turn);
	w->wrote = true;
	w->in_flight++;
	w->s += nr;
	return true;
}

/* One step of moving what waits in the sweep to the backing device. */
static bool window_step(struct sim *s)
{
	struct migrator *m = &s->mig;
	struct window *w = &m->win[m->turn], *other = &m->win[!m->turn];

	switch (m->state) {
	case M_TAKE:
		if (!retire(m, w))
			return false;
		if (m->failed)
			m->state = M_SETTLE;
		else
			take_window(s);
		return true;
	case M_PASS:
		if ((m->again || !w->nr) && !retire(m, other))
			return false;
		m->more = w->nr || (m->bad_id && m->limit < m->sweep.last);
		m->state = w->nr ? M_DROP : M_SETTLE;
		return true;
	case M_DROP:
		drop_dead(s, w);
		if (w->i == w->nr) {
			w->nr = w->kept;
			m->state = w->nr ? M_READ : M_SETTLE;
		}
		return true;
	case M_READ:
		if (!rng_one_in(&s->rng, s->manners.reading))
			return false;
		read_window(s, w);
		m->state = M_JOIN;
		return true;
	case M_JOIN:
		wb_range_join(&m->ranges, &w->range, WB_RANGE_MIGRATES, w->cands[0].block,
			      w->cands[w->nr - 1].block);
		w->in_line = true;
		m->state = M_RANGE;
		return true;
	case M_RANGE:
		/* Who stands before it may wait for the other one. */
		if (!wb_range_may(&m->ranges, &w->range) && other->in_line && !retire(m, other))
			return false;
		if (!wb_range_may(&m->ranges, &w->range))
			return false;
		m->state = M_LOOK;
		return true;
	case M_LOOK:
		look_again(s, &w->cands[w->i++]);
		if (w->i == w->nr) {
			w->s = (u32)w->cands[0].block * WB_BLOCK_SECTORS;
			m->state = M_WRITE;
		}
		return true;
	default:	/* M_WRITE */
		if (w->in_flight + other->in_flight >= s->manners.depth)
			return false;
		if (!write_run(s, w))
			m->state = M_SETTLE;
		return true;
	}
}

/* ---------------------------------------------------------------- drain.c */

/* The copies of one more slot. Return: false when all are gone. */
static bool forget_slot(struct sim *s)
{
	u32 slot, place;

	if (s->mig.forgotten == s->geom.nr_slots)
		return false;
	slot = s->mig.forgotten++;
	for (place = slot << s->index.slot_shift; place < (slot + 1) << s->index.slot_shift; place++)
		if (s->index.entries[place].flags & WB_ENTRY_LINKED)
			wb_index_unlink(&s->index, place, count_nothing, NULL);
	return true;
}

static void flush_all(struct sim *s, bool close)
{
	if (close)
		log_seal(s, true);
	s->mig.need = everything(s);
	if (s->mig.need > s->need)
		s->need = s->mig.need;
	s->mig.state = M_WAIT_DURABLE;
}

static void shut(struct sim *s)
{
	s->mode = HOLD;
	s->gate = true;
	log_seal(s, true);
	flush_all(s, true);
	trace("writes are held");
}

static void drain_step(struct sim *s)
{
	struct migrator *m = &s->mig;
	struct wb_order *o = &s->order;

	if (s->mode == WRITEBACK) {
		flush_all(s, true);
		m->hold_next = true;
	} else if (!(o->migrated == o->durable_segment && o->first == o->open && s->pos == CLOSED)) {
		flush_all(s, true);
	} else {
		m->record = record_request(s);
		m->state = M_WAIT_RECORD;
	}
}

/* Return: whether one begins: with what is in RAM, for what that supersedes need not be migrated. */
static bool drain_begins(struct sim *s)
{
	struct migrator *m = &s->mig;
	bool begins = s->draining && !m->drain_began && s->mode == WRITEBACK;

	m->drain_began = s->draining;
	if (begins)
		flush_all(s, true);
	return begins;
}

static void wait_durable(struct sim *s)
{
	struct migrator *m = &s->mig;

	m->state = M_IDLE;
	if (s->order.first < m->need)
		batch_failed(s);
	else if (m->hold_next)
		shut(s);
	m->hold_next = false;
}

static void drained(struct sim *s)
{
	s->mig.state = M_IDLE;
	s->past_log = true;
	s->mode = DRAINED;
	s->draining = false;
	trace("drained");
	/* From here on nothing is in the log: all that was is on the backing device. */
	s->m->must = s->m->next_chunk - 1;
}

static void open_log(struct sim *s)
{
	s->past_log = false;
	s->gate = false;
	log_open(s);
	s->mode = WRITEBACK;
	s->undrain = false;
	trace("writes go through the log");
}

static void stay_drained(struct sim *s)
{
	s->mode = DRAINED;
	s->draining = false;
	s->undrain = false;
	trace("still drained");
}

/* A drain had come to HOLD and no further, or not even so far: nothing went past the log. */
static void undrain_at_once(struct sim *s)
{
	if (s->mode == HOLD)
		open_log(s);
	s->undrain = false;
}

/* Return: false if it has to wait. */
static bool undrain_step(struct sim *s)
{
	struct migrator *m = &s->mig;

	if (!s->past_log) {
		undrain_at_once(s);
	} else if (s->failed) {
		stay_drained(s);
	} else if (s->mode == DRAINED) {
		m->state = M_FORGET;
		m->forgotten = 0;
	} else if (s->through) {
		return false;
	} else {
		m->state = M_UNDRAIN_FLUSHING;
		io_begin(s, IO_UNDRAIN_FLUSH, true, true, device_flush(&s->backing), 0);
	}
	return true;
}

static void undrain_flushed(struct sim *s, bool ok)
{
	s->mig.state = M_IDLE;
	if (ok) {
		s->through_flushed = s->through_done;
		open_log(s);
		return;
	}
	if (s->through_done > s->through_flushed)
		s->through_lost = true;
	stay_drained(s);
}

/* ---------------------------------------------------------------- the migrate daemon */

bool migrate_step(struct sim *s)
{
	struct migrator *m = &s->mig;

	switch (m->state) {
	case M_IDLE:
		if (m->stop || s->phase >= STOPS_LOG)
			return false;
		if (s->undrain)
			return undrain_step(s);
		if (s->past_log && (s->mode == HOLD || s->draining)) {
			stay_drained(s);
			return true;
		}
		if (s->failed)
			return false;
		if (drain_begins(s) || begin_batch(s))
			return true;
		if (!s->draining)
			return false;
		drain_step(s);
		return true;
	case M_COLLECT:
		collect(s);
		return true;
	case M_TURN:
		choose_limit(s);
		return true;
	case M_TAKE:
	case M_PASS:
	case M_DROP:
	case M_READ:
	case M_JOIN:
	case M_RANGE:
	case M_LOOK:
	case M_WRITE:
		return window_step(s);
	case M_SETTLE:
		settle(s);
		return true;
	case M_FINISH:
		finish(s);
		return true;
	case M_GIVE_WAY:
		if (!all_retired(m))
			return false;
		m->state = M_TURN;
		return true;
	case M_END:
		if (!all_retired(m))
			return false;
		end_batch(s);
		return true;
	case M_WAIT_DURABLE:
		if (s->order.first < m->need && !s->order.failed)
			return false;
		wait_durable(s);
		return true;
	case M_WAIT_RECORD:
		if (s->record_done < m->record)
			return false;
		if (s->record_failed) {
			m->state = M_IDLE;
			batch_failed(s);
		} else if (s->draining) {
			drained(s);
		} else {
			m->state = M_IDLE;
		}
		return true;
	case M_FORGET:
		/* The log must not be opened while some are left, whatever is wanted by now. */
		if (m->stop || !s->undrain) {
			m->state = M_IDLE;
		} else if (!forget_slot(s)) {
			m->state = M_IDLE;
			s->mode = HOLD;
		}
		return true;
	}
	return false;
}

/* ---------------------------------------------------------------- completions */

static bool takes_fault(struct sim *s, const struct io *io)
{
	if (s->fault_kind != io->kind || !s->fault_count)
		return false;
	if (s->fault_after) {
		s->fault_after--;
		return false;
	}
	s->fault_count--;
	trace("this one fails: %s", io->flush ? "a flush" : "a write");
	return true;
}

static void device_ends(struct sim *s, const struct io *io, bool ok)
{
	struct device *d = io->backing ? &s->backing : &s->cache;
	bool pure = io->flush && io->kind != IO_CHUNK;

	s->device_ops++;
	if (pure && ok)
		device_flushed(d, io->handle);
	else if (pure)
		device_flush_failed(d, io->handle, &s->rng);
	else if (ok)
		device_written(d, io->handle);
	else
		device_write_failed(d, io->handle, &s->rng);
	if (pure && ok && io->backing && io->issued > s->m->backing_flushed)
		s->m->backing_flushed = io->issued;
}

static void user_io_ends(struct sim *s, const struct io *io, bool ok)
{
	struct op *op = &s->op[io->arg];

	switch (io->kind) {
	case IO_THROUGH:
		through_ends(s, op, ok);
		break;
	case IO_BYPASS:
		bypass_ends(s, op, ok);
		break;
	case IO_FLUSH:
		if (ok && op->through > s->through_flushed)
			s->through_flushed = op->through;
		op_end(s, op, ok);
		break;
	case IO_DISCARD:
		if (op->in_line)
			check_alone(s, op);
		if (op->state == S_IO || !ok) {
			op_end(s, op, ok);
			break;
		}
		io_begin(s, IO_DISCARD_FLUSH, true, true, device_flush(&s->backing), io->arg);
		break;
	case IO_DISCARD_FLUSH:
		if (!ok)
			s->flush_failures++;
		/* One that failed meanwhile may have taken what this one was to make durable. */
		if (ok && op->flush_failures == s->flush_failures)
			op->state = S_TOMB;
		else
			op_end(s, op, false);
		break;
	}
}

bool completion_step(struct sim *s)
{
	struct migrator *m = &s->mig;
	struct io io;
	u32 i;
	bool ok;

	if (!s->nr_ios)
		return false;
	i = rng_below(&s->rng, s->nr_ios);
	io = s->io[i];
	if (io.kind == IO_MOVE && io.handle % 3 == 0 && !rng_one_in(&s->rng, s->manners.disk))
		return false;
	s->io[i] = s->io[--s->nr_ios];
	ok = !takes_fault(s, &io);
	if (io.kind == IO_DISCARD && s->manners.discards == 3)
		ok = false;
	device_ends(s, &io, ok);
	switch (io.kind) {
	case IO_CHUNK:
		chunk_done(s, io.arg, ok);
		break;
	case IO_LOG_FLUSH:
		trace("flush of the cache device ends");
		log_completed(s, ok, wb_order_flushed(&s->order, ok));
		break;
	case IO_RECORD:
		record_done(s, (u32)io.arg, ok);
		break;
	case IO_MOVE:
		m->win[io.arg].in_flight--;
		m->win[io.arg].error |= !ok;
		break;
	case IO_MOVE_FLUSH:
		if (ok && m->flush_failures == s->flush_failures)
			m->state = M_FINISH;
		else
			flush_was_lost(m);
		s->flush_failures += !ok;
		break;
	case IO_UNDRAIN_FLUSH:
		s->flush_failures += !ok;
		undrain_flushed(s, ok);
		break;
	default:
		user_io_ends(s, &io, ok);
	}
	return true;
}

/* ---------------------------------------------------------------- stop and start */

/* No request is under way, and none comes. */
void sim_stop(struct sim *s)
{
	trace("stop");
	s->mig.stop = true;
	s->phase = STOPS_MIGRATION;
}

bool stop_step(struct sim *s)
{
	struct wb_order *o = &s->order;

	switch (s->phase) {
	case STOPS_MIGRATION:
		if (s->mig.state != M_IDLE)
			return false;
		if (s->mode != DRAINED) {
			s->mig.need = everything(s);
			if (s->mig.need > s->need)
				s->need = s->mig.need;
		} else {
			s->mig.need = 0;
		}
		s->phase = STOPS_LOG;
		return true;
	case STOPS_LOG:
		if (o->first < s->mig.need && !o->failed)
			return false;
		s->stopped = true;
		s->mig.record = s->failed ? 0 : record_request(s);
		s->phase = STOPS_RECORD;
		return true;
	case STOPS_RECORD:
		if (s->record_done < s->mig.record || s->nr_ios || s->record_state)
			return false;
		s->phase = STOPPED;
		trace("stopped%s", s->record.clean ? " in order" : "");
		return true;
	}
	return false;
}

/* Go on with the same life. Before any chunk both copies of the record say that the log goes on. */
void sim_resume(struct sim *s)
{
	trace("resume");
	s->stopped = false;
	s->mig.stop = false;
	s->phase = RUNS;
	if (!s->record.clean)
		return;
	s->phase = RESUMES;
	s->record.clean = false;
	write_record(s, 0);
}
