// SPDX-License-Identifier: GPL-2.0
/*
 * The flush daemon: from the RAM buffers to the durable point.
 *
 * Two things drive it. A chunk that is full is sealed and written at once, several in flight. And
 * whoever wants durability raises c->need, the seq before which all chunks are to be durable; a
 * *commit* brings the durable point there:
 *
 *   seal the open chunk if it is wanted ─▶ write it with FUA                   (the usual fsync: one
 *        │                                  and PREFLUSH, if something before    request, no waiting)
 *        │ if earlier plain writes          it is written and not flushed
 *        ▼ are in flight
 *   write it plainly, wait for all of them, one device flush
 *
 * A commit with FUA alone waits for nobody, so the next can follow while it is in flight. One with
 * a flush is alone; those who come meanwhile find company, and share the next.
 *
 * A FLUSH that wants the open chunk does not raise c->need itself but c->wanted, and c->need follows
 * when it has enough company (company.h): decided when it arrives, or by a timer where nobody comes.
 * barrier_deadline_ms puts a fixed time in the place of this.
 *
 * Most of this runs in the context of whoever fills a chunk or asks for a flush (wb_flush_push), so
 * a flush costs no task switch. Completions come in interrupts and cannot submit: where they leave
 * something to do they kick the daemon's work item, which also prepares slots ahead of the writers
 * and lets held writes go on. The work item never waits for I/O: each completion looks again.
 *
 * Nobody is forgotten: whoever waits and is not done is covered by one of these, which each step
 * under log->lock leaves behind it (may_rest says when nothing has to be done now).
 *
 *   - a write or flush of the log in flight, whose completion looks again;
 *   - a sealed chunk with writers inside, the last of whom pushes;
 *   - the timer, or the deadline's work item, if it waits for company and no commit is in flight;
 *   - the flush daemon, which was kicked.
 */
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/sched.h>
#include "daemons.h"

/*
 * Further behind the open segment the durable point does not fall, if the device keeps pace. After a
 * crash recovery reads and checks all data behind it, so this is what a start then takes longer. A
 * device without a volatile cache flushes for nothing; what it costs others nobody knows.
 */
static u32 lag_allowed(const struct wb_cache *c)
{
	return bdev_write_cache(c->cache) ? WB_MAX_VOLATILE_SEGMENTS / 4 : 1;
}

void wb_flush_kick(struct wb_cache *c)
{
	if (READ_ONCE(c->running))
		queue_work(c->wq, &c->flush_work);
}

/* ---------------------------------------------------------------- who waits */

/* Whoever waited for the open chunk when it was sealed is covered by that. Needs log->lock. */
static void note_seal(struct wb_cache *c)
{
	u64 open = c->log.order.open;

	if (c->seal_seen == open)
		return;
	c->seal_seen = open;
	if (c->wanted > c->need && c->wanted <= open)
		c->need = c->wanted;
	wb_company_sealed(&c->company);
}

/* See to it that waiting for company comes to an end. Needs log->lock. */
static void start_company_timer(struct wb_cache *c)
{
	if (c->company_timed || !wb_company_needs_timer(&c->company) ||
	    delayed_work_pending(&c->deadline_work))
		return;
	c->company_timed = true;
	hrtimer_start(&c->company_timer, ns_to_ktime(wb_company_timeout(&c->company)),
		      HRTIMER_MODE_REL);
}

/*
 * Nobody else came. That the timer is not stopped when somebody does, but looks whether there is
 * anything to do, saves starting it for each commit.
 */
static enum hrtimer_restart company_timer(struct hrtimer *timer)
{
	struct wb_cache *c = container_of(timer, struct wb_cache, company_timer);
	unsigned long flags;
	u64 again = 0;

	spin_lock_irqsave(&c->log.lock, flags);
	if (c->wanted > c->need && wb_company_needs_timer(&c->company)) {
		again = wb_company_expired(&c->company, ktime_get_ns());
		if (!again) {
			c->need = c->wanted;
			wb_flush_kick(c);
		}
	}
	c->company_timed = again;
	spin_unlock_irqrestore(&c->log.lock, flags);
	if (!again)
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ns_to_ktime(again));
	return HRTIMER_RESTART;
}

/* Has the time come that barrier_deadline_ms gives? Needs log->lock. Sees to it that it comes. */
static bool deadline_passed(struct wb_cache *c, unsigned int wait)
{
	unsigned long deadline = c->first_waiter + msecs_to_jiffies(wait);

	if (time_after_eq(jiffies, deadline))
		return true;
	queue_delayed_work(c->wq, &c->deadline_work, deadline - jiffies);
	return false;
}

/*
 * Let @bio wait until all chunks before @need are durable. Needs log->lock. Return: true if there may
 * be something to do for it now: push.
 */
static bool wait_durable(struct wb_cache *c, struct bio *bio, u64 need)
{
	unsigned int deadline = READ_ONCE(c->knob[WB_KNOB_BARRIER_DEADLINE]);
	u8 mark = current->pid % WB_COMPANY_MARKS;
	bool now;

	if (bio_list_empty(&c->waiters))
		c->first_waiter = jiffies;
	bio_list_add(&c->waiters, bio);
	wb_bio(bio)->need = need;
	wb_bio(bio)->mark = mark;
	note_seal(c);
	if (need <= c->log.order.open) {
		wb_company_joins(&c->company, mark);
		c->need = max(c->need, need);
		return true;
	}
	now = wb_company_arrives(&c->company, mark, ktime_get_ns());
	if (deadline)
		now = deadline_passed(c, deadline);
	c->wanted = need;
	if (now)
		c->need = max(c->need, need);
	if (c->need >= need)
		return true;
	start_company_timer(c);
	return false;
}

/*
 * Take out those who need not wait any longer: the durable point has passed them, or never will.
 * Needs log->lock.
 */
static void take_finished(struct wb_cache *c, struct bio_list *done)
{
	struct wb_order *o = &c->log.order;
	struct bio_list rest, failed;
	struct bio *bio;

	bio_list_init(&rest);
	bio_list_init(&failed);
	note_seal(c);	/* those may be among them */
	while ((bio = bio_list_pop(&c->waiters))) {
		if (wb_bio(bio)->need <= o->first)
			bio_list_add(done, bio);
		else if (o->failed)
			bio_list_add(&failed, bio);
		else
			bio_list_add(&rest, bio);
	}
	c->waiters = rest;
	bio_list_for_each(bio, &failed)
		wb_company_leaves(&c->company, wb_bio(bio)->mark);
	bio_list_for_each(bio, done)
		wb_company_leaves(&c->company, wb_bio(bio)->mark);
	if (!bio_list_empty(done))
		wb_company_released(&c->company, ktime_get_ns());
	while ((bio = bio_list_pop(&failed))) {
		bio->bi_status = BLK_STS_IOERR;
		bio_list_add(done, bio);
	}
}

static void end_all(struct bio_list *done)
{
	struct bio *bio;

	while ((bio = bio_list_pop(done)))
		if (wb_bio(bio)->kind == WB_BIO_BYPASS)
			wb_bypass_go(bio);
		else
			bio_endio(bio);
}

/*
 * Will what is in flight, when it completes, bring about all that is needed, or look again? Needs
 * log->lock.
 */
static bool may_rest(const struct wb_cache *c)
{
	const struct wb_order *o = &c->log.order;
	bool settled;

	if (c->need <= o->first || o->failed)
		return true;
	if (c->need > o->open) {
		/* The open chunk has to be sealed: when this flush is over, or when its turn comes. */
		settled = wb_order_settled(o, o->open);
		return settled ? !wb_order_may_seal(o) && o->first < o->open : o->flushing;
	}
	return o->flushing || wb_order_settled(o, c->need) || !wb_order_all_written(o, c->need);
}

/*
 * A write or flush of the log completed. @moved: the durable point did. Needs log->lock, and all
 * that touches the cache object is done under it: whoever waits for the last of these
 * (wb_flush_stop) takes the lock once more before it goes on, and may free everything then.
 */
static void completed(struct wb_cache *c, bool ok, bool moved, bool closed, struct bio_list *done)
{
	struct wb_order *o = &c->log.order;

	c->log_ios--;
	if (moved)
		wb_log_durable_moved(&c->log);
	if (!ok) {
		wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
		wb_fail(c);
	}
	take_finished(c, done);
	wake_up_all(&c->durable_wait);
	/* Wake the daemons only if this leaves them something to do. */
	if (o->durable_segment != c->durable_seen) {
		c->durable_seen = o->durable_segment;
		wb_migrate_kick(c);
	}
	start_company_timer(c);
	if (!ok || closed || !may_rest(c) || READ_ONCE(c->nr_deferred))
		wb_flush_kick(c);
}

void wb_flush_log_failed(struct wb_cache *c)
{
	struct bio_list done;
	unsigned long flags;

	bio_list_init(&done);
	spin_lock_irqsave(&c->log.lock, flags);
	c->log.order.failed = true;
	take_finished(c, &done);
	wake_up_all(&c->durable_wait);
	spin_unlock_irqrestore(&c->log.lock, flags);
	end_all(&done);
}

static void chunk_endio(struct bio *bio)
{
	struct wb_chunk *chunk = bio->bi_private;
	struct wb_log *log = chunk->log;
	struct wb_cache *c = container_of(log, struct wb_cache, log);
	bool ok = !bio->bi_status, moved, closed;
	struct bio_list done;
	unsigned long flags;

	bio_uninit(bio);
	bio_list_init(&done);
	spin_lock_irqsave(&log->lock, flags);
	chunk->buf->unwritten--;
	closed = chunk->buf->closed;
	/* From here on the chunk may be used anew. */
	moved = wb_order_written(&log->order, chunk->seq, ok);
	completed(c, ok, moved, closed, &done);
	spin_unlock_irqrestore(&log->lock, flags);
	end_all(&done);
}

static void flush_endio(struct bio *bio)
{
	struct wb_cache *c = bio->bi_private;
	bool ok = !bio->bi_status, moved;
	struct bio_list done;
	unsigned long flags;

	bio_uninit(bio);
	bio_list_init(&done);
	spin_lock_irqsave(&c->log.lock, flags);
	moved = wb_order_flushed(&c->log.order, ok);
	completed(c, ok, moved, false, &done);
	spin_unlock_irqrestore(&c->log.lock, flags);
	end_all(&done);
}

/* ---------------------------------------------------------------- writing and flushing */

/*
 * A chunk is sent by whoever happens to fill it or to flush, and all others wait for it: the limits of
 * that one's control group, or its priority, must not hold it up. They have counted before, at the device
 * that users see.
 */
static void charge_to_all(struct bio *bio)
{
	bio_associate_blkg_from_css(bio, blkcg_root_css);
	bio->bi_ioprio = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, IOPRIO_BE_NORM);
}

static void submit_chunk(struct wb_cache *c, struct wb_chunk *chunk, enum wb_write_how how)
{
	struct wb_rambuf *buf = chunk->buf;
	u64 slot = wb_slot_of(&c->super.geom, chunk->id);
	struct bio *bio = &chunk->bio;
	u32 nr = chunk->nr + 1, i;
	void *p = wb_log_block(buf, chunk->start);

	wb_stat_add(c, WB_STAT_CHUNKS, 1);
	wb_stat_add(c, WB_STAT_CHUNK_BLOCKS, chunk->nr);
	bio_init(bio, c->cache, &buf->bvecs[chunk->start], nr,
		 REQ_OP_WRITE | REQ_SYNC | (how == WB_WRITE_FLUSH_FUA ? REQ_PREFLUSH : 0) |
		 (how != WB_WRITE_PLAIN ? REQ_FUA : 0));
	charge_to_all(bio);
	bio->bi_iter.bi_sector = wb_slot_offset(&c->super.geom, slot, chunk->start) >> SECTOR_SHIFT;
	bio->bi_end_io = chunk_endio;
	bio->bi_private = chunk;
	/* There is a vector for each block, so none of these can fail. */
	if (is_vmalloc_addr(p))
		for (i = 0; i < nr; i++, p += WB_BLOCK_SIZE)
			__bio_add_page(bio, vmalloc_to_page(p), WB_BLOCK_SIZE, offset_in_page(p));
	else
		__bio_add_page(bio, virt_to_page(p), nr << WB_BLOCK_SHIFT, offset_in_page(p));
	submit_bio(bio);
}

static void submit_flush(struct wb_cache *c)
{
	bio_init(&c->flush_bio, c->cache, NULL, 0, REQ_OP_WRITE | REQ_SYNC | REQ_PREFLUSH);
	charge_to_all(&c->flush_bio);
	c->flush_bio.bi_end_io = flush_endio;
	c->flush_bio.bi_private = c;
	submit_bio(&c->flush_bio);
}

/*
 * Is the open chunk to be sealed for a commit? Not while a flush is in flight that does not cover all
 * that is sealed: the commit would need another, and finds company meanwhile. Needs log->lock.
 */
static bool commit_now(const struct wb_cache *c)
{
	const struct wb_order *o = &c->log.order;

	return c->need > o->open && !o->failed &&
	       (!o->flushing || wb_order_settled(o, o->open));
}

/* wb_flush_push(), with log->lock held, which it drops. */
static void push_unlock(struct wb_cache *c, unsigned long flags) __releases(&c->log.lock)
{
	struct wb_log *log = &c->log;
	struct wb_order *o = &log->order;
	struct wb_chunk *chunk;
	enum wb_write_how how;
	bool flush, more;

	for (;;) {
		wb_log_seal_full(log);
		wb_log_open(log);
		note_seal(c);
		/* Or nobody can seal: what was written and nobody flushed holds its places till then. */
		if (o->open - o->first > WB_ORDER_CHUNKS / 2)
			c->need = max(c->need, o->open);
		if (commit_now(c)) {
			wb_log_seal(log, false);
			note_seal(c);
		}
		chunk = wb_log_next_write(log, log->next_write < c->need, &how);
		flush = !chunk && c->need > o->first && wb_order_may_flush(o) &&
			wb_order_all_written(o, min(c->need, o->open));
		if (flush)
			wb_order_flush(o);
		if (chunk || flush)
			c->log_ios++;
		/* What others add meanwhile they push. */
		more = chunk && (log->next_write < o->open || !may_rest(c));
		spin_unlock_irqrestore(&log->lock, flags);

		if (chunk)
			submit_chunk(c, chunk, how);
		else if (flush)
			submit_flush(c);
		if (!more)
			break;
		spin_lock_irqsave(&log->lock, flags);
	}
}

void wb_flush_push(struct wb_cache *c)
{
	unsigned long flags;

	spin_lock_irqsave(&c->log.lock, flags);
	push_unlock(c, flags);
}

/* All that was acknowledged before now: including the open chunk, if anything is in it. */
static u64 everything(struct wb_cache *c)
{
	const struct wb_order *o = &c->log.order;

	return o->open + !wb_log_open_is_empty(&c->log);
}

int wb_flush_wait(struct wb_cache *c, struct bio *bio)
{
	struct wb_log *log = &c->log;
	unsigned long flags;
	bool failed, wait;
	u64 need;

	spin_lock_irqsave(&log->lock, flags);
	need = everything(c);
	failed = log->order.failed;
	wait = !failed && need > log->order.first;
	if (wait && wait_durable(c, bio, need))
		push_unlock(c, flags);
	else
		spin_unlock_irqrestore(&log->lock, flags);
	return failed ? -EIO : wait;
}

int wb_map_flush(struct wb_cache *c, struct bio *bio)
{
	int waits;

	wb_stat_add(c, WB_STAT_FLUSHES, 1);
	if (unlikely(READ_ONCE(c->through_lost)))
		return DM_MAPIO_KILL;
	/* The log is empty then; what was acknowledged went to the backing device. */
	if (READ_ONCE(c->past_log)) {
		wb_bio(bio)->kind = WB_BIO_FLUSH_BACKING;
		wb_bio(bio)->need = atomic64_read(&c->through_done);
		bio_set_dev(bio, c->backing);
		return DM_MAPIO_REMAPPED;
	}

	waits = wb_flush_wait(c, bio);
	if (waits < 0)
		bio->bi_status = BLK_STS_IOERR;
	if (waits <= 0)
		bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

void wb_flush_fua(struct wb_cache *c, struct bio *bio, u64 seq)
{
	struct wb_log *log = &c->log;
	u64 need = seq + 1;
	unsigned long flags;
	bool wait;

	wb_stat_add(c, WB_STAT_FUAS, 1);
	spin_lock_irqsave(&log->lock, flags);
	/* It may be durable, or lost, by now. */
	wait = !log->order.failed && need > log->order.first;
	if (need > log->order.first && log->order.failed)
		bio->bi_status = BLK_STS_IOERR;
	if (wait && wait_durable(c, bio, need))
		push_unlock(c, flags);
	else
		spin_unlock_irqrestore(&log->lock, flags);
	if (!wait)
		bio_endio(bio);
}

int wb_flush_all(struct wb_cache *c, bool close)
{
	struct wb_log *log = &c->log;
	u64 need;

	spin_lock_irq(&log->lock);
	if (close)
		wb_log_seal(log, true);
	need = everything(c);
	c->need = max(c->need, need);
	spin_unlock_irq(&log->lock);
	wb_flush_push(c);
	/* One of the two comes: all before @need gets complete, is written, and flushed or failed. */
	wait_event(c->durable_wait,
		   READ_ONCE(log->order.first) >= need || READ_ONCE(log->order.failed));
	return READ_ONCE(log->order.first) >= need ? 0 : -EIO;
}

/* ---------------------------------------------------------------- slots ahead of the writers */

void wb_purge_slot(struct wb_cache *c, u32 slot)
{
	u32 place = slot << c->index.slot_shift, end = place + c->super.geom.slot_blocks;
	struct wb_index_entry *e;
	spinlock_t *lock;

	for (; place < end; place++) {
		e = &c->index.entries[place];
		/* Only pruning and discards touch it meanwhile, and they only unlink. */
		if (!(READ_ONCE(e->flags) & WB_ENTRY_LINKED))
			continue;
		lock = wb_bucket_lock(c, wb_index_block(e));
		spin_lock(lock);
		if (e->flags & WB_ENTRY_LINKED)
			wb_index_unlink(&c->index, place, wb_count_live, c);
		spin_unlock(lock);
	}
}

/*
 * Prepare the next slot. Once its entries are unlinked no reader finds it any more; those that
 * found it before hold references, taken under the bucket lock, so a count that is zero now stays
 * zero.
 */
static bool prepare_one(struct wb_cache *c)
{
	struct wb_log *log = &c->log;
	bool may;
	u64 id;
	u32 slot;

	spin_lock_irq(&log->lock);
	may = wb_order_may_prepare(&log->order);
	id = log->order.prepared + 1;
	spin_unlock_irq(&log->lock);
	if (!may)
		return false;
	slot = wb_slot_of(&c->super.geom, id);
	if (c->purged_id != id) {
		if (!wb_log_retire(log, id))
			return false;
		wb_purge_slot(c, slot);
		WRITE_ONCE(c->purged_id, id);
	}
	smp_mb();	/* wb_put_slot() looks at purged_id after its last put */
	if (atomic_read(&c->slot_refs[slot]))
		return false;
	WRITE_ONCE(c->purged_id, 0);

	spin_lock_irq(&log->lock);
	wb_log_prepared(log);
	wb_log_open(log);
	spin_unlock_irq(&log->lock);
	return true;
}

/* ---------------------------------------------------------------- held writes */

void wb_flush_defer(struct wb_cache *c, struct bio *bio)
{
	spin_lock(&c->deferred_lock);
	bio_list_add(&c->deferred, bio);
	c->nr_deferred++;
	spin_unlock(&c->deferred_lock);
	wb_flush_kick(c);
}

static struct bio *deferred_pop(struct wb_cache *c)
{
	struct bio *bio;

	spin_lock(&c->deferred_lock);
	bio = bio_list_pop(&c->deferred);
	spin_unlock(&c->deferred_lock);
	return bio;
}

bool wb_log_hopeless(struct wb_cache *c)
{
	bool full;

	if (wb_failed(c))
		return true;
	if (!READ_ONCE(c->migration_stuck))
		return false;
	spin_lock_irq(&c->log.lock);
	/* Room that is made, but not recorded yet, is room; and so is what is prepared. */
	full = c->log.order.prepared + 1 > c->log.order.migrated + c->log.order.nr_slots &&
	       c->log.order.current_id == c->log.order.prepared;
	spin_unlock_irq(&c->log.lock);
	return full;
}

/*
 * Let a held write go on. It is given back when device-mapper wants it (noflush suspend), and errored
 * when nothing can make the room that it still lacks. Return: false if it has to be held on.
 */
static bool resume_one(struct wb_cache *c, struct bio *bio)
{
	if (wb_requeues(c))
		bio->bi_status = BLK_STS_DM_REQUEUE;
	else if (wb_failed(c))
		bio->bi_status = BLK_STS_IOERR;
	else if (wb_pace_allows(c) && wb_write_continue(c, bio))
		return true;
	else if (wb_log_hopeless(c))
		bio->bi_status = BLK_STS_IOERR;
	else
		return false;
	bio_endio(bio);
	return true;
}

/* In order, until one cannot. */
static void resume_deferred(struct wb_cache *c)
{
	struct bio *bio;

	while ((bio = deferred_pop(c))) {
		if (!resume_one(c, bio)) {
			spin_lock(&c->deferred_lock);
			bio_list_add_head(&c->deferred, bio);
			spin_unlock(&c->deferred_lock);
			wb_migrate_kick(c);	/* it may be waiting for room */
			break;
		}
		spin_lock(&c->deferred_lock);
		c->nr_deferred--;
		spin_unlock(&c->deferred_lock);
	}
}

static void run_flush_daemon(struct work_struct *work)
{
	struct wb_cache *c = container_of(work, struct wb_cache, flush_work);
	struct bio_list done;
	bool lagging;

	while (prepare_one(c))
		;
	wb_pace_look(c);
	resume_deferred(c);

	bio_list_init(&done);
	spin_lock_irq(&c->log.lock);
	/* Not too far ahead of the durable point, and what is full must get durable to migrate. */
	lagging = c->log.order.current_id > c->log.order.durable_segment + lag_allowed(c) ||
		  wb_order_full(&c->log.order);
	if (lagging)
		c->need = max(c->need, c->log.order.open);
	if (c->log.order.failed)
		take_finished(c, &done);
	spin_unlock_irq(&c->log.lock);
	end_all(&done);
	wb_flush_push(c);
	if (wb_failed(c))
		wake_up_all(&c->durable_wait);
}

static void deadline_work(struct work_struct *work)
{
	struct wb_cache *c = container_of(to_delayed_work(work), struct wb_cache, deadline_work);
	unsigned int wait = READ_ONCE(c->knob[WB_KNOB_BARRIER_DEADLINE]);
	unsigned long flags;

	spin_lock_irqsave(&c->log.lock, flags);
	if (c->wanted > c->need && deadline_passed(c, wait))
		c->need = c->wanted;
	push_unlock(c, flags);
}

void wb_flush_init(struct wb_cache *c)
{
	INIT_WORK(&c->flush_work, run_flush_daemon);
	INIT_DELAYED_WORK(&c->deadline_work, deadline_work);
	spin_lock_init(&c->deferred_lock);
	spin_lock_init(&c->through_lock);
	spin_lock_init(&c->streams_lock);
	bio_list_init(&c->deferred);
	bio_list_init(&c->waiters);
	init_waitqueue_head(&c->durable_wait);
	wb_company_init(&c->company);
	wb_hrtimer_setup(&c->company_timer, company_timer);
}

void wb_flush_stop(struct wb_cache *c)
{
	cancel_delayed_work_sync(&c->deadline_work);
	cancel_work_sync(&c->flush_work);
	wait_event(c->durable_wait, !READ_ONCE(c->log_ios));
	/* The last completion has left its critical section, and with it the object, after this. */
	spin_lock_irq(&c->log.lock);
	spin_unlock_irq(&c->log.lock);
	/* Nobody is left to start it, no bio and no completion; and it kicks a running cache only. */
	hrtimer_cancel(&c->company_timer);
	c->company_timed = false;
}
