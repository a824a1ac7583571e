// SPDX-License-Identifier: GPL-2.0
/*
 * Discards. The cached copies of the blocks go out of the index; where there were any, a tombstone
 * goes into the log, so that recovery does not bring them back and migrate them over what the
 * backing device holds by then; and the discard is passed down. It is acknowledged when the backing
 * device has done it.
 *
 * All the while nobody else changes these blocks on the backing device. Migration is kept out of them
 * (segment/ranges.h): what it was writing there is done before, and what it will write is what the log
 * has after. Nothing goes past the log: a stream past a full log does not while there are discards, and
 * who writes in mode drained has nothing in the log, nor can the log be open again before all discards
 * have ended that came before. So what is found below the copies that go was made by the discard.
 *
 * Order, if there are copies. The backing device's own discard, and a flush: if they fail the copies
 * stay, for they are the newest there is; and were the discard not durable when a copy goes, a crash
 * could bring up what the backing device had before that copy. The tombstone, for which there may be
 * no room yet; then migration is let by, and the discard done again if it has been at these blocks.
 * And all copies older than the tombstone go, once those who write them have published them, so that
 * memory and a recovery from the log come to the same.
 *
 * Until it is acknowledged a read may see what the backing device had before, as contents under a
 * discard may. After a crash there is the newest version again, or what the discard has made of it.
 *
 * Only whole blocks lose their copies; the ends of a discard that is not aligned are merely passed
 * down, and read as cached, or as the device says.
 *
 * That a tombstone is not durable yet does no harm: after a crash the old copies may be back, as
 * they were before a discard that nobody had flushed.
 */
#include "daemons/daemons.h"

bool wb_any_copy(struct wb_cache *c, u64 block, u64 end)
{
	spinlock_t *lock;
	bool any = false;

	for (; !any && block < end; block++) {
		lock = wb_bucket_lock(c, block);
		spin_lock(lock);
		any = wb_index_first(&c->index, block) != WB_NO_PLACE;
		spin_unlock(lock);
		cond_resched();
	}
	return any;
}

/* Drop the copies that are older than the tombstone at @tomb. */
static void drop_copies(struct wb_cache *c, u64 block, u64 end, u32 tomb)
{
	struct wb_index_view v;
	spinlock_t *lock;
	u32 place, next;

	for (; block < end; block++) {
		lock = wb_bucket_lock(c, block);
		spin_lock(lock);
		wb_view(c, &v);
		for (place = wb_index_first(&c->index, block); place != WB_NO_PLACE; place = next) {
			next = wb_index_next(&c->index, place);
			if (wb_index_rank(&c->index, &v, place) < wb_index_rank(&c->index, &v, tomb))
				wb_index_unlink(&c->index, place, wb_count_live, c);
		}
		spin_unlock(lock);
		cond_resched();
	}
}

/*
 * Wait until all who have a place in the log before the tombstone have published: its chunk is
 * sealed, and has its header, when they are through.
 */
static void wait_for_earlier(struct wb_cache *c, u64 seq)
{
	struct wb_log *log = &c->log;

	for (;;) {
		spin_lock_irq(&log->lock);
		if (log->order.open == seq)
			wb_log_seal(log, false);
		spin_unlock_irq(&log->lock);
		wb_flush_push(c);
		if (READ_ONCE(log->next_write) > seq || READ_ONCE(log->order.failed))
			return;
		schedule_timeout_uninterruptible(1);
	}
}

/* The same discard on the backing device, by itself. Sleeps. */
static blk_status_t pass_down(struct wb_cache *c, const struct bio *like)
{
	blk_status_t status;
	struct bio bio;

	bio_init(&bio, c->backing, NULL, 0, REQ_OP_DISCARD);
	bio.bi_iter = like->bi_iter;
	submit_bio_wait(&bio);
	status = bio.bi_status;
	bio_uninit(&bio);
	if (status && status != BLK_STS_NOTSUPP) {
		wb_stat_add(c, WB_STAT_BACKING_ERRORS, 1);
		wb_degrade(c);
	}
	return status;
}

/*
 * And durable there: no flush failed meanwhile, also none of somebody else's, who thus was told what
 * this one has lost.
 */
static blk_status_t pass_down_durably(struct wb_cache *c, const struct bio *like)
{
	int failures = atomic_read(&c->backing_flush_failures);
	blk_status_t status = pass_down(c, like);

	if (!status && (wb_flush_backing(c) ||
			failures != atomic_read(&c->backing_flush_failures))) {
		wb_degrade(c);
		status = BLK_STS_IOERR;
	}
	return status;
}

/* What is to end the wait for room, if not room. */
static bool is_in_vain(struct wb_cache *c)
{
	return READ_ONCE(c->past_log) || wb_requeues(c) || wb_log_hopeless(c);
}

/* Migration may make room. Return: may it have been at the blocks of @range? */
static bool wait_for_room(struct wb_cache *c, struct wb_range *range)
{
	wb_migrate_step_aside(c, range);
	do {
		wb_flush_kick(c);
		wb_migrate_kick(c);
		schedule_timeout_uninterruptible(1);
	} while (!wb_log_open_room(&c->log) && !is_in_vain(c));
	return wb_migrate_come_back(c, range);
}

/* Migration is kept out of @range. Return: how the discard has to end. */
static blk_status_t forget(struct wb_cache *c, const struct bio *bio, u64 block, u64 end,
			   struct wb_range *range)
{
	blk_status_t status = pass_down_durably(c, bio);
	u32 tomb;
	u64 seq;

	/* With no room it waits, as a write would. In mode drained there is nothing to protect from. */
	while (!status && !wb_log_tombstone(c, block, end - block, &tomb, &seq)) {
		if (READ_ONCE(c->past_log))
			return BLK_STS_OK;
		if (wb_requeues(c))
			return BLK_STS_DM_REQUEUE;
		if (wb_log_hopeless(c))
			return BLK_STS_IOERR;
		if (wait_for_room(c, range))
			status = pass_down_durably(c, bio);
	}
	if (status)
		return status;
	wait_for_earlier(c, seq);
	drop_copies(c, block, end, tomb);
	wb_put_slot(c, wb_place_slot(c, tomb));
	return BLK_STS_OK;
}

/*
 * From here on nothing goes past a full log, and no undrain ends, before this discard does. While
 * undrain waits for those that came before it a later one waits, as writes do; but not one that only
 * has to end itself.
 */
static void enter(struct wb_cache *c)
{
	for (;;) {
		atomic_inc(&c->through);
		/* With undrain, and with wb_map_bypass(), which does it the other way round. */
		smp_mb__after_atomic();
		if (READ_ONCE(c->mode) != WB_MODE_HOLD || wb_requeues(c) || wb_log_hopeless(c))
			break;
		wb_leave_through(c);
		schedule_timeout_uninterruptible(1);
	}
	while (atomic_read(&c->bypasses))
		schedule_timeout_uninterruptible(1);
}

static void discard_work(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);
	struct wb_cache *c = wb_bio(bio)->c;
	u64 first = bio->bi_iter.bi_sector, last = bio_end_sector(bio), block, end;
	struct wb_range range;

	block = (first + WB_BLOCK_SECTORS - 1) >> WB_BLOCK_SECTOR_SHIFT;
	end = last >> WB_BLOCK_SECTOR_SHIFT;
	if (last == c->super.geom.backing_sectors)
		end = wb_backing_blocks(&c->super.geom);
	if (block < end)
		wb_stat_add(c, WB_STAT_DISCARDS, end - block);

	enter(c);
	wb_migrate_keep_out(c, &range, first >> WB_BLOCK_SECTOR_SHIFT,
			    (last - 1) >> WB_BLOCK_SECTOR_SHIFT);
	if (wb_any_copy(c, block, end))
		bio->bi_status = forget(c, bio, block, end, &range);
	else
		bio->bi_status = pass_down(c, bio);
	wb_migrate_let_in(c, &range);
	wb_leave_through(c);
	bio_set_dev(bio, c->backing);	/* whose error it is, for device-mapper */
	bio_endio(bio);
}

int wb_map_discard(struct wb_cache *c, struct bio *bio)
{
	if (wb_enter_through(c)) {
		wb_bio(bio)->kind = WB_BIO_THROUGH;
		bio_set_dev(bio, c->backing);
		return DM_MAPIO_REMAPPED;
	}
	if (wb_failed(c))
		return DM_MAPIO_KILL;
	/* The limits say so; but a tombstone must never say more than recovery takes. */
	if (bio_sectors(bio) > WB_MAX_DISCARD_SECTORS)
		dm_accept_partial_bio(bio, WB_MAX_DISCARD_SECTORS);
	return wb_go_slow(c, c->discard_wq, bio, discard_work);
}
