// SPDX-License-Identifier: GPL-2.0
/*
 * The ordering state machine against a slow model of what its header promises.
 *
 * The model remembers when each write was issued and completed and when each flush was, and derives
 * from that alone what is durable. Random legal calls, failures among them; after each of them
 * every question that order.h answers is asked of both.
 */
#include "order.h"
#include "test.h"

struct model_chunk {
	u64 id;
	u32 chunk, end;
	u64 issued, done;	/* times, 0 = not yet */
	bool fua, flushes, failed, durable, last;
	u64 covered;		/* by the failed flush issued then */
};

struct model {
	struct wb_geom geom;
	struct wb_order o;
	struct rng r;
	struct model_chunk *c;
	u64 nr, max;		/* sealed */
	u64 run;		/* durable without a gap */
	bool open;		/* a chunk is */
	u64 open_id;
	u32 open_chunk, open_block;
	u64 prepared, migrated, recorded[WB_NR_COPIES];
	struct wb_pos durable;
	u64 durable_segment, life_start;
	u64 flush;		/* when it was issued, 0 = none in flight */
	u64 flush_chunk;	/* it is the PREFLUSH of this chunk, ~0 = a flush by itself */
	bool failed;
	u64 now;
};

/* Derive what is durable from the history, and hold all that order.c says against it. */
static u64 compare(struct model *m)
{
	struct wb_order *o = &m->o;
	u64 i, run, limit, moved;
	bool written = true, settled = true, any = false, covered;

	/* After a failure it does not move any more, whatever still succeeds. */
	for (run = m->run; !m->failed && run < m->nr && m->c[run].durable; run++)
		;
	m->run = run;
	m->durable_segment = m->life_start - 1;
	for (i = 0; i < run; i++)
		if (m->c[i].last)
			m->durable_segment = m->c[i].id;
	moved = o->first;
	CHECKF(o->first == run, "durable point behind chunk %llu, should be %llu",
	       (unsigned long long)o->first, (unsigned long long)run);
	if (run) {
		CHECK(o->durable.id == m->c[run - 1].id && o->durable.chunk == m->c[run - 1].chunk);
		CHECK(o->durable_end == m->c[run - 1].end);
	}
	CHECK(wb_pos_cmp(o->durable, m->durable) >= 0);
	m->durable = o->durable;
	CHECKF(o->durable_segment == m->durable_segment, "durable segment %llu, should be %llu",
	       (unsigned long long)o->durable_segment, (unsigned long long)m->durable_segment);
	CHECK(o->open == m->nr && o->failed == m->failed && o->flushing == !!m->flush);
	CHECK(o->migrated == m->migrated && o->prepared == m->prepared);

	limit = m->recorded[0] < m->recorded[1] ? m->recorded[0] : m->recorded[1];
	CHECK(wb_order_reusable(o) == limit);
	CHECK(wb_order_full(o) == (m->prepared + 1 > limit + m->geom.nr_slots));
	CHECK(wb_order_may_prepare(o) ==
	      (!m->failed && m->prepared + 1 <= limit + m->geom.nr_slots &&
	       m->prepared + 1 <= m->durable_segment + WB_MAX_VOLATILE_SEGMENTS));
	CHECK(wb_order_may_seal(o) == (m->nr - run + 1 < WB_ORDER_CHUNKS));
	CHECK(wb_order_may_open(o) ==
	      (!m->failed && !m->open && m->open_id < m->prepared &&
	       m->nr - run < WB_ORDER_CHUNKS));
	for (i = run; i < m->nr; i++) {
		/* Those on their way with FUA see to themselves, those the flush in flight covers do. */
		covered = m->c[i].durable || (m->c[i].fua && !m->c[i].done) ||
			  (m->c[i].done && !m->c[i].failed &&
			   (m->flush > m->c[i].done || m->c[i].covered));
		settled &= covered;
		written &= covered || (m->c[i].done && !m->c[i].failed);
		CHECK(wb_order_settled(o, i + 1) == (settled && !m->failed));
		any |= m->c[i].done && !m->c[i].failed && !m->c[i].durable &&
		       !(m->flush > m->c[i].done) && !m->c[i].covered;
		CHECK(wb_order_all_written(o, i + 1) == written);
	}
	CHECKF(wb_order_may_flush(o) == (any && !m->flush && !m->failed), "may_flush: %d",
	       wb_order_may_flush(o));
	return moved;
}

/* The flush in flight ended. */
static void flush_ended(struct model *m, bool ok)
{
	u64 i;

	for (i = 0; i < m->nr; i++) {
		if (!m->c[i].done || m->c[i].failed || m->c[i].done > m->flush)
			continue;
		/* Nothing is trusted that a failed one covered, whatever a later one says. */
		if (!ok && !m->c[i].durable)
			m->c[i].covered = m->flush;
		if (ok && !m->c[i].covered)
			m->c[i].durable = true;
	}
	m->flush = 0;
	if (!ok)
		m->failed = true;
}

static u64 pick(struct model *m, bool issued)
{
	u64 i, found = ~0ull;
	u32 n = 0;

	for (i = 0; i < m->nr; i++)
		if (!m->c[i].done && !!m->c[i].issued == issued && rng_one_in(&m->r, ++n))
			found = i;
	return found;
}

static void step(struct model *m, u32 fail_one_in)
{
	struct wb_order *o = &m->o;
	struct model_chunk *c;
	u64 before = o->first, seq, i;
	bool ok = !fail_one_in || !rng_one_in(&m->r, fail_one_in), moved, commit;
	unsigned int expect;
	enum wb_write_how how;
	u32 k;

	m->now++;
	switch (rng_below(&m->r, 11)) {
	case 0:
		if (!wb_order_may_prepare(o))
			break;
		wb_order_prepared(o);
		trace("prepared %llu", (unsigned long long)++m->prepared);
		break;
	case 1:
	case 2:
		if (!m->open && wb_order_may_open(o)) {
			wb_order_open_segment(o);
			m->open = true;
			m->open_id++;
			m->open_chunk = m->open_block = 0;
			CHECK(o->current_id == m->open_id);
			CHECK(wb_order_chunk(o, o->open)->id == m->open_id);
			CHECK(wb_order_chunk(o, o->open)->chunk == 0);
			trace("open segment %llu", (unsigned long long)m->open_id);
		} else if (m->open && m->open_chunk && rng_one_in(&m->r, 8)) {
			wb_order_close(o);
			m->open = false;
			m->c[m->nr - 1].last = true;
			trace("close segment %llu", (unsigned long long)m->open_id);
		} else if (m->open && wb_order_may_seal(o)) {
			m->open_block += 2 + rng_below(&m->r, 2);
			expect = m->open_block + 1 >= m->geom.slot_blocks || rng_one_in(&m->r, 6);
			seq = wb_order_seal(o, m->open_block, expect);
			CHECK(seq == m->nr);
			if (m->nr == m->max) {
				m->max = m->max * 2 + 64;
				m->c = realloc(m->c, m->max * sizeof(*m->c));
				CHECK(m->c);
			}
			m->c[m->nr++] = (struct model_chunk){ .id = m->open_id,
				.chunk = m->open_chunk++, .end = m->open_block, .last = expect };
			m->open = !expect;
			if (m->open) {
				CHECK(wb_order_chunk(o, o->open)->id == m->open_id);
				CHECK(wb_order_chunk(o, o->open)->chunk == m->open_chunk);
			}
			trace("seal %llu%s", (unsigned long long)seq, expect ? ", the last" : "");
		}
		break;
	case 3:
	case 4:
		i = pick(m, false);
		if (i == ~0ull)
			break;
		c = &m->c[i];
		commit = rng_one_in(&m->r, 3);
		expect = commit && !m->failed ? WB_WRITE_FUA : WB_WRITE_PLAIN;
		for (seq = 0; expect && seq < i; seq++) {
			if (m->c[seq].durable || (m->c[seq].fua && !m->c[seq].done) ||
			    (m->c[seq].done && m->flush > m->c[seq].done))
				continue;
			/* It needs a flush, which this one is if it can. */
			expect = WB_WRITE_PLAIN;
			if (m->c[seq].done && !m->flush)
				expect = WB_WRITE_FLUSH_FUA;
		}
		how = wb_order_write(o, i, commit);
		c->fua = how != WB_WRITE_PLAIN;
		c->flushes = how == WB_WRITE_FLUSH_FUA;
		c->issued = m->now;
		trace("write %llu%s%s", (unsigned long long)i, c->flushes ? " PREFLUSH" : "",
		      c->fua ? " FUA" : "");
		CHECKF(how == expect, "write of chunk %llu in way %d, not %d",
		       (unsigned long long)i, (int)how, (int)expect);
		if (c->flushes) {
			m->flush = m->now;
			m->flush_chunk = i;
		}
		break;
	case 5:
	case 6:
		i = pick(m, true);
		if (i == ~0ull)
			break;
		c = &m->c[i];
		c->done = m->now;
		c->failed = !ok;
		trace("write %llu %s", (unsigned long long)i, ok ? "completes" : "fails");
		moved = wb_order_written(o, i, ok);
		if (!ok)
			m->failed = true;
		if (c->flushes)
			flush_ended(m, ok);
		if (c->fua)
			c->durable = ok;
		compare(m);
		CHECK(moved == (o->first != before));
		break;
	case 7:
		if (!wb_order_may_flush(o))
			break;
		wb_order_flush(o);
		m->flush = m->now;
		m->flush_chunk = ~0ull;
		trace("flush");
		break;
	case 8:
		if (!m->flush || m->flush_chunk != ~0ull)
			break;
		trace("flush %s", ok ? "completes" : "fails");
		moved = wb_order_flushed(o, ok);
		flush_ended(m, ok);
		compare(m);
		CHECK(moved == (o->first != before));
		break;
	case 9:
		/* Also more than is durable, and less than before: neither must count. */
		i = m->migrated + rng_below(&m->r, (u32)(m->open_id - m->migrated) + 3);
		if (rng_one_in(&m->r, 4))
			i = m->migrated / 2;
		wb_order_migrated(o, i);
		if (i <= m->durable_segment && i > m->migrated)
			m->migrated = i;
		trace("migrated %llu", (unsigned long long)m->migrated);
		break;
	case 10:
		k = rng_below(&m->r, WB_NR_COPIES);
		m->recorded[k] = m->migrated;
		wb_order_recorded(o, (int)k, m->migrated);
		trace("copy %u says %llu", k, (unsigned long long)m->migrated);
		break;
	}
}

static void one(u64 seed, u32 slots, u32 fail_one_in, u32 steps)
{
	struct model m = { 0 };
	struct wb_record r;
	u32 i;

	trace_reset();
	m.r = rng_init(seed);
	CHECK(!wb_geometry(&m.geom, (WB_FIRST_SLOT_OFFSET + (u64)slots * (64 << 10)) >>
			   WB_SECTOR_SHIFT, 1000, 64 << 10));
	r = (struct wb_record){ .seq = 1, .epoch = 1, .migrated = rng_below(&m.r, 100) };
	r.life_start = r.migrated + 1 + rng_below(&m.r, slots + 1);
	r.durable.id = r.life_start - 1;
	m.life_start = r.life_start;
	m.prepared = m.open_id = r.life_start - 1;
	m.migrated = m.recorded[0] = m.recorded[1] = r.migrated;
	m.durable_segment = r.life_start - 1;
	m.durable = r.durable;
	/* All that is not set must not matter. */
	memset(&m.o, 0xa5, sizeof(m.o));
	wb_order_init(&m.o, &m.geom, &r);
	CHECK(!wb_pos_cmp(m.o.durable, r.durable));
	compare(&m);
	for (i = 0; i < steps; i++) {
		step(&m, fail_one_in);
		compare(&m);
	}
	free(m.c);
}

static void runs(const char *name, u32 slots, u32 fail_one_in, u32 steps, u64 rounds)
{
	u64 seed = test_options.seed, i;

	test_case(name);
	for (i = 0; test_more(i, rounds); i++) {
		test_options.seed = seed + i;
		one(seed + i, slots, fail_one_in, steps);
	}
	test_options.seed = seed;
}

/* So many chunks and segments at once that the limits are reached. */
static void test_limits(void)
{
	struct wb_geom g = { 0 };
	struct wb_record r = { .seq = 1, .epoch = 1, .life_start = 1 };
	struct wb_order o;
	u32 n;
	u64 seq;

	test_case("limits of what may be in flight");
	CHECK(!wb_geometry(&g, 1 << 20, 1000, WB_MIN_SEGMENT_SIZE) && g.nr_slots > 100);
	wb_order_init(&o, &g, &r);
	for (n = 0; wb_order_may_prepare(&o); n++)
		wb_order_prepared(&o);
	/*
	 * A header that calls the first chunk of segment 1 durable can be no further away than the
	 * first header of the segment after those that were prepared: recovery looks as far as
	 * that.
	 */
	CHECK(n == WB_MAX_VOLATILE_SEGMENTS);
	for (n = 0; wb_order_may_open(&o); n++) {
		wb_order_open_segment(&o);
		seq = wb_order_seal(&o, 2, true);
		wb_order_write(&o, seq, false);
		wb_order_written(&o, seq, true);
		CHECK(!wb_order_may_prepare(&o));
	}
	CHECK(n == WB_MAX_VOLATILE_SEGMENTS);
	wb_order_flush(&o);
	CHECK(wb_order_flushed(&o, true) && o.durable_segment == n);
	CHECK(wb_order_may_prepare(&o) && !wb_order_may_open(&o));

	for (n = 0; n < 3; n++)
		wb_order_prepared(&o);
	wb_order_open_segment(&o);
	for (n = 0; wb_order_may_seal(&o); n++)
		wb_order_seal(&o, n + 2, false);
	CHECK(n == WB_ORDER_CHUNKS - 1);
	CHECK(wb_order_chunk(&o, o.open)->state == WB_CHUNK_OPEN);
	CHECK(wb_order_chunk(&o, o.first)->state == WB_CHUNK_SEALED);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_limits();
	runs("random order, 4 slots", 4, 0, 2000, 200);
	runs("random order, 100 slots", 100, 0, 4000, 100);
	runs("random order with failures, 4 slots", 4, 60, 600, 1500);
	runs("random order with failures, 50 slots", 50, 100, 600, 1500);
	return test_end();
}
