// SPDX-License-Identifier: GPL-2.0
/*
 * The recorder: keeps the record on the cache device.
 *
 * Only this work item writes the record while the device runs, so copies are never written by two
 * at a time. Each request is served by a pass that begins after it: a snapshot of the order, then
 * copy 0, then copy 1, each with FUA, so at every instant at least one copy is whole. A slot may be
 * reused when both say so (wb_order_recorded); what the snapshot calls migrated had its backing
 * flush before.
 */
#include "daemons.h"

struct record_write {
	struct wb_cache *c;
	struct completion done;
};

/*
 * Where FUA is a write and a flush of the device, what failed may be the flush, and with it went what
 * chunks it covered: nothing of the log that is not durable by now is trusted any more. Said here, for
 * the device may end the next flush, of somebody's commit, right after this.
 */
static void record_endio(struct bio *bio)
{
	struct record_write *w = bio->bi_private;

	if (bio->bi_status)
		wb_flush_log_failed(w->c);
	complete(&w->done);
}

int wb_record_write(struct wb_cache *c, int copy)
{
	struct record_write w = { .c = c };
	struct bio_vec vec;
	struct bio bio;
	int err;

	c->record.seq++;
	wb_record_encode(&c->super.geom, &c->record, c->record_block);
	init_completion(&w.done);
	bio_init(&bio, c->cache, &vec, 1, REQ_OP_WRITE | REQ_SYNC | REQ_FUA);
	bio.bi_iter.bi_sector = WB_RECORD_OFFSET(copy) >> SECTOR_SHIFT;
	bio.bi_end_io = record_endio;
	bio.bi_private = &w;
	__bio_add_page(&bio, virt_to_page(c->record_block), WB_BLOCK_SIZE,
		       offset_in_page(c->record_block));
	submit_bio(&bio);
	wait_for_completion_io(&w.done);
	err = bio.bi_status ? -EIO : 0;
	bio_uninit(&bio);
	if (err)
		wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
	return err;
}

static void record_work(struct work_struct *work)
{
	struct wb_cache *c = container_of(work, struct wb_cache, record_work);
	struct wb_log *log = &c->log;
	u64 wanted, migrated;
	int copy, err = 0;

	spin_lock_irq(&log->lock);
	wanted = c->record_wanted;
	migrated = log->order.migrated;
	c->record.migrated = migrated;
	c->record.durable = log->order.durable;
	c->record.clean = c->stopped && log->order.first == log->order.open &&
			  wb_log_open_is_empty(log);
	/* A durable point further ahead than the log is long cannot be, nor one before its start. */
	if (c->record.durable.id < migrated)
		c->record.durable = (struct wb_pos){ .id = migrated };
	spin_unlock_irq(&log->lock);

	for (copy = 0; !err && copy < WB_NR_COPIES; copy++) {
		err = wb_record_write(c, copy);
		if (err)
			break;
		spin_lock_irq(&log->lock);
		wb_order_recorded(&log->order, copy, migrated);
		spin_unlock_irq(&log->lock);
	}
	if (err) {
		wb_err(c, "cannot write the record to the cache device (%d)", err);
		wb_fail(c);	/* no slot can be reused any more: held writes would wait for ever */
	}
	c->recorded_at = jiffies;
	spin_lock_irq(&log->lock);
	c->record_failed = err;
	c->record_done = wanted;
	spin_unlock_irq(&log->lock);
	wake_up_all(&c->record_wait);
	wb_flush_kick(c);
}

static u64 request(struct wb_cache *c)
{
	unsigned long flags;
	u64 mine;

	spin_lock_irqsave(&c->log.lock, flags);
	mine = ++c->record_wanted;
	spin_unlock_irqrestore(&c->log.lock, flags);
	queue_work(c->wq, &c->record_work);
	return mine;
}

void wb_record_kick(struct wb_cache *c)
{
	request(c);
}

int wb_record_sync(struct wb_cache *c)
{
	u64 mine = request(c);

	wait_event(c->record_wait, READ_ONCE(c->record_done) >= mine);
	return READ_ONCE(c->record_failed) ? -EIO : 0;
}

void wb_recorder_init(struct wb_cache *c)
{
	INIT_WORK(&c->record_work, record_work);
	init_waitqueue_head(&c->record_wait);
}
