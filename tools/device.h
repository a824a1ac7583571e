/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Block devices, and image files in their place for the offline verbs.
 *
 * A block device is always opened exclusively: what is mounted, used as swap, part of a RAID or
 * under another device-mapper device is refused with RC_BUSY and told by whom it is held. An image
 * file cannot be held that way, but one that a loop device uses is refused as well.
 *
 * Reads and writes of a block device bypass the page cache (but for DEVICE_CACHED): the kernel's
 * target writes past it, so it may be stale, and an error must name the very block.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <sys/types.h>

#include "tool.h"
#include "format.h"

struct device {
	const char *path;
	int fd;
	bool block;		/* a block device, else an image file */
	dev_t rdev;		/* of a block device */
	dev_t dev;		/* where the node or file itself lies */
	ino_t ino;
	u64 sectors;
	void *bounce;		/* aligned, WB_MAX_SEGMENT_SIZE bytes */
};

enum device_how {
	DEVICE_WRITE	= 1 << 0,	/* for writing too */
	DEVICE_IMAGE	= 1 << 1,	/* a regular file will do */
	DEVICE_CACHED	= 1 << 2,	/* through the page cache: for many small writes */
};

/**
 * device_open() - open a device or an image file
 * @d: filled in
 * @path: as the user said it; must live as long as @d
 * @how: enum device_how
 *
 * Return: RC_OK, or another code after a message.
 */
int device_open(struct device *d, const char *path, unsigned int how);
void device_close(struct device *d);

/*
 * Whole or nothing, at most WB_MAX_SEGMENT_SIZE bytes, at offsets and of lengths that are multiples
 * of WB_BLOCK_SIZE (of WB_SECTOR_SIZE with DEVICE_CACHED).
 * Return: 0 or a negative errno; beyond the end is -EIO. They print nothing.
 */
int device_read(struct device *d, u64 offset, size_t len, void *buf);
int device_write(struct device *d, u64 offset, size_t len, const void *buf);

/* Make all writes durable, device cache included. Return: 0 or a negative errno. */
int device_sync(struct device *d);

/*
 * Refuse two paths to the same storage: one device, or a disk and its partition. To be asked before
 * opening them, as the second one would only be found busy.
 */
int device_check_pair(const char *backing, const char *cache);

#endif /* DEVICE_H */
