/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the unit tests share: options, random numbers that a seed reproduces, and checks.
 *
 * A test program prints one line for each test, "ok - NAME" or "not ok - NAME"; `run` counts them.
 * A failed check says where, prints the seed and the last steps, and ends the program: what follows
 * a broken invariant means nothing.
 */
#ifndef TEST_H
#define TEST_H

#include <stdio.h>

#include "port.h"
#include "rng.h"

/* From the command line: --seed N, --soak SECONDS. */
struct test_options {
	u64 seed;
	unsigned int soak;
};

extern struct test_options test_options;

void test_begin(int argc, char **argv);
void test_case(const char *name);	/* the tests before this one passed */
int test_end(void);

/* Another round of a random test? @least rounds are made in any case, more while --soak lasts. */
bool test_more(u64 round, u64 least);

/* The last steps before a failure. */
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void trace_reset(void);

void test_failed(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

#define CHECK(cond) do { \
	if (!(cond)) \
		test_failed(__FILE__, __LINE__, "%s", #cond); \
} while (0)

#define CHECKF(cond, ...) do { \
	if (!(cond)) \
		test_failed(__FILE__, __LINE__, __VA_ARGS__); \
} while (0)

#endif /* TEST_H */
