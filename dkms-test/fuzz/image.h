/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small cache device in memory, for targets that take whole images.
 *
 * It may be a memfd, mapped, so that code which wants a file descriptor (libblkid, the tool's own
 * device.c) sees the very same bytes. Some of its blocks may be unreadable until written to.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include "fuzz.h"

#define IMAGE_SLOT_BLOCKS	256u	/* blocks of all slots together */
#define IMAGE_BLOCKS		((u32)(WB_FIRST_SLOT_OFFSET >> WB_BLOCK_SHIFT) + IMAGE_SLOT_BLOCKS)
#define IMAGE_BYTES		((size_t)IMAGE_BLOCKS << WB_BLOCK_SHIFT)

/**
 * struct image - the device
 * @fd: the memfd, or -1
 * @path: names it, for whoever opens it
 * @base: all of it; beyond @sectors there is room that the device does not have
 * @sectors: how long it is
 * @written: blocks that may hold something else than zeros
 * @unreadable: blocks that give read errors
 * @nr_unreadable: so many
 */
struct image {
	int fd;
	char path[32];
	u8 *base;
	u64 sectors;
	bool written[IMAGE_BLOCKS];
	bool unreadable[IMAGE_BLOCKS];
	u32 nr_unreadable;
};

/* @file: with a file descriptor; without one it is faster. */
void image_init(struct image *im, bool file);

/* Blank again, so many sectors long. */
void image_clear(struct image *im, u64 sectors);

/* Set the length, also of the file. */
void image_resize(struct image *im, u64 sectors);

/* The block at byte @offset, to be written to. */
void *image_touch(struct image *im, u64 offset);

static inline void *image_at(const struct image *im, u64 offset)
{
	return im->base + offset;
}

/* A read or write of the device. Return: 0 or -EIO. */
int image_read(const struct image *im, u64 offset, size_t len, void *to);
int image_write(struct image *im, u64 offset, size_t len, const void *from);

/* Remember what is there; is it still the same; put it back. */
struct image_copy {
	u8 *base;
	bool written[IMAGE_BLOCKS];
};

void image_save(const struct image *im, struct image_copy *to);
bool image_same(const struct image *im, const struct image_copy *as);
void image_restore(struct image *im, const struct image_copy *from);

#endif /* IMAGE_H */
