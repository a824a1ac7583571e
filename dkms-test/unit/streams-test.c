// SPDX-License-Identifier: GPL-2.0
/* Streams: runs of one and of several, side by side and among others; pieces of what was cut. */
#include "rng.h"
#include "streams.h"
#include "test.h"

static void one(void)
{
	struct wb_streams t = { 0 };
	u64 at = 1000;
	u32 i;

	for (i = 1; i <= 100; i++, at += 8)
		CHECK(wb_streams_note(&t, at, 8) == i * 8);
	CHECK(wb_streams_note(&t, at + 8, 8) == 8);	/* a gap */
	CHECK(wb_streams_note(&t, at - 16, 8) == 8);	/* back, and not up to the end */
	CHECK(wb_streams_note(&t, at, 8) == 101 * 8);	/* the run is still known */
	/* Where nobody wrote anything yet nothing goes on. */
	t = (struct wb_streams){ 0 };
	CHECK(wb_streams_note(&t, 0, 8) == 8);
	CHECK(wb_streams_note(&t, 8, 2048) == 2056);
}

static void many(void)
{
	struct wb_streams t = { 0 };
	u32 i, s;

	for (i = 1; i <= 20; i++)
		for (s = 0; s < WB_STREAMS; s++)
			CHECK(wb_streams_note(&t, s * 100000 + i * 64, 64) == i * 64);
	/* One more than there is room for: each takes the place of the next. */
	t = (struct wb_streams){ 0 };
	for (i = 1; i <= 20; i++)
		for (s = 0; s <= WB_STREAMS; s++)
			CHECK(wb_streams_note(&t, s * 100000 + i * 64, 64) == 64);
}

/* Among writes all over the device a stream stays one if it comes often enough. */
static void among_others(void)
{
	struct rng r = rng_init(test_options.seed);
	struct wb_streams t = { 0 };
	u64 at = 0, run = 0;
	u32 i, k;

	for (i = 0; i < 1000; i++, at += 8) {
		run += 8;
		CHECK(wb_streams_note(&t, at, 8) == run);
		for (k = rng_below(&r, WB_STREAMS); k; k--)
			CHECK(wb_streams_note(&t, (1ull << 40) + rng_below(&r, 1u << 20) * 16ull, 8) <= 16);
	}
}

static void pieces(void)
{
	struct wb_streams t = { 0 };

	CHECK(wb_streams_note(&t, 5000, 1000) == 1000);
	/* The same once more, from some place on: nothing is added, and nothing lost. */
	CHECK(wb_streams_note(&t, 5008, 992) == 1000);
	CHECK(wb_streams_note(&t, 5992, 8) == 1000);
	CHECK(wb_streams_note(&t, 6000, 8) == 1008);
	CHECK(wb_streams_note(&t, 6000, 16) == 1016);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_case("one writes in order");
	one();
	test_case("several write side by side");
	many();
	test_case("one writes in order among others");
	among_others();
	test_case("pieces of what was cut");
	pieces();
	return test_end();
}
