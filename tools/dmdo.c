// SPDX-License-Identifier: GPL-2.0
/* The half of dm.h that changes something: load the module, create, remove, send messages. */
#include <libdevmapper.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm.h"
#include "kmsg.h"
#include "sysfs.h"

/* ---------------------------------------------------------------- the module */

static bool has_target(void)
{
	struct dm_task *t = dm_task_create(DM_DEVICE_LIST_VERSIONS);
	struct dm_versions *v;
	bool found = false;
	uint32_t next;

	if (!t)
		return false;
	if (dm_task_run(t) && (v = dm_task_get_versions(t))) {
		do {
			found = !strcmp(v->name, DM_TARGET);
			next = v->next;
			v = (struct dm_versions *)((char *)v + next);
		} while (next && !found);
	}
	dm_task_destroy(t);
	return found;
}

static bool run_modprobe(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execlp("modprobe", "modprobe", "dm_writeboost", (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		return false;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

int dm_need_target(void)
{
	if (has_target())
		return RC_OK;
	if (run_modprobe() && has_target())
		return RC_OK;
	err("the kernel has no target '" DM_TARGET "', and the module dm_writeboost cannot be loaded: "
	    "is the package writeboost-dkms installed, and built for this kernel (dkms status)?");
	return RC_DEVICE;
}

/* ---------------------------------------------------------------- create */

/*
 * Run a task that makes or removes a node, in step with udev where it runs. Return: 0 or an errno.
 */
static int run_and_settle(struct dm_task *t)
{
	bool udev = dm_udev_get_sync_support();
	uint32_t cookie = 0;
	int e = 0;

	if (udev && !dm_task_set_cookie(t, &cookie, 0))
		return EIO;
	if (!dm_task_run(t))
		e = dm_task_get_errno(t) ?: EIO;
	/* The cookie has to be given back after a failure, too. */
	if (udev)
		dm_udev_wait(cookie);
	else
		dm_task_update_nodes();
	return e;
}

static int create_failed(int e, int kmsg, const char *name)
{
	char reason[1024];

	kmsg_reason(kmsg, reason, sizeof(reason));
	err("cannot create %s: %s%s%s", name, strerror(e), *reason ? "; the kernel says: " : "",
	    reason);
	if (!*reason)
		err("the kernel log (dmesg) may tell why");
	/* So the target refuses a damaged log. */
	if (e == EUCLEAN)
		return RC_DAMAGE;
	return code_of_errno(e);
}

/* A task for @name; NULL without memory. */
static struct dm_task *task_for(int type, const char *name)
{
	struct dm_task *t = dm_task_create(type);

	if (t && dm_task_set_name(t, name))
		return t;
	if (t)
		dm_task_destroy(t);
	return NULL;
}

static int run_and_free(struct dm_task *t, bool settle)
{
	int e = 0;

	if (!t)
		return ENOMEM;
	if (settle)
		e = run_and_settle(t);
	else if (!dm_task_run(t))
		e = dm_task_get_errno(t) ?: EIO;
	dm_task_destroy(t);
	return e;
}

static int make_empty(const char *name, const char *uuid)
{
	struct dm_task *t = task_for(DM_DEVICE_CREATE, name);

	/* The node comes with the table, and so after udev may look into it. */
	if (t && (!dm_task_set_uuid(t, uuid) ||
		  !dm_task_set_add_node(t, DM_ADD_NODE_ON_RESUME))) {
		dm_task_destroy(t);
		t = NULL;
	}
	return run_and_free(t, false);
}

static int load_table(const char *name, u64 sectors, const char *table)
{
	struct dm_task *t = task_for(DM_DEVICE_RELOAD, name);

	if (t && !dm_task_add_target(t, 0, sectors, DM_TARGET, table)) {
		dm_task_destroy(t);
		t = NULL;
	}
	return run_and_free(t, false);
}

static int resume(const char *name)
{
	struct dm_task *t = task_for(DM_DEVICE_RESUME, name);

	if (t && !dm_task_set_add_node(t, DM_ADD_NODE_ON_RESUME)) {
		dm_task_destroy(t);
		t = NULL;
	}
	return run_and_free(t, true);
}

/*
 * In three steps, where libdevmapper would do all at once: it would then also remove what it made,
 * and with that forget the error number, which tells damage from other errors.
 */
int dm_create_device(const char *name, const char *uuid, u64 sectors, const char *table)
{
	int kmsg = kmsg_open(), e, rc = RC_OK;

	e = make_empty(name, uuid);
	if (!e) {
		e = load_table(name, sectors, table);
		if (!e)
			e = resume(name);
		if (e)
			run_and_free(task_for(DM_DEVICE_REMOVE, name), true);
	}
	if (e)
		rc = create_failed(e, kmsg, name);
	else if (kmsg >= 0)
		close(kmsg);
	return rc;
}

/* ---------------------------------------------------------------- remove, message */

struct stopping {
	const char *name;
	struct dm_stopped *how;
	char last[1024];
};

static void note_stop(void *ctx, const char *text, bool own)
{
	struct stopping *s = ctx;
	size_t len = strlen(s->name);
	unsigned long long dirty;

	(void)own;
	snprintf(s->last, sizeof(s->last), "%s", text);
	if (strncmp(text, s->name, len) || strncmp(text + len, ": ", 2))
		return;
	text += len + 2;
	if (sscanf(text, "stopped with %llu dirty blocks", &dirty) == 1) {
		s->how->known = true;
		s->how->dirty = dirty;
	} else if (!strncmp(text, "stopped without making everything durable", 41)) {
		s->how->lost = true;
	}
}

int dm_remove_device(const char *name, struct dm_stopped *how)
{
	struct dm_task *t = dm_task_create(DM_DEVICE_REMOVE);
	struct stopping s = { .name = name, .how = how };
	int kmsg, e;

	memset(how, 0, sizeof(*how));
	if (!t)
		return out_of_memory();
	if (!dm_task_set_name(t, name)) {
		dm_task_destroy(t);
		err("'%s' is not a name a device can have", name);
		return RC_USAGE;
	}
	/* udev and others open devices for a moment to look at them. */
	dm_task_retry_remove(t);
	kmsg = kmsg_open();
	e = run_and_settle(t);
	dm_task_destroy(t);
	kmsg_each(kmsg, note_stop, &s);
	if (!e)
		return RC_OK;
	if (e == EBUSY) {
		err("%s is in use: close or unmount what has it open, then try again", name);
		return RC_BUSY;
	}
	return fail_errno(e, "cannot remove %s%s%s", name, *s.last ? "; the kernel says: " : "",
			  s.last);
}

int dm_send(const char *name, const char *message, int usage_code)
{
	struct dm_task *t = dm_task_create(DM_DEVICE_TARGET_MSG);
	char reason[1024];
	int kmsg, e = 0;

	if (!t)
		return out_of_memory();
	kmsg = kmsg_open();
	if (!dm_task_set_name(t, name) || !dm_task_set_sector(t, 0) ||
	    !dm_task_set_message(t, message))
		e = ENOMEM;
	else if (!dm_task_run(t))
		e = dm_task_get_errno(t) ?: EIO;
	dm_task_destroy(t);
	kmsg_reason(kmsg, reason, sizeof(reason));
	if (!e)
		return RC_OK;
	err("%s refused '%s': %s%s%s", name, message, strerror(e),
	    *reason ? "; the kernel says: " : "", reason);
	return e == EINVAL && usage_code ? usage_code : code_of_errno(e);
}
