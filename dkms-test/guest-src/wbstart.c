// SPDX-License-Identifier: GPL-2.0
/*
 * wbstart NAME SECTORS PARAMS: make a writeboost device, and say how long its table's load took and how
 * long its resume: `load_us=N resume_us=N`. For the profile it marks where the resume begins and ends.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "dm.h"

const char *program = "wbstart";

static u64 now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000 + (u64)t.tv_nsec / 1000;
}

/* What bench/mark.S does. */
static void mark(void)
{
#ifdef __x86_64__
	asm volatile(".byte 0x0f, 0x1f, 0x80, 0x42, 0x50, 0x57, 0x42" : : : "memory");
#endif
}

static u64 timed(const char *what, int err, u64 since)
{
	u64 now = now_us();

	if (err)
		die("%s: %s", what, strerror(err));
	return now - since;
}

int main(int argc, char **argv)
{
	u64 sectors, load, resume, since;

	if (argc != 4)
		die("usage: wbstart NAME SECTORS PARAMS");
	sectors = number(argv[2]);
	timed("create", dm_create_empty(argv[1]), now_us());
	since = now_us();
	load = timed("load", dm_load(argv[1], sectors, "writeboost", argv[3]), since);
	mark();
	since = now_us();
	resume = timed("resume", dm_resume(argv[1]), since);
	mark();
	printf("load_us=%llu resume_us=%llu\n", (unsigned long long)load, (unsigned long long)resume);
	return 0;
}
