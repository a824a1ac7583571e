/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Simulated disks for tests: RAM-backed block devices whose power can be cut.
 *
 * What they model. A disk has contents that are durable, and, when it has a volatile cache, writes
 * that it has completed but not yet made durable. All of those are kept, each with its sectors, in
 * the order of their completion. Reads see the newest. A flush makes durable exactly the writes
 * that had completed when it was issued, and only when it completes itself; a FUA write makes
 * itself durable, nothing else.
 *
 * Why a power cut is honest. At a cut every named disk dies at one instant: all of it happens under
 * one lock, which every issue and every completion takes. A request that has completed before that
 * instant has had all of its effect; one that is under way is failed, and becomes one more write
 * that may or may not have reached the media, as may its parts. From then on every request fails.
 * When power returns, the contents are what was durable, and of everything else a subset that the
 * seed chooses, sector by sector: each version of a sector that was not durable has its own chance,
 * older ones included. So a sector may be old while the next one is new, whichever was written
 * first, as with a real disk's cache. Sectors may be torn as well: their first bytes new, the rest
 * old. Nothing that was durable is ever lost: a test that finds data missing has found a missing
 * flush, not a cruel disk.
 *
 * Requests complete out of order, from a timer's interrupt. At random, a read takes its data when
 * it is issued or when it completes, and so does a write: who reuses a place or a buffer too early
 * is found out.
 *
 * Files: control.c has the commands and /proc/wbdisk, params.c what a disk can be told, queue.c
 * the life of a request, contents.c what is on the media and what is not yet, faults.c the errors
 * asked for, model.c how long requests take.
 *
 * Locks: wbd_control serialises the commands, and with that the list of disks; it may be held while
 * sleeping. wbd_lock (interrupts off) makes one step of: an issue, a completion, a cut of several
 * disks. Contents are read and written under wbd_lock, or while the disk has no power.
 */
#ifndef WBDISK_H
#define WBDISK_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/xarray.h>

#define WBD_NAME_LEN 24
#define WBD_MAX_GROUP 16

enum wbd_power {
	WBD_ON,
	WBD_CUT,	/* lost its volatile cache: revive decides what is left of it */
	WBD_GONE,	/* does not answer; its contents are as they were */
};

enum wbd_op { WBD_READ, WBD_WRITE, WBD_FLUSH, WBD_DISCARD, WBD_NR_OPS, WBD_ANY = WBD_NR_OPS };

enum wbd_model_kind { WBD_MODEL_NONE, WBD_MODEL_DISK, WBD_MODEL_SSD, WBD_MODEL_NET };

enum wbd_keep { WBD_KEEP_RANDOM, WBD_KEEP_NONE, WBD_KEEP_ALL };

/**
 * struct wbd_params - what `create` was told; see the table in params.c for the defaults
 */
struct wbd_params {
	u64 size;		/* bytes */
	u32 sector;		/* logical block size, bytes; power cuts keep or lose such units */
	u32 volatile_cache;
	u32 fua;		/* 0: the block layer makes FUA of a write and a flush */
	u32 reorder;		/* completion times are spread at random */
	u64 volatile_max;	/* bytes; beyond, the oldest write becomes durable by itself */
	u64 seed;

	u32 model;
	u32 delay_us;		/* none: of every request */
	u32 flush_us;		/* none, ssd: of a flush */
	u32 seek_min_us;	/* disk: to the next track */
	u32 seek_max_us;	/* disk: over the whole disk */
	u32 rpm;
	u32 rate;		/* disk, net: MB/s; 0 is infinite (net only) */
	u64 wcache;		/* disk: bytes of its write cache; 0 is none */
	u32 channels;		/* ssd: requests served at a time */
	u32 read_us;		/* ssd */
	u32 write_us;		/* ssd */
	u32 kib_ns;		/* ssd: transfer, of each KiB */
	u32 latency_us;		/* net */
	u32 jitter_us;		/* net: up to that much more */
};

/**
 * struct wbd_stats - counters, since the disk's creation
 */
struct wbd_stats {
	u64 requests[WBD_NR_OPS];
	u64 sectors[WBD_NR_OPS];	/* of 512 bytes */
	u64 fua;
	u64 failed;			/* requests answered with an error */
	u64 cuts;
	u64 survived, lost, torn;	/* logical sectors, at all cuts */
	u64 busy_ns;			/* time the modelled device worked */
	u64 seeks;
	u64 seek_ns;			/* in seeks and rotation, of busy_ns */
	u64 max_unflushed;		/* bytes */
};

#define WBD_MAX_CHANNELS 64

/**
 * struct wbd_mechanics - the state of a service-time model; of model.c
 */
struct wbd_mechanics {
	u64 free_at[WBD_MAX_CHANNELS];	/* ns: when the channel has done what it has been given */
	u64 head;			/* disk: the sector after the last one accessed */
	struct rb_root dirty;		/* disk: extents in its write cache, by sector */
	u64 dirty_bytes;
};

struct wbd_cut_plan;

struct wbd_disk {
	struct list_head node;		/* of all disks; wbd_control */
	char name[WBD_NAME_LEN];
	struct wbd_params params;
	struct gendisk *gendisk;
	struct blk_mq_tag_set tags;

	/* All below: wbd_lock, but for what contents.c says. */
	enum wbd_power power;
	struct wbd_cut_plan *plan;	/* the cut that waits for its operation */
	u64 cut_seed;
	u32 cut_torn;			/* percent of the surviving sectors */
	enum wbd_keep cut_keep;

	struct xarray current_pages;	/* what reads see, by page; a missing page is zeroes */
	struct xarray durable_pages;	/* with a volatile cache only */
	struct list_head unflushed;	/* struct wbd_write, in order of completion */
	u64 unflushed_bytes;
	u64 completed;			/* writes that have completed, to number them */

	struct list_head in_flight;	/* struct wbd_cmd */
	struct list_head hung;		/* struct wbd_cmd */
	struct list_head faults;
	u64 random;			/* state of the generator */
	struct wbd_mechanics mechanics;
	struct wbd_stats stats;
};

/**
 * struct wbd_write - sectors written or discarded, not durable yet
 *
 * @superseded has a bit for each logical sector that a later FUA write made durable in another
 * version, so that this one counts no more.
 */
struct wbd_write {
	struct list_head node;
	u64 number;		/* of its completion */
	u64 first;		/* logical sectors */
	u32 count;
	bool zeroes;		/* a discard, no data */
	bool fua;
	bool sampled;		/* @data has been taken from the request */
	bool lost;		/* a flush that covered it failed: later ones do not cover it */
	unsigned long *superseded;
	u8 data[];
};

/**
 * struct wbd_cmd - a request under way; lives in the request
 */
struct wbd_cmd {
	struct hrtimer timer;
	struct list_head node;	/* in_flight or hung */
	struct wbd_write *write;
	u64 covers;		/* flush: writes completed up to this number */
	blk_status_t status;
	bool failed;		/* by a cut or the disk's death, which have dealt with @write */
	bool sampled;		/* read: the data has been copied */
	bool lose;		/* a failing flush: what it covers is lost to later flushes */
};

/**
 * struct wbd_cut_plan - a cut of several disks at an operation yet to come
 */
struct wbd_cut_plan {
	u64 ops_left;
	enum wbd_op op;
	u64 seed;
	u32 torn;
	enum wbd_keep keep;
	int nr_disks;
	struct wbd_disk *disks[WBD_MAX_GROUP];
};

extern spinlock_t wbd_lock;

/* wbd_random() - 64 random bits from a generator's state. */
static inline u64 wbd_random(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* wbd_below() - a random number from 0 to @limit - 1; @limit is not 0 and fits 32 bits. */
static inline u32 wbd_below(u64 *state, u32 limit)
{
	return ((wbd_random(state) >> 32) * limit) >> 32;
}

static inline bool wbd_chance(u64 *state, u32 percent)
{
	return wbd_below(state, 100) < percent;
}

/* queue.c */
extern const struct blk_mq_ops wbd_mq_ops;
void wbd_cut(struct wbd_disk *disk, u64 seed, u32 torn, enum wbd_keep keep);
void wbd_die(struct wbd_disk *disk);
void wbd_forget_plan(struct wbd_disk *disk);
void wbd_release_hung(struct wbd_disk *disk, bool fail);

/* contents.c */
int wbd_contents_prepare(struct wbd_disk *disk, u64 first, u32 count);
void wbd_contents_read(struct wbd_disk *disk, struct request *rq);
struct wbd_write *wbd_write_alloc(struct wbd_disk *disk, struct request *rq);
void wbd_write_sample(struct wbd_disk *disk, struct wbd_write *write, struct request *rq);
void wbd_write_complete(struct wbd_disk *disk, struct wbd_write *write);
void wbd_write_in_doubt(struct wbd_disk *disk, struct wbd_write *write);
void wbd_write_free(struct wbd_write *write);
void wbd_flush_complete(struct wbd_disk *disk, u64 covers, bool lose);
void wbd_contents_revive(struct wbd_disk *disk);
void wbd_contents_free(struct wbd_disk *disk);

/* faults.c */
int wbd_parse_op(const char *text, enum wbd_op *op);

/* What a fault does to a request. */
struct wbd_verdict {
	bool error, hang, lose;
	u64 slow_ns;
};

int wbd_fault_add(struct wbd_disk *disk, char **words, int nr_words);
void wbd_faults_clear(struct wbd_disk *disk);
struct wbd_verdict wbd_faults_judge(struct wbd_disk *disk, enum wbd_op op, u64 sector, u32 sectors,
				    bool ahead);
void wbd_faults_show(struct wbd_disk *disk, struct seq_file *m);

/* model.c */
u64 wbd_model_finish(struct wbd_disk *disk, enum wbd_op op, u64 sector, u32 sectors, u64 now);
void wbd_model_catch_up(struct wbd_disk *disk, u64 now);
void wbd_model_reset(struct wbd_disk *disk);

/* params.c */
int wbd_parse_u64(const char *text, u64 *value);
int wbd_parse_params(struct wbd_params *params, char **words, int nr);
void wbd_params_show(const struct wbd_params *params, struct seq_file *m);

#endif /* WBDISK_H */
