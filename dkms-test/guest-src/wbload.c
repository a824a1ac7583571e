// SPDX-License-Identifier: GPL-2.0
/*
 * wbload: writers that know what must be there, and a judge of what is.
 *
 *   wbload run NAME BACKING [OPTION...]	load; verify; drain; verify the device, and BACKING alone
 *   wbload kill NAME CACHE BACKING [OPTION...]
 *						many lives: load, cut both lower devices off, remove,
 *						create again, verify
 *   wbload format STATE [OPTION...]		for the two below: begin anew. STATE is a block device that
 *						outlives the machine
 *   wbload write DEVICE STATE		load, until the machine is killed
 *   wbload verify DEVICE STATE		what is there after the kill
 *
 * What is written and how it is judged: load.h.
 *
 * Options: --seed N, --writers N (1 to 8), --sectors N (the part of the device that is used), --grain N (sectors;
 * everything is a multiple of it), --ops N (each writer's; of `kill` the most in one life), --reads PERCENT, --discard
 * yes|no, --max SECTORS (longest write), --toggle yes|no (messages during the load), --lives N, --sync yes|no (flushes and FUA),
 * --discards, --flushes, --fuas PERCENT of the operations.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "load.h"

const char *program = "wbload";

/* ---------------------------------------------------------------- data: run */

static void *run_toggle(void *arg)
{
	u64 rng = mix(plan.seed + 77);

	(void)arg;
	while (!load(&stop)) {
		switch (random_below(&rng, 5)) {
		case 0:
			wb_message(name, "allow_migrate %u", random_below(&rng, 2));
			break;
		case 1:
			wb_message(name, "enable_migration_modulator %u", random_below(&rng, 2));
			break;
		case 2:
			wb_message(name, "nr_max_batched_migration %u", 1 + random_below(&rng, 8));
			break;
		case 3:
			wb_message(name, "barrier_deadline_ms %u", random_below(&rng, 3));
			break;
		case 4:
			wb_message(name, "flush");
			break;
		}
		sleep_ms(1 + random_below(&rng, 40));
	}
	return NULL;
}
static void run(const char *backing)
{
	u32 ops[MAX_WRITERS], i;
	pthread_t toggler;

	fd = open_direct(dm_node(name), true);
	if (device_sectors(fd) < plan.sectors)
		die("the device has fewer than %llu sectors", (unsigned long long)plan.sectors);
	start_writers(nr_ops);
	if (toggle && pthread_create(&toggler, NULL, run_toggle, NULL))
		die("cannot start a thread");
	join_writers();
	store(&stop, true);
	if (toggle)
		pthread_join(toggler, NULL);
	for (i = 0; i < MAX_WRITERS; i++)
		ops[i] = i < plan.writers ? nr_ops : 0;
	verify(fd, ops, ops, "after the load");
	check_backing(backing);
}

/* ---------------------------------------------------------------- durability: kill */

/* The lower device that is cut off: a device-mapper device over all of a disk. */
struct lower {
	const char *name;
	char table[128];
	char node[32];
	u64 sectors;
};
static void make_lower(struct lower *l, const char *name, const char *disk)
{
	int dev = open_direct(disk, true);

	l->name = name;
	l->sectors = device_sectors(dev);
	close(dev);
	snprintf(l->table, sizeof(l->table), "%s 0", disk);
	must(dm_create(name, l->sectors, "linear", l->table), "create", name);
	snprintf(l->node, sizeof(l->node), "%s", dm_node(name));
}

/* From one instant on nothing reaches either device. Requests in flight below have ended by then. */
static void cut_off(struct lower *first, struct lower *second)
{
	store(&killed, true);
	must(dm_load(first->name, first->sectors, "error", ""), "load", first->name);
	must(dm_load(second->name, second->sectors, "error", ""), "load", second->name);
	must(dm_suspend(first->name, true), "suspend", first->name);
	must(dm_suspend(second->name, true), "suspend", second->name);
	must(dm_resume(first->name), "resume", first->name);
	must(dm_resume(second->name), "resume", second->name);
}

static void bring_back(struct lower *l)
{
	must(dm_load(l->name, l->sectors, "linear", l->table), "load", l->name);
	must(dm_suspend(l->name, true), "suspend", l->name);
	must(dm_resume(l->name), "resume", l->name);
}

static void one_life(struct lower *cache, struct lower *backing, const char *table, u64 *rng)
{
	u32 ops[MAX_WRITERS], wanted = 1 + random_below(rng, 1 + random_below(rng, nr_ops));
	u64 started = now_ms(), cut;
	char when[32];

	must(dm_create(name, backing->sectors, "writeboost", table), "create", name);
	fd = open_direct(dm_node(name), true);
	if (plan.life > 1) {
		/* What the life before left; then it is this life's turn. */
		plan.life--;
		issued_ops(ops);
		snprintf(when, sizeof(when), "after life %u", plan.life);
		verify(fd, stable.op, ops, when);
		plan.life++;
	}
	wb_message(name, "sync_interval %u", random_below(rng, 2));
	wb_message(name, "allow_migrate %u", !!random_below(rng, 4));
	wb_message(name, "enable_migration_modulator %u", random_below(rng, 2));
	start_writers(~0u >> 1);
	while (load(&ops_done) < wanted) {
		if (now_ms() > started + HANG_MS)
			die("life %u: %llu of %u operations in %u ms: it hangs", plan.life,
			    (unsigned long long)load(&ops_done), wanted, HANG_MS);
		sleep_ms(1);
	}
	if (random_below(rng, 2))
		cut_off(cache, backing);
	else
		cut_off(backing, cache);
	cut = now_ms();
	sleep_ms(random_below(rng, 3));
	store(&stop, true);
	join_writers();
	close(fd);
	must(dm_remove(name), "remove", name);
	printf("life %u: cut off after %llu operations, removed after %llu ms\n", plan.life,
	       (unsigned long long)load(&ops_done), (unsigned long long)(now_ms() - cut));
	bring_back(cache);
	bring_back(backing);
	plan.life++;
}

static void kill_many(const char *cache_disk, const char *backing_disk)
{
	struct lower cache, backing;
	u32 last = plan.life + lives, none[MAX_WRITERS] = { 0 };
	u64 rng = mix(plan.seed + 99);
	char table[256];

	make_lower(&cache, "low_cache", cache_disk);
	make_lower(&backing, "low_backing", backing_disk);
	snprintf(table, sizeof(table), "%s %s", backing.node, cache.node);
	while (plan.life < last)
		one_life(&cache, &backing, table, &rng);
	/* The last one ends in order. */
	must(dm_create(name, backing.sectors, "writeboost", table), "create", name);
	fd = open_direct(dm_node(name), true);
	plan.life--;
	issued_ops(none);
	verify(fd, stable.op, none, "after the last life");
	plan.life++;
	memset(writers, 0, sizeof(writers));
	check_backing(backing_disk);
	close(fd);
	must(dm_remove(name), "remove", name);
	must(dm_remove(cache.name), "remove", cache.name);
	must(dm_remove(backing.name), "remove", backing.name);
}

/* ---------------------------------------------------------------- durability: the machine is killed */

static void read_state(void *to, u64 at, size_t len)
{
	u8 *block = io_alloc(4096);
	size_t n;

	for (; len; len -= n, at += 4096, to = (u8 *)to + n) {
		n = len < 4096 ? len : 4096;
		if (read_sectors(state_fd, block, at / SECTOR, 8))
			die("cannot read the state device");
		memcpy(to, block, n);
	}
	free(block);
}
static void open_state(const char *path)
{
	state_fd = open_direct(path, true);
	read_state(&plan, 0, sizeof(plan));
	if (plan.magic != STATE_MAGIC)
		die("%s holds no state: wbload format", path);
	allocate();
	read_state(base, STATE_BASE, plan.sectors * sizeof(*base));
}

static void load_stable(void)
{
	struct stable s;
	u32 i;

	for (i = 0; i < 2; i++) {
		read_state(&s, STATE_VERSIONS * (1 + i), sizeof(s));
		if (s.sum == stable_sum(&s) && s.seq > stable.seq)
			stable = s;
	}
	if (stable.life != plan.life)
		memset(stable.op, 0, sizeof(stable.op));
}

static void write_until_killed(const char *device, const char *state)
{
	open_state(state);
	load_stable();
	plan.life++;
	write_state(&plan, 0, sizeof(plan));
	fd = open_direct(device, true);
	printf("life %u begins\n", plan.life);
	fflush(stdout);
	start_writers(~0u >> 1);
	join_writers();
}

/* How many were issued nobody knows any more; more than this in one life there are not. */
#define MANY_OPS 200000u

static void verify_after_kill(const char *device, const char *state)
{
	u32 known[MAX_WRITERS], i;

	open_state(state);
	load_stable();
	for (i = 0; i < MAX_WRITERS; i++)
		known[i] = i < plan.writers ? MANY_OPS : 0;
	fd = open_direct(device, false);
	verify(fd, stable.op, known, "after the kill");
	write_state(base, STATE_BASE, plan.sectors * sizeof(*base));
}
/* ---------------------------------------------------------------- */

static void parse(int argc, char **argv)
{
	for (; argc > 1; argc -= 2, argv += 2) {
		if (!strcmp(argv[0], "--toggle"))
			toggle = yes(argv[1]);
		else if (!plan_option(argv[0], argv[1]))
			die("no option '%s'", argv[0]);
	}
	if (argc)
		die("'%s' wants a value", argv[0]);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (argc >= 4 && !strcmp(verb, "run")) {
		name = argv[2];
		parse(argc - 4, argv + 4);
		allocate();
		run(argv[3]);
	} else if (argc >= 5 && !strcmp(verb, "kill")) {
		name = argv[2];
		parse(argc - 5, argv + 5);
		allocate();
		kill_many(argv[3], argv[4]);
	} else if (argc >= 3 && !strcmp(verb, "format")) {
		parse(argc - 3, argv + 3);
		plan.life = 0;
		allocate();
		state_fd = open_direct(argv[2], true);
		write_state(&plan, 0, sizeof(plan));
		write_state(&stable, STATE_VERSIONS, sizeof(stable));
		write_state(&stable, 2 * STATE_VERSIONS, sizeof(stable));
		write_state(base, STATE_BASE, plan.sectors * sizeof(*base));
	} else if (argc == 4 && !strcmp(verb, "write")) {
		write_until_killed(argv[2], argv[3]);
	} else if (argc == 4 && !strcmp(verb, "verify")) {
		verify_after_kill(argv[2], argv[3]);
	} else {
		die("usage: see the top of dkms-test/guest-src/wbload.c");
	}
	return 0;
}
