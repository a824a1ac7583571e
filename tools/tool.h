/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What all of writeboost-ctl shares: exit codes, messages, options, the table of verbs.
 *
 * Every function that can fail returns one of enum exit_code, and whoever notices the failure
 * prints the message: it alone knows which device it was about. Callers only pass the code on.
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdio.h>

#include "port.h"

#define TOOL_NAME	"writeboost-ctl"
#define SCHEMA_VERSION	1	/* of all JSON output */

/* These numbers are part of the interface: scripts rely on them. */
enum exit_code {
	RC_OK = 0,
	RC_USAGE = 1,		/* wrong verb, option, name or value */
	RC_PERMISSION = 2,	/* not root, or the system does not allow it */
	RC_MEMORY = 3,
	RC_DEVICE = 4,		/* wrong device, or a device that gives errors */
	RC_BUSY = 5,		/* exists, busy, mounted or open */
	RC_REFUSED = 6,		/* refused for safety */
	RC_DAMAGE = 7,		/* damage found */
	RC_INTERRUPTED = 8,	/* interrupted or timed out */
};

/* What the command line said. Lists point into argv. */
struct options {
	bool force, yes, json, drain, no_wait, cut, skip, entries, all;
	const char *backing;
	u32 segment_size;	/* bytes */
	u32 timeout;		/* seconds, 0 = wait for ever */
	const char **kv;	/* --option, as "key=value" */
	int nr_kv;
};

/* ---------------------------------------------------------------- messages (error.c) */

/* One line on stderr, with the tool's name before it. */
void err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The exit code that tells of errno @e; what is not special is a device error. */
int code_of_errno(int e);

/* Print "<message>: <error>" and return code_of_errno(@e). */
int fail_errno(int e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int out_of_memory(void);

/*
 * Ask on the terminal. @yes is --yes; where neither is there the answer is no.
 * Return: RC_OK to go on, RC_REFUSED, RC_INTERRUPTED.
 */
int confirm(bool yes, const char *question);

/* Flush stdout; an error (disk full, closed pipe) is reported. */
int finish_output(void);

/* ---------------------------------------------------------------- interruption */

/*
 * Set by SIGINT, SIGTERM and SIGHUP, which do nothing else: whoever waits or takes long looks at it
 * where stopping is safe.
 */
extern volatile int interrupted;

/* Monotonic seconds. */
double now(void);

/* ---------------------------------------------------------------- numbers and text */

#define TEXT_LEN 32

/* "1.5 GiB", in @to of TEXT_LEN bytes. Return: @to. */
char *size_text(u64 bytes, char *to);

/* "2 h 5 min", "31 s". */
char *time_text(double seconds, char *to);

/* "n/d" as "12.3%", "-" where @d is 0. */
char *percent_text(u64 n, u64 d, char *to);

/* A whole unsigned decimal number, nothing else. */
bool parse_u64(const char *text, u64 *n);

/* A number of bytes with an optional suffix K, M, G or T, or KiB and so on: powers of 1024. */
bool parse_size(const char *text, u64 *bytes);

/* The ending of "block" for so many. */
static inline const char *plural(u64 n)
{
	return n == 1 ? "" : "s";
}

/* ---------------------------------------------------------------- JSON (json.c) */

struct json_object;

/* Each adds a member to an object; an allocation failure is remembered for json_print(). */
void json_str(struct json_object *o, const char *key, const char *value);
void json_num(struct json_object *o, const char *key, u64 value);
void json_null(struct json_object *o, const char *key);
void json_flag(struct json_object *o, const char *key, bool value);
void json_obj(struct json_object *o, const char *key, struct json_object *value);
struct json_object *json_new(void);
struct json_object *json_list(void);
void json_append(struct json_object *list, struct json_object *value);
void json_append_str(struct json_object *list, const char *value);

/* Print @o, free it. Prints all or nothing. */
int json_print(struct json_object *o);
void json_free(struct json_object *o);

/* ---------------------------------------------------------------- verbs */

struct args {
	int nr;
	char **v;
};

int verb_format(const struct args *a, const struct options *o);
int verb_create(const struct args *a, const struct options *o);
int verb_remove(const struct args *a, const struct options *o);
int verb_drain(const struct args *a, const struct options *o);
int verb_undrain(const struct args *a, const struct options *o);
int verb_status(const struct args *a, const struct options *o);
int verb_list(const struct args *a, const struct options *o);
int verb_get(const struct args *a, const struct options *o);
int verb_set(const struct args *a, const struct options *o);
int verb_check(const struct args *a, const struct options *o);
int verb_dump(const struct args *a, const struct options *o);
int verb_repair(const struct args *a, const struct options *o);

#endif /* TOOL_H */
