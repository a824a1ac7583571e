// SPDX-License-Identifier: GPL-2.0
/*
 * Group commit: some jobs each write, flush, and begin anew, on simulated time, under the policy of
 * company.h. Who waits must always be let go in the end, one who is alone at once, and several must
 * share.
 */
#include "company.h"
#include "test.h"

enum place { WORKS, WAITS, IN_FLIGHT, GONE };

struct job {
	enum place at;
	u64 until;		/* WORKS, IN_FLIGHT */
	u64 since;		/* WAITS */
};

struct crowd {
	struct wb_company c;
	struct job job[32];
	u32 nr;
	bool one_cpu;		/* they work one after the other */
	u64 work, latency;	/* ns */
	u64 cpu_free;
	u64 now, timer;		/* 0: not set */
	u64 commits, ops, longest;
};

static void seal(struct crowd *w)
{
	u32 i;

	wb_company_sealed(&w->c);
	w->commits++;
	for (i = 0; i < w->nr; i++) {
		if (w->job[i].at != WAITS)
			continue;
		if (w->now - w->job[i].since > w->longest)
			w->longest = w->now - w->job[i].since;
		w->job[i].at = IN_FLIGHT;
		w->job[i].until = w->now + w->latency;
	}
}

static void set_timer(struct crowd *w)
{
	if (wb_company_needs_timer(&w->c) && !w->timer)
		w->timer = w->now + wb_company_timeout(&w->c);
}

static u32 mark_of(const struct crowd *w, const struct job *j)
{
	return (u32)(j - w->job) % WB_COMPANY_MARKS;
}

static void arrives(struct crowd *w, struct job *j)
{
	j->at = WAITS;
	j->since = w->now;
	w->ops++;
	if (wb_company_arrives(&w->c, mark_of(w, j), w->now))
		seal(w);
	else
		set_timer(w);
}

static void works(struct crowd *w, struct job *j)
{
	u64 begin = w->one_cpu && w->cpu_free > w->now ? w->cpu_free : w->now;

	j->at = WORKS;
	j->until = begin + w->work;
	w->cpu_free = j->until;
}

/* All whose chunk is durable now go on. */
static void released(struct crowd *w)
{
	u32 i;

	for (i = 0; i < w->nr; i++)
		if (w->job[i].at == IN_FLIGHT && w->job[i].until == w->now) {
			wb_company_leaves(&w->c, mark_of(w, &w->job[i]));
			works(w, &w->job[i]);
		}
	wb_company_released(&w->c, w->now);
	set_timer(w);
}

/* The next event. */
static void step(struct crowd *w)
{
	struct job *next = NULL;
	u64 again;
	u32 i;

	for (i = 0; i < w->nr; i++)
		if ((w->job[i].at == WORKS || w->job[i].at == IN_FLIGHT) &&
		    (!next || w->job[i].until < next->until))
			next = &w->job[i];
	if (w->timer && (!next || w->timer <= next->until)) {
		w->now = w->timer;
		w->timer = 0;
		if (!wb_company_needs_timer(&w->c))
			return;
		again = wb_company_expired(&w->c, w->now);
		CHECK(again <= 2 * WB_COMPANY_MAX_WAIT);
		if (again)
			w->timer = w->now + again;
		else
			seal(w);
		return;
	}
	CHECKF(next, "somebody waits, and nothing will ever happen");
	w->now = next->until;
	if (next->at == WORKS)
		arrives(w, next);
	else
		released(w);
}

static void begin(struct crowd *w, u32 nr, bool one_cpu, u64 work, u64 latency)
{
	u32 i;

	memset(w, 0, sizeof(*w));
	wb_company_init(&w->c);
	w->nr = nr;
	w->one_cpu = one_cpu;
	w->work = work;
	w->latency = latency;
	w->now = 1000000000;
	for (i = 0; i < nr; i++)
		works(w, &w->job[i]);
}

static void run(struct crowd *w, u32 steps)
{
	while (steps--)
		step(w);
	w->ops = w->commits = w->longest = 0;
}

static void test_alone(void)
{
	struct crowd w;

	test_case("one who is alone never waits");
	begin(&w, 1, true, 20000, 25000);
	while (w.ops < 1000) {
		step(&w);
		CHECK(!w.longest && !w.timer);
	}
	CHECK(w.commits == w.ops);
}

static void test_share(u32 nr, bool one_cpu)
{
	struct crowd w;
	u32 share = nr / 2;

	test_case(one_cpu ? "several on one CPU share in halves" : "several on many CPUs share");
	begin(&w, nr, one_cpu, 20000, 25000);
	run(&w, 1000);
	while (w.ops < 10000)
		step(&w);
	/* Who works one after the other cannot all come in the time that the first one waits. */
	if (one_cpu && share > WB_COMPANY_MIN_WAIT / w.work)
		share = WB_COMPANY_MIN_WAIT / w.work;
	CHECKF(w.commits <= w.ops / share + nr, "%u jobs: %llu commits for %llu", nr,
	       (unsigned long long)w.commits, (unsigned long long)w.ops);
	CHECKF(!w.c.vain, "somebody was waited for in vain");
	/* On one CPU it is never idle while there is work for a commit's time. */
	if (one_cpu)
		CHECK(w.now <= w.cpu_free + w.latency);
}

static void test_leave(void)
{
	struct crowd w;
	u32 i;

	test_case("those who leave are soon forgotten");
	begin(&w, 8, true, 20000, 25000);
	run(&w, 1000);
	for (i = 1; i < 8; i++)
		w.job[i].at = w.job[i].at == WORKS ? GONE : w.job[i].at;
	for (i = 0; i < 200; i++) {
		u32 k;

		step(&w);
		for (k = 1; k < 8; k++)
			if (w.job[k].at == WORKS)
				w.job[k].at = GONE;
	}
	CHECKF(w.longest <= w.latency + wb_company_timeout(&w.c), "waited %llu ns", (unsigned long long)w.longest);
	run(&w, 10);
	while (w.ops < 100)
		step(&w);
	CHECK(w.commits == w.ops && !w.longest);
}

/* Half of them go for good; the others never wait for them again, but for each other. */
static void test_half_leave(void)
{
	struct crowd w;
	u32 i, k;

	test_case("those who stay do not count those who left");
	begin(&w, 16, false, 20000, 25000);
	run(&w, 1000);
	for (i = 0; i < 2000; i++) {
		for (k = 8; k < 16; k++)
			if (w.job[k].at == WORKS)
				w.job[k].at = GONE;
		step(&w);
	}
	CHECKF(w.c.waiting + w.c.under_way + hweight64(w.c.away) <= 8, "%u wait, %u are under way, %u away",
	       w.c.waiting, w.c.under_way, hweight64(w.c.away));
}

/* One who comes while others are away, who always come too late: hardly any waiting in the end. */
static void test_vain(void)
{
	struct wb_company c;
	u64 now = 1000000000, waited = 0;
	u32 i, k;

	test_case("who is waited for in vain is waited for less");
	wb_company_init(&c);
	for (i = 0; i < 1000; i++) {
		if (!wb_company_arrives(&c, 0, now)) {
			waited++;
			CHECK(wb_company_needs_timer(&c));
			CHECK(wb_company_expired(&c, now) == wb_company_timeout(&c));
			now += c.patience;
			CHECK(!wb_company_expired(&c, now));
		}
		wb_company_sealed(&c);
		now += 25000;
		wb_company_leaves(&c, 0);
		/* as if others had just been released, too */
		for (k = 1; k < 4; k++) {
			wb_company_joins(&c, k);
			wb_company_leaves(&c, k);
		}
		wb_company_released(&c, now);
		now += 1000;
	}
	CHECKF(waited > 0 && waited < 20, "%llu of 1000 waited", (unsigned long long)waited);
}

/* A newcomer must not be taken for one of those who are away. */
static void test_newcomer(void)
{
	struct wb_company c;
	u64 now = 1000000000;

	test_case("a newcomer is one more");
	wb_company_init(&c);
	wb_company_joins(&c, 0);
	wb_company_joins(&c, 1);
	wb_company_leaves(&c, 0);
	wb_company_leaves(&c, 1);
	wb_company_released(&c, now);
	CHECK(wb_company_arrives(&c, 2, now + 1));	/* 3 in all */
	wb_company_sealed(&c);
	CHECK(!wb_company_arrives(&c, 3, now + 2));	/* 4 */
	CHECK(wb_company_arrives(&c, 0, now + 3));
	/* And whoever is back is not away any more. */
	CHECK(c.waiting == 2 && c.under_way == 1 && c.away == 1ull << 1);
}

/* After a while without anybody, nobody is waited for; and the first one never waits for long. */
static void test_bounds(void)
{
	struct wb_company c;
	u64 now = 1000000000;
	u32 k;

	test_case("nobody waits for those who were here long ago, or for long");
	wb_company_init(&c);
	for (k = 0; k < 60; k++) {
		wb_company_joins(&c, k);
		wb_company_leaves(&c, k);
	}
	wb_company_released(&c, now);
	CHECK(!wb_company_arrives(&c, 0, now + 1000));
	CHECK(!wb_company_arrives(&c, 1, now + 2000));
	/* They come one by one, and are not half by far. */
	CHECK(wb_company_arrives(&c, 2, now + 1000 + c.patience));
	wb_company_sealed(&c);
	for (k = 0; k < 3; k++)
		wb_company_leaves(&c, k);
	wb_company_released(&c, now + 100000);
	CHECK(wb_company_arrives(&c, 0, now + 100001 + c.patience));
}

/* The log fails while some wait and some are under way: all leave, and none is left. */
static void test_failing(void)
{
	struct wb_company c;
	u32 k;

	test_case("a log that fails leaves nobody behind");
	wb_company_init(&c);
	for (k = 0; k < 6; k++)
		wb_company_joins(&c, k);
	for (k = 6; k < 8; k++)
		wb_company_arrives(&c, k, 1000);
	CHECK(c.waiting == 2 && c.under_way == 6);
	for (k = 0; k < 8; k++)
		wb_company_leaves(&c, k);
	CHECK(!c.waiting && !c.under_way && !wb_company_needs_timer(&c));
}

static void test_random(void)
{
	struct crowd w;
	struct rng r;
	u64 i;
	u32 k;

	test_case("random crowds: everybody is let go in time");
	for (i = 0; test_more(i, 300); i++) {
		r = rng_init(test_options.seed + i);
		begin(&w, 1 + rng_below(&r, 32), rng_one_in(&r, 2), 1 + rng_below(&r, 200000),
		      1 + rng_below(&r, 400000));
		for (k = 0; k < 2000; k++) {
			step(&w);
			if (rng_one_in(&r, 20))
				w.work = 1 + rng_below(&r, 300000);
			if (rng_one_in(&r, 50))
				w.latency = 1 + rng_below(&r, 400000);
			/* Others in flight, and then nothing for as long as it may take. */
			CHECK(w.longest <= 400000 + 2 * WB_COMPANY_MAX_WAIT);
		}
		CHECK(w.ops > 0 && w.commits <= w.ops);
	}
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_alone();
	test_share(4, true);
	test_share(16, true);
	test_share(4, false);
	test_share(16, false);
	test_leave();
	test_half_leave();
	test_vain();
	test_newcomer();
	test_bounds();
	test_failing();
	test_random();
	return test_end();
}
