// SPDX-License-Identifier: GPL-2.0
#include "disk.h"

const char *const disk_crash_name[NR_CRASHES] = { "lose all", "keep all", "random", "panic" };

struct buf *buf_new(u32 len)
{
	struct buf *b = calloc(1, sizeof(*b) + len);

	CHECK(b);
	b->refs = 1;
	b->len = len;
	return b;
}

struct buf *buf_get(struct buf *b)
{
	b->refs++;
	return b;
}

void buf_put(struct buf *b)
{
	if (b && !--b->refs)
		free(b);
}

/*
 * Copies of devices come and go by the thousand. Large allocations are fresh pages from the kernel
 * each time, so a few are kept.
 */
#define NR_SPARE 6
static struct {
	u8 *p;
	u64 size;
} spare[NR_SPARE];

static u8 *media_get(u64 size)
{
	u8 *p;
	u32 i;

	for (i = 0; i < NR_SPARE; i++) {
		if (spare[i].p && spare[i].size == size) {
			p = spare[i].p;
			spare[i].p = NULL;
			return p;
		}
	}
	p = malloc(size);
	CHECK(p);
	return p;
}

static void media_put(u8 *p, u64 size)
{
	static u32 next;
	u32 i;

	for (i = 0; i < NR_SPARE && spare[i].p; i++)
		;
	if (i == NR_SPARE)
		i = next++ % NR_SPARE;
	free(spare[i].p);
	spare[i].p = p;
	spare[i].size = size;
}

u64 disk_at(u64 off)
{
	u32 i;

	if (off >= WB_FIRST_SLOT_OFFSET)
		return off - WB_FIRST_SLOT_OFFSET + WB_NR_COPIES * WB_BLOCK_SIZE;
	for (i = 0; i < WB_NR_COPIES; i++)
		if (off == WB_RECORD_OFFSET(i))
			return (u64)i * WB_BLOCK_SIZE;
	CHECKF(0, "access to byte %llu, which is neither record nor slot", (unsigned long long)off);
	return 0;
}

void disk_init(struct disk *d, const struct wb_geom *g)
{
	memset(d, 0, sizeof(*d));
	d->size = disk_at(wb_slot_offset(g, g->nr_slots, 0));
	d->stable = media_get(d->size);
	memset(d->stable, 0, d->size);
}

static void drop(struct disk_write *w)
{
	buf_put(w->buf);
	free(w->survives);
}

void disk_exit(struct disk *d)
{
	u32 i;

	for (i = 0; i < d->nr_writes; i++)
		drop(&d->writes[i]);
	free(d->writes);
	media_put(d->stable, d->size);
	memset(d, 0, sizeof(*d));
}

void disk_copy(struct disk *to, const struct disk *from)
{
	u32 i, n;

	*to = *from;
	to->stable = media_get(from->size);
	to->writes = calloc(from->nr_writes + 1, sizeof(*to->writes));
	CHECK(to->writes);
	to->max_writes = from->nr_writes + 1;
	memcpy(to->stable, from->stable, from->size);
	for (i = 0; i < from->nr_writes; i++) {
		to->writes[i] = from->writes[i];
		buf_get(to->writes[i].buf);
		if (from->writes[i].survives) {
			n = from->writes[i].buf->len / WB_SECTOR_SIZE;
			to->writes[i].survives = malloc(n);
			memcpy(to->writes[i].survives, from->writes[i].survives, n);
		}
	}
}

u64 disk_write(struct disk *d, u64 off, struct buf *b, bool preflush, bool fua)
{
	struct disk_write *w;

	CHECK(b->len % WB_SECTOR_SIZE == 0 && disk_at(off) + b->len <= d->size);
	if (d->nr_writes == d->max_writes) {
		d->max_writes = d->max_writes * 2 + 8;
		d->writes = realloc(d->writes, d->max_writes * sizeof(*d->writes));
		CHECK(d->writes);
	}
	w = &d->writes[d->nr_writes++];
	*w = (struct disk_write){ .handle = ++d->now, .off = off, .buf = b, .fua = fua,
				  .preflush = preflush ? d->now : 0 };
	return w->handle;
}

/* Put what survives of a write onto the media (or into what a reader sees). */
static void land(u8 *media, const struct disk_write *w)
{
	u32 s;

	for (s = 0; s < w->buf->len / WB_SECTOR_SIZE; s++)
		if (!w->survives || w->survives[s])
			memcpy(media + disk_at(w->off) + s * WB_SECTOR_SIZE,
			       w->buf->bytes + s * WB_SECTOR_SIZE, WB_SECTOR_SIZE);
}

u64 disk_flush(struct disk *d)
{
	return ++d->now;
}

void disk_flushed(struct disk *d, u64 handle)
{
	u32 i, kept = 0;

	d->now++;
	for (i = 0; i < d->nr_writes; i++) {
		if (d->writes[i].done_at && d->writes[i].done_at < handle) {
			land(d->stable, &d->writes[i]);
			drop(&d->writes[i]);
		} else {
			d->writes[kept++] = d->writes[i];
		}
	}
	d->nr_writes = kept;
}

void disk_complete(struct disk *d, u64 handle)
{
	struct disk_write w;
	u32 i;

	for (i = 0; i < d->nr_writes && d->writes[i].handle != handle; i++)
		;
	CHECK(i < d->nr_writes && !d->writes[i].done_at);
	d->writes[i].done_at = ++d->now;
	w = d->writes[i];
	if (w.fua) {
		land(d->stable, &w);
		drop(&w);
		memmove(&d->writes[i], &d->writes[i + 1], (--d->nr_writes - i) * sizeof(w));
	}
	if (w.preflush)
		disk_flushed(d, w.preflush);
}

void disk_crash(struct disk *d, enum disk_crash how, struct rng *r)
{
	u32 i, s, n, luck, kept = 0;
	struct disk_write *w;

	luck = rng_below(r, 5);
	for (i = 0; i < d->nr_writes; i++) {
		w = &d->writes[i];
		n = w->buf->len / WB_SECTOR_SIZE;
		if (!w->survives) {
			w->survives = malloc(n);
			CHECK(w->survives);
			memset(w->survives, 1, n);
		}
		switch (how) {
		case CRASH_KEEP_ALL:
			break;
		case CRASH_LOSE_ALL:
			memset(w->survives, 0, n);
			break;
		case CRASH_PANIC:
			if (w->done_at)
				break;	/* in the device's cache, whole */
			/* what was in flight arrived in part */
			/* fall through */
		default:
			/* whole, nothing, a few sectors, most sectors, a beginning, an end */
			switch (luck == 4 ? rng_below(r, 6) :
				luck ? rng_below(r, 2 + luck) : 2 + rng_below(r, 4)) {
			case 0:
				break;
			case 1:
				memset(w->survives, 0, n);
				break;
			case 2:
				for (s = 0; s < n; s++)
					w->survives[s] &= rng_one_in(r, 4);
				break;
			case 3:
				for (s = 0; s < n; s++)
					w->survives[s] &= !rng_one_in(r, 4);
				break;
			case 4:
				s = rng_below(r, n);
				memset(w->survives + s, 0, n - s);
				break;
			case 5:
				memset(w->survives, 0, rng_below(r, n));
				break;
			}
		}
		if (how == CRASH_PANIC) {
			w->done_at = ++d->now;
			w->fua = false;
			w->preflush = 0;
			d->writes[kept++] = *w;
		} else {
			land(d->stable, w);
			drop(w);
		}
	}
	d->nr_writes = kept;
}

void disk_read(const struct disk *d, u64 off, u32 len, void *to)
{
	u64 from = disk_at(off), at;
	const struct disk_write *w;
	u32 i, s;

	CHECK(from + len <= d->size);
	memcpy(to, d->stable + from, len);
	for (i = 0; i < d->nr_writes; i++) {
		w = &d->writes[i];
		CHECK(w->done_at);
		for (s = 0; s < w->buf->len / WB_SECTOR_SIZE; s++) {
			at = disk_at(w->off) + s * WB_SECTOR_SIZE;
			if (at < from || at >= from + len || (w->survives && !w->survives[s]))
				continue;
			memcpy((u8 *)to + (at - from), w->buf->bytes + s * WB_SECTOR_SIZE,
			       WB_SECTOR_SIZE);
		}
	}
}

bool disk_is_durable(const struct disk *d, u64 off, const void *bytes, u32 len)
{
	u64 from = disk_at(off), at;
	u32 i;

	for (i = 0; i < d->nr_writes; i++) {
		at = disk_at(d->writes[i].off);
		if (at < from + len && from < at + d->writes[i].buf->len)
			return false;
	}
	return !memcmp(d->stable + from, bytes, len);
}
