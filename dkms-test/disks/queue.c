// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a request: issued, served when its timer says so, or failed by a power cut.
 *
 * A request under way is in its disk's list in_flight, with its timer armed, or in the list hung,
 * with its timer idle. Both lists and the arming are under wbd_lock: so a cut reaches every request
 * that has not completed, exactly once, and the timer's handler alone ends a request that was ever
 * under way.
 */
#include <linux/slab.h>

#include "wbdisk.h"

DEFINE_SPINLOCK(wbd_lock);

static void wbd_fail_in_flight(struct wbd_disk *disk, bool in_doubt)
{
	struct wbd_cmd *cmd;

	wbd_release_hung(disk, false);
	list_for_each_entry(cmd, &disk->in_flight, node) {
		struct wbd_write *write = cmd->write;

		cmd->failed = true;
		cmd->write = NULL;
		if (!write)
			continue;
		if (in_doubt) {
			wbd_write_sample(disk, write, blk_mq_rq_from_pdu(cmd));
			wbd_write_in_doubt(disk, write);
		} else {
			wbd_write_free(write);
		}
	}
}

/**
 * wbd_cut() - cut a disk's power, now
 * @disk: the disk; nothing happens if its power is cut already
 * @seed: chooses what survives
 * @torn: percent of the surviving sectors that are torn
 * @keep: what survives
 *
 * Several disks are cut at one instant by doing it without releasing the lock in between.
 *
 * Context: wbd_lock held.
 */
void wbd_cut(struct wbd_disk *disk, u64 seed, u32 torn, enum wbd_keep keep)
{
	wbd_forget_plan(disk);
	if (disk->power == WBD_CUT)
		return;
	wbd_fail_in_flight(disk, true);
	disk->power = WBD_CUT;
	disk->cut_seed = seed;
	disk->cut_torn = torn;
	disk->cut_keep = keep;
	disk->stats.cuts++;
	wbd_model_reset(disk);
}

/**
 * wbd_die() - the disk answers no more, but keeps what it holds; writes under way are not done
 * @disk: the disk
 *
 * Context: wbd_lock held.
 */
void wbd_die(struct wbd_disk *disk)
{
	if (disk->power != WBD_ON)
		return;
	wbd_fail_in_flight(disk, false);
	disk->power = WBD_GONE;
}

/**
 * wbd_forget_plan() - a planned cut is off, for all of its disks
 * @disk: one of them
 *
 * Context: wbd_lock held.
 */
void wbd_forget_plan(struct wbd_disk *disk)
{
	struct wbd_cut_plan *plan = disk->plan;
	int i;

	for (i = 0; plan && i < plan->nr_disks; i++)
		plan->disks[i]->plan = NULL;
	kfree(plan);
}

static void wbd_count_for_plan(struct wbd_disk *disk, enum wbd_op op)
{
	struct wbd_cut_plan *plan = disk->plan;
	struct wbd_cut_plan now;
	int i;

	if (!plan || (plan->op != WBD_ANY && plan->op != op) || --plan->ops_left)
		return;
	now = *plan;
	for (i = 0; i < now.nr_disks; i++)
		wbd_cut(now.disks[i], now.seed + i, now.torn, now.keep);
}

/**
 * wbd_release_hung() - let hung requests go on
 * @disk: the disk
 * @fail: answer them with an error; else they are served
 *
 * Context: wbd_lock held.
 */
void wbd_release_hung(struct wbd_disk *disk, bool fail)
{
	struct wbd_cmd *cmd, *next;

	list_for_each_entry_safe(cmd, next, &disk->hung, node) {
		if (fail)
			cmd->status = BLK_STS_IOERR;
		list_move_tail(&cmd->node, &disk->in_flight);
		hrtimer_start(&cmd->timer, 0, HRTIMER_MODE_REL);
	}
}

static enum wbd_op wbd_op_of(struct request *rq)
{
	switch (req_op(rq)) {
	case REQ_OP_READ:
		return WBD_READ;
	case REQ_OP_WRITE:
		return WBD_WRITE;
	case REQ_OP_FLUSH:
		return WBD_FLUSH;
	case REQ_OP_DISCARD:
		return WBD_DISCARD;
	default:
		return WBD_NR_OPS;
	}
}

/* Serve a request whose time has come. wbd_lock held. */
static blk_status_t wbd_serve(struct wbd_disk *disk, struct wbd_cmd *cmd, struct request *rq)
{
	if (cmd->failed)
		return BLK_STS_IOERR;
	if (cmd->status) {
		if (cmd->lose)
			wbd_flush_complete(disk, cmd->covers, true);
		return cmd->status;
	}
	switch (wbd_op_of(rq)) {
	case WBD_READ:
		if (!cmd->sampled)
			wbd_contents_read(disk, rq);
		break;
	case WBD_FLUSH:
		wbd_flush_complete(disk, cmd->covers, false);
		break;
	default:
		wbd_write_sample(disk, cmd->write, rq);
		wbd_write_complete(disk, cmd->write);
		cmd->write = NULL;
	}
	return BLK_STS_OK;
}

static enum hrtimer_restart wbd_timer(struct hrtimer *timer)
{
	struct wbd_cmd *cmd = container_of(timer, struct wbd_cmd, timer);
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct wbd_disk *disk = rq->q->queuedata;
	struct wbd_write *unused;
	blk_status_t status;
	unsigned long flags;

	spin_lock_irqsave(&wbd_lock, flags);
	list_del_init(&cmd->node);
	status = wbd_serve(disk, cmd, rq);
	unused = cmd->write;
	cmd->write = NULL;
	if (status)
		disk->stats.failed++;
	spin_unlock_irqrestore(&wbd_lock, flags);

	wbd_write_free(unused);
	blk_mq_end_request(rq, status);
	return HRTIMER_NORESTART;
}

/* A request gets its place in the order of things. Return: false if the disk has no power. */
static bool wbd_issue(struct wbd_disk *disk, struct wbd_cmd *cmd, struct request *rq)
{
	enum wbd_op op = wbd_op_of(rq);
	u64 sector = op == WBD_FLUSH ? 0 : blk_rq_pos(rq);
	u32 sectors = op == WBD_FLUSH ? 0 : blk_rq_sectors(rq);
	u64 now = ktime_get_ns(), finish;
	struct wbd_verdict verdict;

	if (disk->power != WBD_ON) {
		disk->stats.failed++;
		return false;
	}
	disk->stats.requests[op]++;
	disk->stats.sectors[op] += sectors;
	if (cmd->write && cmd->write->fua)
		disk->stats.fua++;

	cmd->covers = disk->completed;
	if (op == WBD_READ && wbd_chance(&disk->random, 50)) {
		wbd_contents_read(disk, rq);
		cmd->sampled = true;
	}
	finish = wbd_model_finish(disk, op, sector, sectors, now);
	verdict = wbd_faults_judge(disk, op, sector, sectors, rq->cmd_flags & REQ_RAHEAD);
	finish += verdict.slow_ns;
	if (verdict.error) {
		cmd->status = BLK_STS_IOERR;
		cmd->lose = verdict.lose && op == WBD_FLUSH;
	}
	if (verdict.hang) {
		list_add_tail(&cmd->node, &disk->hung);
	} else {
		list_add_tail(&cmd->node, &disk->in_flight);
		hrtimer_start(&cmd->timer, ns_to_ktime(finish - now), HRTIMER_MODE_REL);
	}
	wbd_count_for_plan(disk, op);
	return true;
}

static blk_status_t wbd_queue_rq(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *bd)
{
	struct request *rq = bd->rq;
	struct wbd_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct wbd_disk *disk = rq->q->queuedata;
	enum wbd_op op = wbd_op_of(rq);
	unsigned long flags;
	bool early;

	if (op == WBD_NR_OPS)
		return BLK_STS_NOTSUPP;
	cmd->status = BLK_STS_OK;
	cmd->failed = false;
	cmd->sampled = false;
	cmd->lose = false;
	cmd->write = NULL;
	if (op == WBD_WRITE || op == WBD_DISCARD) {
		cmd->write = wbd_write_alloc(disk, rq);
		if (!cmd->write)
			return BLK_STS_RESOURCE;
	}
	blk_mq_start_request(rq);

	spin_lock_irqsave(&wbd_lock, flags);
	early = wbd_chance(&disk->random, 50);
	spin_unlock_irqrestore(&wbd_lock, flags);
	if (op == WBD_WRITE && early)
		wbd_write_sample(disk, cmd->write, rq);

	spin_lock_irqsave(&wbd_lock, flags);
	if (wbd_issue(disk, cmd, rq)) {
		spin_unlock_irqrestore(&wbd_lock, flags);
		return BLK_STS_OK;
	}
	spin_unlock_irqrestore(&wbd_lock, flags);
	wbd_write_free(cmd->write);
	blk_mq_end_request(rq, BLK_STS_IOERR);
	return BLK_STS_OK;
}

#ifdef HAVE_SIGNED_NODE
#define WBD_NODE int
#else
#define WBD_NODE unsigned int
#endif

static int wbd_init_request(struct blk_mq_tag_set *set, struct request *rq, unsigned int hctx_idx,
			    WBD_NODE node)
{
	struct wbd_cmd *cmd = blk_mq_rq_to_pdu(rq);

#ifdef HAVE_HRTIMER_SETUP
	hrtimer_setup(&cmd->timer, wbd_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&cmd->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	cmd->timer.function = wbd_timer;
#endif
	INIT_LIST_HEAD(&cmd->node);
	return 0;
}

/* A request may take for ever: that is what hung ones are for. */
static enum blk_eh_timer_return wbd_timeout(struct request *rq)
{
	return BLK_EH_RESET_TIMER;
}

const struct blk_mq_ops wbd_mq_ops = {
	.queue_rq = wbd_queue_rq,
	.init_request = wbd_init_request,
	.timeout = wbd_timeout,
};
