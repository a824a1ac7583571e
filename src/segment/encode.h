/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the media and memory: encoding, and checking of everything that is read.
 *
 * Media is untrusted. A structure is used in core only after its wb_*_decode() said WB_OK; until
 * then every field is a number that somebody else chose.
 */
#ifndef WB_ENCODE_H
#define WB_ENCODE_H

#include "format.h"

/* Why a structure from the media was not accepted. wb_verdict_text() says it in words. */
enum wb_verdict {
	WB_OK = 0,
	WB_NOT_OURS,		/* another magic: never ours, or overwritten */
	WB_OLD_WRITEBOOST,	/* Debian's dm-writeboost 2.x */
	WB_FOREIGN,		/* the signature of something else that is in use by somebody */
	WB_BAD_CRC,
	WB_BAD_VERSION,
	WB_BAD_FEATURE,		/* unknown incompat flag */
	WB_BAD_FIELD,		/* checksum good, contents impossible */
	WB_BAD_SEED,		/* of another cache, or of an earlier format of this one */
	WB_BAD_PLACE,		/* another id, lap, chunk or block than belongs here */
	WB_BAD_EPOCH,		/* of a life that may not stand here */
	WB_BAD_LINK,		/* does not follow the header before */
	WB_BAD_DATA,		/* header good, checksum of a data block wrong */
	WB_READ_ERROR,
};

const char *wb_verdict_text(enum wb_verdict v);

/**
 * struct wb_pos - a position in the log: a chunk
 * @id: global id of the segment, 0 = before the log
 * @chunk: number of the chunk in it
 */
struct wb_pos {
	u64 id;
	u32 chunk;
};

static inline int wb_pos_cmp(struct wb_pos a, struct wb_pos b)
{
	if (a.id != b.id)
		return a.id < b.id ? -1 : 1;
	if (a.chunk != b.chunk)
		return a.chunk < b.chunk ? -1 : 1;
	return 0;
}

static inline struct wb_pos wb_pos_max(struct wb_pos a, struct wb_pos b)
{
	return wb_pos_cmp(a, b) < 0 ? b : a;
}

/**
 * struct wb_geom - the fixed numbers of one cache
 * @seed: from the UUID; in every header and record
 * @nr_slots: slots
 * @slot_blocks: blocks in a slot
 * @cache_sectors: length the cache device must have at least
 * @backing_sectors: length of the backing device
 */
struct wb_geom {
	u64 seed;
	u64 nr_slots;
	u32 slot_blocks;
	u64 cache_sectors;
	u64 backing_sectors;
};

/** struct wb_super - the superblock in core */
struct wb_super {
	struct wb_geom geom;
	u64 compat, ro_compat, incompat;
	u64 created;
	u8 uuid[16];
	char backing_id[WB_BACKING_ID_LEN];	/* always terminated */
};

/** struct wb_record - the record in core; fields as in struct wb_record_disk */
struct wb_record {
	u64 seq;
	u64 epoch;
	u64 life_start;
	u32 life_link;
	u64 migrated;
	struct wb_pos durable;
	bool clean;	/* WB_RECORD_CLEAN */
};

/** struct wb_header - the fixed part of a chunk header in core */
struct wb_header {
	u64 epoch;
	u64 id;
	struct wb_pos durable;
	u32 link;
	u32 crc;	/* of this header; the next one links to it */
	u32 chunk;
	u32 block;
	u32 nr_entries;
	u32 nr_tombstones;	/* of the entries; set by decoding */
};

/** struct wb_entry - an entry in core */
struct wb_entry {
	u64 block;	/* backing block */
	u32 crc;	/* of the valid sectors; of a tombstone, the number of blocks */
	u16 flags;
	u8 mask;	/* valid sectors */
};

/* Where things lie. Ids count from 1; slot and lap follow from them. */

static inline u64 wb_slot_of(const struct wb_geom *g, u64 id)
{
	u64 slot;

	div64_u64_rem(id - 1, g->nr_slots, &slot);
	return slot;
}

static inline u64 wb_lap_of(const struct wb_geom *g, u64 id)
{
	return div64_u64(id - 1, g->nr_slots) + 1;
}

/* First byte of block @block of slot @slot on the cache device. */
static inline u64 wb_slot_offset(const struct wb_geom *g, u64 slot, u32 block)
{
	return WB_FIRST_SLOT_OFFSET + ((slot * g->slot_blocks + block) << WB_BLOCK_SHIFT);
}

static inline u64 wb_backing_blocks(const struct wb_geom *g)
{
	return (g->backing_sectors + WB_BLOCK_SECTORS - 1) >> WB_BLOCK_SECTOR_SHIFT;
}

/* The sectors that backing block @block has: all, but perhaps for the device's last block. */
static inline u8 wb_block_mask(const struct wb_geom *g, u64 block)
{
	u64 left = g->backing_sectors - (block << WB_BLOCK_SECTOR_SHIFT);

	return left >= WB_BLOCK_SECTORS ? WB_MASK_ALL : (u8)((1u << left) - 1);
}

/**
 * wb_geometry() - lay a cache out
 * @g: filled in, but for the seed
 * @cache_sectors: length of the cache device
 * @backing_sectors: length of the backing device
 * @segment_size: in bytes, a power of two in WB_MIN_SEGMENT_SIZE..WB_MAX_SEGMENT_SIZE
 *
 * Return: NULL, or in words why these devices cannot make a cache.
 */
const char *wb_geometry(struct wb_geom *g, u64 cache_sectors, u64 backing_sectors, u32 segment_size);

/* Encoding fills a whole block (WB_BLOCK_SIZE bytes at @to), checksum included. */
void wb_super_encode(const struct wb_super *s, void *to);
void wb_record_encode(const struct wb_geom *g, const struct wb_record *r, void *to);

enum wb_verdict wb_super_decode(const void *from, struct wb_super *s);
enum wb_verdict wb_record_decode(const struct wb_geom *g, const void *from, struct wb_record *r);

/**
 * wb_super_pick() - the superblock, from its two copies
 * @copies: the two blocks as read, NULL where the read failed
 * @s: the superblock, if WB_OK
 *
 * The first good copy counts; they are equal unless a format was cut off. Where none is good the
 * verdict is the first copy's. A first block that has become part of something else (a file system,
 * a volume group, a partition table) is no damage that the second copy may repair: the device was
 * given away since.
 */
enum wb_verdict wb_super_pick(const void *const copies[WB_NR_COPIES], struct wb_super *s);

/**
 * wb_record_pick() - the record that counts, from its two copies
 * @g: geometry
 * @copies: the two blocks as read, NULL where the read failed
 * @r: the newer good one, if WB_OK
 * @which: 0 or 1, the copy that @r came from; the other one is to be written next
 */
enum wb_verdict wb_record_pick(const struct wb_geom *g, const void *const copies[WB_NR_COPIES],
			       struct wb_record *r, int *which);

/**
 * wb_entry_encode() - put entry @i into a header block that is being filled
 *
 * Entries are encoded one by one, by whoever writes the block's data; the fixed part comes last.
 */
static inline void wb_entry_encode(struct wb_header_disk *h, u32 i, const struct wb_entry *e)
{
	struct wb_entry_disk *d = &h->entry[i];

	d->block_lo = cpu_to_le32((u32)e->block);
	d->block_hi = (u8)(e->block >> 32);
	d->mask = e->mask;
	d->flags = cpu_to_le16(e->flags);
	d->crc = cpu_to_le32(e->crc);
}

/*
 * All of an entry but its checksum: block, mask and flags, from the lowest bit on. What goes over
 * many entries takes them in this form.
 */
#define WB_ENTRY_BLOCK		((1ull << 40) - 1)
#define WB_ENTRY_MASK_SHIFT	40
#define WB_ENTRY_FLAGS_SHIFT	48

static inline u64 wb_entry_word(const struct wb_entry_disk *d)
{
	__le64 word;

	memcpy(&word, d, sizeof(word));
	return le64_to_cpu(word);
}

static inline size_t wb_header_size(u32 nr_entries)
{
	return sizeof(struct wb_header_disk) + nr_entries * sizeof(struct wb_entry_disk);
}

static inline void wb_entry_decode(const struct wb_header_disk *h, u32 i, struct wb_entry *e)
{
	const struct wb_entry_disk *d = &h->entry[i];

	e->block = le32_to_cpu(d->block_lo) | ((u64)d->block_hi << 32);
	e->mask = d->mask;
	e->flags = le16_to_cpu(d->flags);
	e->crc = le32_to_cpu(d->crc);
}

/**
 * wb_header_encode() - write the fixed part and seal the header with its checksum
 * @g: geometry
 * @h: everything but the CRC; @h->crc is set
 * @to: the block, its entries in place
 */
void wb_header_encode(const struct wb_geom *g, struct wb_header *h, struct wb_header_disk *to);

/**
 * wb_header_decode() - check a header block, whatever is in it
 * @g: geometry
 * @from: a block
 * @h: the fixed part, if WB_OK
 *
 * Checks what a header says of itself: checksum, seed, lap, ranges, every entry. Whether it may
 * stand where it was found (id, chunk, block, epoch, link) is recover.c's to say.
 */
enum wb_verdict wb_header_decode(const struct wb_geom *g, const void *from, struct wb_header *h);

/**
 * wb_header_guess() - where does the chunk end whose header this seems to be?
 * @from: the block at block @block of the slot of segment @id
 * @size: set to the bytes of the header, the last entry included, if it seems to be one
 *
 * For reading ahead: no checksum is looked at, nothing of it may be believed.
 *
 * Return: the block after the chunk's last one, within the slot; 0 if this is no header.
 */
u32 wb_header_guess(const struct wb_geom *g, const void *from, u64 id, u32 block, u32 *size);

/**
 * wb_data_crc() - checksum of the valid sectors of a block
 * @data: the block, WB_BLOCK_SIZE bytes
 * @mask: its valid sectors
 */
u32 wb_data_crc(const void *data, u8 mask);

#endif /* WB_ENCODE_H */
