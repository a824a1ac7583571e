// SPDX-License-Identifier: GPL-2.0
#include <libdevmapper.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm.h"
#include "kmsg.h"
#include "sysfs.h"

/* libdevmapper prints errors as it likes; keep them to ourselves, and say what they mean. */
static void quiet(int level, const char *file, int line, int dm_errno, const char *fmt, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)dm_errno;
	(void)fmt;
}

static bool udev_runs(void)
{
	return !access("/run/udev/control", F_OK);
}

int dm_begin(void)
{
	struct dm_task *t;
	int e = 0;

	dm_log_with_errno_init(quiet);
	/* Without udev nobody would answer our cookies, and the nodes are ours to make. */
	if (!udev_runs())
		dm_udev_set_sync_support(0);
	t = dm_task_create(DM_DEVICE_VERSION);
	if (!t || !dm_task_run(t))
		e = t && dm_task_get_errno(t) ? dm_task_get_errno(t) : ENODEV;
	if (t)
		dm_task_destroy(t);
	if (geteuid() != 0) {
		err("only root may do this");
		return RC_PERMISSION;
	}
	if (!e)
		return RC_OK;
	return fail_errno(e, "cannot talk to device-mapper by /dev/mapper/control (is the module "
			  "dm_mod loaded?)");
}

/* ---------------------------------------------------------------- looking */

static struct dm_task *task_for(int type, const char *name)
{
	struct dm_task *t = dm_task_create(type);

	if (t && dm_task_set_name(t, name))
		return t;
	if (t)
		dm_task_destroy(t);
	return NULL;
}

/*
 * Run a task that asks for the table or status. *@params: a copy of the parameters of a writeboost
 * target, or NULL if the device is none. Return: 0, or an errno; ENXIO if there is no such device.
 */
static int ask(int type, struct dm_device *d, const char *name, char **params)
{
	struct dm_task *t = task_for(type, name);
	char *target = NULL, *text = NULL;
	uint64_t start, length;
	struct dm_info info;
	int e = 0;

	*params = NULL;
	if (!t)
		return EINVAL;
	/* A status is a look, and must not make the device write anything. */
	dm_task_no_flush(t);
	if (!dm_task_run(t)) {
		e = dm_task_get_errno(t);
	} else if (!dm_task_get_info(t, &info) || !info.exists) {
		e = ENXIO;
	} else {
		dm_get_next_target(t, NULL, &start, &length, &target, &text);
		if (target && !strcmp(target, DM_TARGET)) {
			snprintf(d->name, sizeof(d->name), "%s", dm_task_get_name(t));
			snprintf(d->uuid, sizeof(d->uuid), "%s", dm_task_get_uuid(t) ?: "");
			d->rdev = makedev(info.major, info.minor);
			d->open_count = info.open_count;
			d->suspended = info.suspended;
			d->sectors = length;
			*params = strdup(text ? text : "");
			e = *params ? 0 : ENOMEM;
		}
	}
	dm_task_destroy(t);
	return e;
}

static dev_t device_in_table(const char *word)
{
	unsigned int ma, mi;
	struct stat st;

	if (sscanf(word, "%u:%u", &ma, &mi) == 2)
		return makedev(ma, mi);
	return !stat(word, &st) && S_ISBLK(st.st_mode) ? st.st_rdev : 0;
}

static void parse_table(struct dm_device *d)
{
	char backing[256], cache[256];

	if (sscanf(d->table, "%255s %255s", backing, cache) == 2) {
		d->backing = device_in_table(backing);
		d->cache = device_in_table(cache);
	}
}

/* Return: 0, an errno, or ENOTTY for a device with another target. */
static int load(const char *name, struct dm_device *d)
{
	int e;

	memset(d, 0, sizeof(*d));
	e = ask(DM_DEVICE_TABLE, d, name, &d->table);
	if (!e && !d->table)
		e = ENOTTY;
	if (!e)
		e = ask(DM_DEVICE_STATUS, d, name, &d->status);
	if (!e && !d->status)
		e = ENOTTY;
	if (e)
		dm_device_free(d);
	else
		parse_table(d);
	return e;
}

static int look_failed(int e, const char *name)
{
	switch (e) {
	case ENXIO:
		err("there is no device '%s'; " TOOL_NAME " list shows those there are", name);
		return RC_DEVICE;
	case ENOTTY:
		err("'%s' is not a writeboost device", name);
		return RC_DEVICE;
	case EINVAL:
		err("'%s' is not a name a device can have", name);
		return RC_USAGE;
	default:
		return fail_errno(e, "cannot look at '%s'", name);
	}
}

int dm_find(const char *name, struct dm_device *d)
{
	int e = load(name, d);

	return e ? look_failed(e, name) : RC_OK;
}

int dm_refresh(struct dm_device *d)
{
	char *status;
	int e = ask(DM_DEVICE_STATUS, d, d->name, &status);

	if (!e && !status)
		e = ENOTTY;
	if (e)
		return look_failed(e, d->name);
	free(d->status);
	d->status = status;
	return RC_OK;
}

void dm_device_free(struct dm_device *d)
{
	free(d->table);
	free(d->status);
	d->table = NULL;
	d->status = NULL;
}

static int by_name(const void *a, const void *b)
{
	const struct dm_device *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The names of @names that are writeboost devices. What goes away meanwhile is left out. */
static int collect(const struct dm_names *names, struct dm_device **v, size_t *nr)
{
	struct dm_device *bigger;
	uint32_t next;

	if (!names->dev)
		return RC_OK;
	do {
		bigger = realloc(*v, (*nr + 1) * sizeof(**v));
		if (!bigger)
			return out_of_memory();
		*v = bigger;
		switch (load(names->name, &(*v)[*nr])) {
		case 0:
			(*nr)++;
			break;
		case ENOMEM:
			return out_of_memory();
		default:
			break;
		}
		next = names->next;
		names = (const struct dm_names *)((const char *)names + next);
	} while (next);
	return RC_OK;
}

int dm_find_all(struct dm_device **v, size_t *nr)
{
	struct dm_task *t = dm_task_create(DM_DEVICE_LIST);
	struct dm_names *names;
	int rc = RC_OK;

	*v = NULL;
	*nr = 0;
	if (!t)
		return out_of_memory();
	if (!dm_task_run(t))
		rc = fail_errno(dm_task_get_errno(t), "cannot list devices");
	else if ((names = dm_task_get_names(t)))
		rc = collect(names, v, nr);
	dm_task_destroy(t);
	if (rc) {
		dm_free_all(*v, *nr);
		*v = NULL;
		*nr = 0;
	} else if (*nr) {
		qsort(*v, *nr, sizeof(**v), by_name);
	}
	return rc;
}

void dm_free_all(struct dm_device *v, size_t nr)
{
	while (nr)
		dm_device_free(&v[--nr]);
	free(v);
}

bool dm_exists(const char *name, const char *uuid)
{
	struct dm_task *t = dm_task_create(DM_DEVICE_INFO);
	struct dm_info info;
	bool there = false;

	if (!t)
		return false;
	if ((uuid ? dm_task_set_uuid(t, uuid) : dm_task_set_name(t, name)) && dm_task_run(t) &&
	    dm_task_get_info(t, &info))
		there = info.exists;
	dm_task_destroy(t);
	return there;
}
