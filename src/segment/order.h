/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The order of things: what has happened to each chunk and segment, and what may happen next.
 *
 *   chunk:    OPEN ─▶ SEALED ─▶ WRITING ─▶ WRITTEN ─▶ FLUSHING ─▶ (durable)
 *                                   └── written with FUA ──────────▲
 *   segment:  open ─▶ closed ─▶ durable ─▶ migrated ─▶ recorded ─▶ reusable
 *
 * Chunks are numbered by @seq, one after the other through all segments of a life. The *durable
 * point* is behind the longest run of durable chunks from the beginning: a chunk that is durable by
 * itself, behind one that is not, does not count, for recovery could not reach it.
 *
 * A device flush covers only what was *completed* before the flush was *issued*. So issuing one
 * turns the chunks that are WRITTEN at that moment into FLUSHING, its success makes just those
 * durable, and a chunk whose write completes meanwhile waits for the next one. A chunk written with
 * PREFLUSH and FUA is both: a flush for those before it, and durable itself when it completes. One
 * flush is in flight at most; all who wait share it (group commit).
 *
 * Where all before a chunk needs no further flush, for it is durable, or covered by the flush in
 * flight, or itself on its way with FUA, the chunk needs FUA alone. Any number of these can be in
 * flight: each becomes durable by itself, and the durable point takes them in order.
 *
 * A segment is migrated only when it is closed and wholly durable. A slot is reused only when both
 * copies of the record call its segment migrated; the record says so only after the backing
 * device's flush, which the migrate daemon does before it calls wb_order_migrated().
 *
 * Pure bookkeeping: no I/O, no locks, no sleeping. The caller serialises all calls (log->lock).
 */
#ifndef WB_ORDER_H
#define WB_ORDER_H

#include "encode.h"

/* Chunks that can be on their way between "open" and "durable". */
#define WB_ORDER_CHUNKS		256u

enum wb_chunk_state {
	WB_CHUNK_FREE = 0,	/* durable, or not begun */
	WB_CHUNK_OPEN,
	WB_CHUNK_SEALED,	/* no more writers come in; those inside finish */
	WB_CHUNK_WRITING,	/* its write was issued */
	WB_CHUNK_WRITTEN,	/* its write completed, perhaps into a volatile cache only */
	WB_CHUNK_FLUSHING,	/* and a device flush was issued after that */
	WB_CHUNK_DURABLE,	/* by itself; the durable point may still be before it */
};

struct wb_order_chunk {
	u64 id;			/* its segment */
	u32 chunk;		/* its number there */
	u32 end;		/* block after it in the slot, once sealed */
	u8 state;
	bool fua;		/* its write makes it durable */
	bool flushes;		/* and is a flush for those before it */
	bool closes;		/* the last one of its segment */
};

/**
 * struct wb_order - the state of one log
 * @nr_slots: of the cache
 * @open: seq of the open chunk
 * @first: seq of the first chunk behind the durable point; @first <= @open
 * @durable: the durable point
 * @durable_end: block after it in its slot
 * @current_id: segment of the open chunk, or the last closed one if none is open
 * @prepared: highest segment id whose slot is purged and which may be opened
 * @durable_segment: highest id whose segment is closed and wholly durable
 * @migrated: highest id on the backing device, durably
 * @recorded: what each copy of the record says of @migrated
 * @flushing: a device flush (or a chunk with PREFLUSH) is in flight
 * @failed: a write or flush of the log failed: nothing becomes durable any more
 */
struct wb_order {
	u64 nr_slots;
	u64 open;
	u64 first;
	struct wb_pos durable;
	u32 durable_end;
	u64 current_id;
	u64 prepared;
	u64 durable_segment;
	u64 migrated;
	u64 recorded[WB_NR_COPIES];
	bool flushing;
	bool failed;
	struct wb_order_chunk ring[WB_ORDER_CHUNKS];
};

/* How to write a chunk. */
enum wb_write_how {
	WB_WRITE_PLAIN = 0,
	WB_WRITE_FUA,
	WB_WRITE_FLUSH_FUA,	/* with PREFLUSH and FUA */
};

static inline struct wb_order_chunk *wb_order_chunk(struct wb_order *o, u64 seq)
{
	return &o->ring[seq % WB_ORDER_CHUNKS];
}

/**
 * wb_order_init() - begin a life
 * @o: the state
 * @g: geometry
 * @r: the record of this life, which both copies hold by now
 *
 * Everything before @r->life_start is durable. No segment is open.
 */
void wb_order_init(struct wb_order *o, const struct wb_geom *g, const struct wb_record *r);

/**
 * wb_order_may_prepare() - may the slot of segment @o->prepared + 1 be purged and reused?
 *
 * Both copies of the record must call the segment that lies there migrated. And no segment may get
 * further ahead of the durable point than recovery looks (WB_MAX_VOLATILE_SEGMENTS).
 */
bool wb_order_may_prepare(const struct wb_order *o);

/** wb_order_full() - can no slot be reused before something is migrated and recorded? */
bool wb_order_full(const struct wb_order *o);

/** wb_order_prepared() - that slot is purged: no index entry and no reader is left in it */
void wb_order_prepared(struct wb_order *o);

/**
 * wb_order_may_open() - is there a prepared segment to open, and room for a chunk on its way?
 */
bool wb_order_may_open(const struct wb_order *o);

/** wb_order_open_segment() - begin chunk 0 of segment @o->current_id + 1 as chunk @o->open */
void wb_order_open_segment(struct wb_order *o);

/** wb_order_may_seal() - is there room for one more chunk on its way? */
bool wb_order_may_seal(const struct wb_order *o);

/**
 * wb_order_seal() - the open chunk is sealed
 * @end: block after its last one
 * @closes: it is the last of its segment; otherwise the next chunk of the same segment is open now
 *
 * Return: its seq.
 */
u64 wb_order_seal(struct wb_order *o, u32 end, bool closes);

/**
 * wb_order_close() - close the current segment although its open chunk is empty
 *
 * Only if an earlier chunk of the segment was sealed; an empty segment stays open.
 */
void wb_order_close(struct wb_order *o);

/**
 * wb_order_write() - the write of sealed chunk @seq is issued now
 * @commit: somebody waits for durability
 *
 * Return: how. With FUA the write is the commit, and nothing has to follow: what is before it is
 * settled, or it carries PREFLUSH as well, is written, and no flush is in flight.
 */
enum wb_write_how wb_order_write(struct wb_order *o, u64 seq, bool commit);

/**
 * wb_order_written() - the write of chunk @seq completed
 * @ok: successfully
 *
 * Return: true if the durable point moved.
 */
bool wb_order_written(struct wb_order *o, u64 seq, bool ok);

/**
 * wb_order_may_flush() - would a device flush issued now make anything durable?
 *
 * False while one is in flight: who waits joins the next.
 */
bool wb_order_may_flush(const struct wb_order *o);

/** wb_order_flush() - a device flush is issued now */
void wb_order_flush(struct wb_order *o);

/**
 * wb_order_flushed() - that flush completed
 *
 * Return: true if the durable point moved.
 */
bool wb_order_flushed(struct wb_order *o, bool ok);

/**
 * wb_order_all_written() - would a flush issued now see to every chunk before @seq?
 *
 * Each is written, or on its way with FUA.
 */
bool wb_order_all_written(const struct wb_order *o, u64 seq);

/**
 * wb_order_settled() - will every chunk before @seq be durable when what is in flight has succeeded?
 *
 * Then, and only then, a write with FUA alone may be the commit. Not so after a failure.
 */
bool wb_order_settled(const struct wb_order *o, u64 seq);

/**
 * wb_order_migrated() - all up to segment @id is written to the backing device, and its flush
 * succeeded
 */
void wb_order_migrated(struct wb_order *o, u64 id);

/** wb_order_recorded() - copy @copy of the record durably says @migrated */
void wb_order_recorded(struct wb_order *o, int copy, u64 migrated);

/** wb_order_reusable() - segments up to this id may be overwritten */
static inline u64 wb_order_reusable(const struct wb_order *o)
{
	return o->recorded[0] < o->recorded[1] ? o->recorded[0] : o->recorded[1];
}

#endif /* WB_ORDER_H */
