// SPDX-License-Identifier: GPL-2.0
/*
 * The status line, field by field as doc/writeboost.rst says.
 */
#include "cache.h"

static const char * const health_names[] = {
	[WB_HEALTH_OK] = "ok",
	[WB_HEALTH_DEGRADED] = "degraded",
	[WB_HEALTH_FAILED] = "failed",
	[WB_HEALTH_NEEDS_CHECK] = "needs_check",
};

/*
 * Copies that count, of all segments and of those not migrated; none while users go past the log. A
 * snapshot while writes go on.
 */
void wb_status_counts(struct wb_cache *c, u64 *used, u64 *dirty)
{
	const struct wb_geom *g = &c->super.geom;
	u64 id, first, last, slot;

	*used = 0;
	*dirty = 0;
	if (READ_ONCE(c->past_log))
		return;
	for (slot = 0; slot < g->nr_slots; slot++)
		*used += atomic_read(&c->slot_live[slot]);
	spin_lock_irq(&c->log.lock);
	first = c->log.order.migrated + 1;
	last = c->log.order.prepared;
	spin_unlock_irq(&c->log.lock);
	for (id = first; id <= last; id++)
		*dirty += atomic_read(&c->slot_live[wb_slot_of(g, id)]);
	*used = max(*used, *dirty);
}

/* Statuses of a table without a cache object: it was never resumed, or could not be. */
static unsigned int emit_state(struct wb_target *t, char *result, unsigned int maxlen)
{
	const struct wb_geom *g = &t->super.geom;
	struct wb_cache *c = t->cache;
	u64 used = 0, dirty = 0, current_id = 0, durable = 0, migrated = 0;
	enum wb_health health = t->health;
	bool drained = false;
	unsigned int sz = 0;

	if (c) {
		wb_status_counts(c, &used, &dirty);
		spin_lock_irq(&c->log.lock);
		current_id = c->log.order.current_id;
		durable = c->log.order.durable.id;
		migrated = c->log.order.migrated;
		spin_unlock_irq(&c->log.lock);
		health = READ_ONCE(c->health);
		/* Until an undrain has really come to its end; and not when a drain has still to end it. */
		drained = READ_ONCE(c->past_log) && !READ_ONCE(c->draining);
	}
	DMEMIT("1 %s %s %llu %llu %llu %llu %llu %llu %llu", health_names[health],
	       drained ? "drained" : "writeback",
	       g->nr_slots * (g->slot_blocks - 1), used, dirty, used - dirty, current_id,
	       max(durable, migrated), migrated);
	return sz;
}

unsigned int wb_status_info(struct wb_target *t, char *result, unsigned int maxlen)
{
	/* Their order in the line; the mean fill stands where the blocks of chunks are counted. */
	static const enum wb_stat order[] = {
		WB_STAT_READ_RAM, WB_STAT_READ_CACHE, WB_STAT_READ_PARTIAL, WB_STAT_READ_MISS,
		WB_STAT_WRITE_RAM, WB_STAT_WRITE_CACHE, WB_STAT_WRITE_PARTIAL, WB_STAT_WRITE_MISS,
		WB_STAT_ABSORBED, WB_STAT_FLUSHES, WB_STAT_FUAS, WB_STAT_CHUNKS,
		WB_STAT_CHUNK_BLOCKS, WB_STAT_MIGRATED, WB_STAT_MIGRATE_REQUESTS,
		WB_STAT_DISCARDS, WB_STAT_BYPASSES, WB_STAT_CACHE_ERRORS, WB_STAT_BACKING_ERRORS,
	};
	unsigned int sz = emit_state(t, result, maxlen), i;
	u64 n, chunks = 0;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		n = t->cache ? wb_stat_sum(t->cache, order[i]) : 0;
		if (order[i] == WB_STAT_CHUNKS)
			chunks = n;
		if (order[i] == WB_STAT_CHUNK_BLOCKS)
			n = chunks ? div64_u64(n * 100, chunks) : 0;
		DMEMIT(" %llu", n);
	}
	DMEMIT(" %u", 2 * WB_NR_KNOBS);
	for (i = 0; i < WB_NR_KNOBS; i++)
		DMEMIT(" %s %u", wb_knob_name(i), t->cache ? t->cache->knob[i] : t->knob[i]);
	return sz;
}
