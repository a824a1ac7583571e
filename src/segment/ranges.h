/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ranges: migration and discards keep out of each other's blocks.
 *
 * Migration writes a copy to the backing device; a discard has the same blocks discarded there, and
 * then takes the copies out of the log, for good. Done at one time, the tombstone may be durable
 * before a write of an older copy has come down on what the backing device has discarded; and after a
 * crash that is what shows.
 *
 * So both stand in one line, each with its range of blocks, and each begins when nobody of the other
 * kind with a block in common stands before it. The line is in order of coming, so nobody waits for
 * who came later, and nobody waits for ever. Those of one kind do not mind each other.
 *
 * A discard may have to wait for room in the log, and room comes by migration, perhaps of the very
 * same range. Until there is some it steps aside: nobody waits for it then, and when it comes back, to
 * the end of the line, it knows whether migration may have been there.
 *
 * Pure bookkeeping: no locks, no sleeping; the caller serialises all calls, and has those who wait
 * look again when somebody leaves or steps aside.
 */
#ifndef WB_RANGES_H
#define WB_RANGES_H

#include "port.h"

enum wb_range_kind { WB_RANGE_MIGRATES, WB_RANGE_DISCARDS };

/**
 * struct wb_range - a place in the line
 * @next: who came after
 * @first: backing block, and ...
 * @last: ... the last one
 * @aside: nobody has to wait for it
 * @crossed: while it was, one of the other kind may have begun in this range
 */
struct wb_range {
	struct wb_range *next;
	u64 first;
	u64 last;
	enum wb_range_kind kind;
	bool aside;
	bool crossed;
};

/**
 * struct wb_ranges - the line; all zeros: nobody stands in it
 */
struct wb_ranges {
	struct wb_range *first;
};

static inline bool wb_range_minds(const struct wb_range *a, const struct wb_range *b)
{
	return a->kind != b->kind && a->first <= b->last && b->first <= a->last;
}

static inline void wb_range_append(struct wb_ranges *line, struct wb_range *r)
{
	struct wb_range **at = &line->first;

	for (; *at; at = &(*at)->next)
		if ((*at)->aside && wb_range_minds(*at, r))
			(*at)->crossed = true;
	r->next = NULL;
	*at = r;
}

/**
 * wb_range_join() - stand in line, as the last one
 * @line: where
 * @r: in no line; stays the caller's, who keeps it until wb_range_leave()
 * @kind: migration, or a discard
 * @first: backing block
 * @last: the last one, not before @first
 */
static inline void wb_range_join(struct wb_ranges *line, struct wb_range *r,
				 enum wb_range_kind kind, u64 first, u64 last)
{
	*r = (struct wb_range){ .first = first, .last = last, .kind = kind };
	wb_range_append(line, r);
}

/**
 * wb_range_may() - is it the turn of @r?
 *
 * Once it is, it stays so until @r leaves or steps aside.
 */
static inline bool wb_range_may(const struct wb_ranges *line, const struct wb_range *r)
{
	const struct wb_range *o;

	for (o = line->first; o != r; o = o->next)
		if (!o->aside && wb_range_minds(o, r))
			return false;
	return true;
}

/**
 * wb_range_leave() - out of the line
 */
static inline void wb_range_leave(struct wb_ranges *line, struct wb_range *r)
{
	struct wb_range **at = &line->first;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
}

/**
 * wb_range_step_aside() - nobody waits for @r until wb_range_come_back()
 *
 * Who stands in line behind it begins now, perhaps.
 */
static inline void wb_range_step_aside(struct wb_ranges *line, struct wb_range *r)
{
	const struct wb_range *o;

	r->aside = true;
	r->crossed = false;
	for (o = r->next; o; o = o->next)
		r->crossed |= wb_range_minds(o, r);
}

/**
 * wb_range_come_back() - in line again, as the last one; wb_range_may() says when it goes on
 *
 * @r->crossed then says whether its range has to be taken for changed.
 */
static inline void wb_range_come_back(struct wb_ranges *line, struct wb_range *r)
{
	wb_range_leave(line, r);
	r->aside = false;
	wb_range_append(line, r);
}

#endif /* WB_RANGES_H */
