// SPDX-License-Identifier: GPL-2.0
/*
 * For LD_PRELOAD, with fio in a guest where time stands still while anything computes (user-mode Linux,
 * time-travel=inf-cpu). There fio's calibration of the CPU's clock, some 60 ms of reading the time again and
 * again, takes a quarter of a million system calls, each a switch between processes of the host: half a minute
 * on a slow one. So the first readings sleep a little now and then, which takes no time of the host's; those after
 * them, when fio does I/O, change nothing.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* fio calibrates at its start, and again when told which clock to use: 51 times 1.28 ms each time. */
#define CALIBRATION 6000
#define READINGS_PER_SLEEP 16

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static const struct timespec nap = { .tv_nsec = 500 * 1000 };
	static atomic_uint readings;
	unsigned int n = atomic_fetch_add(&readings, 1);

	if (n < CALIBRATION && n % READINGS_PER_SLEEP == READINGS_PER_SLEEP - 1)
		syscall(SYS_nanosleep, &nap, NULL);
	return syscall(SYS_clock_gettime, clock, now);
}
