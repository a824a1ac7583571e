// SPDX-License-Identifier: GPL-2.0
#include "device.h"
#include "sim.h"

const char *const crash_name[NR_CRASHES] = { "lose all", "keep all", "random", "panic" };

u8 arena[ARENA_SECTORS][WB_SECTOR_SIZE];
u32 arena_used = 1;

u32 arena_get(u32 nr)
{
	u32 first = arena_used;

	if (arena_used + nr > ARENA_SECTORS)
		sim_give_up("the arena is full");
	arena_used += nr;
	return first;
}

void device_init(struct device *d, u32 nr_sectors)
{
	CHECK(nr_sectors <= MAX_SECTORS);
	memset(d, 0, sizeof(*d));
	d->nr_sectors = nr_sectors;
	d->unreadable = ~0u;
}

void device_copy(struct device *to, const struct device *from)
{
	memcpy(to, from, offsetof(struct device, stable));
	memcpy(to->stable, from->stable, from->nr_sectors * sizeof(from->stable[0]));
	memcpy(to->seen, from->seen, from->nr_sectors * sizeof(from->seen[0]));
	memcpy(to->req, from->req, from->nr * sizeof(from->req[0]));
}

static u32 content_of(const struct request *q, u32 i)
{
	return q->zeros ? 0 : q->content + i;
}

static void land(u32 *table, const struct request *q)
{
	u32 i;

	for (i = 0; i < q->nr; i++)
		if (q->lands >> i & 1)
			table[q->sector + i] = content_of(q, i);
}

/* Request @i is on the media: what was written to its sectors before it cannot come after it. */
static void land_stable(struct device *d, u32 i)
{
	const struct request *q = &d->req[i];
	struct request *old;
	u32 k;

	land(d->stable, q);
	for (old = d->req; old < q; old++) {
		if (old->sector >= q->sector + q->nr || q->sector >= old->sector + old->nr)
			continue;
		for (k = 0; k < old->nr; k++)
			if (old->sector + k >= q->sector && old->sector + k < q->sector + q->nr &&
			    q->lands >> (old->sector + k - q->sector) & 1)
				old->lands &= ~(1ull << k);
	}
}

/* A device may write back what it has when it likes. */
static void make_room(struct device *d)
{
	u32 i;

	for (i = 0; i < d->nr && (!d->req[i].done_at || d->req[i].doomed); i++)
		;
	CHECK(i < d->nr);
	land_stable(d, i);
	memmove(&d->req[i], &d->req[i + 1], (--d->nr - i) * sizeof(d->req[0]));
}

static struct request *new_request(struct device *d, u32 sector, u32 nr)
{
	struct request *q;

	CHECK(nr && nr <= MAX_REQUEST && sector + nr <= d->nr_sectors);
	if (d->nr == MAX_REQUESTS)
		make_room(d);
	q = &d->req[d->nr++];
	*q = (struct request){ .handle = ++d->now, .sector = sector, .nr = nr,
			       .lands = nr == 64 ? ~0ull : (1ull << nr) - 1 };
	return q;
}

u64 device_write(struct device *d, u32 sector, u32 nr, const void *bytes, u32 flags)
{
	struct request *q = new_request(d, sector, nr);

	if (bytes) {
		q->content = arena_get(nr);
		memcpy(arena[q->content], bytes, (size_t)nr * WB_SECTOR_SIZE);
	}
	q->zeros = !bytes;
	q->fua = flags & W_FUA;
	q->whole = flags & W_WHOLE;
	q->preflush = flags & W_PREFLUSH ? d->now : 0;
	return q->handle;
}

u64 device_discard(struct device *d, u32 sector, u32 nr, u64 lands)
{
	struct request *q = new_request(d, sector, nr);

	q->zeros = true;
	q->whole = true;
	q->lands &= lands;
	return q->handle;
}

static struct request *in_flight(struct device *d, u64 handle)
{
	u32 i;

	for (i = 0; i < d->nr && d->req[i].handle != handle; i++)
		;
	CHECK(i < d->nr && !d->req[i].done_at);
	return &d->req[i];
}

/* It completed: of requests that were in flight together the last to complete is what readers see. */
static struct request *complete(struct device *d, u64 handle)
{
	struct request *q = in_flight(d, handle), done = *q;

	memmove(q, q + 1, (size_t)(&d->req[d->nr] - (q + 1)) * sizeof(*q));
	q = &d->req[d->nr - 1];
	*q = done;
	q->done_at = ++d->now;
	return q;
}

void device_written(struct device *d, u64 handle)
{
	struct request *q = complete(d, handle);
	u64 preflush = q->preflush;

	land(d->seen, q);
	if (q->fua) {
		land_stable(d, --d->nr);
	}
	if (preflush)
		device_flushed(d, preflush);
}

void device_write_failed(struct device *d, u64 handle, struct rng *r)
{
	struct request *q = complete(d, handle);

	q->lands &= rng_one_in(r, 2) ? 0 : rng_u64(r);
	q->doomed = true;
	land(d->seen, q);
	if (q->preflush)
		device_flush_failed(d, q->preflush, r);
}

u64 device_flush(struct device *d)
{
	return ++d->now;
}

void device_flushed(struct device *d, u64 handle)
{
	u32 i, kept = 0;

	d->now++;
	for (i = 0; i < d->nr; i++) {
		if (d->req[i].done_at && d->req[i].done_at < handle && !d->req[i].doomed)
			land_stable(d, i);
	}
	for (i = 0; i < d->nr; i++)
		if (!d->req[i].done_at || d->req[i].done_at >= handle || d->req[i].doomed)
			d->req[kept++] = d->req[i];
	d->nr = kept;
}

void device_flush_failed(struct device *d, u64 handle, struct rng *r)
{
	u32 i;

	d->now++;
	for (i = 0; i < d->nr; i++)
		if (d->req[i].done_at && d->req[i].done_at < handle && !d->req[i].zeros &&
		    !d->req[i].whole)
			d->req[i].doomed |= rng_one_in(r, 2);
}

/* The first part of the new contents over the old ones. */
static u32 torn(u32 old, u32 new, struct rng *r)
{
	u32 mix = arena_get(1), cut = 1 + rng_below(r, WB_SECTOR_SIZE - 1);

	memcpy(arena[mix], arena[new], cut);
	memcpy(arena[mix] + cut, arena[old] + cut, WB_SECTOR_SIZE - cut);
	return mix;
}

/* Which sectors arrive: whole, nothing, a few, most, a beginning, an end. */
static u64 luck(const struct request *q, u32 kind, struct rng *r)
{
	u64 all = q->lands, a = rng_u64(r), b = rng_u64(r);
	u32 cut = rng_below(r, q->nr);

	switch (kind == 4 ? rng_below(r, 6) : kind ? rng_below(r, 2 + kind) : 2 + rng_below(r, 4)) {
	case 0:
		return all;
	case 1:
		return 0;
	case 2:
		return all & a & b;
	case 3:
		return all & (a | b);
	case 4:
		return all & ((1ull << cut) - 1);
	default:
		return all & ~((1ull << cut) - 1);
	}
}

void device_crash(struct device *d, enum crash how, struct rng *r)
{
	u32 kind = rng_below(r, 5), i, k, s, kept = 0;
	struct request *q;

	for (i = 0; i < d->nr; i++) {
		q = &d->req[i];
		if (how == PANIC) {
			/* What was in flight may arrive in part; the rest is in the device's cache. */
			if (!q->done_at) {
				q->lands = luck(q, kind, r);
				q->done_at = ++d->now;
				land(d->seen, q);
			}
			q->fua = false;
			q->preflush = 0;
			q->doomed = false;
			d->req[kept++] = *q;
			continue;
		}
		if (how == LOSE_ALL)
			q->lands = 0;
		else if (how == RANDOM)
			q->lands = luck(q, kind, r);
		if (q->lands && how == RANDOM && d->tears && !q->whole && rng_one_in(r, 3)) {
			/* Of records and headers the first one is what counts. */
			k = rng_one_in(r, 2) ? 0 : rng_below(r, q->nr);
			s = q->sector + k;
			if (q->lands >> k & 1)
				d->stable[s] = torn(d->stable[s], content_of(q, k), r);
			q->lands &= ~(1ull << k);
		}
		land(d->stable, q);
	}
	d->nr = kept;
	if (how != PANIC)
		memcpy(d->seen, d->stable, d->nr_sectors * sizeof(d->seen[0]));
}

bool device_read(const struct device *d, u32 sector, u32 nr, void *to)
{
	u8 *p = to;
	u32 i;

	for (i = 0; i < nr; i++, p += WB_SECTOR_SIZE) {
		if (sector + i == d->unreadable)
			return false;
		memcpy(p, arena[d->seen[sector + i]], WB_SECTOR_SIZE);
	}
	return true;
}
