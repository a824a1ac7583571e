/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Company: when to seal the chunk that several wait for.
 *
 * Everybody who wants something durable (a FLUSH, a FUA write) waits for a chunk, and a chunk costs
 * the same for one as for many. So it pays to wait for others, but only for such as will come, and
 * never at the cost of leaving processor and device idle in turn. Those who are known stand in one
 * of three places:
 *
 *      ┌─▶ waiting ──sealed──▶ under way ──durable──▶ away ──┐
 *      │  (chunk still open)   (chunk in flight)  (it did what it wanted to; it will be back,
 *      └────────────────────────────────────────── or has gone for good)
 *
 * The chunk is sealed when *half of all who are known wait*. So one who is alone never waits; two and
 * three go each on their own, as the one prepares while the other's chunk is in flight; and of more
 * one half prepares while the other half's chunk is in flight. This is decided when somebody arrives,
 * so the last one to arrive seals and writes for all in its own context.
 *
 * Who counts as away? Whoever was released lately: he has time until two more chunks are sealed, and
 * nobody counts after a time in which nothing happened. Each has a mark, so that a newcomer is not
 * taken for one of them. Two who have the same mark count as one, which is harmless: the chunk is
 * sealed a little early.
 *
 * How long does the first one wait? No longer than @patience, about two commits, if anybody comes
 * after that; twice as long if not, by a timer. Whoever was waited for in vain is waited for less
 * often from then on.
 *
 * This decides about time only. It says when a chunk is sealed, never what a flush covers or when
 * it is done (order.h). Pure bookkeeping: no locks, no sleeping; the caller serialises all calls
 * (log->lock).
 */
#ifndef WB_COMPANY_H
#define WB_COMPANY_H

#include "port.h"

/* Marks are below this. */
#define WB_COMPANY_MARKS	64u

/* Bounds of @patience, in ns. */
#define WB_COMPANY_MIN_WAIT	100000u
#define WB_COMPANY_MAX_WAIT	1000000u

/**
 * struct wb_company - who is where; times are in ns
 * @waiting: came since the last chunk was sealed
 * @under_way: wait for chunks that are sealed
 * @away: marks of those who were released and have not come back
 * @away_long: of those who were away when the last chunk was sealed
 * @vain: how often somebody was waited for in vain lately
 * @alone: so many more commits do not count on who is away
 * @first: when the first of @waiting came
 * @seen: when somebody last came or was released
 * @began: when the oldest commit under way began
 * @patience: how long to wait for those who are away
 */
struct wb_company {
	u32 waiting;
	u32 under_way;
	u64 away;
	u64 away_long;
	u32 vain;
	u32 alone;
	u64 first;
	u64 seen;
	u64 began;
	u64 patience;
};

void wb_company_init(struct wb_company *c);

/**
 * wb_company_arrives() - one more waits for the open chunk
 * @mark: his
 * @now: ns, of a clock that never goes back
 *
 * Return: is it time to seal it?
 */
bool wb_company_arrives(struct wb_company *c, u32 mark, u64 now);

/** wb_company_joins() - one more waits for chunks that are sealed already */
void wb_company_joins(struct wb_company *c, u32 mark);

/** wb_company_sealed() - those who waited are under way now */
void wb_company_sealed(struct wb_company *c);

/** wb_company_leaves() - one need not wait any longer */
void wb_company_leaves(struct wb_company *c, u32 mark);

/** wb_company_released() - all who need not wait any longer have left */
void wb_company_released(struct wb_company *c, u64 now);

/**
 * wb_company_needs_timer() - will nothing but time make an end to waiting?
 *
 * No commit is in flight that could. Then wb_company_expired() has to be called again and again.
 */
bool wb_company_needs_timer(const struct wb_company *c);

/** wb_company_timeout() - how long a timer may take, in ns */
static inline u64 wb_company_timeout(const struct wb_company *c)
{
	return 2 * c->patience;
}

/**
 * wb_company_expired() - has the first one waited for so long that it is time to seal?
 *
 * Return: 0 if so, and then those who are away are forgotten; otherwise ask again in so many ns.
 */
u64 wb_company_expired(struct wb_company *c, u64 now);

#endif /* WB_COMPANY_H */
