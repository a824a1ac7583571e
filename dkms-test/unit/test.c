// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <time.h>

#include "test.h"

#define TRACE_LINES 80

/* Simulations copy whole devices: with the usual quarantine each copy would be fresh pages. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:thread_local_quarantine_size_kb=64:"
	       "allocator_release_to_os_interval_ms=-1:detect_leaks=1";
}

struct test_options test_options = { .seed = 1 };

static const char *program = "test", *running;
static char lines[TRACE_LINES][120];
static u64 nr_lines;
static time_t started;

static void case_ends(void)
{
	if (running)
		printf("ok - %s: %s\n", program, running);
	fflush(stdout);
	running = NULL;
}

void test_begin(int argc, char **argv)
{
	int i;

	program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	for (i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			test_options.seed = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--soak"))
			test_options.soak = (unsigned int)atoi(argv[i + 1]);
		else
			break;
	}
	if (i != argc) {
		fprintf(stderr, "usage: %s [--seed N] [--soak SECONDS]\n", program);
		exit(2);
	}
}

void test_case(const char *name)
{
	case_ends();
	running = name;
	started = time(NULL);
	trace_reset();
}

int test_end(void)
{
	case_ends();
	return 0;
}

bool test_more(u64 round, u64 least)
{
	return round < least || time(NULL) - started < (time_t)test_options.soak;
}

void trace_reset(void)
{
	nr_lines = 0;
}

void trace(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(lines[nr_lines++ % TRACE_LINES], sizeof(lines[0]), fmt, ap);
	va_end(ap);
}

void test_failed(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	u64 i;

	printf("not ok - %s: %s\n", program, running ? running : "?");
	printf("  %s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n  reproduce with: %s --seed %llu\n", program,
	       (unsigned long long)test_options.seed);
	for (i = nr_lines > TRACE_LINES ? nr_lines - TRACE_LINES : 0; i < nr_lines; i++)
		printf("    %s\n", lines[i % TRACE_LINES]);
	fflush(stdout);
	_Exit(1);
}
