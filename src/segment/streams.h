/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Streams: who writes one piece behind the other?
 *
 * The last few places where a write ended are remembered, with the length of the *run* that ends
 * there. A write that begins at one of them goes on with that run; any other begins one of its own
 * and takes the place of the run that was not gone on with for longest. So a few tasks can write in
 * order side by side, and those who write here and there do no harm but for the places they take.
 *
 * A request that was cut comes in pieces, and after the whole of it was noted. So a write that
 * begins before the end of a run and reaches it belongs to it, and only what is behind counts.
 *
 * Pure bookkeeping: no locks, no sleeping; the caller serialises all calls.
 */
#ifndef WB_STREAMS_H
#define WB_STREAMS_H

#include "port.h"

#define WB_STREAMS	16u

/**
 * struct wb_streams - the runs, the one that was gone on with last first
 * @end: sector behind it
 * @run: sectors; 0: none
 */
struct wb_streams {
	struct {
		u64 end;
		u64 run;
	} s[WB_STREAMS];
};

/**
 * wb_streams_note() - a write of @nr sectors at @sector
 *
 * Return: sectors of the run that ends with it; at least @nr, unless it was noted before.
 */
static inline u64 wb_streams_note(struct wb_streams *t, u64 sector, u32 nr)
{
	u64 end = sector + nr, run = nr;
	u32 i;

	for (i = 0; i + 1 < WB_STREAMS; i++)
		if (t->s[i].run && sector <= t->s[i].end && t->s[i].end <= end)
			break;
	/* The last one is taken in any case. */
	if (t->s[i].run && sector <= t->s[i].end && t->s[i].end <= end)
		run = t->s[i].run + (end - t->s[i].end);
	for (; i; i--)
		t->s[i] = t->s[i - 1];
	t->s[0].end = end;
	t->s[0].run = run;
	return run;
}

#endif /* WB_STREAMS_H */
