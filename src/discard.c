// SPDX-License-Identifier: GPL-2.0
/*
 * Discards. The cached copies of the blocks go out of the index; where there were any, a tombstone
 * goes into the log, so that recovery does not bring them back and migrate them over what the
 * backing device holds by then; and the discard is passed down. It is acknowledged when the backing
 * device has done it.
 *
 * All the while migration is kept out of these blocks (segment/ranges.h): what it was writing there is
 * done before, and what it will write is what the log has after. So whatever happens on the backing
 * device under a discard was done by the discard.
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

/* Migration is kept out of @range. Return: how the discard has to end. */
static blk_status_t forget(struct wb_cache *c, const struct bio *bio, u64 block, u64 end,
			   struct wb_range *range)
{
	blk_status_t status = pass_down_durably(c, bio);
	u32 tomb;
	u64 seq;

	/* With no room it waits, as a write would. In mode drained there is nothing to protect from. */
	while (!status && !wb_log_tombstone(c, block, end - block, &tomb, &seq)) {
		if (READ_ONCE(c->mode) == WB_MODE_DRAINED)
			return BLK_STS_OK;
		if (READ_ONCE(c->requeue))
			return BLK_STS_DM_REQUEUE;
		if (wb_log_hopeless(c))
			return BLK_STS_IOERR;
		wb_flush_kick(c);
		wb_migrate_kick(c);
		if (wb_migrate_let_by(c, range))
			status = pass_down_durably(c, bio);
	}
	if (status)
		return status;
	wait_for_earlier(c, seq);
	drop_copies(c, block, end, tomb);
	return BLK_STS_OK;
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

	wb_migrate_keep_out(c, &range, first >> WB_BLOCK_SECTOR_SHIFT,
			    (last - 1) >> WB_BLOCK_SECTOR_SHIFT);
	if (wb_any_copy(c, block, end))
		bio->bi_status = forget(c, bio, block, end, &range);
	else
		bio->bi_status = pass_down(c, bio);
	wb_migrate_let_in(c, &range);
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
