// SPDX-License-Identifier: GPL-2.0
/*
 * What src/segment/rambuf.c, write.c, bypass.c, read.c and discard.c do, in steps.
 */
#include "sim.h"

/* ---------------------------------------------------------------- the index's view */

u64 place_id(const struct sim *s, u32 place)
{
	u32 slot = place >> s->index.slot_shift;
	u64 laps = wb_lap_of(&s->geom, s->head) - 1;

	if (slot > slot_of(s, s->head))
		laps--;
	return laps * s->geom.nr_slots + slot + 1;
}

void index_view(const struct sim *s, struct wb_index_view *v)
{
	u64 base;

	if (!s->head) {
		*v = (struct wb_index_view){ .head_end = s->index.nr_places };
		return;
	}
	base = (u64)slot_of(s, s->head) << s->index.slot_shift;
	v->head_end = base + s->geom.slot_blocks;
	v->durable_rank = base + s->index.nr_places -
			  ((s->head - s->durable_rank_id) << s->index.slot_shift) +
			  s->durable_rank_end;
}

void count_nothing(void *ctx, u32 place, int delta)
{
	(void)ctx;
	(void)place;
	(void)delta;
}

static u32 newest_copy(const struct sim *s, u64 block)
{
	return wb_index_first(&s->index, block);
}

static bool in_ram(struct sim *s, u32 place)
{
	u64 id = place_id(s, place);

	return buf_of(s, id)->id == id;
}

static u8 *ram_block(struct sim *s, u32 place)
{
	return image_of(s, place_id(s, place), place & (s->geom.slot_blocks - 1));
}

/* ---------------------------------------------------------------- the RAM buffers */

void begin_life(struct sim *s)
{
	u32 i;

	wb_order_init(&s->order, &s->geom, &s->record);
	for (i = 0; i < MAX_BUFS; i++)
		s->buf[i] = (struct ram_buf){ 0 };
	s->next_write = 0;
	s->link = s->record.life_link;
	s->epoch = s->record.epoch;
	s->gate = false;
	s->pos = CLOSED;
	s->head = s->order.prepared;
	s->durable_rank_id = s->order.durable_segment;
	s->durable_rank_end = s->geom.slot_blocks;
	s->need = 0;
	s->purging = 0;
	memset(s->slot_refs, 0, sizeof(s->slot_refs));
	memset(s->op, 0, sizeof(s->op));
	s->nr_held = 0;
	s->nr_ios = 0;
	s->mode = WRITEBACK;
	s->failed = false;
	s->draining = false;
	s->undrain = false;
	s->past_log = false;
	s->through = 0;
	s->through_done = 0;
	s->bypasses = 0;
	s->through_flushed = 0;
	s->through_lost = false;
	s->flush_failures = 0;
	s->mig.state = M_IDLE;
	s->mig.stop = false;
	s->mig.hold_next = false;
	s->mig.drain_began = false;
	s->mig.ranges = (struct wb_ranges){ 0 };
	s->mig.stuck_id = 0;
	s->mig.failures = 0;
	s->mig.turn = 0;
	memset(s->mig.win, 0, sizeof(s->mig.win));
	s->mig.sweep = (struct wb_sweep){ .cands = s->mig.cands, .max = MAX_PLACES };
	s->record_state = 0;
	s->record_wanted = 0;
	s->record_done = 0;
	s->record_failed = false;
	s->phase = RUNS;
	s->stopped = false;
}

static void set_chunk(struct sim *s, u64 seq, u64 id, u32 start, u32 number)
{
	*ram_chunk(s, seq) = (struct ram_chunk){
		.seq = seq, .id = id, .start = start, .number = number,
	};
}

bool log_open_is_empty(const struct sim *s)
{
	return s->pos == CLOSED ||
	       s->pos == s->chunk[s->order.open % WB_ORDER_CHUNKS].start + 1;
}

void log_open(struct sim *s)
{
	struct wb_order *o = &s->order;

	if (s->gate)
		return;
	if (wb_order_chunk(o, o->open)->state == WB_CHUNK_OPEN) {
		if (s->pos == CLOSED)
			s->pos = 1;
		return;
	}
	if (!wb_order_may_open(o))
		return;
	wb_order_open_segment(o);
	set_chunk(s, o->open, o->current_id, 0, 0);
	s->pos = 1;
}

static void seal_chunk(struct sim *s, struct ram_chunk *c, u32 pos, bool closes)
{
	if (s->m->next_chunk == MAX_CHUNKS)
		sim_give_up("enough chunks");
	c->nr = pos - c->start - 1;
	c->chunk = s->m->next_chunk++;
	CHECK(c->chunk == s->base_chunk + (u32)c->seq);
	s->m->chunk[c->chunk] = (struct chunk_model){
		.h = { .epoch = s->epoch, .id = c->id, .chunk = c->number, .block = c->start,
		       .nr_entries = c->nr },
	};
	buf_of(s, c->id)->unwritten++;
	wb_order_seal(&s->order, pos, closes);
	c->sealed = true;
	c->complete = !c->inside;
	trace("seal chunk %u: segment %llu.%u block %u +%u%s", c->chunk, ULL(c->id), c->number,
	      c->start, c->nr, closes ? ", closes" : "");
}

void log_seal(struct sim *s, bool close)
{
	struct wb_order *o = &s->order;
	struct ram_chunk *c = ram_chunk(s, o->open);
	u32 pos = s->pos;
	bool closes, empty;

	if (wb_order_chunk(o, o->open)->state != WB_CHUNK_OPEN || !wb_order_may_seal(o) ||
	    pos == CLOSED)
		return;
	closes = close || s->gate || pos + 2 > s->geom.slot_blocks;
	empty = pos == c->start + 1;
	if (empty && !s->gate && (!closes || !c->number))
		return;
	s->pos = CLOSED;
	if (!empty && !closes) {
		set_chunk(s, o->open + 1, c->id, pos, c->number + 1);
		s->pos = pos + 1;
	}
	if (empty && !c->number)
		return;
	if (closes)
		buf_of(s, c->id)->closed = true;
	if (empty)
		wb_order_close(o);
	else
		seal_chunk(s, c, pos, closes);
	if (closes)
		log_open(s);
}

void log_durable_moved(struct sim *s)
{
	s->durable_rank_id = s->order.durable.id;
	s->durable_rank_end = s->order.durable_end;
	s->m->durable = s->base_chunk + (u32)s->order.first - 1;
}

/* All that was acknowledged before now: including the open chunk, if anything is in it. */
u64 everything(struct sim *s)
{
	return s->order.open + !log_open_is_empty(s);
}

static bool reserve(struct sim *s, u32 want, struct op *op)
{
	struct ram_chunk *c;
	u32 nr;

	if (s->pos >= s->geom.slot_blocks)
		return false;
	nr = s->geom.slot_blocks - s->pos;
	c = ram_chunk(s, s->order.open);
	op->left = nr < want ? nr : want;
	op->block = s->pos;
	op->seq = s->order.open;
	s->pos += op->left;
	c->inside++;
	return true;
}

static void writer_done(struct sim *s, u64 seq)
{
	struct ram_chunk *c = ram_chunk(s, seq);

	CHECK(c->seq == seq && c->inside);
	if (!--c->inside && c->sealed)
		c->complete = true;
}

void log_fails(struct sim *s, const char *why)
{
	if (!s->failed)
		trace("the cache device failed: %s", why);
	s->failed = true;
}

/* ---------------------------------------------------------------- requests */

static const char *const op_name[] = { "write", "read", "flush", "discard" };

void op_end(struct sim *s, struct op *op, bool ok)
{
	u32 i;

	trace("%s %u ends%s", op_name[op->kind], op->nr_op, ok ? "" : " with an error");
	if (op->counted) {
		CHECK(s->nr_held && &s->op[s->held[0]] == op);
		for (i = 1; i < s->nr_held; i++)
			s->held[i - 1] = s->held[i];
		s->nr_held--;
		op->counted = false;
	}
	if (ok && op->kind == OP_WRITE)
		model_ack(s->m, op->nr_op, op->sector, op->nr, op->need_chunk);
	if (ok && op->kind == OP_WRITE && op->fua)
		model_flushed(s->m, 0, op->need_chunk);
	if (ok && op->kind == OP_FLUSH)
		model_flushed(s->m, op->issued, op->acked_chunk);
	if (op->in_line)
		wb_range_leave(&s->mig.ranges, &op->range);
	op->in_line = false;
	s->through -= op->past_log;
	op->past_log = false;
	s->bypasses -= op->bypassing;
	op->bypassing = false;
	op->state = S_FREE;
	if (ok && op->kind == OP_DISCARD)
		discard_done(s, op, true);
}

void take_finished(struct sim *s)
{
	struct op *op;

	for (op = s->op; op < s->op + MAX_OPS; op++) {
		if (op->state != S_DURABLE && op->state != S_WAITS)
			continue;
		if (op->need <= s->order.first && op->state == S_WAITS)
			op->state = S_PAST;
		else if (op->need <= s->order.first)
			op_end(s, op, true);
		else if (s->order.failed)
			op_end(s, op, false);
	}
}

void io_begin(struct sim *s, enum io_kind kind, bool backing, bool flush, u64 handle, u64 arg)
{
	CHECK(s->nr_ios < MAX_IOS);
	s->io[s->nr_ios++] = (struct io){ .kind = kind, .backing = backing, .flush = flush,
					  .handle = handle, .arg = arg, .issued = s->m->now };
	s->device_ops++;
}

static u64 op_nr(const struct sim *s, const struct op *op)
{
	return (u64)(op - s->op);
}

/* ---------------------------------------------------------------- writes */

static u8 mask_of(u32 first, u32 nr)
{
	return (u8)((WB_MASK_ALL >> (WB_BLOCK_SECTORS - nr)) << first);
}

/* The part of the next block that the rest of the write covers. */
static void next_part(const struct op *op, u64 *block, u32 *first, u32 *nr)
{
	u32 sector = op->sector + op->at, left = op->nr - op->at;

	*block = sector / WB_BLOCK_SECTORS;
	*first = sector % WB_BLOCK_SECTORS;
	*nr = WB_BLOCK_SECTORS - *first;
	if (*nr > left)
		*nr = left;
}

static u32 blocks_left(const struct op *op)
{
	u32 first = (op->sector + op->at) / WB_BLOCK_SECTORS;

	return (op->sector + op->nr + WB_BLOCK_SECTORS - 1) / WB_BLOCK_SECTORS - first;
}

/* What is published while a discard of it is under way may go with it. */
static void weaken(struct sim *s, u32 sector, u32 nr)
{
	const struct op *op;
	u32 i;

	for (op = s->op; op < s->op + MAX_OPS; op++) {
		if (op->kind != OP_DISCARD || op->state == S_FREE)
			continue;
		for (i = sector; i < sector + nr; i++)
			if (i >= op->sector && i < op->sector + op->nr)
				s->m->s[i].weak = s->m->stamp;
	}
}

static void publish(struct sim *s, struct op *op, u32 sector, u32 nr, u32 chunk, u32 place,
		    bool past_log)
{
	struct version v = {
		.value = op->value, .stamp = op->stamp, .chunk = chunk, .place = place,
		.issued = op->issued, .acked = NEVER, .op = op->nr_op, .past_log = past_log,
	};
	u32 i;

	for (i = 0; i < nr; i++)
		model_publish(s->m, sector + i, &v);
	weaken(s, sector, nr);
	if (chunk > op->need_chunk && !past_log)
		op->need_chunk = chunk;
}

static void fill(const struct op *op, u32 sector, u32 first, u32 nr, u8 *to)
{
	u32 i;

	for (i = 0; i < nr; i++)
		model_fill(sector + i, op->value, to + (first + i) * WB_SECTOR_SIZE);
}

static bool absorb(struct sim *s, struct op *op)
{
	struct ram_chunk *c = ram_chunk(s, s->order.open);
	struct wb_index_view v;
	struct wb_entry e;
	u32 place, first, nr, b;
	u64 block;

	next_part(op, &block, &first, &nr);
	place = newest_copy(s, block);
	if (place == WB_NO_PLACE || s->pos == CLOSED || place_id(s, place) != c->id)
		return false;
	b = place & (s->geom.slot_blocks - 1);
	if (b <= c->start || b >= s->pos)
		return false;
	fill(op, op->sector + op->at, first, nr, ram_block(s, place));
	e = (struct wb_entry){
		.block = block, .mask = s->index.entries[place].mask | mask_of(first, nr),
	};
	e.crc = wb_data_crc(ram_block(s, place), e.mask);
	wb_entry_encode((void *)image_of(s, c->id, c->start), b - c->start - 1, &e);
	index_view(s, &v);
	wb_index_grow(&s->index, place, e.mask, &v, count_nothing, NULL);
	publish(s, op, op->sector + op->at, nr, s->base_chunk + (u32)c->seq, b, false);
	op->seq = c->seq;
	op->at = op->nr;
	trace("write %u overwrites block %llu in place %u", op->nr_op, ULL(block), place);
	return true;
}

/* One block of what was reserved: nobody else touches it. */
static void copy_one(struct sim *s, struct op *op)
{
	struct ram_chunk *c = ram_chunk(s, op->seq);
	struct wb_entry e = { .flags = 0 };
	u32 first, nr;
	u8 *to = image_of(s, c->id, op->block);

	CHECK(c->seq == op->seq && buf_of(s, c->id)->id == c->id);
	next_part(op, &e.block, &first, &nr);
	fill(op, op->sector + op->at, first, nr, to);
	e.mask = mask_of(first, nr);
	e.crc = wb_data_crc(to, e.mask);
	wb_entry_encode((void *)image_of(s, c->id, c->start), op->block - c->start - 1, &e);
}

static void publish_one(struct sim *s, struct op *op)
{
	struct ram_chunk *c = ram_chunk(s, op->seq);
	struct wb_index_view v;
	u32 place, first, nr;
	u64 block;
	u8 mask;

	next_part(op, &block, &first, &nr);
	mask = mask_of(first, nr);
	place = (slot_of(s, c->id) << s->index.slot_shift) + op->block;
	if (newest_copy(s, block) == WB_NO_PLACE) {
		wb_index_insert_only(&s->index, block, place, mask);
	} else {
		index_view(s, &v);
		wb_index_insert(&s->index, block, place, mask, &v, count_nothing, NULL);
	}
	publish(s, op, op->sector + op->at, nr, s->base_chunk + (u32)c->seq, op->block, false);
	trace("write %u: block %llu sectors %02x in place %u, chunk %u", op->nr_op, ULL(block), mask,
	      place, s->base_chunk + (u32)c->seq);
}

static void next_block(struct op *op)
{
	u32 first, nr;
	u64 block;

	next_part(op, &block, &first, &nr);
	op->at += nr;
	op->block++;
	op->left--;
}

/* The rest of it, to the backing device. */
static void write_backing(struct sim *s, struct op *op, enum io_kind kind, u32 flags)
{
	u8 bytes[MAX_REQUEST * WB_SECTOR_SIZE];
	u32 sector = op->sector + op->at, nr = op->nr - op->at, i;

	for (i = 0; i < nr; i++)
		model_fill(sector + i, op->value, bytes + i * WB_SECTOR_SIZE);
	op->state = S_IO;
	trace("write %u goes past the log", op->nr_op);
	io_begin(s, kind, true, false,
		 device_write(&s->backing, sector, nr, bytes, W_WHOLE | flags), op_nr(s, op));
}

/* It is durable, by itself. */
static void covered(struct sim *s, const struct op *op)
{
	struct sector_model *sm;
	u32 i, k;

	for (k = op->sector; k < op->sector + op->nr; k++) {
		sm = &s->m->s[k];
		for (i = 0; i < sm->nr; i++)
			sm->v[i].covered |= sm->v[i].op == op->nr_op;
	}
}

static void write_through(struct sim *s, struct op *op)
{
	publish(s, op, op->sector + op->at, op->nr - op->at, s->m->next_chunk - 1, NEVER, true);
	s->through++;
	op->past_log = true;
	write_backing(s, op, IO_THROUGH, op->fua ? W_PREFLUSH | W_FUA : 0);
	op->through = s->through_done;
}

void through_ends(struct sim *s, struct op *op, bool ok)
{
	s->through_done++;
	if (ok && op->fua) {
		model_ack(s->m, op->nr_op, op->sector, op->nr, 0);
		covered(s, op);
	}
	op_end(s, op, ok);
}

static bool may_bypass(const struct sim *s, const struct op *op)
{
	u64 block = op->sector / WB_BLOCK_SECTORS;

	if (!op->bypass || s->through)
		return false;
	for (; block * WB_BLOCK_SECTORS < op->sector + op->nr; block++)
		if (newest_copy(s, block) != WB_NO_PLACE)
			return false;
	return true;
}

/*
 * Where it is found all that had been acknowledged is to be found: it stands behind that in the order
 * of the log, and is nothing that the log must hold.
 */
static void bypass(struct sim *s, struct op *op)
{
	op->need = everything(s);
	op->need_chunk = s->base_chunk + (u32)op->need - 1;
	publish(s, op, op->sector, op->nr, op->need_chunk, NEVER, true);
	op->bypassing = true;
	s->bypasses++;
	trace("write %u waits for chunk %u", op->nr_op, op->need_chunk);
	op->state = S_WAITS;
	if (op->need > s->need)
		s->need = op->need;
	take_finished(s);
}

void bypass_ends(struct sim *s, struct op *op, bool ok)
{
	if (ok) {
		covered(s, op);
		model_flushed(s->m, 0, op->need_chunk);
	}
	op_end(s, op, ok);
}

static void hold(struct sim *s, struct op *op)
{
	if (!op->counted) {
		op->counted = true;
		s->held[s->nr_held++] = (u32)op_nr(s, op);
	}
	op->state = S_HELD;
}

/* Reserve for what is left. False: it cannot proceed. */
static bool append(struct sim *s, struct op *op, bool begins)
{
	if (begins && blocks_left(op) == 1 && absorb(s, op)) {
		op->state = S_MORE;
		return true;
	}
	if (op->at < op->nr) {
		if (!reserve(s, blocks_left(op), op))
			return false;
		op->state = S_FILL;
		return true;
	}
	return true;
}

static void write_ends(struct sim *s, struct op *op)
{
	u32 i;

	if (!op->fua) {
		op_end(s, op, true);
		return;
	}
	op->state = S_DURABLE;
	op->need = op->seq + 1;
	if (op->counted) {
		for (i = 1; i < s->nr_held; i++)
			s->held[i - 1] = s->held[i];
		s->nr_held--;
		op->counted = false;
	}
	if (op->need > s->need)
		s->need = op->need;
	take_finished(s);
}

static bool write_step(struct sim *s, struct op *op)
{
	switch (op->state) {
	case S_NEW:
		if (s->mode == DRAINED)
			write_through(s, op);
		else if (s->failed)
			op_end(s, op, false);
		else if (may_bypass(s, op))
			bypass(s, op);
		else if (s->nr_held || !append(s, op, true))
			hold(s, op);
		return true;
	case S_PAST:
		write_backing(s, op, IO_BYPASS, W_FUA);
		return true;
	case S_FILL:
		copy_one(s, op);
		op->state = S_PUBLISH;
		return true;
	case S_PUBLISH:
		publish_one(s, op);
		next_block(op);
		op->state = op->left ? S_FILL : S_DONE;
		return true;
	case S_DONE:
		writer_done(s, op->seq);
		op->state = S_MORE;
		return true;
	case S_MORE:
		if (op->at == op->nr)
			write_ends(s, op);
		else if (!append(s, op, false))
			hold(s, op);
		return true;
	}
	return false;
}

bool log_hopeless(const struct sim *s)
{
	return s->failed || (s->mig.failures >= 5 && wb_order_full(&s->order) &&
			     s->order.prepared + 1 > s->order.migrated + s->geom.nr_slots);
}

bool held_step(struct sim *s)
{
	struct op *op = &s->op[s->held[0]];

	if (!s->nr_held || op->state != S_HELD)
		return false;
	if (log_hopeless(s)) {
		op_end(s, op, false);
		return true;
	}
	if (s->mode == DRAINED) {
		u32 i;

		for (i = 1; i < s->nr_held; i++)
			s->held[i - 1] = s->held[i];
		s->nr_held--;
		op->counted = false;
		write_through(s, op);
		return true;
	}
	return append(s, op, true);
}

/* ---------------------------------------------------------------- reads, of one block at most */

static void find_pieces(struct sim *s, struct op *op)
{
	u64 block = op->sector / WB_BLOCK_SECTORS;
	u8 left = mask_of(op->sector % WB_BLOCK_SECTORS, op->nr), mask;
	const struct wb_index_entry *e;
	u32 p, i;

	op->nr_pieces = 0;
	op->next_piece = 0;
	p = s->past_log ? WB_NO_PLACE : newest_copy(s, block);
	for (; left && p != WB_NO_PLACE; p = wb_index_next(&s->index, p)) {
		e = &s->index.entries[p];
		mask = e->mask & left;
		if (!mask)
			continue;
		left &= (u8)~mask;
		op->failed |= e->flags & WB_ENTRY_ROTTEN;
		if (in_ram(s, p)) {
			for (i = 0; i < WB_BLOCK_SECTORS; i++)
				if (mask >> i & 1)
					memcpy(op->data + i * WB_SECTOR_SIZE,
					       ram_block(s, p) + i * WB_SECTOR_SIZE, WB_SECTOR_SIZE);
			continue;
		}
		s->slot_refs[p >> s->index.slot_shift]++;
		op->piece[op->nr_pieces++] = (struct piece){ p, mask };
	}
	if (left)
		op->piece[op->nr_pieces++] = (struct piece){ WB_NO_PLACE, left };
	op->state = S_PIECES;
}

static void read_piece(struct sim *s, struct op *op)
{
	const struct piece *p = &op->piece[op->next_piece++];
	u32 base = op->sector / WB_BLOCK_SECTORS * WB_BLOCK_SECTORS, i;
	const struct device *d = &s->backing;

	if (p->place != WB_NO_PLACE) {
		d = &s->cache;
		base = place_sector(s, p->place);
		CHECK(s->slot_refs[p->place >> s->index.slot_shift]);
		s->slot_refs[p->place >> s->index.slot_shift]--;
	}
	for (i = 0; i < WB_BLOCK_SECTORS; i++)
		if (p->mask >> i & 1)
			op->failed |= !device_read(d, base + i, 1, op->data + i * WB_SECTOR_SIZE);
}

static bool read_step(struct sim *s, struct op *op)
{
	u32 i, in = op->sector % WB_BLOCK_SECTORS;

	if (op->state == S_NEW) {
		find_pieces(s, op);
	} else if (op->slow && !rng_one_in(&s->rng, 100)) {
		return false;
	} else if (op->next_piece < op->nr_pieces) {
		read_piece(s, op);
	} else {
		figures.reads++;
		CHECK(!op->failed || s->rot);
		for (i = 0; !op->failed && i < op->nr; i++)
			model_check_read(s->m, op->sector + i,
					 model_value(op->sector + i,
						     op->data + (in + i) * WB_SECTOR_SIZE, false),
					 op->issued);
		op_end(s, op, !op->failed);
	}
	return true;
}

/* ---------------------------------------------------------------- discards */

static void send_discard(struct sim *s, struct op *op, enum op_state state)
{
	static const u64 kinds[] = { ~0ull, 0, 0, 0 };
	u64 lands = s->manners.discards == 2 ? rng_u64(&s->rng) : kinds[s->manners.discards];
	u32 i;

	op->state = state;
	op->flush_failures = s->flush_failures;
	if (s->manners.discards != 3)
		for (i = op->sector; i < op->sector + op->nr; i++)
			s->m->s[i].weak = s->m->stamp;
	trace("discard %u is passed down", op->nr_op);
	io_begin(s, IO_DISCARD, true, false,
		 device_discard(&s->backing, op->sector, op->nr, lands), op_nr(s, op));
}

/* Acknowledged. Its sectors are zeros for sure if the device makes them so and nobody else was here. */
void discard_done(struct sim *s, struct op *op, bool ok)
{
	u32 i, k, base = (u32)op->first * WB_BLOCK_SECTORS;
	struct sector_model *sm;
	bool alone;

	(void)ok;
	if (op->tomb != WB_NO_PLACE && op->need_chunk > s->m->acked_chunk)
		s->m->acked_chunk = op->need_chunk;
	for (i = op->sector; i < op->sector + op->nr; i++) {
		sm = &s->m->s[i];
		alone = !s->manners.discards && i >= base &&
			i < (u32)op->end * WB_BLOCK_SECTORS;
		for (k = 0; k < sm->nr; k++)
			alone &= sm->v[k].issued < op->issued && sm->v[k].acked < op->issued;
		if (alone)
			sm->zero_at = s->m->now;
	}
}

static bool any_copy(const struct sim *s, const struct op *op)
{
	u64 block;

	for (block = op->first; block < op->end; block++)
		if (newest_copy(s, block) != WB_NO_PLACE)
			return true;
	return false;
}

static void put_tombstone(struct sim *s, struct op *op)
{
	struct ram_chunk *c = ram_chunk(s, op->seq);
	struct wb_entry e = { .block = op->first, .crc = (u32)(op->end - op->first),
			      .flags = WB_ENTRY_TOMBSTONE };
	struct sector_model *sm;
	u32 i;

	wb_entry_encode((void *)image_of(s, c->id, c->start), op->block - c->start - 1, &e);
	op->tomb = (slot_of(s, c->id) << s->index.slot_shift) + op->block;
	s->slot_refs[slot_of(s, c->id)]++;
	op->need_chunk = s->base_chunk + (u32)op->seq;
	op->state = S_TOMB_DONE;
	for (i = (u32)op->first * WB_BLOCK_SECTORS;
	     i < op->end * WB_BLOCK_SECTORS && i < s->m->nr_sectors; i++) {
		sm = &s->m->s[i];
		if (sm->tomb_chunk != NEVER && (sm->tomb_chunk > op->need_chunk ||
		    (sm->tomb_chunk == op->need_chunk && sm->tomb_place > op->block)))
			continue;
		sm->tomb_chunk = op->need_chunk;
		sm->tomb_place = op->block;
	}
	trace("discard %u: tombstone for blocks %llu to %llu in place %u, chunk %u", op->nr_op,
	      ULL(op->first), ULL(op->end - 1), op->tomb, op->need_chunk);
}

static void drop_older(struct sim *s, struct op *op)
{
	struct wb_index_view v;
	u32 place, next;

	index_view(s, &v);
	for (place = newest_copy(s, op->first + op->at); place != WB_NO_PLACE; place = next) {
		next = wb_index_next(&s->index, place);
		if (wb_index_rank(&s->index, &v, place) < wb_index_rank(&s->index, &v, op->tomb))
			wb_index_unlink(&s->index, place, count_nothing, NULL);
	}
	op->at++;
}

/* Does migration write where only the discard may be at work? */
void check_alone(const struct sim *s, const struct op *op)
{
	const struct request *q;
	const struct io *io;

	for (io = s->io; io < s->io + s->nr_ios; io++)
		for (q = s->backing.req; q < s->backing.req + s->backing.nr; q++)
			CHECKF(io->kind != IO_MOVE || q->handle != io->handle ||
			       q->sector >= op->sector + op->nr || q->sector + q->nr <= op->sector,
			       "discard %u, while its blocks are being written", op->nr_op);
}

/* Return: false if it has to wait. */
static bool discard_begins(struct sim *s, struct op *op)
{
	op->tomb = WB_NO_PLACE;
	op->first = (op->sector + WB_BLOCK_SECTORS - 1) / WB_BLOCK_SECTORS;
	op->end = (op->sector + op->nr) / WB_BLOCK_SECTORS;
	if (op->sector + op->nr == s->m->nr_sectors)
		op->end = wb_backing_blocks(&s->geom);
	if (s->failed && s->mode != DRAINED) {
		op_end(s, op, false);
		return true;
	}
	if (s->mode == HOLD)
		return false;
	s->through++;
	op->past_log = true;
	if (s->mode == DRAINED)
		send_discard(s, op, S_IO);
	else
		op->state = S_ENTER;
	return true;
}

static bool discard_joins(struct sim *s, struct op *op)
{
	if (s->bypasses)
		return false;
	wb_range_join(&s->mig.ranges, &op->range, WB_RANGE_DISCARDS,
		      op->sector / WB_BLOCK_SECTORS,
		      (op->sector + op->nr - 1) / WB_BLOCK_SECTORS);
	op->in_line = true;
	op->state = S_RANGE;
	return true;
}

static bool discard_step(struct sim *s, struct op *op)
{
	struct wb_ranges *line = &s->mig.ranges;

	switch (op->state) {
	case S_NEW:
		return discard_begins(s, op);
	case S_ENTER:
		return discard_joins(s, op);
	case S_RANGE:
		if (!wb_range_may(line, &op->range))
			return false;
		check_alone(s, op);
		send_discard(s, op, any_copy(s, op) ? S_TRIED : S_IO);
		return true;
	case S_TOMB:
		if (reserve(s, 1, op)) {
			put_tombstone(s, op);
		} else if (s->past_log) {
			op_end(s, op, true);
		} else if (log_hopeless(s)) {
			op_end(s, op, false);
		} else {
			wb_range_step_aside(line, &op->range);
			op->state = S_ASIDE;
			return false;
		}
		return true;
	case S_ASIDE:
		if (s->pos >= s->geom.slot_blocks && !s->past_log && !log_hopeless(s))
			return false;
		wb_range_come_back(line, &op->range);
		op->state = S_BACK;
		return false;
	case S_BACK:
		if (!wb_range_may(line, &op->range))
			return false;
		check_alone(s, op);
		if (op->range.crossed)
			send_discard(s, op, S_TRIED);
		else
			op->state = S_TOMB;
		return op->range.crossed;
	case S_TOMB_DONE:
		writer_done(s, op->seq);
		op->state = S_EARLIER;
		return true;
	case S_EARLIER:
		if (s->order.open == op->seq)
			log_seal(s, false);
		if (s->next_write <= op->seq && !s->order.failed)
			return false;
		op->at = 0;
		op->state = S_DROP;
		return true;
	case S_DROP:
		check_alone(s, op);
		if (op->first + op->at < op->end) {
			drop_older(s, op);
			return true;
		}
		s->slot_refs[op->tomb >> s->index.slot_shift]--;
		op_end(s, op, true);
		return true;
	}
	return false;
}

/* ---------------------------------------------------------------- flushes */

static bool flush_step(struct sim *s, struct op *op)
{
	if (op->state != S_NEW)
		return false;
	if (s->through_lost) {
		op_end(s, op, false);
		return true;
	}
	if (s->past_log) {
		op->through = s->through_done;
		op->state = S_IO;
		io_begin(s, IO_FLUSH, true, true, device_flush(&s->backing), op_nr(s, op));
		return true;
	}
	op->need = everything(s);
	if (s->order.failed) {
		op_end(s, op, false);
	} else if (op->need <= s->order.first) {
		op_end(s, op, true);
	} else {
		op->state = S_DURABLE;
		if (op->need > s->need)
			s->need = op->need;
	}
	return true;
}

bool op_step(struct sim *s, struct op *op)
{
	switch (op->kind) {
	case OP_WRITE:
		return write_step(s, op);
	case OP_READ:
		return read_step(s, op);
	case OP_FLUSH:
		return flush_step(s, op);
	default:
		return discard_step(s, op);
	}
}
