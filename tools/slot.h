/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One slot read whole, and the headers in it found without trusting the chain: for dump, and for
 * repair, which look where the target's walk stops.
 */
#ifndef SLOT_H
#define SLOT_H

#include "media.h"

struct slot {
	u64 nr;					/* which slot */
	bool unreadable[WB_MAX_SLOT_BLOCKS];	/* blocks that could not be read; zeros in @data */
	u8 data[WB_MAX_SEGMENT_SIZE];
};

static inline const void *slot_block(const struct slot *s, u32 block)
{
	return s->data + ((size_t)block << WB_BLOCK_SHIFT);
}

/* Read slot @nr, as far as it can be read. */
void slot_read(const struct media *m, u64 nr, struct slot *s);

/*
 * What is at block @block? WB_OK for a good header that says it belongs into this slot and block.
 * WB_NOT_OURS for what was never a header of this cache.
 */
enum wb_verdict slot_header(const struct media *m, const struct slot *s, u32 block,
			    struct wb_header *h);

/* Is the data of entry @i of the chunk @h good? Tombstones have none and are. */
bool slot_entry_good(const struct slot *s, const struct wb_header *h, u32 i);

#endif /* SLOT_H */
