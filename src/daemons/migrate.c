// SPDX-License-Identifier: GPL-2.0
/*
 * The migrate daemon: from the log to the backing device.
 *
 * A batch is the oldest segments that are closed and durable, up to nr_max_batched_migration of
 * them:
 *
 *   collect   read the headers; of each entry keep the sectors that no newer durable copy supersedes
 *   sort      by backing block
 *   move      in windows: read the blocks from the cache device, verify their checksums, and write
 *             neighbours in one request; the next window is read while the last one is written
 *   finish    flush the backing device, advance order.migrated, have it recorded when it matters
 *
 * Segments of a batch count as migrated all together or up to the first one in which something
 * could not be read. A block whose checksum is wrong is never copied: it is reported, marked so
 * that reads of it get an error, and keeps its segment in the log until somebody overwrites the
 * block.
 *
 * Against newer writes: a copy that becomes superseded while its batch is on the way is written for
 * nothing and no harm, for the newer copy is in the log and migrates after it, batches being one
 * after the other. Against discards: an entry is looked at again, under its bucket lock, after the
 * window's range was announced (m->busy_*). A discard unlinks first and then waits for the range.
 * So either the look sees the unlinking, or the discard sees the range.
 *
 * One work item does all of it, so batches never overlap; it also takes the steps of drain.c.
 */
#include <linux/sort.h>
#include "migrator.h"

#define MAX_BATCH	256u	/* segments; the range of nr_max_batched_migration */
#define MAX_BATCH_HELD	16u	/* while writers wait for the room it makes */
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
 * The index was built from these headers. Where one says something else now, the media changed: what
 * is linked there must not count as migrated. Return: whether all is as it was.
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
		cand = &m->cands[m->nr];
		*cand = (struct wb_cand){
			.block = e.block,
			.place = base + h->block + 1 + i,
			.crc = e.crc,
			.mask = e.mask,
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
			m->nr++;
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

/* Return: 0, -EAGAIN if there is nothing to migrate, or -EIO. */
static int migrate_batch(struct wb_migrator *m)
{
	struct wb_cache *c = m->c;
	struct wb_order *o = &c->log.order;
	u64 first, last, id;
	unsigned int batch;
	int failures;

	spin_lock_irq(&c->log.lock);
	first = o->migrated + 1;
	batch = READ_ONCE(c->knob[WB_KNOB_BATCH]);
	if (READ_ONCE(c->nr_deferred))
		batch = min(batch, MAX_BATCH_HELD);
	last = min(o->durable_segment, o->migrated + batch);
	spin_unlock_irq(&c->log.lock);
	/* What is behind a segment known bad cannot count, so it is not written again each time. */
	if (first <= m->stuck_id)
		last = min(last, max(first, m->stuck_id - 1));
	if (first > last)
		return -EAGAIN;

	failures = atomic_read(&c->backing_flush_failures);
	m->nr = 0;
	m->bad_id = 0;
	m->failed = false;
	for (id = first; id <= last; id++) {
		if (READ_ONCE(m->stop))
			return -EAGAIN;
		collect_segment(m, id);
	}
	sort(m->cands, m->nr, sizeof(*m->cands), by_block, NULL);
	wb_window_move_all(m);
	if (READ_ONCE(m->stop))
		return -EAGAIN;
	if (m->failed) {
		wb_err(c, "cannot write to the backing device; dirty data stays on the cache device and is tried again");
		return -EIO;
	}
	/* A failed flush by somebody else may have dropped what this batch wrote, too. */
	if (m->nr && (wb_flush_backing(c) ||
		      failures != atomic_read(&c->backing_flush_failures))) {
		wb_err(c, "cannot flush the backing device; dirty data stays on the cache device and is tried again");
		return -EIO;
	}

	if (m->bad_id)
		last = m->bad_id - 1;
	m->stuck_id = m->bad_id;
	spin_lock_irq(&c->log.lock);
	wb_order_migrated(o, last);
	spin_unlock_irq(&c->log.lock);
	return m->bad_id ? -EIO : 0;
}

/* Is the room that migration makes needed soon? Then it has to be recorded. */
static bool room_is_short(struct wb_cache *c)
{
	struct wb_order *o = &c->log.order;
	bool is_short;

	spin_lock_irq(&c->log.lock);
	is_short = (wb_order_reusable(o) + o->nr_slots - o->current_id) * 2 < o->nr_slots &&
		   o->migrated > wb_order_reusable(o);
	spin_unlock_irq(&c->log.lock);
	return is_short;
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

static void migrate_work(struct work_struct *work)
{
	struct wb_migrator *m = container_of(to_delayed_work(work), struct wb_migrator, work);
	struct wb_cache *c = m->c;
	int err;

	if (READ_ONCE(c->undrain) && !wb_undrain_step(c))
		return;
	while (!READ_ONCE(m->stop) && !wb_failed(c)) {
		if (time_before(jiffies, m->retry_at)) {
			queue_delayed_work(m->wq, &m->work, m->retry_at - jiffies);
			return;
		}
		if (!wb_modulator_allows(c))
			return;		/* the modulator kicks again, and who needs room */
		err = migrate_batch(m);
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
	m->max_cands = MAX_BATCH * (c->super.geom.slot_blocks - 1);
	m->cands = vmalloc(array_size(m->max_cands, sizeof(*m->cands)));
	m->slot = vmalloc((size_t)c->super.geom.slot_blocks << WB_BLOCK_SHIFT);
	if (!m->wq || !m->cands || !m->slot)
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
	vfree(m->cands);
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
