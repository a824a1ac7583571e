// SPDX-License-Identifier: GPL-2.0
/*
 * create: start a cache.
 *
 * All that can be wrong is looked for before the kernel is asked, as here it can be said better:
 * the superblock is read, and the backing device held against it. The kernel checks again.
 */
#include <sys/sysmacros.h>
#include <uuid/uuid.h>

#include "media.h"
#include "state.h"
#include "sysfs.h"

struct plan {
	const char *name;
	char uuid[sizeof(DM_UUID_PREFIX) + UUID_STR_LEN];
	u64 sectors;
	char table[4096];
};

/* ---------------------------------------------------------------- is it the right pair? */

static int check_backing(const struct media *m, const struct device *backing,
			 const struct options *o)
{
	char id[WB_BACKING_ID_LEN];

	if (backing->sectors < m->s.geom.backing_sectors) {
		err("%s has %llu sectors, but cache %s belongs to a device of %llu: it is not that one",
		    backing->path, (unsigned long long)backing->sectors, m->dev->path,
		    (unsigned long long)m->s.geom.backing_sectors);
		return RC_DEVICE;
	}
	if (!*m->s.backing_id)
		return RC_OK;
	device_identity(backing, m->s.backing_id, id);
	if (!strcmp(id, m->s.backing_id))
		return RC_OK;
	if (o->force) {
		warn("%s is '%s', but cache %s belongs to '%s'; going on because of --force",
		     backing->path, *id ? id : "unknown", m->dev->path, m->s.backing_id);
		return RC_OK;
	}
	err("%s is '%s', but cache %s belongs to '%s'. With the wrong device all data on it would be "
	    "lost; if it is a true copy of that device, add --force", backing->path,
	    *id ? id : "unknown", m->dev->path, m->s.backing_id);
	return RC_REFUSED;
}

static int look_at_pair(struct plan *p, struct device *backing, struct device *cache,
			const struct options *o)
{
	struct media *m = malloc(sizeof(*m));
	char uuid[UUID_STR_LEN];
	int rc;

	if (!m)
		return out_of_memory();
	media_read(m, cache);
	if (m->super_verdict != WB_OK)
		rc = media_explain(m);
	else if (m->shorter)
		rc = media_shorter(m);
	else
		rc = media_writable(m, o->force);
	if (!rc)
		rc = check_backing(m, backing, o);
	if (!rc) {
		p->sectors = m->s.geom.backing_sectors;
		uuid_unparse_lower(m->s.uuid, uuid);
		snprintf(p->uuid, sizeof(p->uuid), DM_UUID_PREFIX "%s", uuid);
	}
	free(m);
	return rc;
}

/* ---------------------------------------------------------------- the table line */

static int build_table(struct plan *p, const struct device *backing, const struct device *cache,
		       const struct options *o)
{
	char key[48], value[24];
	size_t used;
	int i, rc;

	used = (size_t)snprintf(p->table, sizeof(p->table), "%u:%u %u:%u", major(backing->rdev),
				minor(backing->rdev), major(cache->rdev), minor(cache->rdev));
	if (o->nr_kv)
		used += (size_t)snprintf(p->table + used, sizeof(p->table) - used, " %d",
					 o->nr_kv * 2);
	for (i = 0; i < o->nr_kv; i++) {
		rc = knob_check(o->kv[i], key, sizeof(key), value, sizeof(value));
		if (rc)
			return rc;
		if (used + sizeof(key) + sizeof(value) >= sizeof(p->table)) {
			err("too many options");
			return RC_USAGE;
		}
		used += (size_t)snprintf(p->table + used, sizeof(p->table) - used, " %s %s", key,
					 value);
	}
	return RC_OK;
}

/*
 * Open both, look, and close them again: the kernel opens them exclusively itself.
 */
static int prepare(struct plan *p, const char *backing, const char *cache, const struct options *o)
{
	struct device b, c;
	int rc = device_check_pair(backing, cache);

	if (!rc)
		rc = device_open(&c, cache, 0);
	if (rc)
		return rc;
	rc = device_open(&b, backing, 0);
	if (!rc) {
		rc = look_at_pair(p, &b, &c, o);
		if (!rc)
			rc = build_table(p, &b, &c, o);
		device_close(&b);
	}
	device_close(&c);
	return rc;
}

int verb_create(const struct args *a, const struct options *o)
{
	struct plan p = { .name = a->v[0] };
	char key[48], value[24];
	int rc = RC_OK, i;

	for (i = 0; !rc && i < o->nr_kv; i++)
		rc = knob_check(o->kv[i], key, sizeof(key), value, sizeof(value));
	if (!rc && (!*p.name || strchr(p.name, '/') || strlen(p.name) >= DM_NAME_MAX)) {
		err("'%s' is not a name a device can have", p.name);
		rc = RC_USAGE;
	}
	if (!rc)
		rc = dm_begin();
	if (rc)
		return rc;
	if (dm_exists(p.name, NULL)) {
		err("there is already a device '%s'", p.name);
		return RC_BUSY;
	}
	rc = prepare(&p, a->v[1], a->v[2], o);
	if (rc)
		return rc;
	if (dm_exists(NULL, p.uuid)) {
		err("the cache on %s is already in use, by the device with UUID %s", a->v[2],
		    p.uuid);
		return RC_BUSY;
	}
	rc = dm_need_target();
	if (!rc)
		rc = dm_create_device(p.name, p.uuid, p.sectors, p.table);
	if (!rc)
		printf("/dev/mapper/%s is %s, cached by %s\n", p.name, a->v[1], a->v[2]);
	return rc;
}
