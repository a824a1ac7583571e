/* SPDX-License-Identifier: GPL-2.0 */
/* What else is on a device: libblkid looks for signatures of file systems, RAIDs, partitions. */
#ifndef SIGNATURE_H
#define SIGNATURE_H

#include "device.h"

#define MAX_SIGNATURES 16

struct signatures {
	int nr;
	bool unreadable;	/* the device could not be read wherever one might be */
	struct {
		char what[96];	/* "ext4 file system" */
		u64 offset;	/* bytes, of the magic */
	} found[MAX_SIGNATURES];
};

/**
 * signatures_find() - what libblkid finds on a device
 * @d: device
 * @end: only what has its magic before this byte counts, 0 = everywhere
 *
 * Return: RC_OK, whatever was found; RC_DEVICE after saying that one cannot look.
 */
int signatures_find(const struct device *d, u64 end, struct signatures *s);

/* Overwrite the magic of what signatures_find() with the same arguments would find. */
int signatures_wipe(const struct device *d, u64 end);

/* The PARTUUID of a partition. Return: whether there is one. */
bool partition_uuid(const struct device *d, char *to, size_t len);

#endif /* SIGNATURE_H */
