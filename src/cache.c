// SPDX-License-Identifier: GPL-2.0
#include <linux/dm-ioctl.h>
#include "daemons/daemons.h"
#include "recovery.h"

#define SLOW_READS 16	/* composed reads that always have memory */
#define DISCARDS 32	/* at work at a time: each looks at all others */

/*
 * The registry: which caches are in whose hands. The lock makes looking a cache up, and entering,
 * taking over or letting go of it one step against each other. It is never held across I/O: a
 * device that hangs holds up its own cache alone.
 *
 * What the lock does not cover, and why it need not:
 *
 *   making                 Its memory is the constructor's work: nobody else knows of the object.
 *   recovering             The object is entered before (users == 0, as long as nobody has it), so
 *                          nobody else recovers the same UUID: another mapped device gets -EBUSY,
 *                          and there is no second one for the same mapped device, whose resumes
 *                          exclude each other (its suspend lock is held across preresume).
 *                          Others read only what was set before it was entered: super, md, name,
 *                          cache, backing.
 *   starting and stopping  Both are done under that suspend lock, by a table that is a user.
 *   freeing                Its last user has taken it out of the list, so nobody finds it. It is
 *                          stopped then: device-mapper suspends a device before it destroys the
 *                          table in force, and only such a table can be a user.
 */
DEFINE_MUTEX(wb_registry_lock);
static LIST_HEAD(registry);

u64 wb_stat_sum(const struct wb_cache *c, enum wb_stat s)
{
	u64 sum = 0;
	int cpu;

	/* The CPUs go on counting meanwhile: the sum is one of about now. */
	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(c->stats, cpu)->n[s]);
	return sum;
}

void wb_count_live(void *ctx, u32 place, int delta)
{
	struct wb_cache *c = ctx;

	atomic_add(delta, &c->slot_live[wb_place_slot(c, place)]);
}

struct wb_cache *wb_cache_find(const u8 uuid[16])
{
	struct wb_cache *c;

	lockdep_assert_held(&wb_registry_lock);
	list_for_each_entry(c, &registry, registry)
		if (!memcmp(c->super.uuid, uuid, sizeof(c->super.uuid)))
			return c;
	return NULL;
}

/* ---------------------------------------------------------------- making and freeing */

static int make_parts(struct wb_cache *c)
{
	const struct wb_geom *g = &c->super.geom;
	u32 i;

	c->stats = alloc_percpu(struct wb_stats);
	c->record_block = kzalloc(WB_BLOCK_SIZE, GFP_KERNEL);
	c->locks = wb_zalloc(WB_INDEX_LOCKS * sizeof(*c->locks));
	c->slot_refs = wb_zalloc(g->nr_slots * sizeof(*c->slot_refs));
	c->slot_live = wb_zalloc(g->nr_slots * sizeof(*c->slot_live));
	c->wq = alloc_workqueue("wb_flush", WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_HIGHPRI, 0);
	c->slow_wq = alloc_workqueue("wb_slow", WQ_MEM_RECLAIM | WQ_UNBOUND, SLOW_READS);
	c->discard_wq = alloc_workqueue("wb_discard", WQ_MEM_RECLAIM | WQ_UNBOUND, DISCARDS);
	if (!c->discard_wq || !c->stats || !c->record_block || !c->locks || !c->slot_refs ||
	    !c->slot_live || !c->wq || !c->slow_wq)
		return -ENOMEM;
	for (i = 0; i < WB_INDEX_LOCKS; i++)
		spin_lock_init(&c->locks[i].lock);
	return mempool_init_page_pool(&c->page_pool, SLOW_READS, get_order(2 * WB_BLOCK_SIZE)) ?:
	       wb_index_init(&c->index, g) ?: wb_log_init(&c->log, g) ?: wb_migrate_init(c);
}

static void free_cache(struct wb_cache *c)
{
	wb_migrate_exit(c);
	if (c->wq)
		destroy_workqueue(c->wq);
	if (c->slow_wq)
		destroy_workqueue(c->slow_wq);
	if (c->discard_wq)
		destroy_workqueue(c->discard_wq);
	wb_log_exit(&c->log);
	wb_index_exit(&c->index);
	mempool_exit(&c->page_pool);
	wb_free(c->slot_live);
	wb_free(c->slot_refs);
	wb_free(c->locks);
	kfree(c->record_block);
	free_percpu(c->stats);
	kfree(c);
}

static void set_devices(struct wb_cache *c, const struct wb_target *t)
{
	c->cache = t->cache_dev->bdev;
	c->backing = t->backing_dev->bdev;
	c->bounce_reads = bdev_logical_block_size(c->cache) > bdev_logical_block_size(c->backing);
}

static void set_name(struct wb_cache *c)
{
	if (dm_copy_name_and_uuid(c->md, c->name, NULL))
		strscpy(c->name, dm_device_name(c->md), sizeof(c->name));
}

int wb_cache_make(struct wb_target *t)
{
	struct wb_cache *c = kzalloc(sizeof(*c), GFP_KERNEL);
	int err;

	if (!c)
		return -ENOMEM;
	c->md = dm_table_get_md(t->ti->table);
	set_name(c);
	c->super = t->super;
	c->log.geom = &c->super.geom;
	mutex_init(&c->told_lock);
	wb_knobs_default(c->knob);
	wb_health_init(c);
	wb_flush_init(c);
	wb_recorder_init(c);
	wb_sync_init(c);
	wb_modulator_init(c);
	err = make_parts(c);
	if (err) {
		wb_err(c, "not enough memory: the index of this cache takes %llu MiB",
		       wb_index_bytes(&c->super.geom) >> 20);
		free_cache(c);
		return err;
	}
	t->made = c;
	return 0;
}

void wb_cache_unmake(struct wb_target *t)
{
	if (t->made)
		free_cache(t->made);
	t->made = NULL;
}

/* What was made becomes a cache that others can find, but not use. Needs the registry's lock. */
static struct wb_cache *enter_cache(struct wb_target *t)
{
	struct wb_cache *c = t->made;

	t->made = NULL;
	c->super = t->super;
	set_name(c);
	set_devices(c, t);
	list_add(&c->registry, &registry);
	return c;
}

static bool same_geometry(const struct wb_geom *a, const struct wb_geom *b)
{
	return a->seed == b->seed && a->nr_slots == b->nr_slots &&
	       a->slot_blocks == b->slot_blocks && a->cache_sectors == b->cache_sectors &&
	       a->backing_sectors == b->backing_sectors;
}

/* The one that is there, if it may be taken over. Needs the registry's lock. */
static int take_over(struct wb_target *t, struct wb_cache *c)
{
	if (c->md != dm_table_get_md(t->ti->table)) {
		DMERR("%pg: this cache is in use by %s; a cache belongs to one device at a time",
		      t->cache_dev->bdev, c->name);
		return -EBUSY;
	}
	if (c->cache != t->cache_dev->bdev || c->backing != t->backing_dev->bdev) {
		wb_err(c, "a live cache cannot change its devices; drain and remove it, or bring the old devices back");
		return -EBUSY;
	}
	if (!same_geometry(&c->super.geom, &t->super.geom)) {
		wb_err(c, "the superblock changed while the cache is in use; it must not be formatted again before the device is removed");
		return -EBUSY;
	}
	set_devices(c, t);
	/* A rename took effect without us. */
	dm_copy_name_and_uuid(c->md, c->name, NULL);
	c->users++;
	return 0;
}

int wb_cache_get(struct wb_target *t)
{
	struct wb_cache *c;
	int err = 0;

	/* Formatted anew since the constructor looked? */
	if (t->made && (memcmp(t->made->super.uuid, t->super.uuid, sizeof(t->super.uuid)) ||
			!same_geometry(&t->made->super.geom, &t->super.geom)))
		wb_cache_unmake(t);
again:
	mutex_lock(&wb_registry_lock);
	c = wb_cache_find(t->super.uuid);
	if (c) {
		err = take_over(t, c);
		mutex_unlock(&wb_registry_lock);
		wb_cache_unmake(t);
		if (!err)
			smp_store_release(&t->cache, c);
		return err;
	}
	if (!t->made) {
		mutex_unlock(&wb_registry_lock);
		err = wb_cache_make(t);
		if (err)
			return err;
		goto again;
	}
	c = enter_cache(t);
	mutex_unlock(&wb_registry_lock);

	err = wb_recover(c);

	mutex_lock(&wb_registry_lock);
	if (err)
		list_del(&c->registry);
	else
		c->users = 1;
	mutex_unlock(&wb_registry_lock);
	if (err)
		free_cache(c);
	else
		smp_store_release(&t->cache, c);	/* a status may be asked for meanwhile */
	return err;
}

void wb_cache_put(struct wb_cache *c, struct dm_target *ti)
{
	bool last;

	mutex_lock(&wb_registry_lock);
	if (c->ti == ti)
		c->ti = NULL;
	last = !--c->users;
	if (last)
		list_del(&c->registry);
	mutex_unlock(&wb_registry_lock);
	if (!last)
		return;
	if (WARN_ON_ONCE(c->running))
		wb_cache_stop(c);
	free_cache(c);
}

/* ---------------------------------------------------------------- starting and stopping */

int wb_cache_start(struct wb_cache *c)
{
	if (c->running)
		return 0;
	c->stopped = false;
	/* From now on the log may end anywhere; before the first chunk both copies have to say so. */
	if (c->record.clean) {
		c->record.clean = false;
		if (wb_record_write(c, 0) || wb_record_write(c, 1))
			wb_fail(c);	/* so no chunk is written; what can be read still is */
	}
	WRITE_ONCE(c->requeue, false);
	c->recorded_at = jiffies;
	WRITE_ONCE(c->running, true);
	wb_flush_kick(c);
	wb_sync_start(c);
	wb_modulator_start(c);
	wb_migrate_start(c);
	mutex_lock(&c->told_lock);
	c->listens = true;
	mutex_unlock(&c->told_lock);
	return 0;
}

void wb_cache_stop(struct wb_cache *c)
{
	u64 used, dirty;

	if (!c->running)
		return;
	/* Messages and sysfs start nothing from here on, and what they had started is under way. */
	mutex_lock(&c->told_lock);
	c->listens = false;
	mutex_unlock(&c->told_lock);
	wb_migrate_stop(c);
	cancel_delayed_work_sync(&c->modulator_work);
	cancel_delayed_work_sync(&c->sync_work);
	if (READ_ONCE(c->mode) != WB_MODE_DRAINED && wb_flush_all(c, false))
		wb_err(c, "stopped without making everything durable: the cache device does not take writes; what was acknowledged and not flushed is lost");
	c->stopped = true;
	/* So the next start knows the durable point; a failed cache device keeps what it has. */
	if (!wb_failed(c))
		wb_record_sync(c);
	WRITE_ONCE(c->running, false);
	flush_work(&c->record_work);
	wb_flush_stop(c);
	if (cancel_work_sync(&c->event_work))
		wb_send_event(c);
	flush_workqueue(c->slow_wq);
	wb_status_counts(c, &used, &dirty);
	wb_info(c, "stopped with %llu dirty blocks on the cache device", dirty);
}
