// SPDX-License-Identifier: GPL-2.0
/*
 * Crashes, rot and lives: what the walk accepts, what it cuts and what it refuses.
 *
 * A log is written by the real order.c on a simulated device. At every device operation the machine
 * dies in several ways on a copy of the world, and what recovery finds there is held against what
 * was written and what was acknowledged. Then on other copies sectors rot.
 */
#include "log.h"

static struct wb_geom geometry(u32 slots, u32 segment_size)
{
	struct wb_geom g = { 0 };
	u64 cache = (WB_FIRST_SLOT_OFFSET + (u64)slots * segment_size) >> WB_SECTOR_SHIFT;

	CHECK(!wb_geometry(&g, cache, 1000003, segment_size) && g.nr_slots == slots);
	return g;
}

/* ---------------------------------------------------------------- crashes */

static void crash_and_walk(const struct log *l, enum disk_crash how, u64 seed)
{
	struct rng r = rng_init(seed);
	struct log_walk lw = { .verify_all = rng_one_in(&r, 2) };
	struct log copy;

	log_copy(&copy, l);
	log_crash(&copy, how, &r);
	log_walk_good(&copy, &lw);
	log_exit(&copy);
}

/*
 * Recover, but die again at each operation of the recovery; recover then, and look again. A copy of
 * the record may go bad on top of it, for whichever is left must not mislead.
 */
static void crash_in_recovery(const struct log *l, enum disk_crash how, u64 seed)
{
	struct rng r = rng_init(seed);
	struct log_walk lw = { 0 }, again;
	struct log crashed, copy;
	bool began = false;
	u32 op;

	log_copy(&crashed, l);
	log_crash(&crashed, how, &r);
	for (op = 0; !began; op++) {
		log_copy(&copy, &crashed);
		copy.rng = rng_init(seed + op);
		began = log_recover(&copy, op);
		log_crash(&copy, (enum disk_crash)rng_below(&r, NR_CRASHES), &r);
		log_walk_good(&copy, &lw);
		CHECK(!began || lw.start + lw.nr == copy.nr);
		/* The same again gives the same. */
		again = (struct log_walk){ .verify_all = true };
		log_walk_good(&copy, &again);
		CHECK(lw.nr == again.nr && lw.walk.state == again.walk.state);
		CHECK(log_recover(&copy, ~0u));
		log_walk_good(&copy, &lw);
		CHECK(lw.start + lw.nr == copy.nr && lw.walk.state == WB_LOG_ENDS);
		log_exit(&copy);
	}
	CHECK(op > 8);
	log_exit(&crashed);
}

/* After any crash either copy of the record may turn out to be bad: the other one must do. */
static void crash_and_lose_record(const struct log *l, enum disk_crash how, u64 seed)
{
	struct rng r = rng_init(seed);
	struct log_walk lw = { 0 };
	struct wb_record rec;
	struct log copy;
	struct rot rot;
	int i;

	if (how == CRASH_PANIC)
		how = CRASH_RANDOM;
	for (i = 0; i < WB_NR_COPIES; i++) {
		rot = (struct rot){ WB_RECORD_OFFSET(i), WB_SECTOR_SIZE, rng_one_in(&r, 2) };
		lw = (struct log_walk){ .rot = &rot, .nr_rot = 1 };
		log_copy(&copy, l);
		log_crash(&copy, how, &r);
		if (!rot.read_error)
			rng_fill(&r, copy.disk.stable + disk_at(rot.off), 100);
		/* The other one may be torn, if it was just being written: then nobody can help. */
		if (wb_record_decode(&copy.geom, copy.disk.stable + disk_at(WB_RECORD_OFFSET(!i)),
				     &rec) == WB_OK) {
			trace("record copy %d is lost", i);
			log_walk_good(&copy, &lw);
			CHECK(lw.which == !i);
		}
		log_exit(&copy);
	}
}

/* ---------------------------------------------------------------- rot */

static bool hit(const struct rot *rot, u32 nr, u64 off, u64 len)
{
	while (nr--)
		if (rot[nr].off < off + len && off < rot[nr].off + rot[nr].len)
			return true;
	return false;
}

/* Does @rot hit any data block of @c that holds something? Behind a tombstone there is nothing. */
static bool needed(const struct model_chunk *c, const struct rot *rot, u64 data)
{
	struct wb_entry e;
	u32 i;

	for (i = 0; i < c->h.nr_entries; i++) {
		wb_entry_decode((const void *)c->buf->bytes, i, &e);
		if (!(e.flags & WB_ENTRY_TOMBSTONE) &&
		    hit(rot, 1, data + (u64)i * WB_BLOCK_SIZE, WB_BLOCK_SIZE))
			return true;
	}
	return false;
}

/* Is it still what was written, and readable? */
static bool intact(const struct log *l, const struct log_walk *lw, const struct model_chunk *c,
		   bool data, bool readable)
{
	u64 off = wb_slot_offset(&l->geom, wb_slot_of(&l->geom, c->h.id), c->h.block);
	u32 len = (1 + c->h.nr_entries) * WB_BLOCK_SIZE, i;
	u8 *bytes = malloc(len);
	size_t head = sizeof(struct wb_header_disk) +
		      c->h.nr_entries * sizeof(struct wb_entry_disk);
	bool good = true;

	disk_read(&l->disk, off, len, bytes);
	if (data)
		good = wb_verify_chunk(&c->h, (void *)c->buf->bytes, bytes + WB_BLOCK_SIZE, NULL) ==
		       WB_OK;
	else
		good = !memcmp(bytes, c->buf->bytes, head);
	free(bytes);
	for (i = 0; readable && i < lw->nr_rot; i++)
		if (lw->rot[i].read_error &&
		    (data ? needed(c, &lw->rot[i], off + WB_BLOCK_SIZE) :
			    hit(&lw->rot[i], 1, off, WB_BLOCK_SIZE)))
			good = false;
	return good;
}

static void damage(struct log *l, struct rng *r, struct rot *rot)
{
	u64 slots = disk_at(WB_FIRST_SLOT_OFFSET), blocks = (l->disk.size - slots) / WB_BLOCK_SIZE;
	const struct model_chunk *c;
	u64 block = rng_below(r, (u32)blocks), from;
	u32 last;
	u8 *at;

	/* Mostly in a chunk, and mostly in a header: that is where it hurts. */
	if (l->nr && !rng_one_in(r, 6)) {
		last = l->nr < 12 || rng_one_in(r, 3) ? l->nr : 12;
		c = &l->chunks[l->nr - 1 - rng_below(r, last)];
		block = wb_slot_of(&l->geom, c->h.id) * l->geom.slot_blocks + c->h.block;
		if (rng_one_in(r, 3))
			block += rng_below(r, 1 + c->h.nr_entries);
	}
	rot->off = WB_FIRST_SLOT_OFFSET + block * WB_BLOCK_SIZE;
	rot->len = WB_BLOCK_SIZE;
	rot->read_error = false;
	at = l->disk.stable + slots + block * WB_BLOCK_SIZE;
	switch (rng_below(r, 7)) {
	case 0:
		rot->read_error = true;
		break;
	case 1:
		at[rng_below(r, 120)] ^= (u8)(1u << rng_below(r, 8));
		break;
	case 2:
		at[rng_below(r, WB_BLOCK_SIZE)] ^= (u8)(1u << rng_below(r, 8));
		break;
	case 3:
		rng_fill(r, at + rng_below(r, WB_BLOCK_SECTORS) * WB_SECTOR_SIZE, WB_SECTOR_SIZE);
		break;
	case 4:
		memset(at, 0, WB_SECTOR_SIZE);
		break;
	case 5:
		memset(at, 0, WB_BLOCK_SIZE);
		break;
	case 6:	/* another block, perhaps a header that is valid elsewhere */
		from = rng_below(r, (u32)blocks);
		if (l->nr && !rng_one_in(r, 3)) {
			c = &l->chunks[rng_below(r, l->nr)];
			from = wb_slot_of(&l->geom, c->h.id) * l->geom.slot_blocks + c->h.block;
		}
		memmove(at, l->disk.stable + slots + from * WB_BLOCK_SIZE, WB_BLOCK_SIZE);
		break;
	}
	trace("rot in slot %llu block %llu%s", (unsigned long long)(block / l->geom.slot_blocks),
	      (unsigned long long)(block % l->geom.slot_blocks),
	      rot->read_error ? ": unreadable" : "");
}

/* A copy of the record cannot be read any more: the other one is what counts, if it is whole. */
static void lose_record(const struct log *l, struct log_walk *lw, struct rot *rot, int copy)
{
	struct wb_record rec;

	if (wb_record_decode(&l->geom, l->disk.stable + disk_at(WB_RECORD_OFFSET(!copy)), &rec) !=
	    WB_OK)
		return;
	trace("record copy %d cannot be read", copy);
	rot[lw->nr_rot++] = (struct rot){ WB_RECORD_OFFSET(copy), WB_SECTOR_SIZE, true };
}

/*
 * After a crash and rot: what anybody who can still be read claims to be durable must be accepted,
 * or the walk must refuse. What nobody claims may be cut. Damage must not be seen where none is.
 */
static void crash_and_rot(const struct log *l, enum disk_crash how, u64 seed)
{
	struct rng r = rng_init(seed);
	struct rot rot[4];
	struct log_walk lw = { .rot = rot, .nr_rot = 0, .verify_all = rng_one_in(&r, 4) };
	struct wb_pos claimed, hidden, pos;
	struct log copy;
	u32 i, nr_good, need = 0, need_hidden = 0;
	bool any_error = false, only_errors = true, headers_good = true, data_good = true, sound;

	log_copy(&copy, l);
	if (how == CRASH_PANIC)
		how = CRASH_RANDOM;	/* rot goes to the media itself */
	log_crash(&copy, how, &r);
	if (rng_one_in(&r, 3))
		lose_record(&copy, &lw, rot, (int)rng_below(&r, WB_NR_COPIES));
	log_walk_good(&copy, &lw);
	nr_good = lw.nr;

	for (i = 1 + rng_below(&r, rng_one_in(&r, 3) ? 3 : 1); i; i--) {
		damage(&copy, &r, &rot[lw.nr_rot]);
		any_error |= rot[lw.nr_rot].read_error;
		only_errors &= rot[lw.nr_rot++].read_error;
	}

	claimed = (struct wb_pos){ lw.record.migrated, ~0u };
	claimed = wb_pos_max(claimed, lw.record.durable);
	hidden = claimed;
	for (i = lw.start; i < copy.nr; i++) {
		struct model_chunk *c = &copy.chunks[i];

		if (c->h.id < lw.record.life_start || c->h.epoch != lw.record.epoch)
			continue;
		if (intact(&copy, &lw, c, false, true))
			claimed = wb_pos_max(claimed, c->h.durable);
		/* What cannot be read now may be the one that claims most. */
		if (intact(&copy, &lw, c, false, false))
			hidden = wb_pos_max(hidden, c->h.durable);
	}
	hidden = wb_pos_max(hidden, claimed);
	for (i = lw.start; i < copy.nr; i++) {
		pos = (struct wb_pos){ copy.chunks[i].h.id, copy.chunks[i].h.chunk };
		if (wb_pos_cmp(pos, hidden) <= 0)
			need_hidden = i + 1 - lw.start;
		if (wb_pos_cmp(pos, claimed) > 0)
			continue;
		need = i + 1 - lw.start;
		headers_good &= intact(&copy, &lw, &copy.chunks[i], false, true);
		data_good &= intact(&copy, &lw, &copy.chunks[i], true, true);
	}
	trace("claimed to be durable: %llu.%u, that is %u chunks", (unsigned long long)claimed.id,
	      claimed.chunk, need);

	CHECK(log_walk(&lw));
	sound = headers_good && data_good;
	if (lw.record.clean) {
		CHECK(need == nr_good);
		CHECKF(lw.err || lw.walk.state != WB_LOG_TORN, "torn after a stop in order");
		CHECKF(!sound || (!lw.err && lw.walk.state == WB_LOG_ENDS),
		       "rot behind a log that was stopped in order does not matter");
	}
	trace("walk: error %d, state %d, %u of %u accepted", lw.err,
	      lw.err ? -1 : (int)lw.walk.state, lw.nr, nr_good);
	if (lw.err) {
		CHECKF(any_error, "an I/O error where all can be read");
	} else if (lw.walk.state == WB_LOG_DAMAGED) {
		CHECKF(!headers_good || (lw.verify_all && !data_good),
		       "refused although all that was claimed durable is there");
	} else {
		CHECKF(!only_errors || lw.nr == nr_good,
		       "what cannot be read was taken for torn: %u of %u accepted", lw.nr, nr_good);
		CHECKF(lw.nr >= need_hidden,
		       "%u chunks durable according to what cannot be read, %u accepted",
		       need_hidden, lw.nr);
		CHECKF(lw.nr >= need, "%u chunks claimed to be durable, %u accepted", need, lw.nr);
		CHECK(headers_good);
		CHECK(!lw.verify_all || data_good);
		for (i = need; i < lw.nr; i++)
			CHECKF(intact(&copy, &lw, &copy.chunks[lw.start + i], true, true),
			       "chunk %u has bad data and was accepted", lw.start + i);
	}
	log_exit(&copy);
}

/* ---------------------------------------------------------------- stopped in order */

/* Something is wrong with one block of a log that was stopped in order. Walk it. */
static void rot_and_walk(const struct log *l, struct log_walk *lw, u64 off, struct rng *r)
{
	struct rot rot[2];
	struct log copy;
	u8 *at;

	log_copy(&copy, l);
	*lw = (struct log_walk){ .log = &copy, .rot = rot, .verify_all = rng_one_in(r, 2) };
	rot[lw->nr_rot++] = (struct rot){ off, WB_BLOCK_SIZE, rng_one_in(r, 3) };
	at = copy.disk.stable + disk_at(off);
	if (rot[0].read_error)
		trace("unreadable at %llu", (unsigned long long)off);
	else if (rng_one_in(r, 2))
		rng_fill(r, at, WB_BLOCK_SIZE);
	else
		at[rng_below(r, 64)] ^= (u8)(1u << rng_below(r, 8));
	if (rng_one_in(r, 2))
		lose_record(&copy, lw, rot, (int)rng_below(r, WB_NR_COPIES));
	CHECK(log_walk(lw));
	CHECK(lw->record.clean && lw->nr_behind <= 2);
	log_exit(&copy);
}

/*
 * After a stop in order each copy of the record says so. The last chunk has nothing behind it that
 * could call it durable: the record alone does. Whatever is wrong with it is damage, not a torn
 * tail, and whatever stands behind it does not matter.
 */
static void stopped_and_rot(const struct log *l, u64 seed)
{
	const struct model_chunk *last = l->nr ? &l->chunks[l->nr - 1] : NULL;
	u32 end = last ? last->h.block + 1 + last->h.nr_entries : 0, i;
	u64 behind = last ? last->h.id : l->record.migrated, off;
	struct rng r = rng_init(seed);
	struct log_walk lw = { 0 };
	struct rot rot;
	struct log copy;

	for (i = 0; i < WB_NR_COPIES; i++) {
		log_copy(&copy, l);
		lw = (struct log_walk){ .rot = &rot };
		lose_record(l, &lw, &rot, (int)i);
		CHECK(lw.nr_rot == 1);
		log_walk_good(&copy, &lw);
		CHECK(lw.record.clean && lw.start + lw.nr == l->nr);
		CHECK(lw.walk.state == WB_LOG_ENDS);
		log_exit(&copy);
	}

	if (last && last->h.id > l->record.migrated) {
		off = wb_slot_offset(&l->geom, wb_slot_of(&l->geom, last->h.id), last->h.block);
		for (i = 0; i < 4; i++) {
			rot_and_walk(l, &lw, off, &r);
			CHECKF(lw.err == -EIO || lw.walk.state == WB_LOG_DAMAGED,
			       "the last header is bad: error %d, state %d", lw.err,
			       (int)lw.walk.state);
		}
		/* Only a check reads data that is known to be durable, and sees nothing torn. */
		for (i = 0; i < 2; i++) {
			rot_and_walk(l, &lw, off + (1 + rng_below(&r, last->h.nr_entries)) *
				     WB_BLOCK_SIZE, &r);
			CHECK(!lw.err && lw.start + lw.nr == l->nr);
			CHECK(lw.walk.state == WB_LOG_ENDS ||
			      (lw.verify_all && lw.walk.state == WB_LOG_DAMAGED));
		}
	}
	for (i = 0; i < 4; i++) {
		if (rng_one_in(&r, 2) || end >= l->geom.slot_blocks) {
			end = 0;
			behind++;
		}
		if (behind > l->record.migrated + l->geom.nr_slots)
			break;
		rot_and_walk(l, &lw, wb_slot_offset(&l->geom, wb_slot_of(&l->geom, behind), end),
			     &r);
		CHECKF(!lw.err && lw.walk.state == WB_LOG_ENDS && lw.start + lw.nr == l->nr,
		       "what is behind the end matters: error %d, state %d", lw.err,
		       (int)lw.walk.state);
	}
}

/* ---------------------------------------------------------------- runs */

static void one_run(const struct wb_geom *g, u64 seed, u32 lives, u32 every)
{
	struct log l;
	u32 steps, stop_at, i, life;
	u64 n = 0, fork;

	trace_reset();
	log_format(&l, g, seed);
	for (life = 0; life < lives; life++) {
		steps = 5 + rng_below(&l.rng, rng_one_in(&l.rng, 3) ? 400 : 60);
		stop_at = rng_one_in(&l.rng, 2) ? rng_below(&l.rng, steps) : ~0u;
		for (i = 0; i < steps; i++) {
			if (l.phase == LOG_RUNS && i >= stop_at && !l.order.failed) {
				log_stop(&l);
				stop_at = ~0u;
			}
			log_step(&l);
			if (l.phase == LOG_STOPPED) {
				stopped_and_rot(&l, mix64(seed) + n * 16 + 8);
				/* Another life begins from it, or this one goes on. */
				if (rng_one_in(&l.rng, 3))
					break;
				log_resume(&l);
				steps = i + 2 + rng_below(&l.rng, 60);
				if (rng_one_in(&l.rng, 2))
					stop_at = i + 1 + rng_below(&l.rng, 60);
			}
			if (n++ % every)
				continue;
			fork = mix64(seed) + n * 16;
			crash_and_walk(&l, CRASH_LOSE_ALL, fork);
			crash_and_walk(&l, CRASH_KEEP_ALL, fork);
			crash_and_walk(&l, CRASH_RANDOM, fork);
			crash_and_walk(&l, CRASH_RANDOM, fork + 1);
			crash_and_walk(&l, CRASH_PANIC, fork + 2);
			crash_and_rot(&l, CRASH_RANDOM, fork + 3);
			crash_and_rot(&l, CRASH_RANDOM, fork + 4);
			crash_and_rot(&l, (enum disk_crash)(fork % NR_CRASHES), fork + 5);
			crash_and_lose_record(&l, CRASH_RANDOM, fork + 6);
			if (n % 5 == 0)
				crash_in_recovery(&l, (enum disk_crash)(n / 5 % NR_CRASHES),
						  fork + 7);
		}
		if (l.phase != LOG_STOPPED)
			log_crash(&l, (enum disk_crash)rng_below(&l.rng, NR_CRASHES), &l.rng);
		while (!log_recover(&l, rng_one_in(&l.rng, 2) ? ~0u : rng_below(&l.rng, 14)))
			log_crash(&l, (enum disk_crash)rng_below(&l.rng, NR_CRASHES), &l.rng);
	}
	log_exit(&l);
}

static void runs(const char *name, u32 slots, u32 segment_size, u32 lives, u32 every, u64 rounds)
{
	struct wb_geom g = geometry(slots, segment_size);
	u64 seed = test_options.seed, i;

	test_case(name);
	for (i = 0; test_more(i, rounds); i++) {
		test_options.seed = seed + i;	/* a failure prints what begins with it */
		one_run(&g, seed + i, lives, every);
	}
	test_options.seed = seed;
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	runs("crashes and rot, 4 slots of 16 KiB", 4, 16 << 10, 6, 1, 12);
	runs("crashes and rot, 5 slots of 16 KiB", 5, 16 << 10, 6, 1, 12);
	runs("crashes and rot, 6 slots of 32 KiB", 6, 32 << 10, 5, 1, 8);
	runs("crashes and rot, 60 slots of 16 KiB", 60, 16 << 10, 4, 3, 8);
	runs("crashes and rot, 40 slots of 128 KiB", 40, 128 << 10, 3, 40, 5);
	runs("crashes and rot, 4 slots of 1 MiB", 4, 1 << 20, 3, 40, 3);
	return test_end();
}
