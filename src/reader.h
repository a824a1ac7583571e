/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading the cache device for recovery's walk, ahead of it.
 *
 * The walk goes from header to header, one at a time. Where the next one stands in a segment is said
 * by the one before; but each segment's first header stands at its slot's beginning. So segments are
 * read ahead side by side, each in a *lane* that follows its headers on its own:
 *
 *   lane 0   H ─▶ H ─▶ H        segment 17: three chunks
 *   lane 1   H                  segment 18: filled in one go
 *   lane 2   H ─▶ H             segment 19 ...
 *
 * A lane believes what a header says of its length; only the walk judges. All that a wrong guess can
 * do is to have read a block that nobody asks for. What no lane holds is read when it is asked for.
 *
 * No lock: one task uses a reader. Its own lock is for the requests' completions.
 */
#ifndef WB_READER_H
#define WB_READER_H

#include "cache.h"

struct wb_reader;

/**
 * wb_reader_new() - a reader for one walk
 * @c: the cache, whose device is read
 * @first: segment with which the walk begins
 * @last: no segment behind this one is read ahead
 *
 * Reads nothing yet. Sleeps. Return: NULL if there is not enough memory.
 */
struct wb_reader *wb_reader_new(struct wb_cache *c, u64 first, u64 last);

/* Waits for what is in flight. Sleeps. NULL is fine. */
void wb_reader_free(struct wb_reader *r);

/**
 * wb_reader_peek() - a header that the walk has come to, if it was read ahead
 * @id: segment
 * @block: block in its slot
 *
 * Sleeps until it is read. Return: the header without what follows its last entry, until the next
 * call; NULL if it was not read ahead or could not be read.
 */
const void *wb_reader_peek(struct wb_reader *r, u64 id, u32 block);

/**
 * wb_reader_hold() - keep what wb_reader_peek() returned last
 *
 * Return: true if it stays until wb_reader_drop(), which it has to be given to before the reader is
 * freed; false if it goes with the next call, as ever.
 */
bool wb_reader_hold(struct wb_reader *r);

/* @header: what is held, and is not needed any more */
void wb_reader_drop(struct wb_reader *r, const void *header);

/**
 * wb_reader_read() - read blocks of a segment; as read of struct wb_walk_ops
 * @id: segment
 * @block: first block in its slot
 * @nr: blocks
 * @buf: @nr blocks; page-aligned if @nr is more than one
 *
 * Sleeps. Return: 0 or -EIO.
 */
int wb_reader_read(struct wb_reader *r, u64 id, u32 block, u32 nr, void *buf);

#endif /* WB_READER_H */
