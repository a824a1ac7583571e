/* SPDX-License-Identifier: GPL-2.0 */
#ifndef WB_RECOVERY_H
#define WB_RECOVERY_H

#include "cache.h"

/**
 * wb_read_super() - read and judge the superblock of a cache device
 * @v: the verdict; @s is filled in where it is WB_OK
 *
 * Sleeps. Return: 0 or -ENOMEM.
 */
int wb_read_super(struct block_device *bdev, struct wb_super *s, enum wb_verdict *v);

/**
 * wb_recover() - rebuild the index from the log and begin a new life
 * @c: a cache object that nobody uses yet
 *
 * Sleeps. Return: 0; -EUCLEAN if the log needs a check (nothing was written then); -EIO; -ENOMEM.
 */
int wb_recover(struct wb_cache *c);

#endif /* WB_RECOVERY_H */
