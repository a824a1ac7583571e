/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What happens over time. The daemons only execute what the order (segment/order.h) allows; none of
 * them decides what is true of data.
 *
 *   flush      seals chunks, writes them, flushes the cache device, prepares slots, resumes held bios
 *   sync       makes acknowledged data durable though nobody flushes
 *   migrate    writes dirty blocks to the backing device
 *   modulator  says how fast migration may run, and paces who writes into the last room
 *   recorder   writes the record
 */
#ifndef WB_DAEMONS_H
#define WB_DAEMONS_H

#include "../cache.h"
#include "../segment/ranges.h"

/* flush.c */

/**
 * wb_flush_push() - do whatever can be done now: seal what is full or awaited, write, flush
 *
 * Process context; does not wait for I/O. Called from map() and from the flush daemon alike.
 */
void wb_flush_push(struct wb_cache *c);

/* Ask the flush daemon to look again. Any context. */
void wb_flush_kick(struct wb_cache *c);

/*
 * Acknowledge a FUA write, all of which is published, when its last chunk @seq is durable. Process
 * context.
 */
void wb_flush_fua(struct wb_cache *c, struct bio *bio, u64 seq);

/*
 * Let @bio wait until all that was acknowledged before now is durable; then wb_bypass_go() has it,
 * or it ends, if it is none of those. Return: 1 if it waits, or is through with that already, 0 if
 * there is nothing to wait for, -EIO if there never will be: in both the caller keeps it. Process
 * context.
 */
int wb_flush_wait(struct wb_cache *c, struct bio *bio);

/* Is there no prospect that the log takes another write? */
bool wb_log_hopeless(struct wb_cache *c);

/* Hold a write until it can proceed. Process context. */
void wb_flush_defer(struct wb_cache *c, struct bio *bio);

/*
 * Make all that is in the log now durable (close: and close its last segment), and wait for it.
 * Return: 0 or -EIO. Sleeps.
 */
int wb_flush_all(struct wb_cache *c, bool close);

/* Take all copies in a slot out of the index. All of them must be clean. Process context. */
void wb_purge_slot(struct wb_cache *c, u32 slot);

void wb_flush_init(struct wb_cache *c);
/*
 * A request that may have taken chunks with it failed: nothing that is not durable by now becomes so,
 * and who waits for that gets an error. Any context.
 */
void wb_flush_log_failed(struct wb_cache *c);
void wb_flush_stop(struct wb_cache *c);

/* sync.c */
void wb_sync_init(struct wb_cache *c);
void wb_sync_start(struct wb_cache *c);
/* Do not wait for the interval. */
void wb_sync_now(struct wb_cache *c);

/* recorder.c */
void wb_recorder_init(struct wb_cache *c);
/* Have both copies of the record say what is true now. Any context; returns at once. */
void wb_record_kick(struct wb_cache *c);
/* The same, and wait for it. Return: 0 or -EIO. Sleeps. */
int wb_record_sync(struct wb_cache *c);
/* Write one copy. Only where the recorder does not run. Sleeps. */
int wb_record_write(struct wb_cache *c, int copy);

/* migrate.c */
int wb_migrate_init(struct wb_cache *c);
void wb_migrate_exit(struct wb_cache *c);
int wb_migrate_start(struct wb_cache *c);
void wb_migrate_stop(struct wb_cache *c);
/* Something changed that migration may depend on. Any context. */
void wb_migrate_kick(struct wb_cache *c);
/* The same, and do not wait after earlier failures. */
void wb_migrate_retry(struct wb_cache *c);
/*
 * Blocks @first to @last of the backing device are to be discarded: wait until no write of migration
 * to them is in flight, and have none begin. @r is the caller's to keep until wb_migrate_let_in().
 * Sleeps; not for the migrate daemon itself.
 */
void wb_migrate_keep_out(struct wb_cache *c, struct wb_range *r, u64 first, u64 last);
void wb_migrate_let_in(struct wb_cache *c, struct wb_range *r);
/*
 * Let migration by, which may make room, and then keep it out again. Return: may it have written to
 * these blocks? The second one sleeps.
 */
void wb_migrate_step_aside(struct wb_cache *c, struct wb_range *r);
bool wb_migrate_come_back(struct wb_cache *c, struct wb_range *r);

/* drain.c */

/* Begin to drain, or to undrain. Any process context; returns at once. */
void wb_drain(struct wb_cache *c, bool drain);

/*
 * wb_drain_step() - nothing can be migrated at the moment: one step further towards mode drained
 *
 * Migrate daemon only; sleeps. Return: 0 to go on, or an error (then wb_drain_failed()).
 */
int wb_drain_step(struct wb_cache *c);
void wb_drain_failed(struct wb_cache *c);

/*
 * wb_undrain_step() - if that is wanted, one step from mode drained back to the log
 *
 * Migrate daemon only; sleeps. Return: whether other work may be done. If not, somebody kicks: the
 * last write that goes past the log, or discard, the next start, or who took it back and wanted it again.
 */
bool wb_undrain_step(struct wb_cache *c);

/* ../bypass.c */
/* May this write go past the log, whose room is short? Perhaps it is cut. Only within map(). */
bool wb_may_bypass(struct wb_cache *c, struct bio *bio);
/* Then have it go. Process context. Return: as a map function. */
int wb_map_bypass(struct wb_cache *c, struct bio *bio);
/* It has waited until all before it is durable; or that has failed, and it ends. Any context. */
void wb_bypass_go(struct bio *bio);
/* It has ended, @lost: with an error of the device. Any context. Return: as an end_io function. */
int wb_bypass_end(struct wb_cache *c, struct bio *bio, bool lost);
/* A write has its place in the log, and is about to be published. Process context. */
static inline void wb_bypass_cross(struct wb_cache *c)
{
	/* wb_log_reserve() was a full barrier. */
	if (unlikely(atomic_read(&c->bypasses))) {
		atomic_inc(&c->crossings);
		smp_mb__after_atomic();	/* counted before it is published: may_be_sent() */
	}
}

/* Do users write past the log just now, and does nobody wait for room in it? Any context. */
bool wb_is_bypassing(const struct wb_cache *c);

/* modulator.c */
void wb_modulator_init(struct wb_cache *c);
void wb_modulator_start(struct wb_cache *c);
/* Requests to the backing device that migration may have in flight; 0: none. Migrate daemon only. */
unsigned int wb_modulator_depth(struct wb_cache *c);

/*
 * wb_pace_start() - migration gets on: pace users where this is the reserve. Migrate daemon only.
 * wb_pace_stop() - it does not, or not now. Process context.
 * wb_pace_look() - the room has changed. Process context.
 */
void wb_pace_start(struct wb_cache *c);
void wb_pace_stop(struct wb_cache *c);
void wb_pace_look(struct wb_cache *c);

/* So many blocks have reached the backing device. Any context. */
void wb_pace_written(struct wb_cache *c, u32 blocks);

/* May a user write now? wb_pace_charge() says how much it was. Any context. */
static inline bool wb_pace_allows(struct wb_cache *c)
{
	return likely(!READ_ONCE(c->pace_gain)) || atomic64_read(&c->pace_credit) > 0;
}

static inline void wb_pace_charge(struct wb_cache *c, u32 blocks)
{
	if (unlikely(READ_ONCE(c->pace_gain)))
		atomic64_sub((u64)blocks << 8, &c->pace_credit);	/* in 1/256, as the gain */
}

#endif /* WB_DAEMONS_H */
