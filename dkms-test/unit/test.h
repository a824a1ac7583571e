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

/* xorshift64* (Vigna), seeded through splitmix64 so that near seeds give far streams. */
struct rng {
	u64 x;
};

static inline u64 mix64(u64 x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline struct rng rng_init(u64 seed)
{
	return (struct rng){ mix64(seed) | 1 };
}

static inline u64 rng_u64(struct rng *r)
{
	r->x ^= r->x >> 12;
	r->x ^= r->x << 25;
	r->x ^= r->x >> 27;
	return r->x * 0x2545f4914f6cdd1dull;
}

/* 0 .. n - 1 */
static inline u32 rng_below(struct rng *r, u32 n)
{
	return (u32)((rng_u64(r) >> 32) * n >> 32);
}

static inline bool rng_one_in(struct rng *r, u32 n)
{
	return !rng_below(r, n);
}

static inline void rng_fill(struct rng *r, void *buf, size_t len)
{
	u8 *p = buf;
	u64 x;

	for (; len; len -= len < 8 ? len : 8, p += 8) {
		x = rng_u64(r);
		memcpy(p, &x, len < 8 ? len : 8);
	}
}

#endif /* TEST_H */
