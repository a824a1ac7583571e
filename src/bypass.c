// SPDX-License-Identifier: GPL-2.0
/*
 * Writes past the log. A log that is nearly full takes writes only as fast as its oldest segments
 * are written back, block by block from all over the disk. Who writes in order then is better
 * served by the disk itself, at its full speed; and the room is left to those who need it.
 *
 * So while the log is in its reserve (c->tight) a write goes straight to the backing device if
 *
 *   - it belongs to a run of writes in order (segment/streams.h) of at least bypass_run_kib, and
 *   - none of its blocks has a copy in the log. A write of both kinds is cut. And
 *   - no discard is at work: it waits until none of these writes is on its way, and takes copies out of
 *     the log afterwards. One that lay below such a copy, and above what was discarded, would come up.
 *
 * Nothing that is promised of the log is different for such a write:
 *
 *   Durability, prefix. It is sent with FUA, when all that was acknowledged before it came is
 *   durable (wb_flush_wait()). So where it is found after a crash, all earlier writes are; and
 *   whatever is acknowledged after it, and found, finds it. A FLUSH has nothing to do for it. Where
 *   FUA is a write and a flush, another flush may fail between the two, and take the write with it:
 *   then it has failed, too. And if its own flush fails, what migration had written may be gone
 *   (backing_flush_failures).
 *
 *   Errors. What the backing device refuses goes to the log, as if it had done so from the start;
 *   and so do all after it, for the device is degraded then.
 *
 *   No resurrection. A block without a copy in the index has none in the log that recovery could
 *   bring up, once all is durable: a copy leaves the index when a durable newer one covers it,
 *   whose turn comes later; or before a tombstone, which is durable by then; or when its slot is
 *   reused, and then both copies of the record call it migrated; or at the end of mode drained, when
 *   all was. Nor is migration still writing an older copy: its writes of a block end before the newest
 *   copy counts as migrated, and a discard keeps them out.
 *
 *   Races. Two writes of one block under way at a time may be taken in either order, but in one,
 *   for good. If the other one is in the log, the index has its copy, whatever the disk holds in
 *   the end; and what migration writes of it may come before or after this one. So whoever notices
 *   goes to the log himself, and is the newer. A write of the log takes its place
 *   (wb_log_reserve()) and then looks at c->bypasses; a write past it is counted there and then
 *   looks at what is in the log (wb_flush_wait()). So one of the two sees the other:
 *     - it had its place before: then this one waits until it is published and durable, finds its
 *       copy right before it would be sent, and goes to the log;
 *     - or it sees this one, and says so in c->crossings before it is published. Who ends, and
 *       finds that somebody has, looks again, and goes to the log if there is a copy by now. If
 *       nobody has, the other one is published after that, and is the newer.
 *
 * While such writes go on and nobody waits for room, migration stands still (modulator.c). Where
 * the backing device has a volatile cache FUA costs a turn of the disk or more, so there only
 * requests of some length go past the log.
 */
#include "daemons/daemons.h"

#define LEAST_WITH_FUA	256u		/* sectors of a request, where FUA costs something */
#define GOES_ON		(HZ / 10)	/* so long after one of them the next is to be expected */

/* How much of a write, from its beginning, is of blocks alike: do all have copies, or none? */
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

bool wb_may_bypass(struct wb_cache *c, struct bio *bio)
{
	u64 wanted = (u64)READ_ONCE(c->knob[WB_KNOB_BYPASS_RUN]) * (SZ_1K >> SECTOR_SHIFT), run;
	u32 least = bdev_write_cache(c->backing) ? LEAST_WITH_FUA : 1;
	u32 nr = bio_sectors(bio), lead;
	bool cached;

	/* A device that has failed before may do so again: the log has room for what it refuses. */
	if (!wanted || READ_ONCE(c->health) != WB_HEALTH_OK || atomic_read(&c->through))
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

/* The time first: whoever sees that there is none sees when the last one was. */
static void bypass_ended(struct wb_cache *c)
{
	WRITE_ONCE(c->bypassed_at, jiffies);
	smp_mb__before_atomic();	/* with the acquire of wb_is_bypassing() */
	atomic_dec(&c->bypasses);
}

static bool has_copy(struct wb_cache *c, const struct bvec_iter *it)
{
	u64 block = it->bi_sector >> WB_BLOCK_SECTOR_SHIFT;

	return wb_any_copy(c, block, block + wb_nr_blocks(it));
}

/* All before it is durable. Return: whether it may be sent; else it has gone to the log. */
static bool may_be_sent(struct wb_cache *c, struct bio *bio)
{
	struct wb_bio *wb = wb_bio(bio);

	/* Before the look: whoever is published behind it is noticed in the end. */
	wb->slot = atomic_read(&c->crossings);
	wb->need = atomic_read(&c->backing_flush_failures);
	wb->it = bio->bi_iter;
	smp_mb();	/* with that of wb_bypass_cross(), which comes before publishing */
	if (unlikely(has_copy(c, &bio->bi_iter))) {
		wb->kind = WB_BIO_PLAIN;
		bypass_ended(c);
		wb_flush_defer(c, bio);
		return false;
	}
	wb_stat_add(c, WB_STAT_WRITE_MISS, wb_nr_blocks(&bio->bi_iter));
	wb_stat_add(c, WB_STAT_BYPASSES, wb_nr_blocks(&bio->bi_iter));
	bio_set_dev(bio, c->backing);
	return true;
}

int wb_map_bypass(struct wb_cache *c, struct bio *bio)
{
	int waits;

	atomic_inc(&c->bypasses);
	/* With wb_log_reserve(), before wb_bypass_cross() looks, and with a discard, which counts first. */
	smp_mb__after_atomic();
	if (unlikely(atomic_read(&c->through))) {
		atomic_dec(&c->bypasses);
		wb_flush_defer(c, bio);
		return DM_MAPIO_SUBMITTED;
	}
	wb_bio(bio)->c = c;
	wb_bio(bio)->kind = WB_BIO_BYPASS;
	bio->bi_opf |= REQ_FUA;
	waits = wb_flush_wait(c, bio);
	if (waits > 0)
		return DM_MAPIO_SUBMITTED;
	if (!waits)
		return may_be_sent(c, bio) ? DM_MAPIO_REMAPPED : DM_MAPIO_SUBMITTED;
	wb_bio(bio)->kind = WB_BIO_PLAIN;
	bypass_ended(c);
	return DM_MAPIO_KILL;
}

static void send(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);

	if (may_be_sent(wb_bio(bio)->c, bio))
		submit_bio_noacct(bio);
}

/* Called where a write of the log completes, in an interrupt: nothing can be submitted there. */
void wb_bypass_go(struct bio *bio)
{
	struct wb_cache *c = wb_bio(bio)->c;

	if (likely(!bio->bi_status)) {
		wb_go_slow(c, c->slow_wq, bio, send);
		return;
	}
	wb_bio(bio)->kind = WB_BIO_PLAIN;
	bypass_ended(c);
	bio_endio(bio);
}

/*
 * It was lost on its way, or somebody wrote to the log meanwhile: to the same blocks? Then it goes
 * to the log. What arrived of it lies below that.
 */
static void look_after(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);
	struct wb_bio *wb = wb_bio(bio);

	if (likely(!bio->bi_status && !has_copy(wb->c, &wb->it))) {
		bio_endio(bio);
		return;
	}
	bio->bi_status = BLK_STS_OK;
	/* The block layer takes FUA away where it means nothing, and moves the rest. */
	bio->bi_opf |= REQ_FUA;
	bio->bi_iter = wb->it;
	/* The device may have split it, and counted its parts; mode drained sends it there once more. */
	atomic_set(&bio->__bi_remaining, 1);
	wb_flush_defer(wb->c, bio);
}

int wb_bypass_end(struct wb_cache *c, struct bio *bio, bool lost)
{
	struct wb_bio *wb = wb_bio(bio);

	wb->kind = WB_BIO_PLAIN;
	bypass_ended(c);
	lost |= !bio->bi_status && wb->need != atomic_read(&c->backing_flush_failures);
	if (unlikely(lost))
		bio->bi_status = BLK_STS_IOERR;		/* for look_after() */
	if (likely(!lost && wb->slot == (u32)atomic_read(&c->crossings)))
		return DM_ENDIO_DONE;
	wb_go_slow(c, c->slow_wq, bio, look_after);
	return DM_ENDIO_INCOMPLETE;
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
