// SPDX-License-Identifier: GPL-2.0
/*
 * What src/recovery.c does, and all the crashes after which it has to.
 */
#include "sim.h"

struct figures figures;

/* ---------------------------------------------------------------- the walk */

static int walk_read(void *ctx, u64 id, u32 block, u32 nr, void *buf)
{
	struct sim *s = ctx;
	u32 place = (slot_of(s, id) << s->index.slot_shift) + block;

	CHECK(block + nr <= s->geom.slot_blocks);
	return device_read(&s->cache, place_sector(s, place), nr * WB_BLOCK_SECTORS, buf) ? 0 : -EIO;
}

static int walk_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct sim *s = ctx;
	u32 slot = slot_of(s, h->id), place, i, n;
	u32 first = (slot << s->index.slot_shift) + h->block + 1;
	struct wb_index_view v = {
		.head_end = ((u64)slot + 1) << s->index.slot_shift,
		.durable_rank = ~0ull,
	};
	struct wb_entry e;

	for (i = 0; i < h->nr_entries; i++) {
		i = wb_index_load(&s->index, h, raw, i, first, count_nothing, NULL);
		if (i == h->nr_entries)
			break;
		wb_entry_decode(raw, i, &e);
		if (!(e.flags & WB_ENTRY_TOMBSTONE)) {
			wb_index_insert(&s->index, e.block, first + i, e.mask, &v, count_nothing, NULL);
			continue;
		}
		for (n = 0; n < e.crc; n++)
			while ((place = wb_index_first(&s->index, e.block + n)) != WB_NO_PLACE)
				wb_index_unlink(&s->index, place, count_nothing, NULL);
	}
	return 0;
}

static void walk_note(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	(void)ctx;
	trace("walk: segment %llu block %u: %s (%s)", ULL(id), block, text, wb_verdict_text(why));
}

static const struct wb_walk_ops walk_ops = {
	.read = walk_read,
	.apply = walk_apply,
	.note = walk_note,
};

static bool read_record(struct sim *s, struct wb_record *r, int *which)
{
	u8 block[WB_NR_COPIES][WB_BLOCK_SIZE];
	const void *copies[WB_NR_COPIES];
	u32 i;

	for (i = 0; i < WB_NR_COPIES; i++)
		copies[i] = device_read(&s->cache, record_sector(i), WB_BLOCK_SECTORS, block[i]) ?
			    block[i] : NULL;
	return wb_record_pick(&s->geom, copies, r, which) == WB_OK;
}

/* The model's number of the chunk where the walk ended. All the walk took must be there. */
static u32 last_accepted(const struct sim *s, const struct wb_walk *w)
{
	const struct model *m = s->m;
	u32 last = m->next_chunk - 1, nr = 0, i;

	while (last && (m->chunk[last].h.id > w->last.id ||
			(m->chunk[last].h.id == w->last.id && m->chunk[last].h.chunk > w->last.chunk)))
		last--;
	for (i = last; i && m->chunk[i].h.id > w->record->migrated; i--)
		nr++;
	if (!w->nr_chunks)
		return last;
	CHECKF(last && m->chunk[last].written && m->chunk[last].h.crc == w->last_crc,
	       "what was accepted as segment %llu.%u is not chunk %u", ULL(w->last.id), w->last.chunk,
	       last);
	CHECKF(nr == w->nr_chunks, "%llu chunks accepted, %u are there", ULL(w->nr_chunks), nr);
	return last;
}

/* ---------------------------------------------------------------- the steps */

/* One request and its completion, each of which may be the last thing that happens. */
static bool do_write(struct sim *s, u32 sector, const void *bytes, u32 flags, u32 *ops)
{
	u64 h;

	if (!(*ops)--)
		return false;
	h = device_write(&s->cache, sector, WB_BLOCK_SECTORS, bytes, flags);
	if (!(*ops)--)
		return false;
	device_written(&s->cache, h);
	return true;
}

static bool do_flush(struct device *d, u32 *ops)
{
	u64 h;

	if (!(*ops)--)
		return false;
	h = device_flush(d);
	if (!(*ops)--)
		return false;
	device_flushed(d, h);
	return true;
}

static bool write_record(struct sim *s, int copy, u32 *ops)
{
	u8 block[WB_BLOCK_SIZE];

	s->record.seq++;
	wb_record_encode(&s->geom, &s->record, block);
	return do_write(s, record_sector((u32)copy), block, W_FUA, ops);
}

enum recovery recover(struct sim *s, u32 crash_after, u32 *last)
{
	struct wb_record record;
	struct wb_walk w = { .geom = &s->geom, .record = &record, .ops = &walk_ops, .ctx = s };
	u32 ops = crash_after, block, i;
	int good = 0;
	u64 id;

	wb_index_clear(&s->index);
	if (!read_record(s, &record, &good)) {
		CHECKF(s->rot, "no good record");
		return REFUSED;
	}
	if (wb_walk(&w) || w.state == WB_LOG_DAMAGED) {
		CHECKF(s->rot, "a crash is taken for damage, at segment %llu block %u", ULL(w.bad_id),
		       w.bad_block);
		return REFUSED;
	}
	*last = last_accepted(s, &w);
	trace("recovery: migrated %llu, %llu chunks up to %llu.%u (chunk %u)%s", ULL(record.migrated),
	      ULL(w.nr_chunks), ULL(w.last.id), w.last.chunk, *last,
	      w.state == WB_LOG_TORN ? ", torn" : "");
	if (wb_walk_must_record(&w, &s->record)) {
		good = !good;
		if (!write_record(s, good, &ops))
			return INTERRUPTED;
		record = s->record;
	}
	for (i = 0; wb_walk_must_destroy(&w, (int)i, &id, &block); i++)
		if (!do_write(s, place_sector(s, (slot_of(s, id) << s->index.slot_shift) + block),
			      NULL, 0, &ops))
			return INTERRUPTED;
	if (!do_flush(&s->cache, &ops))
		return INTERRUPTED;
	wb_walk_next_life(&w, &s->record);
	if (!write_record(s, !good, &ops) || !write_record(s, good, &ops) ||
	    !do_flush(&s->backing, &ops))
		return INTERRUPTED;
	return RECOVERED;
}

/* ---------------------------------------------------------------- what is there then */

/* @rotten: nobody gets it as if it were good, or nobody has looked yet. */
static u64 value_of(const struct sim *s, u32 sector, bool *backing, bool *rotten)
{
	u32 in = sector % WB_BLOCK_SECTORS, p, at = sector;
	const struct device *d = &s->backing;

	for (p = wb_index_first(&s->index, sector / WB_BLOCK_SECTORS); p != WB_NO_PLACE;
	     p = wb_index_next(&s->index, p)) {
		if (!(s->index.entries[p].mask >> in & 1))
			continue;
		*rotten = s->index.entries[p].flags & WB_ENTRY_ROTTEN;
		d = &s->cache;
		at = place_sector(s, p) + in;
		break;
	}
	*backing = d == &s->backing;
	if (d == &s->cache && at == s->cache.unreadable)
		*rotten = true;
	return model_value(sector, arena[d->seen[at]], s->rot);
}

static u32 sector_of_copy(const struct sim *s, u32 sector)
{
	u32 in = sector % WB_BLOCK_SECTORS, p;

	for (p = wb_index_first(&s->index, sector / WB_BLOCK_SECTORS); p != WB_NO_PLACE;
	     p = wb_index_next(&s->index, p))
		if (s->index.entries[p].mask >> in & 1)
			return place_sector(s, p) + in;
	return NEVER;
}

/* What is reported as rotten need not be right, nor what lies in @unknown, where nobody looked yet. */
static void check_sectors(const struct sim *s, u32 last, u32 unknown)
{
	bool backing, rotten;
	u32 sector;
	u64 value;

	for (sector = 0; sector < s->m->nr_sectors; sector++) {
		rotten = false;
		value = value_of(s, sector, &backing, &rotten);
		if (rotten || (unknown != NEVER && sector_of_copy(s, sector) == unknown))
			continue;
		model_check_recovered(s->m, sector, value, last, backing, s->rot);
	}
}

void check_recovered(struct sim *s, u32 last)
{
	CHECKF(last >= s->m->must, "chunk %u was durable, and the log ends at chunk %u", s->m->must,
	       last);
	check_sectors(s, last, NEVER);
}

void adopt_recovered(struct sim *s, u32 last)
{
	bool backing, rotten;
	u32 sector;

	for (sector = 0; sector < s->m->nr_sectors; sector++)
		model_adopt(s->m, sector, value_of(s, sector, &backing, &rotten), last);
	s->m->next_chunk = last + 1;
	s->m->must = last;
	s->m->durable = last;
	s->m->acked_chunk = last;
	s->base_chunk = last + 1;
}

/* ---------------------------------------------------------------- every crash */

#define crashed (*sim_copies[0])
#define copy (*sim_copies[1])

static void recover_fully(struct sim *s)
{
	enum recovery how;
	u32 last = 0;

	how = recover(s, NEVER, &last);
	CHECK(how == RECOVERED);
	check_recovered(s, last);
	figures.crashes++;
}

static void crash_and_recover(const struct sim *s, enum crash how, u64 salt)
{
	struct rng r = rng_init(salt);

	sim_copy_devices(&crashed, s);
	trace_try(true);
	trace("crash here: %s", crash_name[how]);
	device_crash(&crashed.cache, how, &r);
	device_crash(&crashed.backing, how, &r);
	recover_fully(&crashed);
}

/* Die again at each operation of the recovery. */
static void crash_in_recovery(const struct sim *s, enum crash how, u64 salt)
{
	struct rng r = rng_init(salt);
	enum recovery result = INTERRUPTED;
	enum crash again;
	u32 op, last = 0;

	sim_copy_devices(&crashed, s);
	trace_try(true);
	trace("crash here: %s", crash_name[how]);
	device_crash(&crashed.cache, how, &r);
	device_crash(&crashed.backing, how, &r);
	for (op = 0; result == INTERRUPTED; op++) {
		trace_try(true);
		sim_copy_devices(&copy, &crashed);
		result = recover(&copy, op, &last);
		CHECK(result != REFUSED);
		again = (enum crash)rng_below(&r, NR_CRASHES);
		trace("crash at operation %u of the recovery: %s", op, crash_name[again]);
		device_crash(&copy.cache, again, &r);
		device_crash(&copy.backing, again, &r);
		figures.in_recovery++;
		recover_fully(&copy);
	}
}

/* ---------------------------------------------------------------- rot */

/* Is the header of this chunk still what was written? */
static bool header_intact(const struct sim *s, const struct chunk_model *c)
{
	u32 place = (slot_of(s, c->h.id) << s->index.slot_shift) + c->h.block;
	u8 block[WB_BLOCK_SIZE];
	struct wb_header h;

	return c->written && device_read(&s->cache, place_sector(s, place), WB_BLOCK_SECTORS, block) &&
	       wb_header_decode(&s->geom, block, &h) == WB_OK && h.crc == c->h.crc;
}

/* The last chunk that anybody who can be read calls durable. */
static u32 last_claimed(struct sim *s)
{
	const struct model *m = s->m;
	struct wb_record r;
	struct wb_pos claimed;
	int which;
	u32 i;

	if (!read_record(s, &r, &which))
		return 0;
	claimed = r.durable;
	for (i = m->next_chunk - 1; i && m->chunk[i].h.id > r.migrated; i--)
		if (m->chunk[i].h.id >= r.life_start && m->chunk[i].h.epoch == r.epoch &&
		    header_intact(s, &m->chunk[i]))
			claimed = wb_pos_max(claimed, m->chunk[i].h.durable);
	for (i = m->next_chunk - 1; i; i--)
		if (wb_pos_cmp((struct wb_pos){ m->chunk[i].h.id, m->chunk[i].h.chunk }, claimed) <= 0)
			break;
	return i;
}

/* Mostly in a chunk that counts, and mostly in its header: that is where it hurts. */
static u32 choose_rot(const struct sim *s, struct rng *r)
{
	u32 nr = s->m->next_chunk - 1, back;
	const struct wb_header *h;

	if (rng_one_in(r, 10))
		return record_sector(rng_below(r, WB_NR_COPIES));
	if (!nr || rng_one_in(r, 6))
		return FIRST_SLOT + rng_below(r, s->cache.nr_sectors - FIRST_SLOT);
	back = rng_below(r, nr < 10 ? nr : 10);
	h = &s->m->chunk[nr - back].h;
	return place_sector(s, (slot_of(s, h->id) << s->index.slot_shift) + h->block) +
	       (rng_one_in(r, 2) ? 0 : rng_below(r, (1 + h->nr_entries) * WB_BLOCK_SECTORS));
}

static void damage(struct sim *s, u32 sector, struct rng *r)
{
	u32 old = s->cache.stable[sector], new = arena_get(1);

	memcpy(arena[new], arena[old], WB_SECTOR_SIZE);
	switch (rng_below(r, 5)) {
	case 0:
		s->cache.unreadable = sector;
		break;
	case 1:
		arena[new][rng_below(r, WB_SECTOR_SIZE)] ^= (u8)(1u << rng_below(r, 8));
		break;
	case 2:
		rng_fill(r, arena[new], WB_SECTOR_SIZE);
		break;
	case 3:
		memset(arena[new], 0, WB_SECTOR_SIZE);
		break;
	case 4:	/* another sector, perhaps a header that is valid elsewhere */
		old = s->cache.stable[FIRST_SLOT + rng_below(r, (s->cache.nr_sectors - FIRST_SLOT) /
							     WB_BLOCK_SECTORS) * WB_BLOCK_SECTORS];
		memcpy(arena[new], arena[old], WB_SECTOR_SIZE);
		break;
	}
	s->cache.stable[sector] = new;
	s->cache.seen[sector] = new;
	trace("rot in sector %u of the cache device (place %d)%s", sector,
	      sector < FIRST_SLOT ? -1 : (int)((sector - FIRST_SLOT) / WB_BLOCK_SECTORS),
	      s->cache.unreadable == sector ? ": unreadable" : "");
}

/* May rot there make recovery refuse? */
static bool may_refuse(const struct sim *s, u32 sector)
{
	const struct wb_header *h;
	u32 i;

	if (sector < FIRST_SLOT || s->cache.unreadable != NEVER)
		return true;
	for (i = s->m->next_chunk - 1; i; i--) {
		h = &s->m->chunk[i].h;
		if (sector == place_sector(s, (slot_of(s, h->id) << s->index.slot_shift) + h->block))
			return true;
	}
	return false;
}

static void migrate_what_can_be(struct sim *s)
{
	u32 patience = 200000, place;

	begin_life(s);
	s->fault_count = 0;
	while ((s->order.migrated < s->order.durable_segment || s->mig.state != M_IDLE) &&
	       s->mig.failures < 3 && --patience)
		if (!migrate_step(s))
			completion_step(s);
	CHECK(patience);
	for (place = 0; place < s->index.nr_places; place++)
		CHECKF(!(s->index.entries[place].flags & WB_ENTRY_ROTTEN) ||
		       place_id(s, place) > s->order.migrated,
		       "place %u cannot be read, and its segment counts as migrated", place);
}

/*
 * One sector of the cache device goes bad. Recovery may refuse, if it is one that counts. If it does
 * not, nothing may be gone that anybody can prove to have been durable; and once migration has looked
 * at everything, all is right or reported.
 */
static void crash_and_rot(const struct sim *s, enum crash how, u64 salt)
{
	struct rng r = rng_init(salt);
	u32 last = 0, sector, claimed, backing_flushed = s->m->backing_flushed;

	sim_copy_devices(&crashed, s);
	trace_try(true);
	trace("crash here: %s", crash_name[how]);
	/* Where the log is cut, what was being migrated of it may be torn. */
	crashed.backing.tears = false;
	device_crash(&crashed.cache, how, &r);
	device_crash(&crashed.backing, how, &r);
	sector = choose_rot(&crashed, &r);
	damage(&crashed, sector, &r);
	crashed.rot = true;
	claimed = last_claimed(&crashed);
	figures.rots++;
	if (recover(&crashed, NEVER, &last) == REFUSED) {
		figures.refused++;
		trace("refused");
		CHECKF(may_refuse(&crashed, sector), "refused for rot that does not matter");
	} else {
		CHECKF(last >= claimed, "chunk %u is called durable, and the log ends at chunk %u",
		       claimed, last);
		check_sectors(&crashed, last, sector);
		migrate_what_can_be(&crashed);
		s->m->backing_flushed = backing_flushed;	/* that was on a copy */
		check_sectors(&crashed, last, NEVER);
	}
}

/* One copy of the record is lost. If the other one is whole nothing else is. */
static void crash_and_lose_record(const struct sim *s, enum crash how, u64 salt)
{
	struct rng r = rng_init(salt);
	u32 copy_lost = rng_below(&r, WB_NR_COPIES);
	struct wb_record other;
	u8 block[WB_BLOCK_SIZE];

	sim_copy_devices(&crashed, s);
	trace_try(true);
	trace("crash here: %s, and copy %u of the record is lost", crash_name[how], copy_lost);
	device_crash(&crashed.cache, how, &r);
	device_crash(&crashed.backing, how, &r);
	device_read(&crashed.cache, record_sector(!copy_lost), WB_BLOCK_SECTORS, block);
	if (wb_record_decode(&s->geom, block, &other) != WB_OK)
		return;		/* torn, while it was being written: then nobody can help */
	crashed.cache.unreadable = record_sector(copy_lost);
	recover_fully(&crashed);
}

/* ---------------------------------------------------------------- all of it */

void crash_here(const struct sim *s, u64 salt)
{
	u32 mark = arena_used, n = s->m->now;

	figures.points++;
	salt = mix64(salt) + n * 64ull;
	crash_and_recover(s, LOSE_ALL, salt);
	crash_and_recover(s, KEEP_ALL, salt);
	crash_and_recover(s, RANDOM, salt + 1);
	crash_and_recover(s, RANDOM, salt + 2);
	crash_and_recover(s, PANIC, salt + 3);
	if (n % 7 == 0)
		crash_in_recovery(s, (enum crash)(n / 7 % NR_CRASHES), salt + 4);
	if (n % 3 == 0)
		crash_and_rot(s, (enum crash)(n / 3 % PANIC), salt + 5);
	if (n % 3 == 1)
		crash_and_lose_record(s, (enum crash)(n / 3 % NR_CRASHES), salt + 6);
	arena_used = mark;
	trace_try(false);
}
