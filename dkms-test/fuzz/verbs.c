// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "sysfs.h"
#include "verbs.h"

struct verbs verbs;

/* ---------------------------------------------------------------- between the tool and its files */

int __real_device_read(struct device *d, u64 offset, size_t len, void *buf);
int __real_device_write(struct device *d, u64 offset, size_t len, const void *buf);
int __wrap_device_read(struct device *d, u64 offset, size_t len, void *buf);
int __wrap_device_write(struct device *d, u64 offset, size_t len, const void *buf);
bool __wrap_image_loop(dev_t dev, ino_t ino, char *to, size_t len);

static bool is_image(const struct device *d)
{
	return d->path == verbs.im->path;
}

int __wrap_device_read(struct device *d, u64 offset, size_t len, void *buf)
{
	u64 i;

	CHECK(len && len <= WB_MAX_SEGMENT_SIZE && !(offset % WB_SECTOR_SIZE));
	for (i = offset >> WB_BLOCK_SHIFT; is_image(d) && verbs.im->nr_unreadable &&
	     i < IMAGE_BLOCKS && i << WB_BLOCK_SHIFT < offset + len; i++)
		if (verbs.im->unreadable[i])
			return -EIO;
	return __real_device_read(d, offset, len, buf);
}

int __wrap_device_write(struct device *d, u64 offset, size_t len, const void *buf)
{
	if (!is_image(d)) {
		CHECK(offset >> WB_SECTOR_SHIFT <= verbs.backing_sectors &&
		      len >> WB_SECTOR_SHIFT <= verbs.backing_sectors - (offset >> WB_SECTOR_SHIFT));
		CHECK(verbs.nr_backing_written < MAX_EXTENTS);
		verbs.backing_written[verbs.nr_backing_written++] =
			(struct extent){ offset >> WB_SECTOR_SHIFT, len >> WB_SECTOR_SHIFT };
		return __real_device_write(d, offset, len, buf);
	}
	CHECK(verbs.may_write);
	CHECK(len == WB_BLOCK_SIZE && !(offset % WB_BLOCK_SIZE));
	verbs.writes++;
	if (verbs.fail_at && verbs.writes >= verbs.fail_at) {
		verbs.failed = true;
		return -EIO;
	}
	/* The page cache of the memfd and the mapping are one. */
	return image_write(verbs.im, offset, len, buf);
}

/* Nothing here is behind a loop device, and looking takes long. */
bool __wrap_image_loop(dev_t dev, ino_t ino, char *to, size_t len)
{
	(void)dev;
	(void)ino;
	(void)to;
	(void)len;
	return false;
}

/*
 * device.c's buffer is a mebibyte, and making it anew for each call, shadow and all, took a third of
 * the time.
 */
static struct {
	u8 bytes[WB_MAX_SEGMENT_SIZE] __attribute__((aligned(WB_BLOCK_SIZE)));
	u8 poisoned[WB_BLOCK_SIZE];
	bool used;
} pool[3] __attribute__((aligned(WB_BLOCK_SIZE)));

int __wrap_posix_memalign(void **p, size_t align, size_t size);
void __real_free(void *p);
void __wrap_free(void *p);

int __wrap_posix_memalign(void **p, size_t align, size_t size)
{
	unsigned int i;

	CHECK(align == WB_BLOCK_SIZE && size == WB_MAX_SEGMENT_SIZE);
	for (i = 0; i < ARRAY_SIZE(pool); i++) {
		if (pool[i].used)
			continue;
		pool[i].used = true;
		ASAN_UNPOISON_MEMORY_REGION(pool[i].bytes, size);
		ASAN_POISON_MEMORY_REGION(pool[i].poisoned, sizeof(pool[i].poisoned));
		*p = pool[i].bytes;
		return 0;
	}
	CHECKF(0, "a device was not closed");
}

void __wrap_free(void *p)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pool); i++) {
		if (p != pool[i].bytes)
			continue;
		CHECK(pool[i].used);
		pool[i].used = false;
		ASAN_POISON_MEMORY_REGION(pool[i].bytes, sizeof(pool[i].bytes));
		return;
	}
	__real_free(p);
}

/* ---------------------------------------------------------------- calling */

void verbs_init(struct image *im)
{
	int null = open("/dev/null", O_RDONLY);

	/* No terminal to ask on. */
	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		abort();
	verbs.im = im;
	verbs.backing_fd = memfd_create("backing", 0);
	if (verbs.backing_fd < 0)
		abort();
	snprintf(verbs.backing, sizeof(verbs.backing), "/proc/self/fd/%d", verbs.backing_fd);
}

void verbs_backing(u64 sectors)
{
	if (ftruncate(verbs.backing_fd, 0) ||
	    ftruncate(verbs.backing_fd, (off_t)(sectors << WB_SECTOR_SHIFT)))
		abort();
	verbs.backing_sectors = sectors;
	verbs.nr_backing_written = 0;
}

void verbs_call(struct said *s, int (*verb)(const struct args *, const struct options *),
		const struct options *o)
{
	char *path = verbs.im->path;
	struct args a = { 1, &path };
	FILE *out = stdout, *err_ = stderr;
	size_t out_len, err_len;

	free(s->out);
	free(s->err);
	s->out = s->err = NULL;
	verbs.writes = 0;
	verbs.failed = false;
	stdout = open_memstream(&s->out, &out_len);
	stderr = open_memstream(&s->err, &err_len);
	if (!stdout || !stderr)
		abort();
	s->rc = verb(&a, o);
	fclose(stdout);
	fclose(stderr);
	stdout = out;
	stderr = err_;
	if (getenv("FUZZ_SHOW"))
		dprintf(STDERR_FILENO, "---- %d\n%s%s", s->rc, s->out, s->err);
	CHECK(s->rc >= RC_OK && s->rc <= RC_DAMAGE);
	CHECKF(s->rc == RC_OK || *s->err || *s->out, "failed in silence");
	CHECK(!strstr(s->err, "internal error"));
}

u64 said_number(const struct said *s, const char *key)
{
	char name[64];
	const char *at;

	snprintf(name, sizeof(name), "\"%s\":", key);
	at = strstr(s->out, name);
	CHECKF(at, "no %s in the output", name);
	return strtoull(at + strlen(name), NULL, 10);
}

bool said_sector(const struct said *s, u64 sector)
{
	static const char head[] = "  backing sectors ";
	const char *at = s->out;
	u64 first, last;
	char *rest;

	while ((at = strstr(at, head))) {
		at += strlen(head);
		first = strtoull(at, &rest, 10);
		CHECK(!strncmp(rest, " to ", 4));
		last = strtoull(rest + 4, NULL, 10);
		if (sector >= first && sector <= last)
			return true;
	}
	return false;
}
