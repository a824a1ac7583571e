// SPDX-License-Identifier: GPL-2.0
/*
 * wbio DEVICE COMMAND...: single requests, for cases that follow one of them through.
 *
 *   write SECTOR NR VERSION	stamped sectors (common.h), one request
 *   fua SECTOR NR VERSION	the same, and durable when it is done
 *   flush
 *   discard SECTOR NR
 *   read SECTOR NR VERSION	fails unless every sector is of this version; 0 is zeros
 *   any SECTOR NR LOW HIGH	fails unless every sector is of a version from LOW to HIGH
 *   watch SECTOR NR VERSION MS	as read, again and again for so many ms
 *   each SECTOR VERSIONS		fails unless the sectors are of these versions, a digit for each
 *
 * Several commands are carried out one after the other with the device open all the time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common.h"

#define MOST 2048u

const char *program = "wbio";

static u8 *buf;

static void write_stamped(int fd, u64 sector, u32 nr, u32 version, bool fua)
{
	struct stamp s = { .life = 1, .op = version };
	u32 i;
	int err;

	for (i = 0; i < nr; i++) {
		s.sector = sector + i;
		if (version)
			stamp_write(buf + i * SECTOR, &s);
		else
			memset(buf + i * SECTOR, 0, SECTOR);
	}
	err = write_sectors(fd, buf, sector, nr, fua);
	if (err)
		die("writing %u sectors at %llu: %s", nr, (unsigned long long)sector, strerror(err));
}

/* @digits: a version for each sector, or NULL: from @low to @high. */
static void read_stamped(int fd, u64 sector, u32 nr, u32 low, u32 high, const char *digits)
{
	const char *bad;
	struct stamp s;
	u32 i;
	int err;

	err = read_sectors(fd, buf, sector, nr);
	if (err)
		die("reading %u sectors at %llu: %s", nr, (unsigned long long)sector, strerror(err));
	for (i = 0; i < nr; i++) {
		bad = stamp_read(buf + i * SECTOR, sector + i, &s);
		if (bad)
			die("sector %llu holds %s", (unsigned long long)sector + i, bad);
		if (digits)
			low = high = digits[i] - '0';
		if (s.op < low || s.op > high)
			die("sector %llu is of version %u, not %u to %u",
			    (unsigned long long)sector + i, s.op, low, high);
	}
}

static void watch(int fd, u64 sector, u32 nr, u32 version, u32 ms)
{
	u64 end = now_ms() + ms;

	do {
		read_stamped(fd, sector, nr, version, version, NULL);
	} while (now_ms() < end);
}

int main(int argc, char **argv)
{
	u64 sector = 0;
	u32 nr = 0;
	int fd, i, err;
	const char *c;

	if (argc < 3)
		die("usage: wbio DEVICE COMMAND...");
	buf = io_alloc(MOST * SECTOR);
	fd = open_direct(argv[1], true);
	for (i = 2; i < argc; ) {
		c = argv[i++];
		err = 0;
		if (strcmp(c, "flush")) {
			if (i + 1 >= argc)
				die("'%s' wants a sector and a number of sectors", c);
			sector = number(argv[i++]);
			nr = strcmp(c, "each") ? number(argv[i]) : strlen(argv[i]);
			i++;
			if (!nr || nr > MOST)
				die("1 to %u sectors at a time", MOST);
		}
		if (!strcmp(c, "flush")) {
			err = fsync(fd) ? errno : 0;
		} else if (!strcmp(c, "each")) {
			read_stamped(fd, sector, nr, 0, 0, argv[i - 1]);
		} else if (!strcmp(c, "discard")) {
			err = discard_sectors(fd, sector, nr);
		} else if (i >= argc) {
			die("'%s' wants a version", c);
		} else if (!strcmp(c, "write") || !strcmp(c, "fua")) {
			write_stamped(fd, sector, nr, number(argv[i++]), *c == 'f');
		} else if (!strcmp(c, "read")) {
			read_stamped(fd, sector, nr, number(argv[i]), number(argv[i]), NULL);
			i++;
		} else if (!strcmp(c, "watch") && i + 1 < argc) {
			watch(fd, sector, nr, number(argv[i]), number(argv[i + 1]));
			i += 2;
		} else if (!strcmp(c, "any") && i + 1 < argc) {
			read_stamped(fd, sector, nr, number(argv[i]), number(argv[i + 1]), NULL);
			i += 2;
		} else {
			die("no command '%s'", c);
		}
		if (err)
			die("%s: %s", c, strerror(err));
	}
	return 0;
}
