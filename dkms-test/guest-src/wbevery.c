// SPDX-License-Identifier: GPL-2.0
/*
 * wbevery: the power goes at every operation of a device's life, one after the other.
 *
 *   wbevery NAME CACHE BACKING [--seed N] [--from N] [--step N] [--torn PERCENT] [--keep random|none|all]
 *
 * CACHE and BACKING are the names of two simulated disks (dkms-test/disks) with volatile caches; the
 * cache is formatted. One *life* goes through everything a device can be made to do: create, writes
 * whole and partial, FLUSH, FUA, discard, migration, suspend, table swap, drain, undrain, remove,
 * create. It is lived again and again, and the n-th time both disks lose power at their n-th operation.
 * Each time, after the power is back, the device is created, with the power cut once more at some
 * operation of that recovery, and then for good, and every sector is held against what was
 * acknowledged:
 *
 *   flushed	nothing is older than what a FLUSH or a FUA write had covered;
 *   prefix	where something is visible, everything acknowledged before it was issued is there, too
 *		(not for writes past the log, in mode drained: nor on any disk);
 *   no ghosts	nothing else: only what was written to this place, in this life.
 *
 * A discard (of whole blocks: the ends of others are hints) may be undone by the crash, to what it
 * discarded and to nothing older.
 * It ends when a life is over before its cut comes. Then it has seen every operation there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "dm.h"

#define USED		512u		/* sectors of the device that are written */
#define MAX_OPS		400u
#define FORMATTED	(1u << 20)	/* bytes that a format writes */
#define PATIENCE_MS	20000

const char *program = "wbevery";

/* One operation that changes sectors. */
struct change {
	u32 sector;
	u32 nr;
	bool discard;
	bool past;	/* past the log, in mode drained */
	bool done;	/* acknowledged */
	bool durable;	/* covered by a FLUSH that succeeded, or FUA */
};

static struct {
	const char *name, *cache, *backing;
	char cache_path[64], backing_path[64], table[192];
	int cache_fd, backing_fd, fd;	/* fd: of the device, -1 while there is none */
	u64 sectors;
	u64 seed;
	u64 rng;
	u32 n;
	u8 *formatted;
	u8 *buf;
	u8 *recovered;	/* what the first recovery showed */
	struct change ops[MAX_OPS + 1];	/* from 1 on */
	u32 nr_ops;
	u32 checked;	/* lives */
	u32 twice;	/* with a second cut, in the recovery */
} t;

/* ---------------------------------------------------------------- simulated disks */

__attribute__((format(printf, 1, 2)))
static int sim(const char *fmt, ...)
{
	char line[256];
	va_list args;
	int fd, len, err;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fd = open("/proc/wbdisk", O_WRONLY);
	if (fd < 0)
		die("cannot open /proc/wbdisk: %s", strerror(errno));
	err = write(fd, line, len) == len ? 0 : errno;
	close(fd);
	return err;
}

static void must_sim(int err, const char *what)
{
	if (err)
		die("life %u: the disks do not %s: %s", t.n, what, strerror(err));
}

static void revive(void)
{
	int err = sim("revive %s %s", t.cache, t.backing);

	must_sim(err == EALREADY ? 0 : err, "revive");	/* the cut did not come */
}

static void discard_all(int fd)
{
	u64 range[2] = { 0, device_sectors(fd) * SECTOR };

	if (ioctl(fd, BLKDISCARD, range))
		die("cannot clear a disk: %s", strerror(errno));
	if (fsync(fd))
		die("cannot flush a disk: %s", strerror(errno));
}

/* As right after a format, with nothing of the life before on either disk. */
static void begin_anew(void)
{
	discard_all(t.cache_fd);
	discard_all(t.backing_fd);
	if (write_sectors(t.cache_fd, t.formatted, 0, FORMATTED / SECTOR, false) || fsync(t.cache_fd))
		die("cannot write to the cache disk");
	memset(t.ops, 0, sizeof(t.ops));
	t.nr_ops = 0;
	t.rng = mix(t.seed) ^ t.seed;	/* every life is the same */
}

/* ---------------------------------------------------------------- the device */

static int create(void)
{
	int err = dm_create(t.name, t.sectors, "writeboost", t.table);

	if (!err)
		t.fd = open_direct(dm_node(t.name), true);
	return err;
}

static void let_go(void)
{
	if (t.fd >= 0)
		close(t.fd);
	t.fd = -1;
}


static int flush(void)
{
	u32 nr = t.nr_ops, i;
	bool done[MAX_OPS + 1];

	for (i = 1; i <= nr; i++)
		done[i] = t.ops[i].done;
	if (fsync(t.fd))
		return errno;
	for (i = 1; i <= nr; i++)
		t.ops[i].durable |= done[i];
	return 0;
}

static bool past;

static u32 new_op(u32 sector, u32 nr, bool discard)
{
	u32 op = ++t.nr_ops;

	if (op > MAX_OPS)
		die("too many operations in a life");
	t.ops[op] = (struct change){ .sector = sector, .nr = nr, .discard = discard, .past = past };
	return op;
}

static int write_at(u32 sector, u32 nr, bool fua)
{
	u32 op = new_op(sector, nr, false), i;
	struct stamp s = { .life = 1, .op = op };
	int err;

	for (i = 0; i < nr; i++) {
		s.sector = sector + i;
		stamp_write(t.buf + i * SECTOR, &s);
	}
	err = write_sectors(t.fd, t.buf, sector, nr, fua);
	t.ops[op].done = !err;
	t.ops[op].durable = !err && fua;
	return err;
}

/* Whole blocks and parts of them, long and short, mostly over what was written before. */
static int some_writes(u32 count)
{
	u32 sector, nr;
	int err = 0;

	while (!err && count--) {
		switch (random_below(&t.rng, 4)) {
		case 0:
			sector = random_below(&t.rng, USED - 16);
			nr = 1 + random_below(&t.rng, 15);
			break;
		case 1:
			sector = random_below(&t.rng, USED / 8 - 12) * 8;
			nr = 8 * (1 + random_below(&t.rng, 12));
			break;
		default:
			sector = random_below(&t.rng, 16) * 8;
			nr = 8;
		}
		err = write_at(sector, nr, !random_below(&t.rng, 12));
	}
	return err;
}

static int discard_at(u32 sector, u32 nr)
{
	u32 op = new_op(sector, nr, true);
	int err = discard_sectors(t.fd, sector, nr);

	t.ops[op].done = !err;
	return err;
}

/* Every sector is the newest write's. Only while nothing has failed. */
static int read_all(void)
{
	struct stamp s;
	u32 i, op, want;
	const char *wrong;
	int err = read_sectors(t.fd, t.buf, 0, USED);

	for (i = 0; !err && i < USED; i++) {
		for (want = 0, op = 1; op <= t.nr_ops; op++)
			if (i - t.ops[op].sector < t.ops[op].nr)
				want = t.ops[op].discard ? 0 : op;
		wrong = stamp_read(t.buf + i * SECTOR, i, &s);
		if (wrong)
			die("life %u: read: sector %u: %s", t.n, i, wrong);
		if (s.op != want)
			die("life %u: read: sector %u is operation %u's, not %u's", t.n, i, s.op, want);
	}
	return err;
}

/* Until the status line says so. What the device says when it has failed ends it as well. */
static int wait_caching(const char *mode)
{
	u64 deadline = now_ms() + PATIENCE_MS;
	struct wb_status s;

	for (;;) {
		wb_status(t.name, &s);
		if (!strcmp(s.caching, mode))
			return 0;
		if (strcmp(s.health, "ok"))
			return EIO;
		if (now_ms() > deadline)
			die("life %u: not %s after %u ms", t.n, mode, PATIENCE_MS);
		sleep_ms(1);
	}
}

static int wait_migrated(void)
{
	u64 deadline = now_ms() + PATIENCE_MS;
	struct wb_status s;

	for (;;) {
		wb_status(t.name, &s);
		if (s.n[F_MIGRATED] + 2 >= s.n[F_CURRENT])
			return 0;
		if (strcmp(s.health, "ok"))
			return EIO;
		if (now_ms() > deadline)
			die("life %u: nothing is migrated in %u ms", t.n, PATIENCE_MS);
		sleep_ms(1);
	}
}

static int drain(void)
{
	int err = dm_message(t.name, "drain") ?: wait_caching("drained");

	past = !err;
	return err;
}

static int undrain(void)
{
	int err = dm_message(t.name, "undrain") ?: wait_caching("writeback");

	past = past && err;
	return err;
}

static int suspend(bool noflush)
{
	return dm_suspend(t.name, noflush) ?: dm_resume(t.name);
}

static int swap_table(void)
{
	return dm_load(t.name, t.sectors, "writeboost", t.table) ?: suspend(false);
}

static int recreate(void)
{
	int err;

	let_go();
	err = dm_remove(t.name);
	if (err)
		die("life %u: the device is not removed: %s", t.n, strerror(err));
	err = create();
	past = past && err;
	return err;
}

/* All of a life. Return: 0 when it came to its end, or the error that the cut brought. */
static int live(void)
{
	past = false;
	return create() ?:
	       some_writes(8) ?: flush() ?: some_writes(6) ?: read_all() ?:
	       some_writes(12) ?: flush() ?: wait_migrated() ?: some_writes(10) ?:
	       discard_at(0, 64) ?: some_writes(2) ?: discard_at(40, 96) ?: flush() ?:
	       suspend(false) ?: some_writes(6) ?: suspend(true) ?: flush() ?: read_all() ?:
	       some_writes(12) ?: swap_table() ?: some_writes(4) ?:
	       recreate() ?: read_all() ?: some_writes(6) ?: discard_at(64, 64) ?:
	       drain() ?: read_all() ?: some_writes(4) ?: flush() ?: some_writes(3) ?: discard_at(0, 40) ?:
	       suspend(false) ?: undrain() ?: some_writes(5) ?: flush() ?: read_all() ?:
	       drain() ?: some_writes(4) ?: recreate() ?: some_writes(5) ?: flush() ?: read_all();
}

/* ---------------------------------------------------------------- the verdict */

static bool covers(u32 op, u32 sector)
{
	return op && sector - t.ops[op].sector < t.ops[op].nr;
}

/* May the sector show what operation @seen left there (0: nothing, or a discard)? */
static bool may_show(u32 sector, u32 seen)
{
	bool zero = true;	/* nobody has written here yet */
	u32 op;

	/*
	 * Go from old to new. @zero: is nothing a legal sight after this operation? What is durable
	 * hides all that is older, but for a discard, which need not be durable.
	 */
	bool legal = !seen;

	for (op = 1; op <= t.nr_ops; op++) {
		if (!covers(op, sector))
			continue;
		if (t.ops[op].discard) {
			zero = true;
		} else {
			if (t.ops[op].durable)
				zero = legal = false;
			legal |= op == seen;
		}
		if (!seen && zero)
			legal = true;
	}
	return legal;
}

/* Was it written behind the log's back? Such a sector may be torn, as on any disk. */
static bool may_be_torn(u32 sector)
{
	u32 op;

	for (op = 1; op <= t.nr_ops; op++)
		if (covers(op, sector) && t.ops[op].past && !t.ops[op].discard)
			return true;
	return false;
}

static void verify(void)
{
	static u32 seen[USED];
	u32 i, op, newest = 0;
	const char *wrong;
	struct stamp s;
	bool later;
	int err;

	err = read_sectors(t.fd, t.buf, 0, USED);
	if (err)
		die("life %u: cannot read what was recovered: %s", t.n, strerror(err));
	for (i = 0; i < USED; i++) {
		wrong = stamp_read(t.buf + i * SECTOR, i, &s);
		if (wrong && may_be_torn(i)) {
			seen[i] = t.nr_ops;
			continue;
		}
		if (wrong)
			die("life %u: sector %u: %s", t.n, i, wrong);
		seen[i] = s.op;
		if (s.op > t.nr_ops || (s.op && !covers(s.op, i)))
			die("life %u: sector %u is of an operation %u that never was", t.n, i, s.op);
		if (!may_show(i, s.op))
			die("life %u: sector %u is operation %u's: lost what was flushed after it", t.n, i,
			    s.op);
		if (s.op > newest && !t.ops[s.op].past)
			newest = s.op;
	}
	/* Everything through the log that was acknowledged before @newest was issued is there. */
	for (i = 0; i < USED; i++) {
		later = false;
		for (op = seen[i] + 1; op < newest; op++)
			later |= covers(op, i) && t.ops[op].done && !t.ops[op].past;
		/* A discard may be undone, and what came before a later one may have gone with it. */
		for (op = 1; later && op <= t.nr_ops; op++)
			if (covers(op, i) && t.ops[op].discard)
				later = false;
		if (later)
			die("life %u: sector %u is operation %u's, though a later one that was acknowledged before %u is gone",
			    t.n, i, seen[i], newest);
	}
}

/* A recovery makes durable what it shows: nothing changes any more. */
static void verify_again(void)
{
	u32 i;

	if (read_sectors(t.fd, t.buf, 0, USED))
		die("life %u: cannot read what was recovered", t.n);
	for (i = 0; i < USED; i++)
		if (memcmp(t.buf + i * SECTOR, t.recovered + i * SECTOR, SECTOR))
			die("life %u: sector %u is not what the recovery before had shown", t.n, i);
}

/* What is left of the device after the cut goes away, whatever state it is in. */
static void remove_dead(void)
{
	int err;

	let_go();
	err = dm_remove(t.name);
	if (err && err != ENXIO)
		die("life %u: the dead device is not removed: %s", t.n, strerror(err));
}

static void recover_and_verify(void)
{
	u64 rng = t.seed * 0x9e3779b97f4a7c15ull + t.n;
	bool recovered;

	/* The power goes again, while it recovers or soon after: mostly within its first operations. */
	must_sim(sim("cut-at ops=%u seed=%llu %s %s", 1 + random_below(&rng, 24),
		     (unsigned long long)random_next(&rng), t.cache, t.backing), "cut again");
	recovered = !create();
	sim("cut-off %s %s", t.cache, t.backing);
	t.twice += !recovered;
	if (recovered && !read_sectors(t.fd, t.buf, 0, USED)) {
		verify();
		memcpy(t.recovered, t.buf, USED * SECTOR);
	} else {
		recovered = false;
	}
	remove_dead();
	revive();
	if (create())
		die("life %u: the device cannot be created after the cut", t.n);
	if (recovered)
		verify_again();
	verify();
	memcpy(t.recovered, t.buf, USED * SECTOR);
	/* Drained or not. */
	if (drain())
		die("life %u: what was recovered cannot be drained", t.n);
	verify_again();
	past = false;
	remove_dead();
	t.checked++;
}

/* ---------------------------------------------------------------- all of it */

static int open_disk(const char *name, char *path, size_t size)
{
	snprintf(path, size, "/dev/wbd_%s", name);
	return open_direct(path, true);
}

int main(int argc, char **argv)
{
	u32 step = 1, torn = 20, i;
	const char *keep = "random";
	int err;

	if (argc < 4)
		die("usage: see the comment at the top of wbevery.c");
	t.name = argv[1];
	t.cache = argv[2];
	t.backing = argv[3];
	t.seed = 1;
	t.n = 1;
	for (i = 4; i + 1 < (u32)argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			t.seed = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--from"))
			t.n = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--step"))
			step = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--torn"))
			torn = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--keep"))
			keep = argv[i + 1];
		else
			die("no option '%s'", argv[i]);
	}
	t.fd = -1;
	t.cache_fd = open_disk(t.cache, t.cache_path, sizeof(t.cache_path));
	t.backing_fd = open_disk(t.backing, t.backing_path, sizeof(t.backing_path));
	t.sectors = device_sectors(t.backing_fd);
	snprintf(t.table, sizeof(t.table), "%s %s 2 enable_migration_modulator 0", t.backing_path,
		 t.cache_path);
	t.buf = io_alloc(USED * SECTOR);
	t.recovered = io_alloc(USED * SECTOR);
	t.formatted = io_alloc(FORMATTED);
	if (read_sectors(t.cache_fd, t.formatted, 0, FORMATTED / SECTOR))
		die("cannot read the cache disk");

	for (;; t.n += step) {
		begin_anew();
		must_sim(sim("cut-at ops=%u seed=%u torn=%u keep=%s %s %s", t.n, t.n, torn, keep, t.cache,
			     t.backing), "cut");
		err = live();
		if (!err) {
			sim("cut-off %s %s", t.cache, t.backing);
			remove_dead();
			revive();
			begin_anew();	/* for whoever comes next */
			break;
		}
		remove_dead();
		revive();
		recover_and_verify();
	}
	if (!t.checked)
		die("no cut came: nothing was tested");
	printf("%s: seed %llu, %u lives, the power cut at operations up to %u, %u of them cut again in recovery\n",
	       program, (unsigned long long)t.seed, t.checked, t.n - step, t.twice);
	return 0;
}
