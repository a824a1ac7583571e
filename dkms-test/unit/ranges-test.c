// SPDX-License-Identifier: GPL-2.0
/* The line in which migration and discards stand: who waits for whom, and who is told what. */
#include "test.h"
#include "ranges.h"
#include "rng.h"

static void in_order(void)
{
	struct wb_ranges line = { 0 };
	struct wb_range a, b, c, d;

	wb_range_join(&line, &a, WB_RANGE_MIGRATES, 10, 19);
	wb_range_join(&line, &b, WB_RANGE_DISCARDS, 19, 40);
	wb_range_join(&line, &c, WB_RANGE_DISCARDS, 20, 30);
	wb_range_join(&line, &d, WB_RANGE_MIGRATES, 30, 30);
	CHECK(wb_range_may(&line, &a));
	CHECK(!wb_range_may(&line, &b));	/* one block in common */
	CHECK(wb_range_may(&line, &c));		/* none with the first; with its own kind it does not matter */
	CHECK(!wb_range_may(&line, &d));	/* behind two, of which one goes on */
	wb_range_leave(&line, &c);
	CHECK(!wb_range_may(&line, &d));	/* and the other one came before, and has not begun */
	wb_range_leave(&line, &a);
	CHECK(wb_range_may(&line, &b));
	CHECK(!wb_range_may(&line, &d));
	wb_range_leave(&line, &b);
	CHECK(wb_range_may(&line, &d));
	wb_range_leave(&line, &d);
	CHECK(!line.first);
}

static void edges(void)
{
	struct wb_ranges line = { 0 };
	struct wb_range a, b;
	u64 first, last;

	for (first = 5; first < 16; first++) {
		for (last = first; last < 16; last++) {
			wb_range_join(&line, &a, WB_RANGE_DISCARDS, 8, 11);
			wb_range_join(&line, &b, WB_RANGE_MIGRATES, first, last);
			CHECK(wb_range_may(&line, &a));
			CHECK(wb_range_may(&line, &b) == (last < 8 || first > 11));
			wb_range_leave(&line, &a);
			CHECK(wb_range_may(&line, &b));
			wb_range_leave(&line, &b);
		}
	}
}

static void aside(void)
{
	struct wb_ranges line = { 0 };
	struct wb_range a, b, c, d;

	/* Who waits goes on, and it is told, though that one has not begun yet. */
	wb_range_join(&line, &a, WB_RANGE_DISCARDS, 0, 9);
	wb_range_join(&line, &b, WB_RANGE_MIGRATES, 9, 20);
	wb_range_step_aside(&line, &a);
	CHECK(wb_range_may(&line, &b));
	wb_range_come_back(&line, &a);
	CHECK(a.crossed);
	CHECK(!wb_range_may(&line, &a));
	CHECK(wb_range_may(&line, &b));
	wb_range_leave(&line, &b);
	CHECK(wb_range_may(&line, &a));

	/* Nobody was there: what was true of the last time is not any more. */
	wb_range_step_aside(&line, &a);
	wb_range_come_back(&line, &a);
	CHECK(!a.crossed);

	/* One came and went; elsewhere; of its own kind. */
	wb_range_step_aside(&line, &a);
	wb_range_join(&line, &b, WB_RANGE_MIGRATES, 10, 20);
	wb_range_join(&line, &c, WB_RANGE_DISCARDS, 0, 20);
	CHECK(wb_range_may(&line, &b));
	CHECK(!wb_range_may(&line, &c));
	wb_range_leave(&line, &b);
	wb_range_leave(&line, &c);
	CHECK(!a.crossed);
	wb_range_join(&line, &b, WB_RANGE_MIGRATES, 3, 3);
	wb_range_leave(&line, &b);
	wb_range_come_back(&line, &a);
	CHECK(a.crossed);
	CHECK(wb_range_may(&line, &a));

	/* Two step aside; one that comes back is the last again. */
	wb_range_join(&line, &c, WB_RANGE_DISCARDS, 5, 5);
	wb_range_step_aside(&line, &a);
	wb_range_step_aside(&line, &c);
	wb_range_join(&line, &d, WB_RANGE_MIGRATES, 5, 7);
	CHECK(a.crossed && c.crossed);
	wb_range_come_back(&line, &a);
	CHECK(!wb_range_may(&line, &a));
	CHECK(wb_range_may(&line, &d));
	wb_range_come_back(&line, &c);
	wb_range_leave(&line, &d);
	CHECK(wb_range_may(&line, &a));
	CHECK(wb_range_may(&line, &c));
}

/*
 * Any mix of them: two that mind each other are never at work together, somebody always may be, and who
 * comes back knows whether anybody was at work in its range since it stepped aside.
 */
static void any(void)
{
	enum { NOT, WAITS, WORKS, ASIDE } state[12] = { NOT };
	struct wb_range r[ARRAY_SIZE(state)];
	bool met[ARRAY_SIZE(state)] = { false };
	struct wb_ranges line = { 0 };
	struct rng rng = rng_init(1);
	u32 n, i, k, first, able, waits;

	for (n = 0; n < 200000; n++) {
		i = rng_below(&rng, ARRAY_SIZE(state));
		switch (state[i]) {
		case NOT:
			first = rng_below(&rng, 40);
			wb_range_join(&line, &r[i], rng_below(&rng, 2), first, first + rng_below(&rng, 8));
			state[i] = WAITS;
			break;
		case WAITS:
			if (!wb_range_may(&line, &r[i]))
				break;
			state[i] = WORKS;
			CHECK(r[i].crossed || !met[i]);
			for (k = 0; k < ARRAY_SIZE(state); k++) {
				CHECK(k == i || state[k] != WORKS || !wb_range_minds(&r[i], &r[k]));
				met[k] |= state[k] == ASIDE && wb_range_minds(&r[i], &r[k]);
			}
			break;
		case WORKS:
			CHECK(wb_range_may(&line, &r[i]));
			met[i] = false;
			if (r[i].kind == WB_RANGE_DISCARDS && rng_one_in(&rng, 2)) {
				wb_range_step_aside(&line, &r[i]);
				state[i] = ASIDE;
			} else {
				wb_range_leave(&line, &r[i]);
				state[i] = NOT;
			}
			break;
		case ASIDE:
			wb_range_come_back(&line, &r[i]);
			state[i] = WAITS;
			break;
		}
		for (k = able = waits = 0; k < ARRAY_SIZE(state); k++) {
			waits += state[k] == WAITS;
			able += state[k] == WORKS || (state[k] == WAITS && wb_range_may(&line, &r[k]));
		}
		CHECK(able || !waits);
	}
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_case("each waits for those of the other kind before it");
	in_order();
	test_case("only blocks in common count");
	edges();
	test_case("one that steps aside holds nobody up, and is told");
	aside();
	test_case("any mix of them");
	any();
	return test_end();
}
