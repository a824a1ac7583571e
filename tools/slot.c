// SPDX-License-Identifier: GPL-2.0
#include "slot.h"

void slot_read(const struct media *m, u64 nr, struct slot *s)
{
	u32 blocks = m->s.geom.slot_blocks, i;
	u64 id = nr + 1;	/* any id of the slot will do */
	u8 *at;

	s->nr = nr;
	memset(s->unreadable, 0, sizeof(s->unreadable));
	if (!media_read_slot(m, id, 0, blocks, s->data))
		return;
	for (i = 0; i < blocks; i++) {
		at = s->data + ((size_t)i << WB_BLOCK_SHIFT);
		s->unreadable[i] = media_read_slot(m, id, i, 1, at);
		if (s->unreadable[i])
			memset(at, 0, WB_BLOCK_SIZE);
	}
}

enum wb_verdict slot_header(const struct media *m, const struct slot *s, u32 block,
			    struct wb_header *h)
{
	enum wb_verdict v;

	if (s->unreadable[block])
		return WB_READ_ERROR;
	v = wb_header_decode(&m->s.geom, slot_block(s, block), h);
	if (v == WB_BAD_SEED)
		return WB_NOT_OURS;
	if (v == WB_OK && (h->block != block || wb_slot_of(&m->s.geom, h->id) != s->nr))
		return WB_BAD_PLACE;
	return v;
}

bool slot_entry_good(const struct slot *s, const struct wb_header *h, u32 i)
{
	const struct wb_header_disk *raw = slot_block(s, h->block);
	u32 block = h->block + 1 + i;
	struct wb_entry e;

	wb_entry_decode(raw, i, &e);
	if (e.flags & WB_ENTRY_TOMBSTONE)
		return true;
	return !s->unreadable[block] && wb_data_crc(slot_block(s, block), e.mask) == e.crc;
}
