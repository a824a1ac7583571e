/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A simulated cache device with a volatile cache.
 *
 * A write lives from its submission until a flush that was issued after its completion succeeds
 * (or, with FUA, until its completion). What lives at a crash may reach the media whole, in part or
 * not at all, sector by sector, in flight or completed: disk_crash() picks one of the legal
 * outcomes.
 */
#ifndef TEST_DISK_H
#define TEST_DISK_H

#include "encode.h"
#include "test.h"

/* Contents that several writes, chunks and copies of a simulation share. */
struct buf {
	u32 refs;
	u32 len;
	u8 bytes[];
};

struct buf *buf_new(u32 len);
struct buf *buf_get(struct buf *b);
void buf_put(struct buf *b);

struct disk_write {
	u64 handle;
	u64 off;
	u64 done_at;	/* 0 while in flight */
	u64 preflush;	/* when it was issued, if it carries PREFLUSH */
	bool fua;
	struct buf *buf;
	u8 *survives;	/* after a panic: which sectors the device took, NULL = all */
};

struct disk {
	u64 size;
	u8 *stable;
	struct disk_write *writes;	/* in the order of submission */
	u32 nr_writes, max_writes;
	u64 now;
};

enum disk_crash {
	CRASH_LOSE_ALL,		/* power loss, the volatile cache is gone */
	CRASH_KEEP_ALL,		/* power loss, by luck everything arrived */
	CRASH_RANDOM,		/* power loss, anything in between */
	CRASH_PANIC,		/* the machine restarts, the device keeps its volatile cache */
	NR_CRASHES,
};

extern const char *const disk_crash_name[NR_CRASHES];

void disk_init(struct disk *d, const struct wb_geom *g);
void disk_exit(struct disk *d);
void disk_copy(struct disk *to, const struct disk *from);

/* Where byte @off of a cache device lies in @stable: the records, then the slots. */
u64 disk_at(u64 off);

/* Submitting gives a handle. Takes over the caller's reference of @b. */
u64 disk_write(struct disk *d, u64 off, struct buf *b, bool preflush, bool fua);
void disk_complete(struct disk *d, u64 handle);
/* Issuing gives a handle, completing makes durable what was completed before the issue. */
u64 disk_flush(struct disk *d);
void disk_flushed(struct disk *d, u64 handle);

void disk_crash(struct disk *d, enum disk_crash how, struct rng *r);

/* What a reader gets now. Nothing may be in flight. */
void disk_read(const struct disk *d, u64 off, u32 len, void *to);

/* Does the media hold exactly these bytes, and is nothing on its way over them? */
bool disk_is_durable(const struct disk *d, u64 off, const void *bytes, u32 len);

#endif /* TEST_DISK_H */
