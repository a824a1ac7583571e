// SPDX-License-Identifier: GPL-2.0
/*
 * How long requests take. A model says, when a request is issued, when it will be done; timers do
 * the rest, so this also holds on a guest's virtual clock.
 *
 * none: a short time, spread at random so that requests overtake each other.
 *
 * ssd: so many channels, each serving one request at a time: a fixed time, and so much a KiB.
 * A flush waits for all of them, and takes its own time.
 *
 * net: a latency, with jitter, and a wire that carries one request after the other.
 *
 * disk: one arm. A request that does not go on where the last one ended pays for a seek, which
 * grows with the square root of the distance, and for half a turn on average; each pays for
 * its transfer. With a write cache, a write is done as soon as it is transferred to the cache,
 * unless that is full. The arm empties the cache whenever it has nothing else to do, in
 * ascending order from where it stands; neighbours in the cache are one access. A flush
 * empties it.
 *
 * This is about time alone: what survives a power cut is contents.c's business, which takes any
 * subset of what was not flushed, whatever the arm would have done by then.
 *
 * The disk's cache is emptied after the fact: at the next request, or for the figures, the model
 * works out what the arm has done since.
 */
#include <linux/kernel.h>
#include <linux/math.h>
#include <linux/math64.h>
#include <linux/slab.h>

#include "wbdisk.h"

/* Sectors [first, end) in the write cache of a disk. */
struct wbd_extent {
	struct rb_node node;
	u64 first, end;
};

static u64 wbd_us(u64 us)
{
	return us * NSEC_PER_USEC;
}

static u64 wbd_transfer_ns(u32 mb_per_s, u32 sectors)
{
	return mb_per_s ? div_u64((u64)sectors * SECTOR_SIZE * 1000, mb_per_s) : 0;
}

/* --- A disk with an arm ----------------------------------------------------------------------- */

/* One access of the arm. Return: ns. */
static u64 wbd_arm_ns(struct wbd_disk *disk, u64 sector, u32 sectors)
{
	struct wbd_params *p = &disk->params;
	struct wbd_mechanics *m = &disk->mechanics;
	u64 all = p->size >> SECTOR_SHIFT, distance, seek = 0, turn;

	if (sector != m->head) {
		distance = sector > m->head ? sector - m->head : m->head - sector;
		/* The distance in 2^-20 of the whole way; its root, in 2^-10. */
		seek = wbd_us(p->seek_min_us) +
		       wbd_us(p->seek_max_us - min(p->seek_min_us, p->seek_max_us)) *
		       int_sqrt64(div64_u64(distance << 20, all)) / 1024;
		turn = div_u64(60ull * NSEC_PER_SEC, p->rpm);
		seek += p->reorder ? wbd_below(&disk->random, turn) : turn / 2;
		disk->stats.seeks++;
		disk->stats.seek_ns += seek;
	}
	m->head = sector + sectors;
	seek += wbd_transfer_ns(p->rate, sectors);
	disk->stats.busy_ns += seek;
	return seek;
}

static struct wbd_extent *wbd_extent_at(struct rb_node *node)
{
	return rb_entry_safe(node, struct wbd_extent, node);
}

static void wbd_extent_drop(struct wbd_mechanics *m, struct wbd_extent *e)
{
	m->dirty_bytes -= (e->end - e->first) << SECTOR_SHIFT;
	rb_erase(&e->node, &m->dirty);
	kfree(e);
}

/* The first extent that ends at @sector or behind it. */
static struct wbd_extent *wbd_extent_from(struct wbd_mechanics *m, u64 sector)
{
	struct rb_node *node = m->dirty.rb_node;
	struct wbd_extent *found = NULL;

	while (node) {
		struct wbd_extent *e = wbd_extent_at(node);

		if (e->end >= sector) {
			found = e;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

/* Into the cache; joins what it touches. Return: false without memory. */
static bool wbd_extent_add(struct wbd_mechanics *m, u64 first, u64 end)
{
	struct rb_node **link = &m->dirty.rb_node, *parent = NULL;
	struct wbd_extent *e, *new = kmalloc(sizeof(*new), GFP_ATOMIC);

	if (!new)
		return false;
	while ((e = wbd_extent_from(m, first)) && e->first <= end) {
		first = min(first, e->first);
		end = max(end, e->end);
		wbd_extent_drop(m, e);
	}
	while (*link) {
		parent = *link;
		link = first < wbd_extent_at(parent)->first ? &parent->rb_left : &parent->rb_right;
	}
	*new = (struct wbd_extent){ .first = first, .end = end };
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &m->dirty);
	m->dirty_bytes += (end - first) << SECTOR_SHIFT;
	return true;
}

/* The arm puts one extent where it belongs: the next one upwards, or again from the bottom. */
static void wbd_destage_one(struct wbd_disk *disk)
{
	struct wbd_mechanics *m = &disk->mechanics;
	struct wbd_extent *e = wbd_extent_from(m, m->head);

	if (!e)
		e = wbd_extent_at(rb_first(&m->dirty));
	m->free_at[0] += wbd_arm_ns(disk, e->first, e->end - e->first);
	wbd_extent_drop(m, e);
}

/* What the arm has done with its time until @now. */
static void wbd_catch_up(struct wbd_disk *disk, u64 now)
{
	struct wbd_mechanics *m = &disk->mechanics;

	while (m->free_at[0] < now && m->dirty_bytes)
		wbd_destage_one(disk);
	m->free_at[0] = max(m->free_at[0], now);
}

static u64 wbd_disk_finish(struct wbd_disk *disk, enum wbd_op op, u64 sector, u32 sectors, u64 now)
{
	struct wbd_mechanics *m = &disk->mechanics;
	u64 bytes = (u64)sectors << SECTOR_SHIFT, start = now;

	wbd_catch_up(disk, now);
	switch (op) {
	case WBD_FLUSH:
		while (m->dirty_bytes)
			wbd_destage_one(disk);
		return m->free_at[0];
	case WBD_DISCARD:
		return m->free_at[0];
	case WBD_WRITE:
		if (bytes > disk->params.wcache)
			break;
		/* Room is there when the arm has made it. */
		while (m->dirty_bytes + bytes > disk->params.wcache) {
			wbd_destage_one(disk);
			start = m->free_at[0];
		}
		if (wbd_extent_add(m, sector, sector + sectors))
			return start + wbd_transfer_ns(disk->params.rate, sectors);
		break;
	default:
		break;
	}
	m->free_at[0] += wbd_arm_ns(disk, sector, sectors);
	return m->free_at[0];
}

/* --- The others ------------------------------------------------------------------------------- */

static u64 wbd_ssd_finish(struct wbd_disk *disk, enum wbd_op op, u32 sectors, u64 now)
{
	struct wbd_params *p = &disk->params;
	u64 *free_at = disk->mechanics.free_at, took, finish = now;
	u32 i, best = 0;

	if (op == WBD_FLUSH) {
		for (i = 0; i < p->channels; i++)
			finish = max(finish, free_at[i]);
		finish += wbd_us(p->flush_us);
		for (i = 0; i < p->channels; i++)
			free_at[i] = finish;
		disk->stats.busy_ns += wbd_us(p->flush_us);
		return finish;
	}
	for (i = 1; i < p->channels; i++)
		if (free_at[i] < free_at[best])
			best = i;
	took = wbd_us(op == WBD_READ ? p->read_us : p->write_us);
	if (op != WBD_DISCARD)
		took += (u64)p->kib_ns * sectors / 2;
	free_at[best] = max(free_at[best], now) + took;
	disk->stats.busy_ns += took;
	return free_at[best];
}

static u64 wbd_net_finish(struct wbd_disk *disk, enum wbd_op op, u32 sectors, u64 now)
{
	struct wbd_params *p = &disk->params;
	u64 *wire = &disk->mechanics.free_at[0];
	u64 took = op == WBD_DISCARD ? 0 : wbd_transfer_ns(p->rate, sectors);

	*wire = max(*wire, now) + took;
	disk->stats.busy_ns += took;
	return *wire + wbd_us(p->latency_us) +
	       (p->jitter_us ? wbd_us(wbd_below(&disk->random, p->jitter_us)) : 0);
}

static u64 wbd_none_finish(struct wbd_disk *disk, enum wbd_op op, u64 now)
{
	struct wbd_params *p = &disk->params;
	u64 took = wbd_us(op == WBD_FLUSH ? p->flush_us : p->delay_us);

	if (p->reorder && took)
		took = took / 2 + wbd_below(&disk->random, min_t(u64, 2 * took, U32_MAX));
	disk->stats.busy_ns += took;
	return now + took;
}

/**
 * wbd_model_finish() - a request has been issued: when will it be done?
 * @disk: the disk
 * @op: what it does
 * @sector: where, sectors of 512 bytes
 * @sectors: how many
 * @now: the time, ns
 *
 * Context: wbd_lock held. Return: the time, ns, not before @now.
 */
u64 wbd_model_finish(struct wbd_disk *disk, enum wbd_op op, u64 sector, u32 sectors, u64 now)
{
	switch (disk->params.model) {
	case WBD_MODEL_DISK:
		return wbd_disk_finish(disk, op, sector, sectors, now);
	case WBD_MODEL_SSD:
		return wbd_ssd_finish(disk, op, sectors, now);
	case WBD_MODEL_NET:
		return wbd_net_finish(disk, op, sectors, now);
	default:
		return wbd_none_finish(disk, op, now);
	}
}

/**
 * wbd_model_catch_up() - the figures are wanted: bring them up to date
 * @disk: the disk
 * @now: the time, ns
 *
 * Context: wbd_lock held.
 */
void wbd_model_catch_up(struct wbd_disk *disk, u64 now)
{
	if (disk->params.model == WBD_MODEL_DISK)
		wbd_catch_up(disk, now);
}

/**
 * wbd_model_reset() - power was cut: nothing is under way, the caches are empty
 * @disk: the disk
 *
 * Context: wbd_lock held, or the disk is no more.
 */
void wbd_model_reset(struct wbd_disk *disk)
{
	struct wbd_mechanics *m = &disk->mechanics;
	struct rb_node *node;

	while ((node = rb_first(&m->dirty)))
		wbd_extent_drop(m, wbd_extent_at(node));
	memset(m->free_at, 0, sizeof(m->free_at));
}
