/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A cache device read offline: its superblocks and records, and the walk of src/segment/recover.c
 * over it. Nothing here writes.
 */
#ifndef MEDIA_H
#define MEDIA_H

#include "copies.h"
#include "device.h"
#include "recover.h"

/* One copy of a superblock or record: what was found at its place. */
struct super_copy {
	enum wb_verdict verdict;
	struct wb_super s;	/* if WB_OK */
	u8 raw[WB_BLOCK_SIZE];
};

struct record_copy {
	enum wb_verdict verdict;
	struct wb_record r;	/* if WB_OK */
	u8 raw[WB_BLOCK_SIZE];
};

struct media {
	struct device *dev;
	struct super_copy super[WB_NR_COPIES];
	struct record_copy record[WB_NR_COPIES];

	/* What counts, as the target would choose it. */
	enum wb_verdict super_verdict;
	struct wb_super s;
	int super_which;
	enum wb_verdict record_verdict;	/* only meaningful if super_verdict is WB_OK */
	struct wb_record r;
	int record_which;
	bool shorter;			/* the device is shorter than the superblock says */
};

/* Read superblocks and records. Unreadable or bad ones are verdicts, not errors. */
void media_read(struct media *m, struct device *d);

/* A good superblock and a good record, on a device that is long enough: the log can be walked. */
static inline bool media_whole(const struct media *m)
{
	return m->super_verdict == WB_OK && m->record_verdict == WB_OK && !m->shorter;
}

/* Does any copy look like a superblock of ours, good or bad? */
bool media_is_ours(const struct media *m);

/*
 * Say why a device without a good superblock cannot be used, and what to do.
 * Return: RC_DAMAGE where a cache of ours was, otherwise RC_DEVICE.
 */
int media_explain(const struct media *m);

/*
 * Does it seem to have been given to something else? What that has written may have left any of our
 * superblocks as it is. Where our own first one is gone, a device that cannot be searched counts as an
 * error; otherwise the damage at hand is enough. *@found: says so, if it does.
 * Return: RC_OK or RC_DEVICE.
 */
int media_find_others(const struct media *m, bool *found);

/*
 * May this cache be written to? Not if it has features that a writer must know and we do not; nor,
 * without @force, where media_find_others() finds something.
 * Return: RC_OK, RC_DEVICE or RC_REFUSED after saying so.
 */
int media_writable(const struct media *m, bool force);

/* Say that the device is shorter than recorded. Return: RC_DEVICE. */
int media_shorter(const struct media *m);

/* Read blocks of a slot of segment @id: struct wb_walk_ops' read. Return: 0 or -EIO. */
int media_read_slot(const struct media *m, u64 id, u32 block, u32 nr, void *buf);

/* Something found by the walk that a person should know. */
struct finding {
	u64 id;
	u32 block;
	enum wb_verdict why;
	char text[80];
};

#define MAX_FINDINGS 64

/**
 * struct log_scan - the result of walking a log
 * @walk: the walk; @walk.state says how the log ends
 * @unreadable: a read error where it decides; @walk.bad_id says where
 * @damaged: chain broken, data of a durable chunk bad, or @unreadable
 * @broken: the chain is broken by damage: the target refuses to start
 * @rotten_chunks: chunks in the chain with bad data, which were durable
 * @findings, @nr_findings: what the walk noted; only the first ones are kept, all are counted
 * @copies: every entry of every accepted chunk, in log order
 * @cut: the last chunk before the first damage; where a log that is cut ends
 * @cut_end, @cut_crc, @cut_chunks: as last_end, last_crc, nr_chunks of struct wb_walk
 * @cut_copies: how many of @copies lie before the first damage
 */
struct log_scan {
	struct wb_walk walk;
	bool unreadable;
	bool damaged;
	bool broken;
	u64 rotten_chunks;
	struct finding findings[MAX_FINDINGS];
	u64 nr_findings;
	struct copies copies;

	struct wb_pos cut;
	u32 cut_end;
	u32 cut_crc;
	u64 cut_chunks;
	size_t cut_copies;

	/* private */
	const struct media *media;
	bool verify;
	bool bad_data;		/* the next chunk to be applied was noted as rotten */
	u8 *buf;
};

/**
 * scan_log() - walk the log of @m, which is media_whole()
 * @verify: check the data of every chunk, and mark the bad copies
 *
 * Return: RC_OK whatever the state of the log, RC_MEMORY, or RC_INTERRUPTED. scan_free() after it.
 */
int scan_log(struct log_scan *s, const struct media *m, bool verify);
void scan_free(struct log_scan *s);

/* "clean", "dirty", "torn tail" or "damaged". */
const char *scan_state(const struct log_scan *s);

#endif /* MEDIA_H */
