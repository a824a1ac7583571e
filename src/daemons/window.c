// SPDX-License-Identifier: GPL-2.0
/*
 * Windows: how the copies of a batch, sorted by backing block, get to the backing device.
 *
 *   read     from the cache device; places in a row in one request
 *   verify   each block against its checksum
 *   write    neighbours in one request; of one block's copies each gives the sectors it owns
 *
 * There are two, taken in turn: one is read while the other is being written.
 */
#include "migrator.h"

#define MAX_WRITE	256u	/* blocks in one request */

int wb_windows_init(struct wb_migrator *m)
{
	u32 i, w;

	spin_lock_init(&m->lock);
	init_waitqueue_head(&m->wait);
	if (bioset_init(&m->bios, 4, 0, BIOSET_NEED_BVECS | BIOSET_NEED_RESCUER))
		return -ENOMEM;
	for (w = 0; w < WB_NR_WINDOWS; w++) {
		m->windows[w].m = m;
		for (i = 0; i < WB_WINDOW; i++) {
			m->windows[w].pages[i] = alloc_page(GFP_KERNEL);
			if (!m->windows[w].pages[i])
				return -ENOMEM;
		}
	}
	return 0;
}

void wb_windows_exit(struct wb_migrator *m)
{
	u32 i, w;

	for (w = 0; w < WB_NR_WINDOWS; w++)
		for (i = 0; i < WB_WINDOW; i++)
			if (m->windows[w].pages[i])
				__free_page(m->windows[w].pages[i]);
	bioset_exit(&m->bios);
}

/*
 * The last completion wakes under the lock, and the waiter takes the lock before it goes on: so it
 * is through with the migrator before that can be freed.
 */
static void wait_window(struct wb_window *w)
{
	wait_event(w->m->wait, !READ_ONCE(w->in_flight));
	spin_lock_irq(&w->m->lock);
	spin_unlock_irq(&w->m->lock);
}

static void window_put(struct wb_window *w)
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
	struct wb_window *w = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(w->read_error, true);
	bio_put(bio);
	window_put(w);
}

static void write_endio(struct bio *bio)
{
	struct wb_window *w = bio->bi_private;

	if (bio->bi_status) {
		wb_stat_add(w->m->c, WB_STAT_BACKING_ERRORS, 1);
		WRITE_ONCE(w->write_error, true);
	}
	bio_put(bio);
	window_put(w);
}

static struct bio *new_bio(struct wb_window *w, struct block_device *bdev, blk_opf_t opf, u64 sector,
			   bio_end_io_t *end)
{
	struct bio *bio = bio_alloc_bioset(bdev, MAX_WRITE, opf, GFP_NOIO, &w->m->bios);

	bio->bi_iter.bi_sector = sector;
	bio->bi_end_io = end;
	bio->bi_private = w;
	return bio;
}

static void send(struct wb_window *w, struct bio **bio)
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
static void read_window(struct wb_window *w, struct wb_cand *cand, u32 nr)
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
static void block_is_bad(struct wb_migrator *m, struct wb_cand *cand, const char *why)
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
	wb_migrate_bad_segment(m, id);
	if (known)
		return;
	wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
	wb_err(c, "%s: sectors %llu to %llu of the backing device (segment %llu, block %u of its slot on the cache device); it is not migrated and reads of it fail until it is overwritten. See writeboost-ctl check",
	       why, cand->block << WB_BLOCK_SECTOR_SHIFT,
	       (cand->block << WB_BLOCK_SECTOR_SHIFT) + WB_BLOCK_SECTORS - 1, id,
	       wb_place_block(c, cand->place));
}

static void verify_window(struct wb_window *w, struct wb_cand *cand, u32 nr)
{
	struct wb_cache *c = w->m->c;
	bool passed = w->read_error;
	u32 i;

	for (i = 0; i < nr; i++) {
		/* One of the requests failed: find out which blocks it really concerns. */
		if (w->read_error &&
		    wb_io_sync(c->cache, REQ_OP_READ,
			       WB_FIRST_SLOT_OFFSET + ((u64)cand[i].place << WB_BLOCK_SHIFT),
			       page_address(w->pages[i]), WB_BLOCK_SIZE)) {
			block_is_bad(w->m, &cand[i], "read error on the cache device");
			passed = false;
			continue;
		}
		if (wb_data_crc(page_address(w->pages[i]), cand[i].mask) != cand[i].crc)
			block_is_bad(w->m, &cand[i], "checksum mismatch on the cache device");
	}
	if (passed) {	/* it has passed: nobody else counts it */
		wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
		wb_degrade(c);
	}
}

static void set_busy(struct wb_migrator *m, u64 first, u64 last)
{
	spin_lock_irq(&m->lock);
	m->busy = first <= last;
	m->announced += m->busy;
	m->busy_first = first;
	m->busy_last = last;
	spin_unlock_irq(&m->lock);
}

/* What is still to be written of each, now that discards wait for this window. */
static void look_again(struct wb_migrator *m, struct wb_cand *cand, u32 nr)
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
		if (cand[i].bad)
			cand[i].live = 0;
		else if (cand[i].live)	/* a read error may have been a passing one */
			c->index.entries[cand[i].place].flags &= ~WB_ENTRY_ROTTEN;
		spin_unlock(lock);
	}
}

/* The copies of one block have disjoint live sectors; of @nr, the one with sector @s, or -1. */
static int owner(const struct wb_cand *cand, u32 nr, u32 s)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (cand[i].live >> s & 1)
			return i;
	return -1;
}

static void write_window(struct wb_window *w, struct wb_cand *cand, u32 nr)
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
	u32 n = min(m->nr - i, WB_WINDOW);

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

void wb_window_move_all(struct wb_migrator *m)
{
	u32 i, n, turn = 0, first_busy = 0;
	struct wb_window *w;

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
	for (turn = 0; turn < WB_NR_WINDOWS; turn++) {
		wait_window(&m->windows[turn]);
		m->failed |= m->windows[turn].write_error;
		m->windows[turn].write_error = false;
	}
	set_busy(m, 1, 0);
}

u64 wb_migrate_mark(struct wb_cache *c)
{
	struct wb_migrator *m = c->migrator;
	u64 mark;

	spin_lock_irq(&m->lock);
	mark = m->announced - m->busy;
	spin_unlock_irq(&m->lock);
	return mark;
}

bool wb_migrate_wait_range(struct wb_cache *c, u64 block, u64 nr, u64 mark)
{
	struct wb_migrator *m = c->migrator;
	bool clear, wrote;

	for (;;) {
		spin_lock_irq(&m->lock);
		clear = !m->busy || block > m->busy_last || block + nr <= m->busy_first;
		wrote = m->announced != mark;
		spin_unlock_irq(&m->lock);
		if (clear)
			return wrote;
		schedule_timeout_uninterruptible(1);
	}
}
