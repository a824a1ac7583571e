/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What can still be read of a damaged log.
 *
 * The target's walk stops at damage. This goes on behind it: it looks at every segment that may be
 * dirty and takes the chunks that provably belong to the log. Proof is needed because what recovery
 * cut off in an earlier life may still lie there, and would undo newer writes:
 *
 *   - in segments of the current life, any whole header of its epoch belongs: a cut begins a life;
 *   - in those of earlier lives, what the first header of the slot leads to by links belongs.
 *     Beyond a break in that chain, only what lies up to the chunk that the next segment links to;
 *   - past the last chunk that anything calls durable, all ends at the first chunk that is not
 *     whole or does not follow the one before, as in the target.
 */
#ifndef SALVAGE_H
#define SALVAGE_H

#include "media.h"

/* Where chunks are missing: after block @block of segment @id, before the next known chunk. */
struct hole {
	u64 id;
	u32 block;
};

#define MAX_HOLES 64

/**
 * struct salvage - all that belongs to the log and can be read
 * @copies: every entry, in log order, bad data marked; resolved
 * @cut_copies: so many of them lie at or before the cut asked for
 * @nr_chunks: they are from so many chunks
 * @unproved: chunks left out because it cannot be told whether they belong to the log
 * @holes, @nr_holes: where chunks are missing; only the first ones are kept, all are counted
 * @top: highest segment id of this life or before, in use or given out
 * @epoch: highest epoch found in any header
 */
struct salvage {
	struct copies copies;
	size_t cut_copies;
	u64 nr_chunks;
	u64 unproved;
	struct hole holes[MAX_HOLES];
	u64 nr_holes;
	u64 top;
	u64 epoch;
};

/**
 * salvage_log() - gather it
 * @cut: count copies up to this chunk in @cut_copies
 *
 * Reads the first header of every slot, and all of those that may be dirty.
 * Return: RC_OK, RC_MEMORY or RC_INTERRUPTED. salvage_free() after it.
 */
int salvage_log(struct salvage *s, const struct media *m, struct wb_pos cut);
void salvage_free(struct salvage *s);

#endif /* SALVAGE_H */
