// SPDX-License-Identifier: GPL-2.0
/*
 * Discards. The cached copies of the blocks go out of the index; where there were any, a tombstone
 * goes into the log, so that recovery does not bring them back and migrate them over what the
 * backing device holds by then; and the discard is passed down. It is acknowledged when the backing
 * device has done it.
 *
 * Order: copies first, then the wait for migration writes of these blocks that are in flight (else
 * one could land behind the discard), then the backing device. Only whole blocks lose their copies;
 * the ends of a discard that is not aligned are merely passed down, and read as cached, or as the
 * device says.
 *
 * That a tombstone is not durable yet does no harm: after a crash the old copies may be back, as
 * they were before a discard that nobody had flushed.
 */
#include "daemons/daemons.h"

/* Drop all copies of @block. Return: whether there were any. */
static bool drop_block(struct wb_cache *c, u64 block)
{
	spinlock_t *lock = wb_bucket_lock(c, block);
	bool any = false;
	u32 place;

	spin_lock(lock);
	while ((place = wb_index_first(&c->index, block)) != WB_NO_PLACE) {
		wb_index_unlink(&c->index, place, wb_count_live, c);
		any = true;
	}
	spin_unlock(lock);
	return any;
}

static bool drop_range(struct wb_cache *c, u64 block, u64 end)
{
	bool any = false;

	for (; block < end; block++) {
		any |= drop_block(c, block);
		cond_resched();
	}
	return any;
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
		/* With no room for a tombstone the discard waits, as a write would. */
		if (drop_range(c, block, end))
			while (READ_ONCE(c->mode) != WB_MODE_DRAINED &&
			       !wb_log_tombstone(c, block, end - block)) {
				if (wb_log_hopeless(c)) {
					bio_io_error(bio);
					return;
				}
				wb_flush_kick(c);
				wb_migrate_kick(c);
				schedule_timeout_uninterruptible(1);
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
