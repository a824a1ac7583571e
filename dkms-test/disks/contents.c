// SPDX-License-Identifier: GPL-2.0
/*
 * What is on a simulated disk, and what is not quite there yet.
 *
 * Two stores of pages: what reads see, and what is durable; a disk without a volatile cache has the
 * first alone, which then is durable too. Beside them, the list of the writes that are in the first
 * and not in the second. A flush copies the writes it covers, in their order, to the durable store.
 * After a power cut the durable store takes what the dice say, and the first store is made equal to
 * it wherever a listed write had been.
 *
 * Pages are added before a request starts, when it may sleep, and never go away before the disk
 * does: so completions find them, and allocate nothing.
 */
#include <linux/bitmap.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "wbdisk.h"

static struct xarray *wbd_durable(struct wbd_disk *disk)
{
	return disk->params.volatile_cache ? &disk->durable_pages : &disk->current_pages;
}

static u64 wbd_page_of(struct wbd_disk *disk, u64 sector)
{
	return sector * disk->params.sector >> PAGE_SHIFT;
}

/* The place of a logical sector in its page; NULL where there is none, and so zeroes. */
static u8 *wbd_place(struct wbd_disk *disk, struct xarray *store, u64 sector)
{
	struct page *page = xa_load(store, wbd_page_of(disk, sector));

	return page ? page_address(page) + offset_in_page(sector * disk->params.sector) : NULL;
}

static int wbd_store_prepare(struct wbd_disk *disk, struct xarray *store, u64 first, u32 count)
{
	u64 index;

	for (index = wbd_page_of(disk, first); index <= wbd_page_of(disk, first + count - 1);
	     index++) {
		struct page *page;
		void *old;

		if (xa_load(store, index))
			continue;
		page = alloc_page(GFP_NOIO | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		old = xa_cmpxchg(store, index, NULL, page, GFP_NOIO);
		if (old)
			__free_page(page);
		if (xa_is_err(old))
			return xa_err(old);
	}
	return 0;
}

/**
 * wbd_contents_prepare() - see to it that a write finds its pages
 * @disk: the disk
 * @first: first logical sector
 * @count: logical sectors
 *
 * May sleep. Return: 0 or -ENOMEM.
 */
int wbd_contents_prepare(struct wbd_disk *disk, u64 first, u32 count)
{
	int r = wbd_store_prepare(disk, &disk->current_pages, first, count);

	if (!r && disk->params.volatile_cache)
		r = wbd_store_prepare(disk, &disk->durable_pages, first, count);
	return r;
}

/* Call @step for each piece of a request's data, none of which crosses a page of the store. */
static void wbd_each_piece(struct request *rq, void *context,
			   void (*step)(void *context, u64 position, void *data, u32 length))
{
	struct req_iterator iter;
	struct bio_vec bv;
	u64 position = 0;

	rq_for_each_segment(bv, rq, iter) {
		void *data = bvec_kmap_local(&bv);
		u32 done = 0;

		while (done < bv.bv_len) {
			u64 at = (blk_rq_pos(rq) << SECTOR_SHIFT) + position;
			u32 length = min_t(u32, bv.bv_len - done, PAGE_SIZE - offset_in_page(at));

			step(context, position, data + done, length);
			position += length;
			done += length;
		}
		kunmap_local(data);
	}
}

struct wbd_reading {
	struct wbd_disk *disk;
	u64 start;
};

static void wbd_read_piece(void *context, u64 position, void *data, u32 length)
{
	struct wbd_reading *reading = context;
	u64 at = reading->start + position;
	struct page *page = xa_load(&reading->disk->current_pages, at >> PAGE_SHIFT);

	if (page)
		memcpy(data, page_address(page) + offset_in_page(at), length);
	else
		memset(data, 0, length);
}

/**
 * wbd_contents_read() - give a read what the disk holds now
 * @disk: the disk
 * @rq: the read
 *
 * Context: wbd_lock held.
 */
void wbd_contents_read(struct wbd_disk *disk, struct request *rq)
{
	struct wbd_reading reading = { .disk = disk, .start = blk_rq_pos(rq) << SECTOR_SHIFT };

	wbd_each_piece(rq, &reading, wbd_read_piece);
}

/**
 * wbd_write_alloc() - what is needed to remember a write or a discard
 * @disk: the disk
 * @rq: the request
 *
 * May sleep. Return: NULL without memory.
 */
struct wbd_write *wbd_write_alloc(struct wbd_disk *disk, struct request *rq)
{
	u32 unit = disk->params.sector;
	u64 first = (blk_rq_pos(rq) << SECTOR_SHIFT) / unit;
	u32 count = blk_rq_bytes(rq) / unit;
	bool zeroes = req_op(rq) == REQ_OP_DISCARD;
	size_t bytes = zeroes ? 0 : blk_rq_bytes(rq);
	struct wbd_write *write;

	if (!zeroes && wbd_contents_prepare(disk, first, count))
		return NULL;
	write = kvzalloc(sizeof(*write) + bytes + BITS_TO_LONGS(count) * sizeof(long), GFP_NOIO);
	if (!write)
		return NULL;
	INIT_LIST_HEAD(&write->node);
	write->first = first;
	write->count = count;
	write->zeroes = zeroes;
	write->sampled = zeroes;
	write->fua = rq->cmd_flags & REQ_FUA;
	/* @bytes is a multiple of a sector, so this is aligned. */
	write->superseded = (unsigned long *)(write->data + bytes);
	return write;
}

static void wbd_sample_piece(void *context, u64 position, void *data, u32 length)
{
	struct wbd_write *write = context;

	memcpy(write->data + position, data, length);
}

/**
 * wbd_write_sample() - take the data out of the request, unless that has been done
 * @disk: the disk
 * @write: the write, which nobody else is looking at
 * @rq: its request
 */
void wbd_write_sample(struct wbd_disk *disk, struct wbd_write *write, struct request *rq)
{
	if (write->sampled)
		return;
	wbd_each_piece(rq, write, wbd_sample_piece);
	write->sampled = true;
}

/**
 * wbd_write_free() - forget a write
 * @write: not on a list; or NULL
 *
 * Context: any but NMI.
 */
void wbd_write_free(struct wbd_write *write)
{
	kvfree(write);
}

/*
 * Put sector @i of a write where it belongs; @bytes < the sector's size tears it, and leaves the
 * rest as it was.
 */
static void wbd_apply_sector(struct wbd_disk *disk, struct xarray *store, struct wbd_write *write,
			     u32 i, u32 bytes)
{
	u8 *place = wbd_place(disk, store, write->first + i);

	if (!write->zeroes)
		memcpy(place, write->data + (size_t)i * disk->params.sector, bytes);
	else if (place)
		memset(place, 0, bytes);
}

static void wbd_apply(struct wbd_disk *disk, struct xarray *store, struct wbd_write *write)
{
	u32 i;

	for_each_clear_bit(i, write->superseded, write->count)
		wbd_apply_sector(disk, store, write, i, disk->params.sector);
}

static u64 wbd_write_bytes(struct wbd_disk *disk, struct wbd_write *write)
{
	return write->zeroes ? 0 : (u64)write->count * disk->params.sector;
}

static void wbd_forget(struct wbd_disk *disk, struct wbd_write *write)
{
	list_del(&write->node);
	disk->unflushed_bytes -= wbd_write_bytes(disk, write);
	wbd_write_free(write);
}

static void wbd_remember(struct wbd_disk *disk, struct wbd_write *write)
{
	list_add_tail(&write->node, &disk->unflushed);
	disk->unflushed_bytes += wbd_write_bytes(disk, write);
	disk->stats.max_unflushed = max(disk->stats.max_unflushed, disk->unflushed_bytes);
}

/* The sectors of @newer are durable: no older version of them may come up any more. */
static void wbd_supersede(struct wbd_disk *disk, struct wbd_write *newer)
{
	struct wbd_write *older;

	list_for_each_entry(older, &disk->unflushed, node) {
		u64 first = max(older->first, newer->first);
		u64 end = min(older->first + older->count, newer->first + newer->count);

		if (first < end)
			bitmap_set(older->superseded, first - older->first, end - first);
	}
}

/**
 * wbd_write_complete() - a write or discard has been served
 * @disk: the disk
 * @write: sampled; it belongs to the disk from now on
 *
 * Context: wbd_lock held.
 */
void wbd_write_complete(struct wbd_disk *disk, struct wbd_write *write)
{
	struct wbd_write *oldest, *next;

	wbd_apply(disk, &disk->current_pages, write);
	write->number = ++disk->completed;
	if (!disk->params.volatile_cache) {
		wbd_write_free(write);
		return;
	}
	if (write->fua) {
		wbd_supersede(disk, write);
		wbd_apply(disk, &disk->durable_pages, write);
		wbd_write_free(write);
		return;
	}
	wbd_remember(disk, write);
	list_for_each_entry_safe(oldest, next, &disk->unflushed, node) {
		if (disk->unflushed_bytes <= disk->params.volatile_max)
			break;
		if (oldest->lost)
			continue;
		wbd_apply(disk, &disk->durable_pages, oldest);
		wbd_forget(disk, oldest);
	}
}

/**
 * wbd_write_in_doubt() - power was cut while a write was under way
 * @disk: the disk, whose power is being cut
 * @write: sampled; it belongs to the disk from now on, and reads do not see it
 *
 * Context: wbd_lock held.
 */
void wbd_write_in_doubt(struct wbd_disk *disk, struct wbd_write *write)
{
	wbd_remember(disk, write);
}

/**
 * wbd_flush_complete() - a flush has been served, or has failed
 * @disk: the disk
 * @covers: the number of the last write that had completed when the flush was issued
 * @lose: it failed, and the disk will not try those writes again: no later flush covers them
 *
 * Context: wbd_lock held.
 */
void wbd_flush_complete(struct wbd_disk *disk, u64 covers, bool lose)
{
	struct wbd_write *write, *next;

	list_for_each_entry_safe(write, next, &disk->unflushed, node) {
		if (write->number > covers)
			break;
		if (lose)
			write->lost = true;
		if (write->lost)
			continue;
		wbd_apply(disk, &disk->durable_pages, write);
		wbd_forget(disk, write);
	}
}

/* Throw the dice for one version of one sector. @chance: percent. */
static void wbd_revive_sector(struct wbd_disk *disk, struct wbd_write *write, u32 i, u32 chance,
			      u64 *random)
{
	u32 bytes = disk->params.sector;

	if (!wbd_chance(random, chance)) {
		disk->stats.lost++;
		return;
	}
	disk->stats.survived++;
	/* A discard changes a map, not a sector. */
	if (!write->zeroes && wbd_chance(random, disk->cut_torn)) {
		disk->stats.torn++;
		bytes = 1 + wbd_below(random, bytes - 1);
	}
	wbd_apply_sector(disk, wbd_durable(disk), write, i, bytes);
}

/**
 * wbd_contents_revive() - power is back after a cut: decide what the disk holds
 * @disk: the disk, without power
 *
 * The seed decides, first, how much survives, from little to nearly all, and whether whole writes
 * do or sectors each by themselves: both are what caches do, and they find different errors.
 *
 * May sleep; wbd_control held, wbd_lock not.
 */
void wbd_contents_revive(struct wbd_disk *disk)
{
	static const u8 chances[] = { 5, 30, 50, 70, 95 };
	u64 random = disk->cut_seed;
	u32 chance = chances[wbd_below(&random, ARRAY_SIZE(chances))];
	bool whole_writes = wbd_chance(&random, 40);
	struct wbd_write *write, *next;
	u32 i;

	if (disk->cut_keep != WBD_KEEP_RANDOM) {
		chance = disk->cut_keep == WBD_KEEP_ALL ? 100 : 0;
		whole_writes = false;
	}
	list_for_each_entry(write, &disk->unflushed, node) {
		u32 mine = chance;

		if (whole_writes)
			mine = wbd_chance(&random, chance) ? 100 : 0;
		for_each_clear_bit(i, write->superseded, write->count)
			wbd_revive_sector(disk, write, i, mine, &random);
	}
	list_for_each_entry_safe(write, next, &disk->unflushed, node) {
		for (i = 0; disk->params.volatile_cache && i < write->count; i++) {
			u8 *place = wbd_place(disk, &disk->current_pages, write->first + i);
			u8 *durable = wbd_place(disk, &disk->durable_pages, write->first + i);

			/* A write has both; a discard that met no pages has neither. */
			if (place && durable)
				memcpy(place, durable, disk->params.sector);
		}
		wbd_forget(disk, write);
	}
}

static void wbd_store_free(struct xarray *store)
{
	struct page *page;
	unsigned long index;

	xa_for_each(store, index, page)
		__free_page(page);
	xa_destroy(store);
}

/**
 * wbd_contents_free() - the disk is no more
 * @disk: the disk, without requests
 */
void wbd_contents_free(struct wbd_disk *disk)
{
	struct wbd_write *write, *next;

	list_for_each_entry_safe(write, next, &disk->unflushed, node)
		wbd_forget(disk, write);
	wbd_store_free(&disk->current_pages);
	wbd_store_free(&disk->durable_pages);
}
