// SPDX-License-Identifier: GPL-2.0
/*
 * The commands, one a line, written to /proc/wbdisk; reading it shows every disk.
 *
 *	create NAME size=64M [KEY=VALUE...]
 *	remove NAME
 *	cut [seed=N] [torn=PERCENT] [keep=random|none|all] NAME...
 *	cut-at ops=N [op=any|read|write|flush|discard] [as for cut] NAME...
 *	cut-off NAME...
 *	die NAME...
 *	revive NAME...
 *	fault NAME kind=error|hang|slow [op=any|read|write|flush|discard] [first=SECTOR last=SECTOR]
 *		[percent=P seed=N] [after=N] [count=N] [ms=MS] [lose=1] [ahead=1]
 *	clear NAME...		no faults, and what hangs goes on
 *	release NAME...		what hangs goes on, and the faults stay
 *
 * A bad command changes nothing, gives EINVAL (or what else is wrong), and says why in the kernel's
 * log. A command has done its work when the write returns. A disk named NAME is /dev/wbd_NAME.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "wbdisk.h"

#define WBD_MAX_WORDS 48
#define WBD_TAGS 128
#define WBD_MAX_DISCARD_SECTORS (256u << 11) /* 256 MiB */

static DEFINE_MUTEX(wbd_control);
static LIST_HEAD(wbd_disks);
static int wbd_major;
static DECLARE_BITMAP(wbd_minors, 256);

static const struct block_device_operations wbd_fops = { .owner = THIS_MODULE };

static const char *const wbd_keeps[] = { "random", "none", "all" };
static const char *const wbd_powers[] = { "on", "cut", "gone" };

/* --- Disks ------------------------------------------------------------------------------------ */

static struct wbd_disk *wbd_find(const char *name)
{
	struct wbd_disk *disk;

	list_for_each_entry(disk, &wbd_disks, node)
		if (!strcmp(disk->name, name))
			return disk;
	return NULL;
}

#ifdef BLK_FEAT_WRITE_CACHE
/* 6.11: all limits, features among them, are given when the disk is made. */
static struct gendisk *wbd_alloc_gendisk(struct wbd_disk *disk)
{
	struct queue_limits limits = {
		.logical_block_size = disk->params.sector,
		.max_hw_sectors = 2048,
		.max_hw_discard_sectors = WBD_MAX_DISCARD_SECTORS,
		.discard_granularity = disk->params.sector,
	};

	if (disk->params.volatile_cache) {
		limits.features |= BLK_FEAT_WRITE_CACHE;
		if (disk->params.fua)
			limits.features |= BLK_FEAT_FUA;
	}
	if (disk->params.model == WBD_MODEL_DISK)
		limits.features |= BLK_FEAT_ROTATIONAL;
	return blk_mq_alloc_disk(&disk->tags, &limits, disk);
}
#else
static struct gendisk *wbd_alloc_gendisk(struct wbd_disk *disk)
{
	struct gendisk *gendisk = blk_mq_alloc_disk(&disk->tags, disk);
	struct request_queue *q;

	if (IS_ERR(gendisk))
		return gendisk;
	q = gendisk->queue;
	blk_queue_logical_block_size(q, disk->params.sector);
	blk_queue_max_hw_sectors(q, 2048);
	blk_queue_max_discard_sectors(q, WBD_MAX_DISCARD_SECTORS);
	q->limits.discard_granularity = disk->params.sector;
	if (disk->params.volatile_cache)
		blk_queue_write_cache(q, true, disk->params.fua);
	if (disk->params.model != WBD_MODEL_DISK)
		blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	return gendisk;
}
#endif

static int wbd_add_gendisk(struct wbd_disk *disk)
{
	struct gendisk *gendisk;
	int minor, r;

	minor = find_first_zero_bit(wbd_minors, 256);
	if (minor >= 256)
		return -ENOSPC;
	disk->tags.ops = &wbd_mq_ops;
	disk->tags.nr_hw_queues = 1;
	disk->tags.queue_depth = WBD_TAGS;
	disk->tags.numa_node = NUMA_NO_NODE;
	disk->tags.cmd_size = sizeof(struct wbd_cmd);
	disk->tags.flags = BLK_MQ_F_BLOCKING;
#ifdef HAVE_SHOULD_MERGE
	disk->tags.flags |= BLK_MQ_F_SHOULD_MERGE;
#endif
	/* A disk that seeks gets the scheduler that a real one would. */
	if (disk->params.model != WBD_MODEL_DISK)
		disk->tags.flags |= BLK_MQ_F_NO_SCHED_BY_DEFAULT;
	r = blk_mq_alloc_tag_set(&disk->tags);
	if (r)
		return r;
	gendisk = wbd_alloc_gendisk(disk);
	if (IS_ERR(gendisk)) {
		r = PTR_ERR(gendisk);
		goto no_tags;
	}
	disk->gendisk = gendisk;
	gendisk->major = wbd_major;
	gendisk->first_minor = minor;
	gendisk->minors = 1;
	gendisk->fops = &wbd_fops;
	gendisk->private_data = disk;
	snprintf(gendisk->disk_name, DISK_NAME_LEN, "wbd_%s", disk->name);
	set_capacity(gendisk, disk->params.size >> SECTOR_SHIFT);
	r = add_disk(gendisk);
	if (r)
		goto no_disk;
	set_bit(minor, wbd_minors);
	return 0;

no_disk:
	put_disk(gendisk);
no_tags:
	blk_mq_free_tag_set(&disk->tags);
	return r;
}

static int wbd_create(char **words, int nr)
{
	struct wbd_params params;
	struct wbd_disk *disk;
	int r;

	if (nr < 2 || strlen(words[0]) >= WBD_NAME_LEN || strpbrk(words[0], "/="))
		return -EINVAL;
	if (wbd_find(words[0]))
		return -EEXIST;
	r = wbd_parse_params(&params, words + 1, nr - 1);
	if (r)
		return r;
	disk = kvzalloc(sizeof(*disk), GFP_KERNEL);
	if (!disk)
		return -ENOMEM;
	strscpy(disk->name, words[0], sizeof(disk->name));
	disk->params = params;
	disk->random = params.seed;
	xa_init(&disk->current_pages);
	xa_init(&disk->durable_pages);
	INIT_LIST_HEAD(&disk->unflushed);
	INIT_LIST_HEAD(&disk->in_flight);
	INIT_LIST_HEAD(&disk->hung);
	INIT_LIST_HEAD(&disk->faults);
	disk->mechanics.dirty = RB_ROOT;
	r = wbd_add_gendisk(disk);
	if (r) {
		kvfree(disk);
		return r;
	}
	list_add_tail(&disk->node, &wbd_disks);
	return 0;
}

static int wbd_remove(struct wbd_disk *disk)
{
	/* Nobody can be waiting for its requests then, but for who reads its partition table. */
	if (disk_openers(disk->gendisk))
		return -EBUSY;
	spin_lock_irq(&wbd_lock);
	wbd_forget_plan(disk);
	wbd_faults_clear(disk);
	wbd_release_hung(disk, true);
	spin_unlock_irq(&wbd_lock);
	list_del(&disk->node);
	clear_bit(disk->gendisk->first_minor, wbd_minors);
	del_gendisk(disk->gendisk);
	put_disk(disk->gendisk);
	blk_mq_free_tag_set(&disk->tags);
	wbd_model_reset(disk);
	wbd_contents_free(disk);
	kvfree(disk);
	return 0;
}

static int wbd_revive(struct wbd_disk *disk)
{
	if (disk->power == WBD_ON)
		return -EALREADY;
	if (disk->power == WBD_CUT)
		wbd_contents_revive(disk);
	spin_lock_irq(&wbd_lock);
	disk->power = WBD_ON;
	spin_unlock_irq(&wbd_lock);
	return 0;
}

static int wbd_clear(struct wbd_disk *disk)
{
	spin_lock_irq(&wbd_lock);
	wbd_faults_clear(disk);
	wbd_release_hung(disk, false);
	spin_unlock_irq(&wbd_lock);
	return 0;
}

static int wbd_release(struct wbd_disk *disk)
{
	spin_lock_irq(&wbd_lock);
	wbd_release_hung(disk, false);
	spin_unlock_irq(&wbd_lock);
	return 0;
}

/* --- Commands --------------------------------------------------------------------------------- */

/* What `cut` and `cut-at` were told, disks included. */
static int wbd_parse_plan(struct wbd_cut_plan *plan, char **words, int nr)
{
	u64 torn = 0;
	int i, keep, r;

	memset(plan, 0, sizeof(*plan));
	plan->op = WBD_ANY;
	for (i = 0; i < nr; i++) {
		char *value = strchr(words[i], '=');

		if (!value) {
			if (plan->nr_disks == WBD_MAX_GROUP)
				return -E2BIG;
			plan->disks[plan->nr_disks] = wbd_find(words[i]);
			if (!plan->disks[plan->nr_disks])
				return -ENODEV;
			plan->nr_disks++;
			continue;
		}
		*value++ = '\0';
		r = -EINVAL;
		if (!strcmp(words[i], "seed")) {
			r = wbd_parse_u64(value, &plan->seed);
		} else if (!strcmp(words[i], "ops")) {
			r = wbd_parse_u64(value, &plan->ops_left);
		} else if (!strcmp(words[i], "torn")) {
			r = wbd_parse_u64(value, &torn);
		} else if (!strcmp(words[i], "op")) {
			r = wbd_parse_op(value, &plan->op);
		} else if (!strcmp(words[i], "keep")) {
			keep = match_string(wbd_keeps, ARRAY_SIZE(wbd_keeps), value);
			plan->keep = keep;
			r = keep < 0 ? keep : 0;
		}
		if (r)
			return r;
	}
	plan->torn = torn;
	return plan->nr_disks && torn <= 100 ? 0 : -EINVAL;
}

static int wbd_cut_now(char **words, int nr)
{
	struct wbd_cut_plan plan;
	int i, r = wbd_parse_plan(&plan, words, nr);

	if (r || plan.ops_left || plan.op != WBD_ANY)
		return r ?: -EINVAL;
	spin_lock_irq(&wbd_lock);
	for (i = 0; i < plan.nr_disks; i++)
		wbd_cut(plan.disks[i], plan.seed + i, plan.torn, plan.keep);
	spin_unlock_irq(&wbd_lock);
	return 0;
}

static int wbd_cut_at(char **words, int nr)
{
	struct wbd_cut_plan *plan = kmalloc(sizeof(*plan), GFP_KERNEL);
	int i, r;

	if (!plan)
		return -ENOMEM;
	r = wbd_parse_plan(plan, words, nr);
	if (r || !plan->ops_left) {
		kfree(plan);
		return r ?: -EINVAL;
	}
	spin_lock_irq(&wbd_lock);
	for (i = 0; i < plan->nr_disks; i++)
		wbd_forget_plan(plan->disks[i]);
	for (i = 0; i < plan->nr_disks; i++)
		plan->disks[i]->plan = plan;
	spin_unlock_irq(&wbd_lock);
	return 0;
}

static int wbd_cut_off(struct wbd_disk *disk)
{
	spin_lock_irq(&wbd_lock);
	wbd_forget_plan(disk);
	spin_unlock_irq(&wbd_lock);
	return 0;
}

static int wbd_die_now(struct wbd_disk *disk)
{
	spin_lock_irq(&wbd_lock);
	wbd_die(disk);
	spin_unlock_irq(&wbd_lock);
	return 0;
}

static int wbd_fault(char **words, int nr)
{
	struct wbd_disk *disk;

	if (nr < 2)
		return -EINVAL;
	disk = wbd_find(words[0]);
	return disk ? wbd_fault_add(disk, words + 1, nr - 1) : -ENODEV;
}

static int wbd_each_named(char **words, int nr, int (*step)(struct wbd_disk *disk))
{
	int i, r = nr ? 0 : -EINVAL;

	for (i = 0; !r && i < nr; i++)
		if (!wbd_find(words[i]))
			r = -ENODEV;
	for (i = 0; !r && i < nr; i++) {
		struct wbd_disk *disk = wbd_find(words[i]);

		r = disk ? step(disk) : -ENODEV;
	}
	return r;
}

static int wbd_command(char **words, int nr)
{
	const char *command = words[0];

	words++;
	nr--;
	if (!strcmp(command, "create"))
		return wbd_create(words, nr);
	if (!strcmp(command, "remove"))
		return wbd_each_named(words, nr, wbd_remove);
	if (!strcmp(command, "cut"))
		return wbd_cut_now(words, nr);
	if (!strcmp(command, "cut-at"))
		return wbd_cut_at(words, nr);
	if (!strcmp(command, "cut-off"))
		return wbd_each_named(words, nr, wbd_cut_off);
	if (!strcmp(command, "die"))
		return wbd_each_named(words, nr, wbd_die_now);
	if (!strcmp(command, "revive"))
		return wbd_each_named(words, nr, wbd_revive);
	if (!strcmp(command, "fault"))
		return wbd_fault(words, nr);
	if (!strcmp(command, "clear"))
		return wbd_each_named(words, nr, wbd_clear);
	if (!strcmp(command, "release"))
		return wbd_each_named(words, nr, wbd_release);
	return -EINVAL;
}

static ssize_t wbd_proc_write(struct file *file, const char __user *buffer, size_t count,
			      loff_t *position)
{
	char *words[WBD_MAX_WORDS], *line, *said, *rest, *word;
	int nr = 0, r;

	if (count > PAGE_SIZE)
		return -EINVAL;
	line = memdup_user_nul(buffer, count);
	if (IS_ERR(line))
		return PTR_ERR(line);
	rest = strim(line);
	said = kstrdup(rest, GFP_KERNEL);
	while ((word = strsep(&rest, " \t")) && nr < WBD_MAX_WORDS)
		if (*word)
			words[nr++] = word;
	r = -EINVAL;
	if (nr && !word) {
		mutex_lock(&wbd_control);
		r = wbd_command(words, nr);
		mutex_unlock(&wbd_control);
	}
	if (r)
		pr_err("wbdisk: error %d: %s\n", r, said ?: "?");
	kfree(said);
	kfree(line);
	return r ?: count;
}

static void wbd_show_disk(struct wbd_disk *disk, struct seq_file *m)
{
	const struct wbd_stats *stats = &disk->stats;
	struct wbd_cmd *cmd;
	u32 in_flight = 0, hung = 0;

	wbd_model_catch_up(disk, ktime_get_ns());
	list_for_each_entry(cmd, &disk->in_flight, node)
		in_flight++;
	list_for_each_entry(cmd, &disk->hung, node)
		hung++;
	seq_printf(m, "%s: power=%s", disk->name, wbd_powers[disk->power]);
	wbd_params_show(&disk->params, m);
	seq_printf(m, "\n  in_flight=%u hung=%u unflushed=%llu max_unflushed=%llu cuts=%llu survived=%llu lost=%llu torn=%llu failed=%llu cut_in=%llu\n",
		   in_flight, hung, disk->unflushed_bytes, stats->max_unflushed, stats->cuts,
		   stats->survived, stats->lost, stats->torn, stats->failed,
		   disk->plan ? disk->plan->ops_left : 0);
	seq_printf(m, "  reads=%llu read_sectors=%llu writes=%llu write_sectors=%llu fua=%llu flushes=%llu discards=%llu discard_sectors=%llu\n",
		   stats->requests[WBD_READ], stats->sectors[WBD_READ],
		   stats->requests[WBD_WRITE], stats->sectors[WBD_WRITE], stats->fua,
		   stats->requests[WBD_FLUSH], stats->requests[WBD_DISCARD],
		   stats->sectors[WBD_DISCARD]);
	seq_printf(m, "  busy_us=%llu seeks=%llu seek_us=%llu\n", stats->busy_ns / NSEC_PER_USEC,
		   stats->seeks, stats->seek_ns / NSEC_PER_USEC);
	wbd_faults_show(disk, m);
}

static int wbd_proc_show(struct seq_file *m, void *unused)
{
	struct wbd_disk *disk;

	mutex_lock(&wbd_control);
	list_for_each_entry(disk, &wbd_disks, node) {
		spin_lock_irq(&wbd_lock);
		wbd_show_disk(disk, m);
		spin_unlock_irq(&wbd_lock);
	}
	mutex_unlock(&wbd_control);
	return 0;
}

static int wbd_proc_open(struct inode *inode, struct file *file)
{
	return single_open(file, wbd_proc_show, NULL);
}

static const struct proc_ops wbd_proc_ops = {
	.proc_open = wbd_proc_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = wbd_proc_write,
};

static int __init wbd_init(void)
{
	wbd_major = register_blkdev(0, "wbdisk");
	if (wbd_major < 0)
		return wbd_major;
	if (!proc_create("wbdisk", 0600, NULL, &wbd_proc_ops)) {
		unregister_blkdev(wbd_major, "wbdisk");
		return -ENOMEM;
	}
	return 0;
}

/* An open disk holds the module; the others can go. */
static void __exit wbd_exit(void)
{
	struct wbd_disk *disk, *next;

	remove_proc_entry("wbdisk", NULL);
	list_for_each_entry_safe(disk, next, &wbd_disks, node)
		wbd_remove(disk);
	unregister_blkdev(wbd_major, "wbdisk");
}

module_init(wbd_init);
module_exit(wbd_exit);

MODULE_DESCRIPTION("simulated disks whose power can be cut, for tests");
MODULE_AUTHOR("the dm-writeboost contributors");
MODULE_LICENSE("GPL");
