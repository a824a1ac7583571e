// SPDX-License-Identifier: GPL-2.0
#include "model.h"

static u64 places(const struct model *m)
{
	return m->super.geom.nr_slots * m->super.geom.slot_blocks;
}

/* ---------------------------------------------------------------- reading */

static int walk_read(void *ctx, u64 id, u32 block, u32 nr, void *to)
{
	struct model *m = ctx;
	const struct wb_geom *g = &m->super.geom;

	CHECKF(id > m->record.migrated && id - m->record.migrated <= g->nr_slots,
	       "read of segment %llu", (unsigned long long)id);
	CHECKF(nr && block < g->slot_blocks && nr <= g->slot_blocks - block,
	       "read of %u blocks from %u", nr, block);
	m->reads++;
	m->blocks_read += nr;
	/*
	 * A header is read when the walk gets there and perhaps once more as the next segment's first
	 * one; data once; and all of it once in the search, and once more block by block.
	 */
	CHECKF(m->blocks_read <= 5 * places(m) + 4, "%llu blocks read: the walk does not end",
	       (unsigned long long)m->blocks_read);
	if (!image_read(m->im, wb_slot_offset(g, wb_slot_of(g, id), block),
			(size_t)nr << WB_BLOCK_SHIFT, to))
		return 0;
	if (m->blind)
		memset(to, 0xdb, (size_t)nr << WB_BLOCK_SHIFT);
	return m->blind ? 0 : -EIO;
}

/* ---------------------------------------------------------------- who has what */

static struct owned *find_owned(struct model *m, u64 block)
{
	u32 i;

	for (i = 0; i < m->nr_owned; i++)
		if (m->owned[i].block == block)
			return &m->owned[i];
	return NULL;
}

static void own(struct model *m, u64 block, u8 mask, u32 place)
{
	struct owned *o = find_owned(m, block);
	u32 s;

	if (!o) {
		CHECK(m->nr_owned < IMAGE_SLOT_BLOCKS);
		o = &m->owned[m->nr_owned++];
		o->block = block;
		memset(o->place, 0xff, sizeof(o->place));
	}
	for (s = 0; s < WB_BLOCK_SECTORS; s++)
		if (mask >> s & 1)
			o->place[s] = place;
}

static void disown(struct model *m, u64 block, u32 nr)
{
	u32 i = 0;

	while (i < m->nr_owned) {
		if (m->owned[i].block >= block && m->owned[i].block - block < nr)
			m->owned[i] = m->owned[--m->nr_owned];
		else
			i++;
	}
}

static void count_live(void *ctx, u32 place, int delta)
{
	struct model *m = ctx;
	s64 *live;

	CHECKF(place < m->ix.nr_places, "place %u of %llu", place, (unsigned long long)m->ix.nr_places);
	live = &m->slot_live[place >> m->ix.slot_shift];
	*live += delta;
	CHECK(*live >= 0 && *live < (s64)m->super.geom.slot_blocks);
}

/* As walk_apply() of src/recovery.c. */
static int walk_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct model *m = ctx;
	const struct wb_geom *g = &m->super.geom;
	struct chunk *last = m->nr_chunks ? &m->chunk[m->nr_chunks - 1] : NULL;
	u64 slot = wb_slot_of(g, h->id), place;
	struct wb_index_view v = {
		.head_end = (slot + 1) << m->ix.slot_shift,
		.durable_rank = ~0ull,
	};
	u8 data[WB_BLOCK_SIZE];
	struct wb_entry e;
	bool rotten = false;
	u32 i, n, at;

	/* Strictly one after the other, without a gap: positions, and links. */
	CHECK(m->nr_chunks < IMAGE_SLOT_BLOCKS);
	CHECK(h->crc == le32_to_cpu(raw->crc) && h->nr_entries == le16_to_cpu(raw->nr_entries));
	if (!last) {
		CHECK(h->id == m->record.migrated + 1 && !h->chunk && !h->block);
		if (h->id == m->record.life_start)
			CHECK(h->link == m->record.life_link);
	} else {
		if (h->chunk)
			CHECK(h->id == last->pos.id && h->chunk == last->pos.chunk + 1 &&
			      h->block > last->block + 1);
		else
			CHECK(h->id == last->pos.id + 1 && !h->block);
		CHECK(h->link == last->crc);
	}
	CHECK(h->id <= m->record.migrated + g->nr_slots);
	CHECK(h->block + 1 + h->nr_entries <= g->slot_blocks);
	CHECK(h->id < m->record.life_start ? h->epoch < m->record.epoch : h->epoch == m->record.epoch);
	m->chunk[m->nr_chunks++] = (struct chunk){ { h->id, h->chunk }, h->block, h->crc };

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		CHECK(e.block < wb_backing_blocks(g));
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			CHECK(e.crc <= WB_MAX_TOMBSTONE_BLOCKS);
			for (n = 0; n < e.crc; n++)
				while ((at = wb_index_first(&m->ix, e.block + n)) != WB_NO_PLACE)
					wb_index_unlink(&m->ix, at, count_live, m);
			disown(m, e.block, e.crc);
			continue;
		}
		place = (slot << m->ix.slot_shift) + h->block + 1 + i;
		CHECK(place < m->ix.nr_places && e.mask);
		wb_index_insert(&m->ix, e.block, (u32)place, e.mask, &v, count_live, m);
		own(m, e.block, e.mask, (u32)place);
		rotten |= image_read(m->im, wb_slot_offset(g, slot, h->block + 1 + i), WB_BLOCK_SIZE,
				     data) || wb_data_crc(data, e.mask) != e.crc;
	}
	m->rotten_chunks += rotten;
	return 0;
}

static void walk_note(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	(void)ctx;
	(void)id;
	(void)block;
	CHECK(text && *text && *wb_verdict_text(why));
}

/* The index says of every place what the list says. */
static void compare_index(struct model *m)
{
	struct wb_index_view v = { .durable_rank = ~0ull };
	u64 i, in_list = 0;
	struct owned *o;
	u32 s, at;

	v.head_end = (wb_slot_of(&m->super.geom, m->walk.last.id ? m->walk.last.id : 1) + 1) <<
		     m->ix.slot_shift;
	m->live_sectors = 0;
	for (i = 0; i < m->nr_owned; i++) {
		o = &m->owned[i];
		for (s = 0; s < WB_BLOCK_SECTORS; s++) {
			for (at = wb_index_first(&m->ix, o->block); at != WB_NO_PLACE;
			     at = wb_index_next(&m->ix, at))
				if (m->ix.entries[at].mask >> s & 1)
					break;
			CHECKF(at == o->place[s], "block %llu sector %u: place %u in the index, not %u",
			       (unsigned long long)o->block, s, at, o->place[s]);
			if (at == NO_OWNER)
				continue;
			CHECK(wb_index_live(&m->ix, at, &v) >> s & 1);
			m->live_sectors++;
		}
	}
	for (i = 0; i < m->ix.nr_places; i++) {
		if (!(m->ix.entries[i].flags & WB_ENTRY_LINKED))
			continue;
		CHECK(find_owned(m, wb_index_block(&m->ix.entries[i])));
		in_list += hweight8(wb_index_live(&m->ix, (u32)i, &v));
	}
	CHECK(in_list == m->live_sectors);
}

/*
 * Does every header stand where some writer can have put it? Not so those of a life that cannot have
 * written there, those that stand amid the data of another chunk of the same segment and life,
 * those that link to one of a later life, and those behind the chunk that the next segment calls the
 * last one.
 */
static void look_around(struct model *m)
{
	const struct wb_geom *g = &m->super.geom;
	static struct wb_header at[IMAGE_SLOT_BLOCKS];	/* id 0: none that is in its place */
	struct wb_header *h, in = { 0 };
	u64 i, n;

	m->plausible = true;
	for (i = 0; i < places(m); i++) {
		h = &at[i];
		n = wb_slot_offset(g, 0, 0) + (i << WB_BLOCK_SHIFT);
		if (wb_header_decode(g, image_at(m->im, n), h) != WB_OK) {
			h->id = 0;
			continue;
		}
		if (h->epoch > m->record.epoch ||
		    (h->id < m->record.life_start && h->epoch >= m->record.epoch))
			m->plausible = false;
		if (h->block != i % g->slot_blocks || wb_slot_of(g, h->id) != i / g->slot_blocks) {
			h->id = 0;
			continue;
		}
		if (h->id == in.id && h->epoch == in.epoch && h->block > in.block &&
		    h->block <= in.block + in.nr_entries)
			m->plausible = false;
		in = *h;
	}
	for (i = 0; i < places(m); i += g->slot_blocks) {
		if (at[i].id < 2)
			continue;
		n = wb_slot_of(g, at[i].id - 1) * g->slot_blocks;
		in.id = 0;
		for (h = &at[n]; h < &at[n + g->slot_blocks]; h++) {
			if (h->id != at[i].id - 1)
				continue;
			if (in.id && h->epoch == in.epoch)
				m->plausible = false;
			if (h->crc == at[i].link) {
				in = *h;
				if (at[i].epoch < h->epoch)
					m->plausible = false;
			}
		}
	}
}

/* ---------------------------------------------------------------- all of it */

static void walk(struct model *m)
{
	static const struct wb_walk_ops ops = { .read = walk_read, .apply = walk_apply, .note = walk_note };

	CHECK(places(m) <= IMAGE_SLOT_BLOCKS);
	CHECK(!wb_index_init(&m->ix, &m->super.geom));
	memset(&m->walk, 0xa5, sizeof(m->walk));
	m->walk.geom = &m->super.geom;
	m->walk.record = &m->record;
	m->walk.verify_all = false;
	m->walk.ops = &ops;
	m->walk.slot_buf = NULL;
	m->walk.ctx = m;
	m->walked = true;
	m->err = wb_walk(&m->walk);
	CHECK(!m->err || m->err == -EIO);
	if (!m->err) {
		CHECK(m->walk.nr_chunks == m->nr_chunks);
		CHECK(m->walk.state == WB_LOG_ENDS || m->walk.state == WB_LOG_TORN ||
		      m->walk.state == WB_LOG_DAMAGED);
		if (m->nr_chunks) {
			CHECK(!wb_pos_cmp(m->walk.last, m->chunk[m->nr_chunks - 1].pos));
			CHECK(m->walk.last_crc == m->chunk[m->nr_chunks - 1].crc);
		} else {
			CHECK(m->walk.last.id == m->record.migrated);
		}
		compare_index(m);
	}
	wb_index_exit(&m->ix);
	look_around(m);
}

static void make(struct model *m, struct image *im)
{
	const void *copies[WB_NR_COPIES];
	u8 block[WB_NR_COPIES][WB_BLOCK_SIZE];
	struct wb_record record;
	struct wb_super super;
	int i;

	/* Not all of it: most is lists. */
	memset(m, 0, offsetof(struct model, chunk));
	memset(m->slot_live, 0, sizeof(m->slot_live));
	m->nr_chunks = 0;
	m->nr_owned = 0;
	m->live_sectors = 0;
	m->rotten_chunks = 0;
	m->copies_good = true;
	m->reads = 0;
	m->blocks_read = 0;
	m->plausible = false;
	for (i = 0; i < WB_NR_COPIES; i++)
		copies[i] = image_read(im, WB_SUPER_OFFSET(i), WB_BLOCK_SIZE, block[i]) ? NULL : block[i];
	for (i = 0; i < WB_NR_COPIES; i++)
		m->copies_good &= copies[i] && wb_super_decode(copies[i], &super) == WB_OK;
	m->super_verdict = wb_super_pick(copies, &m->super);
	if (m->super_verdict != WB_OK)
		return;
	m->shorter = im->sectors < m->super.geom.cache_sectors;
	if (m->shorter)
		return;
	for (i = 0; i < WB_NR_COPIES; i++)
		copies[i] = image_read(im, WB_RECORD_OFFSET(i), WB_BLOCK_SIZE, block[i]) ? NULL : block[i];
	for (i = 0; i < WB_NR_COPIES; i++)
		m->copies_good &= copies[i] &&
				  wb_record_decode(&m->super.geom, copies[i], &record) == WB_OK;
	m->record_verdict = wb_record_pick(&m->super.geom, copies, &m->record, &m->which);
	if (m->record_verdict != WB_OK)
		return;
	walk(m);
	m->starts = !m->err && m->walk.state != WB_LOG_DAMAGED &&
		    !(m->super.ro_compat & ~WB_RO_COMPAT_KNOWN);
}

void model_make(struct model *m, struct image *im)
{
	m->im = im;
	m->blind = false;
	make(m, im);
}

void model_make_blind(struct model *m, struct image *im)
{
	m->im = im;
	m->blind = true;
	make(m, im);
}

bool model_is_prefix(const struct model *whole, const struct model *part)
{
	u32 skip = 0, i;

	while (skip < whole->nr_chunks && whole->chunk[skip].pos.id <= part->record.migrated)
		skip++;
	if (part->nr_chunks > whole->nr_chunks - skip)
		return false;
	for (i = 0; i < part->nr_chunks; i++)
		if (wb_pos_cmp(whole->chunk[skip + i].pos, part->chunk[i].pos) ||
		    whole->chunk[skip + i].crc != part->chunk[i].crc)
			return false;
	return true;
}
