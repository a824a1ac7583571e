/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A simulated disk with a volatile cache, made to be copied thousands of times a second.
 *
 * A write lives from its submission until a flush that was issued after its completion succeeds (or,
 * with FUA, until its completion). What lives at a crash may reach the media sector by sector, in
 * flight or completed, and a sector may be torn in the middle.
 *
 * Contents lie in an arena that only grows, so a device is a table of numbers: copying one copies no
 * data. What is made on a copy is forgotten by going back to an earlier mark.
 */
#ifndef SIM_DEVICE_H
#define SIM_DEVICE_H

#include "encode.h"
#include "rng.h"

#define MAX_SECTORS	896u
#define MAX_REQUESTS	96u
#define MAX_REQUEST	64u	/* sectors */
#define ARENA_SECTORS	(1u << 17)

/* Sector contents by number; 0 is all zeros. */
extern u8 arena[ARENA_SECTORS][WB_SECTOR_SIZE];
extern u32 arena_used;
u32 arena_get(u32 nr);

struct request {
	u64 handle;
	u64 done_at;	/* 0 while in flight */
	u64 preflush;	/* when it was issued, if it carries PREFLUSH */
	u64 lands;	/* its sectors that arrive, bit by bit */
	u32 sector;
	u32 nr;
	u32 content;	/* in the arena, of the first sector */
	bool fua;
	bool zeros;	/* a discard: @content is not used */
	bool whole;	/* its sectors are not torn: somebody relies on the disk alone */
	bool doomed;	/* the flush that covered it failed: no later one makes it durable */
};

struct device {
	u32 nr_sectors;
	u32 nr;
	u32 unreadable;		/* a sector, ~0 = none */
	bool tears;		/* sectors, when the power goes */
	u64 now;
	u32 stable[MAX_SECTORS];	/* on the media */
	u32 seen[MAX_SECTORS];		/* what a read gives */
	struct request req[MAX_REQUESTS];	/* alive; those that completed in that order */
};

enum crash {
	LOSE_ALL,	/* power loss, the volatile cache is gone */
	KEEP_ALL,	/* power loss, by luck everything arrived */
	RANDOM,		/* power loss, anything in between */
	PANIC,		/* the machine restarts, the device keeps its volatile cache */
	NR_CRASHES,
};

extern const char *const crash_name[NR_CRASHES];

void device_init(struct device *d, u32 nr_sectors);
void device_copy(struct device *to, const struct device *from);

#define W_PREFLUSH	1u
#define W_FUA		2u
#define W_WHOLE		4u

/* Submitting and issuing give a handle. @bytes are copied; NULL: zeros. */
u64 device_write(struct device *d, u32 sector, u32 nr, const void *bytes, u32 flags);
/* A discard that zeros the sectors of @lands. */
u64 device_discard(struct device *d, u32 sector, u32 nr, u64 lands);
void device_written(struct device *d, u64 handle);
/* It failed: some of it arrived, perhaps. */
void device_write_failed(struct device *d, u64 handle, struct rng *r);
u64 device_flush(struct device *d);
void device_flushed(struct device *d, u64 handle);
/* It failed: what it covered may be lost, whatever later flushes say. */
void device_flush_failed(struct device *d, u64 handle, struct rng *r);

void device_crash(struct device *d, enum crash how, struct rng *r);

/* Return: false for a read error. Not of what is being written. */
bool device_read(const struct device *d, u32 sector, u32 nr, void *to);

#endif /* SIM_DEVICE_H */
