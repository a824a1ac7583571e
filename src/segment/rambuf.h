/* SPDX-License-Identifier: GPL-2.0 */
/*
 * RAM buffers: where a write goes first, and becomes part of the log.
 *
 * A RAM buffer is the image of one segment. Buffers are a pool; segment id uses buffer id %
 * nr_bufs. At most one chunk is open, in one of them. A writer
 *
 *   1. reserves blocks in the open chunk with one atomic step (wb_log_reserve);
 *   2. copies its data there, checksums what it copied, and writes the entries: no lock, nobody else
 *      touches those blocks;
 *   3. publishes each block in the index, under the lock of that block's bucket;
 *   4. says that it is done (wb_log_done).
 *
 * The atomic step is a compare-and-exchange on the *state word*, which holds the number of the open
 * chunk, how many writers went in, and the next free block of the segment:
 *
 *     63        32 31     16 15       0
 *     |  seq (low) | writers | position |        position >= slot_blocks: nothing can be reserved
 *
 * Sealing (under log->lock) exchanges the whole word for one that names the next chunk. From that
 * instant no writer gets in, and how many did is known exactly: the writers field. Each writer adds
 * one to chunk->pending when done, sealing subtracts that number; whoever makes it zero has the
 * chunk complete. It cannot be zero earlier: before the subtraction it only grows from zero.
 *
 * Complete chunks get their header in seq order (it links to the one before) and are written then.
 * From the seal on the chunk's bytes never change; an overwrite in place is a reservation of no
 * blocks in a chunk that is still open (wb_log_pin).
 *
 * Reading a RAM buffer: under the bucket lock the reader finds a place, takes a reference on the
 * buffer that the segment id belongs to, and then checks that the buffer still holds that id.
 * Retiring does it the other way round: it takes the id away, then waits for the references. One of
 * the two sees the other (a full barrier stands between the store and the load on both sides).
 *
 * Locks: log->lock makes sealing, opening a segment, giving a chunk its header, and every step of
 * the order (order.h) one step against each other. Taken in interrupt context, so irqsave
 * everywhere. A bucket lock may be held while nothing of this is called but wb_log_pin and
 * wb_log_get_buf.
 */
#ifndef WB_RAMBUF_H
#define WB_RAMBUF_H

#include <linux/spinlock.h>
#include <linux/atomic.h>
#include <linux/bio.h>
#include "order.h"

#define WB_NR_RAMBUFS		8u	/* a power of two; less than WB_MAX_VOLATILE_SEGMENTS */

/**
 * struct wb_rambuf - one buffer
 * @id: the segment it holds, 0 = none; written under log->lock
 * @readers: references of readers that copy out of it
 * @data: slot_blocks blocks
 * @bvecs: slot_blocks vectors; chunk at block b uses those from b on for its write
 * @unwritten: sealed chunks whose write has not completed; under log->lock
 * @closed: no further chunk will come; under log->lock
 */
struct wb_rambuf {
	u64 id;
	atomic_t readers;
	void *data;
	struct bio_vec *bvecs;
	unsigned int unwritten;
	bool closed;
};

/**
 * struct wb_chunk - a chunk from its opening until it is written
 * @log: its log
 * @seq: its number; wb_log.chunks[seq % WB_ORDER_CHUNKS] is it
 * @buf: its buffer
 * @id: its segment
 * @start: block of its header
 * @number: its number in the segment
 * @nr: data blocks, from the seal on
 * @complete: sealed, and all writers are done
 * @pending: see above
 * @bio: for its write
 */
struct wb_chunk {
	struct wb_log *log;
	u64 seq;
	struct wb_rambuf *buf;
	u64 id;
	u32 start;
	u32 number;
	u32 nr;
	bool complete;
	atomic_t pending;
	struct bio bio;
};

/**
 * struct wb_log - the log's front end
 * @geom: geometry
 * @state: the state word
 * @lock: see above
 * @order: what happened to every chunk and segment
 * @next_write: seq of the chunk that gets its header next
 * @link: header CRC of the chunk before it
 * @epoch: of this life
 * @gate: nothing is opened, so after a seal that closes no write gets in (switching to and from
 *	drained)
 * @head: order.prepared for those who read the index without this lock: lap << 32 | slot, 0 = none
 * @durable: durable point for those: id << 9 | block after it in its slot
 */
struct wb_log {
	const struct wb_geom *geom;
	atomic64_t state;
	spinlock_t lock;
	struct wb_order order;
	u64 next_write;
	u32 link;
	u64 epoch;
	bool gate;
	u64 head;
	u64 durable;
	struct wb_rambuf bufs[WB_NR_RAMBUFS];
	struct wb_chunk *chunks;
};

/* May sleep. Return: 0 or -ENOMEM; wb_log_exit() is then safe, too. */
int wb_log_init(struct wb_log *log, const struct wb_geom *geom);
void wb_log_exit(struct wb_log *log);

/**
 * wb_log_begin_life() - start appending
 * @r: the record of this life, durable in both copies
 *
 * No other function of the log may run.
 */
void wb_log_begin_life(struct wb_log *log, const struct wb_record *r);

/** struct wb_spot - what a writer reserved */
struct wb_spot {
	struct wb_chunk *chunk;
	u32 block;	/* first block in the slot */
	u32 nr;		/* blocks */
	bool last;	/* this took the last of the segment: seal it when done */
};

/**
 * wb_log_reserve() - step 1: get up to @want blocks of the open chunk
 *
 * Any context. No lock needed. Return: false if nothing is free now: seal, open the next segment,
 * or wait.
 */
bool wb_log_reserve(struct wb_log *log, u32 want, struct wb_spot *spot);

/**
 * wb_log_pin() - keep the chunk that holds block @block of segment @id from being sealed
 * @spot: set; wb_log_done() ends it
 *
 * Return: false if that block is not in the open chunk (any more).
 */
bool wb_log_pin(struct wb_log *log, u64 id, u32 block, struct wb_spot *spot);

/** wb_log_block() - a block of a buffer's image */
static inline void *wb_log_block(const struct wb_rambuf *buf, u32 block)
{
	return (u8 *)buf->data + ((size_t)block << WB_BLOCK_SHIFT);
}

/** wb_log_header() - the header block of a chunk, to put entries in */
static inline struct wb_header_disk *wb_log_header(const struct wb_chunk *c)
{
	return wb_log_block(c->buf, c->start);
}

/**
 * wb_log_done() - step 4
 *
 * Return: true if that completed a sealed chunk: write what is complete (wb_log_next_write).
 */
bool wb_log_done(struct wb_log *log, const struct wb_spot *spot);

/**
 * wb_log_seal() - seal the open chunk, if it has anything in it
 * @close: close its segment as well
 *
 * Needs log->lock. Opens the next segment if the current one is closed by it. Does nothing when too
 * many chunks are on their way; each that becomes durable makes room.
 */
void wb_log_seal(struct wb_log *log, bool close);

/** wb_log_seal_full() - seal the open chunk if nothing more can be reserved. Needs log->lock. */
void wb_log_seal_full(struct wb_log *log);

/** wb_log_open() - open the next segment if none is open and one is prepared. Needs log->lock. */
void wb_log_open(struct wb_log *log);

/**
 * wb_log_next_write() - the next chunk to write, its header in place
 * @commit: somebody waits for durability
 * @how: set to what the write is to carry
 *
 * Needs log->lock. Return: NULL if none is complete.
 */
struct wb_chunk *wb_log_next_write(struct wb_log *log, bool commit, enum wb_write_how *how);

/** wb_log_durable_moved() - tell the lockless readers. Needs log->lock. */
void wb_log_durable_moved(struct wb_log *log);

/**
 * wb_log_retire() - empty the buffer of segment @id, which is about to be prepared
 *
 * May sleep a little, while readers copy. Return: false if it is still needed.
 */
bool wb_log_retire(struct wb_log *log, u64 id);

/** wb_log_prepared() - buffer and slot of segment order.prepared + 1 are empty. Needs log->lock. */
void wb_log_prepared(struct wb_log *log);

/**
 * wb_log_get_buf() - a reference on the buffer that holds segment @id
 *
 * Any context. Return: NULL if none does: the segment is wholly on the cache device.
 */
struct wb_rambuf *wb_log_get_buf(struct wb_log *log, u64 id);

static inline void wb_log_put_buf(struct wb_rambuf *buf)
{
	atomic_dec_return_release(&buf->readers);
}

/* Is anything in the open chunk? A hint without the lock. */
bool wb_log_open_is_empty(const struct wb_log *log);

/* Blocks that are left in the open segment. */
u32 wb_log_open_room(const struct wb_log *log);

/* Can nobody reserve anything? Stays so while log->gate is set. */
bool wb_log_is_shut(const struct wb_log *log);

#endif /* WB_RAMBUF_H */
