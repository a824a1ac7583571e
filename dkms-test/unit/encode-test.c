// SPDX-License-Identifier: GPL-2.0
/* The on-media structures: what is encoded comes back, and nothing else is accepted. */
#include "encode.h"
#include "test.h"

static u8 block[WB_BLOCK_SIZE];
static u8 copy[WB_BLOCK_SIZE];

/* ---------------------------------------------------------------- checksums */

static u32 slow_crc(u32 crc, const u8 *p, size_t len)
{
	u32 k;

	while (len--) {
		crc ^= *p++;
		for (k = 0; k < 8; k++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

static void test_crc(void)
{
	struct rng r = rng_init(test_options.seed);
	size_t from, len, cut;
	u32 i;

	test_case("CRC32C");
	CHECK(wb_crc32c("123456789", 9) == 0xe3069283);
	CHECK(wb_crc32c("", 0) == 0);
	memset(block, 0, 32);
	CHECK(wb_crc32c(block, 32) == 0x8a9136aa);	/* RFC 3720, B.4 */
	memset(block, 0xff, 32);
	CHECK(wb_crc32c(block, 32) == 0x62a8ab43);
	rng_fill(&r, block, sizeof(block));
	for (i = 0; i < 2000; i++) {
		from = rng_below(&r, 64);
		len = rng_below(&r, 300);
		cut = rng_below(&r, (u32)len + 1);
		CHECK(wb_crc32c(block + from, len) == (u32)~slow_crc(~0u, block + from, len));
		CHECK(wb_crc32c_raw(i, block + from, len) == slow_crc(i, block + from, len));
		CHECK(wb_crc32c_more(wb_crc32c(block + from, cut), block + from + cut, len - cut) ==
		      wb_crc32c(block + from, len));
	}
}

static void test_data_crc(void)
{
	struct rng r = rng_init(test_options.seed);
	u8 packed[WB_BLOCK_SIZE];
	u32 mask, i, len, crc;

	test_case("checksum of valid sectors, all masks");
	rng_fill(&r, block, sizeof(block));
	for (mask = 0; mask <= WB_MASK_ALL; mask++) {
		for (len = i = 0; i < WB_BLOCK_SECTORS; i++) {
			if (!(mask >> i & 1))
				continue;
			memcpy(packed + len, block + i * WB_SECTOR_SIZE, WB_SECTOR_SIZE);
			len += WB_SECTOR_SIZE;
		}
		crc = wb_data_crc(block, (u8)mask);
		CHECKF(crc == (u32)~slow_crc(~0u, packed, len), "mask %02x", mask);
		/* Depends on every valid sector, on no other. */
		for (i = 0; i < WB_BLOCK_SECTORS; i++) {
			u32 at = i * WB_SECTOR_SIZE + rng_below(&r, WB_SECTOR_SIZE);

			block[at] ^= 0x10;
			CHECKF((wb_data_crc(block, (u8)mask) != crc) == (mask >> i & 1),
			       "mask %02x sector %u", mask, i);
			block[at] ^= 0x10;
		}
	}
}

/* ---------------------------------------------------------------- geometry */

#define KiB(n)	((u64)(n) << 10 >> WB_SECTOR_SHIFT)
#define MiB(n)	((u64)(n) << 20 >> WB_SECTOR_SHIFT)
#define TiB(n)	((u64)(n) << 40 >> WB_SECTOR_SHIFT)

static struct wb_geom geom_of(u64 cache, u64 backing, u32 segment)
{
	struct wb_geom g = { .seed = 1 };
	const char *why = wb_geometry(&g, cache, backing, segment);

	CHECKF(!why, "cache %llu backing %llu segment %u: %s", (unsigned long long)cache,
	       (unsigned long long)backing, segment, why ? why : "");
	return g;
}

static void refuse(u64 cache, u64 backing, u32 segment)
{
	struct wb_geom g;

	CHECKF(wb_geometry(&g, cache, backing, segment), "cache %llu backing %llu segment %u",
	       (unsigned long long)cache, (unsigned long long)backing, segment);
}

static void test_geometry(void)
{
	struct wb_geom g;
	u32 size, i;
	u64 n, id, end;

	test_case("geometry at its limits");
	for (size = WB_MIN_SEGMENT_SIZE; size <= WB_MAX_SEGMENT_SIZE; size *= 2) {
		u64 least = MiB(1) + 4ull * size / WB_SECTOR_SIZE;

		g = geom_of(least, 1, size);
		CHECK(g.nr_slots == 4 && g.slot_blocks == size / WB_BLOCK_SIZE);
		refuse(least - 1, 1, size);
		g = geom_of(least + size / WB_SECTOR_SIZE - 1, 1, size);
		CHECK(g.nr_slots == 4);
		g = geom_of(least + size / WB_SECTOR_SIZE, 1, size);
		CHECK(g.nr_slots == 5);

		/* > 2 TiB, 16 TiB and the largest number of sectors */
		for (i = 0; i < 3; i++) {
			u64 cache = i == 0 ? TiB(3) : i == 1 ? TiB(16) : (1ull << 54) - 1;

			g = geom_of(cache, 1, size);
			CHECK(g.nr_slots * g.slot_blocks <= WB_MAX_PLACES);
			CHECK(i == 0 || (g.nr_slots + 1) * g.slot_blocks > WB_MAX_PLACES);
			end = wb_slot_offset(&g, g.nr_slots - 1, g.slot_blocks);
			CHECK(end >> WB_SECTOR_SHIFT <= cache);
			CHECK(i || end >> WB_SECTOR_SHIFT > cache - size / WB_SECTOR_SIZE);
		}
		refuse(1ull << 54, 1, size);
		refuse(~0ull, 1, size);
	}
	refuse(MiB(100), 1, 0);
	refuse(MiB(100), 1, WB_MIN_SEGMENT_SIZE / 2);
	refuse(MiB(100), 1, WB_MAX_SEGMENT_SIZE * 2);
	refuse(MiB(100), 1, 3 * WB_MIN_SEGMENT_SIZE);
	refuse(MiB(100), 1, ~0u);
	refuse(0, 1, WB_MIN_SEGMENT_SIZE);
	refuse(1, 1, WB_MIN_SEGMENT_SIZE);

	test_case("backing devices of 1 sector to 4 PiB");
	refuse(MiB(100), 0, WB_MIN_SEGMENT_SIZE);
	geom_of(MiB(100), 1ull << 43, WB_MIN_SEGMENT_SIZE);
	refuse(MiB(100), (1ull << 43) + 1, WB_MIN_SEGMENT_SIZE);
	refuse(MiB(100), ~0ull, WB_MIN_SEGMENT_SIZE);
	for (i = 0; i <= 43; i++) {
		for (n = (1ull << i) - (i > 0); n <= (1ull << i) + (i < 43); n++) {
			if (!n)
				continue;
			g = geom_of(MiB(100), n, WB_MIN_SEGMENT_SIZE);
			CHECK(wb_backing_blocks(&g) == n / 8 + !!(n % 8));
			end = wb_backing_blocks(&g) - 1;
			CHECK(wb_block_mask(&g, end) == (n % 8 ? (1u << n % 8) - 1 : 0xffu));
			CHECK(!end || wb_block_mask(&g, 0) == 0xff);
			CHECK(!end || wb_block_mask(&g, end - 1) == 0xff);
		}
	}

	test_case("slot and lap of an id");
	g = geom_of(MiB(1) + KiB(16 * 5), 1, WB_MIN_SEGMENT_SIZE);
	for (id = 1; id < 100; id++)
		CHECK(wb_slot_of(&g, id) == (id - 1) % 5 && wb_lap_of(&g, id) == (id - 1) / 5 + 1);
	CHECK(wb_slot_offset(&g, 0, 0) == 1 << 20);
	CHECK(wb_slot_offset(&g, 4, 3) == (1 << 20) + 4 * (16 << 10) + 3 * 4096);
	g = geom_of(TiB(16), 1, WB_MAX_SEGMENT_SIZE);
	CHECK(wb_slot_offset(&g, g.nr_slots - 1, 255) ==
	      (1ull << 20) + ((g.nr_slots - 1) << 20) + 255 * 4096);
}

/* ---------------------------------------------------------------- superblock */

static struct wb_super some_super(struct rng *r)
{
	struct wb_super s;

	memset(&s, 0, sizeof(s));
	s.geom = geom_of(MiB(3) + rng_below(r, 1u << 30), 1 + rng_u64(r) % (1ull << 43),
			 WB_MIN_SEGMENT_SIZE << rng_below(r, 5));
	s.compat = rng_u64(r);
	s.ro_compat = rng_u64(r);
	s.created = rng_u64(r);
	rng_fill(r, s.uuid, sizeof(s.uuid));
	strcpy(s.backing_id, "wwn-0x5000c500a1b2c3d4");
	return s;
}

/* Put a correct checksum over whatever the structure says now. */
static void reseal(void *at, size_t crc_at, size_t size)
{
	u8 *p = at;
	__le32 crc = cpu_to_le32(wb_crc32c(p + crc_at + 4, size - crc_at - 4));

	memcpy(p + crc_at, &crc, 4);
}

static void test_super(void)
{
	struct rng r = rng_init(test_options.seed);
	struct wb_super s, back;
	struct wb_super_disk *d = (void *)block;
	const void *two[2];
	enum wb_verdict v;
	u32 i;

	test_case("superblock comes back");
	for (i = 0; i < 200; i++) {
		s = some_super(&r);
		if (i == 0)
			memset(s.backing_id, 'x', WB_BACKING_ID_LEN - 1);
		memset(block, 0xee, sizeof(block));
		wb_super_encode(&s, block);
		CHECK(wb_super_decode(block, &back) == WB_OK);
		CHECK(s.geom.nr_slots == back.geom.nr_slots &&
		      s.geom.slot_blocks == back.geom.slot_blocks &&
		      s.geom.cache_sectors == back.geom.cache_sectors &&
		      s.geom.backing_sectors == back.geom.backing_sectors &&
		      s.compat == back.compat && s.ro_compat == back.ro_compat &&
		      s.incompat == back.incompat && s.created == back.created &&
		      !memcmp(s.uuid, back.uuid, sizeof(s.uuid)) &&
		      !memcmp(s.backing_id, back.backing_id, sizeof(s.backing_id)));
	}
	CHECK(back.geom.seed);

	test_case("superblock: every flipped bit is refused");
	memcpy(copy, block, sizeof(block));
	for (i = 0; i < sizeof(block) * 8; i++) {
		block[i / 8] ^= (u8)(1u << i % 8);
		CHECKF(wb_super_decode(block, &back) != WB_OK, "bit %u", i);
		block[i / 8] ^= (u8)(1u << i % 8);
	}

	test_case("superblock: every field out of range is refused");
#define TRY(field, value, verdict) do { \
	memcpy(block, copy, sizeof(block)); \
	d->field = value; \
	reseal(block, offsetof(struct wb_super_disk, crc), sizeof(block)); \
	v = wb_super_decode(block, &back); \
	CHECKF(v == (verdict), "%s = %s: %s", #field, #value, wb_verdict_text(v)); \
} while (0)
	TRY(pad, 0, WB_OK);
	TRY(compat, ~0ull, WB_OK);
	TRY(ro_compat, ~0ull, WB_OK);
	TRY(version, cpu_to_le32(0), WB_BAD_VERSION);
	TRY(version, cpu_to_le32(WB_VERSION + 1), WB_BAD_VERSION);
	for (i = 0; i < 64; i++)
		TRY(incompat, cpu_to_le64(1ull << i), WB_BAD_FEATURE);
	TRY(slot_blocks, 0, WB_BAD_FIELD);
	TRY(slot_blocks, cpu_to_le32(2), WB_BAD_FIELD);
	TRY(slot_blocks, cpu_to_le32(12), WB_BAD_FIELD);
	TRY(slot_blocks, cpu_to_le32(WB_MAX_SLOT_BLOCKS * 2), WB_BAD_FIELD);
	d = (void *)copy;
	d->nr_slots = cpu_to_le64(4);
	reseal(copy, offsetof(struct wb_super_disk, crc), sizeof(copy));
	d = (void *)block;
	/* Shifted to bytes, this overflows to a size that would do. */
	TRY(slot_blocks, cpu_to_le32(1u << 20 | d->slot_blocks), WB_BAD_FIELD);
	TRY(slot_blocks, cpu_to_le32(s.geom.slot_blocks), WB_OK);
	TRY(nr_slots, 0, WB_BAD_FIELD);
	TRY(nr_slots, cpu_to_le64(3), WB_BAD_FIELD);
	TRY(nr_slots, cpu_to_le64(4), WB_OK);
	TRY(nr_slots, cpu_to_le64(s.geom.nr_slots + 1), WB_BAD_FIELD);
	TRY(nr_slots, ~0ull, WB_BAD_FIELD);
	TRY(cache_sectors, 0, WB_BAD_FIELD);
	TRY(cache_sectors, ~0ull, WB_BAD_FIELD);
	TRY(backing_sectors, 0, WB_BAD_FIELD);
	TRY(backing_sectors, cpu_to_le64((1ull << 43) + 1), WB_BAD_FIELD);
#undef TRY
	memcpy(block, copy, sizeof(block));
	memset(d->backing_id, 'y', WB_BACKING_ID_LEN);
	reseal(block, offsetof(struct wb_super_disk, crc), sizeof(block));
	CHECK(wb_super_decode(block, &back) == WB_OK);
	CHECK(strlen(back.backing_id) == WB_BACKING_ID_LEN - 1);

	test_case("superblock: the second copy serves, a foreign or newer first one does not");
	two[0] = copy;
	two[1] = NULL;
	CHECK(wb_super_pick(two, &back) == WB_OK);
	two[0] = NULL;
	CHECK(wb_super_pick(two, &back) == WB_READ_ERROR);
	two[1] = copy;
	CHECK(wb_super_pick(two, &back) == WB_OK && !memcmp(back.uuid, s.uuid, sizeof(s.uuid)));
	two[0] = block;
	memcpy(block, copy, sizeof(block));
	block[200] ^= 1;
	CHECK(wb_super_pick(two, &back) == WB_OK && !memcmp(back.uuid, s.uuid, sizeof(s.uuid)));
	/* A partition table: the boot code before it, with our magic, stays. */
	memcpy(block, copy, sizeof(block));
	memcpy(block + 512, "EFI PART", 8);
	CHECK(wb_super_pick(two, &back) == WB_FOREIGN);
	rng_fill(&r, block, sizeof(block));
	CHECK(wb_super_pick(two, &back) == WB_OK);
	two[1] = block;
	CHECK(wb_super_pick(two, &back) == WB_NOT_OURS);
	two[1] = copy;
	memset(block, 0, sizeof(block));
	block[0] = 0x74;
	block[1] = 0x73;
	block[2] = 0x42;
	block[3] = 0x57;
	CHECK(wb_super_decode(block, &back) == WB_OLD_WRITEBOOST);
	CHECK(wb_super_pick(two, &back) == WB_OLD_WRITEBOOST);
	memcpy(block, copy, sizeof(block));
	d->incompat = cpu_to_le64(1);
	reseal(block, offsetof(struct wb_super_disk, crc), sizeof(block));
	CHECK(wb_super_pick(two, &back) == WB_BAD_FEATURE);
}

/* ---------------------------------------------------------------- record */

/* The first id that is too high for a record: 2^54, or what 2^31 laps come to. */
static u64 id_limit(const struct wb_geom *g)
{
	u64 laps = g->nr_slots << 31;

	return laps < 1ull << 54 ? laps : 1ull << 54;
}

static struct wb_record some_record(struct rng *r, const struct wb_geom *g)
{
	struct wb_record rec;

	memset(&rec, 0, sizeof(rec));
	rec.seq = rng_u64(r) >> rng_below(r, 60) >> 2;
	rec.epoch = rng_u64(r) >> rng_below(r, 60) >> 2;
	rec.life_link = (u32)rng_u64(r);
	rec.migrated = rng_u64(r) % id_limit(g) >> rng_below(r, 40);
	rec.life_start = 1 + rng_u64(r) % (rec.migrated + g->nr_slots + 1);
	rec.durable.id = rng_u64(r) % (rec.migrated + g->nr_slots + 1);
	rec.durable.chunk = rng_below(r, g->slot_blocks);
	rec.clean = rng_one_in(r, 2);
	return rec;
}

static void test_record(void)
{
	struct rng r = rng_init(test_options.seed);
	struct wb_geom g = geom_of(MiB(100), MiB(1000), WB_MIN_SEGMENT_SIZE);
	struct wb_record_disk *d = (void *)block;
	u8 other[WB_BLOCK_SIZE];
	struct wb_record rec, back;
	const void *two[2] = { block, other };
	enum wb_verdict v;
	int which;
	u32 i;

	g.seed = rng_u64(&r);
	test_case("record comes back");
	for (i = 0; i < 2000; i++) {
		rec = some_record(&r, &g);
		memset(&back, 0, sizeof(back));
		memset(block, 0xee, sizeof(block));
		wb_record_encode(&g, &rec, block);
		v = wb_record_decode(&g, block, &back);
		CHECKF(v == WB_OK, "%s", wb_verdict_text(v));
		CHECK(rec.seq == back.seq && rec.epoch == back.epoch &&
		      rec.life_start == back.life_start && rec.life_link == back.life_link &&
		      rec.migrated == back.migrated && rec.clean == back.clean &&
		      !wb_pos_cmp(rec.durable, back.durable));
	}

	test_case("record: every flipped bit is refused");
	memcpy(copy, block, sizeof(block));
	for (i = 0; i < sizeof(*d) * 8; i++) {
		block[i / 8] ^= (u8)(1u << i % 8);
		CHECKF(wb_record_decode(&g, block, &back) != WB_OK, "bit %u", i);
		block[i / 8] ^= (u8)(1u << i % 8);
	}

	test_case("record: every field out of range is refused");
	rec = (struct wb_record){ .seq = 7, .epoch = 3, .life_start = 1004, .migrated = 1000,
				  .durable = { 1003, 1 } };
	wb_record_encode(&g, &rec, copy);
#define TRY(field, value, verdict) do { \
	memcpy(block, copy, sizeof(block)); \
	d->field = value; \
	reseal(block, offsetof(struct wb_record_disk, crc), sizeof(*d)); \
	v = wb_record_decode(&g, block, &back); \
	CHECKF(v == (verdict), "%s = %s: %s", #field, #value, wb_verdict_text(v)); \
} while (0)
	TRY(flags, 0, WB_OK);
	TRY(flags, cpu_to_le32(WB_RECORD_CLEAN), WB_OK);
	TRY(flags, cpu_to_le32(WB_RECORD_FLAGS_KNOWN + 1), WB_BAD_FIELD);
	TRY(seed, cpu_to_le64(g.seed ^ 1), WB_BAD_SEED);
	TRY(seq, ~0ull, WB_BAD_FIELD);
	TRY(seq, cpu_to_le64(1ull << 62), WB_BAD_FIELD);
	TRY(seq, cpu_to_le64((1ull << 62) - 1), WB_OK);
	TRY(epoch, ~0ull, WB_BAD_FIELD);
	TRY(epoch, cpu_to_le64(1ull << 62), WB_BAD_FIELD);
	TRY(epoch, cpu_to_le64((1ull << 62) - 1), WB_OK);
	TRY(life_start, 0, WB_BAD_FIELD);
	TRY(life_start, cpu_to_le64(1), WB_OK);
	TRY(life_start, cpu_to_le64(1000 + g.nr_slots + 1), WB_OK);
	TRY(life_start, cpu_to_le64(1000 + g.nr_slots + 2), WB_BAD_FIELD);
	TRY(life_start, ~0ull, WB_BAD_FIELD);
	TRY(migrated, cpu_to_le64(id_limit(&g)), WB_BAD_FIELD);
	TRY(migrated, ~0ull, WB_BAD_FIELD);
	TRY(migrated, cpu_to_le64(id_limit(&g) - 1), WB_OK);
	TRY(durable_id, cpu_to_le64(1000 + g.nr_slots), WB_OK);
	TRY(durable_id, cpu_to_le64(1000 + g.nr_slots + 1), WB_BAD_FIELD);
	TRY(durable_id, ~0ull, WB_BAD_FIELD);
	TRY(durable_chunk, cpu_to_le32(g.slot_blocks), WB_BAD_FIELD);
	TRY(durable_chunk, ~0u, WB_BAD_FIELD);
#undef TRY

	test_case("of two records the newer good one counts");
	wb_record_encode(&g, &rec, block);
	rec.seq = 8;
	rec.migrated = 1001;
	wb_record_encode(&g, &rec, other);
	CHECK(wb_record_pick(&g, two, &back, &which) == WB_OK && which == 1 && back.seq == 8 &&
	      back.migrated == 1001);
	other[300] ^= 4;
	CHECK(wb_record_pick(&g, two, &back, &which) == WB_OK && which == 0 && back.seq == 7);
	two[1] = NULL;
	CHECK(wb_record_pick(&g, two, &back, &which) == WB_OK && which == 0 && back.seq == 7);
	other[300] ^= 4;
	two[0] = other;
	two[1] = block;
	CHECK(wb_record_pick(&g, two, &back, &which) == WB_OK && which == 0 && back.seq == 8);
	two[0] = NULL;
	CHECK(wb_record_pick(&g, two, &back, &which) == WB_OK && which == 1 && back.seq == 7);
	two[1] = NULL;
	CHECK(wb_record_pick(&g, two, &back, &which) == WB_READ_ERROR);
	two[1] = other;
	other[300] ^= 4;
	CHECK(wb_record_pick(&g, two, &back, &which) != WB_OK);
}

/* ---------------------------------------------------------------- chunk header */

static void entry(struct wb_header_disk *d, u32 i, u64 blk, u8 mask, u16 flags, u32 crc)
{
	wb_entry_encode(d, i, &(struct wb_entry){ .block = blk, .crc = crc, .flags = flags,
						  .mask = mask });
}

static struct wb_header some_header(struct rng *r, const struct wb_geom *g, u32 nr)
{
	struct wb_header_disk *d = (void *)block;
	u64 blocks = wb_backing_blocks(g), blk;
	struct wb_header h;
	u32 i;

	memset(&h, 0, sizeof(h));
	h.epoch = rng_u64(r);
	h.id = 2 + (rng_u64(r) % id_limit(g) >> rng_below(r, 40));
	h.durable.id = h.id - rng_below(r, 2);
	h.link = (u32)rng_u64(r);
	h.chunk = 1 + rng_below(r, 20);
	h.nr_entries = nr;
	h.block = rng_below(r, g->slot_blocks - nr);
	h.durable.chunk = h.durable.id == h.id ? rng_below(r, h.chunk) : (u32)rng_u64(r);
	memset(block, 0xee, sizeof(block));
	for (i = 0; i < nr; i++) {
		blk = rng_u64(r) % blocks;
		if (rng_one_in(r, 8))
			blk = blocks - 1;
		if (rng_one_in(r, 4))
			entry(d, i, blk, 0, WB_ENTRY_TOMBSTONE, 1 + rng_u64(r) %
			      (blocks - blk < WB_MAX_TOMBSTONE_BLOCKS ? blocks - blk :
			       WB_MAX_TOMBSTONE_BLOCKS));
		else
			entry(d, i, blk, wb_block_mask(g, blk), 0, (u32)rng_u64(r));
	}
	wb_header_encode(g, &h, d);
	return h;
}

static void test_header(void)
{
	struct rng r = rng_init(test_options.seed);
	struct wb_geom g = geom_of(MiB(100), (1ull << 43) - 3, WB_MAX_SEGMENT_SIZE);
	u64 blocks = wb_backing_blocks(&g);
	struct wb_header_disk *d = (void *)block;
	struct wb_header h, back;
	struct wb_entry e;
	enum wb_verdict v;
	size_t size;
	u32 i, nr;

	g.seed = rng_u64(&r);
	test_case("chunk header comes back");
	for (i = 0; i < 1000; i++) {
		nr = i < 2 ? 255 : i < 10 ? 1 : 1 + rng_below(&r, 255);
		h = some_header(&r, &g, nr);
		memset(&back, 0, sizeof(back));
		v = wb_header_decode(&g, block, &back);
		CHECKF(v == WB_OK, "%s", wb_verdict_text(v));
		CHECK(h.epoch == back.epoch && h.id == back.id && h.link == back.link &&
		      h.crc == back.crc && h.chunk == back.chunk && h.block == back.block &&
		      h.nr_entries == back.nr_entries && !wb_pos_cmp(h.durable, back.durable));
	}
	entry(d, 0, 0xfedcba9876, 0x5a, 0, 0xdeadbeef);
	wb_entry_decode(d, 0, &e);
	CHECK(e.block == 0xfedcba9876 && e.mask == 0x5a && e.crc == 0xdeadbeef && !e.flags);

	test_case("chunk header: every flipped bit is refused");
	h = some_header(&r, &g, 9);
	size = sizeof(*d) + 9 * sizeof(struct wb_entry_disk);
	for (i = 0; i < size * 8; i++) {
		block[i / 8] ^= (u8)(1u << i % 8);
		CHECKF(wb_header_decode(&g, block, &back) != WB_OK, "bit %u", i);
		block[i / 8] ^= (u8)(1u << i % 8);
	}
	CHECK(wb_header_decode(&g, block, &back) == WB_OK);

	test_case("chunk header: every field out of range is refused");
	g = geom_of(MiB(400), (1ull << 42) - 3, WB_MAX_SEGMENT_SIZE);
	blocks = wb_backing_blocks(&g);
	memset(block, 0, sizeof(block));
	h = (struct wb_header){ .epoch = 5, .id = 30, .durable = { 30, 1 }, .link = 9, .chunk = 2,
				.block = 250, .nr_entries = 3 };
	entry(d, 0, 7, 0xff, 0, 1);
	entry(d, 1, blocks - 1, 0x10, 0, 1);	/* the last block has five sectors */
	entry(d, 2, blocks - 4, 0, WB_ENTRY_TOMBSTONE, 4);
	wb_header_encode(&g, &h, d);
	size = sizeof(*d) + 3 * sizeof(struct wb_entry_disk);
	memcpy(copy, block, sizeof(block));
#define TRY(field, value, verdict) do { \
	memcpy(block, copy, sizeof(block)); \
	d->field = value; \
	reseal(block, offsetof(struct wb_header_disk, crc), size); \
	v = wb_header_decode(&g, block, &back); \
	CHECKF(v == (verdict), "%s = %s: %s", #field, #value, wb_verdict_text(v)); \
} while (0)
#define TRY_ENTRY(i, blk, mask, flags, sum, verdict) do { \
	memcpy(block, copy, sizeof(block)); \
	entry(d, i, blk, mask, flags, sum); \
	reseal(block, offsetof(struct wb_header_disk, crc), size); \
	v = wb_header_decode(&g, block, &back); \
	CHECKF(v == (verdict), "entry %s %s %s %s: %s", #blk, #mask, #flags, #sum, \
	       wb_verdict_text(v)); \
} while (0)
	TRY(pad, 0, WB_OK);
	TRY(magic, 0, WB_NOT_OURS);
	TRY(seed, cpu_to_le64(g.seed + 1), WB_BAD_SEED);
	TRY(id, 0, WB_BAD_FIELD);
	TRY(id, cpu_to_le64(31), WB_OK);	/* same lap: only its place can tell */
	TRY(id, cpu_to_le64(30 + g.nr_slots), WB_BAD_FIELD);
	TRY(id, ~0ull, WB_BAD_FIELD);
	TRY(lap, 0, WB_BAD_FIELD);
	TRY(lap, cpu_to_le64(2), WB_BAD_FIELD);
	TRY(lap, ~0ull, WB_BAD_FIELD);
	TRY(durable_id, cpu_to_le64(31), WB_BAD_FIELD);
	TRY(durable_id, ~0ull, WB_BAD_FIELD);
	TRY(durable_chunk, cpu_to_le32(2), WB_BAD_FIELD);	/* itself */
	TRY(durable_chunk, ~0u, WB_BAD_FIELD);
	TRY(nr_entries, 0, WB_BAD_CRC);
	TRY(nr_entries, cpu_to_le16(6), WB_BAD_CRC);
	TRY(nr_entries, cpu_to_le16(0xffff), WB_BAD_CRC);
	TRY(block, cpu_to_le16(252), WB_OK);
	TRY(block, cpu_to_le16(253), WB_BAD_CRC);
	TRY(block, cpu_to_le16(255), WB_BAD_CRC);
	TRY(block, cpu_to_le16(256), WB_BAD_CRC);
	TRY(block, cpu_to_le16(0xffff), WB_BAD_CRC);
	for (i = 0; i < 16; i++)
		TRY_ENTRY(0, 7, 0xff, (u16)(1u << i), 1, WB_BAD_FIELD);
	TRY_ENTRY(0, 7, 0, 0, 1, WB_BAD_FIELD);
	TRY_ENTRY(0, blocks, 0x01, 0, 1, WB_BAD_FIELD);
	TRY_ENTRY(0, 0xffffffffffull, 0x01, 0, 1, WB_BAD_FIELD);
	g.backing_sectors = 1ull << 43;
	TRY_ENTRY(0, 0xffffffffffull, 0xff, 0, 1, WB_OK);
	g.backing_sectors = (1ull << 42) - 3;
	for (i = 0; i < 8; i++)
		TRY_ENTRY(1, blocks - 1, (u8)(1u << i), 0, 1, i < 5 ? WB_OK : WB_BAD_FIELD);
	TRY_ENTRY(2, blocks - 4, 0, WB_ENTRY_TOMBSTONE, 0, WB_BAD_FIELD);
	TRY_ENTRY(2, blocks - 4, 0, WB_ENTRY_TOMBSTONE, 5, WB_BAD_FIELD);
	TRY_ENTRY(2, 0, 0, WB_ENTRY_TOMBSTONE, WB_MAX_TOMBSTONE_BLOCKS, WB_OK);
	TRY_ENTRY(2, 0, 0, WB_ENTRY_TOMBSTONE, WB_MAX_TOMBSTONE_BLOCKS + 1, WB_BAD_FIELD);
	TRY_ENTRY(2, blocks - 4, 0, WB_ENTRY_TOMBSTONE, ~0u, WB_BAD_FIELD);
	TRY_ENTRY(2, 0, 0, WB_ENTRY_TOMBSTONE, ~0u, WB_BAD_FIELD);
	TRY_ENTRY(2, blocks - 1, 0, WB_ENTRY_TOMBSTONE, 1, WB_OK);
	TRY_ENTRY(2, blocks, 0, WB_ENTRY_TOMBSTONE, 1, WB_BAD_FIELD);
	TRY_ENTRY(2, 7, 1, WB_ENTRY_TOMBSTONE, 1, WB_BAD_FIELD);

	test_case("chunk header: an entry's block is within a small backing device");
	g = geom_of(MiB(100), 13, WB_MIN_SEGMENT_SIZE);
	h = (struct wb_header){ .epoch = 5, .id = 3, .chunk = 0, .nr_entries = 3 };
	entry(d, 0, 0, 0xff, 0, 1);
	entry(d, 1, 1, 0x1f, 0, 1);
	entry(d, 2, 0, 0, WB_ENTRY_TOMBSTONE, 2);
	wb_header_encode(&g, &h, d);
	memcpy(copy, block, sizeof(block));
	CHECK(wb_header_decode(&g, block, &back) == WB_OK);
	TRY_ENTRY(0, 1, 0xff, 0, 1, WB_BAD_FIELD);
	TRY_ENTRY(0, 2, 0x01, 0, 1, WB_BAD_FIELD);
	TRY_ENTRY(2, 0, 0, WB_ENTRY_TOMBSTONE, 3, WB_BAD_FIELD);
	memcpy(block, copy, sizeof(block));
	h.nr_entries = 4;	/* one more than fits a slot of four blocks */
	entry(d, 3, 0, 0xff, 0, 1);
	wb_header_encode(&g, &h, d);
	CHECK(wb_header_decode(&g, block, &back) == WB_BAD_CRC);
#undef TRY
#undef TRY_ENTRY
}

/* What one entry may hold, said once more. */
static bool may_be(const struct wb_geom *g, const struct wb_entry *e)
{
	u64 sectors = g->backing_sectors, first = e->block * WB_BLOCK_SECTORS, i;

	if (e->flags > WB_ENTRY_TOMBSTONE || first >= sectors)
		return false;
	if (e->flags)
		return !e->mask && e->crc && e->crc <= WB_MAX_TOMBSTONE_BLOCKS &&
		       first + ((u64)e->crc - 1) * WB_BLOCK_SECTORS < sectors;
	for (i = 0; i < WB_BLOCK_SECTORS; i++)
		if (((e->mask >> i) & 1) && first + i >= sectors)
			return false;
	return e->mask;
}

/* A number of @bits, mostly near a power of two or near @limit. */
static u64 odd_number(struct rng *r, u32 bits, u64 limit)
{
	u64 near = rng_one_in(r, 2) ? limit : 1ull << rng_below(r, bits);

	if (rng_one_in(r, 3))
		near = rng_u64(r);
	return (near + rng_below(r, 5) - 2) & ((1ull << bits) - 1);
}

/* Entries are judged several at a time: one that may not be is found wherever it stands. */
static void test_entries(void)
{
	struct rng r = rng_init(test_options.seed);
	struct wb_header_disk *d = (void *)block;
	struct wb_header h, back;
	enum wb_verdict v;
	struct wb_entry e;
	struct wb_geom g;
	u64 sectors, n;
	u32 i, odd, tombs;
	bool good, full;

	test_case("chunk header: of many entries one is odd");
	for (n = 0; test_more(n, 60000); n++) {
		sectors = (1ull << (3 + rng_below(&r, 41))) + rng_below(&r, 20);
		if (rng_one_in(&r, 3))
			sectors = 1 + (rng_u64(&r) & (sectors - 1));
		g = geom_of(MiB(100), sectors > 1ull << 43 ? 1ull << 43 : sectors, WB_MAX_SEGMENT_SIZE);
		h = (struct wb_header){ .epoch = 5, .id = 3, .nr_entries = 1 + rng_below(&r, 20) };
		odd = rng_below(&r, h.nr_entries);
		good = true;
		full = rng_one_in(&r, 2);
		tombs = 0;
		for (i = 0; i < h.nr_entries; i++) {
			e = (struct wb_entry){ .block = rng_u64(&r) % wb_backing_blocks(&g), .crc = 1 };
			e.mask = wb_block_mask(&g, e.block) & (full ? 0xff : rng_u64(&r));
			e.mask |= 1;
			if (i == odd) {
				e.block = odd_number(&r, 40, wb_backing_blocks(&g));
				e.mask = odd_number(&r, 8, rng_one_in(&r, 2) ? 0 : 0xff);
				e.flags = rng_one_in(&r, 2) ? 0 : odd_number(&r, 16, 1);
				e.crc = (u32)odd_number(&r, 32, wb_backing_blocks(&g) - e.block);
			}
			good &= may_be(&g, &e);
			tombs += e.flags == WB_ENTRY_TOMBSTONE;
			wb_entry_encode(d, i, &e);
		}
		wb_header_encode(&g, &h, d);
		v = wb_header_decode(&g, block, &back);
		CHECKF(v == (good ? WB_OK : WB_BAD_FIELD), "%u entries, number %u is odd: %s",
		       h.nr_entries, odd, wb_verdict_text(v));
		CHECK(!good || back.nr_tombstones == tombs);
	}
}

/* Whatever a block holds, no decoder reads outside it or accepts it. The sanitizer watches. */
static void test_garbage(void)
{
	struct rng r = rng_init(test_options.seed);
	struct wb_geom g = geom_of(MiB(100), MiB(1000), WB_MIN_SEGMENT_SIZE);
	struct wb_record rec;
	struct wb_super s;
	struct wb_header h;
	u8 *b = malloc(WB_BLOCK_SIZE);
	u64 i;
	int v;

	test_case("random bytes are refused");
	for (i = 0; test_more(i, 20000); i++) {
		rng_fill(&r, b, 300);
		memcpy(b, WB_MAGIC, WB_MAGIC_LEN);
		CHECK(wb_super_decode(b, &s) != WB_OK);
		v = (int)(rng_u64(&r) & 1);
		memcpy(b, &(__le64){ cpu_to_le64(WB_RECORD_MAGIC) }, 8);
		CHECK(wb_record_decode(&g, b, &rec) != WB_OK);
		((struct wb_header_disk *)b)->magic = cpu_to_le32(WB_CHUNK_MAGIC);
		((struct wb_header_disk *)b)->seed = cpu_to_le64(g.seed);
		if (v)
			((struct wb_header_disk *)b)->block = 0;
		CHECK(wb_header_decode(&g, b, &h) != WB_OK);
	}
	free(b);
	for (v = 0; v <= WB_READ_ERROR; v++)
		CHECK(strcmp(wb_verdict_text((enum wb_verdict)v), "unknown"));
	CHECK(!strcmp(wb_verdict_text((enum wb_verdict)(WB_READ_ERROR + 1)), "unknown"));
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_crc();
	test_data_crc();
	test_geometry();
	test_super();
	test_record();
	test_header();
	test_entries();
	test_garbage();
	return test_end();
}
