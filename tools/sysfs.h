/* SPDX-License-Identifier: GPL-2.0 */
/* What sysfs and /proc know of a device: its name, its identity, who uses it. */
#ifndef SYSFS_H
#define SYSFS_H

#include <sys/types.h>

#include "device.h"

/* "/dev/name" of a device number, "M:N" where it has no name. Return: @to. */
char *device_name_of(dev_t rdev, char *to, size_t len);

/* What uses a block device: where it is mounted, or which devices are on it. "" if unknown. */
void device_holder(dev_t rdev, char *to, size_t len);

/* Where block device @rdev is mounted; false if it is not. */
bool device_mounted(dev_t rdev, char *to, size_t len);

/* Is a loop device on this file? Its name goes to @to. */
bool image_loop(dev_t dev, ino_t ino, char *to, size_t len);

/* The whole disk that a partition is part of; 0 for what is no partition. */
dev_t disk_of(dev_t rdev);

/**
 * device_identity() - what identifies a device across reboots
 * @d: device; an image file has none
 * @want: NULL, or an identity found earlier, whose kind alone is then looked for
 * @id: WB_BACKING_ID_LEN bytes: "kind:value", or "" where there is none
 *
 * Kinds, best first: dm (UUID of a device-mapper device), md, wwid, serial, partuuid.
 */
void device_identity(const struct device *d, const char *want, char *id);

#endif /* SYSFS_H */
