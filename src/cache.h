/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The cache object: everything in memory that belongs to one cache, whichever table uses it.
 *
 * A table swap makes the new table resume before the old one is destroyed. So the object lives in a
 * module-wide registry, by UUID: the first preresume makes and recovers it, the next table of the
 * same mapped device takes it over with all its memory, and the last table that lets go frees it.
 *
 *   table ─▶ struct wb_target ─▶ struct wb_cache ─▶ log, index, daemons
 *
 * Life of the object: NEW ─recover─▶ RUNNING ⇄ SUSPENDED. While suspended no bio and no daemon runs.
 */
#ifndef WB_CACHE_H
#define WB_CACHE_H

#include <linux/device-mapper.h>
#include <linux/dm-ioctl.h>
#include <linux/hrtimer.h>
#include <linux/mempool.h>
#include <linux/percpu.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "compat.h"
#include "segment/company.h"
#include "segment/rambuf.h"
#include "segment/index.h"
#include "segment/streams.h"

#if BITS_PER_LONG < 64
#error "dm-writeboost needs a 64-bit kernel: positions of the log are read without a lock"
#endif

#define DM_MSG_PREFIX "writeboost"

#define wb_err(c, fmt, ...)	DMERR("%s: " fmt, (c)->name, ##__VA_ARGS__)
#define wb_warn(c, fmt, ...)	DMWARN("%s: " fmt, (c)->name, ##__VA_ARGS__)
#define wb_info(c, fmt, ...)	DMINFO("%s: " fmt, (c)->name, ##__VA_ARGS__)

/* Health moves one way, down this list, until the device is created again. */
enum wb_health {
	WB_HEALTH_OK,
	WB_HEALTH_DEGRADED,	/* something could not be read or migrated; acknowledged data is safe */
	WB_HEALTH_FAILED,	/* the cache device does not take writes: new ones get -EIO */
	WB_HEALTH_NEEDS_CHECK,	/* the log is damaged: refused to start */
};

enum wb_mode {
	WB_MODE_WRITEBACK,
	WB_MODE_HOLD,		/* between the two: writes wait on the deferred list */
	WB_MODE_DRAINED,	/* writes go through to the backing device, the log is empty */
};

enum wb_stat {
	WB_STAT_READ_RAM,
	WB_STAT_READ_CACHE,
	WB_STAT_READ_PARTIAL,
	WB_STAT_READ_MISS,
	WB_STAT_WRITE_RAM,
	WB_STAT_WRITE_CACHE,
	WB_STAT_WRITE_PARTIAL,
	WB_STAT_WRITE_MISS,
	WB_STAT_ABSORBED,
	WB_STAT_FLUSHES,
	WB_STAT_FUAS,
	WB_STAT_CHUNKS,
	WB_STAT_CHUNK_BLOCKS,
	WB_STAT_MIGRATED,
	WB_STAT_MIGRATE_REQUESTS,
	WB_STAT_DISCARDS,
	WB_STAT_BYPASSES,
	WB_STAT_CACHE_ERRORS,
	WB_STAT_BACKING_ERRORS,
	WB_NR_STATS
};

struct wb_stats {
	u64 n[WB_NR_STATS];
};

enum wb_knob {
	WB_KNOB_ALLOW_MIGRATE,
	WB_KNOB_MODULATOR,
	WB_KNOB_THRESHOLD,
	WB_KNOB_BATCH,
	WB_KNOB_BARRIER_DEADLINE,
	WB_KNOB_RECORD_INTERVAL,
	WB_KNOB_SYNC_INTERVAL,
	WB_KNOB_BYPASS_RUN,
	WB_NR_KNOBS
};

struct wb_bucket_lock {
	spinlock_t lock;
} ____cacheline_aligned_in_smp;

/* A discard that is not aligned covers fewer whole blocks than a tombstone can, never more. */
#define WB_MAX_DISCARD_SECTORS	(WB_MAX_TOMBSTONE_BLOCKS << WB_BLOCK_SECTOR_SHIFT)

/* Per bio, in dm's per-bio data. */
struct wb_bio {
	struct wb_cache *c;
	struct work_struct work;	/* slow paths */
	u64 need;	/* a flush or FUA write waits until all chunks before this seq are durable;
			 * WB_BIO_FLUSH_BACKING: through_done when it was issued
			 * WB_BIO_BYPASS: backing_flush_failures when it was sent
			 */
	struct bvec_iter it;	/* a read of the cache device, or a write past the log: of what */
	u32 slot;	/* a read holds a reference on it. WB_BIO_BYPASS: crossings when it was sent */
	u8 kind;	/* enum wb_bio_kind */
	u8 mark;	/* of who waits: segment/company.h */
};

enum wb_bio_kind {
	WB_BIO_PLAIN = 0,	/* nothing to do at its end */
	WB_BIO_READ_CACHE,
	WB_BIO_READ_AGAIN,	/* that failed: on its slow path */
	WB_BIO_BACKING,		/* a read of the backing device */
	WB_BIO_THROUGH,		/* a write or a discard in mode drained */
	WB_BIO_FLUSH_BACKING,	/* a FLUSH in mode drained */
	WB_BIO_BYPASS,		/* a write past the log: bypass.c */
};

struct wb_migrator;

/**
 * struct wb_cache - see above
 * @registry: link in the registry
 * @users: tables that use it, 0 while it is made; under the registry's mutex
 * @md: the mapped device that owns it
 * @name: of @md, for messages
 * @super: the superblock
 * @cache: cache device; @backing: backing device (those of the table in force)
 * @running: daemons run
 * @stopped: all is written and durable, and no write comes any more: the record may say so
 * @told_lock: makes a message, or a write to sysfs, one step against starting and stopping
 * @listens: they may start something; under @told_lock
 * @record: as last written; only the recorder and who starts and stops changes it
 * @log: the log
 * @index: the index; @locks: its bucket locks
 * @slot_refs: per slot, reads of the cache device in flight, and discards with their tombstone there
 * @slot_live: per slot, copies that count as cached
 * @purged_id: segment whose slot has left the index and waits for @slot_refs; flush daemon only
 * @need: all chunks before this seq are wanted durable; under log.lock
 * @wanted: this much, too, when those who wait for it have company enough; under log.lock
 * @waiters: flushes and FUA writes that wait for the durable point; under log.lock
 * @first_waiter: when the first of them came since there last was none, in jiffies
 * @company: who of them waits for which chunk, and who may come; under log.lock
 * @seal_seen: order.open as @company knows it; under log.lock
 * @company_timer: makes an end to waiting for company; runs if @company_timed, under log.lock
 * @flush_bio: for the one device flush in flight
 * @log_ios: writes and flushes of the log in flight; under log.lock
 * @durable_seen: order.durable_segment when the migrate daemon was woken for it; under log.lock
 * @deferred: writes that could not proceed; under @deferred_lock
 * @nr_deferred: those, and the one that is being tried: who makes room kicks the daemon if any
 * @health, @mode: see above
 * @requeue: a noflush suspend is under way: deferred bios go back to device-mapper, see wb_requeues()
 * @past_log: users go past the log, readers and FLUSH too: in mode drained, and until undrain has
 * flushed the backing device
 * @through: writes in flight in mode drained, and discards in any mode
 * @through_done: those writes that completed; @through_flushed: of these, how many a flush has covered since
 * @through_lost: one that covered others of them failed, and no user was told: no FLUSH succeeds any more
 * @through_lock: of these two, for one of two flushes may fail while the other succeeds
 * @backing_flush_failures: what was written there and not flushed before may be lost
 * @tight: the log is in its last part, the reserve: a stream of writes may go past it (bypass.c)
 * @bypasses: those that did and have not ended; @bypassed_at: when the last one ended, in jiffies
 * @crossings: writes of the log that met any of them
 * @streams: who writes in order, while @tight; under @streams_lock
 * @draining: `drain` was asked for and is not finished
 * @undrain: `undrain` was asked for and is not finished
 */
struct wb_cache {
	struct list_head registry;
	unsigned int users;
	struct mapped_device *md;
	struct dm_target *ti;	/* of the table in force, for events */
	char name[DM_NAME_LEN];
	struct wb_super super;
	struct block_device *cache;
	struct block_device *backing;
	bool bounce_reads;
	bool running;
	bool stopped;
	struct mutex told_lock;	/* see above */
	bool listens;

	struct wb_record record;
	struct wb_log log;
	struct wb_index index;
	struct wb_bucket_lock *locks;
	atomic_t *slot_refs;
	atomic_t *slot_live;

	/* flush daemon */
	struct workqueue_struct *wq;
	struct work_struct flush_work;
	struct delayed_work deadline_work;
	u64 purged_id;
	u64 need;
	u64 wanted;
	struct bio_list waiters;
	unsigned long first_waiter;
	struct wb_company company;
	u64 seal_seen;
	struct hrtimer company_timer;
	bool company_timed;
	struct bio flush_bio;
	unsigned int log_ios;
	u64 durable_seen;
	spinlock_t deferred_lock;
	struct bio_list deferred;
	unsigned int nr_deferred;
	wait_queue_head_t durable_wait;

	/* reads that have to be composed; discards, which may wait for room */
	struct workqueue_struct *slow_wq;
	struct workqueue_struct *discard_wq;
	mempool_t page_pool;	/* pairs of pages */

	/* recorder */
	struct work_struct record_work;
	void *record_block;
	u64 record_wanted;	/* requests so far, under log.lock */
	u64 record_done;
	bool record_failed;
	unsigned long recorded_at;
	wait_queue_head_t record_wait;

	/* sync daemon */
	struct delayed_work sync_work;
	u64 sync_seen;

	/* migrate daemon and modulator */
	struct wb_migrator *migrator;
	struct delayed_work modulator_work;
	unsigned int backing_load;	/* percent, by others than the migrate daemon */
	unsigned int bearable_depth;	/* requests in flight there, for users' reads of it */
	u64 load_ticks, load_ios, load_own, load_reads, load_read_ns;
	unsigned long load_at;
	u64 glance_blocks;
	unsigned long glance_at;
	bool glance_busy;
	bool pacing;			/* migration gets on; this and the next under log.lock */
	unsigned int pace_gain;		/* of who writes, while he is paced; else 0 */
	bool pace_paid;			/* something reached the backing device in this period */
	atomic64_t pace_credit;		/* blocks that may be written, in 1/256 */
	bool migration_stuck;

	/* writes past the log */
	bool tight;
	atomic_t bypasses;
	atomic_t crossings;
	unsigned long bypassed_at;
	spinlock_t streams_lock;
	struct wb_streams streams;

	enum wb_health health;
	enum wb_mode mode;
	bool requeue;
	bool draining;
	bool undrain;
	bool past_log;
	atomic_t through;
	atomic64_t through_done;
	spinlock_t through_lock;
	s64 through_flushed;
	bool through_lost;
	atomic_t backing_flush_failures;
	struct work_struct event_work;
	unsigned long said_failed, said_degraded;

	unsigned int knob[WB_NR_KNOBS];
	struct wb_stats __percpu *stats;
	struct kobject kobj;
	struct completion kobj_gone;
};

/**
 * struct wb_target - one table's use of a cache
 * @ti: the target
 * @cache_dev, @backing_dev: held by this table
 * @super: as the constructor saw it
 * @health: of a table that could not be resumed
 * @knob: the options of its table line, defaults where it has none
 * @made: memory for a cache, from the constructor until preresume, unless somebody has the cache
 * @cache: from preresume on
 */
struct wb_target {
	struct dm_target *ti;
	struct dm_dev *cache_dev;
	struct dm_dev *backing_dev;
	struct wb_super super;
	enum wb_health health;
	unsigned int knob[WB_NR_KNOBS];
	struct wb_cache *made;
	struct wb_cache *cache;
	bool has_sysfs;
};

static inline struct wb_bio *wb_bio(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct wb_bio));
}

/* Blocks that the rest of a bio touches. */
static inline u32 wb_nr_blocks(const struct bvec_iter *it)
{
	u64 end = it->bi_sector + (it->bi_size >> SECTOR_SHIFT);

	return ((end + WB_BLOCK_SECTORS - 1) >> WB_BLOCK_SECTOR_SHIFT) -
	       (it->bi_sector >> WB_BLOCK_SECTOR_SHIFT);
}

static inline void wb_stat_add(struct wb_cache *c, enum wb_stat s, u64 n)
{
	this_cpu_add(c->stats->n[s], n);
}

u64 wb_stat_sum(const struct wb_cache *c, enum wb_stat s);

static inline spinlock_t *wb_bucket_lock(struct wb_cache *c, u64 block)
{
	return &c->locks[wb_index_lock_nr(&c->index, block)].lock;
}

static inline u32 wb_place_slot(const struct wb_cache *c, u32 place)
{
	return place >> c->index.slot_shift;
}

static inline u32 wb_place_block(const struct wb_cache *c, u32 place)
{
	return place & (c->super.geom.slot_blocks - 1);
}

/*
 * The segment that @place belongs to. Call it under the bucket lock under which the place was
 * found, as for struct wb_index_view.
 */
static inline u64 wb_place_id(const struct wb_cache *c, u32 place)
{
	u64 head = READ_ONCE(c->log.head);
	u32 slot = wb_place_slot(c, place);
	u64 laps = (head >> 32) - 1;

	if (slot > (u32)head)
		laps--;
	return laps * c->super.geom.nr_slots + slot + 1;
}

/* What "newer" and "durable" mean now; under a bucket lock. */
static inline void wb_view(const struct wb_cache *c, struct wb_index_view *v)
{
	u64 head = READ_ONCE(c->log.head);
	u64 base = (u64)(u32)head << c->index.slot_shift;
	u64 head_id = ((head >> 32) - 1) * c->super.geom.nr_slots + (u32)head + 1;
	u64 durable;

	if (unlikely(!head)) {
		*v = (struct wb_index_view){ .head_end = c->index.nr_places };
		return;
	}
	v->head_end = base + c->super.geom.slot_blocks;
	/*
	 * The head first: it is never more than the log's length ahead of the durable point of that
	 * moment, and a later durable point is only nearer. Where it has overtaken the head that was
	 * read, all copies that this bucket can hold are before it, and so they rank.
	 */
	smp_rmb();
	durable = READ_ONCE(c->log.durable);
	/* The durable point's rank: as many slots before the head's as its segment is older. */
	v->durable_rank = base + c->index.nr_places -
			  ((head_id - (durable >> 9)) << c->index.slot_shift) + (durable & 0x1ff);
}

/* wb_index_count_fn over slot_live */
void wb_count_live(void *ctx, u32 place, int delta);

/*
 * cache.c: making, recovering, starting and stopping a cache object; sleeps. Make sets t->made: all
 * the memory of a cache, so that a resume neither waits for it nor fails for want of it; unmake
 * gives it back if it was not used. Get sets t->cache: to the one of this mapped device, or to what
 * was made (now, if it was not), recovered. Put it when the table goes away.
 */
int wb_cache_make(struct wb_target *t);
void wb_cache_unmake(struct wb_target *t);
int wb_cache_get(struct wb_target *t);
void wb_cache_put(struct wb_cache *c, struct dm_target *ti);
struct wb_cache *wb_cache_find(const u8 uuid[16]);	/* under wb_registry_lock */
int wb_cache_start(struct wb_cache *c);
void wb_cache_stop(struct wb_cache *c);
extern struct mutex wb_registry_lock;

/* health.c: what to do about errors */
void wb_degrade(struct wb_cache *c);
void wb_fail(struct wb_cache *c);
void wb_event(struct wb_cache *c);
void wb_health_init(struct wb_cache *c);
void wb_send_event(struct wb_cache *c);	/* target.c */
bool wb_requeues(struct wb_cache *c);		/* so; are held bios to be given back? */
static inline bool wb_failed(const struct wb_cache *c)
{
	return READ_ONCE(c->health) >= WB_HEALTH_FAILED;
}

/* io.c: synchronous I/O, for starting, stopping and slow paths; sleeps. Those for @c count errors. */
int wb_io_sync(struct block_device *bdev, blk_opf_t opf, u64 offset, void *buf, size_t len);
void wb_io_read_copies(struct block_device *bdev, u64 first, u64 second,
		       void *const block[WB_NR_COPIES], const void *copies[WB_NR_COPIES]);
int wb_io_flush(struct block_device *bdev);
int wb_flush_backing(struct wb_cache *c);
int wb_flush_past_log(struct wb_cache *c);
bool wb_through_flushed(struct wb_cache *c, s64 nr);
void wb_through_lost(struct wb_cache *c);

/* Hand a bio to a slow path, which owns it from then on. Allocates nothing. */
static inline int wb_go_slow(struct wb_cache *c, struct workqueue_struct *wq, struct bio *bio,
			     work_func_t fn)
{
	wb_bio(bio)->c = c;
	INIT_WORK(&wb_bio(bio)->work, fn);
	queue_work(wq, &wb_bio(bio)->work);
	return DM_MAPIO_SUBMITTED;
}

static inline struct bio *wb_slow_bio(struct work_struct *work)
{
	return dm_bio_from_per_bio_data(container_of(work, struct wb_bio, work),
					sizeof(struct wb_bio));
}

/* read.c, write.c, bypass.c, discard.c: mapping. Return as a target's map function. */
int wb_map_read(struct wb_cache *c, struct bio *bio);
int wb_map_write(struct wb_cache *c, struct bio *bio);
int wb_map_flush(struct wb_cache *c, struct bio *bio);
int wb_map_discard(struct wb_cache *c, struct bio *bio);
int wb_end_bio(struct wb_cache *c, struct bio *bio, blk_status_t *status);
/* Go on with a deferred write. False: it cannot proceed yet. */
bool wb_write_continue(struct wb_cache *c, struct bio *bio);
/*
 * May a write or discard go past the log, in mode drained? Then it is counted in c->through, until
 * wb_end_bio() sees its WB_BIO_THROUGH end.
 */
bool wb_enter_through(struct wb_cache *c);
/* One less in c->through. Any context. */
void wb_leave_through(struct wb_cache *c);
/* Have any of the blocks from @block to before @end a copy in the log? Process context. */
bool wb_any_copy(struct wb_cache *c, u64 block, u64 end);
/* Where it stands holds a reference on its slot, for wb_put_slot(). */
bool wb_log_tombstone(struct wb_cache *c, u64 block, u32 nr, u32 *place, u64 *seq);

static inline void wb_put_slot(struct wb_cache *c, u32 slot)
{
	/* The flush daemon may wait for the last one before it reuses the slot. */
	if (atomic_dec_and_test(&c->slot_refs[slot]) && READ_ONCE(c->purged_id))
		queue_work(c->wq, &c->flush_work);
}

/* knobs.c */
const char *wb_knob_name(enum wb_knob k);
void wb_knobs_default(unsigned int *knob);
/* Return: 0, or -EINVAL after a message about @who that names the key and its range. */
int wb_knob_parse(const char *who, const char *key, const char *value, enum wb_knob *k,
		  unsigned int *v);
void wb_knob_set(struct wb_cache *c, enum wb_knob k, unsigned int v);
int wb_sysfs_add(struct wb_cache *c);
void wb_sysfs_remove(struct wb_cache *c);

/* status.c */
void wb_status_counts(struct wb_cache *c, u64 *used, u64 *dirty);
unsigned int wb_status_info(struct wb_target *t, char *result, unsigned int maxlen);

#endif /* WB_CACHE_H */
