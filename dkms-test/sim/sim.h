/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A whole cache on simulated devices, beside a model of what a disk promises.
 *
 *   run.c       seeds, plans of what users do, the scheduler, shrinking of what fails
 *   cache.c     the RAM buffers and the mapping: writes, reads, discards, flushes
 *   daemons.c   flush, migrate, recorder, sync, drain, stop and start
 *   recovery.c  recovery, and the crashes from which it has to recover
 *   model.c     what may be read
 *   device.c    the disks
 *
 * What src/ does with locks, work items and bios is done here in steps: each function named *_step
 * does what the module does without letting anybody else in between (a stretch under one lock, or
 * one request to a device), and the scheduler picks whose step is next. Every decision is the real
 * code's: order.c, index.c, recover.c, encode.c, sweep.c.
 */
#ifndef SIM_H
#define SIM_H

#include "device.h"
#include "index.h"
#include "order.h"
#include "pace.h"
#include "ranges.h"
#include "recover.h"
#include "sweep.h"

/* ---------------------------------------------------------------- failing */

void sim_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* This run cannot go on, and nothing is wrong. */
void sim_give_up(const char *why) __attribute__((noreturn));

extern bool tracing;
void trace_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void trace_try(bool begins);
#define trace(...) do { \
	if (tracing) \
		trace_line(__VA_ARGS__); \
} while (0)

#define CHECK(cond) do { \
	if (!(cond)) \
		sim_fail(__FILE__, __LINE__, "%s", #cond); \
} while (0)

#define CHECKF(cond, ...) do { \
	if (!(cond)) \
		sim_fail(__FILE__, __LINE__, __VA_ARGS__); \
} while (0)

#define ULL(x) ((unsigned long long)(x))

/* ---------------------------------------------------------------- the model */

#define MAX_BLOCKS	64u	/* of the backing device */
#define MAX_BACKING	(MAX_BLOCKS * WB_BLOCK_SECTORS)
#define MAX_VERSIONS	24u
#define MAX_CHUNKS	8192u	/* sealed in a run */
#define NEVER		(~0u)

/*
 * What was written to a sector, and where in the log that is. Chunks are numbered through all lives
 * of a run (@chunk); what recovery cuts off gives its numbers back.
 */
struct version {
	u64 value;
	u64 stamp;	/* of the write: @value may be that of an earlier one */
	u32 chunk;
	u32 place;	/* in the segment; orders versions of one chunk */
	u32 issued;	/* the write, at that step */
	u32 acked;	/* NEVER: not yet */
	u32 op;
	bool past_log;	/* written in mode drained, or past the log */
	bool covered;	/* and flushed */
};

struct sector_model {
	u32 nr;
	u64 weak;	/* stamps up to this one stand under a discard */
	u32 tomb_chunk;	/* the last tombstone over it, ~0 = none */
	u32 tomb_place;
	u32 zero_at;	/* since that step it is known to be zeros; 0 = it is not */
	struct version v[MAX_VERSIONS];
};

struct chunk_model {
	struct wb_header h;
	bool written;	/* it has its header */
};

struct model {
	u32 nr_sectors;
	u64 stamp;
	u32 now;		/* step */
	u32 next_chunk;		/* gets this number when it is sealed */
	u32 acked_chunk;	/* highest chunk that holds something acknowledged */
	u32 must;		/* highest chunk that must survive */
	u32 durable;		/* highest chunk that order.c calls durable: it may be migrated */
	u32 log_flushed;	/* issue of the last FLUSH that succeeded */
	u32 backing_flushed;	/* and of the last flush of the backing device */
	bool discards_zero;	/* whatever the backing device is told to discard */
	struct sector_model s[MAX_BACKING];
	struct chunk_model chunk[MAX_CHUNKS];	/* [0] stands for all before the log */
};

void model_init(struct model *m, u32 nr_sectors);
void model_fill(u32 sector, u64 value, void *to);
/* What is in these bytes: a value, or ~0 if nobody ever wrote that to this sector. */
u64 model_value(u32 sector, const void *bytes, bool all);
void model_publish(struct model *m, u32 sector, const struct version *v);
bool model_has_room(const struct model *m, u32 sector, u32 nr);
void model_ack(struct model *m, u32 op, u32 sector, u32 nr, u32 chunk);
/* A flush that was issued at @issued, when @acked_chunk was the highest, succeeded. */
void model_flushed(struct model *m, u32 issued, u32 acked_chunk);
void model_covered(struct model *m, u32 issued);
void model_compact(struct model *m, u32 chunk);

/* May a read that began at step @since give @value? Fails if not. */
void model_check_read(const struct model *m, u32 sector, u64 value, u32 since);
/*
 * After recovery accepted chunks up to @last: may @sector hold @value, which came from the backing
 * device, or from a copy in the log? With @rot the end of the log may have been cut although it was
 * durable, where nothing is left that says so; what had been migrated of it is still there.
 */
void model_check_recovered(const struct model *m, u32 sector, u64 value, u32 last, bool backing,
			   bool rot);
/* It is what recovery made of it, from now on. */
void model_adopt(struct model *m, u32 sector, u64 value, u32 last);

/* ---------------------------------------------------------------- the cache */

#define MAX_SLOTS	16u
#define MAX_SLOT_BLOCKS	8u
#define MAX_PLACES	96u
#define MAX_BUFS	8u
#define MAX_OPS		8u
#define MAX_IOS		48u
#define WINDOW		8u	/* copies; at least WB_SWEEP_RUN */
#define NR_WINDOWS	2u
#define FIRST_SLOT	16u	/* sector, behind the two records */

/* One life's looks: how likely each kind of step is. */
enum weight {
	BY_USER, BY_NEW_OP, BY_COMPLETION, BY_PUSH, BY_PREPARE, BY_HELD, BY_MIGRATE, BY_RECORD, BY_SYNC,
	NR_WEIGHTS
};

struct world {
	const char *name;
	u32 slots;
	u32 segment_size;
	u32 blocks;	/* of the backing device */
	u32 tail;	/* sectors its last block has; 0 = all */
};

enum op_kind { OP_WRITE, OP_READ, OP_FLUSH, OP_DISCARD };

enum op_state {
	S_FREE, S_NEW, S_HELD, S_FILL, S_PUBLISH, S_DONE, S_MORE, S_DURABLE, S_IO,
	S_PIECES, S_WAITS, S_PAST,
	S_ENTER, S_RANGE, S_TRIED, S_TOMB, S_ASIDE, S_BACK, S_TOMB_DONE, S_EARLIER, S_DROP,
};

struct piece {
	u32 place;	/* WB_NO_PLACE: the backing device */
	u8 mask;
};

struct op {
	u8 kind;
	u8 state;
	bool fua;
	bool slow;	/* a read whose device takes long */
	bool bypass;	/* a write that goes past the log if it may */
	bool failed;
	bool counted;	/* in nr_held */
	u32 nr_op;
	u32 sector, nr;		/* all of it */
	u32 at;			/* sectors done */
	u64 value, stamp;
	u32 issued;
	u32 need_chunk;		/* highest chunk it has something in */
	u32 acked_chunk;	/* FLUSH: model's at its issue */
	u64 need;
	/* what it reserved */
	u64 seq;
	u32 block, left;
	/* read */
	struct piece piece[WB_BLOCK_SECTORS + 1];
	u32 nr_pieces, next_piece;
	u8 data[WB_BLOCK_SIZE];
	/* discard */
	u64 first, end;
	u32 tomb;
	struct wb_range range;	/* its place in migration's line, if it is in_line */
	bool in_line;
	u32 flush_failures;	/* when it was passed down */
	bool was_backing;
	bool past_log;		/* counted in through */
	bool bypassing;		/* counted in bypasses */
	u32 through;
};

enum io_kind {
	IO_CHUNK, IO_LOG_FLUSH, IO_RECORD, IO_MOVE, IO_MOVE_FLUSH, IO_UNDRAIN_FLUSH, IO_THROUGH, IO_BYPASS,
	IO_FLUSH, IO_DISCARD, IO_DISCARD_FLUSH, NR_IO_KINDS
};

struct io {
	u8 kind;
	bool backing;
	bool flush;
	u64 handle;
	u64 arg;
	u32 issued;
};

struct ram_chunk {
	u64 seq, id;
	u32 start, number, nr;
	u32 inside;	/* writers */
	u32 chunk;	/* the model's number, from the seal on */
	bool sealed, complete;
};

struct ram_buf {
	u64 id;
	u32 unwritten;
	bool closed;
};

enum mode { WRITEBACK, HOLD, DRAINED };

enum move_state {
	M_IDLE, M_COLLECT, M_TURN, M_TAKE, M_PASS, M_DROP, M_READ, M_JOIN, M_RANGE, M_LOOK, M_WRITE,
	M_SETTLE, M_FLUSHING, M_FINISH, M_GIVE_WAY, M_END,
	M_WAIT_DURABLE, M_WAIT_RECORD, M_FORGET, M_UNDRAIN_WAIT, M_UNDRAIN_FLUSHING,
};

struct window {
	struct wb_cand cands[WINDOW];
	u32 nr;
	u32 in_flight;
	u32 i, kept, s;	/* next to look at; to keep; to write */
	struct wb_range range;
	bool in_line;
	bool wrote, error;
	u8 data[WINDOW][WB_BLOCK_SIZE];
};

/* See struct wb_migrator. */
struct migrator {
	u8 state;
	bool stop, hold_next, drain_began;
	bool more;		/* waits in the sweep, perhaps */
	bool again;		/* a new pass has begun */
	bool unflushed;
	bool failed;		/* a write */
	bool flush_failed;
	u64 limit;		/* segments that are served in this step */
	u64 settled;		/* the last of those that the flush under way is for */
	u64 bad_id, stuck_id;
	u32 turn, failures;
	u32 flush_failures;	/* others', when the batch began */
	u64 need;		/* M_WAIT_DURABLE */
	u64 record;		/* M_WAIT_RECORD */
	u32 forgotten;		/* M_FORGET: slots, so far */
	struct wb_ranges ranges;	/* windows and discards */
	struct wb_sweep sweep;
	struct wb_cand cands[MAX_PLACES];
	struct wb_cand fresh[MAX_SLOT_BLOCKS];
	u32 nr_fresh;
	struct window win[NR_WINDOWS];
};

enum phase { RUNS, STOPS_MIGRATION, STOPS_LOG, STOPS_RECORD, STOPPED, RESUMES };

/* How this run's devices and users behave. */
struct manners {
	u32 nr_bufs;
	u32 max_ops;
	u32 batch;
	u32 settle;	/* segments in one flush of the backing device */
	u32 window;	/* copies, and ... */
	u32 runs;	/* ... neighbourhoods that are taken together */
	u32 depth;	/* writes there in flight */
	u32 disk;	/* of so many chances to complete, some writes there take one */
	u32 reading;	/* and of its reads of the cache device */
	u32 discards;	/* of the backing device: 0 zeros, 1 does nothing, 2 some sectors, 3 refuses */
	bool backing_tears;	/* not if it may keep what it is told to discard */
	bool overlap;	/* writes of one sector may be under way together */
	bool bypass;	/* some writes go past the log */
	u32 weight[NR_WEIGHTS];
};

struct sim {
	struct wb_geom geom;
	const struct world *world;
	struct model *m;
	struct rng rng;
	struct manners manners;
	struct device cache, backing;

	/* Behind here all is gone at a crash. */
	struct wb_index index;	/* its memory stays */
	struct wb_order order;
	struct wb_record record;
	struct ram_chunk chunk[WB_ORDER_CHUNKS];
	struct ram_buf buf[MAX_BUFS];
	u8 image[MAX_BUFS][MAX_SLOT_BLOCKS][WB_BLOCK_SIZE];
	u64 next_write;
	u32 link;
	u64 epoch;
	bool gate;
	u32 pos;		/* next free block of the open segment, or CLOSED */
	u32 base_chunk;		/* the model's number of seq 0 */
	u64 head;		/* highest prepared id, for the index */
	u64 durable_rank_id;	/* durable point, for the index */
	u32 durable_rank_end;
	u64 need;
	u32 slot_refs[MAX_SLOTS];
	u64 purging;		/* id whose buffer is retired */
	u32 purged;		/* places of its slot */

	struct op op[MAX_OPS];
	u32 held[MAX_OPS];	/* in order */
	u32 nr_held;
	struct io io[MAX_IOS];
	u32 nr_ios;

	u8 mode;
	bool failed;
	bool draining, undrain, past_log;
	u32 through, through_done, through_flushed, bypasses;
	bool through_lost;
	u32 flush_failures;	/* of the backing device */
	struct migrator mig;

	u32 record_state;	/* 0 idle, 1 and 2: copy 0, copy 1 being written */
	u64 record_wanted, record_serving, record_done;
	u64 record_migrated;
	bool record_failed;
	u8 phase;
	bool stopped;

	/* faults to come: the n-th completion of a kind fails, and some after it */
	u8 fault_kind;
	u32 fault_after, fault_count;
	bool rot;		/* something on the cache device was damaged */
	u32 device_ops;		/* submissions and completions */
};

#define CLOSED 0xffffu

/* Both devices and nothing else. @to has an index of its own. */
void sim_copy_devices(struct sim *to, const struct sim *from);

static inline u32 slot_of(const struct sim *s, u64 id)
{
	return (u32)wb_slot_of(&s->geom, id);
}

static inline u32 place_sector(const struct sim *s, u32 place)
{
	(void)s;
	return FIRST_SLOT + place * WB_BLOCK_SECTORS;
}

static inline u32 record_sector(u32 copy)
{
	return copy * WB_BLOCK_SECTORS;
}

static inline struct ram_chunk *ram_chunk(struct sim *s, u64 seq)
{
	return &s->chunk[seq % WB_ORDER_CHUNKS];
}

static inline struct ram_buf *buf_of(struct sim *s, u64 id)
{
	return &s->buf[id % s->manners.nr_bufs];
}

static inline u8 *image_of(struct sim *s, u64 id, u32 block)
{
	return s->image[id % s->manners.nr_bufs][block];
}

/* cache.c */
u64 place_id(const struct sim *s, u32 place);
void index_view(const struct sim *s, struct wb_index_view *v);
void count_nothing(void *ctx, u32 place, int delta);
void log_open(struct sim *s);
void log_seal(struct sim *s, bool close);
bool log_open_is_empty(const struct sim *s);
void log_durable_moved(struct sim *s);
void begin_life(struct sim *s);
u64 everything(struct sim *s);
void io_begin(struct sim *s, enum io_kind kind, bool backing, bool flush, u64 handle, u64 arg);
bool op_step(struct sim *s, struct op *op);
void op_end(struct sim *s, struct op *op, bool ok);
bool held_step(struct sim *s);
void take_finished(struct sim *s);
bool log_hopeless(const struct sim *s);
void through_ends(struct sim *s, struct op *op, bool ok);
void bypass_ends(struct sim *s, struct op *op, bool ok);
void check_alone(const struct sim *s, const struct op *op);
void discard_done(struct sim *s, struct op *op, bool ok);
void log_fails(struct sim *s, const char *why);

/* daemons.c */
bool push_step(struct sim *s);
bool prepare_step(struct sim *s);
bool sync_step(struct sim *s);
bool record_step(struct sim *s);
bool migrate_step(struct sim *s);
bool completion_step(struct sim *s);
bool stop_step(struct sim *s);
void sim_stop(struct sim *s);
void sim_resume(struct sim *s);
u64 record_request(struct sim *s);

/* recovery.c */
enum recovery { RECOVERED, INTERRUPTED, REFUSED };
/*
 * Recover from what is on the devices. @crash_after: stop at that device operation, ~0 = never.
 * @last: the last chunk accepted, by the model's number.
 */
enum recovery recover(struct sim *s, u32 crash_after, u32 *last);
void check_recovered(struct sim *s, u32 last);
void adopt_recovered(struct sim *s, u32 last);
/* To try things on. */
extern struct sim *const sim_copies[2];

/* Everything that can happen now, on copies. */
void crash_here(const struct sim *s, u64 salt);

struct figures {
	u64 points;	/* device operations after which everything was tried */
	u64 crashes;	/* recoveries checked */
	u64 in_recovery;
	u64 rots, refused, reads, lives, runs, ops;
};

extern struct figures figures;

#endif /* SIM_H */
