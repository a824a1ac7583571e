// SPDX-License-Identifier: GPL-2.0
/*
 * How long requests take.
 */
#include <linux/math64.h>

#include "wbdisk.h"

/**
 * wbd_model_finish() - a request has been issued: when will it be done?
 * @disk: the disk
 * @op: what it does
 * @sector: where, sectors of 512 bytes
 * @sectors: how many
 * @now: the time, ns
 *
 * Context: wbd_lock held. Return: the time, ns, not before @now.
 */
u64 wbd_model_finish(struct wbd_disk *disk, enum wbd_op op, u64 sector, u32 sectors, u64 now)
{
	struct wbd_params *p = &disk->params;
	u64 took = (u64)(op == WBD_FLUSH ? p->flush_us : p->delay_us) * NSEC_PER_USEC;

	if (p->reorder && took)
		took = took / 2 + wbd_below(&disk->random, min_t(u64, 2 * took, U32_MAX));
	disk->stats.busy_ns += took;
	return now + took;
}

/**
 * wbd_model_reset() - power was cut: nothing is under way
 * @disk: the disk
 *
 * Context: wbd_lock held.
 */
void wbd_model_reset(struct wbd_disk *disk)
{
}
