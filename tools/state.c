// SPDX-License-Identifier: GPL-2.0
#include "state.h"

const char *const state_key[S_NR_FIELDS] = {
	[S_CAPACITY] = "capacity_blocks",
	[S_USED] = "used_blocks",
	[S_DIRTY] = "dirty_blocks",
	[S_CLEAN] = "clean_blocks",
	[S_CURRENT_ID] = "current_id",
	[S_DURABLE_ID] = "durable_id",
	[S_MIGRATED_ID] = "migrated_id",
	[S_READ_RAM] = "read_hit_ram_blocks",
	[S_READ_CACHE] = "read_hit_cache_blocks",
	[S_READ_PARTIAL] = "read_hit_partial_blocks",
	[S_READ_MISS] = "read_miss_blocks",
	[S_WRITE_RAM] = "write_hit_ram_blocks",
	[S_WRITE_CACHE] = "write_hit_cache_blocks",
	[S_WRITE_PARTIAL] = "write_hit_partial_blocks",
	[S_WRITE_MISS] = "write_miss_blocks",
	[S_ABSORBED] = "absorbed_blocks",
	[S_FLUSHES] = "flushes",
	[S_FUAS] = "fuas",
	[S_CHUNKS] = "chunks",
	[S_MEAN_FILL] = "mean_fill_hundredths_of_blocks",
	[S_MIGRATED_BLOCKS] = "migrated_blocks",
	[S_MIGRATED_REQUESTS] = "migrated_requests",
	[S_DISCARDS] = "discarded_blocks",
	[S_BYPASSES] = "bypassed_blocks",
	[S_CACHE_ERRORS] = "cache_errors",
	[S_BACKING_ERRORS] = "backing_errors",
};

static int bad_line(const struct dm_device *d)
{
	err("the status line of %s is not one this tool knows; is it of the module's version? (%s)",
	    d->name, d->status);
	return RC_DEVICE;
}

static char *word(char **at)
{
	return strtok_r(NULL, " ", at);
}

/* Return: false where a word is missing or no number. */
static bool parse(struct state *s, char *line)
{
	char *at, *w = strtok_r(line, " ", &at), *v;
	u64 n;
	int i;

	if (!w || strcmp(w, "1"))
		return false;
	w = word(&at);
	v = word(&at);
	if (!w || !v)
		return false;
	snprintf(s->health, sizeof(s->health), "%s", w);
	snprintf(s->caching, sizeof(s->caching), "%s", v);
	for (i = 0; i < S_NR_FIELDS; i++) {
		w = word(&at);
		if (!w || !parse_u64(w, &s->n[i]))
			return false;
	}
	w = word(&at);
	if (!w || !parse_u64(w, &n) || n % 2 || n / 2 > MAX_KNOBS)
		return false;
	for (i = 0; i < (int)(n / 2); i++) {
		w = word(&at);
		v = word(&at);
		if (!w || !v)
			return false;
		snprintf(s->knob[i].key, sizeof(s->knob[i].key), "%s", w);
		snprintf(s->knob[i].value, sizeof(s->knob[i].value), "%s", v);
	}
	s->nr_knobs = (int)(n / 2);
	return true;
}

int state_parse(struct state *s, const struct dm_device *d)
{
	char *line = strdup(d->status);
	bool good;

	memset(s, 0, sizeof(*s));
	if (!line)
		return out_of_memory();
	good = parse(s, line);
	free(line);
	return good ? RC_OK : bad_line(d);
}

const char *state_knob(const struct state *s, const char *key)
{
	int i;

	for (i = 0; i < s->nr_knobs; i++)
		if (!strcmp(s->knob[i].key, key))
			return s->knob[i].value;
	return NULL;
}
