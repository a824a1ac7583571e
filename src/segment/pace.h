/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How fast to migrate, and how fast to let users write while room is short: the arithmetic of the
 * modulator (daemons/modulator.c), without its measuring.
 *
 * Two quantities are controlled:
 *
 *   depth   requests to the backing device in flight, 0 to WB_DEPTH_MAX. While there is room it is
 *           what the backing device can bear beside its other users; as room becomes short it rises
 *           smoothly to the maximum.
 *   gain    blocks that users may write for each block that was migrated, in 1/256. It only counts
 *           in the *reserve*, the last part of the log. Where it is 256 users write as fast as the
 *           disk does; it rises with the room, so the room settles there. Users then wait for one
 *           request of the disk each, not one of them for a whole segment.
 */
#ifndef WB_PACE_H
#define WB_PACE_H

#include "port.h"

#define WB_DEPTH_MAX		64u
#define WB_FREE_LOW		50u	/* percent of the slots: less is short */
#define WB_FREE_NONE		20u	/* migration runs whatever the load */
#define WB_LATENCY_GOAL		20000u	/* us, of users' reads of the backing device */

#define WB_RESERVE_SLOTS	128u	/* no more than these ... */
#define WB_RESERVE_SHARE	4u	/* ... and this part of the slots */
#define WB_RESERVE_LEAST	32u	/* slots, and ... */
#define WB_RESERVE_BLOCKS	8192u	/* ... blocks, of a log that has a reserve at all */
#define WB_GAIN_ONE		256u

/**
 * struct wb_pace - what the depth depends on
 * @free: slots that are free
 * @nr_slots: of all
 * @load: utilisation of the backing device by others, percent
 * @threshold: the knob migrate_threshold
 * @bearable: from wb_pace_bearable()
 * @users_busy: users move much data, wherever it lies
 * @bypassing: what users write goes past the log, and nobody waits for room in it
 * @allowed: the knob allow_migrate
 * @modulated: the knob enable_migration_modulator
 * @forced: a drain, or nothing can be written until there is room
 */
struct wb_pace {
	u64 free;
	u64 nr_slots;
	u32 load;
	u32 threshold;
	u32 bearable;
	bool users_busy;
	bool bypassing;
	bool allowed;
	bool modulated;
	bool forced;
};

/** wb_pace_depth() - requests that may be in flight now; 0: migration has to wait */
static inline u32 wb_pace_depth(const struct wb_pace *p)
{
	u64 permille = p->nr_slots ? p->free * 1000 / p->nr_slots : 0;
	u32 spare = 0, lack, span = (WB_FREE_LOW - WB_FREE_NONE) * 10;

	if (p->forced)
		return WB_DEPTH_MAX;
	/* The disk goes along where they write; each request of ours would cost them two seeks. */
	if (p->bypassing && p->modulated)
		return 0;
	if (permille < WB_FREE_NONE * 10 && p->nr_slots)
		return WB_DEPTH_MAX;
	if (!p->allowed)
		return 0;
	if (!p->modulated)
		return WB_DEPTH_MAX;
	lack = permille < WB_FREE_LOW * 10 ? WB_FREE_LOW * 10 - (u32)permille : 0;
	/* What others leave, up to what their reads can bear. */
	if (p->threshold >= 100)
		spare = WB_DEPTH_MAX;
	else if (p->load < p->threshold)
		spare = 1 + (WB_DEPTH_MAX - 1) * (p->threshold - p->load) / p->threshold;
	if (spare > p->bearable)
		spare = p->bearable;
	if (p->users_busy && !lack)
		spare = 0;
	return spare + (WB_DEPTH_MAX - spare) * lack / span;
}

/**
 * wb_pace_bearable() - the depth at which users' reads of the backing device are quick enough
 * @bearable: what it was
 * @reads: that they did since
 * @latency_us: how long each took
 *
 * Falls in proportion when they were too slow, and feels its way up again when not.
 */
static inline u32 wb_pace_bearable(u32 bearable, u64 reads, u64 latency_us)
{
	u64 next = bearable + 1 + bearable / 4;

	if (reads && latency_us > WB_LATENCY_GOAL)
		next = (u64)bearable * WB_LATENCY_GOAL / latency_us;
	return next < 1 ? 1 : next > WB_DEPTH_MAX ? WB_DEPTH_MAX : next;
}

/** wb_pace_reserve() - slots, of @blocks each, in which users are paced; 0 for small logs */
static inline u64 wb_pace_reserve(u64 nr_slots, u32 blocks)
{
	u64 share = nr_slots / WB_RESERVE_SHARE;

	if (nr_slots < WB_RESERVE_LEAST || nr_slots * blocks < WB_RESERVE_BLOCKS)
		return 0;
	return share < WB_RESERVE_SLOTS ? share : WB_RESERVE_SLOTS;
}

/** wb_pace_ahead() - blocks that may wait in front of the oldest segment's end, of @free ones */
static inline u64 wb_pace_ahead(u64 free)
{
	return free / 2;
}

/**
 * wb_pace_gain() - blocks that may be written for one that was migrated, in 1/256
 * @free: blocks that are free
 * @reserve: blocks
 *
 * One for one from three eighths to three quarters of the reserve, so that segments that come and
 * go make no waves. Below, users are slowed down to a half at most: the room comes back, and
 * nobody stands. Above, the gain rises quickly, for where much of what is migrated is dead by
 * then, a segment's worth of requests makes more room than that.
 */
static inline u32 wb_pace_gain(u64 free, u64 reserve)
{
	u64 part = reserve ? free * 4 * WB_GAIN_ONE / (reserve * 3) : 2 * WB_GAIN_ONE;

	if (part <= WB_GAIN_ONE / 2)
		return WB_GAIN_ONE / 2 + part;
	if (part <= WB_GAIN_ONE)
		return WB_GAIN_ONE;
	if (part > 2 * WB_GAIN_ONE)
		part = 2 * WB_GAIN_ONE;
	return part * part / WB_GAIN_ONE;
}

#endif /* WB_PACE_H */
