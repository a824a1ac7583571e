// SPDX-License-Identifier: GPL-2.0
#include <linux/sched.h>
#include "rambuf.h"

#define POS_BITS	16
#define WRITER_ONE	(1ull << POS_BITS)
#define WRITERS_MAX	0xffffu
#define POS_CLOSED	0xffffu

static u32 state_pos(u64 state)
{
	return state & 0xffff;
}

static u32 state_writers(u64 state)
{
	return (state >> POS_BITS) & 0xffff;
}

static u32 state_seq(u64 state)
{
	return state >> 32;
}

static u64 make_state(u64 seq, u32 pos)
{
	return seq << 32 | pos;
}

static struct wb_chunk *chunk_at(const struct wb_log *log, u64 seq)
{
	return &log->chunks[seq % WB_ORDER_CHUNKS];
}

static struct wb_rambuf *buf_of(struct wb_log *log, u64 id)
{
	return &log->bufs[id % WB_NR_RAMBUFS];
}

/* ---------------------------------------------------------------- set-up */

/*
 * One piece of memory for a buffer. Physically contiguous if it can be had, for then the write of a
 * whole segment is a single vector; from single pages otherwise.
 */
static void *alloc_image(size_t size)
{
	void *p = alloc_pages_exact(size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_NORETRY);

	return p ?: vzalloc(size);
}

static void free_image(void *p, size_t size)
{
	if (is_vmalloc_addr(p))
		vfree(p);
	else if (p)
		free_pages_exact(p, size);
}

int wb_log_init(struct wb_log *log, const struct wb_geom *geom)
{
	size_t size = (size_t)geom->slot_blocks << WB_BLOCK_SHIFT;
	u32 i;

	log->geom = geom;
	spin_lock_init(&log->lock);
	log->chunks = wb_zalloc(WB_ORDER_CHUNKS * sizeof(*log->chunks));
	if (!log->chunks)
		return -ENOMEM;
	for (i = 0; i < WB_ORDER_CHUNKS; i++)
		log->chunks[i].log = log;
	for (i = 0; i < WB_NR_RAMBUFS; i++) {
		log->bufs[i].data = alloc_image(size);
		log->bufs[i].bvecs = wb_zalloc(geom->slot_blocks * sizeof(struct bio_vec));
		if (!log->bufs[i].data || !log->bufs[i].bvecs)
			return -ENOMEM;
	}
	return 0;
}

void wb_log_exit(struct wb_log *log)
{
	u32 i;

	for (i = 0; i < WB_NR_RAMBUFS; i++) {
		free_image(log->bufs[i].data, (size_t)log->geom->slot_blocks << WB_BLOCK_SHIFT);
		wb_free(log->bufs[i].bvecs);
	}
	wb_free(log->chunks);
}

static u64 head_of(const struct wb_log *log)
{
	u64 id = log->order.prepared;

	return id ? wb_lap_of(log->geom, id) << 32 | wb_slot_of(log->geom, id) : 0;
}

void wb_log_begin_life(struct wb_log *log, const struct wb_record *r)
{
	wb_order_init(&log->order, log->geom, r);
	log->next_write = 0;
	log->link = r->life_link;
	log->epoch = r->epoch;
	log->head = head_of(log);
	log->durable = log->order.durable_segment << 9 | log->geom->slot_blocks;
	atomic64_set(&log->state, make_state(0, POS_CLOSED));
}

/* ---------------------------------------------------------------- writers */

bool wb_log_reserve(struct wb_log *log, u32 want, struct wb_spot *spot)
{
	s64 old = atomic64_read(&log->state);
	u32 pos;

	do {
		pos = state_pos(old);
		if (pos >= log->geom->slot_blocks || state_writers(old) >= WRITERS_MAX)
			return false;
		spot->nr = min(want, log->geom->slot_blocks - pos);
	} while (!atomic64_try_cmpxchg(&log->state, &old, old + WRITER_ONE + spot->nr));

	spot->chunk = chunk_at(log, state_seq(old));
	spot->block = pos;
	spot->last = pos + spot->nr == log->geom->slot_blocks;
	return true;
}

bool wb_log_pin(struct wb_log *log, u64 id, u32 block, struct wb_spot *spot)
{
	s64 old = atomic64_read(&log->state);
	struct wb_chunk *c;

	/*
	 * The chunk's fields may be those of another chunk by the time they are read. But then the
	 * state word has another seq, and the exchange fails and looks again.
	 */
	do {
		c = chunk_at(log, state_seq(old));
		if (READ_ONCE(c->id) != id || block <= READ_ONCE(c->start) ||
		    block >= state_pos(old) || state_pos(old) == POS_CLOSED ||
		    state_writers(old) >= WRITERS_MAX)
			return false;
	} while (!atomic64_try_cmpxchg(&log->state, &old, old + WRITER_ONE));

	spot->chunk = c;
	spot->block = block;
	spot->nr = 1;
	spot->last = false;
	return true;
}

bool wb_log_done(struct wb_log *log, const struct wb_spot *spot)
{
	struct wb_chunk *c = spot->chunk;
	unsigned long flags;

	/* A full barrier: all that was written to the buffer is visible to who sees the sum. */
	if (atomic_inc_return(&c->pending))
		return false;
	spin_lock_irqsave(&log->lock, flags);
	c->complete = true;
	spin_unlock_irqrestore(&log->lock, flags);
	return true;
}

bool wb_log_open_is_empty(const struct wb_log *log)
{
	u64 state = atomic64_read(&log->state);

	return state_pos(state) == POS_CLOSED ||
	       state_pos(state) == READ_ONCE(chunk_at(log, state_seq(state))->start) + 1;
}

u32 wb_log_open_room(const struct wb_log *log)
{
	u32 pos = state_pos(atomic64_read(&log->state));

	return pos < log->geom->slot_blocks ? log->geom->slot_blocks - pos : 0;
}

bool wb_log_is_shut(const struct wb_log *log)
{
	return state_pos(atomic64_read(&log->state)) == POS_CLOSED;
}

/* ---------------------------------------------------------------- sealing */

/* Fill in the chunk that is next, before the state word names it. */
static void set_chunk(struct wb_log *log, struct wb_chunk *c, u64 seq, u64 id, u32 start, u32 number)
{
	c->seq = seq;
	c->buf = buf_of(log, id);
	WRITE_ONCE(c->id, id);
	WRITE_ONCE(c->start, start);
	c->number = number;
	c->complete = false;
}

void wb_log_open(struct wb_log *log)
{
	struct wb_order *o = &log->order;

	lockdep_assert_held(&log->lock);
	if (log->gate)
		return;
	if (wb_order_chunk(o, o->open)->state == WB_CHUNK_OPEN) {
		/* Open, and perhaps shut by the gate while it was empty. */
		if (state_pos(atomic64_read(&log->state)) == POS_CLOSED)
			atomic64_set_release(&log->state, make_state(o->open, 1));
		return;
	}
	if (!wb_order_may_open(o))
		return;
	wb_order_open_segment(o);
	set_chunk(log, chunk_at(log, o->open), o->open, o->current_id, 0, 0);
	/* Nobody else changes a closed state word; release what set_chunk() wrote. */
	atomic64_set_release(&log->state, make_state(o->open, 1));
}

void wb_log_seal(struct wb_log *log, bool close)
{
	struct wb_order *o = &log->order;
	struct wb_chunk *c = chunk_at(log, o->open);
	s64 old;
	u64 new;
	u32 pos;
	bool closes;

	lockdep_assert_held(&log->lock);
	if (wb_order_chunk(o, o->open)->state != WB_CHUNK_OPEN || !wb_order_may_seal(o))
		return;

	old = atomic64_read(&log->state);
	do {
		pos = state_pos(old);
		if (pos == POS_CLOSED)
			return;		/* shut by the gate */
		/* Behind the gate nothing stays open, also if it could not be sealed at once. */
		closes = close || log->gate || pos + 2 > log->geom->slot_blocks;
		if (pos == c->start + 1 && !log->gate && (!closes || !c->number))
			return;		/* nothing in it, and no reason to close */
		new = make_state(o->open + 1, POS_CLOSED);
		if (pos == c->start + 1) {
			new = make_state(o->open, POS_CLOSED);
		} else if (!closes) {
			set_chunk(log, chunk_at(log, o->open + 1), o->open + 1, c->id, pos,
				  c->number + 1);
			new = make_state(o->open + 1, pos + 1);
		}
	} while (!atomic64_try_cmpxchg(&log->state, &old, new));

	if (pos == c->start + 1 && !c->number)
		return;			/* an empty segment stays open behind the gate */
	if (closes)
		c->buf->closed = true;
	if (pos == c->start + 1) {
		wb_order_close(o);
	} else {
		c->nr = pos - c->start - 1;
		c->buf->unwritten++;
		wb_order_seal(o, pos, closes);
		if (!atomic_sub_return(state_writers(old), &c->pending))
			c->complete = true;
	}
	if (closes)
		wb_log_open(log);
}

void wb_log_seal_full(struct wb_log *log)
{
	u64 state = atomic64_read(&log->state);

	if (state_pos(state) != POS_CLOSED &&
	    (state_pos(state) >= log->geom->slot_blocks || state_writers(state) >= WRITERS_MAX))
		wb_log_seal(log, false);
}

struct wb_chunk *wb_log_next_write(struct wb_log *log, bool commit, enum wb_write_how *how)
{
	struct wb_chunk *c = chunk_at(log, log->next_write);
	struct wb_header h;

	lockdep_assert_held(&log->lock);
	if (log->next_write >= log->order.open || !c->complete || log->order.failed)
		return NULL;
	c->complete = false;
	h = (struct wb_header){
		.epoch = log->epoch,
		.id = c->id,
		.durable = log->order.durable,
		.link = log->link,
		.chunk = c->number,
		.block = c->start,
		.nr_entries = c->nr,
	};
	wb_header_encode(log->geom, &h, wb_log_header(c));
	log->link = h.crc;
	log->next_write++;
	*how = wb_order_write(&log->order, c->seq, commit);
	return c;
}

void wb_log_durable_moved(struct wb_log *log)
{
	const struct wb_order *o = &log->order;

	lockdep_assert_held(&log->lock);
	smp_wmb();	/* after the head it belongs to: wb_view() */
	WRITE_ONCE(log->durable, o->durable.id << 9 | o->durable_end);
}

/* ---------------------------------------------------------------- the pool */

bool wb_log_retire(struct wb_log *log, u64 id)
{
	struct wb_rambuf *buf = buf_of(log, id);
	bool needed;

	spin_lock_irq(&log->lock);
	/* After a failed write the buffers are the only place where some of the data is. */
	needed = log->order.failed || (buf->id && (!buf->closed || buf->unwritten));
	if (!needed)
		WRITE_ONCE(buf->id, 0);
	spin_unlock_irq(&log->lock);
	if (needed)
		return false;

	smp_mb();	/* the id is gone before the references are looked at: wb_log_get_buf() */
	while (atomic_read_acquire(&buf->readers))
		cond_resched();	/* somebody copies a block */
	return true;
}

void wb_log_prepared(struct wb_log *log)
{
	struct wb_order *o = &log->order;
	struct wb_rambuf *buf = buf_of(log, o->prepared + 1);

	lockdep_assert_held(&log->lock);
	buf->closed = false;
	buf->unwritten = 0;
	WRITE_ONCE(buf->id, o->prepared + 1);
	wb_order_prepared(o);
	WRITE_ONCE(log->head, head_of(log));
}

struct wb_rambuf *wb_log_get_buf(struct wb_log *log, u64 id)
{
	struct wb_rambuf *buf = buf_of(log, id);

	if (READ_ONCE(buf->id) != id)
		return NULL;
	atomic_inc(&buf->readers);
	smp_mb__after_atomic();	/* referenced before the id is looked at: wb_log_retire() */
	if (likely(READ_ONCE(buf->id) == id))
		return buf;
	wb_log_put_buf(buf);
	return NULL;
}
