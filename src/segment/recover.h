/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reading a log back: which chunks count.
 *
 * The walk starts behind the last migrated segment and goes from header to header for as long as
 * each is exactly what must follow the one before. The hard part is its end. What stands there may
 * be
 *
 *   - nothing yet, or leftovers of an earlier lap or life: the log simply ends here;
 *   - a *torn tail*: a chunk that was being written when the power went. Nobody was told that it is
 *     durable, so it is cut off, with everything behind it;
 *   - *damage*: a chunk that was durable and is no longer readable. Cutting there would silently
 *     drop acknowledged data, so the walk refuses.
 *
 * Torn and rotten look the same on the media. What tells them apart is whether anybody claims that
 * the chunk was durable: the record, a header before it, or a header at a higher position in the
 * log, of this life, that was written although the bad one cannot be read. That is why, after the
 * first bad header, the walk looks through the rest of that slot and at the first headers of as many
 * following segments as it takes to find one (WB_SEARCH_SEGMENTS). Where there is one, or it is bad,
 * the rest of that slot is searched as well. Where there is none, there may be others still, if the
 * power failed while the first was on its way; so the next WB_SEARCH_BLINDLY slots are searched, too.
 *
 * After a stop in order the record says that the log ends at the durable point: then nothing can be
 * torn, nothing is searched, and recovery reads the log alone.
 *
 * What cannot be told: the very last chunks made durable, when nothing was written after them that
 * says so. That window closes when the record is written: when idle, at stop, and every
 * update_record_interval.
 *
 * Which life a chunk belongs to (invariant 3). Ids from life_start on were given out in this life
 * (or, where this life wrote nothing, in an earlier one): only its epoch is accepted there. All
 * below life_start was made durable before this life began, so any gap there is damage, and
 * life_link says with which header it must end.
 */
#ifndef WB_RECOVER_H
#define WB_RECOVER_H

#include "encode.h"

/**
 * struct wb_walk_ops - how the walk reaches the media
 * @read: read @nr blocks from block @block of the slot of segment @id into @buf. 0, -EIO where the
 *	media cannot be read, or another error that ends the walk
 * @peek: the same for one block, where it is in memory already: it stays there until the next call of
 *	@peek or @read. NULL: it is not, so read it. Of a header, what follows its last entry may be
 *	anything, and need not be there. May be NULL
 * @hold: what @peek returned last is to stay until @drop is called with it. False: it does not, so copy
 *	it. NULL if it never does
 * @drop: it may go. All that is held is dropped before the walk ends. NULL if @hold is
 * @apply: an accepted chunk, called in log order, at most once for each. @raw is its header block,
 *	valid during the call. May be NULL. An error ends the walk
 * @note: something a person should know, @text is a full sentence without a period. May be NULL
 */
struct wb_walk_ops {
	int (*read)(void *ctx, u64 id, u32 block, u32 nr, void *buf);
	const void *(*peek)(void *ctx, u64 id, u32 block);
	bool (*hold)(void *ctx);
	void (*drop)(void *ctx, const void *block);
	int (*apply)(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw);
	void (*note)(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text);
};

enum wb_log_state {
	WB_LOG_ENDS,		/* ends where nothing was written: nothing to cut */
	WB_LOG_TORN,		/* a torn tail was cut off */
	WB_LOG_DAMAGED,		/* a durable chunk is unreadable: needs check */
};

/**
 * struct wb_walk - the walk and its result
 * @geom: geometry
 * @record: the record the walk starts from
 * @verify_all: check the data of every chunk, not only of those past the durable point
 * @ops: the media
 * @ctx: for @ops
 * @slot_buf: memory for a slot, or NULL: then it is allocated if it is needed
 * @state: how the log ends
 * @last: the last accepted chunk; its id is @record->migrated where there is none
 * @last_end: block after it in its slot (0 where there is none)
 * @last_crc: CRC of its header (where there is none, @record->life_link): what the next chunk links to
 * @durable: the highest durable point that anything in the log claims
 * @nr_chunks: accepted
 * @nr_blocks: data blocks in them
 * @bad_id: where the log ends or breaks: segment
 * @bad_block: and block in its slot
 * @bad_why: what was found there
 */
struct wb_walk {
	const struct wb_geom *geom;
	const struct wb_record *record;
	bool verify_all;
	const struct wb_walk_ops *ops;
	void *ctx;
	void *slot_buf;

	enum wb_log_state state;
	struct wb_pos last;
	u32 last_end;
	u32 last_crc;
	struct wb_pos durable;
	u64 nr_chunks;
	u64 nr_blocks;
	u64 bad_id;
	u32 bad_block;
	enum wb_verdict bad_why;

	/* private */
	bool link_known;
	u32 link;
	u64 nr_read_errors;
	struct wb_walk_chunk *fifo, **fifo_tail, *spare;
	void *header;
	void *buf;
};

/**
 * wb_walk() - read the log from the record to its end
 * @w: the fields above @state filled in
 *
 * Context: sleeps if @w->ops->read does.
 * Return: 0 with @w->state set; -EIO where the media could not be read at a place that decides
 *	(a read error is never a torn tail; @w->bad_id says where); -ENOMEM; or what an op returned.
 */
int wb_walk(struct wb_walk *w);

/**
 * wb_walk_must_record() - is something to be recorded before any header is destroyed?
 * @w: a walk that returned 0, not damaged
 * @r: what to write, if so: the record as it is, and what the log calls durable
 *
 * The header that is to be destroyed may be the only one that calls chunks before it durable. Were
 * that forgotten, another recovery, after one that was cut off, would take a rotten one of them for a
 * torn tail and cut there. One copy has to say it; until the new life is recorded the other one must
 * not be written, so that in turn is the one to begin with.
 */
bool wb_walk_must_record(const struct wb_walk *w, struct wb_record *r);

/**
 * wb_walk_next_life() - the record of the life that begins after this walk
 * @w: a walk that returned 0, not damaged
 * @r: what to write. Everything accepted counts as durable: flush the cache device before
 *
 * Before it is written, wb_walk_must_record() and then wb_walk_must_destroy() must have been obeyed,
 * and flushed.
 */
void wb_walk_next_life(const struct wb_walk *w, struct wb_record *r);

/**
 * wb_walk_must_destroy() - headers that recovery has to make powerless before a new life
 * @w: a walk that returned 0, not damaged
 * @i: 0, 1, …
 * @id: segment of the header to overwrite with zeros
 * @block: its block in the slot
 *
 * Return: false when there is no @i'th one.
 */
bool wb_walk_must_destroy(const struct wb_walk *w, int i, u64 *id, u32 *block);

/**
 * wb_verify_chunk() - check the data blocks of a chunk against its header
 * @h: decoded header
 * @raw: the header block
 * @data: the data blocks that follow it
 * @bad: if not NULL, set to the index of the first bad entry
 */
enum wb_verdict wb_verify_chunk(const struct wb_header *h, const struct wb_header_disk *raw,
				const void *data, u32 *bad);

#endif /* WB_RECOVER_H */
