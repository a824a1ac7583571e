// SPDX-License-Identifier: GPL-2.0
/*
 * JSON output over json-c.
 *
 * Objects are built whole and printed at the end, so that an error on the way prints none of it.
 * Allocation failures are remembered and make json_print() fail, which saves every caller a check.
 */
#include <json-c/json.h>

#include "tool.h"

static bool lost_something;

static void add(struct json_object *o, const char *key, struct json_object *value)
{
	if (!o || json_object_object_add(o, key, value)) {
		json_object_put(value);
		lost_something = true;
	}
}

static struct json_object *must(struct json_object *o)
{
	if (!o)
		lost_something = true;
	return o;
}

void json_str(struct json_object *o, const char *key, const char *value)
{
	/* JSON is UTF-8; device names and media contents may be any bytes. */
	char clean[512];
	size_t i;

	if (!value) {
		add(o, key, NULL);
		return;
	}
	for (i = 0; value[i] && i < sizeof(clean) - 1; i++)
		clean[i] = (value[i] & 0x80) ? '?' : value[i];
	clean[i] = '\0';
	add(o, key, must(json_object_new_string(clean)));
}

void json_num(struct json_object *o, const char *key, u64 value)
{
	add(o, key, must(json_object_new_uint64(value)));
}

void json_null(struct json_object *o, const char *key)
{
	add(o, key, NULL);
}

void json_flag(struct json_object *o, const char *key, bool value)
{
	add(o, key, must(json_object_new_boolean(value)));
}

void json_obj(struct json_object *o, const char *key, struct json_object *value)
{
	add(o, key, must(value));
}

struct json_object *json_new(void)
{
	return must(json_object_new_object());
}

struct json_object *json_list(void)
{
	return must(json_object_new_array());
}

void json_append(struct json_object *list, struct json_object *value)
{
	if (!list || !value || json_object_array_add(list, value)) {
		json_object_put(value);
		lost_something = true;
	}
}

void json_append_str(struct json_object *list, const char *value)
{
	json_append(list, must(json_object_new_string(value)));
}

int json_print(struct json_object *o)
{
	const char *text = NULL;
	int rc = RC_OK;

	if (!lost_something)
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
						      JSON_C_TO_STRING_NOSLASHESCAPE);
	if (text)
		puts(text);
	else
		rc = out_of_memory();
	json_object_put(o);
	return rc;
}

void json_free(struct json_object *o)
{
	json_object_put(o);
}
