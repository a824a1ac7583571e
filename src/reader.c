// SPDX-License-Identifier: GPL-2.0
#include "reader.h"

#define LANES		64u	/* segments read ahead, each with one request in flight */
#define REFILL		16u	/* so many lanes are set going together */
#define GIVEN_AWAY	U32_MAX
#define PIECE_BLOCKS	16u	/* a large read is cut into requests of so many blocks */
#define PIECES		(WB_MAX_SLOT_BLOCKS / PIECE_BLOCKS)

/* A header that its lane has gone past: without the zeros behind its last entry. */
struct kept {
	u16 block;
	u16 size;
	u8 bytes[];
};

/*
 * Room for all headers of a segment. They take most when all chunks have one block: then each two
 * blocks of the slot bring a fixed part and one entry.
 */
#define KEPT_PER_BLOCK (DIV_ROUND_UP(sizeof(struct kept) + sizeof(struct wb_header_disk) + \
				     sizeof(struct wb_entry_disk), 2))

/*
 * One segment that is read ahead.
 *
 * @done_link: in the reader's list of completed lanes
 * @id: the segment, 0 = none
 * @block: where in the slot the block stands that @page holds, or will hold; GIVEN_AWAY if that is held
 * @reading: the request is in flight, or was not looked at since
 * @bad: it failed
 * @kept: headers before that one; @kept_at: the next the walk will ask for; @kept_end: their end
 */
struct lane {
	struct wb_reader *r;
	struct bio bio;
	struct bio_vec vec;
	struct list_head done_link;
	struct page *page;
	u64 id;
	u32 block;
	bool reading;
	bool bad;
	u8 *kept;
	u32 kept_at;
	u32 kept_end;
};

struct piece {
	struct bio bio;
	struct bio_vec vecs[PIECE_BLOCKS];
};

/*
 * The reader.
 *
 * @at: the segment that the walk has come to
 * @next: the next to be given to a lane; @last: the last one
 * @in_flight: lanes with @reading
 * @done: those that completed; @waits: somebody waits for one; under @lock, as the wake-up
 * @given: the lane in whose page that stands which was peeked at last
 * @spare: pages for those that are held
 * @bounce: for single blocks, whose buffers need not be aligned
 * @pieces: of one large read; @pieces_left: in flight, or being issued
 */
struct wb_reader {
	struct wb_cache *c;
	u64 at;
	u64 next;
	u64 last;
	u32 in_flight;
	spinlock_t lock;	/* see above */
	struct list_head done;
	bool waits;
	wait_queue_head_t wait;
	struct lane *given;
	struct page *spare[LANES];
	u32 nr_spare;
	struct page *bounce;
	atomic_t pieces_left;
	struct completion pieces_done;
	struct piece pieces[PIECES];
	struct lane lanes[LANES];
};

static u64 offset_of(const struct wb_reader *r, u64 id, u32 block)
{
	const struct wb_geom *g = &r->c->super.geom;

	return wb_slot_offset(g, wb_slot_of(g, id), block);
}

/* ---------------------------------------------------------------- lanes */

/* Under the lock to the end: who has seen the list empty may free the reader. */
static void lane_endio(struct bio *bio)
{
	struct lane *l = bio->bi_private;
	struct wb_reader *r = l->r;
	unsigned long flags;

	spin_lock_irqsave(&r->lock, flags);
	list_add_tail(&l->done_link, &r->done);
	if (r->waits)
		wake_up(&r->wait);
	spin_unlock_irqrestore(&r->lock, flags);
}

static void issue(struct lane *l)
{
	struct wb_reader *r = l->r;

	bio_init(&l->bio, r->c->cache, &l->vec, 1, REQ_OP_READ);
	__bio_add_page(&l->bio, l->page, WB_BLOCK_SIZE, 0);
	l->bio.bi_iter.bi_sector = offset_of(r, l->id, l->block) >> SECTOR_SHIFT;
	l->bio.bi_end_io = lane_endio;
	l->bio.bi_private = l;
	l->reading = true;
	r->in_flight++;
	submit_bio(&l->bio);
}

/* Put the header in the page away, to read the next one. Return: whether that could be done. */
static bool keep(struct lane *l, u32 size)
{
	u32 room = KEPT_PER_BLOCK * l->r->c->super.geom.slot_blocks;
	struct kept *k;

	if (!l->kept)
		l->kept = kvmalloc(room, GFP_KERNEL | __GFP_NOWARN);
	if (!l->kept || size > room - l->kept_end || sizeof(*k) > room - l->kept_end - size)
		return false;
	k = (struct kept *)(l->kept + l->kept_end);
	k->block = l->block;
	k->size = size;
	memcpy(k->bytes, page_address(l->page), size);
	l->kept_end += sizeof(*k) + size;
	return true;
}

/* A lane's request completed: on to the segment's next header, if there seems to be one. */
static void go_on(struct lane *l)
{
	const struct wb_geom *g = &l->r->c->super.geom;
	u32 end, size;

	bio_uninit(&l->bio);
	l->reading = false;
	l->r->in_flight--;
	l->bad = l->bio.bi_status;
	if (l->bad || l->id < l->r->at)
		return;
	end = wb_header_guess(g, page_address(l->page), l->id, l->block, &size);
	/* The walk ends here or before; behind that it looks so far for what proves damage. */
	if (!end && !l->block)
		l->r->last = min(l->r->last, l->id - 1 + WB_SEARCH_SEGMENTS);
	if (end && end + 1 < g->slot_blocks && keep(l, size)) {
		l->block = end;
		issue(l);
	}
}

static void reap(struct wb_reader *r)
{
	struct lane *l, *next;
	LIST_HEAD(done);

	spin_lock_irq(&r->lock);
	list_splice_init(&r->done, &done);
	spin_unlock_irq(&r->lock);
	list_for_each_entry_safe(l, next, &done, done_link)
		go_on(l);
}

static void wait_and_reap(struct wb_reader *r)
{
	spin_lock_irq(&r->lock);
	r->waits = true;
	wait_event_lock_irq(r->wait, !list_empty(&r->done), r->lock);
	r->waits = false;
	spin_unlock_irq(&r->lock);
	reap(r);
}

/* Lanes that the walk has left behind take the next segments, several at once. */
static void refill(struct wb_reader *r)
{
	u64 end = min(r->at + LANES, r->last + 1);
	struct blk_plug plug;
	struct lane *l;

	if (r->next < r->at)
		r->next = r->at;
	if (end < r->next + min_t(u64, REFILL, r->last + 1 - r->next))
		return;
	blk_start_plug(&plug);
	for (; r->next < end; r->next++) {
		l = &r->lanes[r->next % LANES];
		if (l->reading)
			break;
		l->id = r->next;
		l->block = 0;
		l->kept_at = 0;
		l->kept_end = 0;
		issue(l);
	}
	blk_finish_plug(&plug);
}

/* NULL: the lane does not have it, or could not read it: then it is read once more, by itself. */
static const void *take(struct lane *l, u32 block)
{
	struct kept *k;

	for (;;) {
		if (l->kept_at < l->kept_end) {
			k = (struct kept *)(l->kept + l->kept_at);
			if (k->block != block)
				return NULL;
			l->kept_at += sizeof(*k) + k->size;
			return k->bytes;
		}
		if (l->block != block)
			return NULL;
		if (!l->reading)
			break;
		wait_and_reap(l->r);
	}
	if (l->bad)
		return NULL;
	l->r->given = l;
	return page_address(l->page);
}

/* Only this sets requests going, so what take() gave away stays until the next call. */
const void *wb_reader_peek(struct wb_reader *r, u64 id, u32 block)
{
	struct lane *l = &r->lanes[id % LANES];

	r->given = NULL;
	if (id > r->at)
		r->at = id;
	if (!list_empty_careful(&r->done))
		reap(r);
	refill(r);
	return l->id == id ? take(l, block) : NULL;
}

/* The lane gets another page for the one that stays. */
bool wb_reader_hold(struct wb_reader *r)
{
	struct lane *l = r->given;
	struct page *page;

	if (!l)
		return false;
	page = r->nr_spare ? r->spare[--r->nr_spare] : alloc_page(GFP_KERNEL | __GFP_NOWARN);
	if (!page)
		return false;
	l->page = page;
	l->block = GIVEN_AWAY;
	r->given = NULL;
	return true;
}

void wb_reader_drop(struct wb_reader *r, const void *header)
{
	if (r->nr_spare < LANES)
		r->spare[r->nr_spare++] = virt_to_page(header);
	else
		__free_page(virt_to_page(header));
}

/* ---------------------------------------------------------------- what no lane has */

static void piece_endio(struct bio *bio)
{
	struct wb_reader *r = bio->bi_private;

	if (atomic_dec_and_test(&r->pieces_left))
		complete(&r->pieces_done);
}

static int read_large(struct wb_reader *r, u64 offset, u32 nr, void *buf)
{
	struct blk_plug plug;
	bool scattered = is_vmalloc_addr(buf);
	u32 i = 0, n, end, used = 0;
	struct bio *bio;
	int err = 0;

	atomic_set(&r->pieces_left, 1);
	reinit_completion(&r->pieces_done);
	blk_start_plug(&plug);
	while (i < nr) {
		bio = &r->pieces[used].bio;
		bio_init(bio, r->c->cache, r->pieces[used].vecs, PIECE_BLOCKS, REQ_OP_READ);
		bio->bi_iter.bi_sector = (offset + ((u64)i << WB_BLOCK_SHIFT)) >> SECTOR_SHIFT;
		end = min(i + PIECE_BLOCKS, nr);
		for (; i < end; i += n, buf += n << WB_BLOCK_SHIFT) {
			n = scattered ? 1 : end - i;
			__bio_add_page(bio, scattered ? vmalloc_to_page(buf) : virt_to_page(buf),
				       n << WB_BLOCK_SHIFT, offset_in_page(buf));
		}
		bio->bi_end_io = piece_endio;
		bio->bi_private = r;
		atomic_inc(&r->pieces_left);
		used++;
		submit_bio(bio);
	}
	blk_finish_plug(&plug);
	if (!atomic_dec_and_test(&r->pieces_left))
		wait_for_completion(&r->pieces_done);
	while (used--) {
		if (r->pieces[used].bio.bi_status)
			err = -EIO;
		bio_uninit(&r->pieces[used].bio);
	}
	return err;
}

static int read_one(struct wb_reader *r, u64 offset, void *buf)
{
	int err = wb_io_sync(r->c->cache, REQ_OP_READ, offset, page_address(r->bounce),
			     WB_BLOCK_SIZE);

	if (!err)
		memcpy(buf, page_address(r->bounce), WB_BLOCK_SIZE);
	return err;
}

int wb_reader_read(struct wb_reader *r, u64 id, u32 block, u32 nr, void *buf)
{
	u64 offset = offset_of(r, id, block);

	return nr > 1 ? read_large(r, offset, nr, buf) : read_one(r, offset, buf);
}

/* ---------------------------------------------------------------- set-up */

struct wb_reader *wb_reader_new(struct wb_cache *c, u64 first, u64 last)
{
	struct wb_reader *r = kvzalloc(sizeof(*r), GFP_KERNEL);
	u32 i;

	if (!r)
		return NULL;
	r->c = c;
	r->at = first;
	r->next = first;
	r->last = last;
	spin_lock_init(&r->lock);
	INIT_LIST_HEAD(&r->done);
	init_waitqueue_head(&r->wait);
	init_completion(&r->pieces_done);
	r->bounce = alloc_page(GFP_KERNEL);
	for (i = 0; i < LANES && r->bounce; i++) {
		r->lanes[i].r = r;
		r->lanes[i].page = alloc_page(GFP_KERNEL);
		if (!r->lanes[i].page)
			break;
	}
	if (i == LANES)
		return r;
	wb_reader_free(r);
	return NULL;
}

void wb_reader_free(struct wb_reader *r)
{
	u32 i;

	if (!r)
		return;
	r->at = U64_MAX;	/* no lane goes on */
	while (r->in_flight)
		wait_and_reap(r);
	for (i = 0; i < LANES; i++) {
		kvfree(r->lanes[i].kept);
		if (r->lanes[i].page)
			__free_page(r->lanes[i].page);
	}
	while (r->nr_spare)
		__free_page(r->spare[--r->nr_spare]);
	if (r->bounce)
		__free_page(r->bounce);
	kvfree(r);
}
