// SPDX-License-Identifier: GPL-2.0
#include "recover.h"

/*
 * A chunk whose header was accepted and whose data was not judged yet: it waits until a later
 * header calls it durable (then its data needs no look) or the walk has seen the end (then it
 * does). Its header block is held where it was read, or is a copy.
 */
struct wb_walk_chunk {
	struct wb_walk_chunk *next;
	struct wb_header h;
	const struct wb_header_disk *raw;
	union {
		struct wb_header_disk copy;
		u8 bytes[WB_BLOCK_SIZE];
	};
};

static void note(struct wb_walk *w, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	if (w->ops->note)
		w->ops->note(w->ctx, id, block, why, text);
}

static struct wb_pos pos_of(const struct wb_header *h)
{
	return (struct wb_pos){ h->id, h->chunk };
}

/* ---------------------------------------------------------------- judging one header */

/*
 * Is @h what stands at block @block of segment @id as chunk @chunk, written by a life that may have
 * written there? Everything but the link.
 */
static enum wb_verdict belongs(const struct wb_walk *w, const struct wb_header *h,
			       u64 id, u32 block, u32 chunk)
{
	const struct wb_record *r = w->record;

	if (h->id != id || h->block != block || h->chunk != chunk)
		return WB_BAD_PLACE;
	if (id >= r->life_start ? h->epoch != r->epoch : h->epoch >= r->epoch)
		return WB_BAD_EPOCH;
	return WB_OK;
}

/*
 * Read and judge the header at @block of segment @id. Return: 0 with *@v set, or an error that ends
 * the walk. A read error is a verdict here; the callers know whether it decides.
 */
static int read_header(struct wb_walk *w, u64 id, u32 block, u32 chunk,
		       const struct wb_header_disk **raw, struct wb_header *h, enum wb_verdict *v)
{
	int err = 0;

	/* A check of all data reads while a header waits. */
	*raw = w->ops->peek && !w->verify_all ? w->ops->peek(w->ctx, id, block) : NULL;
	if (!*raw) {
		err = w->ops->read(w->ctx, id, block, 1, w->header);
		*raw = w->header;
	}
	if (err == -EIO) {
		*v = WB_READ_ERROR;
		return 0;
	}
	if (err)
		return err;
	*v = wb_header_decode(w->geom, *raw, h);
	if (*v == WB_OK)
		*v = belongs(w, h, id, block, chunk);
	return 0;
}

/* ---------------------------------------------------------------- chunks that wait for proof */

static enum wb_verdict verify_entry(const struct wb_entry *e, const void *data)
{
	if (e->flags & WB_ENTRY_TOMBSTONE)
		return WB_OK;
	return wb_data_crc(data, e->mask) == e->crc ? WB_OK : WB_BAD_DATA;
}

enum wb_verdict wb_verify_chunk(const struct wb_header *h, const struct wb_header_disk *raw,
				const void *data, u32 *bad)
{
	struct wb_entry e;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (verify_entry(&e, (const u8 *)data + ((size_t)i << WB_BLOCK_SHIFT)) != WB_OK) {
			if (bad)
				*bad = i;
			return WB_BAD_DATA;
		}
	}
	return WB_OK;
}

static int accept_chunk(struct wb_walk *w, const struct wb_header *h, const struct wb_header_disk *raw)
{
	w->last = pos_of(h);
	w->last_end = h->block + 1 + h->nr_entries;
	w->last_crc = h->crc;
	w->nr_chunks++;
	w->nr_blocks += h->nr_entries;
	return w->ops->apply ? w->ops->apply(w->ctx, h, raw) : 0;
}

/* A buffer for one slot, kept for the whole walk. */
static int need_buf(struct wb_walk *w)
{
	if (!w->buf)
		w->buf = wb_alloc((size_t)w->geom->slot_blocks << WB_BLOCK_SHIFT);
	return w->buf ? 0 : -ENOMEM;
}

/* The data cannot be read in one go: what is behind a tombstone need not be. */
static int verify_singly(struct wb_walk *w, const struct wb_walk_chunk *c, enum wb_verdict *v)
{
	struct wb_entry e;
	int err = 0;
	u32 i;

	*v = WB_OK;
	for (i = 0; i < c->h.nr_entries && !err && *v == WB_OK; i++) {
		wb_entry_decode(c->raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		err = w->ops->read(w->ctx, c->h.id, c->h.block + 1 + i, 1, w->buf);
		if (!err)
			*v = verify_entry(&e, w->buf);
	}
	if (err != -EIO)
		return err;
	*v = WB_READ_ERROR;
	return 0;
}

static int verify_waiting(struct wb_walk *w, const struct wb_walk_chunk *c, enum wb_verdict *v)
{
	int err = need_buf(w);

	if (err)
		return err;
	err = w->ops->read(w->ctx, c->h.id, c->h.block + 1, c->h.nr_entries, w->buf);
	if (err == -EIO)
		return verify_singly(w, c, v);
	if (err)
		return err;
	*v = wb_verify_chunk(&c->h, c->raw, w->buf, NULL);
	return 0;
}

/* Let a chunk wait. Its memory is that of one that is done with, if there is any. */
static int push(struct wb_walk *w, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct wb_walk_chunk *c = w->spare;

	if (c)
		w->spare = c->next;
	else
		c = wb_alloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->next = NULL;
	c->h = *h;
	c->raw = raw;
	if (raw == w->header || !w->ops->hold || !w->ops->hold(w->ctx)) {
		memcpy(c->bytes, raw, wb_header_size(h->nr_entries));
		c->raw = &c->copy;
	}
	*w->fifo_tail = c;
	w->fifo_tail = &c->next;
	return 0;
}

static void free_chunk(struct wb_walk *w, struct wb_walk_chunk *c)
{
	if (c->raw != &c->copy)
		w->ops->drop(w->ctx, c->raw);
	c->next = w->spare;
	w->spare = c;
}

static struct wb_walk_chunk *pop(struct wb_walk *w)
{
	struct wb_walk_chunk *c = w->fifo;

	w->fifo = c->next;
	if (!w->fifo)
		w->fifo_tail = &w->fifo;
	return c;
}

/* Accept what waits and is durable by now. */
static int settle_durable(struct wb_walk *w)
{
	struct wb_walk_chunk *c;
	enum wb_verdict v = WB_OK;
	int err = 0;

	while (!err && w->fifo && wb_pos_cmp(pos_of(&w->fifo->h), w->durable) <= 0) {
		c = pop(w);
		if (w->verify_all) {
			err = verify_waiting(w, c, &v);
			if (!err && v != WB_OK) {
				/* Known durable, so this is rot. Go on: a check reports all of it. */
				w->state = WB_LOG_DAMAGED;
				note(w, c->h.id, c->h.block, v,
				     "a durable chunk has damaged data");
			}
		}
		if (!err)
			err = accept_chunk(w, &c->h, c->raw);
		free_chunk(w, c);
	}
	return err;
}

/* The end is reached and nothing calls the rest durable: it counts as far as its data is whole. */
static int settle_rest(struct wb_walk *w)
{
	struct wb_walk_chunk *c;
	enum wb_verdict v = WB_OK;
	int err = 0;

	while (!err && w->fifo) {
		c = pop(w);
		err = verify_waiting(w, c, &v);
		if (!err && v == WB_OK) {
			err = accept_chunk(w, &c->h, c->raw);
		} else if (!err) {
			if (w->state != WB_LOG_DAMAGED) {
				w->bad_id = c->h.id;
				w->bad_block = c->h.block;
				w->bad_why = v;
			}
			if (v == WB_READ_ERROR) {
				err = -EIO;
			} else if (w->state != WB_LOG_DAMAGED) {
				w->state = WB_LOG_TORN;
				note(w, c->h.id, c->h.block, v,
				     "the log is cut here: a chunk was not written completely");
			}
		}
		free_chunk(w, c);
		if (v != WB_OK)
			break;
	}
	return err;
}

/* ---------------------------------------------------------------- where the chain breaks */

/*
 * A header behind the break was read: what it calls durable is durable. Return: true if that is
 * more than the chain has, which settles it.
 */
static bool claims_more(struct wb_walk *w, const struct wb_header *h, struct wb_pos reached)
{
	w->durable = wb_pos_max(w->durable, h->durable);
	return wb_pos_cmp(w->durable, reached) > 0;
}

/*
 * Search one slot from block @from on, block by block: where the chain is broken, nothing says
 * where the next header stands.
 */
static int scan_slot(struct wb_walk *w, u64 id, u32 from, struct wb_pos reached, bool *proof)
{
	u32 nr = w->geom->slot_blocks - from, i;
	struct wb_header h;
	bool by_block;
	int err;
	u8 *at;

	err = w->ops->read(w->ctx, id, from, nr, w->buf);
	by_block = err == -EIO;
	if (err && !by_block)
		return err;
	for (i = 0; i < nr && !*proof; i++) {
		at = (u8 *)w->buf + ((size_t)i << WB_BLOCK_SHIFT);
		if (by_block) {
			err = w->ops->read(w->ctx, id, from + i, 1, at);
			if (err == -EIO) {
				w->nr_read_errors++;
				continue;
			}
			if (err)
				return err;
		}
		*proof = wb_header_decode(w->geom, at, &h) == WB_OK &&
			 belongs(w, &h, id, from + i, h.chunk) == WB_OK && claims_more(w, &h, reached);
	}
	return 0;
}

static bool all_zero(const struct wb_header_disk *raw)
{
	static const struct wb_header_disk zero;

	return !memcmp(raw, &zero, sizeof(zero));
}

/*
 * Does a header of this life stand in the slot of segment @id? Its first block tells: not, where nothing
 * was ever written, or something older stands there whole. Only if the power failed while the first
 * chunk was on its way may there be later ones without it.
 */
static int is_used(struct wb_walk *w, u64 id, bool *used)
{
	const struct wb_header_disk *raw;
	enum wb_verdict v;
	struct wb_header h;
	int err;

	err = read_header(w, id, 0, 0, &raw, &h, &v);
	*used = v != WB_BAD_PLACE && v != WB_BAD_EPOCH && !(v == WB_NOT_OURS && all_zero(raw));
	return err;
}

/*
 * Look behind the break for headers of this life and what they call durable. More than the chain
 * has proves damage. Less tells settle_durable() which chunks of the chain are durable: their data,
 * if bad, is rot and not a torn tail. Searched are what is left of the slot of the last accepted
 * chunk, and of WB_SEARCH_SEGMENTS behind it those in which there may be anything; and, should
 * first headers of several segments be lost, WB_SEARCH_BLINDLY that seem to hold nothing.
 * @reached: the last chunk of the chain; @end: the block after it in its slot, 0 if there is none;
 * @seen: the last segment in which there was anything.
 */
static int search_proof(struct wb_walk *w, struct wb_pos reached, u32 end, u64 seen, bool *proof)
{
	u64 last_id = w->record->migrated + w->geom->nr_slots;
	u64 id = reached.id;
	int err = need_buf(w);
	bool used;

	*proof = false;
	if (!err && end && end < w->geom->slot_blocks && id >= w->record->life_start)
		err = scan_slot(w, id, end, reached, proof);
	while (!err && !*proof && ++id <= last_id && id <= reached.id + WB_SEARCH_SEGMENTS) {
		err = is_used(w, id, &used);
		if (!err && used && id > seen)
			seen = id;
		if (!err && id <= seen + WB_SEARCH_BLINDLY)
			err = scan_slot(w, id, 0, reached, proof);
	}
	return err;
}

/* ---------------------------------------------------------------- the walk */

/* The place where the next header is looked for. */
struct place {
	u64 id;
	u32 block;
	u32 chunk;
};

/*
 * One step: judge the header at @p. Accepted, its chunk is applied if it is known to be durable, and
 * otherwise waits, and @p moves behind it; if it is not, *@v says why.
 */
static int step(struct wb_walk *w, struct place *p, enum wb_verdict *v)
{
	const struct wb_header_disk *raw;
	struct wb_header h;
	int err;

	*v = WB_NOT_OURS;
	if (p->block + 1 >= w->geom->slot_blocks)
		return 0;	/* no room for a chunk: the segment is full */
	err = read_header(w, p->id, p->block, p->chunk, &raw, &h, v);
	if (!err && *v == WB_OK && w->link_known && h.link != w->link)
		*v = WB_BAD_LINK;
	if (err || *v != WB_OK)
		return err;

	w->durable = wb_pos_max(w->durable, h.durable);
	err = settle_durable(w);
	/*
	 * No writer gets that far ahead of its durable point (order.c). So this was made up, and to
	 * believe it would let a made-up log take any amount of memory.
	 */
	if (!err && w->fifo && h.id - w->fifo->h.id > WB_MAX_VOLATILE_SEGMENTS) {
		*v = WB_BAD_FIELD;
		w->state = WB_LOG_DAMAGED;
		note(w, p->id, p->block, *v,
		     "a chunk is impossibly far from the last durable one: the log is damaged here");
	}
	if (err || *v != WB_OK)
		return err;

	w->link = h.crc;
	w->link_known = true;
	p->block += 1 + h.nr_entries;
	p->chunk++;
	if (!w->fifo && !w->verify_all && wb_pos_cmp(pos_of(&h), w->durable) <= 0)
		return accept_chunk(w, &h, raw);
	return push(w, &h, raw) ?: settle_durable(w);
}

/* The chain broke at @p, after chunk @reached. Is this the end, a torn tail, or damage? */
static int judge_end(struct wb_walk *w, const struct place *p, struct wb_pos reached, u32 end)
{
	const struct wb_record *r = w->record;
	bool proof = false;
	int err;

	if (wb_pos_cmp(w->durable, reached) > 0 || p->id < r->life_start) {
		w->state = WB_LOG_DAMAGED;
		note(w, p->id, p->block, w->bad_why,
		     "a chunk that was durable is missing: the log is damaged here");
		return 0;
	}
	/* Stopped in order, here: there is nothing behind that could prove anything. */
	if (r->clean && !wb_pos_cmp(reached, wb_pos_max(r->durable,
							(struct wb_pos){ r->migrated, ~0u })))
		return 0;
	if (w->bad_why == WB_READ_ERROR)
		return -EIO;
	err = search_proof(w, reached, end, p->id, &proof);
	if (err)
		return err;
	if (proof) {
		w->state = WB_LOG_DAMAGED;
		note(w, p->id, p->block, w->bad_why,
		     "a later chunk says that the one here was durable: the log is damaged here");
		return 0;
	}
	if (w->nr_read_errors)
		return -EIO;
	if (w->bad_why == WB_BAD_CRC && w->state == WB_LOG_ENDS) {
		w->state = WB_LOG_TORN;
		note(w, p->id, p->block, w->bad_why,
		     "the log is cut here: a header was not written completely");
	}
	return 0;
}

static int walk(struct wb_walk *w)
{
	const struct wb_record *r = w->record;
	struct wb_pos reached = { .id = r->migrated, .chunk = ~0u };	/* all of that segment */
	struct place p = { .id = r->migrated + 1 };
	u64 last_id = r->migrated + w->geom->nr_slots;
	enum wb_verdict v, in_segment;
	u32 end = 0;
	int err;

	w->last = reached;
	w->durable = wb_pos_max(reached, r->durable);
	if (p.id == r->life_start) {
		w->link = r->life_link;
		w->link_known = true;
	}

	for (;;) {
		err = step(w, &p, &v);
		if (err)
			return err;
		in_segment = v;
		if (v != WB_OK && p.chunk) {
			/* The segment ends here if the next one continues the chain. */
			w->bad_block = p.block;
			if (p.id + 1 == r->life_start) {
				if (w->link != r->life_link)
					break;	/* the earlier life had more than is left of it */
				in_segment = WB_OK;	/* it ended here, that is certain */
			}
			p = (struct place){ .id = p.id + 1 };
			v = WB_NOT_OURS;
			if (p.id <= last_id)
				err = step(w, &p, &v);
			if (err)
				return err;
		}
		if (v == WB_OK) {
			reached = (struct wb_pos){ p.id, p.chunk - 1 };
			end = p.block;
			continue;
		}

		/* Neither place continues the chain: which of the two explains why? */
		if (p.id == reached.id + 1 && end &&
		    (in_segment == WB_BAD_CRC || in_segment == WB_READ_ERROR)) {
			p = (struct place){ .id = reached.id, .block = w->bad_block };
			v = in_segment;
		}
		break;
	}

	w->bad_id = p.id;
	w->bad_block = p.block;
	w->bad_why = v;
	err = judge_end(w, &p, reached, end);
	if (!err)
		err = settle_durable(w);
	if (!err)
		err = settle_rest(w);
	return err;
}

int wb_walk(struct wb_walk *w)
{
	struct wb_walk_chunk *spare;
	int err;

	w->state = WB_LOG_ENDS;
	w->last_end = 0;
	w->last_crc = w->record->life_link;
	w->nr_chunks = 0;
	w->nr_blocks = 0;
	w->link_known = false;
	w->nr_read_errors = 0;
	w->fifo = NULL;
	w->fifo_tail = &w->fifo;
	w->buf = w->slot_buf;
	w->spare = NULL;
	w->header = wb_zalloc(WB_BLOCK_SIZE);

	err = w->header ? walk(w) : -ENOMEM;
	while (w->fifo)
		free_chunk(w, pop(w));
	while ((spare = w->spare)) {
		w->spare = spare->next;
		wb_free(spare);
	}
	wb_free(w->header);
	if (w->buf != w->slot_buf)
		wb_free(w->buf);
	w->buf = NULL;
	return err;
}

bool wb_walk_must_record(const struct wb_walk *w, struct wb_record *r)
{
	*r = *w->record;
	if (w->durable.id <= r->migrated || wb_pos_cmp(w->durable, r->durable) <= 0)
		return false;
	r->seq++;
	r->durable = w->durable;
	/* No chunk has such a number, so this says the same, and decodes. */
	if (r->durable.chunk >= w->geom->slot_blocks)
		r->durable.chunk = w->geom->slot_blocks - 1;
	r->clean = false;
	return true;
}

void wb_walk_next_life(const struct wb_walk *w, struct wb_record *r)
{
	*r = *w->record;
	r->seq++;
	r->epoch++;
	r->life_start = w->last.id + 1;
	r->life_link = w->last_crc;
	r->clean = false;
	if (w->nr_chunks)
		r->durable = w->last;
	else
		r->durable = (struct wb_pos){ .id = r->migrated };
}

bool wb_walk_must_destroy(const struct wb_walk *w, int i, u64 *id, u32 *block)
{
	if (i || !w->nr_chunks || w->last_end + 1 >= w->geom->slot_blocks)
		return false;
	*id = w->last.id;
	*block = w->last_end;
	return true;
}
