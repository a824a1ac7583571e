// SPDX-License-Identifier: GPL-2.0
/*
 * Writes past the log. A log that is nearly full takes writes only as fast as its oldest segments are
 * written back, block by block from all over the disk. Who writes in order then is better served by
 * the disk itself, at its full speed; and the room is left to those who need it.
 *
 * So while the log is in its reserve (c->tight) a write goes straight to the backing device if
 *
 *   - it belongs to a run of writes in order (segment/streams.h) of at least bypass_run_kib, and
 *   - none of its blocks has a copy in the log. A write of both kinds is cut.
 *
 * Nothing that is promised of the log is different for such a write:
 *
 *   Durability, prefix. It is sent with FUA, when all that was acknowledged before it came is durable
 *   (wb_flush_wait()). So where it is found after a crash, all earlier writes are; and whatever is
 *   acknowledged after it, and found, finds it. A FLUSH has nothing to do for it. Where FUA is a write
 *   and a flush, another flush may fail between the two, and take the write with it: then it fails,
 *   too. And if its own flush fails, what migration had written may be gone (backing_flush_failures).
 *
 *   No resurrection. A block without a copy in the index has none in the log that recovery could
 *   bring up, once all is durable: a copy leaves the index when a durable newer one covers it, whose
 *   turn comes later; or before a tombstone, which is durable by then; or when its slot is reused, and
 *   then both copies of the record call it migrated. Nor is migration still writing an older copy: its
 *   writes of a block end before the newest copy counts as migrated, and a discard waits for them.
 *
 *   Races. Another write of the same block, while this one has not ended, may go to the log or to the
 *   disk, and be the older one or the newer, as on any disk: neither has been acknowledged.
 *
 * While such writes go on and nobody waits for room, migration stands still (modulator.c). Where the
 * backing device has a volatile cache FUA costs a turn of the disk or more, so there only requests of
 * some length go past the log.
 */
#include "daemons/daemons.h"

#define LEAST_WITH_FUA	256u		/* sectors of a request, where FUA costs something */
#define GOES_ON		(HZ / 10)	/* so long after one of them the next is to be expected */

/* How much of a write, from its beginning on, is of blocks alike: with a copy in the log, or without? */
static u32 alike(struct wb_cache *c, const struct bio *bio, bool *cached)
{
	u64 first = bio->bi_iter.bi_sector, last = bio_end_sector(bio);
	u64 block = first >> WB_BLOCK_SECTOR_SHIFT;
	u64 end = (last + WB_BLOCK_SECTORS - 1) >> WB_BLOCK_SECTOR_SHIFT;

	*cached = wb_any_copy(c, block, block + 1);
	do {
		block++;
	} while (block < end && wb_any_copy(c, block, block + 1) == *cached);
	return min(block << WB_BLOCK_SECTOR_SHIFT, last) - first;
}

/* Right before it is sent. */
static void note_failures(struct wb_cache *c, struct bio *bio)
{
	wb_bio(bio)->need = atomic_read(&c->backing_flush_failures);
}

bool wb_may_bypass(struct wb_cache *c, struct bio *bio)
{
	u64 wanted = (u64)READ_ONCE(c->knob[WB_KNOB_BYPASS_RUN]) * (SZ_1K >> SECTOR_SHIFT), run;
	u32 least = bdev_write_cache(c->backing) ? LEAST_WITH_FUA : 1;
	u32 nr = bio_sectors(bio), lead;
	bool cached;

	if (!wanted)
		return false;
	spin_lock(&c->streams_lock);
	run = wb_streams_note(&c->streams, bio->bi_iter.bi_sector, nr);
	spin_unlock(&c->streams_lock);
	if (run < wanted || nr < least)
		return false;
	lead = alike(c, bio, &cached);
	if (!cached && lead < least)
		return false;
	if (lead < nr)
		dm_accept_partial_bio(bio, lead);
	return !cached;
}

int wb_map_bypass(struct wb_cache *c, struct bio *bio)
{
	u32 blocks = wb_nr_blocks(&bio->bi_iter);
	int waits;

	wb_stat_add(c, WB_STAT_WRITE_MISS, blocks);
	wb_stat_add(c, WB_STAT_BYPASSES, blocks);
	atomic_inc(&c->bypasses);
	wb_bio(bio)->c = c;
	wb_bio(bio)->kind = WB_BIO_BYPASS;
	bio->bi_opf |= REQ_FUA;
	bio_set_dev(bio, c->backing);
	waits = wb_flush_wait(c, bio);
	if (waits > 0)
		return DM_MAPIO_SUBMITTED;
	if (!waits) {
		note_failures(c, bio);
		return DM_MAPIO_REMAPPED;
	}
	wb_bio(bio)->kind = WB_BIO_PLAIN;
	wb_bypass_ended(c);
	return DM_MAPIO_KILL;
}

static void go(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);

	note_failures(wb_bio(bio)->c, bio);
	submit_bio_noacct(bio);
}

/* It is called where a write of the log completes, in an interrupt: there nothing can be submitted. */
void wb_bypass_go(struct bio *bio)
{
	struct wb_cache *c = wb_bio(bio)->c;

	if (likely(!bio->bi_status)) {
		wb_go_slow(c, c->slow_wq, bio, go);
		return;
	}
	wb_bio(bio)->kind = WB_BIO_PLAIN;
	wb_bypass_ended(c);
	bio_endio(bio);
}

/* The time first: whoever sees that there is none sees when the last one was. */
void wb_bypass_ended(struct wb_cache *c)
{
	WRITE_ONCE(c->bypassed_at, jiffies);
	smp_mb__before_atomic();
	atomic_dec(&c->bypasses);
}

bool wb_is_bypassing(const struct wb_cache *c)
{
	unsigned long last;

	if (READ_ONCE(c->nr_deferred))
		return false;
	if (atomic_read_acquire(&c->bypasses))
		return true;
	last = READ_ONCE(c->bypassed_at);
	return last && time_before(jiffies, last + GOES_ON);
}
