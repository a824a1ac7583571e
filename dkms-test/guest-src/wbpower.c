// SPDX-License-Identifier: GPL-2.0
/*
 * wbpower: power cuts without a reboot.
 *
 *   wbpower NAME CACHE BACKING [OPTION...]
 *
 * CACHE and BACKING are simulated disks (dkms-test/disks), the cache formatted for the backing device. Each cycle
 *
 *   creates the device NAME, with the power cut meanwhile in some of them, and then again;
 *   judges what is there (load.h): all that was flushed, a prefix of what was acknowledged, nothing else;
 *   loads it, until the power of both disks is cut at one instant: at an operation of theirs, or of ours;
 *   removes the device, which has to work while everything fails, or swaps it to an error target first;
 *   revives the disks, which hold then what was durable and a random part of what was not.
 *
 * Now and then it is stopped in order before the cut: then all of it has to be there. What was flushed is known by
 * this process, which lives on. At the end the device is drained and the backing device judged alone.
 *
 * Options besides those of load.h: --cycles N, --seconds N (whichever ends first), --torn PERCENT of the surviving
 * sectors, --create PERCENT (cuts during creation), --meddle none|knobs|reload|drain (what another thread does during
 * the load), --table OPTIONS (of the table line, e.g. "2 allow_migrate 0"), and
 * --second NAME CACHE BACKING: another such device, loaded at the same time, cut at the same instant.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "load.h"

#define PATIENCE_MS	300	/* for the writers to see that the power is gone */
#define MAX_RETRIES	4	/* cuts during one creation */

const char *program = "wbpower";

enum meddling { NOTHING, KNOBS, RELOAD, DRAIN };

static struct {
	u32 cycles, seconds, torn, create;
	enum meddling meddle;
	const char *options;
} how = { .cycles = 20, .seconds = 3600, .create = 30, .options = "" };

static const char *cache, *backing;	/* names of the disks */
static char disks[256];			/* all that are cut together */
static char table[256];
static u64 table_sectors;
static char backing_node[64];

/* What two processes share that have a device each. */
static struct shared {
	pthread_barrier_t barrier;
	u32 cycle;			/* the leader's */
	bool over;
} *shared;
static bool leader = true;

static u64 rng;
static u64 nr_created_cut, nr_orderly, nr_swapped, nr_meddled, total_ops, total_sure, total_bypassed;

/* ---------------------------------------------------------------- the disks */

static void sim(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void sim(const char *fmt, ...)
{
	char line[512];
	va_list args;
	int proc, n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	proc = open("/proc/wbdisk", O_WRONLY);
	if (proc < 0 || write(proc, line, n) != n)
		die("/proc/wbdisk does not take '%s': %s", line, strerror(errno));
	close(proc);
}

/* Is the power of our disks gone? */
static bool power_lost(void)
{
	char text[16384], sign[64];
	int proc = open("/proc/wbdisk", O_RDONLY), n = 0, got;

	if (proc < 0)
		die("there is no /proc/wbdisk");
	while (n < (int)sizeof(text) - 1 && (got = read(proc, text + n, sizeof(text) - 1 - n)) > 0)
		n += got;
	close(proc);
	text[n] = '\0';
	snprintf(sign, sizeof(sign), "%s: power=on", cache);
	return !strstr(text, sign);
}

static void cut_now(const char *keep)
{
	sim("cut seed=%llu torn=%u keep=%s %s", (unsigned long long)random_next(&rng), how.torn, keep, disks);
}

/* Cut the power at an operation of the disks within about @most. */
static void cut_soon(u32 most, const char *op)
{
	sim("cut-at ops=%u op=%s seed=%llu torn=%u %s", 1 + random_below(&rng, most), op,
	    (unsigned long long)random_next(&rng), how.torn, disks);
}

/* With two processes: both have come here. */
static void together(void)
{
	if (shared)
		pthread_barrier_wait(&shared->barrier);
}

static void revive(void)
{
	together();
	if (leader)
		sim("revive %s", disks);
	together();
}

/* ---------------------------------------------------------------- meddling */

static void knobs(u64 *r)
{
	static const char *const texts[] = {
		"allow_migrate 0", "allow_migrate 1", "enable_migration_modulator 0",
		"enable_migration_modulator 1", "nr_max_batched_migration 1", "nr_max_batched_migration 4",
		"nr_max_batched_migration 64", "barrier_deadline_ms 0", "barrier_deadline_ms 2",
		"sync_interval 0", "sync_interval 1", "update_record_interval 0",
		"update_record_interval 1", "bypass_run_kib 0", "bypass_run_kib 1", "flush",
	};

	dm_message(name, texts[random_below(r, sizeof(texts) / sizeof(texts[0]))]);
}

/* Swap to a table, in one of the ways there are. Errors come up in what follows, if they matter. */
static int swap(const char *target, const char *params, bool noflush)
{
	int err = dm_load(name, table_sectors, target, params);

	if (!err)
		err = dm_suspend(name, noflush);
	if (!err)
		err = dm_resume(name);
	return err;
}

static bool wait_drained(void)
{
	u64 deadline = now_ms() + HANG_MS;
	struct wb_status s;

	while (!load(&stop) && !power_lost()) {
		wb_status(name, &s);
		if (!strcmp(s.caching, "drained"))
			return true;
		if (now_ms() > deadline)
			die("not drained after %u ms", HANG_MS);
		sleep_ms(2);
	}
	return false;
}

static bool wait_undrained(void)
{
	u64 deadline = now_ms() + HANG_MS;
	struct wb_status s;

	while (!load(&stop) && !power_lost()) {
		wb_status(name, &s);
		if (!strcmp(s.caching, "writeback"))
			return true;
		if (now_ms() > deadline)
			die("not back from mode drained after %u ms", HANG_MS);
		sleep_ms(2);
	}
	return false;
}

/* To mode drained; there and back to linear; back to the log. Leaves it wherever the power was cut. */
static void drain_and_back(u64 *r)
{
	char linear[80];

	store(&ordered, false);
	if (dm_message(name, "drain"))
		return;
	if (!random_below(r, 4)) {
		/* Not wanted after all. */
		sleep_ms(random_below(r, 10));
	} else {
		if (!wait_drained())
			return;
		sleep_ms(random_below(r, 30));
		if (random_below(r, 2)) {
			snprintf(linear, sizeof(linear), "%s 0", backing_node);
			if (swap("linear", linear, random_below(r, 2)))
				return;
			sleep_ms(random_below(r, 30));
			/* Created anew, it caches at once. */
			if (swap("writeboost", table, random_below(r, 2)))
				return;
			store(&ordered, true);
			return;
		}
	}
	if (dm_message(name, "undrain") || !wait_undrained())
		return;
	store(&ordered, true);
}

static void *run_meddler(void *arg)
{
	u64 r = mix(plan.seed ^ (u64)plan.life << 20);
	bool noflush;

	(void)arg;
	while (!load(&stop) && !power_lost()) {
		switch (how.meddle) {
		case RELOAD:
			noflush = random_below(&r, 2);
			if (!random_below(&r, 3)) {
				knobs(&r);
			} else if (random_below(&r, 2)) {
				if (swap("writeboost", table, noflush))
					return NULL;
			} else if (dm_suspend(name, noflush) || dm_resume(name)) {
				return NULL;
			}
			break;
		case DRAIN:
			drain_and_back(&r);
			break;
		default:
			knobs(&r);
		}
		nr_meddled++;
		sleep_ms(random_below(&r, 30));
	}
	return NULL;
}

/* ---------------------------------------------------------------- a cycle */

static void bring_up(void)
{
	u32 try;
	int err;

	for (try = 0;; try++) {
		bool cut = leader && try < MAX_RETRIES && random_below(&rng, 100) < how.create;

		if (cut)
			cut_soon(1u << random_below(&rng, 7), "any");
		err = dm_create(name, table_sectors, "writeboost", table);
		together();
		if (leader)
			sim("cut-off %s", disks);
		together();
		if (!power_lost())
			break;
		nr_created_cut++;
		if (!err)
			must(dm_remove(name), "remove", name);
		revive();
	}
	must(err, "create", name);
	fd = open_direct(dm_node(name), true);
}

static void judge(void)
{
	u32 ops[MAX_WRITERS], i;
	char when[32];

	plan.life--;
	issued_ops(ops);
	snprintf(when, sizeof(when), "after life %u", plan.life);
	for (i = 0; i < plan.writers; i++)
		total_sure += stable.op[i];
	verify(fd, stable.op, ops, when);
	plan.life++;
}

/* How many operations the writers get done before the power goes at the latest. */
static u32 pick_ops(void)
{
	return 1 + random_below(&rng, 1 + random_below(&rng, nr_ops));
}

static void plan_cut(u32 wanted)
{
	static const char *const ops[] = { "any", "any", "any", "write", "write", "flush", "discard" };

	if (!random_below(&rng, 4))
		return;		/* by our own operations alone */
	cut_soon(wanted, ops[random_below(&rng, plan.discard ? 7 : 6)]);
}

/* Until so many operations are done, or the power goes. */
static void wait_for_cut(u32 wanted)
{
	u64 started = now_ms();

	while (load(&ops_done) < wanted && !power_lost()) {
		if (now_ms() > started + HANG_MS)
			die("life %u: %llu of %u operations in %u ms: it hangs", plan.life,
			    (unsigned long long)load(&ops_done), wanted, HANG_MS);
		sleep_ms(1);
	}
}

static void *join_thread(void *arg)
{
	bool *joined = arg;

	join_writers();
	store(joined, true);
	return NULL;
}

/* Where the log stood, for whoever has to find out what went wrong. */
static void tell_log(void)
{
	struct wb_status s;

	if (how.meddle == DRAIN)
		return;		/* it may be a linear device just now */
	wb_status(name, &s);
	printf("life %u: the log was at segment %llu, durable %llu, migrated %llu; %llu chunks, %llu dirty blocks\n",
	       plan.life, (unsigned long long)s.n[F_CURRENT], (unsigned long long)s.n[F_DURABLE],
	       (unsigned long long)s.n[F_MIGRATED], (unsigned long long)s.n[F_CHUNKS],
	       (unsigned long long)s.n[F_DIRTY]);
	total_bypassed += s.n[F_BYPASSES];
}

/*
 * The power is gone: the writers see errors, or are held because there is no room in the log and nobody makes
 * any. Then, and now and then anyway, an error target takes them.
 */
static void end_writers(pthread_t *meddler)
{
	bool joined = false, swapped = false;
	u64 deadline = now_ms() + (random_below(&rng, 4) ? PATIENCE_MS : 0);
	pthread_t thread;

	store(&stop, true);
	if (pthread_create(&thread, NULL, join_thread, &joined))
		die("cannot start a thread");
	if (how.meddle != NOTHING)
		pthread_join(*meddler, NULL);
	while (!load(&joined)) {
		if (!swapped && now_ms() > deadline) {
			swapped = true;
			nr_swapped++;
			/* A flush of an error target succeeds: it has no flush bios that could fail. */
			store(&killed, true);
			/* It may be suspended already. */
			must(dm_load(name, table_sectors, "error", ""), "load", name);
			dm_suspend(name, true);
			must(dm_resume(name), "resume", name);
		}
		if (now_ms() > deadline + HANG_MS)
			die("life %u: after the power cut, writers hang for %u ms", plan.life, HANG_MS);
		sleep_ms(1);
	}
	pthread_join(thread, NULL);
}

static void one_life(void)
{
	u32 wanted = pick_ops(), ops[MAX_WRITERS];
	bool orderly = !shared && how.meddle == NOTHING && !random_below(&rng, 8);
	u64 started, cut;
	pthread_t meddler;

	bring_up();
	if (plan.life > 1)
		judge();
	started = now_ms();
	if (how.meddle == NOTHING) {
		wb_message(name, "sync_interval %u", random_below(&rng, 2));
		wb_message(name, "allow_migrate %u", !!random_below(&rng, 4));
		wb_message(name, "enable_migration_modulator %u", random_below(&rng, 2));
		wb_message(name, "update_record_interval %u", random_below(&rng, 2));
	}
	store(&ordered, true);
	together();
	start_writers(orderly ? 1 + wanted / plan.writers : ~0u >> 1);
	if (how.meddle != NOTHING && pthread_create(&meddler, NULL, run_meddler, NULL))
		die("cannot start a thread");
	if (orderly) {
		join_writers();
	} else {
		if (leader)
			plan_cut(wanted);
		wait_for_cut(leader ? wanted : ~0u >> 1);
		if (leader && !power_lost())
			cut_now("random");
		cut = now_ms();
		tell_log();
		end_writers(&meddler);
	}
	total_ops += load(&ops_done);
	close(fd);
	if (orderly) {
		nr_orderly++;
		issued_ops(ops);
		must(dm_remove(name), "remove", name);
		now_stable(ops);
		cut_now("none");
		cut = now_ms();
	} else {
		must(dm_remove(name), "remove", name);
	}
	printf("life %u: %s after %llu operations, %llu ms; removed after %llu ms\n", plan.life,
	       orderly ? "stopped in order" : "power cut", (unsigned long long)load(&ops_done),
	       (unsigned long long)(cut - started), (unsigned long long)(now_ms() - cut));
	fflush(stdout);
	revive();
	plan.life++;
}

static void last_life(void)
{
	u32 none[MAX_WRITERS] = { 0 };
	char path[64];

	how.create = 0;
	bring_up();
	judge();
	start_writers(0);
	join_writers();
	memset(stable.op, 0, sizeof(stable.op));
	verify(fd, none, none, "after the last life");
	snprintf(path, sizeof(path), "/dev/wbd_%s", backing);
	check_backing(path);
	close(fd);
	must(dm_remove(name), "remove", name);
}

/* ---------------------------------------------------------------- */

static void prepare(void)
{
	char path[64];
	int dev;

	snprintf(path, sizeof(path), "/dev/wbd_%s", backing);
	snprintf(backing_node, sizeof(backing_node), "%s", path);
	dev = open_direct(path, false);
	table_sectors = device_sectors(dev);
	close(dev);
	snprintf(table, sizeof(table), "%s /dev/wbd_%s %s", path, cache, how.options);
	rng = mix(plan.seed + 99);
	load_cut = power_lost;
	allocate();
}

static void child_died(int signal)
{
	int status;

	(void)signal;
	if (wait(&status) > 0 && status)
		_exit(1);
}

/* The other device gets a process of its own. */
static void fork_second(const char *second_name, const char *second_cache, const char *second_backing)
{
	pthread_barrierattr_t attr;
	pid_t parent = getpid();

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("not enough memory");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &attr, 2);
	snprintf(disks, sizeof(disks), "%s %s %s %s", cache, backing, second_cache, second_backing);
	fflush(stdout);
	signal(SIGCHLD, child_died);
	if (fork())
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	leader = false;
	name = second_name;
	cache = second_cache;
	backing = second_backing;
	plan.seed ^= 0x5ec;
}

static void parse(int argc, char **argv)
{
	static const char *const meddlings[] = { "none", "knobs", "reload", "drain" };
	u32 i;

	for (; argc > 1; argc -= 2, argv += 2) {
		if (!strcmp(argv[0], "--cycles")) {
			how.cycles = number(argv[1]);
		} else if (!strcmp(argv[0], "--seconds")) {
			how.seconds = number(argv[1]);
		} else if (!strcmp(argv[0], "--torn")) {
			how.torn = number(argv[1]);
		} else if (!strcmp(argv[0], "--create")) {
			how.create = number(argv[1]);
		} else if (!strcmp(argv[0], "--table")) {
			how.options = argv[1];
		} else if (!strcmp(argv[0], "--meddle")) {
			for (i = 0; i < 4 && strcmp(argv[1], meddlings[i]); i++)
				;
			if (i == 4)
				die("--meddle is none, knobs, reload or drain");
			how.meddle = i;
		} else if (!strcmp(argv[0], "--second") && argc > 3) {
			fork_second(argv[1], argv[2], argv[3]);
			argc -= 2;
			argv += 2;
		} else if (!plan_option(argv[0], argv[1])) {
			die("no option '%s'", argv[0]);
		}
	}
	if (argc)
		die("'%s' wants a value", argv[0]);
}

int main(int argc, char **argv)
{
	u64 started = now_ms();
	u32 cycle;

	if (argc < 4)
		die("usage: see the top of dkms-test/guest-src/wbpower.c");
	name = argv[1];
	cache = argv[2];
	backing = argv[3];
	snprintf(disks, sizeof(disks), "%s %s", cache, backing);
	parse(argc - 4, argv + 4);
	prepare();
	for (cycle = 0; cycle < how.cycles; cycle++) {
		if (shared && leader)
			shared->over = now_ms() > started + how.seconds * 1000ull;
		together();
		if (shared ? shared->over : now_ms() > started + how.seconds * 1000ull)
			break;
		one_life();
	}
	last_life();
	printf("figures: cycles %u, seed %llu, cuts in creation %llu, stops in order %llu, operations %llu, surely durable %llu, meddled %llu, swapped to error %llu, blocks past the log %llu, seconds %llu, violations 0\n",
	       cycle, (unsigned long long)plan.seed, (unsigned long long)nr_created_cut,
	       (unsigned long long)nr_orderly, (unsigned long long)total_ops,
	       (unsigned long long)total_sure, (unsigned long long)nr_meddled,
	       (unsigned long long)nr_swapped, (unsigned long long)total_bypassed,
	       (unsigned long long)(now_ms() - started) / 1000);
	fflush(stdout);
	if (shared && leader) {
		int status;

		signal(SIGCHLD, SIG_DFL);
		if (wait(&status) > 0 && status)
			die("the second device's process failed");
	}
	return 0;
}
