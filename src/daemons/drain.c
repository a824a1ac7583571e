// SPDX-License-Identifier: GPL-2.0
/*
 * Draining: the way to mode drained and back. The migrate daemon takes these steps, between
 * batches; an end to a drain that is under way also within one.
 *
 *   WRITEBACK ─▶ close the open segment, migrate all ─▶ HOLD ─▶ close and migrate the rest,
 *                (writers go on)                                record the log as empty
 *                                                                         │
 *   WRITEBACK ◀─ flush the  ◀─ wait for writes ◀─ HOLD ◀─ forget the ◀─ DRAINED
 *                backing       past the log,              clean copies
 *                device        and discards
 *
 * In HOLD the gate of the log is shut and writes wait on the deferred list; reads go on. While the
 * log is empty all users go past it (c->past_log): a write, a FLUSH and, as the clean copies that
 * are left are no longer told of those writes, a read. That ends only when the copies are forgotten
 * and all that went past the log is durable on the backing device. To forget a whole log takes a
 * while, so it is done where nobody waits for it. The log that is left behind is recorded as empty
 * before the first write goes past it: so the device may be swapped for `linear`, written to, and
 * swapped back, and no old block comes up.
 */
#include "migrator.h"

void wb_drain(struct wb_cache *c, bool drain)
{
	if (drain) {
		WRITE_ONCE(c->undrain, false);
		smp_mb();	/* with that of wb_undrain_step(), which looks the other way round */
		if (READ_ONCE(c->mode) == WB_MODE_DRAINED) {
			wb_event(c);
			return;
		}
		WRITE_ONCE(c->draining, true);
	} else {
		WRITE_ONCE(c->draining, false);
		WRITE_ONCE(c->undrain, true);
	}
	wb_migrate_retry(c);
}

static void set_gate(struct wb_cache *c, bool shut)
{
	spin_lock_irq(&c->log.lock);
	c->log.gate = shut;
	if (shut)
		wb_log_seal(&c->log, true);
	else
		wb_log_open(&c->log);
	spin_unlock_irq(&c->log.lock);
}

/* Back to the log. Held writes go on. */
static void open_log(struct wb_cache *c)
{
	WRITE_ONCE(c->past_log, false);
	set_gate(c, false);
	WRITE_ONCE(c->mode, WB_MODE_WRITEBACK);
	wb_flush_kick(c);
}

/* Is the log shut, and everything in it migrated? */
static bool all_migrated(struct wb_cache *c)
{
	struct wb_order *o = &c->log.order;
	bool all;

	spin_lock_irq(&c->log.lock);
	all = o->migrated == o->durable_segment && o->first == o->open &&
	      wb_log_is_shut(&c->log);
	spin_unlock_irq(&c->log.lock);
	return all;
}

/*
 * Reads are going to look into the index again, where nobody told of the writes past the log: what
 * it has is forgotten first, in any order, for no read looks. Return: false if it is to stop, or
 * need not be done any more.
 */
static bool forget_copies(struct wb_cache *c)
{
	u64 slot = c->super.geom.nr_slots;

	while (slot && !READ_ONCE(c->migrator->stop) && READ_ONCE(c->undrain)) {
		wb_purge_slot(c, --slot);
		cond_resched();
	}
	return !slot;
}

/* Back to mode drained, which an undrain had not left yet: all is still on the backing device. */
static void stay_drained(struct wb_cache *c)
{
	WRITE_ONCE(c->mode, WB_MODE_DRAINED);
	WRITE_ONCE(c->draining, false);
	wb_event(c);
	wb_flush_kick(c);
}

int wb_drain_step(struct wb_cache *c)
{
	int err;

	if (READ_ONCE(c->past_log)) {
		stay_drained(c);
		return 0;
	}
	if (READ_ONCE(c->mode) == WB_MODE_WRITEBACK) {
		err = wb_flush_all(c, true);
		if (err)
			return err;
		WRITE_ONCE(c->mode, WB_MODE_HOLD);
		set_gate(c, true);
		return wb_flush_all(c, true);
	}
	if (!all_migrated(c))
		return wb_flush_all(c, true);

	err = wb_record_sync(c);
	if (err)
		return err;
	if (!READ_ONCE(c->draining))
		return 0;	/* taken back meanwhile: undrain opens the log */
	WRITE_ONCE(c->past_log, true);
	smp_store_release(&c->mode, WB_MODE_DRAINED);
	WRITE_ONCE(c->draining, false);
	wb_info(c, "drained: all data is on the backing device, writes go through to it until undrain");
	wb_event(c);
	wb_flush_kick(c);
	return 0;
}

/* Writers need not suffer for a drain that does not get on. */
void wb_drain_failed(struct wb_cache *c)
{
	if (READ_ONCE(c->mode) == WB_MODE_HOLD && !READ_ONCE(c->past_log))
		open_log(c);
}

/* Return: true, for an undrain that has come to its end, whatever that is. */
static bool undrain_ends(struct wb_cache *c)
{
	WRITE_ONCE(c->undrain, false);
	wb_event(c);
	return true;
}

/*
 * Whoever wrote past the log has yet to issue his FLUSH, and another flush might succeed although
 * what this one covered is gone. So no FLUSH succeeds from now on, unless all was flushed before.
 */
static void undrain_failed(struct wb_cache *c)
{
	if (READ_ONCE(c->through_lost))
		wb_err(c, "cannot flush the backing device; staying in mode drained. What was written in this mode since the last FLUSH may be lost: FLUSH fails until the device is created again");
	else
		wb_err(c, "cannot flush the backing device; staying in mode drained");
	wb_degrade(c);
}

bool wb_undrain_step(struct wb_cache *c)
{
	enum wb_mode mode = READ_ONCE(c->mode);

	if (!READ_ONCE(c->undrain)) {
		/* A drain has taken it back. */
		if (READ_ONCE(c->past_log) && (mode == WB_MODE_HOLD || READ_ONCE(c->draining)))
			stay_drained(c);
		return true;
	}
	/* Perhaps a drain had come to HOLD and no further: nothing went past the log. */
	if (!READ_ONCE(c->past_log)) {
		if (mode == WB_MODE_HOLD)
			open_log(c);
		return undrain_ends(c);
	}
	/* The log takes no writes any more. */
	if (wb_failed(c)) {
		wb_err(c, "the cache device has failed, and the log takes no writes; staying in mode drained. Remove the device, replace the cache device, and create it again");
		stay_drained(c);
		return undrain_ends(c);
	}
	/* With some of them left the log must not be opened, whatever is wanted by now. */
	if (mode == WB_MODE_DRAINED && !forget_copies(c)) {
		if (READ_ONCE(c->undrain))
			return false;
		stay_drained(c);
		return true;
	}
	WRITE_ONCE(c->mode, WB_MODE_HOLD);
	/*
	 * The mode before the count, and before what is wanted by now: wb_enter_through(), discards and
	 * wb_drain() do it the other way round.
	 */
	smp_mb();
	if (!READ_ONCE(c->undrain)) {
		stay_drained(c);
		return true;
	}
	if (atomic_read(&c->through))
		return false;	/* the last one kicks */
	/* From here on FLUSH goes to the log: what was written before it must be durable. */
	if (wb_flush_backing(c)) {
		undrain_failed(c);
		stay_drained(c);
		return undrain_ends(c);
	}
	wb_through_flushed(c, atomic64_read(&c->through_done));
	open_log(c);
	wb_info(c, "writes go through the log again");
	return undrain_ends(c);
}
