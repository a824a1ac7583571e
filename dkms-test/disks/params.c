// SPDX-License-Identifier: GPL-2.0
/*
 * What `create` can be told, with its defaults.
 */
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/string.h>

#include "wbdisk.h"

static const char *const wbd_models[] = { "none", "disk", "ssd", "net" };
static const char *const wbd_caches[] = { "none", "volatile" };

/**
 * wbd_parse_u64() - a number, with K, M, G if so wished
 * @text: the number
 * @value: the result
 *
 * Return: 0 or -EINVAL.
 */
int wbd_parse_u64(const char *text, u64 *value)
{
	char *end;

	if (!*text)
		return -EINVAL;
	*value = memparse(text, &end);
	return *end ? -EINVAL : 0;
}

struct wbd_choice {
	const char *const *names;
	int count;
};

/* Every key of `create`. A member is 32 or 64 bits wide. */
static const struct wbd_key {
	const char *name;
	size_t offset, size;
	u64 preset, min, max;
	struct wbd_choice choice;
} wbd_keys[] = {
#define KEY(name, member, preset, min, max) \
	{ name, offsetof(struct wbd_params, member), sizeof_field(struct wbd_params, member), \
	  preset, min, max, {} }
#define CHOICE(name, member, preset, names) \
	{ name, offsetof(struct wbd_params, member), sizeof_field(struct wbd_params, member), \
	  preset, 0, ARRAY_SIZE(names) - 1, { names, ARRAY_SIZE(names) } }
	KEY("size", size, 0, PAGE_SIZE, 1ull << 50),
	KEY("sector", sector, 512, 512, 4096),
	CHOICE("cache", volatile_cache, 0, wbd_caches),
	CHOICE("model", model, WBD_MODEL_NONE, wbd_models),
	KEY("fua", fua, 1, 0, 1),
	KEY("reorder", reorder, 1, 0, 1),
	KEY("volatile_max", volatile_max, 64 << 20, 0, 1ull << 40),
	KEY("seed", seed, 1, 0, U64_MAX),
	KEY("delay_us", delay_us, 20, 0, 60000000),
	KEY("flush_us", flush_us, 100, 0, 60000000),
	KEY("seek_min_us", seek_min_us, 500, 0, 1000000),
	KEY("seek_max_us", seek_max_us, 16000, 0, 1000000),
	KEY("rpm", rpm, 7200, 60, 100000),
	KEY("rate", rate, 180, 0, 1000000),
	KEY("wcache", wcache, 0, 0, 1ull << 32),
	KEY("channels", channels, 8, 1, WBD_MAX_CHANNELS),
	KEY("read_us", read_us, 60, 0, 1000000),
	KEY("write_us", write_us, 20, 0, 1000000),
	KEY("kib_ns", kib_ns, 500, 0, 1000000000),
	KEY("latency_us", latency_us, 500, 0, 60000000),
	KEY("jitter_us", jitter_us, 0, 0, 60000000),
};

static void wbd_set_key(struct wbd_params *params, const struct wbd_key *key, u64 value)
{
	void *member = (void *)params + key->offset;

	if (key->size == sizeof(u64))
		*(u64 *)member = value;
	else
		*(u32 *)member = value;
}

static u64 wbd_get_key(const struct wbd_params *params, const struct wbd_key *key)
{
	const void *member = (const void *)params + key->offset;

	return key->size == sizeof(u64) ? *(const u64 *)member : *(const u32 *)member;
}

static int wbd_parse_key(struct wbd_params *params, char *word)
{
	char *text = strchr(word, '=');
	const struct wbd_key *key;
	u64 value;
	int i;

	if (!text)
		return -EINVAL;
	*text++ = '\0';
	for (key = wbd_keys; key < wbd_keys + ARRAY_SIZE(wbd_keys); key++) {
		if (strcmp(key->name, word))
			continue;
		if (key->choice.names) {
			i = match_string(key->choice.names, key->choice.count, text);
			if (i < 0)
				return -EINVAL;
			value = i;
		} else if (wbd_parse_u64(text, &value)) {
			return -EINVAL;
		}
		if (value < key->min || value > key->max)
			return -ERANGE;
		wbd_set_key(params, key, value);
		return 0;
	}
	return -EINVAL;
}

/**
 * wbd_parse_params() - what the words of `create` say
 * @params: the result; what is not said has its default
 * @words: KEY=VALUE each; they are changed
 * @nr: how many
 *
 * Return: 0, -EINVAL or -ERANGE.
 */
int wbd_parse_params(struct wbd_params *params, char **words, int nr)
{
	const struct wbd_key *key;
	int i, r;

	memset(params, 0, sizeof(*params));
	for (key = wbd_keys; key < wbd_keys + ARRAY_SIZE(wbd_keys); key++)
		wbd_set_key(params, key, key->preset);
	for (i = 0; i < nr; i++) {
		r = wbd_parse_key(params, words[i]);
		if (r)
			return r;
	}
	if (!params->size || params->size % PAGE_SIZE || !is_power_of_2(params->sector))
		return -EINVAL;
	return params->model == WBD_MODEL_DISK && !params->rate ? -EINVAL : 0;
}

/**
 * wbd_params_show() - all of them, KEY=VALUE each
 * @params: the parameters
 * @m: where to
 */
void wbd_params_show(const struct wbd_params *params, struct seq_file *m)
{
	const struct wbd_key *key;

	for (key = wbd_keys; key < wbd_keys + ARRAY_SIZE(wbd_keys); key++) {
		u64 value = wbd_get_key(params, key);

		if (key->choice.names)
			seq_printf(m, " %s=%s", key->name, key->choice.names[value]);
		else
			seq_printf(m, " %s=%llu", key->name, value);
	}
}
