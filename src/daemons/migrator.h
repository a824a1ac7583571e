/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What migrate.c (which copies, when, and what it means) and window.c (how they get there) share.
 */
#ifndef WB_MIGRATOR_H
#define WB_MIGRATOR_H

#include "daemons.h"

#define WB_WINDOW	512u	/* blocks in one window */
#define WB_NR_WINDOWS	2

/**
 * struct wb_cand - a copy to migrate
 * @block: backing block
 * @place: where the copy lies
 * @crc: checksum of the sectors in @mask
 * @mask: its valid sectors
 * @live: of those, the ones to write
 * @bad: it could not be read, or not as it was written
 */
struct wb_cand {
	u64 block;
	u32 place;
	u32 crc;
	u8 mask;
	u8 live;
	u8 bad;
};

struct wb_window {
	struct wb_migrator *m;
	struct page *pages[WB_WINDOW];
	u32 in_flight;		/* requests; under m->lock */
	bool read_error;
	bool write_error;
};

/**
 * struct wb_migrator - the migrate daemon of one cache
 * @cands: the batch, @nr of at most @max_cands
 * @slot: image of one slot, for its headers
 * @wait: a window's in_flight became zero
 * @lock: makes the busy range, and a window's in_flight with its wake-up, one step; irqsave
 * @busy_first: while @busy, writes to backing blocks from this one
 * @busy_last: to this one may be in flight
 * @announced: how many such ranges there were
 * @bad_id: lowest segment of the batch with something unreadable, 0 = none
 * @stuck_id: what @bad_id was after the batch before
 * @failed: a write of the batch failed
 * @failures: batches that failed in a row
 * @retry_at: no batch before this time, in jiffies
 * @stop: come to an end
 *
 * All without a lock of its own is the work item's alone.
 */
struct wb_migrator {
	struct wb_cache *c;
	struct workqueue_struct *wq;
	struct delayed_work work;
	struct bio_set bios;
	struct wb_cand *cands;
	u32 max_cands;
	u32 nr;
	void *slot;
	struct wb_window windows[WB_NR_WINDOWS];
	wait_queue_head_t wait;
	spinlock_t lock;	/* see above */
	u64 busy_first;
	u64 busy_last;
	u64 announced;
	bool busy;
	u64 bad_id;
	u64 stuck_id;
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
 * Write all candidates, which are sorted, to the backing device, and wait for it: m->failed and
 * m->bad_id say what did not work. No flush yet. Sleeps.
 */
void wb_window_move_all(struct wb_migrator *m);

#endif /* WB_MIGRATOR_H */
