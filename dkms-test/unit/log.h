/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A simulated writer of a log, on a simulated device, over many lives.
 *
 * The real order.c says what may happen next; log_step() picks one of the things it allows at
 * random, so that chunks are in flight, complete out of order, become durable, are migrated, and
 * slots are reused in every interleaving. All along the model keeps the list of every chunk sealed,
 * in log order, and checks the device itself: is what order.c calls durable on the media, is a slot
 * that it reuses really free in whatever record a crash could leave?
 *
 * A write or a flush of the log may fail: nothing that was acknowledged is lost by it, and nothing
 * more is. Such a life can only end in a crash.
 *
 * log_recover() does what the module does at its start: picks the record, walks, cuts, begins a
 * life. What the walk accepts is held against the list, byte by byte.
 *
 * log_stop() stops the writer in order: nothing new is sealed, what was becomes durable, and both
 * copies of the record say that the log ends there. From there log_resume() goes on with the same
 * life, as after a suspend: first both copies take that back. Or log_recover() begins another.
 */
#ifndef TEST_LOG_H
#define TEST_LOG_H

#include "disk.h"
#include "order.h"
#include "recover.h"

/* A chunk that was sealed. */
struct model_chunk {
	struct wb_header h;
	u64 shape;		/* what its contents were made from */
	u32 nr_wanted;
	bool closes;
	u64 handle;		/* of its write, while in flight */
	struct buf *buf;	/* header and data */
};

/* How this life behaves: one in so many steps, 0 = never. */
struct log_style {
	u32 seal, write, complete, flush, flushed, migrate, record, prepare, close, fail;
	u32 max_entries;
};

enum log_phase {
	LOG_RUNS,
	LOG_STOPS,
	LOG_STOPPED,	/* no step is left */
	LOG_RESUMES,
};

struct log {
	struct wb_geom geom;
	struct disk disk;
	struct rng rng;
	struct wb_order order;
	struct wb_record record;	/* newest, as last submitted */
	int next_copy;
	u32 life;
	enum log_phase phase;
	u32 copies_left;		/* of the record, to be written before this phase ends */

	struct model_chunk *chunks;	/* all that were sealed and not cut off */
	u32 nr, max;
	u32 first;			/* of this life */
	u32 acked;			/* chunks that somebody was told are durable */
	u64 max_epoch;

	u32 block;			/* end of the last chunk of the open segment */
	u64 flush;			/* handle of order.c's flush in flight, 0 = none */
	u32 record_step;	/* of a record copy: 0 idle, 1 writing, 2 written, 3 flushing */
	u64 record_handle;

	struct model_chunk *again;	/* cut off by the last crash: likely to be written again */
	u32 nr_again, next_again;
	struct log_style style;
};

void log_format(struct log *l, const struct wb_geom *g, u64 seed);
void log_exit(struct log *l);
void log_copy(struct log *to, const struct log *from);

/* One step. Return: true if it touched the device, so that a crash after it is another state. */
bool log_step(struct log *l);

/* Stop in order: further steps lead to LOG_STOPPED. */
void log_stop(struct log *l);
/* From LOG_STOPPED: further steps lead to LOG_RUNS. */
void log_resume(struct log *l);

/* Something wrong with the media that the device does not report, or does. */
struct rot {
	u64 off;
	u32 len;
	bool read_error;
};

/* A walk, and what it is expected to find. */
struct log_walk {
	struct log *log;
	const struct rot *rot;	/* read errors among them; the rest is on the disk already */
	u32 nr_rot;
	bool verify_all;

	int err;
	struct wb_record record;
	int which;
	struct wb_walk walk;
	u32 start;		/* first chunk that the record does not call migrated */
	u32 nr;			/* chunks accepted from there on */
	u32 nr_blocks;		/* read */
	u32 nr_behind;		/* of these, behind the end of the log */
	void *peeked;		/* a header that goes with the next read */
	u32 nr_held;		/* headers that stay */
};

/*
 * Walk the log as it is on the disk. Checks that what is accepted is a prefix of what was sealed,
 * whole where its data had to be verified, and that the walk reads only where it may. Return: false
 * if there is no good record.
 */
bool log_walk(struct log_walk *lw);

/* The same after a crash that damaged nothing: all that was acknowledged must be there. */
void log_walk_good(struct log *l, struct log_walk *lw);

/*
 * Recover and begin a new life. @crash_after: stop at that device operation as if the machine had
 * died, ~0u = never. Return: true if the new life began.
 */
bool log_recover(struct log *l, u32 crash_after);

void log_crash(struct log *l, enum disk_crash how, struct rng *r);

#endif /* TEST_LOG_H */
