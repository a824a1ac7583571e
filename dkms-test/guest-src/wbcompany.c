// SPDX-License-Identifier: GPL-2.0
/*
 * wbcompany DEVICE THREADS ROUNDS: flushes with company, and then without.
 *
 * In each round all threads write a block and flush at one time; when all have done so the first of
 * them does it once more, alone. Whoever waits for the others then waits in vain.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common.h"

#define BLOCK	4096

const char *program = "wbcompany";

static u32 rounds;
static int device;
static pthread_barrier_t together;

static void put_and_flush(void *block, u64 nr)
{
	if (pwrite(device, block, BLOCK, nr * BLOCK) != BLOCK || fdatasync(device))
		die("block %llu: %m", (unsigned long long)nr);
}

static void *run(void *arg)
{
	u64 me = (uintptr_t)arg;
	void *block;
	u32 i;

	if (posix_memalign(&block, BLOCK, BLOCK))
		die("no memory");
	memset(block, (int)me, BLOCK);
	for (i = 0; i < rounds; i++) {
		pthread_barrier_wait(&together);
		put_and_flush(block, me);
		pthread_barrier_wait(&together);
		if (!me)
			put_and_flush(block, me);
	}
	free(block);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t *threads;
	u64 nr, i;

	if (argc != 4)
		die("usage: wbcompany DEVICE THREADS ROUNDS");
	device = open_direct(argv[1], true);
	nr = number(argv[2]);
	rounds = (u32)number(argv[3]);
	threads = calloc(nr, sizeof(*threads));
	if (!threads || pthread_barrier_init(&together, NULL, (u32)nr))
		die("cannot begin");
	for (i = 0; i < nr; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i))
			die("cannot start a thread");
	for (i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
