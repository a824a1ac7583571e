// SPDX-License-Identifier: GPL-2.0
/*
 * The device-mapper target: table lines, messages, and what device-mapper asks of a target.
 *
 * The constructor makes all refusals that cost little and changes nothing, for a table may be
 * loaded beside the live one and thrown away. Recovery and the taking over of a live cache are
 * preresume's.
 */
#include <linux/module.h>
#include <linux/sched/mm.h>
#include "daemons/daemons.h"
#include "recovery.h"

/* ---------------------------------------------------------------- constructing */

static int parse_options(struct wb_target *t, struct dm_arg_set *as)
{
	static const struct dm_arg args[] = {
		{ 0, 2 * WB_NR_KNOBS, "invalid number of option words" },
	};
	const char *key, *value;
	unsigned int nr, v;
	enum wb_knob k;
	int err;

	wb_knobs_default(t->knob);
	if (!as->argc)
		return 0;
	err = dm_read_arg_group(args, as, &nr, &t->ti->error);
	if (err) {
		DMERR("%pg: the number of option words must be from 0 to %u and not more than follow",
		      t->cache_dev->bdev, 2 * WB_NR_KNOBS);
		return err;
	}
	if (nr % 2 || nr != as->argc) {
		t->ti->error = "options are pairs of key and value, and their number counts words";
		DMERR("%pg: %s: %u announced, %u given", t->cache_dev->bdev, t->ti->error, nr,
		      as->argc);
		return -EINVAL;
	}
	while (as->argc) {
		key = dm_shift_arg(as);
		value = dm_shift_arg(as);
		if (wb_knob_parse("table", key, value, &k, &v)) {
			t->ti->error = "bad option, see the kernel log";
			return -EINVAL;
		}
		t->knob[k] = v;
	}
	return 0;
}

/* The devices of a table line: can they be used at all? */
static int check_devices(struct wb_target *t)
{
	struct block_device *cache = t->cache_dev->bdev, *backing = t->backing_dev->bdev;

	if (cache == backing)
		t->ti->error = "cache and backing device are the same";
	else if (bdev_read_only(cache) || bdev_read_only(backing))
		t->ti->error = "a read-only device cannot be used: make it writable first";
	else if (bdev_is_zoned(cache) || bdev_is_zoned(backing))
		t->ti->error = "zoned devices cannot be used";
	else if (bdev_logical_block_size(cache) > WB_BLOCK_SIZE ||
		 bdev_logical_block_size(backing) > WB_BLOCK_SIZE)
		t->ti->error = "devices with logical blocks of more than 4 KiB cannot be used";
	else
		return 0;
	DMERR("%pg, %pg: %s", backing, cache, t->ti->error);
	return -EINVAL;
}

static int check_super(struct wb_target *t)
{
	struct block_device *cache = t->cache_dev->bdev, *backing = t->backing_dev->bdev;
	const struct wb_geom *g = &t->super.geom;
	enum wb_verdict v;
	int err;

	err = wb_read_super(cache, &t->super, &v);
	if (err)
		return err;
	if (v == WB_NOT_OURS || v == WB_OLD_WRITEBOOST || v == WB_FOREIGN) {
		t->ti->error = "cache device is not formatted for dm-writeboost";
		DMERR("%pg: %s (%s). Format it with: writeboost-ctl format <cache> --backing <backing>",
		      cache, t->ti->error, wb_verdict_text(v));
		return -EINVAL;
	}
	if (v != WB_OK) {
		t->ti->error = "superblock of the cache device cannot be used";
		DMERR("%pg: %s: %s. See writeboost-ctl check", cache, t->ti->error, wb_verdict_text(v));
		return v == WB_READ_ERROR ? -EIO : -EINVAL;
	}
	if (t->super.ro_compat & ~WB_RO_COMPAT_KNOWN) {
		t->ti->error = "cache needs a feature that this module does not know";
		DMERR("%pg: %s (%llx). Use the version that formatted it, or a newer one", cache,
		      t->ti->error, t->super.ro_compat & ~WB_RO_COMPAT_KNOWN);
		return -EINVAL;
	}
	if (bdev_nr_sectors(cache) < g->cache_sectors) {
		t->ti->error = "cache device is smaller than when it was formatted";
		DMERR("%pg: %s: %llu sectors, not %llu. Bring back its old size", cache, t->ti->error,
		      bdev_nr_sectors(cache), g->cache_sectors);
		return -EINVAL;
	}
	if (bdev_nr_sectors(backing) < g->backing_sectors || t->ti->len < g->backing_sectors) {
		t->ti->error = "backing device or table is smaller than what the cache was formatted for";
		DMERR("%pg: %s: device %llu, table %llu, cache %pg says %llu sectors. Is this the right pair?",
		      backing, t->ti->error, bdev_nr_sectors(backing), (u64)t->ti->len, cache,
		      g->backing_sectors);
		return -EINVAL;
	}
	if (t->ti->len > g->backing_sectors) {
		t->ti->error = "table is longer than the backing device the cache was formatted for";
		DMERR("%pg: %s: %llu sectors, not %llu", backing, t->ti->error, (u64)t->ti->len,
		      g->backing_sectors);
		return -EINVAL;
	}
	return 0;
}

/* Would preresume find the cache in other hands? @fresh: in nobody's; it needs memory then. */
static int check_owner(struct wb_target *t, bool *fresh)
{
	struct wb_cache *c;
	int err = 0;

	mutex_lock(&wb_registry_lock);
	c = wb_cache_find(t->super.uuid);
	*fresh = !c;
	if (c && c->md != dm_table_get_md(t->ti->table)) {
		t->ti->error = "this cache is in use by another device";
		DMERR("%pg: %s: %s", t->cache_dev->bdev, t->ti->error, c->name);
		err = -EBUSY;
	} else if (c && (c->cache != t->cache_dev->bdev || c->backing != t->backing_dev->bdev)) {
		t->ti->error = "a live cache cannot change its devices";
		DMERR("%pg: %s; drain and remove %s first", t->cache_dev->bdev, t->ti->error, c->name);
		err = -EBUSY;
	}
	mutex_unlock(&wb_registry_lock);
	return err;
}

/* Is it in the hands of the table whose place this one takes? */
static bool is_live(struct wb_target *t)
{
	struct wb_cache *c;
	bool live;

	mutex_lock(&wb_registry_lock);
	c = wb_cache_find(t->super.uuid);
	live = c && c->md == dm_table_get_md(t->ti->table);
	mutex_unlock(&wb_registry_lock);
	return live;
}

/*
 * The devices may have changed since the constructor looked. But a live cache is taken over even if
 * they cannot be read just now: device-mapper destroys the table before whatever comes of this, and
 * with it would go that the cache device failed and writes were lost. The next resume would recover
 * what is left, and FLUSH would succeed again.
 */
static int check_again(struct wb_target *t)
{
	const struct wb_super was = t->super;
	bool live = is_live(t);
	int err;

	err = check_devices(t) ?: check_super(t);
	if (live && (err == -EIO || err == -ENOMEM)) {
		t->super = was;
		err = 0;
	}
	return err;
}

static void wb_dtr(struct dm_target *ti)
{
	struct wb_target *t = ti->private;

	if (t->cache)
		wb_cache_put(t->cache, ti);
	wb_cache_unmake(t);
	if (t->cache_dev)
		dm_put_device(ti, t->cache_dev);
	if (t->backing_dev)
		dm_put_device(ti, t->backing_dev);
	kfree(t);
}

static int open_device(struct wb_target *t, const char *path, const char *what, struct dm_dev **dev)
{
	int err = dm_get_device(t->ti, path, dm_table_get_mode(t->ti->table), dev);

	if (!err)
		return 0;
	t->ti->error = (char *)what;
	DMERR("%s: %s (%d): is the path right, and the device not mounted or in use?", path, what, err);
	return err;
}

static int wb_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	struct wb_target *t;
	bool fresh;
	int err;

	if (argc < 2) {
		ti->error = "expected: <backing dev> <cache dev> [<#opts> <key> <value> ...]";
		return -EINVAL;
	}
	if (ti->begin) {
		ti->error = "the target must be the only one of its table";
		return -EINVAL;
	}
	if (!(dm_table_get_mode(ti->table) & BLK_OPEN_WRITE)) {
		ti->error = "a read-only table cannot be used: recovery has to write";
		return -EROFS;
	}
	t = kzalloc(sizeof(*t), GFP_KERNEL);
	if (!t) {
		ti->error = "not enough memory";
		return -ENOMEM;
	}
	t->ti = ti;
	ti->private = t;

	err = open_device(t, dm_shift_arg(&as), "cannot open the backing device", &t->backing_dev) ?:
	      open_device(t, dm_shift_arg(&as), "cannot open the cache device", &t->cache_dev);
	if (err)
		goto bad;
	err = check_devices(t) ?: parse_options(t, &as) ?: check_super(t) ?: check_owner(t, &fresh);
	if (err)
		goto bad;
	if (fresh)
		err = wb_cache_make(t);
	if (err) {
		ti->error = "not enough memory for the cache";
		goto bad;
	}

	ti->per_io_data_size = sizeof(struct wb_bio);
	ti->num_flush_bios = 1;
	ti->flush_supported = true;	/* the RAM buffer is volatile whatever the devices are */
	ti->num_discard_bios = 1;
	/* Else device-mapper would want the cache device to take discards as well; it gets none. */
	ti->discards_supported = bdev_max_discard_sectors(t->backing_dev->bdev);
	ti->num_write_zeroes_bios = 0;
	ti->limit_swap_bios = true;
	return 0;
bad:
	wb_dtr(ti);
	return err;
}

/* ---------------------------------------------------------------- mapping */

static int wb_map(struct dm_target *ti, struct bio *bio)
{
	struct wb_cache *c = ((struct wb_target *)ti->private)->cache;

	wb_bio(bio)->kind = WB_BIO_PLAIN;
	if (bio->bi_opf & REQ_PREFLUSH)
		return wb_map_flush(c, bio);	/* device-mapper sends it alone */
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		return wb_map_read(c, bio);
	case REQ_OP_WRITE:
		return wb_map_write(c, bio);
	case REQ_OP_DISCARD:
		return wb_map_discard(c, bio);
	default:
		return DM_MAPIO_KILL;	/* nothing else is offered */
	}
}

static int wb_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *status)
{
	/* Writes and flushes of the log end here: it is worth a look before the call. */
	if (likely(wb_bio(bio)->kind == WB_BIO_PLAIN))
		return DM_ENDIO_DONE;
	return wb_end_bio(((struct wb_target *)ti->private)->cache, bio, status);
}

/* ---------------------------------------------------------------- life */

static int wb_preresume(struct dm_target *ti)
{
	struct wb_target *t = ti->private;
	bool fresh = !t->cache;
	unsigned int noio;
	int err = 0, k;

	/*
	 * To reclaim memory here by writing to this device, which is still suspended, would be to wait
	 * for oneself.
	 */
	noio = memalloc_noio_save();
	if (fresh)
		err = check_again(t);
	if (fresh && !err) {
		err = wb_cache_get(t);
		t->health = err == -EUCLEAN ? WB_HEALTH_NEEDS_CHECK : WB_HEALTH_OK;
	}
	memalloc_noio_restore(noio);
	if (err)
		return err;
	/* Against the destructor of the table before, which takes its own out. */
	mutex_lock(&wb_registry_lock);
	WRITE_ONCE(t->cache->ti, ti);
	mutex_unlock(&wb_registry_lock);
	for (k = 0; fresh && k < WB_NR_KNOBS; k++)
		wb_knob_set(t->cache, k, t->knob[k]);
	return wb_cache_start(t->cache);
}

static void wb_resume(struct dm_target *ti)
{
	struct wb_target *t = ti->private;
	unsigned int noio = memalloc_noio_save();	/* still suspended, see preresume */

	if (!t->has_sysfs)
		t->has_sysfs = !wb_sysfs_add(t->cache);
	memalloc_noio_restore(noio);
	if (!t->has_sysfs)
		wb_warn(t->cache, "cannot make the folder in sysfs; messages work");
}

/*
 * The file system above still does I/O after this, so it only hurries things on: what is in RAM
 * starts on its way, so that postsuspend finds little. Held writes would keep the suspend waiting;
 * with noflush they may go back to device-mapper.
 */
static void wb_presuspend(struct dm_target *ti)
{
	struct wb_target *t = ti->private;

	if (dm_noflush_suspending(ti))
		WRITE_ONCE(t->cache->requeue, true);
	wb_flush_kick(t->cache);
	wb_sync_now(t->cache);
}

/*
 * device-mapper takes bios back only as long as it calls itself so. A noflush suspend that is interrupted
 * has ended for it some time before presuspend_undo, and what were given back then would fail.
 */
bool wb_requeues(struct wb_cache *c)
{
	struct dm_target *ti;

	if (likely(!READ_ONCE(c->requeue)))
		return false;
	/* Who asks has bios of it, or runs for it: the table stays until they have ended. */
	ti = READ_ONCE(c->ti);
	return ti && dm_noflush_suspending(ti);
}

static void wb_presuspend_undo(struct dm_target *ti)
{
	struct wb_target *t = ti->private;

	WRITE_ONCE(t->cache->requeue, false);
	wb_flush_kick(t->cache);
}

static void wb_postsuspend(struct dm_target *ti)
{
	struct wb_target *t = ti->private;

	if (t->has_sysfs)
		wb_sysfs_remove(t->cache);
	t->has_sysfs = false;
	wb_cache_stop(t->cache);
}

void wb_send_event(struct wb_cache *c)
{
	struct dm_target *ti = READ_ONCE(c->ti);

	if (ti)
		dm_table_event(ti->table);
}

/* ---------------------------------------------------------------- asking and telling */

static int simple_message(struct wb_cache *c, const char *what)
{
	int cpu, err = 0;

	if (!strcmp(what, "clear_stat")) {
		for_each_possible_cpu(cpu)
			memset(per_cpu_ptr(c->stats, cpu), 0, sizeof(struct wb_stats));
		return 0;
	}
	if (strcmp(what, "flush") && strcmp(what, "drain") && strcmp(what, "undrain")) {
		wb_err(c, "unknown message '%s'; there are: clear_stat, flush, drain, undrain, and the options with a value",
		       what);
		return -EINVAL;
	}
	mutex_lock(&c->told_lock);
	if (!c->listens) {
		wb_err(c, "is suspended: resume it before the message '%s'", what);
		err = -EBUSY;
	} else if (!strcmp(what, "flush")) {
		err = READ_ONCE(c->past_log) ? wb_flush_past_log(c) : wb_flush_all(c, false);
		err = err ?: wb_record_sync(c);
	} else {
		wb_drain(c, !strcmp(what, "drain"));
	}
	mutex_unlock(&c->told_lock);
	return err;
}

static int wb_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
		      unsigned int maxlen)
{
	struct wb_cache *c = ((struct wb_target *)ti->private)->cache;
	enum wb_knob k;
	unsigned int v;
	int err;

	if (!c) {
		DMERR("%s: the device could not be resumed and takes no messages; see the lines before",
		      dm_device_name(dm_table_get_md(ti->table)));
		return -ENXIO;
	}
	if (argc == 1)
		return simple_message(c, argv[0]);
	if (argc != 2) {
		wb_err(c, "a message is one word, or a key and a value; not %u words", argc);
		return -EINVAL;
	}
	err = wb_knob_parse(c->name, argv[0], argv[1], &k, &v);
	if (!err)
		wb_knob_set(c, k, v);
	return err;
}

static void wb_status(struct dm_target *ti, status_type_t type, unsigned int flags, char *result,
		      unsigned int maxlen)
{
	struct wb_target *t = ti->private;
	unsigned int sz = 0, k;

	switch (type) {
	case STATUSTYPE_INFO:
		wb_status_info(t, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%s %s %u", t->backing_dev->name, t->cache_dev->name, 2 * WB_NR_KNOBS);
		for (k = 0; k < WB_NR_KNOBS; k++)
			DMEMIT(" %s %u", wb_knob_name(k), t->cache ? t->cache->knob[k] : t->knob[k]);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",backing_device_name=%s,cache_device_name=%s,uuid=%pUb;",
		       t->backing_dev->name, t->cache_dev->name, t->super.uuid);
		break;
	}
}

static int wb_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct wb_target *t = ti->private;
	const struct wb_geom *g = &t->super.geom;
	sector_t used = wb_slot_offset(g, g->nr_slots, 0) >> SECTOR_SHIFT;

	return fn(ti, t->cache_dev, 0, used, data) ?:
	       fn(ti, t->backing_dev, 0, ti->len, data);
}

static void wb_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct wb_target *t = ti->private;

	/* A file system made on the device must work on the backing device alone. */
	limits->logical_block_size = bdev_logical_block_size(t->backing_dev->bdev);
	limits->physical_block_size = max_t(unsigned int, WB_BLOCK_SIZE, limits->logical_block_size);
	limits->io_min = limits->physical_block_size;
	limits->io_opt = t->super.geom.slot_blocks << WB_BLOCK_SHIFT;
	/* A partial discard would only be passed down; and dropping copies takes time. */
	limits->discard_granularity = max_t(unsigned int, WB_BLOCK_SIZE, limits->discard_granularity);
	limits->max_hw_discard_sectors = min(limits->max_hw_discard_sectors, WB_MAX_DISCARD_SECTORS);
	limits->max_discard_sectors = min(limits->max_discard_sectors, WB_MAX_DISCARD_SECTORS);
}

static struct target_type writeboost = {
	.name = "writeboost",
	.version = { 3, 0, 0 },
	.features = DM_TARGET_SINGLETON,
	.module = THIS_MODULE,
	.ctr = wb_ctr,
	.dtr = wb_dtr,
	.map = wb_map,
	.end_io = wb_end_io,
	.presuspend = wb_presuspend,
	.presuspend_undo = wb_presuspend_undo,
	.postsuspend = wb_postsuspend,
	.preresume = wb_preresume,
	.resume = wb_resume,
	.status = wb_status,
	.message = wb_message,
	.iterate_devices = wb_iterate_devices,
	.io_hints = wb_io_hints,
};

static int __init wb_init(void)
{
	return dm_register_target(&writeboost);
}

static void __exit wb_exit(void)
{
	dm_unregister_target(&writeboost);
}

module_init(wb_init);
module_exit(wb_exit);

MODULE_DESCRIPTION("device-mapper log-structured write cache");
MODULE_AUTHOR("The dm-writeboost developers");
MODULE_LICENSE("GPL");
MODULE_SOFTDEP("pre: crc32c");
