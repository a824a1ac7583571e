// SPDX-License-Identifier: GPL-2.0
/*
 * The load modulator: lets migration run when the backing device has time for it.
 *
 * Once a period it looks at how busy the device was (the block layer's io_ticks of the whole disk)
 * and how many requests it served, and takes away the share that was our own: what is left is the
 * load that others put on it. Migration runs while that is below migrate_threshold percent.
 *
 * While there is plenty of room, migration also keeps away from users who are busy with the device
 * themselves: it would compete with them for the cache device and the CPUs, and what they overwrite
 * meanwhile need not be migrated at all. This is looked at more often, between the windows of a
 * batch, so that a burst meets no batch that has long to go.
 *
 * As the log fills up the threshold rises, from its own value at LOW_FREE percent of free slots to
 * 100 at NO_FREE, where migration runs whatever the load: so writers meet a slope and not a cliff.
 */
#include <linux/part_stat.h>
#include "daemons.h"

#define PERIOD		(HZ / 2)
#define GLANCE		(HZ / 20)	/* how often to look at the users' own I/O */
#define BUSY_RATE	2048		/* blocks a second: 8 MiB/s */
#define LOW_FREE	50	/* percent of the slots */
#define NO_FREE		20

static void measure(struct wb_cache *c)
{
	struct block_device *bdev = bdev_whole(c->backing);
	u64 ticks = part_stat_read(bdev, io_ticks);
	u64 ios = part_stat_read(bdev, ios[STAT_READ]) + part_stat_read(bdev, ios[STAT_WRITE]) +
		  part_stat_read(bdev, ios[STAT_DISCARD]);
	u64 own = wb_stat_sum(c, WB_STAT_MIGRATE_REQUESTS);
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
	c->load_ticks = ticks;
	c->load_ios = ios;
	c->load_own = own;
	c->load_at = jiffies;
}

static void modulator_work(struct work_struct *work)
{
	struct wb_cache *c = container_of(to_delayed_work(work), struct wb_cache, modulator_work);

	measure(c);
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

bool wb_modulator_allows(struct wb_cache *c)
{
	unsigned int threshold = READ_ONCE(c->knob[WB_KNOB_THRESHOLD]), percent;
	u64 nr = c->super.geom.nr_slots, free;
	bool full;

	/* While writes are held nothing has a better claim. */
	if (READ_ONCE(c->draining) || READ_ONCE(c->mode) == WB_MODE_HOLD)
		return true;
	spin_lock_irq(&c->log.lock);
	full = wb_order_full(&c->log.order);
	free = wb_order_reusable(&c->log.order) + nr - c->log.order.current_id;
	spin_unlock_irq(&c->log.lock);
	if (full)
		return true;
	percent = div64_u64(free * 100, nr);
	if (!READ_ONCE(c->knob[WB_KNOB_ALLOW_MIGRATE]))
		return percent < NO_FREE;
	if (percent < NO_FREE || !READ_ONCE(c->knob[WB_KNOB_MODULATOR]))
		return true;
	if (percent >= LOW_FREE && users_are_busy(c))
		return false;
	if (percent < LOW_FREE)
		threshold += (100 - threshold) * (LOW_FREE - percent) / (LOW_FREE - NO_FREE);
	return threshold >= 100 || READ_ONCE(c->backing_load) < threshold;
}

void wb_modulator_init(struct wb_cache *c)
{
	INIT_DELAYED_WORK(&c->modulator_work, modulator_work);
}

void wb_modulator_start(struct wb_cache *c)
{
	/* What the load is nobody knows yet: look first. */
	measure(c);
	WRITE_ONCE(c->backing_load, 100);
	mod_delayed_work(c->wq, &c->modulator_work, PERIOD);
}
