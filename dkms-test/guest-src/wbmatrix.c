// SPDX-License-Identifier: GPL-2.0
/*
 * wbmatrix NAME [--shapes LETTERS] [--reads N] [--grain SECTORS]: every place a block can be, under every
 * kind of overwrite.
 *
 * A group of blocks, one for each triple of shapes, is written three times, each block in its own
 * shapes. After each of the first two writes the whole group is moved on to some stage of a block's
 * life, which differs from group to group; after the third it goes through all of them:
 *
 *   stay     in the chunk that is open: the next write may overwrite it in place
 *   seal     in a sealed, durable chunk, most of it still in RAM
 *   evict    on the cache device alone, dirty
 *   migrate  on the cache device, clean
 *   reuse    on the backing device: the slot was reused
 *
 * After each step every block is read at many alignments, alone and together with its neighbours, and
 * compared with what was written, sector by sector. The target's own counters must say that the reads
 * found the blocks in the places they were brought to; else nothing would have been tested.
 *
 * Shapes: f all of a block, h its first five sectors, m four in the middle, t the last five, n nothing,
 * d discard, o one sector. --reads 0 reads at every alignment there is.
 */
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dm.h"

enum stage { STAY, SEAL, EVICT, MIGRATE, REUSE, NR_STAGES };

static const char *const stage_name[] = { "stay", "seal", "evict", "migrate", "reuse" };

#define MAX_READ	(8 * BLOCK_SECTORS)
#define FILL_SECTORS	2048u
#define DEADLINE_MS	30000

const char *program = "wbmatrix";

static const char *name;
static int fd;
static u32 grain = 1;
static u32 nr_reads = 6;
static const char *shapes = "fhmtn";
static u32 *version;		/* of each sector of the group, 0 = zeros */
static u32 next_version = 1;
static u64 group_start;		/* sector */
static u32 nr_blocks;
static u64 fill_start;		/* sectors that only move the log on */
static u64 device_end;
static u8 *buf;
static u64 rng;

static void shape_range(char shape, u32 *first, u32 *nr)
{
	switch (shape) {
	case 'f': case 'd': *first = 0; *nr = 8; break;
	case 'h': *first = 0; *nr = 5; break;
	case 'm': *first = 2; *nr = 4; break;
	case 't': *first = 3; *nr = 5; break;
	case 'o': *first = 4; *nr = 1; break;
	case 'n': *first = 0; *nr = 0; break;
	default: die("no shape '%c'", shape);
	}
}

static char shape_of(u32 block, u32 step)
{
	u32 n = strlen(shapes);

	/* Each triple once, and one with work in it for the last block, which may be the device's. */
	block = (block * 7 + 78) % nr_blocks;
	while (step--)
		block /= n;
	return shapes[block % n];
}

static void stamp_range(u64 sector, u32 nr, u32 op)
{
	struct stamp s = { .life = 1, .op = op };
	u32 i;

	for (i = 0; i < nr; i++) {
		s.sector = sector + i;
		stamp_write(buf + i * SECTOR, &s);
	}
}

static void write_shape(u32 block, char shape)
{
	u64 at = (u64)block * BLOCK_SECTORS;
	u32 first, nr, i;
	int err;

	shape_range(shape, &first, &nr);
	if (group_start + at + first + nr > device_end)
		nr = group_start + at + first < device_end ? device_end - group_start - at - first : 0;
	if (!nr)
		return;
	if (shape == 'd') {
		err = discard_sectors(fd, group_start + at, nr);
	} else {
		stamp_range(group_start + at + first, nr, next_version);
		err = write_sectors(fd, buf, group_start + at + first, nr, false);
	}
	if (err)
		die("writing block %u as '%c': %s", block, shape, strerror(err));
	for (i = 0; i < nr; i++)
		version[at + first + i] = shape == 'd' ? 0 : next_version;
	next_version++;
}

static void check(u64 at, u32 nr, const char *when)
{
	struct stamp s;
	const char *bad;
	u32 i;
	int err;

	err = read_sectors(fd, buf, group_start + at, nr);
	if (err)
		die("%s: reading %u sectors at %llu: %s", when, nr,
		    (unsigned long long)(group_start + at), strerror(err));
	for (i = 0; i < nr; i++) {
		bad = stamp_read(buf + i * SECTOR, group_start + at + i, &s);
		if (!bad && s.op != version[at + i])
			bad = "another version";
		if (bad)
			die("%s: block %llu (shapes %c%c%c), sector %llu of it, in a read of %u sectors from its sector %llu: %s, %u instead of %u",
			    when, (unsigned long long)((at + i) / BLOCK_SECTORS),
			    shape_of((at + i) / BLOCK_SECTORS, 0), shape_of((at + i) / BLOCK_SECTORS, 1),
			    shape_of((at + i) / BLOCK_SECTORS, 2),
			    (unsigned long long)((at + i) % BLOCK_SECTORS), nr,
			    (unsigned long long)(at % BLOCK_SECTORS), bad, s.op, version[at + i]);
	}
}

/* Clipped to the group, and to what the devices below can be asked for. */
static void check_grain(u64 at, u32 nr, const char *when)
{
	u64 end = (u64)nr_blocks * BLOCK_SECTORS;

	if (group_start + end > device_end)
		end = device_end - group_start;
	nr += at % grain;
	at -= at % grain;
	nr = (nr + grain - 1) / grain * grain;
	if (at >= end)
		return;
	check(at, at + nr > end ? end - at : nr, when);
}

static void check_all(const char *when)
{
	u32 block, i, first, nr;
	u64 at;

	for (block = 0; block < nr_blocks; block++) {
		at = (u64)block * BLOCK_SECTORS;
		if (!nr_reads) {
			for (first = 0; first < BLOCK_SECTORS; first += grain)
				for (nr = grain; first + nr <= 2 * BLOCK_SECTORS; nr += grain)
					check_grain(at + first, nr, when);
			continue;
		}
		check_grain(at, BLOCK_SECTORS, when);
		for (i = 1; i < nr_reads; i++) {
			first = random_below(&rng, BLOCK_SECTORS);
			nr = i & 1 ? 1 + random_below(&rng, BLOCK_SECTORS - first) :
				     1 + random_below(&rng, MAX_READ - BLOCK_SECTORS);
			check_grain(at + first, nr, when);
		}
	}
}

/* ---------------------------------------------------------------- from stage to stage */

static u64 field(enum wb_field f)
{
	struct wb_status s;

	wb_status(name, &s);
	if (strcmp(s.health, "ok"))
		die("the device's health is '%s'", s.health);
	return s.n[f];
}

static void fill(u64 kib)
{
	static u32 at;
	u32 nr;
	int err;

	for (; kib; kib -= nr / 2) {
		nr = kib * 2 < FILL_SECTORS ? kib * 2 : FILL_SECTORS;
		stamp_range(fill_start, nr, ++at);
		err = write_sectors(fd, buf, fill_start, nr, false);
		if (err)
			die("writing filler: %s", strerror(err));
	}
}

/* Into a segment of its own, which is closed and durable. Returns the segment before the current one. */
static u64 close_segment(void)
{
	u64 id = field(F_CURRENT);

	while (field(F_CURRENT) == id)
		fill(16);
	wb_message(name, "flush");
	return field(F_CURRENT) - 1;
}

static void wait_migrated(u64 id)
{
	u64 deadline = now_ms() + DEADLINE_MS;

	wb_message(name, "allow_migrate 1");
	wb_message(name, "enable_migration_modulator 0");
	while (field(F_MIGRATED) < id) {
		if (now_ms() > deadline)
			die("segment %llu was not migrated in %d ms", (unsigned long long)id,
			    DEADLINE_MS);
		sleep_ms(2);
	}
	wb_message(name, "allow_migrate 0");
}

/* A closed segment leaves RAM when its buffer is given to a later one; wait until reads see that. */
static void wait_retired(void)
{
	u64 deadline = now_ms() + DEADLINE_MS, before = field(F_READ_CACHE);

	while (field(F_READ_CACHE) == before) {
		if (now_ms() > deadline)
			die("blocks of a closed segment are not read from the cache device");
		if (read_sectors(fd, buf, fill_start, BLOCK_SECTORS))
			die("reading filler failed");
	}
}

static void move_to(enum stage stage)
{
	u64 id, slots;
	struct wb_status s;

	switch (stage) {
	case STAY:
		break;
	case SEAL:
		wb_message(name, "flush");
		break;
	case EVICT:
		id = close_segment();
		wait_retired();
		break;
	case MIGRATE:
		id = close_segment();
		wait_migrated(id);
		wait_retired();
		break;
	case REUSE:
		wb_status(name, &s);
		id = close_segment();
		wait_migrated(id);
		/* Once round the log, with room made on the way. */
		wb_message(name, "allow_migrate 1");
		slots = s.n[4];		/* capacity in blocks */
		fill(slots * 4 + 2048);
		wb_message(name, "flush");
		break;
	default:
		die("no such stage");
	}
}

struct counts {
	u64 ram, cache, partial, miss;
};

static struct counts counts(void)
{
	struct wb_status s;

	wb_status(name, &s);
	return (struct counts){ s.n[F_READ_RAM], s.n[F_READ_CACHE], s.n[F_READ_PARTIAL],
				s.n[F_READ_MISS] };
}

static struct counts read_at[NR_STAGES];	/* the last write's blocks, in each stage */

static void check_counted(enum stage stage, const char *when)
{
	struct counts before = counts(), after;

	check_all(when);
	after = counts();
	read_at[stage].ram += after.ram - before.ram;
	read_at[stage].cache += after.cache - before.cache;
	read_at[stage].partial += after.partial - before.partial;
	read_at[stage].miss += after.miss - before.miss;
}

static void run_group(enum stage first, enum stage second)
{
	const enum stage stages[2] = { first, second };
	char when[80];
	u32 step, block;
	enum stage s;

	close_segment();
	for (step = 0; step < 3; step++) {
		for (block = 0; block < nr_blocks; block++)
			write_shape(block, shape_of(block, step));
		if (step == 2)
			break;
		snprintf(when, sizeof(when), "stages %s, %s: after write %u", stage_name[first],
			 stage_name[second], step + 1);
		check_all(when);
		if (stages[step] == STAY)
			continue;
		move_to(stages[step]);
		snprintf(when, sizeof(when), "stages %s, %s: write %u in stage %s",
			 stage_name[first], stage_name[second], step + 1, stage_name[stages[step]]);
		check_all(when);
	}
	for (s = STAY; s < NR_STAGES; s++) {
		move_to(s);
		snprintf(when, sizeof(when), "stages %s, %s: write 3 in stage %s", stage_name[first],
			 stage_name[second], stage_name[s]);
		check_counted(s, when);
	}
}

static void need(u64 seen, const char *what)
{
	if (!seen)
		die("no read was %s: this run has not tested what it is for", what);
}

int main(int argc, char **argv)
{
	u64 groups, group = 0;
	enum stage a, b;
	u32 i;

	if (argc < 2 || argc % 2)
		die("usage: wbmatrix NAME [--shapes LETTERS] [--reads N] [--grain SECTORS]");
	name = argv[1];
	for (i = 2; i < (u32)argc; i += 2) {
		if (!strcmp(argv[i], "--shapes"))
			shapes = argv[i + 1];
		else if (!strcmp(argv[i], "--reads"))
			nr_reads = number(argv[i + 1]);
		else if (!strcmp(argv[i], "--grain"))
			grain = number(argv[i + 1]);
		else
			die("no option '%s'", argv[i]);
	}
	fd = open_direct(dm_node(name), true);
	device_end = device_sectors(fd);
	nr_blocks = strlen(shapes) * strlen(shapes) * strlen(shapes);
	version = calloc((size_t)nr_blocks * BLOCK_SECTORS, sizeof(*version));
	buf = io_alloc(FILL_SECTORS * SECTOR);
	if (!version)
		die("not enough memory");

	/* Filler first; then each group has blocks of its own, the last one those at the device's end. */
	groups = (u64)NR_STAGES * NR_STAGES;
	if (device_end < FILL_SECTORS + groups * nr_blocks * BLOCK_SECTORS)
		die("the device is too small: %llu sectors are needed",
		    (unsigned long long)(FILL_SECTORS + groups * nr_blocks * BLOCK_SECTORS));
	wb_message(name, "allow_migrate 0");
	wb_message(name, "sync_interval 0");
	for (a = 0; a < NR_STAGES; a++) {
		for (b = 0; b < NR_STAGES; b++, group++) {
			group_start = FILL_SECTORS + group * nr_blocks * BLOCK_SECTORS;
			if (group == groups - 1)
				group_start = ((device_end + BLOCK_SECTORS - 1) / BLOCK_SECTORS -
					       nr_blocks) * BLOCK_SECTORS;
			memset(version, 0, (size_t)nr_blocks * BLOCK_SECTORS * sizeof(*version));
			run_group(a, b);
		}
	}
	for (a = 0; a < NR_STAGES; a++)
		printf("%-8s %8llu blocks read from RAM, %8llu from the cache device, %8llu composed, %8llu from the backing device\n",
		       stage_name[a], (unsigned long long)read_at[a].ram,
		       (unsigned long long)read_at[a].cache, (unsigned long long)read_at[a].partial,
		       (unsigned long long)read_at[a].miss);
	need(read_at[STAY].ram, "from RAM");
	need(read_at[SEAL].ram, "from a sealed chunk in RAM");
	need(read_at[EVICT].cache, "from the cache device");
	need(read_at[MIGRATE].cache, "of a clean block on the cache device");
	need(read_at[REUSE].miss, "of a block whose slot was reused");
	if (grain == 1) {
		need(read_at[STAY].partial, "composed with RAM");
		need(read_at[EVICT].partial, "composed with the cache device");
	}
	if (read_at[EVICT].ram > read_at[EVICT].cache || read_at[REUSE].cache > read_at[REUSE].miss / 8)
		die("blocks are not in the places they were brought to");
	return 0;
}
