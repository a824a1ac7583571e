// SPDX-License-Identifier: GPL-2.0
/*
 * The migrate daemon: from the log to the backing device.
 *
 *   collect   segments that are closed and durable, up to nr_max_batched_migration of them at a
 *             time: read the headers; of each entry keep the sectors that no newer durable copy
 *             supersedes
 *   sweep     all these copies wait in one array, sorted by backing block (segment/sweep.h), which
 *             is gone through again and again while segments join and leave
 *   move      in windows: read the blocks from the cache device, verify their checksums, and write
 *             neighbours in one request; the next window is read while the last one is written
 *   settle    when the oldest segments are wholly written: flush the backing device, advance
 *             order.migrated, have it recorded when it matters. At once where room is short,
 *             otherwise many at a time, or at the end
 *
 * A batch lasts from the first segment that joins until none waits, or something fails. Segments
 * count as migrated up to the first one in which something could not be read; no more join after
 * that. A block whose checksum is wrong is never copied: it is reported, marked so that reads of it
 * get an error, and keeps its segment in the log until somebody overwrites the block. After a write
 * or flush that failed, nothing counts that was not settled before: it is collected again.
 *
 * Against newer writes: all that is in the sweep is durable, and a look at the index just before
 * the write says which sectors of a copy are still its own; so copies that are on their way
 * together never write the same sector. A newer copy that joins later is written later
 * (wb_window_step()). A copy that becomes superseded on its way is written for nothing and no
 * harm. Against discards: that look comes when the window has taken its range (segment/ranges.h). A
 * discard at work on one of these blocks has ended by then, or stepped aside, and the look sees what
 * is left; or it begins, or comes back, when the window is done.
 *
 * While room is short only as many of the oldest segments are served as there is room for
 * (sweep.h): the log gets room in small steps, before the last of it is used.
 *
 * Memory: 24 bytes for each block of at most WB_SWEEP_SEGMENTS segments, 1.5 MiB with segments of
 * 1 MiB; two windows of 512 pages; one segment for its headers, and its entries.
 *
 * One work item does all of it; it also takes the steps of drain.c.
 */
#include <linux/sort.h>
#include "migrator.h"
#include "../segment/pace.h"

#define SETTLE_MANY	32u	/* segments in one flush of the backing device, with room enough */
#define RETRY		(2 * HZ)
#define RETRY_STUCK	(10 * HZ)
#define STUCK_AFTER	5	/* failed batches in a row */

void wb_migrate_retry(struct wb_cache *c)
{
	WRITE_ONCE(c->migrator->retry_at, jiffies);
	wb_migrate_kick(c);
}

void wb_migrate_kick(struct wb_cache *c)
{
	struct wb_migrator *m = c->migrator;

	if (READ_ONCE(c->running) && !READ_ONCE(m->stop))
		mod_delayed_work(m->wq, &m->work, 0);
}

/* ---------------------------------------------------------------- collect */

void wb_migrate_bad_segment(struct wb_migrator *m, u64 id)
{
	if (!m->bad_id || id < m->bad_id)
		m->bad_id = id;
}

static bool is_linked(struct wb_cache *c, u32 place)
{
	return READ_ONCE(c->index.entries[place].flags) & WB_ENTRY_LINKED;
}

/*
 * The index was built from these headers. Where one says something else now, the media changed:
 * what is linked there must not count as migrated. Return: whether all is as it was.
 */
static bool collect_chunk(struct wb_migrator *m, const struct wb_header *h,
			  const struct wb_header_disk *raw)
{
	struct wb_cache *c = m->c;
	u32 base = wb_slot_of(&c->super.geom, h->id) << c->index.slot_shift;
	const struct wb_index_entry *entry;
	struct wb_index_view v;
	struct wb_entry e;
	struct wb_cand *cand;
	bool fits, same, linked;
	spinlock_t *lock;
	u32 i;

	fits = !is_linked(c, base + h->block);
	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			fits &= !is_linked(c, base + h->block + 1 + i);
			continue;
		}
		cand = &m->fresh[m->nr_fresh];
		*cand = (struct wb_cand){
			.block = e.block,
			.place = base + h->block + 1 + i,
			.crc = e.crc,
			.mask = e.mask,
			.segment = h->id % WB_SWEEP_SEGMENTS,
		};
		lock = wb_bucket_lock(c, e.block);
		spin_lock(lock);
		wb_view(c, &v);
		entry = &c->index.entries[cand->place];
		same = wb_index_block(entry) == e.block && entry->mask == e.mask;
		linked = entry->flags & WB_ENTRY_LINKED;
		cand->live = same ? wb_index_live(&c->index, cand->place, &v) : 0;
		spin_unlock(lock);
		fits &= same || !linked;
		if (cand->live)
			m->nr_fresh++;
	}
	return fits;
}

/* Is any copy behind @block of the slot still in the index? Then a header before it is unreadable. */
static bool leftover(struct wb_migrator *m, u64 id, u32 block)
{
	struct wb_cache *c = m->c;
	u32 base = wb_slot_of(&c->super.geom, id) << c->index.slot_shift;

	for (; block < c->super.geom.slot_blocks; block++)
		if (is_linked(c, base + block))
			return true;
	return false;
}

/*
 * The chunks of one segment, from the headers on the cache device. The first header is read alone:
 * a segment that was filled in one go has no other.
 */
static void collect_segment(struct wb_migrator *m, u64 id)
{
	struct wb_cache *c = m->c;
	const struct wb_geom *g = &c->super.geom;
	u64 offset = wb_slot_offset(g, wb_slot_of(g, id), 0);
	u32 block = 0, chunk = 0, have = 1;
	struct wb_header h;
	bool fits = true;
	void *at;
	int err;

	err = wb_io_sync(c->cache, REQ_OP_READ, offset, m->slot, WB_BLOCK_SIZE);
	while (!err && block + 1 < g->slot_blocks) {
		if (block >= have) {
			err = wb_io_sync(c->cache, REQ_OP_READ, offset + (have << WB_BLOCK_SHIFT),
					 m->slot + (have << WB_BLOCK_SHIFT),
					 (g->slot_blocks - have) << WB_BLOCK_SHIFT);
			have = g->slot_blocks;
			if (err)
				break;
		}
		at = m->slot + (block << WB_BLOCK_SHIFT);
		if (wb_header_decode(g, at, &h) != WB_OK || h.id != id || h.chunk != chunk ||
		    h.block != block)
			break;
		fits &= collect_chunk(m, &h, at);
		block += 1 + h.nr_entries;
		chunk++;
	}
	if (!err && fits && !leftover(m, id, block))
		return;
	wb_stat_add(c, WB_STAT_CACHE_ERRORS, 1);
	wb_err(c, "cannot read the headers of segment %llu from the cache device, or they are not what they were (block %u of its slot); it stays in the log. See writeboost-ctl check",
	       id, block);
	wb_migrate_bad_segment(m, id);
}

static int by_block(const void *a, const void *b)
{
	const struct wb_cand *x = a, *y = b;

	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

/* ---------------------------------------------------------------- a batch */

/* What the log looks like, for decisions that need not be exact. */
struct room {
	u64 blocks;	/* that writers still find */
	u64 durable_segment;
	u64 nr_slots;
	bool is_short;
	bool unrecorded;	/* there would be more, if that were recorded */
};

static struct room look_at_room(struct wb_cache *c)
{
	struct wb_order *o = &c->log.order;
	struct room r;
	u64 slots;

	spin_lock_irq(&c->log.lock);
	slots = wb_order_reusable(o) + o->nr_slots - o->current_id;
	r = (struct room){
		.blocks = slots * (c->super.geom.slot_blocks - 1),
		.durable_segment = o->durable_segment,
		.nr_slots = o->nr_slots,
		.is_short = slots * 2 < o->nr_slots,
		.unrecorded = o->migrated > wb_order_reusable(o),
	};
	spin_unlock_irq(&c->log.lock);
	return r;
}

/* Segments that have become durable join the sweep. */
static void collect(struct wb_migrator *m)
{
	struct wb_sweep *s = &m->sweep;
	u32 most = READ_ONCE(m->c->knob[WB_KNOB_BATCH]);
	u64 last = look_at_room(m->c).durable_segment, id;

	last = min(last, s->first + most - 1);
	/* What is behind a segment known bad cannot count, so it is not written again each time. */
	if (s->first <= m->stuck_id)
		last = min(last, max(s->first, m->stuck_id - 1));
	for (id = s->last + 1; id <= last && !m->bad_id && !READ_ONCE(m->stop); id++) {
		m->nr_fresh = 0;
		collect_segment(m, id);
		sort(m->fresh, m->nr_fresh, sizeof(*m->fresh), by_block, NULL);
		wb_sweep_join(s, id, m->fresh, m->nr_fresh);
	}
}

/*
 * Call migrated what is. Everything up to the segment was written and completed before the flush
 * that is issued here; of the rest nothing is called anything. Return: 0 or -EIO.
 */
static int settle(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;
	struct wb_order *o = &c->log.order;
	u64 last = wb_sweep_done(&m->sweep);

	if (m->bad_id)
		last = min(last, m->bad_id - 1);
	if (last < m->sweep.first)
		return 0;
	/* A failed flush by somebody else may have dropped what this batch wrote, too. */
	if (m->unflushed && (wb_flush_backing(c) ||
			     m->flush_failures != atomic_read(&c->backing_flush_failures))) {
		wb_err(c, "cannot flush the backing device; dirty data stays on the cache device and is tried again");
		return -EIO;
	}
	m->unflushed = false;
	spin_lock_irq(&c->log.lock);
	wb_order_migrated(o, last);
	spin_unlock_irq(&c->log.lock);
	wb_sweep_leave(&m->sweep, last);
	if (look_at_room(c).is_short)
		wb_record_kick(c);
	return 0;
}

/*
 * Let users who came meanwhile go first. Nothing is in flight while this waits, so no discard waits
 * for it.
 */
static void give_way(struct wb_migrator *m)
{
	bool waited = false;

	while (!READ_ONCE(m->stop)) {
		/* An end to the drain that this is for: what it held goes on, and there is no hurry. */
		if (!READ_ONCE(m->c->past_log))
			wb_undrain_step(m->c);
		m->depth = wb_modulator_depth(m->c);
		if (m->depth)
			break;
		if (!waited)
			wb_windows_wait(m);
		waited = true;
		if (!wb_is_bypassing(m->c))
			wb_pace_stop(m->c);
		schedule_timeout_uninterruptible(HZ / 20);
	}
}

/* One window further. Return: is there more? */
static bool step(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;
	struct room r = look_at_room(c);
	u64 limit = m->sweep.last;

	/*
	 * Nobody minds how long a drain takes to give the first room back, if nobody waits; and
	 * behind a bad segment there is no room to be had.
	 */
	if (r.is_short && !m->bad_id && !(READ_ONCE(c->draining) && !READ_ONCE(c->nr_deferred)))
		limit = wb_sweep_limit(&m->sweep, wb_pace_ahead(r.blocks));
	wb_pace_start(c);
	if (wb_window_step(m, limit, r.is_short ? WB_WINDOW_SHORT : WB_WINDOW))
		return true;
	return m->bad_id && limit < m->sweep.last;
}

/* Return: 0, -EAGAIN if there is nothing to migrate, or -EIO. */
static int migrate_batch(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;
	struct wb_sweep *s = &m->sweep;
	bool more = true;
	int err = 0;
	u32 many;

	wb_sweep_begin(s, READ_ONCE(c->log.order.migrated) + 1);
	m->bad_id = 0;
	m->failed = false;
	m->unflushed = false;
	m->flush_failures = atomic_read(&c->backing_flush_failures);
	collect(m);
	if (s->last < s->first)
		return -EAGAIN;
	while (more && !err && !READ_ONCE(m->stop)) {
		give_way(m);
		if (READ_ONCE(m->stop))
			break;
		more = step(m);
		if (m->failed)
			break;
		many = min(SETTLE_MANY, READ_ONCE(c->knob[WB_KNOB_BATCH]));
		if (!more || look_at_room(c).is_short || wb_sweep_done(s) >= s->first + many)
			err = settle(m);
		if (!m->bad_id && !err) {
			collect(m);
			more |= s->last >= s->first;
		}
	}
	wb_windows_wait(m);
	if (READ_ONCE(m->stop))
		return -EAGAIN;
	if (m->failed) {
		wb_err(c, "cannot write to the backing device; dirty data stays on the cache device and is tried again");
		return -EIO;
	}
	if (err)
		return err;
	m->stuck_id = m->bad_id;
	return m->bad_id ? -EIO : 0;
}

static void batch_failed(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;

	wb_degrade(c);
	m->retry_at = jiffies + (m->failures < STUCK_AFTER ? RETRY : RETRY_STUCK);
	if (++m->failures >= STUCK_AFTER && !c->migration_stuck) {
		wb_err(c, "migration does not get on; writes fail once the log is full");
		WRITE_ONCE(c->migration_stuck, true);
		wb_event(c);
		wb_flush_kick(c);
	}
}

static void batch_succeeded(struct wb_migrator *m)
{
	m->failures = 0;
	WRITE_ONCE(m->c->migration_stuck, false);
}

/* ---------------------------------------------------------------- the daemon */

/* Is room short that would be there, were it recorded? */
static bool room_is_short(struct wb_cache *c)
{
	struct room r = look_at_room(c);

	return r.is_short && r.unrecorded;
}

/*
 * A drain begins with what is in RAM: what that supersedes need not be migrated, and it is one
 * sweep for all. Return: 0 or -EIO.
 */
static int drain_begins(struct wb_migrator *m)
{
	bool drain = READ_ONCE(m->c->draining);
	bool begins = drain && !m->drain_began && READ_ONCE(m->c->mode) == WB_MODE_WRITEBACK;

	m->drain_began = drain;
	return begins ? wb_flush_all(m->c, true) : 0;
}

static void migrate_work(struct work_struct *work)
{
	struct wb_migrator *m = container_of(to_delayed_work(work), struct wb_migrator, work);
	struct wb_cache *c = m->c;
	int err;

	if (READ_ONCE(m->stop))
		return;		/* kicked by who had not seen it yet */
	if (!wb_undrain_step(c))
		return;
	while (!READ_ONCE(m->stop) && !wb_failed(c)) {
		if (time_before(jiffies, m->retry_at)) {
			queue_delayed_work(m->wq, &m->work, m->retry_at - jiffies);
			return;
		}
		if (!wb_modulator_depth(c))
			return;		/* the modulator kicks again, and who needs room */
		err = drain_begins(m);
		if (!err)
			err = migrate_batch(m);
		wb_pace_stop(c);
		/* Also after a failure: up to a bad segment it may have made room. */
		if (room_is_short(c))
			wb_record_kick(c);
		if (err == -EAGAIN) {
			if (READ_ONCE(m->stop) || !READ_ONCE(c->draining))
				break;
			err = wb_drain_step(c);
			if (!err)
				continue;
		}
		if (err) {
			batch_failed(m);
			wb_drain_failed(c);
			continue;
		}
		batch_succeeded(m);
	}
}

int wb_migrate_init(struct wb_cache *c)
{
	struct wb_migrator *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	c->migrator = m;
	m->c = c;
	m->stop = true;
	m->retry_at = jiffies;
	INIT_DELAYED_WORK(&m->work, migrate_work);
	m->wq = alloc_workqueue("wb_migrate", WQ_MEM_RECLAIM | WQ_UNBOUND, 1);
	m->max_fresh = c->super.geom.slot_blocks - 1;
	m->fresh = vmalloc(array_size(m->max_fresh, sizeof(*m->fresh)));
	m->sweep.max = WB_SWEEP_SEGMENTS * m->max_fresh;
	m->sweep.cands = vmalloc(array_size(m->sweep.max, sizeof(*m->sweep.cands)));
	m->slot = vmalloc((size_t)c->super.geom.slot_blocks << WB_BLOCK_SHIFT);
	if (!m->wq || !m->fresh || !m->sweep.cands || !m->slot)
		return -ENOMEM;
	return wb_windows_init(m);
}

void wb_migrate_exit(struct wb_cache *c)
{
	struct wb_migrator *m = c->migrator;

	if (!m)
		return;
	if (m->wq)
		destroy_workqueue(m->wq);
	wb_windows_exit(m);
	vfree(m->fresh);
	vfree(m->sweep.cands);
	vfree(m->slot);
	kfree(m);
	c->migrator = NULL;
}

int wb_migrate_start(struct wb_cache *c)
{
	WRITE_ONCE(c->migrator->stop, false);
	wb_migrate_kick(c);
	return 0;
}

void wb_migrate_stop(struct wb_cache *c)
{
	WRITE_ONCE(c->migrator->stop, true);
	wake_up_all(&c->migrator->wait);
	cancel_delayed_work_sync(&c->migrator->work);
}
