// SPDX-License-Identifier: GPL-2.0
/*
 * The knobs: one table for the table line, messages, sysfs and the status line.
 */
#include <linux/kobject.h>
#include <linux/sysfs.h>
#include "daemons/daemons.h"

struct knob {
	const char *name;
	unsigned int min, max, def;
};

static const struct knob knobs[WB_NR_KNOBS] = {
	[WB_KNOB_ALLOW_MIGRATE]		= { "allow_migrate", 0, 1, 1 },
	[WB_KNOB_MODULATOR]		= { "enable_migration_modulator", 0, 1, 1 },
	[WB_KNOB_THRESHOLD]		= { "migrate_threshold", 0, 100, 70 },
	[WB_KNOB_BATCH]			= { "nr_max_batched_migration", 1, 256, 256 },
	[WB_KNOB_BARRIER_DEADLINE]	= { "barrier_deadline_ms", 0, 1000, 0 },
	[WB_KNOB_RECORD_INTERVAL]	= { "update_record_interval", 0, 3600, 60 },
	[WB_KNOB_SYNC_INTERVAL]		= { "sync_interval", 0, 3600, 1 },
	[WB_KNOB_BYPASS_RUN]		= { "bypass_run_kib", 0, 65536, 256 },
};

const char *wb_knob_name(enum wb_knob k)
{
	return knobs[k].name;
}

void wb_knobs_default(unsigned int *knob)
{
	int k;

	for (k = 0; k < WB_NR_KNOBS; k++)
		knob[k] = knobs[k].def;
}

int wb_knob_parse(const char *who, const char *key, const char *value, enum wb_knob *k,
		  unsigned int *v)
{
	int i;

	for (i = 0; i < WB_NR_KNOBS; i++) {
		if (strcmp(key, knobs[i].name))
			continue;
		*k = i;
		if (!kstrtouint(value, 10, v) && *v >= knobs[i].min && *v <= knobs[i].max)
			return 0;
		DMERR("%s: %s must be a number from %u to %u, not '%s'", who, key, knobs[i].min,
		      knobs[i].max, value);
		return -EINVAL;
	}
	DMERR("%s: unknown option '%s'; there are: allow_migrate (0-1), enable_migration_modulator (0-1), migrate_threshold (0-100), nr_max_batched_migration (1-256), barrier_deadline_ms (0-1000), update_record_interval (0-3600), sync_interval (0-3600), bypass_run_kib (0-65536)",
	      who, key);
	return -EINVAL;
}

static void knob_takes_effect(struct wb_cache *c, enum wb_knob k)
{
	switch (k) {
	case WB_KNOB_SYNC_INTERVAL:
	case WB_KNOB_RECORD_INTERVAL:
		wb_sync_start(c);
		break;
	case WB_KNOB_BARRIER_DEADLINE:
		wb_flush_kick(c);
		break;
	default:
		wb_migrate_kick(c);
	}
}

void wb_knob_set(struct wb_cache *c, enum wb_knob k, unsigned int v)
{
	mutex_lock(&c->told_lock);
	WRITE_ONCE(c->knob[k], v);
	if (c->listens)
		knob_takes_effect(c, k);
	mutex_unlock(&c->told_lock);
}

/* ---------------------------------------------------------------- /sys/block/dm-N/writeboost/ */

struct knob_attribute {
	struct attribute attr;
	enum wb_knob k;
};

static struct wb_cache *cache_of(struct kobject *kobj)
{
	return container_of(kobj, struct wb_cache, kobj);
}

static ssize_t knob_show(struct kobject *kobj, struct attribute *attr, char *buf)
{
	enum wb_knob k = container_of(attr, struct knob_attribute, attr)->k;

	return sysfs_emit(buf, "%u\n", READ_ONCE(cache_of(kobj)->knob[k]));
}

static ssize_t knob_store(struct kobject *kobj, struct attribute *attr, const char *buf, size_t len)
{
	struct wb_cache *c = cache_of(kobj);
	char *value = kstrndup(buf, len, GFP_NOIO);	/* a suspend may be waiting for us */
	enum wb_knob k;
	unsigned int v;
	int err;

	if (!value)
		return -ENOMEM;
	err = wb_knob_parse(c->name, attr->name, strim(value), &k, &v);
	if (!err)
		wb_knob_set(c, k, v);
	kfree(value);
	return err ?: len;
}

static const struct sysfs_ops knob_ops = {
	.show = knob_show,
	.store = knob_store,
};

#define KNOB(_name, _k) \
	static struct knob_attribute attr_##_name = { \
		.attr = { .name = #_name, .mode = 0644 }, .k = _k, \
	}

KNOB(allow_migrate, WB_KNOB_ALLOW_MIGRATE);
KNOB(enable_migration_modulator, WB_KNOB_MODULATOR);
KNOB(migrate_threshold, WB_KNOB_THRESHOLD);
KNOB(nr_max_batched_migration, WB_KNOB_BATCH);
KNOB(barrier_deadline_ms, WB_KNOB_BARRIER_DEADLINE);
KNOB(update_record_interval, WB_KNOB_RECORD_INTERVAL);
KNOB(sync_interval, WB_KNOB_SYNC_INTERVAL);
KNOB(bypass_run_kib, WB_KNOB_BYPASS_RUN);

static struct attribute *knob_attrs[] = {
	&attr_allow_migrate.attr,
	&attr_enable_migration_modulator.attr,
	&attr_migrate_threshold.attr,
	&attr_nr_max_batched_migration.attr,
	&attr_barrier_deadline_ms.attr,
	&attr_update_record_interval.attr,
	&attr_sync_interval.attr,
	&attr_bypass_run_kib.attr,
	NULL
};
ATTRIBUTE_GROUPS(knob);

static void knob_release(struct kobject *kobj)
{
	complete(&cache_of(kobj)->kobj_gone);
}

static const struct kobj_type knob_type = {
	.release = knob_release,
	.sysfs_ops = &knob_ops,
	.default_groups = knob_groups,
};

/* Sleeps. Return: 0 or an error; the device works without the folder. */
int wb_sysfs_add(struct wb_cache *c)
{
	int err;

	memset(&c->kobj, 0, sizeof(c->kobj));
	init_completion(&c->kobj_gone);
	err = kobject_init_and_add(&c->kobj, (struct kobj_type *)&knob_type,
				   &disk_to_dev(dm_disk(c->md))->kobj, "writeboost");
	if (err)
		wb_sysfs_remove(c);
	return err;
}

/* Sleeps until whoever is in a file has left it. */
void wb_sysfs_remove(struct wb_cache *c)
{
	kobject_put(&c->kobj);
	wait_for_completion(&c->kobj_gone);
}
