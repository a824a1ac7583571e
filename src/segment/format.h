/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The on-media format, shared by the module and the tools. doc/format.md draws it.
 *
 *   cache device
 *   0         128 KiB    256 KiB    384 KiB    1 MiB
 *   | super 0 | record 0 | super 1 | record 1 | slot 0 | slot 1 | ... | slot N-1 |
 *
 *   one slot, holding segment id = 1 + slot + k * N, in lap k + 1
 *   | H | d d d d d | H | d d | H | d d d d | (not written, or stale) |
 *     \_ chunk 0 _/   \_ 1 _/   \_ chunk 2 /
 *
 * A superblock never changes after format. A record is the mutable part. A chunk is one append to
 * the log: a header block with one entry for each data block that follows it. Everything is
 * little-endian, and every structure carries a CRC32C that covers all of it but the CRC itself.
 */
#ifndef WB_FORMAT_H
#define WB_FORMAT_H

#include "port.h"

/* Units. A block is what is cached; a sector is what is valid or not inside a block. */
#define WB_SECTOR_SHIFT		9
#define WB_SECTOR_SIZE		(1u << WB_SECTOR_SHIFT)
#define WB_BLOCK_SHIFT		12
#define WB_BLOCK_SIZE		(1u << WB_BLOCK_SHIFT)
#define WB_BLOCK_SECTORS	(WB_BLOCK_SIZE / WB_SECTOR_SIZE)
#define WB_BLOCK_SECTOR_SHIFT	(WB_BLOCK_SHIFT - WB_SECTOR_SHIFT)
#define WB_MASK_ALL		0xffu	/* all eight sectors of a block */

#define WB_MAGIC		"dmWriteboostLog1"
#define WB_MAGIC_LEN		16
#define WB_VERSION		1
#define WB_RECORD_MAGIC		0x64726f6365526257ull	/* "WbRecord" */
#define WB_CHUNK_MAGIC		0x6b436257u		/* "WbCk" */

/* The first sector of Debian's dm-writeboost 2.x holds this, little-endian, and nothing else we know. */
#define WB_OLD_MAGIC		0x57427374u

#define WB_NR_COPIES		2
#define WB_SUPER_OFFSET(i)	((u64)(i) * (256u << 10))
#define WB_RECORD_OFFSET(i)	((128u << 10) + (u64)(i) * (256u << 10))
#define WB_FIRST_SLOT_OFFSET	(1u << 20)

#define WB_MIN_SEGMENT_SIZE	(16u << 10)
#define WB_MAX_SEGMENT_SIZE	(1u << 20)
#define WB_DEFAULT_SEGMENT_SIZE	(1u << 20)
#define WB_MIN_SLOTS		4
#define WB_MAX_BACKING_BLOCKS	(1ull << 40)	/* an entry has 40 bits for a block */
#define WB_MAX_PLACES		0xffffff00ull	/* an index entry has 32 bits for a place */

/*
 * How far behind the newest segment a segment may be that is not durable yet. The flush daemon
 * opens no segment beyond it (order.c). The simulation makes it small.
 */
#ifndef WB_MAX_VOLATILE_SEGMENTS
#define WB_MAX_VOLATILE_SEGMENTS 32
#endif

/*
 * How far behind a bad chunk, in segment s, recovery has to look for a header that calls it durable
 * (recover.c). One device flush may have made s and 31 more durable at once, which then say nothing
 * about each other; but segment s + 32 was opened after s was durable, so all its headers say so. If
 * s + 32 is durable it can be read. If not, all that was in flight lies before s + 32 + 32: of it the
 * first may be torn and only the last be whole.
 */
#define WB_SEARCH_SEGMENTS (2 * WB_MAX_VOLATILE_SEGMENTS)

/* So many segments behind the last that holds anything are searched although they seem to be empty. */
#define WB_SEARCH_BLINDLY 4

/* Feature flags: unknown compat ones are ignored, with unknown incompat ones a reader refuses. */
#define WB_INCOMPAT_KNOWN	0ull
#define WB_RO_COMPAT_KNOWN	0ull

#define WB_BACKING_ID_LEN	128

/**
 * struct wb_super_disk - the superblock: what this cache is, for ever
 * @magic: WB_MAGIC
 * @crc: CRC32C of the bytes after this field, to the end of the block
 * @version: WB_VERSION
 * @compat: features a reader may ignore
 * @ro_compat: features only a writer must know
 * @incompat: features every reader must know
 * @uuid: random, made by format; also the source of the seed in every header
 * @slot_blocks: blocks in a slot
 * @pad: zero
 * @nr_slots: slots on the device
 * @cache_sectors: length of the cache device when it was formatted
 * @backing_sectors: length of the backing device it belongs to
 * @created: seconds since 1970
 * @backing_id: what identifies the backing device, as text, or empty
 */
struct wb_super_disk {
	u8 magic[WB_MAGIC_LEN];
	__le32 crc;
	__le32 version;
	__le64 compat;
	__le64 ro_compat;
	__le64 incompat;
	u8 uuid[16];
	__le32 slot_blocks;
	__le32 pad;
	__le64 nr_slots;
	__le64 cache_sectors;
	__le64 backing_sectors;
	__le64 created;
	u8 backing_id[WB_BACKING_ID_LEN];
	u8 zero[WB_BLOCK_SIZE - 232];
} __packed;

#define WB_RECORD_CLEAN		0x0001	/* stopped in order: the log ends at the durable point */
#define WB_RECORD_FLAGS_KNOWN	WB_RECORD_CLEAN

/**
 * struct wb_record_disk - the mutable part of the superblock; fits one sector
 * @magic: WB_RECORD_MAGIC
 * @crc: CRC32C of the bytes after this field, to the end of the sector
 * @life_link: what the first chunk of this life links to: header CRC of the last chunk that recovery
 * accepted; where it found none, the field as it was (0 at first)
 * @seed: of this cache
 * @seq: of two good copies the one with the higher number counts
 * @epoch: of this life
 * @life_start: the first segment id of this life
 * @migrated: every segment up to this id is on the backing device, durably
 * @durable_id: segment of a chunk known to be durable, 0 = none
 * @durable_chunk: number of that chunk
 * @flags: WB_RECORD_*
 */
struct wb_record_disk {
	__le64 magic;
	__le32 crc;
	__le32 life_link;
	__le64 seed;
	__le64 seq;
	__le64 epoch;
	__le64 life_start;
	__le64 migrated;
	__le64 durable_id;
	__le32 durable_chunk;
	__le32 flags;
	u8 zero[WB_SECTOR_SIZE - 72];
} __packed;

#define WB_MAX_TOMBSTONE_BLOCKS	(1u << 14)	/* 64 MiB; bounds what one entry can cost recovery */
#define WB_ENTRY_TOMBSTONE	0x0001	/* @crc holds a number of blocks: they were discarded */
#define WB_ENTRY_FLAGS_KNOWN	WB_ENTRY_TOMBSTONE

/**
 * struct wb_entry_disk - one data block of a chunk
 * @block_lo: backing block, low 32 bits
 * @block_hi: backing block, high 8 bits
 * @mask: the sectors that are valid (a tombstone has none)
 * @flags: WB_ENTRY_*
 * @crc: CRC32C of the valid sectors, in order
 */
struct wb_entry_disk {
	__le32 block_lo;
	u8 block_hi;
	u8 mask;
	__le16 flags;
	__le32 crc;
} __packed;

/**
 * struct wb_header_disk - the header block of a chunk
 * @magic: WB_CHUNK_MAGIC
 * @crc: CRC32C of the bytes after this field, to the end of the last entry
 * @seed: of this cache
 * @epoch: the life that wrote it
 * @id: global id of the segment
 * @lap: how often the log has wrapped, from 1; follows from @id and is checked against it
 * @durable_id: durable point when the chunk was sealed: segment, 0 = none
 * @durable_chunk: durable point: chunk
 * @link: @crc of the header before this one in the log
 * @chunk: number of this chunk in its segment, from 0
 * @block: where in the slot this header stands, in blocks
 * @nr_entries: data blocks that follow
 * @pad: zero
 * @entry: one for each data block
 */
struct wb_header_disk {
	__le32 magic;
	__le32 crc;
	__le64 seed;
	__le64 epoch;
	__le64 id;
	__le64 lap;
	__le64 durable_id;
	__le32 durable_chunk;
	__le32 link;
	__le16 chunk;
	__le16 block;
	__le16 nr_entries;
	__le16 pad;
	struct wb_entry_disk entry[];
} __packed;

#define WB_MAX_SLOT_BLOCKS	(WB_MAX_SEGMENT_SIZE / WB_BLOCK_SIZE)
#define WB_MAX_ENTRIES		(WB_MAX_SLOT_BLOCKS - 1)

static_assert(sizeof(struct wb_super_disk) == WB_BLOCK_SIZE, "superblock is one block");
static_assert(sizeof(struct wb_record_disk) == WB_SECTOR_SIZE, "record is one sector");
static_assert(sizeof(struct wb_entry_disk) == 12, "entry is 12 bytes");
static_assert(sizeof(struct wb_header_disk) == 64, "fixed part of a chunk header");
static_assert(sizeof(struct wb_header_disk) + WB_MAX_ENTRIES * sizeof(struct wb_entry_disk) <=
	      WB_BLOCK_SIZE, "a full segment needs one header block");
static_assert(WB_RECORD_OFFSET(1) - WB_RECORD_OFFSET(0) >= (64u << 10), "records are far apart");
static_assert(WB_RECORD_OFFSET(1) + WB_BLOCK_SIZE <= WB_FIRST_SLOT_OFFSET, "first slot is free");

#endif /* WB_FORMAT_H */
