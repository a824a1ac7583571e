/* SPDX-License-Identifier: GPL-2.0 */
/*
 * writeboost-ctl's verbs, called as functions on an image, with what they print caught.
 *
 * The tool's own objects run, down to its reads and writes of a file descriptor. Between them and
 * the rest of the tool stand the functions here (the linker's --wrap): they make blocks unreadable
 * and writes fail, and see to it that nothing is written by who may not, or where there is nothing.
 */
#ifndef VERBS_H
#define VERBS_H

#include "image.h"
#include "tool.h"

struct extent {
	u64 sector, nr;
};

#define MAX_EXTENTS 8192

/**
 * struct verbs - what surrounds a call
 * @im: the cache device; set it
 * @may_write: the verb may write to it
 * @fail_at: this write to it, counted from 1, and all after it fail; 0 = none
 * @writes: writes to it so far
 * @failed: one of them failed
 * @backing_fd, @backing: another memfd, for the verbs that take a backing device
 * @backing_sectors: its length
 * @backing_written: what was written to it
 */
struct verbs {
	struct image *im;
	bool may_write;
	u32 fail_at, writes;
	bool failed;
	int backing_fd;
	char backing[32];
	u64 backing_sectors;
	struct extent backing_written[MAX_EXTENTS];
	u32 nr_backing_written;
};

extern struct verbs verbs;

void verbs_init(struct image *im);
void verbs_backing(u64 sectors);

/* What one call said. */
struct said {
	int rc;
	char *out, *err;
};

/* Call a verb on the image. The one before it in @s is freed. */
void verbs_call(struct said *s, int (*verb)(const struct args *, const struct options *),
		const struct options *o);

static inline bool says(const struct said *s, const char *what)
{
	return strstr(s->out, what) || strstr(s->err, what);
}

/* The first "key":NUMBER in the output, which must be there. */
u64 said_number(const struct said *s, const char *key);

/* Is a backing sector in one of the ranges that it names? */
bool said_sector(const struct said *s, u64 sector);

#endif /* VERBS_H */
