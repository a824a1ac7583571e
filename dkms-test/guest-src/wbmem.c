// SPDX-License-Identifier: GPL-2.0
/*
 * wbmem MEGABYTES ROUNDS: write so much anonymous memory, again and again, each time after a look at what
 * the time before left there. With less RAM than that, it is a test of the swap device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "common.h"

#define PAGE_WORDS 512u

const char *program = "wbmem";

static u64 word(u64 page, u64 round, u64 i)
{
	u64 x = (page << 20) + (round << 10) + i + 1;

	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15ull;
	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 32;
}

int main(int argc, char **argv)
{
	u64 pages, rounds, page, round, i, *memory;

	if (argc != 3)
		die("usage: wbmem MEGABYTES ROUNDS");
	pages = strtoull(argv[1], NULL, 10) << 8;
	rounds = strtoull(argv[2], NULL, 10);
	memory = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		die("no address space for %s MB", argv[1]);
	for (round = 0; round <= rounds; round++)
		for (page = 0; page < pages; page++)
			for (i = 0; i < PAGE_WORDS; i++) {
				u64 *w = memory + page * PAGE_WORDS + i;

				if (round && *w != word(page, round - 1, i))
					die("page %llu, word %llu, round %llu: %llx, not %llx",
					    (unsigned long long)page, (unsigned long long)i,
					    (unsigned long long)round, (unsigned long long)*w,
					    (unsigned long long)word(page, round - 1, i));
				if (round < rounds)
					*w = word(page, round, i);
			}
	printf("wbmem: %llu pages, %llu rounds\n", (unsigned long long)pages,
	       (unsigned long long)rounds);
	return 0;
}
