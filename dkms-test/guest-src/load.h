/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Writers that know what must be there, and a judge of what is.
 *
 * Each writer owns sectors that no other one writes: an area of its own, and every n-th stripe of a few
 * sectors in an area of all, so that blocks are shared. Its operations follow from seed, life, writer and
 * number alone: another process can say what the k-th one was. Sectors are stamped (common.h) with who
 * wrote them and with what had been acknowledged before. From that follows what has to be there:
 *
 *   flushed	what was acknowledged before a flush that succeeded was issued, and FUA writes: with all that
 *		their writer did before them where they went into a log, else by themselves;
 *   prefix	what was acknowledged before something was issued that is there;
 *   nothing else	only what was written to this place; of an earlier life only what had survived it.
 *
 * A discard may be undone: a sector whose last operation is one holds zeros, or what the last write
 * before it left there, if that has to be there; nothing older.
 */
#ifndef LOAD_H
#define LOAD_H

#include <pthread.h>
#include "dm.h"

#define MAX_IO		2048u		/* sectors */
#define STATE_MAGIC	0x6574617473646c77ull
#define STATE_VERSIONS	4096u		/* where on the state device the vectors are */
#define STATE_BASE	65536u		/* and the base */
#define HANG_MS		60000

#define load(p)		__atomic_load_n(p, __ATOMIC_SEQ_CST)
#define store(p, v)	__atomic_store_n(p, v, __ATOMIC_SEQ_CST)

/* What does not change while a process runs. A block on the state device. */
struct plan {
	u64 magic;
	u64 seed;
	u64 sectors;
	u32 writers;
	u32 grain;
	u32 max;
	u32 discard;	/* percent of the operations, as the next two */
	u32 flush;
	u32 fua;
	u32 life;
};

enum kind { WRITE, FUA, FLUSH, DISCARD };

struct op {
	enum kind kind;
	u64 sector;
	u32 nr;
};

/* Who a sector was when its life began. */
struct base {
	u32 life;
	u32 op;
};

struct writer {
	pthread_t thread;
	u32 number;
	u32 issued;	/* operations */
	u64 rng;	/* of what is not part of the plan */
	u8 *buf;
	u8 *in;
	u32 *before;
};

/* The flushes that succeeded: operations of each writer that are durable. */
struct stable {
	u64 seq;
	u32 life;
	u32 pad;
	u32 op[MAX_WRITERS];
	u64 sum;
};

extern struct plan plan;
extern u32 nr_ops, reads, lives, toggle;	/* options; see wbload.c */
extern const char *name;			/* of the device-mapper device */
extern int fd, state_fd;			/* the device, and where the state goes, or -1 */
extern struct writer writers[MAX_WRITERS];
extern struct base *base;			/* what each sector was when this life began */
extern u64 ops_done;
extern bool stop;				/* writers are to end */
extern bool killed;				/* errors are expected, and no flush counts any more */
extern struct stable stable;

/*
 * Are writes now as good as in a log: is one there only if all that was acknowledged before it are? A case that makes
 * the device write through says no before, and yes after.
 */
extern bool ordered;

/* Asked when an operation has failed: was that to be expected? NULL: only when @killed. */
extern bool (*load_cut)(void);

/* What the plan needs; once, after the options. Dies if the plan makes no sense. */
void allocate(void);

/* An option of the plan and its value; returns false if there is none of that name. */
bool plan_option(const char *key, const char *value);
bool yes(const char *text);

/* Begin a life: @ops operations of each writer. */
void start_writers(u32 ops);
void join_writers(void);

/* How many operations each writer has issued. */
void issued_ops(u32 *ops);

/* How many have been acknowledged. */
void acknowledged_ops(u32 *ops);

/* These operations are durable. */
void now_stable(const u32 *ops);
u64 stable_sum(const struct stable *s);

/* Onto the state device, if there is one. */
void write_state(const void *data, u64 at, size_t len);

/*
 * Judge what device @dev holds, and take it as the base of what comes next. @need: how many operations of each
 * writer must be there whatever is seen; @known: how many were issued.
 */
void verify(int dev, const u32 *need, const u32 *known, const char *when);

/* Drain the device, and judge it, and its backing device @path alone. */
void drain(void);
void check_backing(const char *path);

/* Dies if @err, a word of what was to be done to which device. */
void must(int err, const char *what, const char *device);

#endif /* LOAD_H */
