// SPDX-License-Identifier: GPL-2.0
/*
 * writeboost-ctl: formats, creates, watches, checks and repairs writeboost devices.
 *
 * This file knows the command line and nothing else: the verbs, which options each takes, the help.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include "format.h"
#include "tool.h"

#ifndef TOOL_VERSION
#define TOOL_VERSION "unknown"
#endif

enum option_bit {
	OPT_BACKING	= 1 << 0,
	OPT_SEGMENT	= 1 << 1,
	OPT_FORCE	= 1 << 2,
	OPT_YES		= 1 << 3,
	OPT_OPTION	= 1 << 4,
	OPT_DRAIN	= 1 << 5,
	OPT_TIMEOUT	= 1 << 6,
	OPT_JSON	= 1 << 7,
	OPT_NO_WAIT	= 1 << 8,
	OPT_CUT		= 1 << 9,
	OPT_SKIP	= 1 << 10,
	OPT_ENTRIES	= 1 << 11,
	OPT_ALL		= 1 << 12,
};

static const struct {
	const char *name;
	const char *value;	/* what to call it in the help, NULL if it takes none */
	unsigned int bit;
	const char *help;
} option_table[] = {
	{ "backing", "DEV", OPT_BACKING, "the slow device" },
	{ "segment-size", "N", OPT_SEGMENT, "bytes in a segment: 16K to 1M, a power of two (1M)" },
	{ "force", NULL, OPT_FORCE, "go on in spite of what was found" },
	{ "yes", NULL, OPT_YES, "answer questions with yes" },
	{ "option", "KEY=VALUE", OPT_OPTION, "set a knob; may be given several times" },
	{ "drain", NULL, OPT_DRAIN, "write everything back first" },
	{ "timeout", "SECONDS", OPT_TIMEOUT, "stop waiting after so long (exit code 8)" },
	{ "json", NULL, OPT_JSON, "for programs" },
	{ "no-wait", NULL, OPT_NO_WAIT, "do not take a second to measure the speed of migration" },
	{ "cut", NULL, OPT_CUT, "end the log at the damage (the default)" },
	{ "skip", NULL, OPT_SKIP,
	  "write all that is readable to the backing device, empty the log" },
	{ "entries", NULL, OPT_ENTRIES, "also every block of every chunk" },
	{ "all", NULL, OPT_ALL, "also what is written back or left over from before" },
};

static const struct verb {
	const char *name;
	int (*run)(const struct args *a, const struct options *o);
	const char *usage;
	const char *help;
	unsigned int options;
	int min_args, max_args;
} verbs[] = {
	{ "format", verb_format, "CACHE --backing DEV",
	  "make a device the cache of another one",
	  OPT_BACKING | OPT_SEGMENT | OPT_FORCE | OPT_YES, 1, 1 },
	{ "create", verb_create, "NAME BACKING CACHE",
	  "start a cache: makes /dev/mapper/NAME", OPT_OPTION | OPT_FORCE, 3, 3 },
	{ "remove", verb_remove, "NAME",
	  "stop a cache; dirty data stays on the cache device", OPT_DRAIN | OPT_TIMEOUT, 1, 1 },
	{ "drain", verb_drain, "NAME",
	  "write everything back, then stop caching", OPT_TIMEOUT, 1, 1 },
	{ "undrain", verb_undrain, "NAME", "cache again after drain", 0, 1, 1 },
	{ "status", verb_status, "[NAME]",
	  "how a cache, or every cache, is doing", OPT_JSON | OPT_NO_WAIT, 0, 1 },
	{ "list", verb_list, "", "all caches, one a line", OPT_JSON, 0, 0 },
	{ "get", verb_get, "NAME [KEY]", "show knobs", 0, 1, 2 },
	{ "set", verb_set, "NAME KEY=VALUE...", "turn knobs", 0, 2, 64 },
	{ "check", verb_check, "CACHE",
	  "offline: is a cache device clean, dirty, torn or damaged?", OPT_JSON, 1, 1 },
	{ "dump", verb_dump, "CACHE",
	  "offline: show what is on a cache device", OPT_JSON | OPT_ENTRIES | OPT_ALL, 1, 1 },
	{ "repair", verb_repair, "CACHE",
	  "offline: mend a damaged cache device",
	  OPT_CUT | OPT_SKIP | OPT_BACKING | OPT_FORCE | OPT_YES, 1, 1 },
};

/* ---------------------------------------------------------------- help */

static void help(void)
{
	size_t i;

	printf("Usage: " TOOL_NAME " VERB [ARGUMENTS] [OPTIONS]\n\n"
	       "A fast device as a write-back cache in front of a slow one.\n\n");
	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-7s  %-24s %s\n", verbs[i].name, verbs[i].usage, verbs[i].help);
	printf("\n" TOOL_NAME " VERB --help tells the options of a verb; more in " TOOL_NAME "(8).\n"
	       "Exit codes: 0 ok, 1 usage, 2 permission, 3 memory, 4 wrong device or device error,\n"
	       "5 exists, busy, mounted or open, 6 refused for safety, 7 damage found,\n"
	       "8 interrupted or timed out.\n");
}

static void help_verb(const struct verb *v)
{
	char name[64];
	size_t i;

	printf("Usage: " TOOL_NAME " %s %s%s\n\n%s\n\n", v->name, v->usage,
	       v->options ? " [OPTIONS]" : "", v->help);
	for (i = 0; i < ARRAY_SIZE(option_table); i++) {
		if (!(v->options & option_table[i].bit))
			continue;
		snprintf(name, sizeof(name), "--%s%s%s", option_table[i].name,
			 option_table[i].value ? " " : "",
			 option_table[i].value ? option_table[i].value : "");
		printf("  %-22s %s\n", name, option_table[i].help);
	}
}

static int usage_error(const struct verb *v)
{
	if (v)
		fprintf(stderr, "Usage: " TOOL_NAME " %s %s%s\n", v->name, v->usage,
			v->options ? " [OPTIONS]" : "");
	else
		fprintf(stderr, "Try '" TOOL_NAME " --help'.\n");
	return RC_USAGE;
}

/* ---------------------------------------------------------------- options */

/* Put one option into @o. Return: RC_OK or RC_USAGE. */
static int take_option(struct options *o, unsigned int bit, const char *value)
{
	u64 n;

	switch (bit) {
	case OPT_BACKING:
		o->backing = value;
		break;
	case OPT_SEGMENT:
		if (!parse_size(value, &n) || n < WB_MIN_SEGMENT_SIZE || n > WB_MAX_SEGMENT_SIZE ||
		    n & (n - 1)) {
			err("--segment-size %s: must be a power of two from 16K to 1M", value);
			return RC_USAGE;
		}
		o->segment_size = (u32)n;
		break;
	case OPT_TIMEOUT:
		if (!parse_u64(value, &n) || !n || n > 1000000000) {
			err("--timeout %s: must be a number of seconds, 1 or more", value);
			return RC_USAGE;
		}
		o->timeout = (u32)n;
		break;
	case OPT_OPTION:
		o->kv[o->nr_kv++] = value;
		break;
	case OPT_FORCE:
		o->force = true;
		break;
	case OPT_YES:
		o->yes = true;
		break;
	case OPT_DRAIN:
		o->drain = true;
		break;
	case OPT_JSON:
		o->json = true;
		break;
	case OPT_NO_WAIT:
		o->no_wait = true;
		break;
	case OPT_CUT:
		o->cut = true;
		break;
	case OPT_SKIP:
		o->skip = true;
		break;
	case OPT_ENTRIES:
		o->entries = true;
		break;
	case OPT_ALL:
		o->all = true;
		break;
	}
	return RC_OK;
}

#define OPTION_BASE	256	/* getopt values of long options: this plus the row */
#define OPTION_HELP	'h'
#define OPTION_VERSION	'V'

static void fill_long_options(struct option *to)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(option_table); i++) {
		to[i].name = option_table[i].name;
		to[i].has_arg = option_table[i].value ? required_argument : no_argument;
		to[i].val = OPTION_BASE + (int)i;
	}
	to[i++] = (struct option){ "help", no_argument, NULL, OPTION_HELP };
	to[i++] = (struct option){ "version", no_argument, NULL, OPTION_VERSION };
	to[i] = (struct option){ 0 };
}

static const struct verb *find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(name, verbs[i].name))
			return &verbs[i];
	return NULL;
}

static int run_verb(const struct verb *v, const struct args *a, const struct options *o,
		    unsigned int given)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(option_table); i++) {
		if (given & option_table[i].bit & ~v->options) {
			err("%s takes no option --%s", v->name, option_table[i].name);
			return usage_error(v);
		}
	}
	if (a->nr < v->min_args || a->nr > v->max_args) {
		err("%s: %s arguments", v->name, a->nr < v->min_args ? "missing" : "too many");
		return usage_error(v);
	}
	return v->run(a, o);
}

static int command_line(int argc, char **argv, struct options *o)
{
	struct option longs[ARRAY_SIZE(option_table) + 3] = { 0 };
	const struct verb *v = NULL;
	unsigned int given = 0, bit;
	bool want_help = false;
	struct args a;
	int c;

	fill_long_options(longs);
	while ((c = getopt_long(argc, argv, "hVfy", longs, NULL)) != -1) {
		if (c == OPTION_VERSION) {
			puts(TOOL_NAME " " TOOL_VERSION);
			return RC_OK;
		}
		if (c == OPTION_HELP) {
			want_help = true;
			continue;
		}
		if (c == '?')
			return usage_error(NULL);
		bit = c == 'f' ? OPT_FORCE : c == 'y' ? OPT_YES : option_table[c - OPTION_BASE].bit;
		given |= bit;
		if (take_option(o, bit, optarg))
			return RC_USAGE;
	}
	if (optind < argc)
		v = find_verb(argv[optind]);
	if (want_help || (optind < argc && !strcmp(argv[optind], "help"))) {
		if (!v && optind + 1 < argc)
			v = find_verb(argv[optind + 1]);
		if (v)
			help_verb(v);
		else
			help();
		return RC_OK;
	}
	if (optind >= argc) {
		err("say what to do");
		return usage_error(NULL);
	}
	if (!v) {
		err("unknown verb '%s'", argv[optind]);
		return usage_error(NULL);
	}
	a.v = argv + optind + 1;
	a.nr = argc - optind - 1;
	return run_verb(v, &a, o, given);
}

/* ---------------------------------------------------------------- set-up */

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/*
 * With a standard descriptor closed, the first device opened would take its number, and messages
 * would be written to the disk. Fill the gaps so that using them fails.
 */
static void guard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };	/* no SA_RESTART: waits must end */
	struct options o = { .segment_size = WB_DEFAULT_SEGMENT_SIZE };
	int rc, out;

	guard_descriptors();
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	/* A closed pipe must not end a repair halfway. */
	signal(SIGPIPE, SIG_IGN);

	o.kv = calloc((size_t)argc + 1, sizeof(*o.kv));
	if (!o.kv)
		return out_of_memory();
	rc = command_line(argc, argv, &o);
	free(o.kv);
	out = finish_output();
	return rc ? rc : out;
}
