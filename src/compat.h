/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only place that knows of kernel versions. What differs is found out by looking at what the
 * headers define, for stable trees backport interfaces and version numbers then lie.
 */
#ifndef WB_COMPAT_H
#define WB_COMPAT_H

#include <linux/blkdev.h>
#include <linux/device-mapper.h>

/* 6.5: the mode a block device is opened with got a type of its own. */
#ifndef BLK_OPEN_WRITE
#define BLK_OPEN_WRITE FMODE_WRITE
#endif

#endif /* WB_COMPAT_H */
