// SPDX-License-Identifier: GPL-2.0
/*
 * Reads. For each block the newest copies are found under its bucket lock, and what was found stays
 * valid until the read is over:
 *
 *   in RAM       copied at once, under the lock, so that no overwrite in place tears it
 *   on the cache the slot's reference count is raised: the slot is not reused before the read ends
 *   nowhere      the backing device is current, for what is dirty is in the index
 *   several      sectors here and there: composed by a work item, newest first (compose)
 *
 * A read of the cache device that fails is done again by that work item, block by block: what is
 * clean is read from the backing device instead, what is dirty once more from where it is.
 *
 * Neighbours of one kind are read in one go: what fits is taken with dm_accept_partial_bio(), and
 * device-mapper comes again for the rest.
 */
#include "daemons/daemons.h"

enum where {
	WB_IN_RAM,
	WB_ON_CACHE,
	WB_ON_BACKING,
	WB_IN_PARTS,
	WB_UNREADABLE,
};

/* Sectors [first, first + nr) of a block are wanted. */
struct want {
	u64 block;
	u32 first;
	u32 nr;
	u8 mask;
};

static struct want want_at(u64 sector, u32 sectors_left)
{
	struct want w = {
		.block = sector >> WB_BLOCK_SECTOR_SHIFT,
		.first = sector & (WB_BLOCK_SECTORS - 1),
	};

	w.nr = min_t(u32, WB_BLOCK_SECTORS - w.first, sectors_left);
	w.mask = (WB_MASK_ALL >> (WB_BLOCK_SECTORS - w.nr)) << w.first;
	return w;
}

/*
 * The newest copy. Needs the bucket lock.
 *
 * None while users go past the log (past_log): those that are left are clean, and nobody tells them
 * of the writes that go past it. Who reads after such a write has ended sees that: it is set before
 * the first of them is let through. And who reads after one of the next to the log has, sees that it
 * is over: for that ends before the log is opened to them.
 */
static u32 newest_copy(struct wb_cache *c, u64 block)
{
	return unlikely(READ_ONCE(c->past_log)) ? WB_NO_PLACE : wb_index_first(&c->index, block);
}

/*
 * Where are the wanted sectors? @place is the one copy that has them, for RAM and cache. Needs the
 * bucket lock. Takes no references.
 */
static enum where locate(struct wb_cache *c, const struct want *w, u32 *place)
{
	const struct wb_index_entry *e;
	u32 p;

	for (p = newest_copy(c, w->block); p != WB_NO_PLACE; p = wb_index_next(&c->index, p)) {
		e = &c->index.entries[p];
		if (!(e->mask & w->mask))
			continue;
		if (w->mask & ~e->mask)
			return WB_IN_PARTS;
		if (unlikely(e->flags & WB_ENTRY_ROTTEN))
			return WB_UNREADABLE;
		*place = p;
		return READ_ONCE(c->log.bufs[wb_place_id(c, p) % WB_NR_RAMBUFS].id) ==
		       wb_place_id(c, p) ? WB_IN_RAM : WB_ON_CACHE;
	}
	return WB_ON_BACKING;
}

/* ---------------------------------------------------------------- RAM */

static void copy_to_bio(struct bio *bio, struct bvec_iter *it, const void *from, u32 nr)
{
	u32 left = nr << SECTOR_SHIFT, len;
	struct bio_vec bv;

	while (left) {
		bv = bio_iter_iovec(bio, *it);
		len = min(bv.bv_len, left);
		memcpy_to_page(bv.bv_page, bv.bv_offset, from, len);
		flush_dcache_page(bv.bv_page);
		bio_advance_iter_single(bio, it, len);
		from += len;
		left -= len;
	}
}

/*
 * Copy the wanted sectors out of RAM. Needs the bucket lock. Return: false if the buffer has been
 * retired just now; the copy is on the cache device then.
 */
static bool copy_from_ram(struct wb_cache *c, struct bio *bio, struct bvec_iter *it,
			  const struct want *w, u32 place)
{
	struct wb_rambuf *buf = wb_log_get_buf(&c->log, wb_place_id(c, place));

	if (!buf)
		return false;
	copy_to_bio(bio, it, wb_log_block(buf, wb_place_block(c, place)) +
		    (w->first << SECTOR_SHIFT), w->nr);
	wb_log_put_buf(buf);
	return true;
}

/* ---------------------------------------------------------------- composing */

/*
 * One block, or the part of it that a bio wants, put together from up to eight copies and the
 * backing device. The pieces are found, and those in RAM copied, in one go under the bucket lock.
 * Those on the devices are read after it is dropped, which their slots' references allow. A sector
 * that had no copy then is read from the backing device, where a newer one can only have come by a
 * write that is not older than this read.
 */
struct piece {
	u32 place;
	u8 mask;
	bool clean;	/* the backing device has the same, or something newer */
};

static void copy_sectors(void *to, const void *from, u8 mask)
{
	u32 s;

	for (s = 0; s < WB_BLOCK_SECTORS; s++)
		if (mask >> s & 1)
			memcpy(to + (s << SECTOR_SHIFT), from + (s << SECTOR_SHIFT), SECTOR_SIZE);
}

static u32 find_pieces(struct wb_cache *c, const struct want *w, struct piece *pieces, void *to,
		       u8 *missing, bool *rotten)
{
	const struct wb_index_entry *e;
	struct wb_rambuf *buf;
	u8 mask, left = w->mask;
	u32 nr = 0, p;

	for (p = newest_copy(c, w->block); left && p != WB_NO_PLACE;
	     p = wb_index_next(&c->index, p)) {
		e = &c->index.entries[p];
		mask = e->mask & left;
		if (!mask)
			continue;
		left &= ~mask;
		*rotten |= e->flags & WB_ENTRY_ROTTEN;
		buf = wb_log_get_buf(&c->log, wb_place_id(c, p));
		if (buf) {
			copy_sectors(to, wb_log_block(buf, wb_place_block(c, p)), mask);
			wb_log_put_buf(buf);
			continue;
		}
		atomic_inc(&c->slot_refs[wb_place_slot(c, p)]);
		pieces[nr++] = (struct piece){
			.place = p,
			.mask = mask,
			.clean = wb_place_id(c, p) <= READ_ONCE(c->log.order.migrated),
		};
	}
	*missing = left;
	return nr;
}

static u64 place_offset(const struct wb_cache *c, u32 place)
{
	return WB_FIRST_SLOT_OFFSET + ((u64)place << WB_BLOCK_SHIFT);
}

/*
 * Read the pieces that are on the cache device. @missing: sectors to be read from the backing device;
 * those of clean pieces are added that cannot be read (@again: they have failed just now). Puts the
 * references. Return: 0 or -EIO.
 */
static int read_pieces(struct wb_cache *c, const struct piece *pieces, u32 nr, bool again, void *to,
		       void *tmp, u8 *missing)
{
	int err = 0, bad;
	u32 i;

	for (i = 0; i < nr; i++) {
		bad = again && pieces[i].clean;
		if (!err && !bad) {
			bad = wb_io_sync(c->cache, REQ_OP_READ, place_offset(c, pieces[i].place), tmp,
					 WB_BLOCK_SIZE);
			if (bad) {
				wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
				wb_degrade(c);
			}
		}
		wb_put_slot(c, wb_place_slot(c, pieces[i].place));
		if (bad && pieces[i].clean)
			*missing |= pieces[i].mask;
		else if (bad)
			err = -EIO;
		else if (!err)
			copy_sectors(to, tmp, pieces[i].mask);
	}
	return err;
}

static int compose_block(struct wb_cache *c, const struct want *w, bool again, void *to, void *tmp)
{
	struct piece pieces[WB_BLOCK_SECTORS];
	spinlock_t *lock = wb_bucket_lock(c, w->block);
	bool rotten = false;
	u8 missing;
	int err;
	u32 nr;

	spin_lock(lock);
	nr = find_pieces(c, w, pieces, to, &missing, &rotten);
	spin_unlock(lock);
	if (rotten) {
		while (nr)
			wb_put_slot(c, wb_place_slot(c, pieces[--nr].place));
		return -EIO;
	}
	err = read_pieces(c, pieces, nr, again, to, tmp, &missing);
	if (err || !missing)
		return err;
	err = wb_io_sync(c->backing, REQ_OP_READ, w->block << WB_BLOCK_SHIFT, tmp,
			 hweight8(wb_block_mask(&c->super.geom, w->block)) << SECTOR_SHIFT);
	if (err) {
		wb_stat_add(c, WB_STAT_BACKING_ERRORS, 1);
		wb_degrade(c);
		return err;
	}
	copy_sectors(to, tmp, missing);
	return 0;
}

static void compose(struct work_struct *work)
{
	struct bio *bio = wb_slow_bio(work);
	struct wb_cache *c = wb_bio(bio)->c;
	bool again = wb_bio(bio)->kind == WB_BIO_READ_AGAIN;
	struct bvec_iter it = bio->bi_iter;
	struct page *pages = mempool_alloc(&c->page_pool, GFP_NOIO);
	void *to = page_address(pages);
	struct want w;
	int err = 0;

	while (!err && it.bi_size) {
		w = want_at(it.bi_sector, it.bi_size >> SECTOR_SHIFT);
		err = compose_block(c, &w, again, to, to + WB_BLOCK_SIZE);
		if (!err)
			copy_to_bio(bio, &it, to + (w.first << SECTOR_SHIFT), w.nr);
	}
	mempool_free(pages, &c->page_pool);
	wb_bio(bio)->kind = WB_BIO_PLAIN;
	bio->bi_status = errno_to_blk_status(err);
	bio_endio(bio);
}

/* ---------------------------------------------------------------- mapping */

/*
 * From @it on, how many sectors lie the same way: all on the backing device, or one behind the
 * other in the slot of @place. The bio's first part is known to.
 */
static u32 extend(struct wb_cache *c, enum where how, u32 place, u64 sector, u32 done, u32 total)
{
	u32 slot = wb_place_slot(c, place), next;
	struct want w;
	spinlock_t *lock;
	bool same;

	while (done < total) {
		w = want_at(sector + done, total - done);
		lock = wb_bucket_lock(c, w.block);
		spin_lock(lock);
		same = locate(c, &w, &next) == how;
		if (same && how == WB_ON_CACHE)
			same = next == ++place && wb_place_slot(c, next) == slot;
		spin_unlock(lock);
		if (!same)
			break;
		done += w.nr;
	}
	return done;
}

static void accept(struct bio *bio, u32 sectors)
{
	if (sectors < bio_sectors(bio))
		dm_accept_partial_bio(bio, sectors);
}

int wb_map_read(struct wb_cache *c, struct bio *bio)
{
	u64 sector = bio->bi_iter.bi_sector;
	u32 total = bio_sectors(bio), done = 0;
	struct bvec_iter it = bio->bi_iter;
	struct wb_bio *wb = wb_bio(bio);
	enum where where;
	spinlock_t *lock;
	struct want w;
	u32 place = 0;

	do {
		w = want_at(sector + done, total - done);
		lock = wb_bucket_lock(c, w.block);
		spin_lock(lock);
		where = locate(c, &w, &place);
		if (where == WB_IN_RAM && !copy_from_ram(c, bio, &it, &w, place))
			where = WB_ON_CACHE;
		if (where == WB_ON_CACHE && !done)
			atomic_inc(&c->slot_refs[wb_place_slot(c, place)]);
		spin_unlock(lock);
		if (where != WB_IN_RAM)
			break;
		wb_stat_add(c, WB_STAT_READ_RAM, 1);
		done += w.nr;
	} while (done < total);

	if (done) {
		accept(bio, done);
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	}

	/* A cache device of larger sectors cannot be asked for less than a block. */
	if (where == WB_ON_CACHE && unlikely(c->bounce_reads) && w.mask != WB_MASK_ALL) {
		wb_put_slot(c, wb_place_slot(c, place));
		wb_stat_add(c, WB_STAT_READ_CACHE, 1);
		accept(bio, w.nr);
		return wb_go_slow(c, c->slow_wq, bio, compose);
	}

	switch (where) {
	case WB_ON_CACHE:
		done = extend(c, where, place, sector, w.nr, total);
		if (unlikely(c->bounce_reads))
			done &= ~(WB_BLOCK_SECTORS - 1);
		accept(bio, done);
		wb_stat_add(c, WB_STAT_READ_CACHE, (w.first + done + 7) >> WB_BLOCK_SECTOR_SHIFT);
		wb->kind = WB_BIO_READ_CACHE;
		wb->slot = wb_place_slot(c, place);
		bio_set_dev(bio, c->cache);
		wb->it = bio->bi_iter;
		bio->bi_iter.bi_sector = (place_offset(c, place) >> SECTOR_SHIFT) + w.first;
		return DM_MAPIO_REMAPPED;
	case WB_ON_BACKING:
		done = extend(c, where, 0, sector, w.nr, total);
		accept(bio, done);
		wb_stat_add(c, WB_STAT_READ_MISS, (w.first + done + 7) >> WB_BLOCK_SECTOR_SHIFT);
		wb->kind = WB_BIO_BACKING;
		bio_set_dev(bio, c->backing);
		return DM_MAPIO_REMAPPED;
	case WB_IN_PARTS:
		wb_stat_add(c, WB_STAT_READ_PARTIAL, 1);
		accept(bio, w.nr);
		return wb_go_slow(c, c->slow_wq, bio, compose);
	default:
		accept(bio, w.nr);
		return DM_MAPIO_KILL;
	}
}

/* A request to the backing device ended; @bad: with an error of the device. */
static void backing_ended(struct wb_cache *c, struct bio *bio, bool bad)
{
	if (likely(!bad))
		return;
	wb_stat_add(c, WB_STAT_BACKING_ERRORS, 1);
	wb_degrade(c);
	/* It was, or had with it, a flush: what that covered may be lost, also of migration. */
	if (op_is_flush(bio->bi_opf))
		atomic_inc(&c->backing_flush_failures);
}

/*
 * What is read ahead, or is to fail fast, a device gives up where it would try anything else again: that
 * says nothing of its health. Whoever needs the data asks once more, and then it does.
 */
static bool is_optional(const struct bio *bio)
{
	return bio->bi_opf & (REQ_RAHEAD | REQ_FAILFAST_MASK);
}

int wb_end_bio(struct wb_cache *c, struct bio *bio, blk_status_t *status)
{
	struct wb_bio *wb = wb_bio(bio);
	bool bad = *status && *status != BLK_STS_DM_REQUEUE && *status != BLK_STS_AGAIN &&
		   *status != BLK_STS_NOTSUPP;

	switch (wb->kind) {
	case WB_BIO_READ_CACHE:
		wb_put_slot(c, wb->slot);
		if (likely(!bad))
			break;
		wb->kind = WB_BIO_PLAIN;
		if (!is_optional(bio)) {
			wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
			wb_degrade(c);
			wb->kind = WB_BIO_READ_AGAIN;
		}
		bio->bi_iter = wb->it;
		wb_go_slow(c, c->slow_wq, bio, compose);
		return DM_ENDIO_INCOMPLETE;
	case WB_BIO_FLUSH_BACKING:
		if (likely(!*status)) {
			if (!wb_through_flushed(c, wb->need))
				*status = BLK_STS_IOERR;
		} else {
			backing_ended(c, bio, bad);
		}
		break;
	case WB_BIO_THROUGH:
		/* Counted before it is acknowledged: a FLUSH issued after that covers it. */
		if (likely(!*status) && bio_op(bio) != REQ_OP_DISCARD)
			atomic64_inc(&c->through_done);
		wb_leave_through(c);
		backing_ended(c, bio, bad);
		break;
	case WB_BIO_BYPASS:
		backing_ended(c, bio, bad);
		/* Its user is not told of a flush that failed with it, for it is written again. */
		if (unlikely(bad))
			wb_through_lost(c);
		return wb_bypass_end(c, bio, bad);
	case WB_BIO_BACKING:
		backing_ended(c, bio, bad && !is_optional(bio));
		break;
	}
	wb->kind = WB_BIO_PLAIN;
	return DM_ENDIO_DONE;
}
