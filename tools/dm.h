/* SPDX-License-Identifier: GPL-2.0 */
/*
 * device-mapper, by way of libdevmapper: finding, making and removing writeboost devices, asking
 * for their table and status, sending them messages.
 *
 * All return an exit code and print the message that goes with it, unless said otherwise.
 */
#ifndef DM_H
#define DM_H

#include <sys/types.h>

#include "tool.h"

#define DM_TARGET	"writeboost"
#define DM_NAME_MAX	128	/* the ending zero counts */
#define DM_UUID_PREFIX	"WRITEBOOST-"

struct dm_device {
	char name[DM_NAME_MAX];
	char uuid[130];
	dev_t rdev;
	int open_count;
	bool suspended;
	u64 sectors;
	dev_t backing, cache;	/* from the table; 0 if it names none */
	char *table;		/* parameters of the live table */
	char *status;		/* status line, without start, length and target */
};

/* Get ready; finds out whether we may, and whether there is device-mapper at all. */
int dm_begin(void);

/* Find a device by name (or path) and read its table and status. dm_device_free() after RC_OK. */
int dm_find(const char *name, struct dm_device *d);
void dm_device_free(struct dm_device *d);

/* All writeboost devices, sorted by name; *@v is to be freed by dm_free_all(). */
int dm_find_all(struct dm_device **v, size_t *nr);
void dm_free_all(struct dm_device *v, size_t nr);

/* Read the status again. */
int dm_refresh(struct dm_device *d);

/* Does device-mapper know this name (or, with @uuid, this UUID)? Prints nothing. */
bool dm_exists(const char *name, const char *uuid);

/* Make sure that the kernel has the target, loading the module if it has not. */
int dm_need_target(void);

/* Make and start a device of one target. */
int dm_create_device(const char *name, const char *uuid, u64 sectors, const char *table);

/* How a device stopped, as far as the kernel log tells. */
struct dm_stopped {
	bool known;		/* @dirty is */
	u64 dirty;		/* blocks that stay on the cache device */
	bool lost;		/* not everything could be made durable before */
};

int dm_remove_device(const char *name, struct dm_stopped *how);

/*
 * Send a message. @usage_code: what -EINVAL means to the caller (a bad value is a usage error).
 */
int dm_send(const char *name, const char *message, int usage_code);

#endif /* DM_H */
