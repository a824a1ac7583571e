// SPDX-License-Identifier: GPL-2.0
/*
 * wbfail NAME BACKING CACHE [SEED]: allocation after allocation of every operation on a device fails.
 *
 * An operation is one system call. It is made with its first allocation failing (the kernel's
 * fail-nth, which counts those of the calling task alone), with its second, and so on, until it
 * succeeds with no failure left to come. Past the first few dozens, most of which belong to arrays
 * that are allocated page by page, some are left out, others with another SEED; 0 leaves out none.
 * Whether or not it succeeds with one failing is its own
 * affair; but then
 *	- the device can be removed, or suspended, or resumed, or used, as if it had not been tried;
 *	- all that was written is there; of a write that failed either what was there or what was
 *	  to be, sector by sector.
 * What is lost, leaked or broken otherwise is for the kernel's own checks to tell. CACHE has to be
 * formatted, BACKING empty. NAME must not be there, and is not when this ends.
 *
 * Prints for each operation how many failures there were, and how many of them it survived.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dm.h"

#define BLOCKS		48u		/* of the device, that are used */
#define MOST_FAILURES	5000u

const char *program = "wbfail";

static const char *name;
static char table[256];
static u64 sectors;
static int fail_nth, device = -1;
static char node[32];
static u8 *buf;

/* What every sector may hold: the version that is there, or the one that a failed write had. */
static u32 now[BLOCKS * BLOCK_SECTORS], maybe[BLOCKS * BLOCK_SECTORS];
static u32 version, last_io;
static u64 seed = 1;

/* ---------------------------------------------------------------- failing */

static void arm(u32 nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth);

	if (pwrite(fail_nth, text, length, 0) != length)
		die("fail-nth: %s", strerror(errno));
}

/* Returns whether the failure has happened. */
static bool disarm(void)
{
	char text[16] = "";

	if (pread(fail_nth, text, sizeof(text) - 1, 0) <= 0)
		die("fail-nth: %s", strerror(errno));
	arm(0);
	return !strtoul(text, NULL, 10);
}

/* ---------------------------------------------------------------- the device */

static void must(int err, const char *what)
{
	if (err)
		die("cannot %s: %s", what, strerror(err));
}

/* The node outlives table swaps and suspends; it is open only while there is I/O to do. */
static void open_device(void)
{
	if (device < 0) {
		snprintf(node, sizeof(node), "%s", dm_node(name));
		device = open_direct(node, true);
	}
}

static void close_device(void)
{
	if (device >= 0)
		close(device);
	device = -1;
}

static void check(const char *when)
{
	u32 b, i, at;
	struct stamp s;
	const char *bad;

	open_device();
	for (b = 0; b < BLOCKS; b++) {
		must(read_sectors(device, buf, b * BLOCK_SECTORS, BLOCK_SECTORS), "read");
		for (i = 0; i < BLOCK_SECTORS; i++) {
			at = b * BLOCK_SECTORS + i;
			bad = stamp_read(buf + i * SECTOR, at, &s);
			if (bad)
				die("%s: sector %u holds %s", when, at, bad);
			if (s.op != now[at] && s.op != maybe[at])
				die("%s: sector %u is of version %u, expected %u", when, at, s.op, now[at]);
			now[at] = s.op;
			maybe[at] = s.op;
		}
	}
	close_device();
}

static int write_range(u32 sector, u32 nr, bool fua)
{
	struct stamp s = { .life = 1, .op = ++version };
	int err;
	u32 i;

	for (i = 0; i < nr; i++) {
		s.sector = sector + i;
		stamp_write(buf + i * SECTOR, &s);
		maybe[sector + i] = version;
	}
	err = write_sectors(device, buf, sector, nr, fua);
	for (i = 0; i < nr && !err; i++)
		now[sector + i] = version;
	return err;
}

/* Blocks, and parts of blocks over other versions of them: there is something for each to do. */
static void fill(void)
{
	u32 i, at;

	open_device();
	for (i = 0; i < 12; i++) {
		at = (version * 7 + i * 3) % (BLOCKS - 4) * BLOCK_SECTORS;
		must(write_range(at + (i % 3 ? 0 : 3), i % 3 ? 16 : 2, false), "write");
	}
	if (fdatasync(device))
		must(errno, "flush");
	close_device();
}

static int load_table(void) { return dm_load(name, sectors, "writeboost", table); }
static int suspend(void) { return dm_suspend(name, false); }
static int resume(void) { return dm_resume(name); }

static void create(void)
{
	must(dm_create(name, sectors, "writeboost", table), "create");
}

static void delete(void)
{
	must(dm_remove(name), "remove");
}

/* ---------------------------------------------------------------- operations */

static void created_empty(void) { must(dm_create_empty(name), "create without a table"); }

static void created_loaded(void)
{
	created_empty();
	must(load_table(), "load");
}

static void suspended(void)
{
	create();
	fill();
	must(suspend(), "suspend");
}

static void filled(void)
{
	create();
	fill();
}

static void swapping(void)
{
	filled();
	must(load_table(), "load");
	must(suspend(), "suspend");
}

static void other_loaded(void)
{
	filled();
	must(load_table(), "load");
}

static void drained(void)
{
	create();
	must(dm_message(name, "drain"), "drain");
}

static void open_filled(void)
{
	filled();
	open_device();
	last_io = (version * 5) % (BLOCKS - 8) * BLOCK_SECTORS;
}

static int op_remove(void) { return dm_remove(name); }
static int op_flush_message(void) { return dm_message(name, "flush"); }
static int op_drain(void) { return dm_message(name, "drain"); }
static int op_undrain(void) { return dm_message(name, "undrain"); }
static int op_knob(void) { return dm_message(name, "migrate_threshold 33"); }
static int op_status(void) { return dm_status(name); }
static int op_write(void) { return write_range(last_io, 8, false); }
static int op_write_part(void) { return write_range(last_io + 5, 1, false); }
static int op_write_fua(void) { return write_range(last_io + 9, 14, true); }
static int op_write_large(void) { return write_range(last_io, 64, false); }
static int op_read(void) { return read_sectors(device, buf, last_io, 64); }
static int op_flush(void) { return fdatasync(device) ? errno : 0; }

/*
 * Discarded sectors are zeros (version 0) or, when it failed, what they were; the RAM disks below
 * discard exactly.
 */
static int op_discard(void)
{
	int err;
	u32 i;

	for (i = 0; i < 24; i++)
		maybe[last_io + i] = 0;
	err = discard_sectors(device, last_io, 24);
	for (i = 0; i < 24 && !err; i++)
		now[last_io + i] = 0;
	return err;
}

/* How a device stands after an operation: what has to be done until it is usable. */
enum after { EMPTY, LOADED, SUSPENDED, LIVE, GONE };

static const struct operation {
	const char *name;
	void (*prepare)(void);
	int (*run)(void);
	enum after failed, done;
} operations[] = {
	{ "load",		created_empty,	load_table,	EMPTY,		LOADED },
	{ "first resume",	created_loaded,	resume,		LOADED,		LIVE },
	{ "suspend",		filled,		suspend,	LIVE,		SUSPENDED },
	{ "resume",		suspended,	resume,		SUSPENDED,	LIVE },
	{ "load over live",	filled,		load_table,	LIVE,		LIVE },
	{ "swap: suspend",	other_loaded,	suspend,	LIVE,		SUSPENDED },
	{ "swap: resume",	swapping,	resume,		SUSPENDED,	LIVE },
	{ "remove",		filled,		op_remove,	LIVE,		GONE },
	{ "message flush",	filled,		op_flush_message, LIVE,		LIVE },
	{ "message drain",	filled,		op_drain,	LIVE,		LIVE },
	{ "message undrain",	drained,	op_undrain,	LIVE,		LIVE },
	{ "message knob",	filled,		op_knob,	LIVE,		LIVE },
	{ "status",		filled,		op_status,	LIVE,		LIVE },
	{ "write",		open_filled,	op_write,	LIVE,		LIVE },
	{ "write, part",	open_filled,	op_write_part,	LIVE,		LIVE },
	{ "write, FUA",		open_filled,	op_write_fua,	LIVE,		LIVE },
	{ "write, large",	open_filled,	op_write_large,	LIVE,		LIVE },
	{ "read",		open_filled,	op_read,	LIVE,		LIVE },
	{ "flush",		open_filled,	op_flush,	LIVE,		LIVE },
	{ "discard",		open_filled,	op_discard,	LIVE,		LIVE },
};

/* From wherever it stands to a device that is usable, and on to none. */
static void tidy(enum after state, const char *what)
{
	close_device();
	switch (state) {
	case EMPTY:
		/* Device-mapper cannot always use a device whose first table it could not take. */
		delete();
		break;
	case LOADED:
	case SUSPENDED:
		must(resume(), "resume");
		/* fall through */
	case LIVE:
		check(what);
		delete();
		/* fall through */
	case GONE:
		break;
	}
	create();
	check(what);
	delete();
}

static u32 step(u32 nth)
{
	if (!seed || nth < 48)
		return 1;
	return 1 + random_below(&seed, nth / 8);
}

static void fail_each(const struct operation *op)
{
	u32 nth, tried = 0, survived = 0;
	bool failed;
	int err;

	for (nth = 1; nth <= MOST_FAILURES; nth += step(nth)) {
		op->prepare();
		arm(nth);
		err = op->run();
		failed = disarm();
		if (err && !failed)
			die("%s: %s, and nothing had failed", op->name, strerror(err));
		if (!err && failed)
			survived++;
		tidy(err ? op->failed : op->done, op->name);
		if (!failed)
			break;
		tried++;
	}
	if (nth > MOST_FAILURES)
		die("%s: there is no end of allocations", op->name);
	printf("%-16s %4u failures, %u of them survived\n", op->name, tried, survived);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	size_t i;
	int fd;

	if (argc != 4 && argc != 5)
		die("usage: wbfail NAME BACKING CACHE [SEED]");
	if (argc == 5)
		seed = number(argv[4]);
	name = argv[1];
	snprintf(table, sizeof(table), "%s %s", argv[2], argv[3]);
	fd = open_direct(argv[2], false);
	sectors = device_sectors(fd);
	close(fd);
	buf = io_alloc(BLOCKS * BLOCK_SECTORS * SECTOR);
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	if (fail_nth < 0)
		die("/proc/thread-self/fail-nth: %s", strerror(errno));
	create();
	fill();
	check("before any failure");
	delete();
	for (i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		fail_each(&operations[i]);
	return 0;
}
