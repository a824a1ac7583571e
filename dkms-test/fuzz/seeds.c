// SPDX-License-Identifier: GPL-2.0
/*
 * Write inputs to start from: seeds FOLDER. For each target a folder in it: good structures, and
 * recipes of logs as they come about, of many lives, and of each kind of damage.
 */
#include <err.h>
#include <errno.h>
#include <sys/stat.h>

#include "recipe.h"

static const char *folder;
static unsigned int nr_files;

static void put(const char *target, const void *data, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	if (mkdir(path, 0777) && errno != EEXIST)
		err(1, "%s", path);
	snprintf(path, sizeof(path), "%s/%s/seed-%03u", folder, target, nr_files++);
	f = fopen(path, "wb");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		err(1, "%s", path);
}

/* ---------------------------------------------------------------- structures */

static void structures(void)
{
	static u8 to[1 + 2 * WB_BLOCK_SIZE], block[WB_BLOCK_SIZE];
	struct wb_super s = { .created = 1, .backing_id = "wwid:x" };
	struct wb_record r = { .seq = 7, .epoch = 3, .life_start = 5, .migrated = 3, .durable = { 4, 1 } };
	struct wb_header h = { .epoch = 3, .id = 6, .durable = { 5, 0 }, .nr_entries = 3 };
	struct wb_header_disk *d = (struct wb_header_disk *)block;
	struct wb_entry e = { .block = 5, .mask = 0xff };
	u32 i;

	memset(s.uuid, 7, sizeof(s.uuid));
	if (wb_geometry(&s.geom, 1 << 16, 1 << 20, 64 << 10))
		errx(1, "geometry");
	wb_super_encode(&s, block);
	for (i = 0; i < 4; i++) {
		to[0] = (u8)(i | 128);
		memcpy(to + 1, block, 256);
		memcpy(to + 257, block, 256);
		put("super", to, 513);
		to[0] = (u8)i;
		memcpy(to + 1, block, WB_BLOCK_SIZE);
		memcpy(to + 1 + WB_BLOCK_SIZE, block, WB_BLOCK_SIZE);
		put("super", to, sizeof(to));
	}

	s.geom.seed = 0;
	wb_record_encode(&s.geom, &r, block);
	memset(to, 0, sizeof(to));
	for (i = 0; i < 4; i++) {
		to[0] = (u8)i;
		to[1] = 9;
		memcpy(to + 9, block, 72);
		memcpy(to + 81, block, 72);
		put("record", to, 153);
	}

	memset(block, 0, sizeof(block));
	for (i = 0; i < 3; i++, e.block++)
		wb_entry_encode(d, i, &e);
	e = (struct wb_entry){ .block = 3, .crc = 9, .flags = WB_ENTRY_TOMBSTONE };
	wb_entry_encode(d, 1, &e);
	wb_header_encode(&s.geom, &h, d);
	memset(to, 0, sizeof(to));
	for (i = 0; i < 4; i++) {
		to[0] = (u8)(1 | 2 | i << 2);
		to[1] = 10;
		memcpy(to + 9, block, 128);
		put("header", to, 137);
	}
}

/* ---------------------------------------------------------------- recipes */

static struct step recipe[200];
static unsigned int nr_steps;

static void begin(u8 size, u16 slots)
{
	nr_steps = 0;
	recipe[nr_steps++] = (struct step){ .a = size, .b = slots, .c = 900, .v = 1 };
}

static void step(u8 code, u8 a, u16 b, u32 c, u64 v)
{
	if (nr_steps < ARRAY_SIZE(recipe))
		recipe[nr_steps++] = (struct step){ code, a, b, c, v };
}

static void done(void)
{
	put("image", recipe, nr_steps * sizeof(*recipe));
	put("tool", recipe, nr_steps * sizeof(*recipe));
	put("format", recipe, nr_steps * sizeof(*recipe));
}

static u64 rng_x = 1;

static u32 below(u32 n)
{
	rng_x = rng_x * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)((rng_x >> 33) * n >> 31);
}

/* What a module does in @n steps of its life. */
static void live(unsigned int n, bool full)
{
	while (n--) {
		switch (below(12)) {
		case 0:
		case 1:
			step(STEP_DURABLE, 0, 0, 0, 0);
			break;
		case 2:
			step(STEP_SEGMENT, 0, 0, 0, 0);
			break;
		case 3:
			step(STEP_MIGRATE, (u8)below(3), 0, 0, 0);
			break;
		case 4:
			if (below(3))
				step(STEP_STOP, 0, (u16)below(4), 0, 0);
			else
				step(STEP_RECOVER, 0, 0, 0, 0);
			break;
		case 5:
			step(STEP_CHUNK, (u8)(0x40 | below(3)), (u16)(below(2) << 10), below(24), 0);
			step(STEP_RECOVER, 0, 0, 0, 0);
			break;
		default:
			step(STEP_CHUNK, full ? 0x10 : (u8)below(3), below(6) ? 0 : 1, below(24),
			     below(2) ? 0 : below(1u << 31) * 0x9e3779b97f4a7c15ull);
			break;
		}
	}
}

static void damage(unsigned int kind)
{
	switch (kind) {
	case 0: step(STEP_FLIP, 1, 20, 256 + below(64), 0); break;
	case 1: step(STEP_ZERO, (u8)-2, 0, 0, 0); break;
	case 2: step(STEP_POKE, (u8)(4 + below(12)), (u16)below(64), 7, below(8)); break;
	case 3: step(STEP_POKE, (u8)(4 + below(12)), (u16)(64 + below(24)), 3, 9);
		step(STEP_RELINK, 3, 0, 0, 0); break;
	case 4: step(STEP_RECORD, (u8)below(9), 4 | 3, below(4), 0); break;
	case 5: step(STEP_MOVE, (u8)below(16), (u16)below(16), 3, 0); break;
	case 6: step(STEP_UNREADABLE, 1, (u16)below(40), 0, 0); break;
	case 7: step(STEP_FLIP, 0, 30, 0, 0); break;
	case 8: step(STEP_FLIP, 0, 30, 32, 0); break;
	case 9: step(STEP_FLIP, 0, 30, 64, 0); break;
	case 10: step(STEP_FOREIGN, (u8)below(12), 1, 0, 0); break;
	case 11: step(STEP_RESIZE, (u8)-4, 0, 0, 0); break;
	case 12: step(STEP_OPTIONS, 0, 0, 0, 1 + below(255)); step(STEP_ZERO, (u8)-1, 0, 0, 0); break;
	}
}

int main(int argc, char **argv)
{
	unsigned int i;

	if (argc != 2)
		errx(2, "usage: seeds FOLDER");
	folder = argv[1];
	structures();
	for (i = 0; i < 24; i++) {
		begin((u8)(i % 8), (u16)(i % 3 ? below(8) : 40));
		live(5 + 4 * i, i % 4 == 3);
		done();
	}
	for (i = 0; i < 52; i++) {
		begin((u8)(i % 8), (u16)(i % 3 ? below(8) : 40));
		live(8 + below(24), i % 4 == 3);
		damage(i % 13);
		step(STEP_OPTIONS, 0, 0, 0, below(256));
		done();
	}
	return 0;
}
