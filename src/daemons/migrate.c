// SPDX-License-Identifier: GPL-2.0
/*
 * The migrate daemon: from the log to the backing device.
 *
 * A batch is the oldest segments that are closed and durable, up to nr_max_batched_migration of
 * them:
 *
 *   collect   read the headers; of each entry keep the sectors that no newer durable copy supersedes
 *   sort      by backing block
 *   move      in windows: read the blocks from the cache device, verify their checksums, and write
 *             neighbours in one request; the next window is read while the last one is written
 *   finish    flush the backing device, advance order.migrated, have it recorded when it matters
 *
 * Segments of a batch count as migrated all together or up to the first one in which something
 * could not be read. A block whose checksum is wrong is never copied: it is reported, marked so
 * that reads of it get an error, and keeps its segment in the log until somebody overwrites the
 * block.
 *
 * Against newer writes: a copy that becomes superseded while its batch is on the way is written for
 * nothing and no harm, for the newer copy is in the log and migrates after it, batches being one
 * after the other. Against discards: an entry is looked at again, under its bucket lock, after the
 * window's range was announced (m->busy_*). A discard unlinks first and then waits for the range.
 * So either the look sees the unlinking, or the discard sees the range.
 *
 * One work item does all of it, so batches never overlap; it also takes the steps of drain.c.
 */
#include <linux/sort.h>
#include "daemons.h"

#define WINDOW		512u	/* blocks in one window */
#define MAX_WRITE	256u	/* blocks in one request */
#define MAX_BATCH	256u	/* segments; the range of nr_max_batched_migration */
#define RETRY		(2 * HZ)
#define STUCK_AFTER	5	/* failed batches in a row */

/* A copy to migrate. */
struct cand {
	u64 block;
	u32 place;
	u32 crc;
	u8 mask;	/* valid sectors: what @crc covers */
	u8 live;	/* of those, the ones to write */
	u8 bad;
};

struct window {
	struct wb_migrator *m;
	struct page *pages[WINDOW];
	u32 in_flight;		/* under m->lock */
	bool read_error;
	bool write_error;
};

struct wb_migrator {
	struct wb_cache *c;
	struct workqueue_struct *wq;
	struct delayed_work work;
	struct bio_set bios;
	struct cand *cands;
	u32 max_cands;
	u32 nr;
	void *slot;		/* image of one slot, for its headers */
	struct window windows[2];
	wait_queue_head_t wait;	/* in_flight reached zero */
	spinlock_t lock;	/* busy_*, in_flight */
	u64 busy_first;
	u64 busy_last;
	bool busy;
	u64 bad_id;		/* lowest segment with something unreadable, 0 = none */
	bool failed;		/* a write failed in this batch */
	unsigned int failures;	/* batches in a row */
	unsigned long retry_at;
	bool stop;
};

void wb_migrate_retry(struct wb_cache *c)
{
	WRITE_ONCE(c->migrator->retry_at, jiffies);
	wb_migrate_kick(c);
}

void wb_migrate_kick(struct wb_cache *c)
{
	struct wb_migrator *m = c->migrator;

	if (READ_ONCE(c->running) && !READ_ONCE(m->stop))
		mod_delayed_work(m->wq, &m->work, 0);
}

/* ---------------------------------------------------------------- collect */

static void segment_is_bad(struct wb_migrator *m, u64 id)
{
	if (!m->bad_id || id < m->bad_id)
		m->bad_id = id;
}

static void collect_chunk(struct wb_migrator *m, const struct wb_header *h,
			  const struct wb_header_disk *raw)
{
	struct wb_cache *c = m->c;
	u32 base = wb_slot_of(&c->super.geom, h->id) << c->index.slot_shift;
	struct wb_index_view v;
	struct wb_entry e;
	struct cand *cand;
	spinlock_t *lock;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		cand = &m->cands[m->nr];
		*cand = (struct cand){
			.block = e.block,
			.place = base + h->block + 1 + i,
			.crc = e.crc,
			.mask = e.mask,
		};
		lock = wb_bucket_lock(c, e.block);
		spin_lock(lock);
		wb_view(c, &v);
		cand->live = wb_index_live(&c->index, cand->place, &v);
		spin_unlock(lock);
		if (cand->live)
			m->nr++;
	}
}

/* Is any copy behind @block of the slot still in the index? Then a header before it is unreadable. */
static bool leftover(struct wb_migrator *m, u64 id, u32 block)
{
	struct wb_cache *c = m->c;
	u32 base = wb_slot_of(&c->super.geom, id) << c->index.slot_shift;

	for (; block < c->super.geom.slot_blocks; block++)
		if (READ_ONCE(c->index.entries[base + block].flags) & WB_ENTRY_LINKED)
			return true;
	return false;
}

/*
 * The chunks of one segment, from the headers on the cache device. The first header is read alone:
 * a segment that was filled in one go has no other.
 */
static void collect_segment(struct wb_migrator *m, u64 id)
{
	struct wb_cache *c = m->c;
	const struct wb_geom *g = &c->super.geom;
	u64 offset = wb_slot_offset(g, wb_slot_of(g, id), 0);
	u32 block = 0, chunk = 0, have = 1;
	struct wb_header h;
	void *at;
	int err;

	err = wb_io_sync(c->cache, REQ_OP_READ, offset, m->slot, WB_BLOCK_SIZE);
	while (!err && block + 1 < g->slot_blocks) {
		if (block >= have) {
			err = wb_io_sync(c->cache, REQ_OP_READ, offset + (have << WB_BLOCK_SHIFT),
					 m->slot + (have << WB_BLOCK_SHIFT),
					 (g->slot_blocks - have) << WB_BLOCK_SHIFT);
			have = g->slot_blocks;
			if (err)
				break;
		}
		at = m->slot + (block << WB_BLOCK_SHIFT);
		if (wb_header_decode(g, at, &h) != WB_OK || h.id != id || h.chunk != chunk ||
		    h.block != block)
			break;
		collect_chunk(m, &h, at);
		block += 1 + h.nr_entries;
		chunk++;
	}
	if (!err && !leftover(m, id, block))
		return;
	wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
	wb_err(c, "cannot read the headers of segment %llu from the cache device (block %u of its slot); it stays in the log. See writeboost-ctl check",
	       id, block);
	segment_is_bad(m, id);
}

static int by_block(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* ---------------------------------------------------------------- move */

/*
 * The last completion wakes under the lock, and the waiter takes the lock before it goes on: so it
 * is through with the migrator before that can be freed.
 */
static void wait_window(struct window *w)
{
	wait_event(w->m->wait, !READ_ONCE(w->in_flight));
	spin_lock_irq(&w->m->lock);
	spin_unlock_irq(&w->m->lock);
}

static void window_put(struct window *w)
{
	struct wb_migrator *m = w->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	if (!--w->in_flight)
		wake_up_all(&m->wait);
	spin_unlock_irqrestore(&m->lock, flags);
}

static void read_endio(struct bio *bio)
{
	struct window *w = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(w->read_error, true);
	bio_put(bio);
	window_put(w);
}

static void write_endio(struct bio *bio)
{
	struct window *w = bio->bi_private;

	if (bio->bi_status) {
		wb_stat_add(w->m->c, WB_STAT_BACKING_ERRORS, 1);
		WRITE_ONCE(w->write_error, true);
	}
	bio_put(bio);
	window_put(w);
}

static struct bio *new_bio(struct window *w, struct block_device *bdev, blk_opf_t opf, u64 sector,
			   bio_end_io_t *end)
{
	struct bio *bio = bio_alloc_bioset(bdev, MAX_WRITE, opf, GFP_NOIO, &w->m->bios);

	bio->bi_iter.bi_sector = sector;
	bio->bi_end_io = end;
	bio->bi_private = w;
	return bio;
}

static void send(struct window *w, struct bio **bio)
{
	if (!*bio)
		return;
	spin_lock_irq(&w->m->lock);
	w->in_flight++;
	spin_unlock_irq(&w->m->lock);
	submit_bio(*bio);
	*bio = NULL;
}

/* Whole blocks, for the checksums cover all valid sectors. Places in a row make one request. */
static void read_window(struct window *w, struct cand *cand, u32 nr)
{
	struct wb_cache *c = w->m->c;
	struct bio *bio = NULL;
	struct blk_plug plug;
	u32 i;

	w->read_error = false;
	blk_start_plug(&plug);
	for (i = 0; i < nr; i++) {
		if (bio && cand[i].place != cand[i - 1].place + 1)
			send(w, &bio);
		if (bio && bio_add_page(bio, w->pages[i], WB_BLOCK_SIZE, 0))
			continue;
		send(w, &bio);
		bio = new_bio(w, c->cache, REQ_OP_READ,
			      (WB_FIRST_SLOT_OFFSET + ((u64)cand[i].place << WB_BLOCK_SHIFT)) >>
			      SECTOR_SHIFT, read_endio);
		__bio_add_page(bio, w->pages[i], WB_BLOCK_SIZE, 0);
	}
	send(w, &bio);
	blk_finish_plug(&plug);
	wait_window(w);
}

/* A block that cannot be migrated: say where it belongs, and have its reads fail. */
static void block_is_bad(struct wb_migrator *m, struct cand *cand, const char *why)
{
	struct wb_cache *c = m->c;
	spinlock_t *lock = wb_bucket_lock(c, cand->block);
	struct wb_index_entry *e = &c->index.entries[cand->place];
	bool known;
	u64 id;

	spin_lock(lock);
	known = e->flags & WB_ENTRY_ROTTEN;
	if (e->flags & WB_ENTRY_LINKED)
		e->flags |= WB_ENTRY_ROTTEN;
	id = wb_place_id(c, cand->place);
	spin_unlock(lock);
	cand->bad = 1;
	segment_is_bad(m, id);
	if (known)
		return;
	wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
	wb_err(c, "%s: sectors %llu to %llu of the backing device (segment %llu, block %u of its slot on the cache device); it is not migrated and reads of it fail until it is overwritten. See writeboost-ctl check",
	       why, cand->block << WB_BLOCK_SECTOR_SHIFT,
	       (cand->block << WB_BLOCK_SECTOR_SHIFT) + WB_BLOCK_SECTORS - 1, id,
	       wb_place_block(c, cand->place));
}

static void verify_window(struct window *w, struct cand *cand, u32 nr)
{
	struct wb_cache *c = w->m->c;
	u32 i;

	for (i = 0; i < nr; i++) {
		/* One of the requests failed: find out which blocks it really concerns. */
		if (w->read_error &&
		    wb_io_sync(c->cache, REQ_OP_READ,
			       WB_FIRST_SLOT_OFFSET + ((u64)cand[i].place << WB_BLOCK_SHIFT),
			       page_address(w->pages[i]), WB_BLOCK_SIZE)) {
			block_is_bad(w->m, &cand[i], "read error on the cache device");
			continue;
		}
		if (wb_data_crc(page_address(w->pages[i]), cand[i].mask) != cand[i].crc)
			block_is_bad(w->m, &cand[i], "checksum mismatch on the cache device");
	}
}

static void set_busy(struct wb_migrator *m, u64 first, u64 last)
{
	spin_lock_irq(&m->lock);
	m->busy = first <= last;
	m->busy_first = first;
	m->busy_last = last;
	spin_unlock_irq(&m->lock);
}

/* What is still to be written of each, now that discards wait for this window. */
static void look_again(struct wb_migrator *m, struct cand *cand, u32 nr)
{
	struct wb_cache *c = m->c;
	struct wb_index_view v;
	spinlock_t *lock;
	u32 i;

	for (i = 0; i < nr; i++) {
		lock = wb_bucket_lock(c, cand[i].block);
		spin_lock(lock);
		wb_view(c, &v);
		cand[i].live &= wb_index_live(&c->index, cand[i].place, &v);
		spin_unlock(lock);
		if (cand[i].bad)
			cand[i].live = 0;
	}
}

/* The copies of one block have disjoint live sectors; of @nr, the one with sector @s, or -1. */
static int owner(const struct cand *cand, u32 nr, u32 s)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (cand[i].live >> s & 1)
			return i;
	return -1;
}

static void write_window(struct window *w, struct cand *cand, u32 nr)
{
	struct wb_cache *c = w->m->c;
	struct bio *bio = NULL;
	u64 sector, next = 0;
	u32 i, same, s, n;
	struct blk_plug plug;
	bool any;
	int own;

	w->write_error = false;
	blk_start_plug(&plug);
	for (i = 0; i < nr; i += same) {
		for (same = 1; i + same < nr && cand[i + same].block == cand[i].block; same++)
			;
		any = false;
		for (s = 0; s < WB_BLOCK_SECTORS; s += n) {
			own = owner(&cand[i], same, s);
			for (n = 1; s + n < WB_BLOCK_SECTORS &&
				    owner(&cand[i], same, s + n) == own; n++)
				;
			if (own < 0)
				continue;
			any = true;
			sector = (cand[i].block << WB_BLOCK_SECTOR_SHIFT) + s;
			if (bio && (sector != next ||
				    !bio_add_page(bio, w->pages[i + own], n << SECTOR_SHIFT,
						  s << SECTOR_SHIFT)))
				send(w, &bio);
			if (!bio) {
				bio = new_bio(w, c->backing, REQ_OP_WRITE, sector, write_endio);
				__bio_add_page(bio, w->pages[i + own], n << SECTOR_SHIFT,
					       s << SECTOR_SHIFT);
				wb_stat_add(c, WB_STAT_MIGRATE_REQUESTS, 1);
			}
			next = sector + n;
		}
		wb_stat_add(c, WB_STAT_MIGRATED, any);
	}
	send(w, &bio);
	blk_finish_plug(&plug);
}

/* How many candidates from @i on make a window: all copies of a block stay together. */
static u32 window_size(const struct wb_migrator *m, u32 i)
{
	u32 n = min(m->nr - i, WINDOW);

	if (i + n == m->nr)
		return n;
	while (n > 1 && m->cands[i + n].block == m->cands[i + n - 1].block)
		n--;
	return n;
}

/*
 * Let users who came meanwhile go first. Nothing is in flight while this waits, so no discard waits
 * for it.
 */
static void give_way(struct wb_migrator *m)
{
	bool waited = false;

	while (!READ_ONCE(m->stop) && !wb_modulator_allows(m->c)) {
		if (!waited) {
			wait_window(&m->windows[0]);
			wait_window(&m->windows[1]);
			set_busy(m, 1, 0);
			waited = true;
		}
		schedule_timeout_uninterruptible(HZ / 20);
	}
}

static void move_all(struct wb_migrator *m)
{
	u32 i, n, turn = 0, first_busy = 0;
	struct window *w;

	for (i = 0; i < m->nr && !READ_ONCE(m->stop); i += n, turn ^= 1) {
		give_way(m);
		w = &m->windows[turn];
		wait_window(w);		/* its last writes */
		if (w->write_error)
			break;
		n = window_size(m, i);
		read_window(w, &m->cands[i], n);
		verify_window(w, &m->cands[i], n);
		/* The window before may still be in flight: the range covers both. */
		set_busy(m, m->cands[first_busy].block, m->cands[i + n - 1].block);
		look_again(m, &m->cands[i], n);
		write_window(w, &m->cands[i], n);
		first_busy = i;
	}
	for (turn = 0; turn < 2; turn++) {
		wait_window(&m->windows[turn]);
		m->failed |= m->windows[turn].write_error;
		m->windows[turn].write_error = false;
	}
	set_busy(m, 1, 0);
}

void wb_migrate_wait_range(struct wb_cache *c, u64 block, u64 nr)
{
	struct wb_migrator *m = c->migrator;
	bool clear;

	do {
		spin_lock_irq(&m->lock);
		clear = !m->busy || block > m->busy_last || block + nr <= m->busy_first;
		spin_unlock_irq(&m->lock);
		if (!clear)
			schedule_timeout_uninterruptible(1);
	} while (!clear);
}

/* ---------------------------------------------------------------- a batch */

/* Return: 0, -EAGAIN if there is nothing to migrate, or -EIO. */
static int migrate_batch(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;
	struct wb_order *o = &c->log.order;
	u64 first, last, id;

	spin_lock_irq(&c->log.lock);
	first = o->migrated + 1;
	last = min(o->durable_segment, o->migrated + READ_ONCE(c->knob[WB_KNOB_BATCH]));
	spin_unlock_irq(&c->log.lock);
	if (first > last)
		return -EAGAIN;

	m->nr = 0;
	m->bad_id = 0;
	m->failed = false;
	for (id = first; id <= last; id++) {
		if (READ_ONCE(m->stop))
			return -EAGAIN;
		collect_segment(m, id);
	}
	sort(m->cands, m->nr, sizeof(*m->cands), by_block, NULL);
	move_all(m);
	if (READ_ONCE(m->stop))
		return -EAGAIN;
	if (m->failed) {
		wb_err(c, "cannot write to the backing device; dirty data stays on the cache device and is tried again");
		return -EIO;
	}
	if (m->nr && wb_io_flush(c->backing)) {
		wb_stat_add(c, WB_STAT_BACKING_ERRORS, 1);
		wb_err(c, "cannot flush the backing device; dirty data stays on the cache device and is tried again");
		return -EIO;
	}

	if (m->bad_id)
		last = m->bad_id - 1;
	spin_lock_irq(&c->log.lock);
	wb_order_migrated(o, last);
	spin_unlock_irq(&c->log.lock);
	return m->bad_id ? -EIO : 0;
}

/* Is the room that migration makes needed soon? Then it has to be recorded. */
static bool room_is_short(struct wb_cache *c)
{
	struct wb_order *o = &c->log.order;
	bool is_short;

	spin_lock_irq(&c->log.lock);
	is_short = (wb_order_reusable(o) + o->nr_slots - o->current_id) * 2 < o->nr_slots &&
		   o->migrated > wb_order_reusable(o);
	spin_unlock_irq(&c->log.lock);
	return is_short;
}

static void batch_failed(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;

	wb_degrade(c);
	m->retry_at = jiffies + RETRY;
	if (++m->failures >= STUCK_AFTER && !c->migration_stuck) {
		wb_err(c, "migration does not get on; writes fail once the log is full");
		WRITE_ONCE(c->migration_stuck, true);
		wb_event(c);
		wb_flush_kick(c);
	}
}

static void batch_succeeded(struct wb_migrator *m)
{
	m->failures = 0;
	WRITE_ONCE(m->c->migration_stuck, false);
}

/* ---------------------------------------------------------------- the daemon */

static void migrate_work(struct work_struct *work)
{
	struct wb_migrator *m = container_of(to_delayed_work(work), struct wb_migrator, work);
	struct wb_cache *c = m->c;
	int err;

	if (READ_ONCE(c->undrain) && !wb_undrain_step(c))
		return;
	while (!READ_ONCE(m->stop) && !wb_failed(c)) {
		if (time_before(jiffies, m->retry_at)) {
			queue_delayed_work(m->wq, &m->work, m->retry_at - jiffies);
			return;
		}
		if (!wb_modulator_allows(c))
			return;		/* the modulator kicks again, and who needs room */
		err = migrate_batch(m);
		if (err == -EAGAIN) {
			if (READ_ONCE(m->stop) || !READ_ONCE(c->draining))
				break;
			err = wb_drain_step(c);
			if (!err)
				continue;
		}
		if (err) {
			batch_failed(m);
			wb_drain_failed(c);
			continue;
		}
		batch_succeeded(m);
		if (room_is_short(c))
			wb_record_kick(c);
	}
	if (!READ_ONCE(m->stop) && room_is_short(c))
		wb_record_kick(c);
}

int wb_migrate_init(struct wb_cache *c)
{
	struct wb_migrator *m = kzalloc(sizeof(*m), GFP_KERNEL);
	u32 i, w;

	if (!m)
		return -ENOMEM;
	c->migrator = m;
	m->c = c;
	m->stop = true;
	m->retry_at = jiffies;
	spin_lock_init(&m->lock);
	init_waitqueue_head(&m->wait);
	INIT_DELAYED_WORK(&m->work, migrate_work);
	m->wq = alloc_workqueue("wb_migrate", WQ_MEM_RECLAIM | WQ_UNBOUND, 1);
	m->max_cands = MAX_BATCH * (c->super.geom.slot_blocks - 1);
	m->cands = vmalloc(array_size(m->max_cands, sizeof(*m->cands)));
	m->slot = vmalloc((size_t)c->super.geom.slot_blocks << WB_BLOCK_SHIFT);
	if (!m->wq || !m->cands || !m->slot ||
	    bioset_init(&m->bios, 4, 0, BIOSET_NEED_BVECS | BIOSET_NEED_RESCUER))
		return -ENOMEM;
	for (w = 0; w < 2; w++) {
		m->windows[w].m = m;
		for (i = 0; i < WINDOW; i++) {
			m->windows[w].pages[i] = alloc_page(GFP_KERNEL);
			if (!m->windows[w].pages[i])
				return -ENOMEM;
		}
	}
	return 0;
}

void wb_migrate_exit(struct wb_cache *c)
{
	struct wb_migrator *m = c->migrator;
	u32 i, w;

	if (!m)
		return;
	if (m->wq)
		destroy_workqueue(m->wq);
	for (w = 0; w < 2; w++)
		for (i = 0; i < WINDOW; i++)
			if (m->windows[w].pages[i])
				__free_page(m->windows[w].pages[i]);
	bioset_exit(&m->bios);
	vfree(m->cands);
	vfree(m->slot);
	kfree(m);
	c->migrator = NULL;
}

int wb_migrate_start(struct wb_cache *c)
{
	WRITE_ONCE(c->migrator->stop, false);
	wb_migrate_kick(c);
	return 0;
}

void wb_migrate_stop(struct wb_cache *c)
{
	WRITE_ONCE(c->migrator->stop, true);
	wake_up_all(&c->migrator->wait);
	cancel_delayed_work_sync(&c->migrator->work);
}
