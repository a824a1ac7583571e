// SPDX-License-Identifier: GPL-2.0
/*
 * The flush daemon: from the RAM buffers to the durable point.
 *
 * Two things drive it. A chunk that is full is sealed and written at once, several in flight. And
 * whoever wants durability raises c->need, the seq before which all chunks are to be durable; a
 * *commit* brings the durable point there:
 *
 *   seal the open chunk if it is wanted ─▶ write it with PREFLUSH|FUA          (the usual fsync: one
 *        │ if earlier writes are in flight                                      request, no waiting)
 *        ▼
 *   write it plainly, wait for all of them, one device flush
 *
 * One commit is in flight at a time. Those who come meanwhile find company: the next commit seals
 * one chunk for all of them. barrier_deadline_ms makes the first one wait for company as well.
 *
 * Most of this runs in the context of whoever fills a chunk or asks for a flush (wb_flush_push), so
 * a flush costs no task switch. Completions come in interrupts and cannot submit: where they leave
 * something to do they kick the daemon's work item, which also prepares slots ahead of the writers
 * and lets held writes go on. The work item never waits for I/O: each completion looks again.
 */
#include <linux/jiffies.h>
#include "daemons.h"

void wb_flush_kick(struct wb_cache *c)
{
	if (READ_ONCE(c->running))
		queue_work(c->wq, &c->flush_work);
}

/* ---------------------------------------------------------------- who waits */

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
	while ((bio = bio_list_pop(&c->waiters))) {
		if (wb_bio(bio)->need <= o->first)
			bio_list_add(done, bio);
		else if (o->failed)
			bio_list_add(&failed, bio);
		else
			bio_list_add(&rest, bio);
	}
	c->waiters = rest;
	while ((bio = bio_list_pop(&failed))) {
		bio->bi_status = BLK_STS_IOERR;
		bio_list_add(done, bio);
	}
}

static void end_all(struct bio_list *done)
{
	struct bio *bio;

	while ((bio = bio_list_pop(done)))
		bio_endio(bio);
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
	if (!ok || closed || c->need > o->first || READ_ONCE(c->nr_deferred))
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

static void submit_chunk(struct wb_cache *c, struct wb_chunk *chunk, bool fua)
{
	struct wb_rambuf *buf = chunk->buf;
	u64 slot = wb_slot_of(&c->super.geom, chunk->id);
	struct bio *bio = &chunk->bio;
	u32 nr = chunk->nr + 1, i;
	void *p = wb_log_block(buf, chunk->start);

	wb_stat_add(c, WB_STAT_CHUNKS, 1);
	wb_stat_add(c, WB_STAT_CHUNK_BLOCKS, chunk->nr);
	bio_init(bio, c->cache, &buf->bvecs[chunk->start], nr,
		 REQ_OP_WRITE | REQ_SYNC | (fua ? REQ_PREFLUSH | REQ_FUA : 0));
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
	c->flush_bio.bi_end_io = flush_endio;
	c->flush_bio.bi_private = c;
	submit_bio(&c->flush_bio);
}

/* Is it time to commit? Needs log->lock. Arms the deadline if it is too early. */
static bool commit_now(struct wb_cache *c)
{
	unsigned int wait = READ_ONCE(c->knob[WB_KNOB_BARRIER_DEADLINE]);
	unsigned long deadline;

	if (c->need <= c->log.order.first || c->log.order.flushing || c->log.order.failed)
		return false;
	if (!wait || bio_list_empty(&c->waiters) || c->log.order.open >= c->need)
		return true;
	deadline = c->first_waiter + msecs_to_jiffies(wait);
	if (time_after_eq(jiffies, deadline))
		return true;
	queue_delayed_work(c->wq, &c->deadline_work, deadline - jiffies);
	return false;
}

void wb_flush_push(struct wb_cache *c)
{
	struct wb_log *log = &c->log;
	struct wb_order *o = &log->order;
	struct wb_chunk *chunk;
	unsigned long flags;
	bool commit, fua, flush;

	for (;;) {
		spin_lock_irqsave(&log->lock, flags);
		wb_log_seal_full(log);
		wb_log_open(log);
		/* Or nobody can seal: what was written and nobody flushed holds its places till then. */
		if (wb_order_should_flush(o))
			c->need = max(c->need, o->open);
		commit = commit_now(c);
		if (commit && o->open < c->need)
			wb_log_seal(log, false);
		chunk = wb_log_next_write(log, commit && log->next_write < c->need, &fua);
		flush = !chunk && commit && wb_order_may_flush(o) &&
			wb_order_all_written(o, min(c->need, o->open));
		if (flush)
			wb_order_flush(o);
		if (chunk || flush)
			c->log_ios++;
		spin_unlock_irqrestore(&log->lock, flags);

		if (chunk)
			submit_chunk(c, chunk, fua);
		else if (flush)
			submit_flush(c);
		else
			break;
	}
}

/* All that was acknowledged before now: including the open chunk, if anything is in it. */
static u64 everything(struct wb_cache *c)
{
	const struct wb_order *o = &c->log.order;

	return o->open + !wb_log_open_is_empty(&c->log);
}

int wb_map_flush(struct wb_cache *c, struct bio *bio)
{
	struct wb_log *log = &c->log;
	unsigned long flags;
	bool wait;

	wb_stat_add(c, WB_STAT_FLUSHES, 1);
	if (unlikely(READ_ONCE(c->through_lost)))
		return DM_MAPIO_KILL;
	/* The log is empty then; what was acknowledged went to the backing device. */
	if (READ_ONCE(c->flush_backing)) {
		wb_bio(bio)->kind = WB_BIO_FLUSH_BACKING;
		wb_bio(bio)->need = atomic64_read(&c->through_done);
		bio_set_dev(bio, c->backing);
		return DM_MAPIO_REMAPPED;
	}

	spin_lock_irqsave(&log->lock, flags);
	wb_bio(bio)->need = everything(c);
	if (log->order.failed)
		bio->bi_status = BLK_STS_IOERR;
	wait = !log->order.failed && wb_bio(bio)->need > log->order.first;
	if (wait) {
		if (bio_list_empty(&c->waiters))
			c->first_waiter = jiffies;
		bio_list_add(&c->waiters, bio);
		c->need = max(c->need, wb_bio(bio)->need);
	}
	spin_unlock_irqrestore(&log->lock, flags);
	if (wait)
		wb_flush_push(c);
	else
		bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

void wb_flush_fua(struct wb_cache *c, struct bio *bio, u64 seq)
{
	struct wb_log *log = &c->log;
	struct bio_list done;
	unsigned long flags;

	bio_list_init(&done);
	wb_stat_add(c, WB_STAT_FUAS, 1);
	wb_bio(bio)->need = seq + 1;
	spin_lock_irqsave(&log->lock, flags);
	if (bio_list_empty(&c->waiters))
		c->first_waiter = jiffies;
	bio_list_add(&c->waiters, bio);
	c->need = max(c->need, seq + 1);
	take_finished(c, &done);	/* it may be durable, or lost, by now */
	spin_unlock_irqrestore(&log->lock, flags);
	end_all(&done);
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
	if (READ_ONCE(c->requeue))
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
	lagging = c->log.order.current_id > c->log.order.durable_segment +
					    WB_MAX_VOLATILE_SEGMENTS / 4 ||
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
	wb_flush_push(container_of(to_delayed_work(work), struct wb_cache, deadline_work));
}

void wb_flush_init(struct wb_cache *c)
{
	INIT_WORK(&c->flush_work, run_flush_daemon);
	INIT_DELAYED_WORK(&c->deadline_work, deadline_work);
	spin_lock_init(&c->deferred_lock);
	spin_lock_init(&c->through_lock);
	bio_list_init(&c->deferred);
	bio_list_init(&c->waiters);
	init_waitqueue_head(&c->durable_wait);
}

void wb_flush_stop(struct wb_cache *c)
{
	cancel_delayed_work_sync(&c->deadline_work);
	cancel_work_sync(&c->flush_work);
	wait_event(c->durable_wait, !READ_ONCE(c->log_ios));
	/* The last completion has left its critical section, and with it the object, after this. */
	spin_lock_irq(&c->log.lock);
	spin_unlock_irq(&c->log.lock);
}
