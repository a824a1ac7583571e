// SPDX-License-Identifier: GPL-2.0
/*
 * Discards. The cached copies of the blocks go out of the index; where there were any, a tombstone
 * goes into the log, so that recovery does not bring them back and migrate them over what the
 * backing device holds by then; and the discard is passed down. It is acknowledged when the backing
 * device has done it.
 *
 * Order, if there are copies. The backing device's own discard, once, and a flush: if they fail the
 * copies stay, for they are the newest there is; and were the discard not durable when a copy goes,
 * a crash could bring up what the backing device had before that copy. The tombstone, for which there
 * may be no room yet. All copies older than it, once those who write them have published them, so
 * that memory and a recovery from the log come to the same. The wait for migration writes of these
 * blocks that are in flight. And the backing device again, for those have landed on the first one;
 * if there may have been any, with a flush: they may be of versions older than the one discarded.
 *
 * Until it is acknowledged a read may see what the backing device had before, as contents under a
 * discard may; and if a crash comes when the tombstone is durable, and the backing device has not been
 * discarded again, it shows what migration's writes in flight have left: an older version, or a part.
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

/* Return: BLK_STS_OK, or why the discard has to end here. */
static blk_status_t forget(struct wb_cache *c, u64 block, u64 end)
{
	u32 tomb;
	u64 seq;

	/* With no room it waits, as a write would. In mode drained there is nothing to protect from. */
	while (!wb_log_tombstone(c, block, end - block, &tomb, &seq)) {
		if (READ_ONCE(c->mode) == WB_MODE_DRAINED)
			return BLK_STS_OK;
		if (READ_ONCE(c->requeue))
			return BLK_STS_DM_REQUEUE;
		if (wb_log_hopeless(c))
			return BLK_STS_IOERR;
		wb_flush_kick(c);
		wb_migrate_kick(c);
		schedule_timeout_uninterruptible(1);
	}
	wait_for_earlier(c, seq);
	drop_copies(c, block, end, tomb);
	return BLK_STS_OK;
}

/*
 * The same discard on the backing device, by itself, and durable there: no flush failed meanwhile,
 * also none of somebody else's, who thus was told what this one has lost. Sleeps.
 */
static blk_status_t try_discard(struct wb_cache *c, const struct bio *like)
{
	int failures = atomic_read(&c->backing_flush_failures);
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
	if (!status && (wb_flush_backing(c) ||
			failures != atomic_read(&c->backing_flush_failures))) {
		wb_degrade(c);
		status = BLK_STS_IOERR;
	}
	return status;
}

static void discard_work(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);
	struct wb_cache *c = wb_bio(bio)->c;
	u64 first = bio->bi_iter.bi_sector, last = bio_end_sector(bio), block, end;
	u64 mark = wb_migrate_mark(c);

	block = (first + WB_BLOCK_SECTORS - 1) >> WB_BLOCK_SECTOR_SHIFT;
	end = last >> WB_BLOCK_SECTOR_SHIFT;
	if (last == c->super.geom.backing_sectors)
		end = wb_backing_blocks(&c->super.geom);

	if (block < end) {
		wb_stat_add(c, WB_STAT_DISCARDS, end - block);
		if (wb_any_copy(c, block, end)) {
			bio->bi_status = try_discard(c, bio) ?: forget(c, block, end);
			if (bio->bi_status) {
				bio_endio(bio);
				return;
			}
		}
		if (wb_migrate_wait_range(c, block, end - block, mark)) {
			bio->bi_status = try_discard(c, bio);
			bio_endio(bio);
			return;
		}
	}
	wb_bio(bio)->kind = WB_BIO_BACKING;
	bio_set_dev(bio, c->backing);
	submit_bio_noacct(bio);
}

int wb_map_discard(struct wb_cache *c, struct bio *bio)
{
	if (READ_ONCE(c->mode) == WB_MODE_DRAINED) {
		wb_bio(bio)->kind = WB_BIO_BACKING;
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
