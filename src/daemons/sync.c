// SPDX-License-Identifier: GPL-2.0
/*
 * The sync daemon: bounds how long acknowledged data stays volatile when nobody flushes, and keeps
 * the record from getting old. On an idle device the record gets the durable point, so that from
 * then on rot in the last chunks cannot be taken for a torn tail.
 */
#include "daemons.h"

/* With sync_interval 0 the daemon still looks after the record. */
static unsigned long period(const struct wb_cache *c)
{
	unsigned int sync = READ_ONCE(c->knob[WB_KNOB_SYNC_INTERVAL]);

	return (sync ?: 1) * HZ;
}

static void sync_work(struct work_struct *work)
{
	struct wb_cache *c = container_of(to_delayed_work(work), struct wb_cache, sync_work);
	unsigned int interval = READ_ONCE(c->knob[WB_KNOB_RECORD_INTERVAL]);
	bool sync = READ_ONCE(c->knob[WB_KNOB_SYNC_INTERVAL]);
	struct wb_order *o = &c->log.order;
	bool stale, idle;
	u64 seen;

	spin_lock_irq(&c->log.lock);
	seen = o->open + !wb_log_open_is_empty(&c->log);
	idle = seen == c->sync_seen && o->first == seen;
	c->sync_seen = seen;
	if (sync)
		c->need = max(c->need, seen);
	stale = wb_pos_cmp(o->durable, c->record.durable) > 0 || o->migrated > c->record.migrated;
	spin_unlock_irq(&c->log.lock);

	wb_flush_push(c);
	if (stale && !wb_failed(c) &&
	    (idle || (interval && time_after_eq(jiffies, c->recorded_at + interval * HZ))))
		wb_record_kick(c);
	queue_delayed_work(c->wq, &c->sync_work, period(c));
}

void wb_sync_init(struct wb_cache *c)
{
	INIT_DELAYED_WORK(&c->sync_work, sync_work);
}

void wb_sync_now(struct wb_cache *c)
{
	if (READ_ONCE(c->running))
		mod_delayed_work(c->wq, &c->sync_work, 0);
}

void wb_sync_start(struct wb_cache *c)
{
	mod_delayed_work(c->wq, &c->sync_work, period(c));
}
