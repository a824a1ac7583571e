// SPDX-License-Identifier: GPL-2.0
#include "log.h"

static u64 chunk_off(const struct log *l, const struct wb_header *h)
{
	return wb_slot_offset(&l->geom, wb_slot_of(&l->geom, h->id), h->block);
}

static struct wb_pos pos_of(const struct wb_header *h)
{
	return (struct wb_pos){ h->id, h->chunk };
}

/* ---------------------------------------------------------------- making and copying */

static void new_style(struct log *l)
{
	struct rng *r = &l->rng;

	l->style = (struct log_style){
		.seal = 1 + rng_below(r, 3),
		.write = 1 + rng_below(r, 3),
		.complete = 1 + rng_below(r, 6),
		.flush = 1 + rng_below(r, rng_one_in(r, 3) ? 40 : 6),
		.flushed = 1 + rng_below(r, 8),
		.migrate = 1 + rng_below(r, 8),
		.record = 1 + rng_below(r, 8),
		.prepare = 1 + rng_below(r, 2),
		.close = rng_one_in(r, 2) ? 0 : 1 + rng_below(r, 10),
		.fail = rng_one_in(r, 4) ? 10 + rng_below(r, 60) : 0,
		.max_entries = rng_one_in(r, 3) ? 1 : 1 + rng_below(r, l->geom.slot_blocks - 1),
	};
}

static void put_record(struct log *l, int copy, const struct wb_record *r, bool durable)
{
	struct buf *b = buf_new(WB_BLOCK_SIZE);
	u64 h;

	wb_record_encode(&l->geom, r, b->bytes);
	h = disk_write(&l->disk, WB_RECORD_OFFSET(copy), b, false, durable);
	if (durable)
		disk_complete(&l->disk, h);
	else
		l->record_handle = h;
}

void log_format(struct log *l, const struct wb_geom *g, u64 seed)
{
	int i;

	memset(l, 0, sizeof(*l));
	l->geom = *g;
	l->geom.seed = mix64(seed ^ 0x5eed);
	l->rng = rng_init(seed);
	disk_init(&l->disk, g);
	/* Format leaves the slots alone: let stale bytes be there. */
	rng_fill(&l->rng, l->disk.stable, 4096 * 8);
	l->record = (struct wb_record){ .seq = 1, .epoch = 1, .life_start = 1 };
	for (i = 0; i < WB_NR_COPIES; i++)
		put_record(l, i, &l->record, true);
	wb_order_init(&l->order, &l->geom, &l->record);
	l->max_epoch = 1;
	new_style(l);
}

static void forget(struct model_chunk *c, u32 nr)
{
	while (nr--)
		buf_put(c[nr].buf);
}

void log_exit(struct log *l)
{
	disk_exit(&l->disk);
	forget(l->chunks, l->nr);
	forget(l->again, l->nr_again);
	free(l->chunks);
	free(l->again);
	memset(l, 0, sizeof(*l));
}

static struct model_chunk *chunks_copy(const struct model_chunk *from, u32 nr)
{
	struct model_chunk *to = calloc(nr + 1, sizeof(*to));
	u32 i;

	CHECK(to);
	for (i = 0; i < nr; i++) {
		to[i] = from[i];
		buf_get(to[i].buf);
	}
	return to;
}

void log_copy(struct log *to, const struct log *from)
{
	*to = *from;
	disk_copy(&to->disk, &from->disk);
	to->chunks = chunks_copy(from->chunks, from->nr);
	to->max = from->nr + 1;
	to->again = chunks_copy(from->again, from->nr_again);
}

/* ---------------------------------------------------------------- the writer */

static struct buf *chunk_contents(const struct log *l, u64 shape, u32 nr)
{
	struct buf *b = buf_new((1 + nr) * WB_BLOCK_SIZE);
	struct wb_header_disk *d = (void *)b->bytes;
	struct rng r = rng_init(shape);
	struct wb_entry e;
	u32 i, s;
	u8 *data;

	/* What follows the entries is whatever the memory held. */
	memset(b->bytes, (int)(shape & 0xff), WB_BLOCK_SIZE);
	for (i = 0; i < nr; i++) {
		data = b->bytes + (1 + i) * WB_BLOCK_SIZE;
		for (s = 0; s < WB_BLOCK_SECTORS; s++) {
			memset(data + s * WB_SECTOR_SIZE, (int)rng_below(&r, 3), WB_SECTOR_SIZE);
			memcpy(data + s * WB_SECTOR_SIZE, &r.x, 8);
		}
		e = (struct wb_entry){ .block = rng_u64(&r) % wb_backing_blocks(&l->geom) };
		if (rng_one_in(&r, 10)) {
			e.flags = WB_ENTRY_TOMBSTONE;
			e.crc = 1;
		} else {
			e.mask = wb_block_mask(&l->geom, e.block);
			if (rng_one_in(&r, 3))
				e.mask &= (u8)(1 + rng_below(&r, 255));
			if (!e.mask)
				e.mask = 1;
			e.crc = wb_data_crc(data, e.mask);
		}
		wb_entry_encode(d, i, &e);
	}
	return b;
}

static struct wb_order_chunk *open_chunk(struct log *l)
{
	struct wb_order_chunk *c = wb_order_chunk(&l->order, l->order.open);

	return c->state == WB_CHUNK_OPEN ? c : NULL;
}

static void seal(struct log *l)
{
	struct wb_order_chunk *open = open_chunk(l);
	u32 room, nr;
	struct model_chunk c = { .shape = rng_below(&l->rng, 8) };
	u64 seq;

	if (!open->chunk)
		l->block = 0;
	room = l->geom.slot_blocks - l->block - 1;
	nr = 1 + rng_below(&l->rng, l->style.max_entries);
	c.closes = l->style.close && rng_one_in(&l->rng, l->style.close);
	if (l->next_again < l->nr_again && !rng_one_in(&l->rng, 20)) {
		const struct model_chunk *old = &l->again[l->next_again++];

		c.shape = old->shape;
		c.closes = old->closes;
		nr = old->nr_wanted;
	}
	c.nr_wanted = nr;
	if (nr > room)
		nr = room;
	c.buf = chunk_contents(l, c.shape, nr);
	c.h = (struct wb_header){
		.epoch = l->record.epoch,
		.id = open->id,
		.durable = l->order.durable,
		.link = l->nr > l->first ? l->chunks[l->nr - 1].h.crc : l->record.life_link,
		.chunk = open->chunk,
		.block = l->block,
		.nr_entries = nr,
	};
	wb_header_encode(&l->geom, &c.h, (void *)c.buf->bytes);
	l->block += 1 + nr;
	seq = wb_order_seal(&l->order, l->block, c.closes || l->block + 1 >= l->geom.slot_blocks);
	CHECK(seq == l->nr - l->first);
	if (l->nr == l->max) {
		l->max = l->max * 2 + 16;
		l->chunks = realloc(l->chunks, l->max * sizeof(*l->chunks));
		CHECK(l->chunks);
	}
	l->chunks[l->nr++] = c;
	trace("seal %u: segment %llu chunk %u block %u +%u, durable %llu.%u", l->nr - 1,
	      (unsigned long long)c.h.id, c.h.chunk, c.h.block, nr,
	      (unsigned long long)c.h.durable.id, c.h.durable.chunk);
}

/* order.c moved its durable point: is it true? From here on it counts as acknowledged. */
static void check_durable(struct log *l)
{
	struct model_chunk *c;

	for (; l->acked < l->first + l->order.first; l->acked++) {
		c = &l->chunks[l->acked];
		CHECKF(disk_is_durable(&l->disk, chunk_off(l, &c->h), c->buf->bytes, c->buf->len),
		       "chunk %u is called durable and is not", l->acked);
	}
	if (l->order.first) {
		c = &l->chunks[l->acked - 1];
		CHECK(!wb_pos_cmp(l->order.durable, pos_of(&c->h)));
		CHECK(l->order.durable_end == c->h.block + 1 + c->h.nr_entries);
	}
}

/* Before the slot of segment @id is used: no record that a crash can leave may want it. */
static void check_reusable(struct log *l, u64 id)
{
	struct wb_record r;
	u32 i, copy;

	if (id <= l->geom.nr_slots)
		return;
	for (copy = 0; copy < WB_NR_COPIES; copy++) {
		CHECK(wb_record_decode(&l->geom, l->disk.stable + disk_at(WB_RECORD_OFFSET(copy)),
				       &r) != WB_OK || r.migrated >= id - l->geom.nr_slots);
	}
	for (i = 0; i < l->disk.nr_writes; i++) {
		if (l->disk.writes[i].off >= WB_FIRST_SLOT_OFFSET)
			continue;
		CHECK(wb_record_decode(&l->geom, l->disk.writes[i].buf->bytes, &r) == WB_OK);
		CHECK(r.migrated >= id - l->geom.nr_slots);
	}
}

static bool step_record(struct log *l)
{
	struct wb_record *r = &l->record;

	switch (l->record_step) {
	case 0:
		r->seq++;
		r->migrated = l->order.migrated;
		r->durable = l->order.durable;
		r->clean = l->phase == LOG_STOPS && l->copies_left;
		put_record(l, l->next_copy, r, false);
		trace("record copy %d: migrated %llu durable %llu.%u%s", l->next_copy,
		      (unsigned long long)r->migrated, (unsigned long long)r->durable.id,
		      r->durable.chunk, r->clean ? ", the end" : "");
		break;
	case 1:
		disk_complete(&l->disk, l->record_handle);
		break;
	case 2:
		l->record_handle = disk_flush(&l->disk);
		break;
	case 3:
		disk_flushed(&l->disk, l->record_handle);
		wb_order_recorded(&l->order, l->next_copy, r->migrated);
		l->next_copy ^= 1;
		trace("record is durable, reusable up to %llu",
		      (unsigned long long)wb_order_reusable(&l->order));
		break;
	}
	l->record_step = (l->record_step + 1) % 4;
	return true;
}

static bool step_write(struct log *l)
{
	struct wb_order *o = &l->order;
	struct model_chunk *c;
	enum wb_write_how how;
	u64 s, pick = ~0ull;
	u32 n = 0;

	if (o->failed)
		return false;		/* as rambuf.c: what follows would never count */

	for (s = o->first; s < o->open; s++)
		if (wb_order_chunk(o, s)->state == WB_CHUNK_SEALED && rng_one_in(&l->rng, ++n))
			pick = s;
	if (!n)
		return false;
	c = &l->chunks[l->first + pick];
	how = wb_order_write(o, pick, rng_one_in(&l->rng, 3));
	c->handle = disk_write(&l->disk, chunk_off(l, &c->h), buf_get(c->buf),
			       how == WB_WRITE_FLUSH_FUA, how != WB_WRITE_PLAIN);
	trace("write %u%s%s", l->first + (u32)pick,
	      how == WB_WRITE_FLUSH_FUA ? " with PREFLUSH" : "", how ? " with FUA" : "");
	return true;
}

static bool now(struct log *l, u32 one_in)
{
	return one_in && rng_one_in(&l->rng, one_in);
}

/*
 * A write of the log fails: some of it may arrive, as if it were on its way for ever. Or a flush: what
 * it covered may still be lost. From then on nothing is begun that could make anything durable.
 */
static void log_fails(struct log *l, const char *what)
{
	u64 s;

	trace("%s fails", what);
	CHECK(l->order.failed && !wb_order_may_flush(&l->order));
	CHECK(!wb_order_may_prepare(&l->order) && !wb_order_may_open(&l->order));
	for (s = l->order.first; s < l->order.open; s++)
		if (wb_order_chunk(&l->order, s)->state == WB_CHUNK_SEALED)
			break;
	/* Not even a chunk with PREFLUSH and FUA, which would be a flush of its own. */
	if (s < l->order.open) {
		struct wb_order copy = l->order;

		CHECK(!wb_order_write(&copy, s, true));
	}
}

static bool step_complete(struct log *l)
{
	struct wb_order *o = &l->order;
	struct model_chunk *c;
	u64 s, pick = ~0ull;
	u32 n = 0;

	for (s = o->first; s < o->open; s++)
		if (wb_order_chunk(o, s)->state == WB_CHUNK_WRITING &&
		    l->chunks[l->first + s].handle && rng_one_in(&l->rng, ++n))
			pick = s;
	if (!n)
		return false;
	c = &l->chunks[l->first + pick];
	if (now(l, l->style.fail)) {
		c->handle = 0;
		CHECK(!wb_order_written(o, pick, false));
		log_fails(l, "a write");
		return true;
	}
	disk_complete(&l->disk, c->handle);
	trace("write %u completes", l->first + (u32)pick);
	if (wb_order_written(o, pick, true))
		check_durable(l);
	return true;
}

void log_stop(struct log *l)
{
	CHECK(l->phase == LOG_RUNS && !l->copies_left);
	l->phase = LOG_STOPS;
	trace("stop");
}

void log_resume(struct log *l)
{
	CHECK(l->phase == LOG_STOPPED && !l->record_step);
	l->phase = LOG_RESUMES;
	/* Both, durably, before anything is sealed: neither may lie when it alone is left. */
	l->copies_left = WB_NR_COPIES;
	trace("resume");
}

/* Both copies of the record say that the log ends here, or that it no longer does. */
static bool step_copies(struct log *l)
{
	step_record(l);
	if (!l->record_step && !--l->copies_left) {
		l->phase = l->phase == LOG_STOPS ? LOG_STOPPED : LOG_RUNS;
		trace("%s", l->phase == LOG_STOPPED ? "stopped in order" : "the log goes on");
	}
	return true;
}

bool log_step(struct log *l)
{
	const struct log_style *s = &l->style;
	struct wb_order *o = &l->order;
	struct wb_order_chunk *open;
	bool runs = l->phase == LOG_RUNS;
	u64 id;

	CHECK(l->phase != LOG_STOPPED);
	if (l->phase == LOG_STOPS && o->first == o->open && !l->flush && !l->record_step &&
	    !l->copies_left) {
		CHECK(l->acked == l->nr);
		l->copies_left = WB_NR_COPIES;
	}
	if (l->copies_left)
		return step_copies(l);
	for (;;) {
		switch (rng_below(&l->rng, 8)) {
		case 0:
			if (!runs || !now(l, s->prepare) || !wb_order_may_prepare(o))
				break;
			check_reusable(l, o->prepared + 1);
			wb_order_prepared(o);
			CHECK(o->prepared <= o->durable_segment + WB_MAX_VOLATILE_SEGMENTS);
			break;
		case 1:
			if (!runs || !now(l, s->seal))
				break;
			open = open_chunk(l);
			if (open && wb_order_may_seal(o)) {
				if (open->chunk && now(l, s->close) && rng_one_in(&l->rng, 3))
					wb_order_close(o);
				else
					seal(l);
			} else if (!open && wb_order_may_open(o)) {
				wb_order_open_segment(o);
			}
			break;
		case 2:
			if (now(l, s->write) && step_write(l))
				return true;
			break;
		case 3:
			if (now(l, s->complete) && step_complete(l))
				return true;
			break;
		case 4:
			if (!now(l, s->flush) || !wb_order_may_flush(o))
				break;
			wb_order_flush(o);
			l->flush = disk_flush(&l->disk);
			trace("flush");
			return true;
		case 5:
			if (!l->flush || !now(l, s->flushed))
				break;
			if (now(l, s->fail)) {
				l->flush = 0;
				CHECK(!wb_order_flushed(o, false));
				log_fails(l, "a flush");
				return true;
			}
			disk_flushed(&l->disk, l->flush);
			l->flush = 0;
			trace("flush completes");
			if (wb_order_flushed(o, true))
				check_durable(l);
			return true;
		case 6:
			if (!runs || !now(l, s->migrate) || o->migrated >= o->durable_segment)
				break;
			id = o->migrated + 1 +
			     rng_below(&l->rng, (u32)(o->durable_segment - o->migrated));
			wb_order_migrated(o, id);
			CHECK(o->migrated == id);
			trace("migrated %llu", (unsigned long long)id);
			break;
		case 7:
			if (!l->record_step && !now(l, s->record))
				break;
			return step_record(l);
		}
	}
}

/* ---------------------------------------------------------------- the walk */

/* How many of these blocks are behind all that was sealed? */
static u32 blocks_behind(const struct log *l, u64 id, u32 block, u32 nr)
{
	const struct wb_header *last = l->nr ? &l->chunks[l->nr - 1].h : NULL;
	u32 end;

	if (!last || id > last->id)
		return nr;
	end = last->block + 1 + last->nr_entries;
	if (id < last->id || block + nr <= end)
		return 0;
	return block + nr - (block > end ? block : end);
}

static int walk_read(void *ctx, u64 id, u32 block, u32 nr, void *to)
{
	struct log_walk *lw = ctx;
	const struct wb_geom *g = &lw->log->geom;
	u64 off;
	u32 i;

	CHECKF(id > lw->record.migrated && id <= lw->record.migrated + g->nr_slots,
	       "read of segment %llu", (unsigned long long)id);
	CHECKF(nr && block < g->slot_blocks && nr <= g->slot_blocks - block,
	       "read of %u blocks from %u", nr, block);
	free(lw->peeked);
	lw->peeked = NULL;
	lw->nr_blocks += nr;
	lw->nr_behind += blocks_behind(lw->log, id, block, nr);
	off = wb_slot_offset(g, wb_slot_of(g, id), block);
	for (i = 0; i < lw->nr_rot; i++)
		if (lw->rot[i].read_error && lw->rot[i].off < off + (u64)nr * WB_BLOCK_SIZE &&
		    off < lw->rot[i].off + lw->rot[i].len)
			return -EIO;
	disk_read(&lw->log->disk, off, nr * WB_BLOCK_SIZE, to);
	return 0;
}

/* Of three headers one was not read ahead. The sanitizer watches who uses one that is gone. */
static const void *walk_peek(void *ctx, u64 id, u32 block)
{
	struct log_walk *lw = ctx;
	u32 nr_blocks = lw->nr_blocks, nr_behind = lw->nr_behind;
	void *to = malloc(WB_BLOCK_SIZE);

	if ((id + block) % 3 && !walk_read(ctx, id, block, 1, to)) {
		lw->peeked = to;
		return to;
	}
	lw->nr_blocks = nr_blocks;
	lw->nr_behind = nr_behind;
	free(to);
	return NULL;
}

static bool walk_hold(void *ctx)
{
	struct log_walk *lw = ctx;

	CHECK(lw->peeked);
	if (lw->nr_held >= 2)
		return false;
	lw->peeked = NULL;
	lw->nr_held++;
	return true;
}

static void walk_drop(void *ctx, const void *header)
{
	struct log_walk *lw = ctx;

	free((void *)header);
	lw->nr_held--;
}

static size_t header_bytes(const struct wb_header *h)
{
	return sizeof(struct wb_header_disk) + h->nr_entries * sizeof(struct wb_entry_disk);
}

static int walk_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct log_walk *lw = ctx;
	struct log *l = lw->log;
	u32 i = lw->start + lw->nr;
	const struct model_chunk *c = &l->chunks[i];

	CHECKF(i < l->nr, "accepted segment %llu chunk %u, which is not in the log",
	       (unsigned long long)h->id, h->chunk);
	CHECKF(h->crc == c->h.crc && h->id == c->h.id && h->chunk == c->h.chunk &&
	       h->block == c->h.block && h->epoch == c->h.epoch &&
	       h->nr_entries == c->h.nr_entries &&
	       !memcmp(raw, c->buf->bytes, header_bytes(h)),
	       "accepted segment %llu chunk %u of life %llu where chunk %u should be",
	       (unsigned long long)h->id, h->chunk, (unsigned long long)h->epoch, i);
	lw->nr++;
	return 0;
}

static void walk_note(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	trace("walk: segment %llu block %u: %s (%s)", (unsigned long long)id, block, text,
	      wb_verdict_text(why));
}

static const struct wb_walk_ops walk_ops = {
	.read = walk_read,
	.peek = walk_peek,
	.hold = walk_hold,
	.drop = walk_drop,
	.apply = walk_apply,
	.note = walk_note,
};

static bool pick_record(struct log_walk *lw)
{
	u8 block[WB_NR_COPIES][WB_BLOCK_SIZE];
	const void *two[WB_NR_COPIES];
	u32 i, k;

	for (i = 0; i < WB_NR_COPIES; i++) {
		two[i] = block[i];
		disk_read(&lw->log->disk, WB_RECORD_OFFSET(i), WB_BLOCK_SIZE, block[i]);
		for (k = 0; k < lw->nr_rot; k++)
			if (lw->rot[k].read_error && lw->rot[k].off == WB_RECORD_OFFSET(i))
				two[i] = NULL;
	}
	return wb_record_pick(&lw->log->geom, two, &lw->record, &lw->which) == WB_OK;
}

bool log_walk(struct log_walk *lw)
{
	struct log *l = lw->log;

	if (!pick_record(lw))
		return false;
	for (lw->start = 0; lw->start < l->nr; lw->start++)
		if (l->chunks[lw->start].h.id > lw->record.migrated)
			break;
	lw->nr = 0;
	lw->nr_blocks = 0;
	lw->nr_behind = 0;
	/* What the walk does not set must not matter. */
	memset(&lw->walk, 0xa5, sizeof(lw->walk));
	lw->walk.geom = &l->geom;
	lw->walk.record = &lw->record;
	lw->walk.verify_all = lw->verify_all;
	lw->walk.ops = &walk_ops;
	lw->walk.ctx = lw;
	lw->walk.slot_buf = NULL;
	lw->peeked = NULL;
	lw->nr_held = 0;
	lw->err = wb_walk(&lw->walk);
	free(lw->peeked);
	CHECK(!lw->nr_held);
	CHECKF(!lw->err || lw->err == -EIO, "walk returned %d", lw->err);
	if (!lw->err && lw->walk.state != WB_LOG_DAMAGED) {
		const struct model_chunk *c = lw->nr ? &l->chunks[lw->start + lw->nr - 1] : NULL;

		CHECK(lw->walk.nr_chunks == lw->nr);
		CHECK(lw->walk.last.id == (c ? c->h.id : lw->record.migrated));
		CHECK(!c || (lw->walk.last.chunk == c->h.chunk && lw->walk.last_crc == c->h.crc &&
			     lw->walk.last_end == c->h.block + 1 + c->h.nr_entries));
		CHECK(lw->walk.state == WB_LOG_ENDS || lw->walk.state == WB_LOG_TORN);
	}
	return true;
}

void log_walk_good(struct log *l, struct log_walk *lw)
{
	struct model_chunk *c;
	u8 *bytes;
	u32 i;

	lw->log = l;
	CHECKF(log_walk(lw), "no good record");
	trace("walk from %llu, life %llu from %llu: %d, state %d, chunks %u-%u of %u, %u acked",
	      (unsigned long long)lw->record.migrated, (unsigned long long)lw->record.epoch,
	      (unsigned long long)lw->record.life_start, lw->err,
	      lw->err ? -1 : (int)lw->walk.state, lw->start, lw->start + lw->nr, l->nr, l->acked);
	CHECK(!lw->err);
	CHECKF(lw->walk.state != WB_LOG_DAMAGED, "a crash is taken for damage");
	CHECK(lw->record.migrated <= l->order.migrated);
	CHECK(lw->record.migrated >= wb_order_reusable(&l->order));
	CHECKF(lw->start + lw->nr >= l->acked, "only %u of %u acknowledged chunks were found",
	       lw->start + lw->nr, l->acked);
	if (lw->record.clean) {
		CHECKF(lw->start + lw->nr == l->nr && lw->walk.state == WB_LOG_ENDS,
		       "the record says that the log ends, and it went on");
		/* Where the next header could stand, here and in the next segment. No search. */
		CHECKF(lw->nr_behind <= 2, "%u blocks read behind a log stopped in order",
		       lw->nr_behind);
		/* The headers, and what stands behind the last one of each segment. No data. */
		CHECK(lw->verify_all || lw->nr_blocks <= 2 * lw->nr + lw->nr_behind);
	}
	for (i = lw->start; i < lw->start + lw->nr; i++) {
		c = &l->chunks[i];
		bytes = malloc(c->buf->len);
		disk_read(&l->disk, chunk_off(l, &c->h), c->buf->len, bytes);
		CHECKF(wb_verify_chunk(&c->h, (void *)bytes, bytes + WB_BLOCK_SIZE, NULL) == WB_OK,
		       "chunk %u was accepted and its data is not whole", i);
		free(bytes);
	}
}

/* ---------------------------------------------------------------- a new life */

void log_crash(struct log *l, enum disk_crash how, struct rng *r)
{
	trace("crash: %s", disk_crash_name[how]);
	disk_crash(&l->disk, how, r);
	l->flush = 0;
	l->record_step = 0;
	l->copies_left = 0;
}

/* The accepted chunks are the log now. What was cut off may well be written once more. */
static void cut(struct log *l, u32 nr)
{
	u32 i;

	trace("%u chunks cut off", l->nr - nr);
	if (l->nr > nr || rng_one_in(&l->rng, 2)) {
		forget(l->again, l->nr_again);
		free(l->again);
		l->nr_again = l->nr - nr;
		l->again = calloc(l->nr_again + 1, sizeof(*l->again));
		CHECK(l->again);
		for (i = 0; i < l->nr_again; i++)
			l->again[i] = l->chunks[nr + i];
	}
	l->next_again = 0;
	l->nr = nr;
	l->acked = nr;
}

/* Nothing can ask for these chunks again: both copies of the record are beyond them. */
static void drop_migrated(struct log *l, u64 migrated)
{
	u32 n = 0;

	while (n < l->nr && l->chunks[n].h.id <= migrated)
		n++;
	forget(l->chunks, n);
	l->nr -= n;
	l->acked -= n;
	if (l->nr)
		memmove(l->chunks, l->chunks + n, l->nr * sizeof(*l->chunks));
}

bool log_recover(struct log *l, u32 crash_after)
{
	struct log_walk lw = { .verify_all = rng_one_in(&l->rng, 2) };
	struct wb_record r;
	u32 ops = 0, block, i;
	u64 id, off, handle;
	int copy;

#define OP(what) do { \
	if (ops++ == crash_after) { \
		trace("recovery stops before operation %u", crash_after); \
		return false; \
	} \
	what; \
} while (0)
	log_walk_good(l, &lw);
	if (wb_walk_must_record(&lw.walk, &r)) {
		CHECK(r.seq > lw.record.seq && r.epoch == lw.record.epoch);
		lw.which ^= 1;
		OP(put_record(l, lw.which, &r, false));
		OP(disk_complete(&l->disk, l->record_handle));
		OP(handle = disk_flush(&l->disk));
		OP(disk_flushed(&l->disk, handle));
		lw.record = r;
	}
	for (i = 0; wb_walk_must_destroy(&lw.walk, (int)i, &id, &block); i++) {
		CHECK(i < 2 && block < l->geom.slot_blocks);
		off = wb_slot_offset(&l->geom, wb_slot_of(&l->geom, id), block);
		trace("destroy the header at segment %llu block %u", (unsigned long long)id, block);
		OP(handle = disk_write(&l->disk, off, buf_new(WB_BLOCK_SIZE), false, false));
		OP(disk_complete(&l->disk, handle));
	}
	OP(handle = disk_flush(&l->disk));
	OP(disk_flushed(&l->disk, handle));
	cut(l, lw.start + lw.nr);

	wb_walk_next_life(&lw.walk, &r);
	CHECK(r.life_start == lw.walk.last.id + 1);
	CHECK(r.migrated == lw.record.migrated && r.seq > lw.record.seq);
	for (i = 0; i < WB_NR_COPIES; i++) {
		copy = lw.which ^ 1 ^ (int)i;
		if (i)
			r.seq++;
		OP(put_record(l, copy, &r, false));
		OP(disk_complete(&l->disk, l->record_handle));
		OP(handle = disk_flush(&l->disk));
		OP(disk_flushed(&l->disk, handle));
	}
#undef OP
	trace("life %u begins: epoch %llu from segment %llu", ++l->life,
	      (unsigned long long)r.epoch, (unsigned long long)r.life_start);
	CHECK(r.epoch > l->max_epoch);
	l->max_epoch = r.epoch;
	l->record = r;
	l->next_copy = copy ^ 1;
	l->phase = LOG_RUNS;
	l->block = 0;
	drop_migrated(l, r.migrated);
	l->first = l->nr;
	wb_order_init(&l->order, &l->geom, &l->record);
	new_style(l);
	return true;
}
