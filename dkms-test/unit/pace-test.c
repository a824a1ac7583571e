// SPDX-License-Identifier: GPL-2.0
/* The modulator's arithmetic: its ends, that it has no steps, and that the room settles. */
#include "pace.h"
#include "rng.h"
#include "test.h"

static struct wb_pace idle(u64 free)
{
	return (struct wb_pace){
		.free = free, .nr_slots = 1000, .threshold = 70, .bearable = WB_DEPTH_MAX,
		.allowed = true, .modulated = true,
	};
}

static void ends(void)
{
	struct wb_pace p = idle(1000);

	CHECK(wb_pace_depth(&p) == WB_DEPTH_MAX);
	p.load = 70;
	CHECK(wb_pace_depth(&p) == 0);
	p.load = 69;
	CHECK(wb_pace_depth(&p) > 0 && wb_pace_depth(&p) < 4);
	p.users_busy = true;
	CHECK(wb_pace_depth(&p) == 0);
	p.free = 400;
	CHECK(wb_pace_depth(&p) > 0);
	p = idle(1000);
	p.threshold = 0;
	CHECK(wb_pace_depth(&p) == 0);
	p.threshold = 100;
	p.load = 100;
	CHECK(wb_pace_depth(&p) == WB_DEPTH_MAX);
	p.allowed = false;
	CHECK(wb_pace_depth(&p) == 0);
	p.free = 199;
	CHECK(wb_pace_depth(&p) == WB_DEPTH_MAX);
	p = idle(1000);
	p.load = 100;
	p.modulated = false;
	CHECK(wb_pace_depth(&p) == WB_DEPTH_MAX);
	p = idle(1000);
	p.load = 100;
	p.users_busy = true;
	p.allowed = false;
	p.forced = true;
	CHECK(wb_pace_depth(&p) == WB_DEPTH_MAX);
	p = idle(100);
	p.bypassing = true;
	CHECK(wb_pace_depth(&p) == 0);
	p.forced = true;
	CHECK(wb_pace_depth(&p) == WB_DEPTH_MAX);
}

/* Less room never means less migration, and no slot makes much of a difference. */
static void smooth(void)
{
	u32 load, depth, before;
	struct wb_pace p;
	u64 free;

	for (load = 0; load <= 100; load += 5) {
		before = WB_DEPTH_MAX;
		for (free = 150; free <= 500; free++) {
			p = idle(free);
			p.load = load;
			p.bearable = 7;
			depth = wb_pace_depth(&p);
			CHECK(depth <= before && before - depth <= 1);
			before = depth;
		}
	}
}

static void bearable(void)
{
	u32 n = WB_DEPTH_MAX, i;

	CHECK(wb_pace_bearable(n, 0, 0) == WB_DEPTH_MAX);
	CHECK(wb_pace_bearable(n, 5, WB_LATENCY_GOAL) == WB_DEPTH_MAX);
	CHECK(wb_pace_bearable(n, 5, 4 * WB_LATENCY_GOAL) == WB_DEPTH_MAX / 4);
	CHECK(wb_pace_bearable(n, 5, 1ull << 40) == 1);
	/* A disk of 5 ms a request, each read behind all that is in flight. */
	for (i = 0; i < 50; i++)
		n = wb_pace_bearable(n, 1, (n + 1) * 5000);
	CHECKF(n >= 1 && n <= 5, "%u in flight", n);
	for (i = 0; i < 30; i++)
		n = wb_pace_bearable(n, 0, 0);
	CHECK(n == WB_DEPTH_MAX);
}

/*
 * A full log that users write into as fast as they are let: the room comes back and settles,
 * however much room a migrated block makes (256: as much as it took), and nobody ever waits for
 * long.
 */
static void settles(u32 worth)
{
	u64 reserve = 16 * 255, i;
	s64 room = 0, credit = 0, low = 0, high = 0;
	u32 gain, least = ~0u;

	for (i = 0; i < 200000; i++) {
		room += worth;
		gain = wb_pace_gain(room < 0 ? 0 : room / 256, reserve);
		least = gain < least ? gain : least;
		credit += gain;
		for (; credit > 0; credit -= 256)
			room -= 256;
		CHECK(room >= -512);
		if (i == 100000)
			low = high = room;
		if (i > 100000) {
			low = room < low ? room : low;
			high = room > high ? room : high;
		}
	}
	CHECK(least >= WB_GAIN_ONE / 2);
	CHECKF(high - low <= 8 * 256, "room between %lld and %lld", (long long)low,
		       (long long)high);
	CHECK(low > 0 && high < (s64)reserve * 256 * 3 / 2);
}

static void reserve(void)
{
	CHECK(wb_pace_reserve(0, 255) == 0);
	CHECK(wb_pace_reserve(WB_RESERVE_LEAST - 1, 255) == 0);
	CHECK(wb_pace_reserve(1000, 3) == 0);
	CHECK(wb_pace_reserve(64, 255) == 16);
	CHECK(wb_pace_reserve(1ull << 24, 255) == WB_RESERVE_SLOTS);
}

int main(int argc, char **argv)
{
	u32 worth;

	test_begin(argc, argv);
	test_case("the ends of the depth");
	ends();
	test_case("no steps in the depth");
	smooth();
	test_case("the depth that users' reads can bear");
	bearable();
	test_case("the reserve");
	reserve();
	test_case("the room settles");
	for (worth = 200; worth <= 1000; worth += 50)
		settles(worth);
	return test_end();
}
