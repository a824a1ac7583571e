// SPDX-License-Identifier: GPL-2.0
#include <linux/bio.h>
#include "cache.h"

#define IO_VECS 16u

static struct page *page_of(void *p)
{
	return is_vmalloc_addr(p) ? vmalloc_to_page(p) : virt_to_page(p);
}

/**
 * wb_io_sync() - read or write a piece of a device, and wait
 * @bdev: the device
 * @opf: REQ_OP_READ or REQ_OP_WRITE and flags
 * @offset: bytes, a multiple of its logical block size, as @len
 * @buf: kernel memory, from kmalloc, vmalloc or the page allocator, aligned to 512 bytes
 * @len: bytes
 *
 * Context: sleeps. Allocates nothing: the vectors are on the stack. Return: 0 or -EIO.
 */
int wb_io_sync(struct block_device *bdev, blk_opf_t opf, u64 offset, void *buf, size_t len)
{
	struct bio_vec vecs[IO_VECS];
	struct bio bio;
	size_t n;
	int err = 0;

	while (len && !err) {
		bio_init(&bio, bdev, vecs, IO_VECS, opf | REQ_SYNC);
		bio.bi_iter.bi_sector = offset >> SECTOR_SHIFT;
		while (len) {
			n = min_t(size_t, len, PAGE_SIZE - offset_in_page(buf));
			if (bio_add_page(&bio, page_of(buf), n, offset_in_page(buf)) != n)
				break;
			offset += n;
			buf += n;
			len -= n;
		}
		err = submit_bio_wait(&bio);
		bio_uninit(&bio);
	}
	return err ? -EIO : 0;
}

struct copies {
	atomic_t left;
	struct completion done;
};

static void copy_endio(struct bio *bio)
{
	struct copies *r = bio->bi_private;

	if (atomic_dec_and_test(&r->left))
		complete(&r->done);
}

/**
 * wb_io_read_copies() - read the two copies of a block, both at once
 * @bdev: the device
 * @first: where the first one stands, in bytes
 * @second: and the second
 * @block: memory for each, as for wb_io_sync()
 * @copies: the same, or NULL for a copy that cannot be read
 *
 * Context: sleeps. Allocates nothing.
 */
void wb_io_read_copies(struct block_device *bdev, u64 first, u64 second,
		       void *const block[WB_NR_COPIES], const void *copies[WB_NR_COPIES])
{
	const u64 offset[WB_NR_COPIES] = { first, second };
	struct copies r = { .left = ATOMIC_INIT(WB_NR_COPIES) };
	struct bio_vec vec[WB_NR_COPIES];
	struct bio bio[WB_NR_COPIES];
	u32 i;

	init_completion(&r.done);
	for (i = 0; i < WB_NR_COPIES; i++) {
		bio_init(&bio[i], bdev, &vec[i], 1, REQ_OP_READ | REQ_SYNC);
		__bio_add_page(&bio[i], page_of(block[i]), WB_BLOCK_SIZE, offset_in_page(block[i]));
		bio[i].bi_iter.bi_sector = offset[i] >> SECTOR_SHIFT;
		bio[i].bi_end_io = copy_endio;
		bio[i].bi_private = &r;
		submit_bio(&bio[i]);
	}
	wait_for_completion_io(&r.done);
	for (i = 0; i < WB_NR_COPIES; i++) {
		copies[i] = bio[i].bi_status ? NULL : block[i];
		bio_uninit(&bio[i]);
	}
}

/**
 * wb_through_flushed() - a flush succeeded that covered the first @nr writes that went past the log
 * @c: the cache
 * @nr: in mode drained, of through_done
 *
 * Context: any. Return: false if one has failed before that no user was told of (through_lost): it may
 * have lost some of them, and the device may have begun with this one after that.
 */
bool wb_through_flushed(struct wb_cache *c, s64 nr)
{
	unsigned long flags;
	bool lost;

	spin_lock_irqsave(&c->through_lock, flags);
	c->through_flushed = max(c->through_flushed, nr);
	lost = c->through_lost;
	spin_unlock_irqrestore(&c->through_lock, flags);
	return !lost;
}

/**
 * wb_through_lost() - a flush of the backing device failed, and no user is told of that
 * @c: the cache
 *
 * It may have taken what went past the log in mode drained and was not flushed yet. If there is any,
 * no FLUSH succeeds from now on. Context: any.
 */
void wb_through_lost(struct wb_cache *c)
{
	unsigned long flags;

	spin_lock_irqsave(&c->through_lock, flags);
	if (READ_ONCE(c->past_log) && atomic64_read(&c->through_done) > c->through_flushed)
		WRITE_ONCE(c->through_lost, true);
	spin_unlock_irqrestore(&c->through_lock, flags);
}

struct backing_flush {
	struct wb_cache *c;
	struct completion done;
};

/*
 * Here, not by whoever waits: the device may end the next flush, somebody else's, right after this, and
 * that one may succeed although what this one covered is gone.
 */
static void backing_flush_endio(struct bio *bio)
{
	struct backing_flush *f = bio->bi_private;
	struct wb_cache *c = f->c;

	if (bio->bi_status) {
		wb_stat_add(c, WB_STAT_BACKING_ERRORS, 1);
		wb_through_lost(c);
		atomic_inc(&c->backing_flush_failures);
	}
	complete(&f->done);
}

/**
 * wb_flush_backing() - flush the backing device, and remember what a failure may have taken
 * @c: the cache
 *
 * A batch of migration under way is written again then (backing_flush_failures), and FLUSH fails from
 * then on if anything that went past the log was not flushed yet (through_lost).
 *
 * Context: sleeps. Counts errors. Return: 0 or -EIO.
 */
int wb_flush_backing(struct wb_cache *c)
{
	struct backing_flush f = { .c = c };
	struct bio bio;
	int err;

	init_completion(&f.done);
	bio_init(&bio, c->backing, NULL, 0, REQ_OP_WRITE | REQ_SYNC | REQ_PREFLUSH);
	bio.bi_end_io = backing_flush_endio;
	bio.bi_private = &f;
	submit_bio(&bio);
	wait_for_completion_io(&f.done);
	err = bio.bi_status ? -EIO : 0;
	bio_uninit(&bio);
	return err;
}

/**
 * wb_flush_past_log() - make durable what went past the log in mode drained
 * @c: the cache
 *
 * Context: sleeps. Counts errors. Return: 0 or -EIO.
 */
int wb_flush_past_log(struct wb_cache *c)
{
	s64 nr = atomic64_read(&c->through_done);

	return wb_flush_backing(c) || !wb_through_flushed(c, nr) ? -EIO : 0;
}

/* Context: sleeps. Return: 0 or -EIO. */
int wb_io_flush(struct block_device *bdev)
{
	struct bio bio;
	int err;

	bio_init(&bio, bdev, NULL, 0, REQ_OP_WRITE | REQ_SYNC | REQ_PREFLUSH);
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return err ? -EIO : 0;
}
