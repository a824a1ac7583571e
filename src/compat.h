/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only place that knows of kernel versions. What differs is found out by looking at what the
 * headers define, for stable trees backport interfaces and version numbers then lie.
 */
#ifndef WB_COMPAT_H
#define WB_COMPAT_H

#include <linux/blk-cgroup.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/hrtimer.h>
#include <linux/ioprio.h>

/* 6.5: the mode a block device is opened with got a type of its own. */
#ifndef BLK_OPEN_WRITE
#define BLK_OPEN_WRITE FMODE_WRITE
#endif

/* 6.13: hrtimer_setup(); hrtimer_init() is gone since 6.15. Kbuild looks for it. */
static inline void wb_hrtimer_setup(struct hrtimer *timer,
				    enum hrtimer_restart (*fn)(struct hrtimer *timer))
{
#ifdef HAVE_HRTIMER_SETUP
	hrtimer_setup(timer, fn, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer->function = fn;
#endif
}

#endif /* WB_COMPAT_H */
