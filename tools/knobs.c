// SPDX-License-Identifier: GPL-2.0
/* get, set, and what the knobs are: doc/writeboost.rst. */
#include "state.h"

static const struct {
	const char *key;
	u64 min, max;
} knobs[] = {
	{ "allow_migrate", 0, 1 },
	{ "enable_migration_modulator", 0, 1 },
	{ "migrate_threshold", 0, 100 },
	{ "nr_max_batched_migration", 1, 256 },
	{ "barrier_deadline_ms", 0, 1000 },
	{ "update_record_interval", 0, 3600 },
	{ "sync_interval", 0, 3600 },
	{ "bypass_run_kib", 0, 65536 },
};

static int no_such_knob(const char *key)
{
	char list[512] = "";
	size_t i, used = 0;

	for (i = 0; i < ARRAY_SIZE(knobs) && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 knobs[i].key);
	err("there is no knob '%s'; there are: %s", key, list);
	return RC_USAGE;
}

int knob_check(const char *kv, char *key, size_t key_len, char *value, size_t value_len)
{
	const char *eq = strchr(kv, '=');
	size_t i;
	u64 n;

	if (!eq || eq == kv || (size_t)(eq - kv) >= key_len || strlen(eq + 1) >= value_len) {
		err("'%s' is not KEY=VALUE", kv);
		return RC_USAGE;
	}
	memcpy(key, kv, (size_t)(eq - kv));
	key[eq - kv] = '\0';
	strcpy(value, eq + 1);
	for (i = 0; i < ARRAY_SIZE(knobs); i++) {
		if (strcmp(key, knobs[i].key))
			continue;
		if (parse_u64(value, &n) && n >= knobs[i].min && n <= knobs[i].max)
			return RC_OK;
		err("%s: '%s' is not a number from %llu to %llu", key, value,
		    (unsigned long long)knobs[i].min, (unsigned long long)knobs[i].max);
		return RC_USAGE;
	}
	return no_such_knob(key);
}

/* Find the device @name and take its status apart. */
static int find_state(const char *name, struct state *s)
{
	struct dm_device d;
	int rc = dm_begin();

	if (!rc)
		rc = dm_find(name, &d);
	if (rc)
		return rc;
	rc = state_parse(s, &d);
	dm_device_free(&d);
	return rc;
}

int verb_get(const struct args *a, const struct options *o)
{
	const char *value;
	struct state s;
	int rc, i;

	(void)o;
	rc = find_state(a->v[0], &s);
	if (rc)
		return rc;
	if (a->nr == 1) {
		for (i = 0; i < s.nr_knobs; i++)
			printf("%s=%s\n", s.knob[i].key, s.knob[i].value);
		return RC_OK;
	}
	value = state_knob(&s, a->v[1]);
	if (!value)
		return no_such_knob(a->v[1]);
	puts(value);
	return RC_OK;
}

int verb_set(const struct args *a, const struct options *o)
{
	char key[48], value[24], message[80], pair[80];
	const char *kv;
	bool two_words;
	struct state s;
	int rc, i;

	(void)o;
	two_words = a->nr == 3 && !strchr(a->v[1], '=') && !strchr(a->v[2], '=');
	if (two_words &&
	    (size_t)snprintf(pair, sizeof(pair), "%s=%s", a->v[1], a->v[2]) >= sizeof(pair)) {
		err("'%s %s' is not a knob and its value", a->v[1], a->v[2]);
		return RC_USAGE;
	}
	/* All are looked at before the first is set. */
	for (i = 1; i < (two_words ? 2 : a->nr); i++) {
		rc = knob_check(two_words ? pair : a->v[i], key, sizeof(key), value, sizeof(value));
		if (rc)
			return rc;
	}
	rc = find_state(a->v[0], &s);
	for (i = 1; !rc && i < (two_words ? 2 : a->nr); i++) {
		kv = two_words ? pair : a->v[i];
		rc = knob_check(kv, key, sizeof(key), value, sizeof(value));
		if (!rc) {
			snprintf(message, sizeof(message), "%s %s", key, value);
			rc = dm_send(a->v[0], message, RC_USAGE);
		}
	}
	return rc;
}
