// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

#define STAMP_MAGIC	0x3152455453425756ull
#define NR_WORDS	(SECTOR / sizeof(u64))

/* What a stamped sector begins with; the words behind it follow from these. */
struct head {
	u64 magic;
	u64 sector;
	u32 life;
	u32 op;
	u32 dep[MAX_WRITERS];
};

#define HEAD_WORDS	(sizeof(struct head) / sizeof(u64))

void die(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "FAIL: %s: ", program);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

u64 number(const char *text)
{
	char *end;
	u64 n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text || *end)
		die("'%s' is not a number", text);
	return n;
}

u64 mix(u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static u64 filling(const u64 *words)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < HEAD_WORDS; i++)
		sum = mix(sum + words[i]);
	return sum;
}

void stamp_write(void *to, const struct stamp *s)
{
	struct head h = {
		.magic = STAMP_MAGIC, .sector = s->sector, .life = s->life, .op = s->op,
	};
	u64 words[NR_WORDS], base;
	size_t i;

	memcpy(h.dep, s->dep, sizeof(h.dep));
	memcpy(words, &h, sizeof(h));
	base = filling(words);
	for (i = HEAD_WORDS; i < NR_WORDS; i++)
		words[i] = base + i * 0x9e3779b97f4a7c15ull;
	memcpy(to, words, SECTOR);
}

static bool all_zero(const u64 *words)
{
	size_t i;

	for (i = 0; i < NR_WORDS; i++)
		if (words[i])
			return false;
	return true;
}

const char *stamp_read(const void *from, u64 sector, struct stamp *s)
{
	u64 words[NR_WORDS], base;
	struct head h;
	size_t i;

	memcpy(words, from, SECTOR);
	memset(s, 0, sizeof(*s));
	s->sector = sector;
	if (all_zero(words))
		return NULL;
	memcpy(&h, words, sizeof(h));
	if (h.magic != STAMP_MAGIC)
		return "bytes that nobody wrote";
	base = filling(words);
	for (i = HEAD_WORDS; i < NR_WORDS; i++)
		if (words[i] != base + i * 0x9e3779b97f4a7c15ull)
			return "a sector that is torn";
	if (h.sector != sector)
		return "the contents of another sector";
	s->life = h.life;
	s->op = h.op;
	memcpy(s->dep, h.dep, sizeof(h.dep));
	return NULL;
}

void *io_alloc(size_t size)
{
	void *p;

	if (posix_memalign(&p, 4096, size))
		die("not enough memory");
	memset(p, 0, size);
	return p;
}

int open_direct(const char *path, bool writable)
{
	struct stat st;
	int fd;

	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (fd < 0)
		die("cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISBLK(st.st_mode))
		die("%s is not a block device", path);
	return fd;
}

u64 device_sectors(int fd)
{
	u64 bytes;

	if (ioctl(fd, BLKGETSIZE64, &bytes))
		die("cannot ask for the size of a device: %s", strerror(errno));
	return bytes / SECTOR;
}

int read_sectors(int fd, void *to, u64 sector, u32 nr)
{
	ssize_t n = pread(fd, to, (size_t)nr * SECTOR, sector * SECTOR);

	return n < 0 ? errno : n != (ssize_t)nr * SECTOR ? EIO : 0;
}

int write_sectors(int fd, const void *from, u64 sector, u32 nr, bool fua)
{
	struct iovec v = { .iov_base = (void *)from, .iov_len = (size_t)nr * SECTOR };
	ssize_t n = pwritev2(fd, &v, 1, sector * SECTOR, fua ? RWF_DSYNC : 0);

	return n < 0 ? errno : n != (ssize_t)v.iov_len ? EIO : 0;
}

int discard_sectors(int fd, u64 sector, u64 nr)
{
	u64 range[2] = { sector * SECTOR, nr * SECTOR };

	return ioctl(fd, BLKDISCARD, range) ? errno : 0;
}

u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

void sleep_ms(u32 ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	nanosleep(&t, NULL);
}
