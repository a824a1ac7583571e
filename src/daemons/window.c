// SPDX-License-Identifier: GPL-2.0
/*
 * Windows: how copies get to the backing device, in the order of the sweep.
 *
 *   read     from the cache device, sorted by place; places in a row in one request
 *   verify   each block against its checksum
 *   write    neighbours in one request; of one block's copies each gives the sectors it owns
 *
 * There are two, taken in turn: one is read while the other is being written. No more writes are in
 * flight than the modulator wants: users' reads of the backing device stand in line behind them.
 */
#include <linux/sort.h>
#include "migrator.h"

#define MAX_WRITE	256u	/* blocks in one request */
#define PAGES		16u	/* in a row, so that such a request has few vectors */

/* Return: whether all PAGES of @page are there; what is there has to be freed in any case. */
static bool alloc_pages_of(struct page **page)
{
	void *p = alloc_pages_exact(PAGES << PAGE_SHIFT, GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);
	u32 i;

	for (i = 0; i < PAGES; i++) {
		page[i] = p ? virt_to_page(p) + i : alloc_page(GFP_KERNEL);
		if (!page[i])
			return false;
	}
	return true;
}

int wb_windows_init(struct wb_migrator *m)
{
	u32 i, w;

	spin_lock_init(&m->lock);
	init_waitqueue_head(&m->wait);
	init_waitqueue_head(&m->line);
	if (bioset_init(&m->bios, 4, 0, BIOSET_NEED_BVECS | BIOSET_NEED_RESCUER))
		return -ENOMEM;
	m->windows = vzalloc(array_size(WB_NR_WINDOWS, sizeof(*m->windows)));
	if (!m->windows)
		return -ENOMEM;
	for (w = 0; w < WB_NR_WINDOWS; w++) {
		m->windows[w].m = m;
		for (i = 0; i < WB_WINDOW; i += PAGES)
			if (!alloc_pages_of(&m->windows[w].pages[i]))
				return -ENOMEM;
	}
	return 0;
}

void wb_windows_exit(struct wb_migrator *m)
{
	u32 i, w;

	for (w = 0; m->windows && w < WB_NR_WINDOWS; w++)
		for (i = 0; i < WB_WINDOW; i++)
			if (m->windows[w].pages[i])
				__free_page(m->windows[w].pages[i]);
	vfree(m->windows);
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

/* @wrote: it was a write. Whoever waits for a window, or fewer writes in flight, looks again. */
static void window_put(struct wb_window *w, bool wrote)
{
	struct wb_migrator *m = w->m;
	unsigned long flags;

	spin_lock_irqsave(&m->lock, flags);
	m->writing -= wrote;
	if (!--w->in_flight || wrote)
		wake_up_all(&m->wait);
	spin_unlock_irqrestore(&m->lock, flags);
}

static void read_endio(struct bio *bio)
{
	struct wb_window *w = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(w->read_error, true);
	bio_put(bio);
	window_put(w, false);
}

/* Pages in a row are one vector; a part of a block is a block. */
static u32 blocks_of(const struct bio *bio)
{
	u32 i, bytes = 0;

	for (i = 0; i < bio->bi_vcnt; i++)
		bytes += bio->bi_io_vec[i].bv_len;
	return max_t(u32, bio->bi_vcnt, bytes >> WB_BLOCK_SHIFT);
}

static void write_endio(struct bio *bio)
{
	struct wb_window *w = bio->bi_private;

	if (bio->bi_status) {
		wb_stat_add(w->m->c, WB_STAT_BACKING_ERRORS, 1);
		WRITE_ONCE(w->write_error, true);
	}
	/* Before the put: whoever waits for the last one may free the cache object. */
	wb_pace_written(w->m->c, blocks_of(bio));
	bio_put(bio);
	window_put(w, true);
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
	struct wb_migrator *m = w->m;
	bool write;

	if (!*bio)
		return;
	write = op_is_write(bio_op(*bio));
	/* To sleep submits what is plugged. Only this work item adds writes, so it stays true. */
	if (write)
		wait_event(m->wait, READ_ONCE(m->writing) < m->depth);
	spin_lock_irq(&m->lock);
	w->in_flight++;
	m->writing += write;
	spin_unlock_irq(&m->lock);
	submit_bio(*bio);
	*bio = NULL;
}

static int by_place(const void *a, const void *b, const void *cands)
{
	u32 x = ((const struct wb_cand *)cands)[*(const u16 *)a].place;
	u32 y = ((const struct wb_cand *)cands)[*(const u16 *)b].place;

	return x < y ? -1 : x > y;
}

/*
 * Whole blocks, for the checksums cover all valid sectors. Places in a row make one request: of a
 * few segments that is nearly all of them.
 */
static void read_window(struct wb_window *w)
{
	struct wb_cache *c = w->m->c;
	struct wb_cand *cand = w->cands;
	struct bio *bio = NULL;
	struct blk_plug plug;
	u32 i, n, next = 0;

	w->read_error = false;
	for (i = 0; i < w->nr; i++)
		w->order[i] = i;
	sort_r(w->order, w->nr, sizeof(*w->order), by_place, NULL, cand);
	blk_start_plug(&plug);
	for (n = 0; n < w->nr; n++) {
		i = w->order[n];
		if (bio && cand[i].place != next)
			send(w, &bio);
		next = cand[i].place + 1;
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

static void verify_window(struct wb_window *w)
{
	struct wb_cache *c = w->m->c;
	struct wb_cand *cand = w->cands;
	u32 nr = w->nr;
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

/* ---------------------------------------------------------------- the line */

static bool may(struct wb_migrator *m, const struct wb_range *r)
{
	bool yes;

	spin_lock_irq(&m->lock);
	yes = wb_range_may(&m->ranges, r);
	spin_unlock_irq(&m->lock);
	return yes;
}

static void leave_line(struct wb_migrator *m, struct wb_range *r)
{
	spin_lock_irq(&m->lock);
	wb_range_leave(&m->ranges, r);
	spin_unlock_irq(&m->lock);
	wake_up_all(&m->line);
}

/* All of it is done: what it was worth. */
static void retire(struct wb_window *w)
{
	struct wb_migrator *m = w->m;
	u32 i;

	wait_window(w);
	if (w->in_line)
		leave_line(m, &w->range);
	w->in_line = false;
	m->failed |= w->write_error;
	m->unflushed |= w->wrote;
	for (i = 0; i < w->nr; i++)
		wb_sweep_finished(&m->sweep, &w->cands[i]);
	w->nr = 0;
	w->wrote = false;
	w->write_error = false;
}

/*
 * From here on no discard is at work on these blocks, until the window is retired. Discards before it
 * in the line may wait for the window before, so that one is not kept while this waits for them.
 */
static void take_range(struct wb_window *w, struct wb_window *other)
{
	struct wb_migrator *m = w->m;

	spin_lock_irq(&m->lock);
	wb_range_join(&m->ranges, &w->range, WB_RANGE_MIGRATES, w->cands[0].block,
		      w->cands[w->nr - 1].block);
	w->in_line = true;
	spin_unlock_irq(&m->lock);
	if (may(m, &w->range))
		return;
	retire(other);
	wait_event_idle(m->line, may(m, &w->range));
}

/* What is still to be written of each, now that no discard is at work on them. */
static void look_again(struct wb_window *w)
{
	struct wb_cache *c = w->m->c;
	struct wb_cand *cand = w->cands;
	struct wb_index_view v;
	spinlock_t *lock;
	u32 i;

	for (i = 0; i < w->nr; i++) {
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

static void write_window(struct wb_window *w)
{
	struct wb_cache *c = w->m->c;
	struct wb_cand *cand = w->cands;
	struct bio *bio = NULL;
	u32 nr = w->nr;
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
			w->wrote = true;
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

void wb_windows_wait(struct wb_migrator *m)
{
	u32 turn;

	for (turn = 0; turn < WB_NR_WINDOWS; turn++)
		retire(&m->windows[turn]);
}

/* What newer copies have superseded since it was collected need not be read. */
static void drop_dead(struct wb_window *w)
{
	struct wb_cache *c = w->m->c;
	u32 i, kept = 0;
	struct wb_index_view v;
	spinlock_t *lock;

	for (i = 0; i < w->nr; i++) {
		lock = wb_bucket_lock(c, w->cands[i].block);
		spin_lock(lock);
		wb_view(c, &v);
		w->cands[i].live &= wb_index_live(&c->index, w->cands[i].place, &v);
		spin_unlock(lock);
		if (w->cands[i].live)
			w->cands[kept++] = w->cands[i];
		else
			wb_sweep_finished(&w->m->sweep, &w->cands[i]);
	}
	w->nr = kept;
}

/*
 * Blocks of the two windows ascend, but where a new pass begins: then the one before has to be done,
 * as it may hold an older copy of a block of this one, which must not be written after it.
 */
bool wb_window_step(struct wb_migrator *m, u64 limit, u32 runs)
{
	struct wb_window *w = &m->windows[m->turn], *other = &m->windows[!m->turn];
	bool again;

	m->turn ^= 1;
	retire(w);
	if (m->failed)
		return false;
	w->nr = wb_sweep_take(&m->sweep, limit, w->cands, WB_WINDOW, runs, &again);
	if (again || !w->nr)
		retire(other);
	if (!w->nr)
		return false;
	drop_dead(w);
	if (!w->nr)
		return true;
	read_window(w);
	verify_window(w);
	take_range(w, other);
	look_again(w);
	write_window(w);
	return true;
}

void wb_migrate_keep_out(struct wb_cache *c, struct wb_range *r, u64 first, u64 last)
{
	struct wb_migrator *m = c->migrator;

	spin_lock_irq(&m->lock);
	wb_range_join(&m->ranges, r, WB_RANGE_DISCARDS, first, last);
	spin_unlock_irq(&m->lock);
	wait_event_idle(m->line, may(m, r));
}

void wb_migrate_let_in(struct wb_cache *c, struct wb_range *r)
{
	leave_line(c->migrator, r);
}

void wb_migrate_step_aside(struct wb_cache *c, struct wb_range *r)
{
	struct wb_migrator *m = c->migrator;

	spin_lock_irq(&m->lock);
	wb_range_step_aside(&m->ranges, r);
	spin_unlock_irq(&m->lock);
	wake_up_all(&m->line);
}

bool wb_migrate_come_back(struct wb_cache *c, struct wb_range *r)
{
	struct wb_migrator *m = c->migrator;

	spin_lock_irq(&m->lock);
	wb_range_come_back(&m->ranges, r);
	spin_unlock_irq(&m->lock);
	wait_event_idle(m->line, may(m, r));
	return r->crossed;
}
