// SPDX-License-Identifier: GPL-2.0
/*
 * wberr: requests below fail at random, whatever is going on above.
 *
 *   wberr NAME CACHE BACKING [OPTION...]
 *
 * CACHE and BACKING are simulated disks (dkms-test/disks), the cache formatted for the backing device. Each life
 *
 *   creates the device NAME, now and then with errors, and then again: without any, it has to work;
 *   judges what is there (load.h): all that was flushed, a prefix of what was acknowledged, nothing else;
 *   loads it, first without errors, then with some of the cache device, the backing device or both, while
 *   another thread sends messages, suspends, resumes and reloads it;
 *   removes it, which always has to work: with errors, or without any. In the latter case, if the cache device has not
 *   failed, all that was acknowledged has to be there;
 *   now and then cuts the power, to leave what is durable and some of the rest.
 *
 * An operation that fails ends its writer, until the next life; a read that fails is no news. When errors have ended,
 * nobody may be left waiting for long. At the end the device is drained and the backing device judged alone.
 *
 * Options besides those of load.h: --cycles N, --by disk (the disks fail requests that reached them) or kernel
 * (fail_make_request; who calls has set all but its probability), --meddle yes|no.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "load.h"

#define PATIENCE_MS	300	/* for the writers to end while there are errors */
#define MOST_MEDDLING	12	/* actions in one life */
#define INJECTION	"/sys/kernel/debug/fail_make_request/probability"

const char *program = "wberr";

static const char *cache, *backing;	/* names of the disks */
static char table[256], backing_node[64];
static u64 table_sectors, rng;
static u32 cycles = 20;
static bool by_kernel, meddle = true;
static bool harmed;			/* there have been errors in this life */
static const char *where;		/* these disks have errors now, or NULL */
static u64 nr_refused, nr_failed, nr_meddled, nr_whole, total_ops, total_ends;

/* ---------------------------------------------------------------- errors */

static void put(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(const char *path, const char *fmt, ...)
{
	char line[512];
	va_list args;
	int file, n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	file = open(path, O_WRONLY);
	if (file < 0 || write(file, line, n) != n)
		die("%s does not take '%s': %s", path, line, strerror(errno));
	close(file);
}

static void disk_errors(const char *disk, u32 percent)
{
	static const char *const ops[] = { "any", "any", "read", "write", "flush" };
	char path[128];

	if (by_kernel) {
		snprintf(path, sizeof(path), "/sys/block/wbd_%s/make-it-fail", disk);
		put(path, "%u", !!percent);
	} else if (percent) {
		put("/proc/wbdisk", "fault %s kind=error op=%s percent=%u seed=%llu", disk,
		    ops[random_below(&rng, 5)], percent, (unsigned long long)random_next(&rng));
	} else {
		put("/proc/wbdisk", "clear %s", disk);
	}
}

static void errors(bool on)
{
	static const u32 percents[] = { 1, 5, 20, 50, 100 };
	u32 percent = on ? percents[random_below(&rng, 5)] : 0;
	static u32 turn;

	if (on)
		where = (const char *[]){ "cache", "backing", "both" }[turn++ % 3];
	if (!where)
		return;
	/* Told first: a writer may meet an error before all disks have been told. */
	if (on)
		store(&harmed, true);
	if (by_kernel)
		put(INJECTION, "%u", percent);
	if (strcmp(where, "backing"))
		disk_errors(cache, percent);
	if (strcmp(where, "cache"))
		disk_errors(backing, percent);
	if (!on)
		where = NULL;
}

static bool was_harmed(void)
{
	return load(&harmed);
}

/* ---------------------------------------------------------------- meddling */

static void resume(void)
{
	u64 deadline = now_ms() + HANG_MS;
	int err;

	/* With errors it may not work; when they have ended it has to. */
	while ((err = dm_resume(name)) != 0) {
		if (now_ms() > deadline)
			die("cannot resume %s: %s", name, strerror(err));
		sleep_ms(10);
	}
}

static void meddle_once(u64 *r)
{
	static const char *const texts[] = {
		"allow_migrate 0", "allow_migrate 1", "enable_migration_modulator 0",
		"nr_max_batched_migration 4", "barrier_deadline_ms 2", "sync_interval 1",
		"update_record_interval 1", "flush", "clear_stat",
	};
	u32 dice = random_below(r, 10);

	if (dice < 5) {
		dm_message(name, texts[random_below(r, sizeof(texts) / sizeof(texts[0]))]);
	} else if (dice < 7) {
		if (!random_below(r, 2))
			dm_load(name, table_sectors, "writeboost", table);
		dm_suspend(name, random_below(r, 2));
		resume();
	} else if (dice < 9) {
		/* Past the log there is no order. */
		store(&ordered, false);
		dm_message(name, "drain");
		sleep_ms(random_below(r, 50));
		dm_message(name, "undrain");
	} else {
		dm_status(name);
	}
	nr_meddled++;
}

static void *run_meddler(void *arg)
{
	u64 r = mix(plan.seed ^ (u64)plan.life << 20);
	u32 i;

	(void)arg;
	for (i = 0; i < MOST_MEDDLING && !load(&stop); i++) {
		meddle_once(&r);
		sleep_ms(random_below(&r, 30));
	}
	return NULL;
}

/* ---------------------------------------------------------------- a life */

static const char *health(void)
{
	static struct wb_status s;

	wb_status(name, &s);
	return s.health;
}

static void bring_up(bool with_errors)
{
	int err;

	if (with_errors) {
		errors(true);
		err = dm_create(name, table_sectors, "writeboost", table);
		nr_refused += !!err;
		if (!err)
			must(dm_remove(name), "remove", name);
		errors(false);
	}
	must(dm_create(name, table_sectors, "writeboost", table), "create", name);
	if (strcmp(health(), "ok"))
		die("life %u: created, its health is '%s'", plan.life, health());
	fd = open_direct(dm_node(name), true);
	store(&harmed, false);
}

static void judge(void)
{
	u32 ops[MAX_WRITERS], i;
	char when[32];

	plan.life--;
	issued_ops(ops);
	snprintf(when, sizeof(when), "after life %u", plan.life);
	for (i = 0; i < plan.writers; i++)
		total_ends += stable.op[i];
	verify(fd, stable.op, ops, when);
	plan.life++;
}

/* Until so many operations are done, or all writers have ended. */
static void wait_for(u64 wanted, const bool *joined)
{
	u64 deadline = now_ms() + HANG_MS / 20;

	/* What hangs now may be waiting for room, and the errors for that; so this ends, and a hang is found later. */
	while (load(&ops_done) < wanted && !load(joined) && now_ms() < deadline)
		sleep_ms(1);
}

static void *join_thread(void *arg)
{
	join_writers();
	store((bool *)arg, true);
	return NULL;
}

static void end_writers(const bool *joined, bool patient)
{
	u64 deadline = now_ms() + (patient ? HANG_MS : PATIENCE_MS);

	store(&stop, true);
	while (!load(joined) && now_ms() < deadline)
		sleep_ms(1);
	if (patient && !load(joined))
		die("life %u: there are no errors any more, and writers hang for %u ms", plan.life, HANG_MS);
}

static void one_life(void)
{
	u32 wanted = 1 + random_below(&rng, nr_ops), ops[MAX_WRITERS];
	bool orderly = random_below(&rng, 2), joined = false, failed;
	pthread_t meddler, joiner;
	const char *what;

	bring_up(!random_below(&rng, 3));
	if (plan.life > 1)
		judge();
	wb_message(name, "sync_interval %u", random_below(&rng, 2));
	wb_message(name, "enable_migration_modulator %u", random_below(&rng, 2));
	store(&ordered, true);
	start_writers(~0u >> 1);
	if (pthread_create(&joiner, NULL, join_thread, &joined))
		die("cannot start a thread");
	wait_for(wanted / 2, &joined);
	if (load(&joined))
		die("life %u: the writers have ended without any error", plan.life);
	errors(true);
	what = where;
	if (meddle && pthread_create(&meddler, NULL, run_meddler, NULL))
		die("cannot start a thread");
	wait_for(wanted, &joined);
	end_writers(&joined, false);
	/* Whoever waits for room, or to be resumed, goes on when the errors end. */
	if (orderly || !load(&joined))
		errors(false);
	end_writers(&joined, true);
	if (meddle) {
		if (!orderly)
			errors(false);
		pthread_join(meddler, NULL);
	}
	pthread_join(joiner, NULL);
	total_ops += load(&ops_done);
	acknowledged_ops(ops);
	close(fd);
	failed = !strcmp(health(), "failed");
	nr_failed += failed;
	if (!orderly && !where)
		errors(true);
	must(dm_remove(name), "remove", name);
	errors(false);
	if (orderly && !failed) {
		now_stable(ops);
		nr_whole++;
	}
	printf("life %u: errors of %s; removed %s errors, the cache device %s; %llu operations\n", plan.life, what,
	       orderly ? "without" : "with", failed ? "failed" : "has not failed",
	       (unsigned long long)load(&ops_done));
	fflush(stdout);
	/* What went past the log and was not flushed needs the power. */
	if (load(&ordered) && random_below(&rng, 2)) {
		put("/proc/wbdisk", "cut seed=%llu %s %s", (unsigned long long)random_next(&rng), cache, backing);
		put("/proc/wbdisk", "revive %s %s", cache, backing);
	}
	plan.life++;
}

static void last_life(void)
{
	u32 none[MAX_WRITERS] = { 0 };

	bring_up(false);
	judge();
	start_writers(0);
	join_writers();
	verify(fd, none, none, "after the last life");
	check_backing(backing_node);
	close(fd);
	must(dm_remove(name), "remove", name);
}

static void parse(int argc, char **argv)
{
	for (; argc > 1; argc -= 2, argv += 2) {
		if (!strcmp(argv[0], "--cycles"))
			cycles = number(argv[1]);
		else if (!strcmp(argv[0], "--meddle"))
			meddle = yes(argv[1]);
		else if (!strcmp(argv[0], "--by"))
			by_kernel = !strcmp(argv[1], "kernel");
		else if (!plan_option(argv[0], argv[1]))
			die("no option '%s'", argv[0]);
	}
	if (argc)
		die("an option without a value: %s", argv[0]);
}

int main(int argc, char **argv)
{
	int dev;

	plan.sectors = 0;
	if (argc < 4)
		die("usage: wberr NAME CACHE BACKING [OPTION...]; see its source");
	name = argv[1];
	cache = argv[2];
	backing = argv[3];
	parse(argc - 4, argv + 4);
	snprintf(backing_node, sizeof(backing_node), "/dev/wbd_%s", backing);
	dev = open_direct(backing_node, false);
	table_sectors = device_sectors(dev);
	close(dev);
	if (!plan.sectors)
		plan.sectors = table_sectors;
	snprintf(table, sizeof(table), "%s /dev/wbd_%s", backing_node, cache);
	rng = mix(plan.seed + 77);
	load_cut = was_harmed;
	allocate();
	while (plan.life <= cycles)
		one_life();
	last_life();
	printf("figures: seed %llu: %u lives, %llu operations, of which %llu had to be there and were; %llu creations refused, %llu failures of the cache device, %llu removals that lost nothing, %llu times meddled\n",
	       (unsigned long long)plan.seed, cycles, (unsigned long long)total_ops,
	       (unsigned long long)total_ends, (unsigned long long)nr_refused,
	       (unsigned long long)nr_failed, (unsigned long long)nr_whole,
	       (unsigned long long)nr_meddled);
	return 0;
}
