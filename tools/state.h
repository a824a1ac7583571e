/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The status line of doc/writeboost.rst, taken apart.
 */
#ifndef STATE_H
#define STATE_H

#include "dm.h"

/* The numbers of the line, in its order, from field 4 on. */
enum state_field {
	S_CAPACITY, S_USED, S_DIRTY, S_CLEAN,
	S_CURRENT_ID, S_DURABLE_ID, S_MIGRATED_ID,
	S_READ_RAM, S_READ_CACHE, S_READ_PARTIAL, S_READ_MISS,
	S_WRITE_RAM, S_WRITE_CACHE, S_WRITE_PARTIAL, S_WRITE_MISS,
	S_ABSORBED, S_FLUSHES, S_FUAS, S_CHUNKS, S_MEAN_FILL,
	S_MIGRATED_BLOCKS, S_MIGRATED_REQUESTS, S_DISCARDS, S_BYPASSES,
	S_CACHE_ERRORS, S_BACKING_ERRORS,
	S_NR_FIELDS
};

#define MAX_KNOBS 32

struct state {
	char health[24];	/* ok, degraded, failed, needs_check */
	char caching[24];	/* writeback, drained */
	u64 n[S_NR_FIELDS];
	int nr_knobs;
	struct {
		char key[48];
		char value[24];
	} knob[MAX_KNOBS];
};

/* The key of a field in JSON, with its unit. */
extern const char *const state_key[S_NR_FIELDS];

/* Take the status line of @d apart. */
int state_parse(struct state *s, const struct dm_device *d);

/* The value of a knob, NULL if there is none of this name. */
const char *state_knob(const struct state *s, const char *key);

static inline bool state_is(const char *word, const char *what)
{
	return !strcmp(word, what);
}

/* Bytes of so many blocks. */
static inline u64 state_bytes(const struct state *s, enum state_field f)
{
	return s->n[f] * 4096;
}

/* ---------------------------------------------------------------- knobs (knobs.c) */

/*
 * Is "KEY=VALUE" a knob that this tool knows, with a value in its range? Splits it into @key and
 * @value. Return: RC_OK, or RC_USAGE after a message that names the range.
 */
int knob_check(const char *kv, char *key, size_t key_len, char *value, size_t value_len);

#endif /* STATE_H */
