// SPDX-License-Identifier: GPL-2.0
/*
 * drain, undrain and remove.
 *
 * The kernel drains by itself once it is told to; waiting here is only watching. So a timeout or
 * Ctrl-C ends the watching, never the draining.
 */
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "state.h"
#include "sysfs.h"

#define POLL_SECONDS		0.25
#define LINE_SECONDS		5	/* between lines where there is no terminal */
#define STALLED_SECONDS		30	/* a device with errors that stands still is given up */
#define UNDRAIN_SECONDS		10	/* to wait for the end of an undrain */

struct watch {
	struct dm_device *d;
	struct state s;
	bool terminal;
	double begin, last_line, last_progress;
	double last_time, rate;		/* blocks per second, smoothed */
	u64 most, least, last_dirty;	/* dirty blocks */
	u64 last_id;			/* migrated */
};

/* ---------------------------------------------------------------- what is shown */

static void draw(struct watch *w, bool end)
{
	char left[TEXT_LEN], speed[TEXT_LEN], eta[TEXT_LEN];
	u64 dirty = w->s.n[S_DIRTY], done = w->most - dirty;
	unsigned int percent = w->most ? (unsigned int)(100 * (double)done / (double)w->most) : 100;
	char bar[31];
	size_t fill = (sizeof(bar) - 1) * percent / 100;

	size_text(dirty * 4096, left);
	size_text((u64)(w->rate * 4096), speed);
	if (w->rate > 0)
		time_text((double)dirty / w->rate, eta);
	else
		strcpy(eta, "-");
	if (!w->terminal) {
		printf("%s: %u%%, %s left, %s/s, %s to go\n", w->d->name, percent, left, speed,
		       eta);
		fflush(stdout);
		return;
	}
	memset(bar, '#', fill);
	memset(bar + fill, '.', sizeof(bar) - 1 - fill);
	bar[sizeof(bar) - 1] = '\0';
	printf("\r[%s] %3u%%  %s left  %s/s  %s to go \033[K%s", bar, percent, left, speed, eta,
	       end ? "\n" : "");
	fflush(stdout);
}

static void measure(struct watch *w, double t)
{
	u64 dirty = w->s.n[S_DIRTY], id = w->s.n[S_MIGRATED_ID];
	double dt = t - w->last_time, now_rate;

	if (dirty > w->most)
		w->most = dirty;
	/* The count of blocks written is no progress: it may be the same ones again and again. */
	if (dirty < w->least || id != w->last_id) {
		w->last_progress = t;
		w->least = dirty;
		w->last_id = id;
	}
	if (dt >= 1) {
		now_rate = dirty < w->last_dirty ? (double)(w->last_dirty - dirty) / dt : 0;
		w->rate = w->rate > 0 ? 0.7 * w->rate + 0.3 * now_rate : now_rate;
		w->last_time = t;
		w->last_dirty = dirty;
	}
}

/* ---------------------------------------------------------------- waiting */

static int gave_up(const struct watch *w, double t)
{
	char cache[256], backing[256];
	bool stalled = t - w->last_progress > STALLED_SECONDS;

	/* With nothing dirty it may be on its way back to mode drained, from an undrain. */
	if (!(state_is(w->s.health, "failed") && w->s.n[S_DIRTY]) &&
	    !(!state_is(w->s.health, "ok") && stalled))
		return RC_OK;
	device_name_of(w->d->cache, cache, sizeof(cache));
	device_name_of(w->d->backing, backing, sizeof(backing));
	err("%s cannot be drained: its health is %s (errors: %llu of cache %s, %llu of backing %s); "
	    "%llu dirty blocks stay on the cache device, see the kernel log", w->d->name, w->s.health,
	    (unsigned long long)w->s.n[S_CACHE_ERRORS], cache,
	    (unsigned long long)w->s.n[S_BACKING_ERRORS], backing,
	    (unsigned long long)w->s.n[S_DIRTY]);
	return RC_DEVICE;
}

static int stop_watching(const struct watch *w, const char *why)
{
	char left[TEXT_LEN];

	err("%s; %s goes on draining in the kernel, %s left; '" TOOL_NAME " undrain %s' stops it",
	    why,
	    w->d->name, size_text(state_bytes(&w->s, S_DIRTY), left), w->d->name);
	return RC_INTERRUPTED;
}

static int watch(struct watch *w, u32 timeout)
{
	struct timespec pause = { .tv_nsec = (long)(POLL_SECONDS * 1e9) };
	double t;
	int rc;

	for (;;) {
		rc = dm_refresh(w->d);
		if (!rc)
			rc = state_parse(&w->s, w->d);
		if (rc)
			return rc;
		t = now();
		measure(w, t);
		if (state_is(w->s.caching, "drained"))
			return RC_OK;
		rc = gave_up(w, t);
		if (rc)
			return rc;
		if (w->terminal || t - w->last_line >= LINE_SECONDS) {
			draw(w, false);
			w->last_line = t;
		}
		if (interrupted)
			return stop_watching(w, "interrupted");
		if (timeout && t - w->begin >= timeout)
			return stop_watching(w, "timed out");
		nanosleep(&pause, NULL);
	}
}

/* Tell the device to drain and wait until it has. */
static int drain(struct dm_device *d, const struct options *o)
{
	struct watch w = { .d = d };
	char took[TEXT_LEN];
	bool was_drained;
	int rc;

	rc = state_parse(&w.s, d);
	if (rc)
		return rc;
	was_drained = state_is(w.s.caching, "drained");
	if (d->suspended) {
		err("%s is suspended: it cannot drain before it is resumed (dmsetup resume %s)",
		    d->name, d->name);
		return RC_BUSY;
	}
	/* Also if it is drained: an undrain may be under way. */
	rc = dm_send(d->name, "drain", 0);
	if (!rc)
		rc = dm_refresh(d);
	if (!rc)
		rc = state_parse(&w.s, d);
	if (rc)
		return rc;
	if (was_drained && state_is(w.s.caching, "drained")) {
		printf("%s is drained already\n", d->name);
		return RC_OK;
	}
	w.terminal = isatty(STDOUT_FILENO);
	w.begin = now();
	w.last_line = w.begin;
	w.last_time = w.begin;
	w.last_progress = w.begin;
	w.most = w.s.n[S_DIRTY];
	w.last_dirty = w.most;
	w.least = w.most;
	w.last_id = w.s.n[S_MIGRATED_ID];
	rc = watch(&w, o->timeout);
	if (w.terminal)
		draw(&w, true);
	if (!rc)
		printf("%s is drained: all data is on the backing device (%s)\n", d->name,
		       time_text(now() - w.begin, took));
	return rc;
}

/* ---------------------------------------------------------------- the verbs */

static int find(const char *name, struct dm_device *d)
{
	int rc = dm_begin();

	return rc ? rc : dm_find(name, d);
}

int verb_drain(const struct args *a, const struct options *o)
{
	struct dm_device d;
	int rc = find(a->v[0], &d);

	if (rc)
		return rc;
	rc = drain(&d, o);
	if (!rc)
		printf("Writes go to the backing device now, until: " TOOL_NAME " undrain %s\n",
		       d.name);
	dm_device_free(&d);
	return rc;
}

/*
 * A large cache takes longer than anybody likes to wait for; it serves its users meanwhile. @before:
 * its state, to tell whether something fails.
 */
static int watch_undrain(struct dm_device *d, const struct state *before)
{
	struct timespec pause = { .tv_nsec = (long)(POLL_SECONDS * 1e9) };
	double begin = now();
	char cache[256], backing[256];
	struct state s;
	int rc;

	for (;;) {
		rc = dm_refresh(d);
		if (!rc)
			rc = state_parse(&s, d);
		if (rc)
			return rc;
		if (!state_is(s.caching, "drained")) {
			printf("%s caches writes\n", d->name);
			return RC_OK;
		}
		if (interrupted || state_is(s.health, "failed") || now() - begin >= UNDRAIN_SECONDS)
			break;
		nanosleep(&pause, NULL);
	}
	device_name_of(d->cache, cache, sizeof(cache));
	device_name_of(d->backing, backing, sizeof(backing));
	if (state_is(s.health, "failed")) {
		err("%s stays drained: its cache device %s has failed; remove %s, replace that device, and "
		    "create %s again", d->name, cache, d->name, d->name);
		return RC_DEVICE;
	}
	if (s.n[S_BACKING_ERRORS] > before->n[S_BACKING_ERRORS]) {
		err("%s is still drained, and its backing device %s has errors: the kernel log says "
		    "whether it stays so, and why", d->name, backing);
		return RC_DEVICE;
	}
	printf("%s will cache writes when it has forgotten its old copies; '" TOOL_NAME
	       " status %s' shows that\n", d->name, d->name);
	return interrupted ? RC_INTERRUPTED : RC_OK;
}

int verb_undrain(const struct args *a, const struct options *o)
{
	struct dm_device d;
	struct state before;
	int rc = find(a->v[0], &d);

	(void)o;
	if (rc)
		return rc;
	rc = state_parse(&before, &d);
	if (!rc)
		rc = dm_send(d.name, "undrain", 0);
	if (!rc)
		rc = watch_undrain(&d, &before);
	dm_device_free(&d);
	return rc;
}

static int in_use(const struct dm_device *d)
{
	char holder[512];

	if (!d->open_count)
		return RC_OK;
	/* A passing look by udev is waited for when removing; a mount is not. */
	device_holder(d->rdev, holder, sizeof(holder));
	if (!*holder)
		return RC_OK;
	err("%s is in use: %s", d->name, holder);
	return RC_BUSY;
}

/*
 * Say what stays behind. The RAM buffer goes to the cache device when the device stops, and somebody may
 * have written until then: the kernel's last word counts, not the status before.
 */
static void say_left(const struct dm_device *d, const struct state *s, const struct dm_stopped *how)
{
	u64 dirty = how->known ? how->dirty : s->n[S_DIRTY];
	char size[TEXT_LEN], cache[256], backing[256];

	device_name_of(d->cache, cache, sizeof(cache));
	device_name_of(d->backing, backing, sizeof(backing));
	if (how->lost)
		warn("%s did not take all that was in memory: writes that had been acknowledged and not "
		     "flushed are lost; see the kernel log", cache);
	if (!dirty) {
		printf("%s removed\n", d->name);
		return;
	}
	printf("%s removed; %s%s of dirty data stays on %s.\n"
	       "Do not use %s without it; to go on: " TOOL_NAME " create %s %s %s\n",
	       d->name, how->lost ? "at most " : "", size_text(dirty << WB_BLOCK_SHIFT, size), cache,
	       backing, d->name, backing, cache);
}

int verb_remove(const struct args *a, const struct options *o)
{
	struct dm_stopped how;
	struct dm_device d;
	struct state s;
	int rc;

	if (o->timeout && !o->drain) {
		err("remove: --timeout is for --drain");
		return RC_USAGE;
	}
	rc = find(a->v[0], &d);
	if (rc)
		return rc;
	rc = in_use(&d);
	if (!rc && o->drain)
		rc = drain(&d, o);
	if (!rc)
		rc = dm_refresh(&d);
	if (!rc)
		rc = state_parse(&s, &d);
	if (!rc)
		rc = dm_remove_device(d.name, &how);
	if (!rc)
		say_left(&d, &s, &how);
	dm_device_free(&d);
	return rc;
}
