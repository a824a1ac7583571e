// SPDX-License-Identifier: GPL-2.0
#include "daemons/daemons.h"

/* Messages and events take locks and may sleep; errors are found in interrupts. */
static void event_work(struct work_struct *work)
{
	struct wb_cache *c = container_of(work, struct wb_cache, event_work);

	if (wb_failed(c) && !test_and_set_bit(0, &c->said_failed))
		wb_err(c, "the cache device failed: writes get an error from now on; what is on it stays there. Remove the device, mend or replace the cache device, and create it again");
	else if (READ_ONCE(c->health) == WB_HEALTH_DEGRADED &&
		 !test_and_set_bit(0, &c->said_degraded))
		wb_warn(c, "degraded: see the errors before and the status line");
	wb_send_event(c);
	wb_flush_kick(c);
}

void wb_event(struct wb_cache *c)
{
	/* Not on a queue that reclaim may depend on: events allocate. */
	schedule_work(&c->event_work);
}

static void worsen(struct wb_cache *c, enum wb_health to)
{
	enum wb_health now = READ_ONCE(c->health), was;

	while (now < to) {
		was = cmpxchg(&c->health, now, to);
		if (was == now) {
			wb_event(c);
			return;
		}
		now = was;
	}
}

void wb_degrade(struct wb_cache *c)
{
	worsen(c, WB_HEALTH_DEGRADED);
}

void wb_fail(struct wb_cache *c)
{
	worsen(c, WB_HEALTH_FAILED);
}

void wb_health_init(struct wb_cache *c)
{
	INIT_WORK(&c->event_work, event_work);
}
