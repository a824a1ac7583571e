// SPDX-License-Identifier: GPL-2.0
/*
 * Writes. Each goes whole into the RAM buffer, and is acknowledged when it is published in the
 * index (a FUA write when its chunk is durable); but for those that go past the log, in mode drained or
 * because it is nearly full (bypass.c).
 *
 * A small write whose block was written a moment ago, and lies in the chunk still open, overwrites
 * that copy in place: the log has it once (absorbed). This is done under the bucket lock, so it
 * excludes the readers and other writers of that copy; and the chunk is pinned, so it cannot be
 * sealed meanwhile.
 *
 * A write that finds no room is held, with what is left of it in bio->bi_iter, and goes on from the
 * flush daemon. A write that overlaps one not yet acknowledged may land on either side of it, as on
 * any disk.
 */
#include "daemons/daemons.h"

/* The part of block @block that [sector, end) covers. */
struct part {
	u64 block;
	u32 first;	/* sector in the block */
	u32 nr;		/* sectors */
};

static u8 part_mask(const struct part *p)
{
	return (WB_MASK_ALL >> (WB_BLOCK_SECTORS - p->nr)) << p->first;
}

static struct part first_part(const struct bvec_iter *it)
{
	struct part p = {
		.block = it->bi_sector >> WB_BLOCK_SECTOR_SHIFT,
		.first = it->bi_sector & (WB_BLOCK_SECTORS - 1),
	};

	p.nr = min_t(u32, WB_BLOCK_SECTORS - p.first, it->bi_size >> SECTOR_SHIFT);
	return p;
}

/* Copy the next @nr sectors of @bio to @to, and move on. */
static void copy_from_bio(struct bio *bio, void *to, u32 nr)
{
	u32 left = nr << SECTOR_SHIFT, len;
	struct bio_vec bv;

	while (left) {
		bv = bio_iter_iovec(bio, bio->bi_iter);
		len = min(bv.bv_len, left);
		memcpy_from_page(to, bv.bv_page, bv.bv_offset, len);
		bio_advance_iter_single(bio, &bio->bi_iter, len);
		to += len;
		left -= len;
	}
}

/* A write of sectors @mask over a block whose newest copy is at @newest. Needs the bucket lock. */
static void count_hit(struct wb_cache *c, u32 newest, u8 mask)
{
	u64 id = wb_place_id(c, newest);

	if (~mask & c->index.entries[newest].mask)
		wb_stat_add(c, WB_STAT_WRITE_PARTIAL, 1);
	else if (READ_ONCE(c->log.bufs[id % WB_NR_RAMBUFS].id) == id)
		wb_stat_add(c, WB_STAT_WRITE_RAM, 1);
	else
		wb_stat_add(c, WB_STAT_WRITE_CACHE, 1);
}

/*
 * Overwrite the newest copy of the block in place, if it is in the open chunk. Return: true if
 * done.
 */
static bool absorb(struct wb_cache *c, struct bio *bio, const struct part *p, u64 *seq)
{
	struct wb_index_entry *e;
	struct wb_index_view v;
	struct wb_entry disk;
	struct wb_spot spot;
	spinlock_t *lock = wb_bucket_lock(c, p->block);
	u32 place, block;
	u8 mask;
	void *to;

	spin_lock(lock);
	place = wb_index_first(&c->index, p->block);
	if (place == WB_NO_PLACE ||
	    !wb_log_pin(&c->log, wb_place_id(c, place), wb_place_block(c, place), &spot)) {
		spin_unlock(lock);
		return false;
	}
	e = &c->index.entries[place];
	mask = e->mask | part_mask(p);
	block = wb_place_block(c, place);
	to = wb_log_block(spot.chunk->buf, block);
	count_hit(c, place, part_mask(p));
	copy_from_bio(bio, to + (p->first << SECTOR_SHIFT), p->nr);
	disk = (struct wb_entry){
		.block = p->block, .mask = mask, .crc = wb_data_crc(to, mask),
	};
	wb_entry_encode(wb_log_header(spot.chunk), block - spot.chunk->start - 1, &disk);
	wb_view(c, &v);
	wb_index_grow(&c->index, place, mask, &v, wb_count_live, c);
	spin_unlock(lock);

	wb_stat_add(c, WB_STAT_ABSORBED, 1);
	*seq = spot.chunk->seq;
	if (wb_log_done(&c->log, &spot))
		wb_flush_push(c);
	return true;
}

/*
 * Copy one part of the bio to a reserved block, checksum it there, and publish it. Return: whether the
 * block had no copy before.
 */
static bool put_block(struct wb_cache *c, struct bio *bio, const struct part *p,
		      const struct wb_spot *spot, u32 base, u32 block)
{
	void *to = wb_log_block(spot->chunk->buf, block);
	spinlock_t *lock = wb_bucket_lock(c, p->block);
	struct wb_entry disk = { .block = p->block, .mask = part_mask(p) };
	struct wb_index_view v;
	u32 newest;

	copy_from_bio(bio, to + (p->first << SECTOR_SHIFT), p->nr);
	disk.crc = wb_data_crc(to, disk.mask);
	wb_entry_encode(wb_log_header(spot->chunk), block - spot->chunk->start - 1, &disk);

	spin_lock(lock);
	newest = wb_index_first(&c->index, p->block);
	if (likely(newest == WB_NO_PLACE)) {
		wb_index_insert_only(&c->index, p->block, base + block, disk.mask);
	} else {
		wb_view(c, &v);
		count_hit(c, newest, disk.mask);
		wb_index_insert(&c->index, p->block, base + block, disk.mask, &v, wb_count_live,
				c);
	}
	spin_unlock(lock);
	return newest == WB_NO_PLACE;
}

/* Put as much of the bio as fits into what was reserved. */
static void fill_spot(struct wb_cache *c, struct bio *bio, const struct wb_spot *spot)
{
	u32 slot = wb_slot_of(&c->super.geom, spot->chunk->id);
	u32 base = slot << c->index.slot_shift, misses = 0, i;
	struct part p;

	wb_bypass_cross(c);
	/* With the header of a chunk that it begins. */
	wb_pace_charge(c, spot->nr + (spot->block == spot->chunk->start + 1));
	/* Count first those that nobody else counts: never a moment with too few. */
	atomic_add(spot->nr, &c->slot_live[slot]);
	for (i = 0; i < spot->nr; i++) {
		p = first_part(&bio->bi_iter);
		misses += put_block(c, bio, &p, spot, base, spot->block + i);
	}
	if (misses)
		wb_stat_add(c, WB_STAT_WRITE_MISS, misses);
	if (misses < spot->nr)
		atomic_sub(spot->nr - misses, &c->slot_live[slot]);
}

/* Return: true when all of the bio is in the log, the last part in chunk *@seq. */
static bool append(struct wb_cache *c, struct bio *bio, u64 *seq)
{
	struct wb_spot spot;
	struct part p;

	if (wb_nr_blocks(&bio->bi_iter) == 1) {
		p = first_part(&bio->bi_iter);
		if (absorb(c, bio, &p, seq))
			return true;
	}
	while (bio->bi_iter.bi_size) {
		if (!wb_log_reserve(&c->log, wb_nr_blocks(&bio->bi_iter), &spot)) {
			wb_flush_push(c);
			if (!wb_log_reserve(&c->log, wb_nr_blocks(&bio->bi_iter), &spot))
				return false;
		}
		fill_spot(c, bio, &spot);
		*seq = spot.chunk->seq;
		if (wb_log_done(&c->log, &spot) || spot.last)
			wb_flush_push(c);
	}
	return true;
}

static void through(struct wb_cache *c, struct bio *bio)
{
	wb_bio(bio)->kind = WB_BIO_THROUGH;
	wb_stat_add(c, WB_STAT_WRITE_MISS, wb_nr_blocks(&bio->bi_iter));
	bio_set_dev(bio, c->backing);
}

void wb_leave_through(struct wb_cache *c)
{
	if (atomic_dec_and_test(&c->through) && READ_ONCE(c->mode) == WB_MODE_HOLD)
		wb_migrate_kick(c);
}

/*
 * The count is raised before the mode is looked at, and whoever leaves mode drained sets the mode
 * before looking at the count, so one of the two sees the other.
 */
bool wb_enter_through(struct wb_cache *c)
{
	if (likely(READ_ONCE(c->mode) != WB_MODE_DRAINED))
		return false;
	atomic_inc(&c->through);
	smp_mb__after_atomic();
	if (READ_ONCE(c->mode) == WB_MODE_DRAINED)
		return true;
	wb_leave_through(c);
	return false;
}

static void finish(struct wb_cache *c, struct bio *bio, u64 seq)
{
	if (bio->bi_opf & REQ_FUA)
		wb_flush_fua(c, bio, seq);
	else
		bio_endio(bio);
}

bool wb_write_continue(struct wb_cache *c, struct bio *bio)
{
	u64 seq = 0;

	if (wb_enter_through(c)) {
		through(c, bio);
		submit_bio_noacct(bio);
		return true;
	}
	if (!append(c, bio, &seq))
		return false;
	finish(c, bio, seq);
	return true;
}

int wb_map_write(struct wb_cache *c, struct bio *bio)
{
	u64 seq = 0;

	if (wb_enter_through(c)) {
		through(c, bio);
		return DM_MAPIO_REMAPPED;
	}
	if (wb_failed(c))
		return DM_MAPIO_KILL;
	if (unlikely(READ_ONCE(c->tight)) && wb_may_bypass(c, bio))
		return wb_map_bypass(c, bio);
	/* Who waits already goes first. */
	if (READ_ONCE(c->nr_deferred) || !wb_pace_allows(c) || !append(c, bio, &seq))
		wb_flush_defer(c, bio);
	else
		finish(c, bio, seq);
	return DM_MAPIO_SUBMITTED;
}

/*
 * An entry of its own, with no data: blocks from @block on were discarded. Return: false if there is
 * no room now; else @place and @seq say where it stands.
 */
bool wb_log_tombstone(struct wb_cache *c, u64 block, u32 nr, u32 *place, u64 *seq)
{
	struct wb_entry disk = { .block = block, .crc = nr, .flags = WB_ENTRY_TOMBSTONE };
	struct wb_spot spot;
	u32 slot;

	if (!wb_log_reserve(&c->log, 1, &spot)) {
		wb_flush_push(c);
		if (!wb_log_reserve(&c->log, 1, &spot))
			return false;
	}
	wb_entry_encode(wb_log_header(spot.chunk), spot.block - spot.chunk->start - 1, &disk);
	slot = wb_slot_of(&c->super.geom, spot.chunk->id);
	atomic_inc(&c->slot_refs[slot]);	/* its chunk is open: it cannot be reused yet */
	*place = (slot << c->index.slot_shift) + spot.block;
	*seq = spot.chunk->seq;
	if (wb_log_done(&c->log, &spot) || spot.last)
		wb_flush_push(c);
	return true;
}
