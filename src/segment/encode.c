// SPDX-License-Identifier: GPL-2.0
#include "encode.h"

const char *wb_verdict_text(enum wb_verdict v)
{
	switch (v) {
	case WB_OK:
		return "good";
	case WB_NOT_OURS:
		return "not a dm-writeboost structure";
	case WB_OLD_WRITEBOOST:
		return "a cache of dm-writeboost 2.x, another format";
	case WB_FOREIGN:
		return "holds something else: a file system, partition table or volume";
	case WB_BAD_CRC:
		return "checksum mismatch";
	case WB_BAD_VERSION:
		return "unknown version";
	case WB_BAD_FEATURE:
		return "unknown incompatible feature";
	case WB_BAD_FIELD:
		return "impossible value in a field";
	case WB_BAD_SEED:
		return "belongs to another cache or an earlier format";
	case WB_BAD_PLACE:
		return "belongs to another place in the log";
	case WB_BAD_EPOCH:
		return "belongs to another life";
	case WB_BAD_LINK:
		return "does not follow the header before it";
	case WB_BAD_DATA:
		return "checksum of a data block mismatches";
	case WB_READ_ERROR:
		return "read error";
	}
	return "unknown";
}

/* The checksum of a structure whose CRC field ends at @after. */
static u32 crc_after(const void *block, const void *after, size_t size)
{
	size_t skip = (const u8 *)after - (const u8 *)block;

	return wb_crc32c(after, size - skip);
}

/*
 * What else writes itself into the first 4 KiB of a device and may leave our second superblock as it
 * is. The tools know more of them (libblkid); this is for `dmsetup create`.
 */
static bool is_foreign(const void *block)
{
	static const struct {
		u16 offset;
		u8 len;
		char magic[8];
	} known[] = {
		{ 510, 2, "\x55\xaa" },			/* MBR, FAT, NTFS */
		{ 512, 8, "EFI PART" },			/* GPT */
		{ 512, 8, "LABELONE" },			/* LVM */
		{ 0, 8, "LABELONE" },
		{ 1080, 2, "\x53\xef" },		/* ext2, 3, 4 */
		{ 0, 4, "XFSB" },
		{ 1024, 4, "\x10\x20\xf5\xf2" },	/* F2FS */
		{ 1024, 4, "\xe2\xe1\xf5\xe0" },	/* EROFS */
		{ 0, 4, "hsqs" },			/* squashfs */
		{ 4086, 8, "SWAPSPAC" },
		{ 0, 6, "LUKS\xba\xbe" },
		{ 0, 4, "\xfc\x4e\x2b\xa9" },		/* md 1.1 */
		{ 0, 8, "integrt" },			/* dm-integrity */
		{ 0, 4, "\x21\x93\x48\x23" },		/* dm-writecache */
		{ 0, 8, "dmvdo001" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (!memcmp((const u8 *)block + known[i].offset, known[i].magic, known[i].len))
			return true;
	return false;
}

static u64 seed_of(const u8 uuid[16])
{
	__le64 half[2];

	memcpy(half, uuid, sizeof(half));
	return le64_to_cpu(half[0]) ^ le64_to_cpu(half[1]);
}

/* ---------------------------------------------------------------- superblock */

const char *wb_geometry(struct wb_geom *g, u64 cache_sectors, u64 backing_sectors, u32 segment_size)
{
	u64 slots;

	if (segment_size < WB_MIN_SEGMENT_SIZE || segment_size > WB_MAX_SEGMENT_SIZE ||
	    (segment_size & (segment_size - 1)))
		return "segment size must be a power of two from 16 KiB to 1 MiB";
	if (!backing_sectors)
		return "backing device is empty";
	if (backing_sectors > WB_MAX_BACKING_BLOCKS << WB_BLOCK_SECTOR_SHIFT)
		return "backing device is larger than 4 PiB";

	slots = cache_sectors << WB_SECTOR_SHIFT;
	if (cache_sectors >> (63 - WB_SECTOR_SHIFT))
		return "cache device is larger than any device can be";
	slots = slots < WB_FIRST_SLOT_OFFSET ? 0 : slots - WB_FIRST_SLOT_OFFSET;
	slots = div_u64(slots, segment_size);
	if (slots < WB_MIN_SLOTS)
		return "cache device is too small: it needs 1 MiB and room for 4 segments";
	g->slot_blocks = segment_size >> WB_BLOCK_SHIFT;
	if (slots > div_u64(WB_MAX_PLACES, g->slot_blocks))
		slots = div_u64(WB_MAX_PLACES, g->slot_blocks);	/* a little below 16 TiB */
	g->nr_slots = slots;
	g->cache_sectors = cache_sectors;
	g->backing_sectors = backing_sectors;
	return NULL;
}

void wb_super_encode(const struct wb_super *s, void *to)
{
	struct wb_super_disk *d = to;

	memset(d, 0, sizeof(*d));
	memcpy(d->magic, WB_MAGIC, WB_MAGIC_LEN);
	d->version = cpu_to_le32(WB_VERSION);
	d->compat = cpu_to_le64(s->compat);
	d->ro_compat = cpu_to_le64(s->ro_compat);
	d->incompat = cpu_to_le64(s->incompat);
	memcpy(d->uuid, s->uuid, sizeof(d->uuid));
	d->slot_blocks = cpu_to_le32(s->geom.slot_blocks);
	d->nr_slots = cpu_to_le64(s->geom.nr_slots);
	d->cache_sectors = cpu_to_le64(s->geom.cache_sectors);
	d->backing_sectors = cpu_to_le64(s->geom.backing_sectors);
	d->created = cpu_to_le64(s->created);
	memcpy(d->backing_id, s->backing_id, WB_BACKING_ID_LEN);
	d->crc = cpu_to_le32(crc_after(d, &d->version, sizeof(*d)));
}

enum wb_verdict wb_super_decode(const void *from, struct wb_super *s)
{
	const struct wb_super_disk *d = from;
	struct wb_geom g;
	u64 slots;
	__le32 first;

	if (memcmp(d->magic, WB_MAGIC, WB_MAGIC_LEN)) {
		memcpy(&first, d, sizeof(first));
		if (le32_to_cpu(first) == WB_OLD_MAGIC)
			return WB_OLD_WRITEBOOST;
		return is_foreign(from) ? WB_FOREIGN : WB_NOT_OURS;
	}
	/* A partition table may be written around our magic: boot code is left as it is. */
	if (le32_to_cpu(d->crc) != crc_after(d, &d->version, sizeof(*d)))
		return is_foreign(from) ? WB_FOREIGN : WB_BAD_CRC;
	if (le32_to_cpu(d->version) != WB_VERSION)
		return WB_BAD_VERSION;

	memset(s, 0, sizeof(*s));
	s->compat = le64_to_cpu(d->compat);
	s->ro_compat = le64_to_cpu(d->ro_compat);
	s->incompat = le64_to_cpu(d->incompat);
	memcpy(s->uuid, d->uuid, sizeof(s->uuid));
	s->created = le64_to_cpu(d->created);
	memcpy(s->backing_id, d->backing_id, WB_BACKING_ID_LEN);
	s->backing_id[WB_BACKING_ID_LEN - 1] = '\0';
	if (s->incompat & ~WB_INCOMPAT_KNOWN)
		return WB_BAD_FEATURE;

	/* No more slots than this device can have; fewer would be legal, though format makes none. */
	slots = le64_to_cpu(d->nr_slots);
	if (le32_to_cpu(d->slot_blocks) > WB_MAX_SLOT_BLOCKS ||
	    wb_geometry(&g, le64_to_cpu(d->cache_sectors), le64_to_cpu(d->backing_sectors),
			le32_to_cpu(d->slot_blocks) << WB_BLOCK_SHIFT) ||
	    slots < WB_MIN_SLOTS || slots > g.nr_slots)
		return WB_BAD_FIELD;
	s->geom = g;
	s->geom.nr_slots = slots;
	s->geom.seed = seed_of(s->uuid);
	return WB_OK;
}

enum wb_verdict wb_super_pick(const void *const copies[WB_NR_COPIES], struct wb_super *s)
{
	enum wb_verdict v, first = WB_OK;
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		v = copies[i] ? wb_super_decode(copies[i], s) : WB_READ_ERROR;
		if (v == WB_OK)
			return WB_OK;
		if (i == 0)
			first = v;
		/*
		 * An old-format cache, something else, an unknown feature or version is the truth
		 * about this device even if a second copy of something readable is left behind it.
		 */
		if (v == WB_OLD_WRITEBOOST || (v == WB_FOREIGN && i == 0) ||
		    v == WB_BAD_FEATURE || v == WB_BAD_VERSION)
			return v;
	}
	return first;
}

/* ---------------------------------------------------------------- record */

void wb_record_encode(const struct wb_geom *g, const struct wb_record *r, void *to)
{
	struct wb_record_disk *d = to;

	memset(to, 0, WB_BLOCK_SIZE);
	d->magic = cpu_to_le64(WB_RECORD_MAGIC);
	d->life_link = cpu_to_le32(r->life_link);
	d->seed = cpu_to_le64(g->seed);
	d->seq = cpu_to_le64(r->seq);
	d->epoch = cpu_to_le64(r->epoch);
	d->life_start = cpu_to_le64(r->life_start);
	d->migrated = cpu_to_le64(r->migrated);
	d->durable_id = cpu_to_le64(r->durable.id);
	d->durable_chunk = cpu_to_le32(r->durable.chunk);
	d->flags = cpu_to_le32(r->clean ? WB_RECORD_CLEAN : 0);
	d->crc = cpu_to_le32(crc_after(d, &d->life_link, sizeof(*d)));
}

/*
 * Ids never come near these: a segment every microsecond for 570 years, and 2^31 laps. So sums of
 * ids cannot overflow, and positions fit where they are packed into one word (segment/rambuf.h).
 */
#define WB_MAX_ID	(1ull << 54)
/* Likewise; and so the next one can be counted and written. */
#define WB_MAX_COUNT	(1ull << 62)
#define WB_MAX_LAP	(1ull << 31)

enum wb_verdict wb_record_decode(const struct wb_geom *g, const void *from, struct wb_record *r)
{
	const struct wb_record_disk *d = from;

	if (le64_to_cpu(d->magic) != WB_RECORD_MAGIC)
		return WB_NOT_OURS;
	if (le32_to_cpu(d->crc) != crc_after(d, &d->life_link, sizeof(*d)))
		return WB_BAD_CRC;
	if (le64_to_cpu(d->seed) != g->seed)
		return WB_BAD_SEED;
	r->seq = le64_to_cpu(d->seq);
	r->epoch = le64_to_cpu(d->epoch);
	r->life_start = le64_to_cpu(d->life_start);
	r->life_link = le32_to_cpu(d->life_link);
	r->migrated = le64_to_cpu(d->migrated);
	r->durable.id = le64_to_cpu(d->durable_id);
	r->durable.chunk = le32_to_cpu(d->durable_chunk);
	r->clean = le32_to_cpu(d->flags) & WB_RECORD_CLEAN;
	/*
	 * What is dirty lies in (migrated, migrated + nr_slots]: before the first, ids were reused,
	 * after the last there is no slot. The start of this life and the durable point cannot lie
	 * beyond.
	 */
	if (r->migrated >= WB_MAX_ID || div64_u64(r->migrated, g->nr_slots) >= WB_MAX_LAP ||
	    r->epoch >= WB_MAX_COUNT || r->seq >= WB_MAX_COUNT || !r->life_start ||
	    r->life_start > r->migrated + g->nr_slots + 1 ||
	    r->durable.id > r->migrated + g->nr_slots ||
	    r->durable.chunk >= g->slot_blocks ||
	    (le32_to_cpu(d->flags) & ~WB_RECORD_FLAGS_KNOWN))
		return WB_BAD_FIELD;
	return WB_OK;
}

enum wb_verdict wb_record_pick(const struct wb_geom *g, const void *const copies[WB_NR_COPIES],
			       struct wb_record *r, int *which)
{
	enum wb_verdict v, first = WB_READ_ERROR;
	struct wb_record one;
	bool found = false;
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		v = copies[i] ? wb_record_decode(g, copies[i], &one) : WB_READ_ERROR;
		if (i == 0)
			first = v;
		if (v != WB_OK || (found && one.seq <= r->seq))
			continue;
		*r = one;
		*which = i;
		found = true;
	}
	return found ? WB_OK : first;
}

/* ---------------------------------------------------------------- chunk header */

void wb_header_encode(const struct wb_geom *g, struct wb_header *h, struct wb_header_disk *to)
{
	to->magic = cpu_to_le32(WB_CHUNK_MAGIC);
	to->seed = cpu_to_le64(g->seed);
	to->epoch = cpu_to_le64(h->epoch);
	to->id = cpu_to_le64(h->id);
	to->lap = cpu_to_le64(wb_lap_of(g, h->id));
	to->durable_id = cpu_to_le64(h->durable.id);
	to->durable_chunk = cpu_to_le32(h->durable.chunk);
	to->link = cpu_to_le32(h->link);
	to->chunk = cpu_to_le16(h->chunk);
	to->block = cpu_to_le16(h->block);
	to->nr_entries = cpu_to_le16(h->nr_entries);
	to->pad = 0;
	h->crc = crc_after(to, &to->seed, wb_header_size(h->nr_entries));
	to->crc = cpu_to_le32(h->crc);
}

static bool entry_possible(const struct wb_geom *g, const struct wb_entry *e)
{
	u64 blocks = wb_backing_blocks(g);

	if (e->block >= blocks || (e->flags & ~WB_ENTRY_FLAGS_KNOWN))
		return false;
	if (e->flags & WB_ENTRY_TOMBSTONE)
		return !e->mask && e->crc && e->crc <= blocks - e->block &&
		       e->crc <= WB_MAX_TOMBSTONE_BLOCKS;
	return e->mask && !(e->mask & ~wb_block_mask(g, e->block));
}

/*
 * Is each of the first @nr entries, a multiple of four, the copy of sectors of a block below @whole,
 * all of which have all sectors? Almost always they all are, and to see that is most of what
 * recovery does with a header; so there is one answer for all.
 *
 * To an entry's word a number is added that makes its block overflow, by one bit into the mask, if it
 * is @whole or more; and its mask, by one bit into the flags, if it is not zero. What the sum and the
 * word differ in tells: the lowest bit of the mask was inverted by the number, and once more by an
 * overflow; the lowest bit of the flags, which have to be zero, by an overflow alone. (Of a mask of
 * zero and a block that overflows the latter tells.)
 */
static bool all_simple(const struct wb_entry_disk *d, u32 nr, u64 whole)
{
	/* WB_MASK_ALL for the mask, for the block what @whole lacks of 2^40. */
	const u64 add = (1ull << WB_ENTRY_FLAGS_SHIFT) - whole;
	const u64 must = (1ull << WB_ENTRY_MASK_SHIFT) | (1ull << WB_ENTRY_FLAGS_SHIFT);
	u64 all = must, any = 0, word[4];
	const struct wb_entry_disk *end = d + nr;

	for (; d < end; d += 4) {
		word[0] = wb_entry_word(d);
		word[1] = wb_entry_word(d + 1);
		word[2] = wb_entry_word(d + 2);
		word[3] = wb_entry_word(d + 3);
		any |= word[0] | word[1] | word[2] | word[3];
		all &= ((word[0] + add) ^ word[0]) & ((word[1] + add) ^ word[1]) &
		       ((word[2] + add) ^ word[2]) & ((word[3] + add) ^ word[3]);
	}
	return all == must && !(any >> WB_ENTRY_FLAGS_SHIFT);
}

/*
 * The same where all sectors are copied, too, as almost always, and two thirds of the work. False says
 * nothing.
 *
 * What is subtracted of a word leaves less than 0, by 2^40 at most, if it has no flags, and either all
 * sectors and a block below @whole, or all but the first one and a block that is not. The lowest bit of
 * the mask tells these two apart.
 */
static bool all_whole(const struct wb_entry_disk *d, u32 nr, u64 whole)
{
	const u64 less = ((u64)WB_MASK_ALL << WB_ENTRY_MASK_SHIFT) + whole;
	const u64 must = ~WB_ENTRY_BLOCK;
	const struct wb_entry_disk *end = d + nr;
	u64 below = must, masks = ~0ull, word[4];

	for (; d < end; d += 4) {
		word[0] = wb_entry_word(d);
		word[1] = wb_entry_word(d + 1);
		word[2] = wb_entry_word(d + 2);
		word[3] = wb_entry_word(d + 3);
		masks &= word[0] & word[1] & word[2] & word[3];
		below &= (word[0] - less) & (word[1] - less) & (word[2] - less) & (word[3] - less);
	}
	return below == must && masks & (1ull << WB_ENTRY_MASK_SHIFT);
}

enum wb_verdict wb_header_decode(const struct wb_geom *g, const void *from, struct wb_header *h)
{
	u64 whole = g->backing_sectors >> WB_BLOCK_SECTOR_SHIFT;	/* blocks that have all sectors */
	const struct wb_header_disk *d = from;
	struct wb_entry e;
	u32 i;

	if (le32_to_cpu(d->magic) != WB_CHUNK_MAGIC)
		return WB_NOT_OURS;
	if (le64_to_cpu(d->seed) != g->seed)
		return WB_BAD_SEED;
	h->nr_entries = le16_to_cpu(d->nr_entries);
	h->block = le16_to_cpu(d->block);
	if (!h->nr_entries || h->block >= g->slot_blocks ||
	    h->nr_entries > g->slot_blocks - h->block - 1)
		return WB_BAD_CRC;	/* not even the length is sane: the checksum cannot be taken */
	h->crc = le32_to_cpu(d->crc);
	if (h->crc != crc_after(d, &d->seed, wb_header_size(h->nr_entries)))
		return WB_BAD_CRC;

	h->epoch = le64_to_cpu(d->epoch);
	h->id = le64_to_cpu(d->id);
	h->durable.id = le64_to_cpu(d->durable_id);
	h->durable.chunk = le32_to_cpu(d->durable_chunk);
	h->link = le32_to_cpu(d->link);
	h->chunk = le16_to_cpu(d->chunk);
	if (!h->id || h->id >= WB_MAX_ID + g->nr_slots || le64_to_cpu(d->lap) != wb_lap_of(g, h->id) ||
	    wb_pos_cmp(h->durable, (struct wb_pos){ h->id, h->chunk }) >= 0)
		return WB_BAD_FIELD;
	h->nr_tombstones = 0;
	i = h->nr_entries & ~3u;
	if (!all_whole(d->entry, i, whole) && !all_simple(d->entry, i, whole))
		i = 0;
	for (; i < h->nr_entries; i++) {
		wb_entry_decode(d, i, &e);
		if (!entry_possible(g, &e))
			return WB_BAD_FIELD;
		h->nr_tombstones += !!(e.flags & WB_ENTRY_TOMBSTONE);
	}
	return WB_OK;
}

u32 wb_header_guess(const struct wb_geom *g, const void *from, u64 id, u32 block, u32 *size)
{
	const struct wb_header_disk *d = from;
	u32 nr = le16_to_cpu(d->nr_entries);

	if (le32_to_cpu(d->magic) != WB_CHUNK_MAGIC || le64_to_cpu(d->seed) != g->seed ||
	    le64_to_cpu(d->id) != id || le16_to_cpu(d->block) != block ||
	    block >= g->slot_blocks || !nr || nr > g->slot_blocks - block - 1)
		return 0;
	*size = wb_header_size(nr);
	return block + 1 + nr;
}

u32 wb_data_crc(const void *data, u8 mask)
{
	const u8 *p = data;
	u32 crc = 0;
	unsigned int i, n;

	if (likely(mask == WB_MASK_ALL))
		return wb_crc32c(data, WB_BLOCK_SIZE);
	for (i = 0; i < WB_BLOCK_SECTORS; i += n) {
		/* the next run of valid sectors, or the gap before it */
		for (n = 0; i + n < WB_BLOCK_SECTORS && (mask >> (i + n)) & 1; n++)
			;
		if (n)
			crc = wb_crc32c_more(crc, p + i * WB_SECTOR_SIZE, n * WB_SECTOR_SIZE);
		else
			n = 1;
	}
	return crc;
}
