/* SPDX-License-Identifier: GPL-2.0 */
/* Random numbers that a seed reproduces. Shared with the simulation of the whole cache, ../sim. */
#ifndef TEST_RNG_H
#define TEST_RNG_H

#include "port.h"

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

#endif /* TEST_RNG_H */
