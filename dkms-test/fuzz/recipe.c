// SPDX-License-Identifier: GPL-2.0
#include <unistd.h>

#include "recipe.h"
#include "recover.h"

#define MAX_STEPS 256

struct where {
	u64 id;
	u32 block, chunk, link;
};

struct maker {
	struct recipe *r;
	struct image *im;
	struct wb_geom g;
	struct wb_record record;
	int which;		/* copy to write next */
	struct where at, kept[4];
	struct wb_pos last;	/* chunk written, id 0 if there is none in this life */
	struct wb_pos durable;
	u64 epoch;
	u32 version;
	bool open;		/* the last chunk is whole: the log goes on behind it */
};

/* A small difference, up or down. */
static u64 near_by(u32 v)
{
	return (u64)(s64)(int8_t)v;
}

/* ---------------------------------------------------------------- places */

static u64 offset_of(const struct maker *m, u64 id, u32 block)
{
	return wb_slot_offset(&m->g, wb_slot_of(&m->g, id ? id : 1), block % m->g.slot_blocks);
}

static u64 nth_offset(const struct maker *m, u64 n)
{
	return wb_slot_offset(&m->g, 0, 0) + ((n % (m->g.nr_slots * m->g.slot_blocks)) << WB_BLOCK_SHIFT);
}

static void dishonest(struct maker *m)
{
	m->r->honest = false;
}

/* ---------------------------------------------------------------- the start */

static void set_up(struct maker *m, const struct step *s)
{
	static const u8 shift[] = { 14, 14, 14, 14, 15, 16, 14, 18 };
	u32 segment = 1u << shift[s->a % 8], most = (IMAGE_SLOT_BLOCKS << WB_BLOCK_SHIFT) / segment;
	u64 slots = WB_MIN_SLOTS + s->b % (most - WB_MIN_SLOTS + 1);
	u64 backing = s->c & 1 ? 1 + s->v % (WB_MAX_BACKING_BLOCKS * 8) : 64 + s->c % 1024;
	u8 block[WB_BLOCK_SIZE];
	struct wb_super super = { .created = s->v };
	u64 sectors = (WB_FIRST_SLOT_OFFSET + slots * segment) >> WB_SECTOR_SHIFT;
	int i;

	CHECK(!wb_geometry(&super.geom, sectors, backing, segment));
	memcpy(super.uuid, s, sizeof(super.uuid));
	image_clear(m->im, sectors);
	wb_super_encode(&super, block);
	for (i = 0; i < WB_NR_COPIES; i++)
		memcpy(image_touch(m->im, WB_SUPER_OFFSET(i)), block, WB_BLOCK_SIZE);
	CHECK(wb_super_decode(block, &super) == WB_OK);
	m->g = super.geom;
	m->r->g = m->g;
	m->record = (struct wb_record){ .seq = 0, .epoch = 1, .life_start = 1 };
	for (i = 0; i < WB_NR_COPIES; i++) {
		m->record.seq++;
		wb_record_encode(&m->g, &m->record, image_touch(m->im, WB_RECORD_OFFSET(i)));
	}
	m->epoch = 1;
	m->at = (struct where){ .id = 1 };
	m->open = true;
	for (i = 0; i < 4; i++)
		m->kept[i] = m->at;
}

/* @copies: bit 0 and 1; 0 is the older one, then the other */
static void put_record(struct maker *m, u32 copies)
{
	int i;

	if (!(copies & 3)) {
		m->record.seq++;
		wb_record_encode(&m->g, &m->record, image_touch(m->im, WB_RECORD_OFFSET(m->which)));
		m->which = !m->which;
		copies = 1u << m->which;
	}
	for (i = 0; i < WB_NR_COPIES; i++) {
		if (!(copies >> i & 1))
			continue;
		m->record.seq++;
		wb_record_encode(&m->g, &m->record, image_touch(m->im, WB_RECORD_OFFSET(i)));
		m->which = !i;
	}
}

/* ---------------------------------------------------------------- chunks */

static void fill(u8 *data, u64 block, u32 version)
{
	u64 *p = (u64 *)data, i;

	for (i = 0; i < WB_BLOCK_SIZE / 8; i++)
		p[i] = (block + i / 64) * 0x9e3779b97f4a7c15ull + version;
}

/* Would the module append here? Not over what is not migrated, nor too far from the durable point. */
static bool may_append(const struct maker *m)
{
	u64 durable = m->durable.id > m->record.life_start - 1 ? m->durable.id : m->record.life_start - 1;

	return m->at.id <= m->record.migrated + m->g.nr_slots &&
	       m->at.id <= durable + WB_MAX_VOLATILE_SEGMENTS;
}

static void put_entry(struct maker *m, const struct step *s, u32 i, struct wb_header_disk *raw)
{
	u64 blocks = wb_backing_blocks(&m->g);
	u8 *data = image_touch(m->im, offset_of(m, m->at.id, m->at.block + 1 + i));
	u8 byte = (u8)(s->v >> 8 * (i % 8));
	struct wb_entry e = {
		.block = (s->c + (u64)i * ((s->b >> 8 & 3) + 1)) % (s->c & 1u << 31 ? blocks : 24) % blocks,
	};

	if (s->b >> (i % 8) & 1) {
		e.flags = WB_ENTRY_TOMBSTONE;
		e.crc = 1u + byte;
		if (e.crc > blocks - e.block)
			e.crc = (u32)(blocks - e.block);
		memset(data, 0, WB_BLOCK_SIZE);
	} else {
		e.mask = (byte ? byte : WB_MASK_ALL) & wb_block_mask(&m->g, e.block);
		if (!e.mask)
			e.mask = wb_block_mask(&m->g, e.block);
		fill(data, e.block, m->version++);
		e.crc = wb_data_crc(data, e.mask);
	}
	wb_entry_encode(raw, i, &e);
}

static void do_chunk(struct maker *m, const struct step *s)
{
	u32 room, nr, i, how = s->a >> 5 & 3;
	struct wb_header_disk *raw;
	struct wb_header h;

	if (m->at.block + 1 >= m->g.slot_blocks)
		m->at = (struct where){ .id = m->at.id + 1, .link = m->at.link };
	if (m->r->honest && (!m->open || !may_append(m)))
		return;
	room = m->g.slot_blocks - m->at.block - 1;
	nr = s->a & 0x10 ? room : 1u + (s->a & 15);
	if (nr > room)
		nr = room;
	raw = image_touch(m->im, offset_of(m, m->at.id, m->at.block));
	memset(raw, 0, WB_BLOCK_SIZE);
	for (i = 0; i < nr; i++)
		put_entry(m, s, i, raw);
	h = (struct wb_header){
		.epoch = m->epoch, .id = m->at.id, .durable = m->durable, .link = m->at.link,
		.chunk = m->at.chunk, .block = m->at.block, .nr_entries = nr,
	};
	wb_header_encode(&m->g, &h, raw);
	if (how == 2)	/* torn: a sector of the header, or the last of the data, never came */
		memset(s->b & 0x400 ? (u8 *)raw + 512 : (u8 *)image_touch(m->im,
			offset_of(m, m->at.id, m->at.block + nr)), 0, 512);
	if (how == 3)
		*(u8 *)image_touch(m->im, offset_of(m, m->at.id, m->at.block + nr)) ^= 1;
	if (how >= 2) {
		/* At the end of a log that is what a power cut leaves. */
		m->open = false;
		if (m->r->honest)
			return;
	}
	m->last = (struct wb_pos){ m->at.id, m->at.chunk };
	m->at.block += 1 + nr;
	m->at.chunk++;
	m->at.link = h.crc;
}

static void do_segment(struct maker *m, const struct step *s)
{
	u64 id = m->at.id + 1 + near_by(s->a);

	if (!m->at.block && m->r->honest)
		return;
	if (s->a)
		dishonest(m);
	m->at = (struct where){ .id = id && id < 1ull << 60 ? id : 1, .link = m->at.link };
}

static void do_durable(struct maker *m, const struct step *s)
{
	m->durable = m->last;
	if (!s->a || !m->last.id) {
		if (!m->last.id)
			m->durable = m->record.durable;
		return;
	}
	dishonest(m);
	m->durable.id += near_by(s->a);
	m->durable.chunk = s->b % 8;
}

/* ---------------------------------------------------------------- record */

static void do_migrate(struct maker *m, const struct step *s)
{
	/* Only what is durable, and both copies before the slots are used again. */
	u64 to = m->durable.id > s->a ? m->durable.id - s->a : 0;
	bool whole = m->durable.id < m->at.id;	/* nothing more comes into that segment */

	if (!s->a && !whole && to)
		to--;
	if (to < m->record.migrated)
		return;
	if (!m->last.id)
		return;
	m->record.migrated = to;
	if (wb_pos_cmp(m->durable, m->record.durable) > 0)
		m->record.durable = m->durable;
	put_record(m, 3);
	if (s->b & 3 && (s->b & 3) != 3) {
		dishonest(m);
		put_record(m, s->b);
	}
}

static void do_stop(struct maker *m, const struct step *s)
{
	if (!m->last.id || (!m->open && m->r->honest))
		return;
	m->durable = m->last;
	m->record.durable = m->last;
	m->record.clean = s->a & 1;
	put_record(m, s->b);
	if (s->a & 1) {
		put_record(m, s->b);
		m->open = false;
	}
}

static void do_record(struct maker *m, const struct step *s)
{
	u64 near = m->at.id + near_by(s->c), v = s->b & 4 ? near : s->v;
	struct wb_record *r = &m->record;

	dishonest(m);
	switch (s->a % 9) {
	case 0: r->epoch = s->b & 4 ? m->epoch + near_by(s->c) : v; break;
	case 1: r->life_start = v; break;
	case 2: r->life_link = s->b & 4 ? m->at.link : (u32)s->v; break;
	case 3: r->migrated = v; break;
	case 4: r->durable.id = v; break;
	case 5: r->durable.chunk = (u32)s->v % 8; break;
	case 6: r->clean = s->v & 1; break;
	case 7: r->seq = s->b & 4 ? r->seq + near_by(s->c) : v; break;
	case 8: *r = (struct wb_record){ .epoch = m->epoch, .life_start = near, .migrated = near - 1,
					 .seq = r->seq, .life_link = m->at.link }; break;
	}
	put_record(m, s->b);
}

/* ---------------------------------------------------------------- a new life */

static int walk_read(void *ctx, u64 id, u32 block, u32 nr, void *to)
{
	struct maker *m = ctx;

	return image_read(m->im, offset_of(m, id, block), (size_t)nr << WB_BLOCK_SHIFT, to);
}

static bool current_record(struct maker *m, struct wb_record *r, int *which)
{
	const void *copies[WB_NR_COPIES] = {
		image_at(m->im, WB_RECORD_OFFSET(0)), image_at(m->im, WB_RECORD_OFFSET(1)),
	};

	return wb_record_pick(&m->g, copies, r, which) == WB_OK;
}

static void do_recover(struct maker *m)
{
	static const struct wb_walk_ops ops = { .read = walk_read };
	struct wb_record r;
	struct wb_walk w = { .geom = &m->g, .record = &r, .ops = &ops, .ctx = m };
	u32 block;
	u64 id;
	int i;

	if (!current_record(m, &r, &m->which))
		return;
	i = wb_walk(&w);
	if (m->r->honest) {
		CHECK(!i && w.state != WB_LOG_DAMAGED);
		CHECK(!m->last.id || wb_pos_cmp(w.last, m->last) >= 0);
	}
	if (i || w.state == WB_LOG_DAMAGED)
		return;
	if (wb_walk_must_record(&w, &m->record)) {
		r = m->record;
		m->which = !m->which;
		wb_record_encode(&m->g, &r, image_touch(m->im, WB_RECORD_OFFSET(m->which)));
	}
	for (i = 0; wb_walk_must_destroy(&w, i, &id, &block); i++)
		memset(image_touch(m->im, offset_of(m, id, block)), 0, WB_BLOCK_SIZE);
	wb_walk_next_life(&w, &m->record);
	m->which = !m->which;
	put_record(m, 1u << m->which);
	put_record(m, 1u << m->which);
	m->epoch = m->record.epoch;
	m->durable = m->record.durable;
	m->last = w.nr_chunks ? w.last : m->record.durable;
	if (!w.nr_chunks)
		m->last = (struct wb_pos){ 0 };
	m->at = (struct where){ .id = m->record.life_start, .link = m->record.life_link };
	m->open = true;
}

/* ---------------------------------------------------------------- damage */

static void seal_any(struct maker *m, u64 offset)
{
	void *block = image_at(m->im, offset);
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		if (offset == WB_SUPER_OFFSET(i))
			seal_super(block);
		if (offset == WB_RECORD_OFFSET(i))
			seal_record(block);
	}
	if (offset >= WB_FIRST_SLOT_OFFSET)
		seal_header(block, m->g.slot_blocks);
}

static u64 structure(const struct maker *m, u8 a)
{
	switch (a) {
	case 0: return WB_SUPER_OFFSET(0);
	case 1: return WB_SUPER_OFFSET(1);
	case 2: return WB_RECORD_OFFSET(0);
	case 3: return WB_RECORD_OFFSET(1);
	}
	return nth_offset(m, a - 4u);
}

static void do_poke(struct maker *m, const struct step *s)
{
	u64 offset = structure(m, s->a);
	u32 at = s->b % WB_BLOCK_SIZE, len = (s->c & 7) + 1;
	__le64 v = cpu_to_le64(s->v);

	dishonest(m);
	if (len > WB_BLOCK_SIZE - at)
		len = WB_BLOCK_SIZE - at;
	memcpy((u8 *)image_touch(m->im, offset) + at, &v, len);
	if (!(s->c & 8))
		seal_any(m, offset);
}

/* A bit anywhere, but more often where something is. */
static void do_flip(struct maker *m, const struct step *s)
{
	u32 n = s->c % IMAGE_BLOCKS, i;

	dishonest(m);
	for (i = 0; i < IMAGE_BLOCKS && !m->im->written[n]; i++)
		n = (n + 1) % IMAGE_BLOCKS;
	((u8 *)image_touch(m->im, (u64)n << WB_BLOCK_SHIFT))[s->b % WB_BLOCK_SIZE] ^= (u8)(1 << s->a % 8);
}

static void do_move(struct maker *m, const struct step *s)
{
	u32 n = s->c % 64 + 1, i;

	dishonest(m);
	for (i = 0; i < n; i++)
		memmove(image_touch(m->im, nth_offset(m, (u64)s->b + i)),
			image_at(m->im, nth_offset(m, (u64)s->a + i)), WB_BLOCK_SIZE);
}

enum { FIX_LINK = 1, FIX_DATA = 2, FIX_PLACE = 4, FIX_EPOCH = 8 };

static void fix_data(struct maker *m, struct wb_header_disk *d, u64 id, u32 block)
{
	struct wb_entry e;
	u32 i;

	for (i = 0; i < le16_to_cpu(d->nr_entries); i++) {
		wb_entry_decode(d, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		e.crc = wb_data_crc(image_at(m->im, offset_of(m, id, block + 1 + i)), e.mask);
		wb_entry_encode(d, i, &e);
	}
}

/* Along the chain, as the walk would go if all were good. */
static void do_relink(struct maker *m, const struct step *s)
{
	struct where p;
	struct wb_header_disk *d;
	struct wb_record r;
	u8 how = s->a ? s->a : FIX_LINK;
	u32 nr;
	int which;

	dishonest(m);
	if (!current_record(m, &r, &which))
		return;
	p = (struct where){ .id = r.migrated + 1, .link = r.life_link };
	while (p.id <= r.migrated + m->g.nr_slots) {
		d = image_at(m->im, offset_of(m, p.id, p.block));
		nr = le16_to_cpu(d->nr_entries);
		if (p.block + 1 >= m->g.slot_blocks || le32_to_cpu(d->magic) != WB_CHUNK_MAGIC || !nr ||
		    nr > m->g.slot_blocks - p.block - 1) {
			if (!p.block)
				break;
			p = (struct where){ .id = p.id + 1, .link = p.link };
			continue;
		}
		image_touch(m->im, offset_of(m, p.id, p.block));
		if (how & FIX_PLACE) {
			d->id = cpu_to_le64(p.id);
			d->lap = cpu_to_le64(wb_lap_of(&m->g, p.id));
			d->chunk = cpu_to_le16((u16)p.chunk);
			d->block = cpu_to_le16((u16)p.block);
		}
		if (how & FIX_EPOCH)
			d->epoch = cpu_to_le64(p.id >= r.life_start ? r.epoch : r.epoch - 1);
		if (how & FIX_LINK)
			d->link = cpu_to_le32(p.link);
		if (how & FIX_DATA)
			fix_data(m, d, p.id, p.block);
		seal_header(d, m->g.slot_blocks);
		p.link = le32_to_cpu(d->crc);
		p.block += 1 + nr;
		p.chunk++;
		m->at = p;
	}
}

static void do_unreadable(struct maker *m, const struct step *s)
{
	u64 n = (s->a & 7 ? nth_offset(m, s->b) : structure(m, s->a >> 3 & 3)) >> WB_BLOCK_SHIFT;

	dishonest(m);
	if (!m->im->unreadable[n])
		m->im->nr_unreadable++;
	m->im->unreadable[n] = true;
}

/* What blkid and the target know, and some places where they do. */
static void do_foreign(struct maker *m, const struct step *s)
{
	static const struct {
		u32 offset;
		u8 len;
		char magic[9];
	} known[] = {
		{ 510, 2, "\x55\xaa" }, { 512, 8, "EFI PART" }, { 512, 8, "LABELONE" },
		{ 1080, 2, "\x53\xef" }, { 0, 4, "XFSB" }, { 4086, 8, "SWAPSPAC" },
		{ 0, 6, "LUKS\xba\xbe" }, { 0, 4, "tsbW" }, { 0, 4, "hsqs" }, { 0, 8, "dmvdo001" },
		{ 65600, 8, "_BHRfS_M" }, { 4086, 10, "SWAPSPACE" }, { 0, 0, "" },
	};
	u32 i = s->a % ARRAY_SIZE(known);
	u8 *block;

	dishonest(m);
	block = image_touch(m->im, known[i].offset);
	if (known[i].offset < WB_BLOCK_SIZE && s->b & 1)
		memset(block - known[i].offset, 0, WB_BLOCK_SIZE);
	memcpy(block, known[i].magic, known[i].len < 9 ? known[i].len : 9);
}

/* ---------------------------------------------------------------- all of it */

static void do_step(struct maker *m, const struct step *s)
{
	switch (s->code % NR_STEP_CODES) {
	case STEP_CHUNK:
		do_chunk(m, s);
		break;
	case STEP_SEGMENT:
		do_segment(m, s);
		break;
	case STEP_DURABLE:
		do_durable(m, s);
		break;
	case STEP_EPOCH:
		dishonest(m);
		m->epoch += near_by(s->a);
		break;
	case STEP_KEEP:
		if (!(s->a & 1)) {
			m->kept[s->b % 4] = m->at;
			break;
		}
		dishonest(m);
		m->at = m->kept[s->b % 4];
		break;
	case STEP_LINK:
		dishonest(m);
		m->at.link = s->c;
		break;
	case STEP_RECOVER:
		do_recover(m);
		break;
	case STEP_MIGRATE:
		do_migrate(m, s);
		break;
	case STEP_STOP:
		do_stop(m, s);
		break;
	case STEP_RECORD:
		do_record(m, s);
		break;
	case STEP_POKE:
		do_poke(m, s);
		break;
	case STEP_FLIP:
		do_flip(m, s);
		break;
	case STEP_ZERO:
		dishonest(m);
		memset(image_touch(m->im, offset_of(m, m->at.id + near_by(s->a), s->b)), 0,
		       WB_BLOCK_SIZE);
		break;
	case STEP_MOVE:
		do_move(m, s);
		break;
	case STEP_RELINK:
		do_relink(m, s);
		break;
	case STEP_UNREADABLE:
		do_unreadable(m, s);
		break;
	case STEP_FOREIGN:
		do_foreign(m, s);
		break;
	case STEP_OPTIONS:
		m->r->options ^= s->v;
		break;
	}
}

void recipe_make(struct recipe *r, struct image *im, const uint8_t *data, size_t size)
{
	struct maker m = { .r = r, .im = im };
	struct step s = { 0 };
	size_t i, nr = size / sizeof(s);
	s64 resize = 0;

	memset(r, 0, sizeof(*r));
	r->im = im;
	r->honest = true;
	memcpy(&s, data, size < sizeof(s) ? size : sizeof(s));
	set_up(&m, &s);
	for (i = 1; i < nr && i < MAX_STEPS; i++) {
		memcpy(&s, data + i * sizeof(s), sizeof(s));
		if (s.code % NR_STEP_CODES == STEP_RESIZE)
			resize += (int8_t)s.a;
		else
			do_step(&m, &s);
	}
	if (resize) {
		/* Last: what is cut off must not be written to. */
		dishonest(&m);
		resize = (s64)im->sectors + resize * WB_BLOCK_SECTORS;
		image_resize(im, resize > 0 ? (u64)resize : 0);
	}
	r->must = m.last;
}

void recipe_show(const uint8_t *data, size_t size)
{
	static const char *const name[] = {
		"chunk", "segment", "durable", "epoch", "keep", "link", "recover", "migrate", "stop",
		"record", "poke", "flip", "zero", "move", "relink", "unreadable", "resize", "foreign",
		"options",
	};
	struct step s;
	size_t i;

	for (i = 0; i < size / sizeof(s); i++) {
		memcpy(&s, data + i * sizeof(s), sizeof(s));
		dprintf(STDERR_FILENO, "%3zu %-10s a %3u (%d) b %5u c %08x v %016llx\n", i,
			i ? name[s.code % NR_STEP_CODES] : "geometry", s.a, (int8_t)s.a, s.b, s.c,
			(unsigned long long)s.v);
	}
}

/* ---------------------------------------------------------------- mutating */

static u64 rng_x;

static u64 rng(void)
{
	rng_x ^= rng_x >> 12;
	rng_x ^= rng_x << 25;
	rng_x ^= rng_x >> 27;
	return rng_x * 0x2545f4914f6cdd1dull;
}

static u32 below(u32 n)
{
	return (u32)((rng() >> 32) * n >> 32);
}

static u64 interesting(void)
{
	switch (below(8)) {
	case 0: return 0;
	case 1: return 1ull << below(64);
	case 2: return (1ull << below(64)) - 1;
	case 3: return ~0ull - below(4);
	case 4: return rng();
	case 5: return (1ull << 54) - 3 + below(6);
	default: return below(70);
	}
}

static struct step random_step(void)
{
	static const u8 often[] = { STEP_CHUNK, STEP_CHUNK, STEP_CHUNK, STEP_DURABLE, STEP_SEGMENT,
				    STEP_RECOVER, STEP_MIGRATE, STEP_STOP, STEP_RELINK, STEP_POKE };
	struct step s = {
		.code = below(3) ? often[below(ARRAY_SIZE(often))] : (u8)below(NR_STEP_CODES),
		.a = (u8)(below(2) ? below(8) : below(256)),
		.b = (u16)(below(2) ? below(4) : below(3) ? below(64) : below(65536)),
		.c = below(2) ? below(16) : (u32)rng(),
		.v = interesting(),
	};

	if (s.code == STEP_CHUNK && below(4)) {
		s.a &= 0x1f;
		s.b &= 0x300;
		s.v = below(2) ? 0 : rng();
	}
	if ((s.code == STEP_SEGMENT || s.code == STEP_DURABLE) && below(4))
		s.a = 0;
	if (s.code == STEP_POKE) {
		/* The fields of a structure are within its first bytes. */
		s.b = (u16)(below(4) ? below(112) : below(WB_BLOCK_SIZE));
		s.c = below(8) | (below(6) ? 0 : 8);
		if (below(2))
			s.a = (u8)(below(3) ? 4 + below(16) : below(4));
	}
	return s;
}

static void mutate_field(struct step *s)
{
	switch (below(7)) {
	case 0:
		s->code = (u8)below(NR_STEP_CODES);
		break;
	case 1:
		s->a ^= (u8)(1 << below(8));
		break;
	case 2:
		s->a = (u8)(s->a + below(5) - 2);
		break;
	case 3:
		s->b = (u16)(below(2) ? s->b + below(5) - 2 : s->b ^ 1 << below(16));
		break;
	case 4:
		s->c = below(2) ? s->c + below(5) - 2 : s->c ^ 1u << below(32);
		break;
	case 5:
		s->v = below(2) ? s->v + below(5) - 2 : s->v ^ 1ull << below(64);
		break;
	default:
		s->v = interesting();
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed)
{
	struct step *s = (struct step *)data, one;
	size_t nr = size / sizeof(*s), max = room / sizeof(*s), i, j;
	int n;

	rng_x = seed * 0x9e3779b97f4a7c15ull | 1;
	rng();
	if (max > MAX_STEPS)
		max = MAX_STEPS;
	if (max < 2 || !below(12))
		return LLVMFuzzerMutate(data, size, room);
	if (!nr) {
		*s = random_step();
		nr = 1;
	}
	for (n = 1 + (int)below(4); n--;) {
		i = below((u32)nr);
		j = below((u32)nr);
		switch (below(6)) {
		case 0:
		case 1:
			if (nr >= max)
				break;
			i++;
			memmove(s + i + 1, s + i, (nr - i) * sizeof(*s));
			one = random_step();
			s[i] = one;
			nr++;
			break;
		case 2:
			if (nr < 2 || !i)
				break;
			memmove(s + i, s + i + 1, (nr - i - 1) * sizeof(*s));
			nr--;
			break;
		case 3:
			if (nr >= max)
				break;
			one = s[i];
			memmove(s + j + 1, s + j, (nr - j) * sizeof(*s));
			s[j] = one;
			nr++;
			break;
		case 4:
			one = s[i];
			s[i] = s[j];
			s[j] = one;
			break;
		default:
			mutate_field(&s[i]);
			break;
		}
	}
	/* Structures that were written over get past the checks only if the chain is right again. */
	if (nr < max && !below(4)) {
		s[nr] = (struct step){ .code = STEP_RELINK, .a = (u8)(FIX_LINK | below(16)) };
		nr++;
	}
	return nr * sizeof(*s);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *to, size_t room, unsigned int seed)
{
	size_t na = a_size / sizeof(struct step), nb = b_size / sizeof(struct step), from, n;

	rng_x = seed * 0x9e3779b97f4a7c15ull | 1;
	rng();
	n = below((u32)na + 1);
	from = below((u32)nb + 1);
	if (n > room / sizeof(struct step))
		n = room / sizeof(struct step);
	memcpy(to, a, n * sizeof(struct step));
	nb -= from;
	if (nb > room / sizeof(struct step) - n)
		nb = room / sizeof(struct step) - n;
	memcpy(to + n * sizeof(struct step), b + from * sizeof(struct step), nb * sizeof(struct step));
	return (n + nb) * sizeof(struct step);
}
