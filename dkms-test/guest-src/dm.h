/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Device-mapper by its ioctls: a test that kills a device in the middle of a load, or looks at the
 * status after each write, cannot wait for a program to be started.
 */
#ifndef DM_H
#define DM_H

#include "common.h"

/* What a status line says; see doc/writeboost.rst. Fields are counted from 1, [0] is unused. */
#define WB_STATUS_FIELDS	30

enum wb_field {
	F_DIRTY = 6,
	F_CURRENT = 8,
	F_DURABLE = 9,
	F_MIGRATED = 10,
	F_READ_RAM = 11,
	F_READ_CACHE,
	F_READ_PARTIAL,
	F_READ_MISS,
	F_ABSORBED = 19,
	F_FLUSHES,
	F_FUAS,
	F_CHUNKS,
	F_BYPASSES = 27,
};

struct wb_status {
	u64 n[WB_STATUS_FIELDS];
	char health[16];
	char caching[16];
};

/* All of these return 0 or an errno. */
int dm_create(const char *name, u64 sectors, const char *target, const char *params);
int dm_create_empty(const char *name);
int dm_load(const char *name, u64 sectors, const char *target, const char *params);
int dm_suspend(const char *name, bool noflush);
int dm_resume(const char *name);
int dm_remove(const char *name);
int dm_status(const char *name);
int dm_message(const char *name, const char *text);

/* The node of a device, /dev/dm-N, in a buffer that the next call overwrites. Dies without it. */
const char *dm_node(const char *name);

/* Dies if the device is not there or is no writeboost. */
void wb_status(const char *name, struct wb_status *s);

/* Send a message, with a format; dies if it is refused. */
void wb_message(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif /* DM_H */
