// SPDX-License-Identifier: GPL-2.0
/*
 * The modulator: says how fast to migrate, and while room is short how fast users may write. It
 * measures; the arithmetic is in segment/pace.h.
 *
 * Once a period it looks at how busy the backing device was (the block layer's io_ticks of the
 * whole disk) and how many requests it served, and takes away the share that was our own: what is
 * left is the load that others put on it. Migration may keep the more requests in flight there the
 * further that is below migrate_threshold, and the fewer the longer users' reads of the device
 * took.
 *
 * While there is plenty of room, migration also keeps away from users who are busy with the device
 * themselves: it would compete with them for the cache device and the CPUs, and what they overwrite
 * meanwhile need not be migrated at all. This is looked at more often, between the windows of a
 * batch, so that a burst meets no batch that has long to go.
 *
 * As the log fills up these bounds are lifted gradually, from WB_FREE_LOW percent of free slots to
 * WB_FREE_NONE, where migration runs as fast as it can. In the last part of the log, the reserve,
 * users who write are *paced*: each block that reaches the backing device is credited to them, at
 * wb_pace_gain() for one, and what they write is charged. So they wait for a request of the disk
 * each, and meet a slope and not a cliff. They are paced only while migration gets on: it stops
 * that (wb_pace_stop()) whenever it has nothing to do, gives way or has failed; and so does the
 * periodic work when nothing has reached the backing device in a whole period, so that a device
 * that hangs does not keep users from the room there is.
 *
 * Who writes past the log (bypass.c) is let alone: migration stands still as long as nobody waits
 * for room. Users stay paced meanwhile, so the first of them who comes waits, and sets it going
 * again.
 *
 * Whether and how they are paced is under log.lock, so that a look that began before migration
 * stopped it does not bring it back. Credits need no lock: they are one number that is added to
 * and taken from, and a write too many now is one less later.
 */
#include <linux/part_stat.h>
#include "daemons.h"
#include "../segment/pace.h"

#define PERIOD		(HZ / 2)
#define GLANCE		(HZ / 20)	/* how often to look at the users' own I/O */
#define BUSY_RATE	2048		/* blocks a second: 8 MiB/s */
#define MAX_CREDIT	(32 * WB_GAIN_ONE)	/* saved up by users who do not write */

static void measure(struct wb_cache *c)
{
	struct block_device *bdev = bdev_whole(c->backing);
	u64 ticks = part_stat_read(bdev, io_ticks);
	u64 ios = part_stat_read(bdev, ios[STAT_READ]) + part_stat_read(bdev, ios[STAT_WRITE]) +
		  part_stat_read(bdev, ios[STAT_DISCARD]);
	u64 own = wb_stat_sum(c, WB_STAT_MIGRATE_REQUESTS);
	u64 reads = part_stat_read(bdev, ios[STAT_READ]), d_reads = reads - c->load_reads;
	u64 read_ns = part_stat_read(bdev, nsecs[STAT_READ]);
	u64 d_ticks = ticks - c->load_ticks, d_ios = ios - c->load_ios;
	u64 d_own = own > c->load_own ? own - c->load_own : 0;	/* clear_stat makes it less */
	unsigned long elapsed = jiffies - c->load_at;
	u64 busy = elapsed ? div64_u64(d_ticks * 100, elapsed) : 0;

	busy = min_t(u64, busy, 100);
	if (d_ios > d_own)
		busy = div64_u64(busy * (d_ios - d_own), d_ios);
	else
		busy = 0;
	WRITE_ONCE(c->backing_load, busy);
	/* Migration does not read there, so these are the users'. */
	WRITE_ONCE(c->bearable_depth,
		   wb_pace_bearable(c->bearable_depth, d_reads,
				    d_reads ? div64_u64(read_ns - c->load_read_ns,
							d_reads * NSEC_PER_USEC) : 0));
	c->load_reads = reads;
	c->load_read_ns = read_ns;
	c->load_ticks = ticks;
	c->load_ios = ios;
	c->load_own = own;
	c->load_at = jiffies;
}

void wb_pace_written(struct wb_cache *c, u32 blocks)
{
	u32 gain = READ_ONCE(c->pace_gain);

	if (!gain)
		return;
	WRITE_ONCE(c->pace_paid, true);
	if (atomic64_read(&c->pace_credit) < MAX_CREDIT)
		atomic64_add((u64)gain * blocks, &c->pace_credit);
	if (READ_ONCE(c->nr_deferred))
		wb_flush_kick(c);
}

void wb_pace_look(struct wb_cache *c)
{
	u64 slots, free, reserve;
	u32 blocks = c->super.geom.slot_blocks - 1, gain = 0;
	struct wb_order *o = &c->log.order;

	reserve = wb_pace_reserve(c->super.geom.nr_slots, blocks);
	spin_lock_irq(&c->log.lock);
	/* What is migrated is room in a moment, when it is recorded. No steps: parts of segments, too. */
	slots = o->migrated + o->nr_slots - o->current_id;
	free = slots * blocks + wb_log_open_room(&c->log);
	if (c->pacing && slots < reserve)
		gain = wb_pace_gain(free, reserve * blocks);
	if (!c->pace_gain)
		atomic64_set(&c->pace_credit, 0);
	WRITE_ONCE(c->pace_gain, gain);
	WRITE_ONCE(c->tight, slots < reserve);
	spin_unlock_irq(&c->log.lock);
}

/*
 * Who was held for pacing goes on, now that there is none. Only then: held for want of room they kick
 * the migrate daemon, and if that kicked back they would do so for as long as it takes.
 */
static void end_pacing(struct wb_cache *c, bool was_paced)
{
	if (was_paced && !READ_ONCE(c->pace_gain) && READ_ONCE(c->nr_deferred))
		wb_flush_kick(c);
}

void wb_pace_start(struct wb_cache *c)
{
	bool was_paced;

	spin_lock_irq(&c->log.lock);
	c->pacing = true;
	was_paced = c->pace_gain;
	spin_unlock_irq(&c->log.lock);
	wb_pace_look(c);
	end_pacing(c, was_paced);
}

void wb_pace_stop(struct wb_cache *c)
{
	bool was_paced;

	spin_lock_irq(&c->log.lock);
	c->pacing = false;
	was_paced = c->pace_gain;
	WRITE_ONCE(c->pace_gain, 0);
	spin_unlock_irq(&c->log.lock);
	end_pacing(c, was_paced);
}

static void modulator_work(struct work_struct *work)
{
	struct wb_cache *c = container_of(to_delayed_work(work), struct wb_cache, modulator_work);

	measure(c);
	if (READ_ONCE(c->pace_gain) && !READ_ONCE(c->pace_paid) && !wb_is_bypassing(c))
		wb_pace_stop(c);
	WRITE_ONCE(c->pace_paid, false);
	wb_migrate_kick(c);
	queue_delayed_work(c->wq, &c->modulator_work, PERIOD);
}

/* Are users moving much? Only the migrate daemon calls it. */
static bool users_are_busy(struct wb_cache *c)
{
	unsigned long elapsed = jiffies - c->glance_at;
	u64 blocks = 0;
	int s;

	if (elapsed < GLANCE)
		return c->glance_busy;
	for (s = WB_STAT_READ_RAM; s <= WB_STAT_WRITE_MISS; s++)
		blocks += wb_stat_sum(c, s);
	c->glance_busy = blocks > c->glance_blocks &&
			 (blocks - c->glance_blocks) * HZ > (u64)elapsed * BUSY_RATE;
	c->glance_blocks = blocks;
	c->glance_at = jiffies;
	return c->glance_busy;
}

unsigned int wb_modulator_depth(struct wb_cache *c)
{
	struct wb_pace p = {
		.nr_slots = c->super.geom.nr_slots,
		.load = READ_ONCE(c->backing_load),
		.threshold = READ_ONCE(c->knob[WB_KNOB_THRESHOLD]),
		.bearable = READ_ONCE(c->bearable_depth),
		.users_busy = users_are_busy(c),
		.bypassing = wb_is_bypassing(c),
		.allowed = READ_ONCE(c->knob[WB_KNOB_ALLOW_MIGRATE]),
		.modulated = READ_ONCE(c->knob[WB_KNOB_MODULATOR]),
		/* While writes are held nothing has a better claim. */
		.forced = READ_ONCE(c->draining) || READ_ONCE(c->mode) == WB_MODE_HOLD,
	};

	spin_lock_irq(&c->log.lock);
	p.forced |= wb_order_full(&c->log.order);
	p.free = wb_order_reusable(&c->log.order) + p.nr_slots - c->log.order.current_id;
	spin_unlock_irq(&c->log.lock);
	return wb_pace_depth(&p);
}

void wb_modulator_init(struct wb_cache *c)
{
	INIT_DELAYED_WORK(&c->modulator_work, modulator_work);
}

void wb_modulator_start(struct wb_cache *c)
{
	/* What the load is nobody knows yet: look first. */
	c->bearable_depth = WB_DEPTH_MAX;
	measure(c);
	c->bearable_depth = WB_DEPTH_MAX;
	WRITE_ONCE(c->backing_load, 100);
	mod_delayed_work(c->wq, &c->modulator_work, PERIOD);
}
