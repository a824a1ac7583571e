/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What migrate.c (which copies, when, and what it means) and window.c (how they get there) share.
 */
#ifndef WB_MIGRATOR_H
#define WB_MIGRATOR_H

#include "daemons.h"
#include "../segment/sweep.h"

#define WB_WINDOW	512u	/* blocks in one window */
#define WB_WINDOW_SHORT	32u	/* requests in one window while room is short */
#define WB_NR_WINDOWS	2

/**
 * struct wb_window - copies that are on their way together
 * @cands: which, @nr
 * @pages: their data
 * @order: by place
 * @in_flight: requests; under m->lock
 * @range: its place in m->ranges, if it is @in_line
 * @wrote: it has something to write
 */
struct wb_window {
	struct wb_migrator *m;
	struct wb_cand cands[WB_WINDOW];
	struct page *pages[WB_WINDOW];
	u16 order[WB_WINDOW];
	u32 nr;
	u32 in_flight;
	struct wb_range range;
	bool in_line;
	bool wrote;
	bool read_error;
	bool write_error;
};

/**
 * struct wb_migrator - the migrate daemon of one cache
 * @sweep: what waits, in its order
 * @fresh: copies of segments that are about to join it, @nr_fresh of at most @max_fresh
 * @slot: image of one slot, for its headers
 * @windows: taken in turn, @turn is the next one
 * @wait: something was completed
 * @lock: protects @ranges, and makes what is in flight and its wake-up one step; irqsave
 * @writing: writes in flight; under @lock
 * @depth: at most so many
 * @ranges: windows and discards, one line for both; under @lock
 * @line: somebody left it, or stepped aside
 * @bad_id: lowest segment of the batch with something unreadable, 0 = none
 * @stuck_id: what @bad_id was after the batch before
 * @unflushed: the batch wrote something that no flush of the backing device has covered
 * @flush_failures: c->backing_flush_failures when the batch began
 * @drain_began: for the drain under way what was in RAM has been written to the log
 * @failed: a write of the batch failed
 * @failures: batches that failed in a row
 * @retry_at: no batch before this time, in jiffies
 * @stop: come to an end
 *
 * All without a lock of its own is the work item's alone, but for @stop, and for @retry_at, which
 * wb_migrate_retry() sets.
 */
struct wb_migrator {
	struct wb_cache *c;
	struct workqueue_struct *wq;
	struct delayed_work work;
	struct bio_set bios;
	struct wb_sweep sweep;
	struct wb_cand *fresh;
	u32 max_fresh;
	u32 nr_fresh;
	void *slot;
	struct wb_window *windows;
	u32 turn;
	wait_queue_head_t wait;
	spinlock_t lock;	/* see above */
	u32 writing;
	u32 depth;
	struct wb_ranges ranges;
	wait_queue_head_t line;
	u64 bad_id;
	u64 stuck_id;
	bool unflushed;
	int flush_failures;
	bool drain_began;
	bool failed;
	unsigned int failures;
	unsigned long retry_at;
	bool stop;
};

/* Something in segment @id cannot be read: it and all behind it stay in the log. */
void wb_migrate_bad_segment(struct wb_migrator *m, u64 id);

/* Sleeps. Return: 0 or -ENOMEM; wb_windows_exit() is then safe, too. */
int wb_windows_init(struct wb_migrator *m);
void wb_windows_exit(struct wb_migrator *m);

/*
 * Take the next copies of segments up to @limit out of the sweep, in at most @runs requests, and
 * set them on their way to the backing device; the window before may still be. m->failed and
 * m->bad_id say what did not work. No flush. Sleeps. Return: false if there were none, and nothing
 * is on its way any more.
 */
bool wb_window_step(struct wb_migrator *m, u64 limit, u32 runs);

/* Wait for all that is on its way, and finish it. Sleeps. */
void wb_windows_wait(struct wb_migrator *m);

#endif /* WB_MIGRATOR_H */
