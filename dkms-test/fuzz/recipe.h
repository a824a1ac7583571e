/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Recipes: how the inputs for whole images are written down.
 *
 * An image is mostly zeros and checksums, so bytes of it make bad inputs. A recipe is a list of
 * steps of 16 bytes, and any bytes are a recipe. The first step is the geometry; the image is
 * formatted, and each further step goes on from what is there: append a chunk as the module would,
 * recover as the module would, damage something. Some write any bytes at any offset of any
 * structure, with or without the checksum that then fits; so whatever media can hold can be written
 * as a recipe, and what a long life would leave takes a few steps.
 */
#ifndef RECIPE_H
#define RECIPE_H

#include "image.h"

struct step {
	u8 code;		/* enum step_code, modulo */
	u8 a;
	u16 b;
	u32 c;
	u64 v;
} __packed;

enum step_code {
	STEP_CHUNK,	/* a: entries and how; b: tombstones, stride; c: first block; v: masks */
	STEP_SEGMENT,	/* the next chunk is the first of the segment a (signed) behind the next */
	STEP_DURABLE,	/* the durable point is the last chunk (or, a, further on or back) */
	STEP_EPOCH,	/* epoch of the chunks to come: + a, signed */
	STEP_KEEP,	/* remember, or go back to (a odd), where we are; b: one of four */
	STEP_LINK,	/* what the next chunk links to: c */
	STEP_RECOVER,	/* the log is recovered, and a new life begins */
	STEP_MIGRATE,	/* record: all but the last a segments are migrated. b: which copies */
	STEP_STOP,	/* record: durable up to the last chunk, a odd: stopped in order. b: copies */
	STEP_RECORD,	/* record: field a is v (b & 4: relative); b & 3: which copies */
	STEP_POKE,	/* structure a: v at byte b, c & 7 + 1 bytes; c & 8: keep the checksum */
	STEP_FLIP,	/* turn over bit v of the image's written parts */
	STEP_ZERO,	/* destroy block b of the slot of segment now + a */
	STEP_MOVE,	/* copy c blocks from block a to block b of the slots */
	STEP_RELINK,	/* make the chain right again: a: links, data checksums, places, epochs */
	STEP_UNREADABLE,	/* block b of the slots (or superblock, record: a) cannot be read */
	STEP_RESIZE,	/* the device is a (signed) sectors * 8 longer */
	STEP_FOREIGN,	/* somebody else's signature a */
	STEP_OPTIONS,	/* what the target is to do: v */
	NR_STEP_CODES
};

/**
 * struct recipe - an image that was made
 * @im: the device
 * @g: its geometry
 * @honest: nothing was done but what the module does, so the log is whole
 * @must: if @honest: the last chunk that must be found again
 * @options: of STEP_OPTIONS
 */
struct recipe {
	struct image *im;
	struct wb_geom g;
	bool honest;
	struct wb_pos must;
	u64 options;
};

void recipe_make(struct recipe *r, struct image *im, const uint8_t *data, size_t size);

/* In words, on standard error. */
void recipe_show(const uint8_t *data, size_t size);

#endif /* RECIPE_H */
