// SPDX-License-Identifier: GPL-2.0
/*
 * status and list: how the devices are doing, for people and as JSON.
 *
 * Speed needs two looks. They are one second apart, and only where something is dirty.
 */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "encode.h"
#include "state.h"
#include "sysfs.h"

struct view {
	struct dm_device *d;
	struct state s;
	char uuid[UUID_STR_LEN];	/* "" if it cannot be read */
	char backing[256], cache[256];
	bool measured;
	double rate;			/* blocks migrated per second */
};

/*
 * The UUID is in the superblock. The cache device is open in the target, which does not keep us
 * from looking; and the superblock never changes.
 */
static void read_uuid(struct view *v)
{
	static u8 block[WB_NR_COPIES][WB_BLOCK_SIZE];
	const void *copies[WB_NR_COPIES];
	struct wb_super s;
	int fd, i;

	*v->uuid = '\0';
	if (!strncmp(v->d->uuid, DM_UUID_PREFIX, strlen(DM_UUID_PREFIX)) &&
	    strlen(v->d->uuid) == strlen(DM_UUID_PREFIX) + UUID_STR_LEN - 1) {
		snprintf(v->uuid, sizeof(v->uuid), "%s", v->d->uuid + strlen(DM_UUID_PREFIX));
		return;
	}
	fd = open(v->cache, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	for (i = 0; i < WB_NR_COPIES; i++)
		copies[i] = pread(fd, block[i], WB_BLOCK_SIZE, (off_t)WB_SUPER_OFFSET(i)) ==
			    WB_BLOCK_SIZE ? block[i] : NULL;
	close(fd);
	if (wb_super_pick(copies, &s) == WB_OK)
		uuid_unparse_lower(s.uuid, v->uuid);
}

static int view_init(struct view *v, struct dm_device *d)
{
	int rc;

	memset(v, 0, sizeof(*v));
	v->d = d;
	device_name_of(d->backing, v->backing, sizeof(v->backing));
	device_name_of(d->cache, v->cache, sizeof(v->cache));
	rc = state_parse(&v->s, d);
	if (!rc)
		read_uuid(v);
	return rc;
}

/* The second look, a second after the first. What has gone meanwhile keeps its first. */
static int measure(struct view *v, size_t nr)
{
	double begin = now(), dt;
	struct timespec second = { .tv_sec = 1 };
	bool dirty = false;
	struct state s;
	size_t i;
	int rc;

	for (i = 0; i < nr; i++)
		dirty |= v[i].s.n[S_DIRTY];
	if (!dirty)
		return RC_OK;
	nanosleep(&second, NULL);
	if (interrupted)
		return RC_INTERRUPTED;
	for (i = 0; i < nr; i++) {
		rc = dm_refresh(v[i].d);
		if (!rc)
			rc = state_parse(&s, v[i].d);
		if (rc)
			return rc;
		dt = now() - begin;
		v[i].measured = s.n[S_MIGRATED_BLOCKS] >= v[i].s.n[S_MIGRATED_BLOCKS];
		if (v[i].measured)
			v[i].rate = (double)(s.n[S_MIGRATED_BLOCKS] - v[i].s.n[S_MIGRATED_BLOCKS]) / dt;
		v[i].s = s;
	}
	return RC_OK;
}

/* ---------------------------------------------------------------- for people */

static void print_hits(const char *what, const struct state *s, enum state_field first)
{
	u64 ram = s->n[first], cache = s->n[first + 1], partial = s->n[first + 2];
	u64 all = ram + cache + partial + s->n[first + 3];
	char hit[TEXT_LEN], in_ram[TEXT_LEN], in_cache[TEXT_LEN], part[TEXT_LEN], size[TEXT_LEN];

	printf("  %-9s %s", what, size_text(all * 4096, size));
	if (all)
		printf(": %s hits (%s RAM, %s cache), %s partial",
		       percent_text(ram + cache, all, hit), percent_text(ram, all, in_ram),
		       percent_text(cache, all, in_cache), percent_text(partial, all, part));
	putchar('\n');
}

/* The mode, and what to do about it: one sentence. */
static void print_advice(const struct view *v)
{
	const struct state *s = &v->s;

	if (state_is(s->health, "failed"))
		printf("  to do     %s: requests get errors; see dmesg, mend or replace the device that "
		       "fails, then remove and create %s; dirty data stays on %s\n",
		       s->n[S_CACHE_ERRORS] >= s->n[S_BACKING_ERRORS] ? v->cache : v->backing,
		       v->d->name, v->cache);
	else if (state_is(s->health, "degraded") && s->n[S_CACHE_ERRORS] >= s->n[S_BACKING_ERRORS])
		printf("  to do     %s gave errors: see dmesg, save what is dirty with " TOOL_NAME
		       " drain %s, then replace it\n", v->cache, v->d->name);
	else if (state_is(s->health, "degraded"))
		printf("  to do     %s gave errors: see dmesg; if it is failing, " TOOL_NAME " remove %s "
		       "(dirty data stays on %s), copy it to another of the same length, and create %s "
		       "with that\n", v->backing, v->d->name, v->cache, v->d->name);
	else if (state_is(s->health, "needs_check"))
		printf("  to do     the log is damaged: " TOOL_NAME " remove %s, then " TOOL_NAME
		       " check %s\n", v->d->name, v->cache);
	else if (v->d->suspended)
		printf("  to do     it is suspended, all requests wait: dmsetup resume %s\n",
		       v->d->name);
	else if (state_is(s->caching, "drained"))
		printf("  to do     nothing is cached, writes go to %s: remove it, or cache again with "
		       TOOL_NAME " undrain %s\n", v->backing, v->d->name);
}

static void print_migration(const struct view *v)
{
	const struct state *s = &v->s;
	char size[TEXT_LEN], speed[TEXT_LEN], eta[TEXT_LEN];

	printf("  migrated  %s", size_text(state_bytes(s, S_MIGRATED_BLOCKS), size));
	if (s->n[S_MIGRATED_REQUESTS])
		printf(" in %llu requests", (unsigned long long)s->n[S_MIGRATED_REQUESTS]);
	if (v->measured && v->rate > 0)
		printf("; %s/s now, drained in about %s", size_text((u64)(v->rate * 4096), speed),
		       time_text((double)s->n[S_DIRTY] / v->rate, eta));
	else if (v->measured)
		printf("; nothing now");
	putchar('\n');
}

static void print_view(const struct view *v)
{
	const struct state *s = &v->s;
	char size[TEXT_LEN], used[TEXT_LEN], full[TEXT_LEN], dirty[TEXT_LEN], clean[TEXT_LEN];

	printf("%s: %s, %s%s\n", v->d->name, s->health, s->caching,
	       v->d->suspended ? ", suspended" : "");
	printf("  backing   %s, %s\n", v->backing, size_text(v->d->sectors << 9, size));
	size_text(state_bytes(s, S_CAPACITY), size);
	printf("  cache     %s, %s; uuid %s\n", v->cache, size, *v->uuid ? v->uuid : "unknown");
	printf("  full      %s: %s of %s\n", percent_text(s->n[S_USED], s->n[S_CAPACITY], full),
	       size_text(state_bytes(s, S_USED), used), size);
	printf("  dirty     %s (%llu blocks); clean %s\n",
	       size_text(state_bytes(s, S_DIRTY), dirty),
	       (unsigned long long)s->n[S_DIRTY], size_text(state_bytes(s, S_CLEAN), clean));
	print_hits("reads", s, S_READ_RAM);
	print_hits("writes", s, S_WRITE_RAM);
	printf("  log       segment %llu, durable %llu, migrated %llu; %llu chunks of %llu.%02llu blocks; "
	       "%llu flushes, %llu FUAs\n",
	       (unsigned long long)s->n[S_CURRENT_ID], (unsigned long long)s->n[S_DURABLE_ID],
	       (unsigned long long)s->n[S_MIGRATED_ID], (unsigned long long)s->n[S_CHUNKS],
	       (unsigned long long)(s->n[S_MEAN_FILL] / 100),
	       (unsigned long long)(s->n[S_MEAN_FILL] % 100),
	       (unsigned long long)s->n[S_FLUSHES], (unsigned long long)s->n[S_FUAS]);
	print_migration(v);
	if (s->n[S_CACHE_ERRORS] || s->n[S_BACKING_ERRORS])
		printf("  errors    %llu cache, %llu backing\n",
		       (unsigned long long)s->n[S_CACHE_ERRORS],
		       (unsigned long long)s->n[S_BACKING_ERRORS]);
	print_advice(v);
}

/* ---------------------------------------------------------------- for programs */

static struct json_object *json_view(const struct view *v)
{
	struct json_object *o = json_new(), *knobs = json_new();
	u64 n;
	int i;

	json_str(o, "name", v->d->name);
	json_str(o, "uuid", *v->uuid ? v->uuid : NULL);
	json_str(o, "backing", v->backing);
	json_str(o, "cache", v->cache);
	json_num(o, "size_bytes", v->d->sectors << 9);
	json_str(o, "health", v->s.health);
	json_str(o, "caching", v->s.caching);
	json_flag(o, "suspended", v->d->suspended);
	json_num(o, "open_count", (u64)v->d->open_count);
	json_num(o, "block_bytes", WB_BLOCK_SIZE);
	for (i = 0; i < S_NR_FIELDS; i++)
		json_num(o, state_key[i], v->s.n[i]);
	if (v->measured)
		json_num(o, "migration_bytes_per_second", (u64)(v->rate * WB_BLOCK_SIZE));
	else
		json_null(o, "migration_bytes_per_second");
	for (i = 0; i < v->s.nr_knobs; i++) {
		if (parse_u64(v->s.knob[i].value, &n))
			json_num(knobs, v->s.knob[i].key, n);
		else
			json_str(knobs, v->s.knob[i].key, v->s.knob[i].value);
	}
	json_obj(o, "knobs", knobs);
	return o;
}

static int print_json(const struct view *v, size_t nr)
{
	struct json_object *o = json_new(), *list = json_list();
	size_t i;

	for (i = 0; i < nr; i++)
		json_append(list, json_view(&v[i]));
	json_num(o, "schema_version", SCHEMA_VERSION);
	json_obj(o, "devices", list);
	return json_print(o);
}

/* ---------------------------------------------------------------- the verbs */

typedef int (*show_fn)(const struct view *v, size_t nr, const struct options *o);

static int show_status(const struct view *v, size_t nr, const struct options *o)
{
	size_t i;

	if (o->json)
		return print_json(v, nr);
	for (i = 0; i < nr; i++) {
		if (i)
			putchar('\n');
		print_view(&v[i]);
	}
	return RC_OK;
}

static int show_list(const struct view *v, size_t nr, const struct options *o)
{
	char size[TEXT_LEN], dirty[TEXT_LEN];
	size_t i;

	if (o->json)
		return print_json(v, nr);
	for (i = 0; i < nr; i++) {
		if (!i)
			printf("%-16s %-11s %-9s %10s %10s  %-16s %s\n", "NAME", "HEALTH",
			       "CACHING",
			       "SIZE", "DIRTY", "BACKING", "CACHE");
		printf("%-16s %-11s %-9s %10s %10s  %-16s %s\n", v[i].d->name, v[i].s.health,
		       v[i].s.caching, size_text(v[i].d->sectors << 9, size),
		       size_text(state_bytes(&v[i].s, S_DIRTY), dirty), v[i].backing, v[i].cache);
	}
	return RC_OK;
}

static int look(struct dm_device *d, size_t nr, const struct options *o, bool wait, show_fn show)
{
	struct view *v = calloc(nr + 1, sizeof(*v));
	int rc = RC_OK;
	size_t i;

	if (!v)
		return out_of_memory();
	for (i = 0; i < nr && !rc; i++)
		rc = view_init(&v[i], &d[i]);
	if (!rc && wait)
		rc = measure(v, nr);
	if (!rc)
		rc = show(v, nr, o);
	free(v);
	return rc;
}

int verb_status(const struct args *a, const struct options *o)
{
	struct dm_device one, *all;
	size_t nr;
	int rc = dm_begin();

	if (rc)
		return rc;
	if (a->nr) {
		rc = dm_find(a->v[0], &one);
		if (rc)
			return rc;
		rc = look(&one, 1, o, !o->no_wait, show_status);
		dm_device_free(&one);
		return rc;
	}
	rc = dm_find_all(&all, &nr);
	if (rc)
		return rc;
	if (!nr && !o->json)
		printf("there are no writeboost devices\n");
	rc = look(all, nr, o, !o->no_wait, show_status);
	dm_free_all(all, nr);
	return rc;
}

int verb_list(const struct args *a, const struct options *o)
{
	struct dm_device *all;
	size_t nr;
	int rc = dm_begin();

	(void)a;
	if (!rc)
		rc = dm_find_all(&all, &nr);
	if (rc)
		return rc;
	rc = look(all, nr, o, false, show_list);
	dm_free_all(all, nr);
	return rc;
}
