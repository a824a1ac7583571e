/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sweep: in which order the copies that wait are written to the backing device.
 *
 * All of them, of many segments, stand in one array sorted by backing block. The sweep goes through
 * it upwards and then begins again at the bottom, as an elevator does; segments join whenever they
 * like, and their copies find their places before and behind it. So the disk sees the order of a
 * batch that is as large as everything that waits, and still segments are finished one after the
 * other, in the order in which they joined, and give their room back one by one.
 *
 * While room is short a whole pass would take too long. Then only segments up to a *limit* are
 * served, so few that the oldest is finished in time; of the others what lies right beside goes
 * with them, for that is no further request.
 *
 * All copies of one block stand together and are taken together, as far as they are here. One that
 * joins behind the sweep is taken in the next pass; whoever takes has to finish what he took in
 * one pass before he writes what he took in the next (wb_sweep_take() says when that begins): so
 * an older copy never overtakes a newer one.
 *
 * No I/O, no locks, no sleeping: the migrate daemon alone uses it.
 */
#ifndef WB_SWEEP_H
#define WB_SWEEP_H

#include "port.h"

#define WB_SWEEP_SEGMENTS	256u	/* that can be in it at a time */
#ifndef WB_SWEEP_RUN
#define WB_SWEEP_RUN		256u	/* copies of neighbouring blocks that are taken as one */
#endif

/**
 * struct wb_cand - a copy to migrate
 * @block: backing block
 * @place: where the copy lies
 * @crc: checksum of the sectors in @mask
 * @mask: its valid sectors
 * @live: of those, the ones to write
 * @bad: it could not be read, or not as it was written
 * @taken: by wb_sweep_take()
 * @segment: the low bits of its segment's id
 */
struct wb_cand {
	u64 block;
	u32 place;
	u32 crc;
	u8 mask;
	u8 live;
	u8 bad;
	u8 taken;
	u8 segment;
};

/**
 * struct wb_sweep - see above
 * @cands: @nr of at most @max, sorted by block and place
 * @at: the first that this pass has not come to, of block @head or behind
 * @first: the oldest segment in it
 * @last: the newest; @first - 1 if there is none
 * @left: copies of each segment that are not finished, by id modulo WB_SWEEP_SEGMENTS
 */
struct wb_sweep {
	struct wb_cand *cands;
	u32 nr;
	u32 max;
	u32 at;
	u64 head;
	u64 first;
	u64 last;
	u32 left[WB_SWEEP_SEGMENTS];
};

/** wb_sweep_begin() - empty; the first segment to join will be @first. The head stays. */
void wb_sweep_begin(struct wb_sweep *s, u64 first);

/**
 * wb_sweep_join() - segments after @s->last up to @last join
 * @new: their copies, sorted by block and place
 * @nr: how many
 *
 * At most WB_SWEEP_SEGMENTS from @s->first on, and @s->max copies.
 */
void wb_sweep_join(struct wb_sweep *s, u64 last, const struct wb_cand *new, u32 nr);

/**
 * wb_sweep_limit() - segments that together have no more than @blocks to finish
 *
 * Return: the last of them, not before @s->first.
 */
u64 wb_sweep_limit(const struct wb_sweep *s, u64 blocks);

/**
 * wb_sweep_take() - the next copies, of segments up to @limit and what lies beside
 * @out: where to; at least WB_SWEEP_RUN
 * @max: at most so many
 * @runs: of at most so many neighbourhoods
 * @again: set if this begins a new pass, else cleared
 *
 * Return: how many; 0 if none of these segments has any left that was not taken.
 */
u32 wb_sweep_take(struct wb_sweep *s, u64 limit, struct wb_cand *out, u32 max, u32 runs,
		  bool *again);

/** wb_sweep_finished() - this copy, which was taken, is dealt with */
void wb_sweep_finished(struct wb_sweep *s, const struct wb_cand *cand);

/** wb_sweep_done() - the last segment up to which all are finished, or @s->first - 1 */
u64 wb_sweep_done(const struct wb_sweep *s);

/** wb_sweep_leave() - segments up to @id, all finished, leave */
void wb_sweep_leave(struct wb_sweep *s, u64 id);

#endif /* WB_SWEEP_H */
