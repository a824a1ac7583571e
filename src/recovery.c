// SPDX-License-Identifier: GPL-2.0
/*
 * Recovery: executes what segment/recover.c decides.
 *
 *   1. read the superblocks and records (the constructor looked too; a device can change meanwhile)
 *   2. walk the log; every accepted chunk goes into the index
 *   3. record what the log calls durable, if the record does not know it: step 4 may destroy the proof
 *   4. destroy the header behind the last accepted chunk, and flush the cache device: after a mere
 *      panic the walk may have read what only the device's volatile cache holds
 *   5. record the new life in both copies
 *
 * Until step 5 is through another recovery comes to the same result, or, if what only a volatile cache
 * held is gone by then, to a shorter one without anything durable missing. It never writes to the backing
 * device. Of a segment that the record does not call migrated it reads the blocks of its headers, ahead of
 * the walk (reader.h); past the durable point the data, too; and, where a chunk is bad, more in search of
 * one that calls it durable.
 */
#include "daemons/daemons.h"
#include "segment/recover.h"
#include "reader.h"
#include "recovery.h"

struct recovery {
	struct wb_cache *c;
	struct wb_reader *reader;
	u32 backing_sectors;	/* of 512 bytes, to a sector of the backing device */
};

/* ---------------------------------------------------------------- superblock and record */

int wb_read_super(struct block_device *bdev, struct wb_super *s, enum wb_verdict *v)
{
	const void *copies[WB_NR_COPIES];
	void *block[WB_NR_COPIES];
	int i;

	block[0] = kmalloc(WB_BLOCK_SIZE, GFP_KERNEL);
	block[1] = kmalloc(WB_BLOCK_SIZE, GFP_KERNEL);
	*v = WB_READ_ERROR;
	if (block[0] && block[1] && bdev_nr_bytes(bdev) >= WB_FIRST_SLOT_OFFSET) {
		wb_io_read_copies(bdev, WB_SUPER_OFFSET(0), WB_SUPER_OFFSET(1), block, copies);
		*v = wb_super_pick(copies, s);
	} else if (block[0] && block[1]) {
		*v = WB_NOT_OURS;
	}
	i = block[0] && block[1] ? 0 : -ENOMEM;
	kfree(block[0]);
	kfree(block[1]);
	return i;
}

/* @which: the copy that counts */
static int read_record(struct wb_cache *c, struct wb_record *r, int *which)
{
	const void *copies[WB_NR_COPIES];
	void *block[WB_NR_COPIES];
	enum wb_verdict v;

	block[0] = kmalloc(WB_BLOCK_SIZE, GFP_KERNEL);
	block[1] = kmalloc(WB_BLOCK_SIZE, GFP_KERNEL);
	if (!block[0] || !block[1]) {
		kfree(block[0]);
		kfree(block[1]);
		return -ENOMEM;
	}
	wb_io_read_copies(c->cache, WB_RECORD_OFFSET(0), WB_RECORD_OFFSET(1), block, copies);
	v = wb_record_pick(&c->super.geom, copies, r, which);
	kfree(block[0]);
	kfree(block[1]);
	if (v == WB_OK)
		return 0;
	wb_err(c, "needs check: no copy of the record on the cache device is usable (%s). Run writeboost-ctl check, then repair",
	       wb_verdict_text(v));
	return -EUCLEAN;
}

/* ---------------------------------------------------------------- what the walk accepts */

/* At most WB_MAX_TOMBSTONE_BLOCKS: decoding has seen to that. */
static void drop_copies(struct wb_cache *c, u64 block, u32 nr)
{
	u32 place;

	for (; nr--; block++)
		while ((place = wb_index_first(&c->index, block)) != WB_NO_PLACE)
			wb_index_unlink(&c->index, place, wb_count_live, c);
	cond_resched();
}

/*
 * A log that another backing device has left, of smaller sectors, may hold parts of this one's: nobody
 * could write them back.
 */
static int check_sectors(const struct recovery *r, const struct wb_header *h,
			 const struct wb_header_disk *raw)
{
	u32 i, s, n = r->backing_sectors;
	u8 mask = (1u << n) - 1;
	struct wb_entry e;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		for (s = 0; s < WB_BLOCK_SECTORS; s += n) {
			if (!(e.mask & mask << s) || (e.mask & mask << s) == mask << s)
				continue;
			wb_err(r->c, "the log holds parts of sectors of the backing device, whose sectors have %u bytes now. Use one with smaller sectors, or write it back: writeboost-ctl repair <cache> --skip --backing <backing>",
			       n << SECTOR_SHIFT);
			return -EINVAL;
		}
	}
	return 0;
}

static int walk_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct recovery *r = ctx;
	struct wb_cache *c = r->c;
	u32 slot = wb_slot_of(&c->super.geom, h->id);
	u32 place = (slot << c->index.slot_shift) + h->block + 1;
	struct wb_index_view v = {
		/* This segment is the head, and all that comes from the log is durable. */
		.head_end = ((u64)slot + 1) << c->index.slot_shift,
		.durable_rank = ~0ull,
	};
	struct wb_entry e;
	u32 i, end;
	int err;

	err = r->backing_sectors > 1 ? check_sectors(r, h, raw) : 0;
	if (err)
		return err;
	for (i = 0; i < h->nr_entries; i++) {
		end = wb_index_load(&c->index, h, raw, i, place, wb_count_live, c);
		atomic_add(end - i, &c->slot_live[slot]);
		i = end;
		if (i == h->nr_entries)
			break;
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			drop_copies(c, e.block, e.crc);
		else
			wb_index_insert(&c->index, e.block, place + i, e.mask, &v, wb_count_live, c);
	}
	cond_resched();
	return 0;
}

static int walk_read(void *ctx, u64 id, u32 block, u32 nr, void *buf)
{
	struct recovery *r = ctx;

	return wb_reader_read(r->reader, id, block, nr, buf);
}

static const void *walk_peek(void *ctx, u64 id, u32 block)
{
	struct recovery *r = ctx;

	return wb_reader_peek(r->reader, id, block);
}

static bool walk_hold(void *ctx)
{
	struct recovery *r = ctx;

	return wb_reader_hold(r->reader);
}

static void walk_drop(void *ctx, const void *header)
{
	struct recovery *r = ctx;

	wb_reader_drop(r->reader, header);
}

static void walk_note(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	struct recovery *r = ctx;

	wb_warn(r->c, "segment %llu, block %u of its slot: %s (%s)", id, block, text,
		wb_verdict_text(why));
}

static const struct wb_walk_ops walk_ops = {
	.read = walk_read,
	.peek = walk_peek,
	.hold = walk_hold,
	.drop = walk_drop,
	.apply = walk_apply,
	.note = walk_note,
};

/* ---------------------------------------------------------------- the steps */

static int destroy_tail(struct wb_cache *c, const struct wb_walk *w)
{
	const struct wb_geom *g = &c->super.geom;
	int i, err = 0;
	u32 block;
	u64 id;

	memset(c->record_block, 0, WB_BLOCK_SIZE);
	for (i = 0; !err && wb_walk_must_destroy(w, i, &id, &block); i++)
		err = wb_io_sync(c->cache, REQ_OP_WRITE,
				 wb_slot_offset(g, wb_slot_of(g, id), block), c->record_block,
				 WB_BLOCK_SIZE);
	return err ?: wb_io_flush(c->cache);
}

/* *@good: the copy of the record that must not be overwritten next. */
static int keep_claims(struct wb_cache *c, const struct wb_walk *w, struct wb_record *record, int *good)
{
	int err;

	if (!wb_walk_must_record(w, &c->record))
		return 0;
	err = wb_record_write(c, !*good);
	*record = c->record;
	*good = !*good;
	return err;
}

/* @good: the copy of the record that is good for sure; it is written last. */
static int begin_life(struct wb_cache *c, const struct wb_walk *w, int good)
{
	int err;

	wb_walk_next_life(w, &c->record);
	err = wb_record_write(c, !good) ?: wb_record_write(c, good);
	if (err)
		return err;
	wb_log_begin_life(&c->log, &c->record);
	return 0;
}

static int walk_log(struct recovery *r, struct wb_walk *w)
{
	struct wb_cache *c = r->c;
	const struct wb_record *record = w->record;
	u64 last = record->migrated + c->super.geom.nr_slots;
	bool unreadable;
	int err;

	/* After a stop in order nothing stands behind the durable point. */
	if (record->clean)
		last = max(record->durable.id, record->migrated);
	r->reader = wb_reader_new(c, record->migrated + 1, last);
	if (!r->reader)
		return -ENOMEM;
	err = wb_walk(w);
	wb_reader_free(r->reader);
	unreadable = err == -EIO ||
		     (!err && w->state == WB_LOG_DAMAGED && w->bad_why == WB_READ_ERROR);
	/* Nobody shall repair a device that is merely away. */
	if (unreadable)
		wb_err(c, "needs check: the cache device cannot be read at segment %llu, block %u of its slot. Nothing was changed. If the device was away, try again when it is back; else run writeboost-ctl check",
		       w->bad_id, w->bad_block);
	else if (!err && w->state == WB_LOG_DAMAGED)
		wb_err(c, "needs check: the log is damaged at segment %llu, block %u of its slot (%s). Nothing was changed. Run writeboost-ctl check, then repair",
		       w->bad_id, w->bad_block, wb_verdict_text(w->bad_why));
	if (err == -EIO || (!err && w->state == WB_LOG_DAMAGED))
		return -EUCLEAN;
	return err;
}

static int recover(struct recovery *r)
{
	struct wb_cache *c = r->c;
	struct wb_record record;
	struct wb_walk w = {
		.geom = &c->super.geom,
		.record = &record,
		.ops = &walk_ops,
		.ctx = r,
		.slot_buf = c->log.bufs[0].data,	/* nobody writes yet */
	};
	int err, good;

	err = read_record(c, &record, &good);
	if (!err)
		err = walk_log(r, &w);
	if (err)
		return err;
	err = keep_claims(c, &w, &record, &good);
	if (!err)
		err = destroy_tail(c, &w);
	if (!err)
		err = begin_life(c, &w, good);
	if (err) {
		wb_err(c, "cannot write to the cache device (%d); nothing is lost, make it writable and try again",
		       err);
		return err;
	}
	/* What was written to it without us, in mode drained or by another table, FLUSH has to cover. */
	err = wb_io_flush(c->backing);
	if (err) {
		wb_err(c, "cannot flush the backing device (%d); nothing is lost, make it writable and try again",
		       err);
		return err;
	}
	wb_info(c, "recovered %llu chunks with %llu blocks, segments %llu to %llu%s; life %llu begins",
		w.nr_chunks, w.nr_blocks, record.migrated + 1, w.last.id,
		w.state == WB_LOG_TORN ? ", torn tail cut off" : "", c->record.epoch);
	return 0;
}

int wb_recover(struct wb_cache *c)
{
	struct recovery r = {
		.c = c,
		.backing_sectors = bdev_logical_block_size(c->backing) >> SECTOR_SHIFT,
	};

	return recover(&r);
}
