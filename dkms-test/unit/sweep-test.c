// SPDX-License-Identifier: GPL-2.0
/*
 * The sweep against a list of what waits.
 *
 * Segments of random copies join at random moments, windows are taken with random limits and
 * finished later, and segments leave. The model is the plain list of copies: each is taken exactly
 * once and only while it waits; what is taken of a pass ascends and nothing wanted is passed over.
 */
#include "sweep.h"
#include "test.h"

#define MAX 4096
#define WINDOW 512

enum state { WAITS, TAKEN, FINISHED };

struct copy {
	u64 id;
	u64 block;
	enum state state;
};

static struct copy copies[MAX * 4];
static u32 nr_copies;
static struct wb_cand array[MAX], fresh[256], window[WINDOW], flying[MAX];

static int by_block(const void *a, const void *b)
{
	const struct wb_cand *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* @place is the number of the copy. */
static void join(struct wb_sweep *s, struct rng *r, u32 most, u32 blocks)
{
	u32 nr = rng_below(r, most + 1), i;
	u64 id = s->last + 1;

	for (i = 0; i < nr; i++) {
		copies[nr_copies] = (struct copy){ .id = id, .block = rng_below(r, blocks) };
		fresh[i] = (struct wb_cand){
			.block = copies[nr_copies].block,
			.place = nr_copies,
			.segment = id % WB_SWEEP_SEGMENTS,
		};
		nr_copies++;
	}
	qsort(fresh, nr, sizeof(*fresh), by_block);
	wb_sweep_join(s, id, fresh, nr);
	CHECK(s->last == id);
}

static u32 unfinished(u64 first, u64 last)
{
	u32 i, n = 0;

	for (i = 0; i < nr_copies; i++)
		n += copies[i].id >= first && copies[i].id <= last && copies[i].state != FINISHED;
	return n;
}

/* The lowest block of [@from, @to) that waits and is of a segment up to @limit, or @to. */
static u64 lowest(u64 from, u64 to, u64 limit)
{
	u32 i;

	for (i = 0; i < nr_copies; i++)
		if (copies[i].state == WAITS && copies[i].id <= limit && copies[i].block >= from &&
		    copies[i].block < to)
			to = copies[i].block;
	return to;
}

static u32 take(struct wb_sweep *s, struct rng *r, u64 limit)
{
	u32 max = WB_SWEEP_RUN + rng_below(r, WINDOW - WB_SWEEP_RUN + 1);
	u32 runs = 1 + rng_below(r, 20), nr, i, seen = 1;
	u64 head = s->at < s->nr ? s->head : ~0ull, from, block;
	bool again;

	nr = wb_sweep_take(s, limit, window, max, runs, &again);
	CHECK(nr <= max);
	from = again ? 0 : head;
	if (again)
		CHECKF(lowest(head, ~0ull, limit) == ~0ull, "a pass ended before its end");
	if (!nr) {
		CHECK(lowest(0, ~0ull, limit) == ~0ull);
		return 0;
	}
	for (i = 0; i < nr; i++) {
		block = window[i].block;
		CHECK(copies[window[i].place].block == block);
		CHECKF(copies[window[i].place].state == WAITS, "taken twice");
		if (i) {
			CHECK(block >= window[i - 1].block);
			seen += block - window[i - 1].block > 1;
		}
		copies[window[i].place].state = TAKEN;
	}
	CHECKF(seen <= runs, "%u neighbourhoods, at most %u were wanted", seen, runs);
	CHECK(window[0].block >= from);
	block = window[nr - 1].block;
	CHECKF(lowest(from, block, limit) == block, "passed over what was wanted");
	return nr;
}

static void random_rounds(u64 seed)
{
	struct rng r = rng_init(seed);
	u32 per = 1 + rng_below(&r, 200), blocks = 1 + rng_below(&r, 3000), steps, nr = 0, n, i;
	struct wb_sweep s = { .cands = array, .max = MAX };
	u64 limit, id;

	nr_copies = 0;
	wb_sweep_begin(&s, 1 + rng_below(&r, 1000));
	join(&s, &r, per, blocks);
	for (steps = 0; steps < 300; steps++) {
		if (rng_one_in(&r, 3) && s.last - s.first < 200 && s.nr + per <= MAX &&
		    nr_copies + per <= ARRAY_SIZE(copies))
			join(&s, &r, per, blocks);
		if (s.last < s.first)
			continue;
		n = rng_below(&r, 2000);
		limit = wb_sweep_limit(&s, n);
		CHECK(limit >= s.first && limit <= s.last);
		CHECK(limit == s.first || unfinished(s.first, limit) <= n);
		CHECK(limit == s.last || unfinished(s.first, limit + 1) > n);
		if (rng_one_in(&r, 4))
			limit = s.last;
		if (nr + WINDOW <= MAX) {
			n = take(&s, &r, limit);
			for (i = 0; i < n; i++)
				flying[nr++] = window[i];
		}
		for (n = rng_below(&r, 600); n && nr; n--) {
			i = rng_below(&r, nr);
			copies[flying[i].place].state = FINISHED;
			wb_sweep_finished(&s, &flying[i]);
			flying[i] = flying[--nr];
		}
		for (id = s.first; id <= s.last && !unfinished(id, id); id++)
			;
		CHECK(wb_sweep_done(&s) == id - 1);
		if (id > s.first && rng_one_in(&r, 2))
			wb_sweep_leave(&s, id - 1);
	}
}

/* Two copies that wait together are taken together; one that joins behind waits for the next pass. */
static void older_first(void)
{
	static const struct wb_cand a = { .block = 5, .place = 0, .segment = 1 };
	static const struct wb_cand b = { .block = 5, .place = 9, .segment = 2 };
	static const struct wb_cand far = { .block = 99, .place = 1, .segment = 3 };
	struct wb_sweep s = { .cands = array, .max = MAX };
	bool again;

	wb_sweep_begin(&s, 1);
	wb_sweep_join(&s, 1, &a, 1);
	wb_sweep_join(&s, 2, &b, 1);
	CHECK(wb_sweep_take(&s, 1, window, WINDOW, 1, &again) == 2);
	wb_sweep_begin(&s, 1);
	s.head = 0;
	wb_sweep_join(&s, 1, &a, 1);
	CHECK(wb_sweep_take(&s, 1, window, WINDOW, 1, &again) == 1 && !again);
	wb_sweep_join(&s, 2, &b, 1);
	wb_sweep_join(&s, 3, &far, 1);
	CHECK(wb_sweep_take(&s, 3, window, WINDOW, 9, &again) == 1 && !again);
	CHECK(window[0].block == 99);
	CHECK(wb_sweep_take(&s, 3, window, WINDOW, 9, &again) == 1 && again);
	CHECK(window[0].place == 9);
	CHECK(!wb_sweep_take(&s, 3, window, WINDOW, 9, &again));
	wb_sweep_finished(&s, &b);
	CHECK(wb_sweep_done(&s) == 0);
	wb_sweep_finished(&s, &a);
	CHECK(wb_sweep_done(&s) == 2);
}

int main(int argc, char **argv)
{
	u64 round;

	test_begin(argc, argv);
	test_case("older copies of a block go first");
	older_first();
	test_case("random segments, limits and passes");
	for (round = 0; test_more(round, 300); round++)
		random_rounds(test_options.seed + round);
	return test_end();
}
