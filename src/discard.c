// SPDX-License-Identifier: GPL-2.0
/*
 * Discards. The cached copies of the blocks go out of the index; where there were any, a tombstone
 * goes into the log, so that recovery does not bring them back and migrate them over what the
 * backing device holds by then; and the discard is passed down. It is acknowledged when the backing
 * device has done it.
 *
 * Order: the tombstone, for which there may be no room yet; the copies; the wait for migration writes
 * of these blocks that are in flight (else one could land behind the discard); the backing device.
 * Between the second and the last a read may see what the backing device had before, as contents
 * under a discard may. Only whole blocks lose their copies; the ends of a discard that is not aligned
 * are merely passed down, and read as cached, or as the device says.
 *
 * That a tombstone is not durable yet does no harm: after a crash the old copies may be back, as
 * they were before a discard that nobody had flushed.
 */
#include "daemons/daemons.h"

static bool any_copy(struct wb_cache *c, u64 block, u64 end)
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

static void drop_copies(struct wb_cache *c, u64 block, u64 end)
{
	spinlock_t *lock;
	u32 place;

	for (; block < end; block++) {
		lock = wb_bucket_lock(c, block);
		spin_lock(lock);
		while ((place = wb_index_first(&c->index, block)) != WB_NO_PLACE)
			wb_index_unlink(&c->index, place, wb_count_live, c);
		spin_unlock(lock);
		cond_resched();
	}
}

/* Return: false if the log will not take a tombstone any more. */
static bool put_tombstone(struct wb_cache *c, u64 block, u64 end)
{
	/* With no room it waits, as a write would. In mode drained there is nothing to protect from. */
	while (READ_ONCE(c->mode) != WB_MODE_DRAINED &&
	       !wb_log_tombstone(c, block, end - block)) {
		if (wb_log_hopeless(c))
			return false;
		wb_flush_kick(c);
		wb_migrate_kick(c);
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

static void discard_work(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);
	struct wb_cache *c = wb_bio(bio)->c;
	u64 first = bio->bi_iter.bi_sector, last = bio_end_sector(bio), block, end;

	block = (first + WB_BLOCK_SECTORS - 1) >> WB_BLOCK_SECTOR_SHIFT;
	end = last >> WB_BLOCK_SECTOR_SHIFT;
	if (last == c->super.geom.backing_sectors)
		end = wb_backing_blocks(&c->super.geom);

	if (block < end) {
		wb_stat_add(c, WB_STAT_DISCARDS, end - block);
		if (any_copy(c, block, end)) {
			if (!put_tombstone(c, block, end)) {
				bio_io_error(bio);
				return;
			}
			drop_copies(c, block, end);
		}
		wb_migrate_wait_range(c, block, end - block);
	}
	bio_set_dev(bio, c->backing);
	submit_bio_noacct(bio);
}

int wb_map_discard(struct wb_cache *c, struct bio *bio)
{
	if (wb_failed(c))
		return DM_MAPIO_KILL;
	if (READ_ONCE(c->mode) == WB_MODE_DRAINED) {
		bio_set_dev(bio, c->backing);
		return DM_MAPIO_REMAPPED;
	}
	return wb_go_slow(c, bio, discard_work);
}
