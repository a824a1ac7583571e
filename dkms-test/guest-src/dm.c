// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include "dm.h"

#define ROOM 4096

/* An ioctl's argument: the fixed part, and room for what follows it. */
union arg {
	struct dm_ioctl io;
	char bytes[sizeof(struct dm_ioctl) + ROOM];
};

static int call(unsigned long what, const char *name, union arg *a)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/mapper/control", O_RDWR);
	if (fd < 0)
		die("cannot open /dev/mapper/control: %s", strerror(errno));
	a->io.version[0] = DM_VERSION_MAJOR;
	a->io.data_size = sizeof(*a);
	a->io.data_start = sizeof(a->io);
	snprintf(a->io.name, sizeof(a->io.name), "%s", name);
	return ioctl(fd, what, a) ? errno : 0;
}

int dm_load(const char *name, u64 sectors, const char *target, const char *params)
{
	union arg a = { .io.target_count = 1 };
	struct dm_target_spec *t = (void *)(a.bytes + sizeof(a.io));

	t->length = sectors;
	snprintf(t->target_type, sizeof(t->target_type), "%s", target);
	if ((size_t)snprintf((char *)(t + 1), ROOM - sizeof(*t), "%s", params) >=
	    ROOM - sizeof(*t))
		die("a table line is too long");
	return call(DM_TABLE_LOAD, name, &a);
}

int dm_suspend(const char *name, bool noflush)
{
	union arg a = {
		.io.flags = DM_SUSPEND_FLAG | (noflush ? DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG : 0),
	};

	return call(DM_DEV_SUSPEND, name, &a);
}

int dm_resume(const char *name)
{
	union arg a = {};

	return call(DM_DEV_SUSPEND, name, &a);
}

int dm_remove(const char *name)
{
	union arg a = {};

	return call(DM_DEV_REMOVE, name, &a);
}

int dm_create_empty(const char *name)
{
	union arg a = {};

	return call(DM_DEV_CREATE, name, &a);
}

int dm_status(const char *name)
{
	union arg a = {};

	return call(DM_TABLE_STATUS, name, &a);
}

int dm_create(const char *name, u64 sectors, const char *target, const char *params)
{
	int err = dm_create_empty(name);

	if (err)
		return err;
	err = dm_load(name, sectors, target, params);
	if (!err)
		err = dm_resume(name);
	if (err)
		dm_remove(name);
	return err;
}

int dm_message(const char *name, const char *text)
{
	union arg a = {};
	struct dm_target_msg *m = (void *)(a.bytes + sizeof(a.io));

	snprintf(m->message, ROOM - sizeof(*m), "%s", text);
	return call(DM_TARGET_MSG, name, &a);
}

const char *dm_node(const char *name)
{
	static char path[32];
	union arg a = {};
	int err;

	err = call(DM_DEV_STATUS, name, &a);
	if (err)
		die("no device %s: %s", name, strerror(err));
	snprintf(path, sizeof(path), "/dev/dm-%u", minor(a.io.dev));
	return path;
}

void wb_status(const char *name, struct wb_status *s)
{
	union arg a = {};
	struct dm_target_spec *t = (void *)(a.bytes + sizeof(a.io));
	char *word, *rest;
	int err, i;

	err = call(DM_TABLE_STATUS, name, &a);
	if (err || strcmp(t->target_type, "writeboost"))
		die("no status of %s: %s", name, err ? strerror(err) : t->target_type);
	memset(s, 0, sizeof(*s));
	word = strtok_r((char *)(t + 1), " ", &rest);
	for (i = 1; word && i < WB_STATUS_FIELDS; i++, word = strtok_r(NULL, " ", &rest)) {
		if (i == 2)
			snprintf(s->health, sizeof(s->health), "%s", word);
		else if (i == 3)
			snprintf(s->caching, sizeof(s->caching), "%s", word);
		else
			s->n[i] = strtoull(word, NULL, 10);
	}
	if (i < WB_STATUS_FIELDS)
		die("the status line of %s has only %d fields", name, i - 1);
}

void wb_message(const char *name, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int err;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	err = dm_message(name, text);
	if (err)
		die("%s refuses the message '%s': %s", name, text, strerror(err));
}
