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
	unsigned long flags;

	if (bio->bi_status) {
		wb_stat_add(c, WB_STAT_BACKING_ERRORS, 1);
		spin_lock_irqsave(&c->through_lock, flags);
		if (READ_ONCE(c->flush_backing) &&
		    atomic64_read(&c->through_done) > c->through_flushed)
			WRITE_ONCE(c->through_lost, true);
		spin_unlock_irqrestore(&c->through_lock, flags);
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
