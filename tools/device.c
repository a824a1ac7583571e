// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device.h"
#include "sysfs.h"

/* ---------------------------------------------------------------- opening */

/*
 * Opening for reading and writing, exclusively: see device.h. O_EXCL on a whole disk also fails
 * while one of its partitions is in use, and the other way round.
 */
static int busy(const char *path, dev_t rdev)
{
	char holder[512];

	device_holder(rdev, holder, sizeof(holder));
	if (*holder)
		err("%s is in use: %s", path, holder);
	else
		err("%s is in use: close or unmount what has it open, then try again", path);
	return RC_BUSY;
}

static int open_failed(const char *path, const struct stat *st, int e)
{
	switch (e) {
	case EBUSY:
		return busy(path, st->st_rdev);
	case EACCES:
	case EPERM:
		err("cannot open %s: %s (are you root?)", path, strerror(e));
		return RC_PERMISSION;
	case EROFS:
		err("%s is read-only", path);
		return RC_DEVICE;
	default:
		return fail_errno(e, "cannot open %s", path);
	}
}

static int get_size(struct device *d, const struct stat *st)
{
	u64 bytes = (u64)st->st_size;

	if (d->block && ioctl(d->fd, BLKGETSIZE64, &bytes))
		return fail_errno(errno, "cannot get the size of %s", d->path);
	d->sectors = bytes >> WB_SECTOR_SHIFT;
	return RC_OK;
}

int device_open(struct device *d, const char *path, unsigned int how)
{
	bool write = how & DEVICE_WRITE, images = how & DEVICE_IMAGE;
	int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	char loop[64];
	struct stat st;
	int rc;

	memset(d, 0, sizeof(*d));
	d->path = path;
	d->fd = -1;
	if (stat(path, &st)) {
		if (errno == EACCES || errno == EPERM)
			return open_failed(path, NULL, errno);
		err("%s: %s", path, strerror(errno));
		return RC_DEVICE;
	}
	d->block = S_ISBLK(st.st_mode);
	if (!d->block && !(images && S_ISREG(st.st_mode))) {
		err("%s is not a block device%s", path, images ? " nor an image file" : "");
		return RC_DEVICE;
	}
	d->rdev = st.st_rdev;
	d->dev = st.st_dev;
	d->ino = st.st_ino;

	if (d->block) {
		flags |= O_EXCL;
		d->fd = open(path, how & DEVICE_CACHED ? flags : flags | O_DIRECT);
		if (d->fd < 0 && errno == EINVAL)
			d->fd = open(path, flags);
		/* What the page cache has may be older than what a target wrote past it. */
		if (d->fd >= 0 && how & DEVICE_CACHED)
			ioctl(d->fd, BLKFLSBUF, 0);
	} else {
		if (image_loop(st.st_dev, st.st_ino, loop, sizeof(loop))) {
			err("%s is in use: it is the image behind %s", path, loop);
			return RC_BUSY;
		}
		d->fd = open(path, flags);
	}
	if (d->fd < 0)
		return open_failed(path, &st, errno);
	if (!d->block && flock(d->fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB)) {
		device_close(d);
		err("%s is in use: another program has it locked", path);
		return RC_BUSY;
	}

	rc = get_size(d, &st);
	if (!rc && posix_memalign(&d->bounce, WB_BLOCK_SIZE, WB_MAX_SEGMENT_SIZE)) {
		d->bounce = NULL;
		rc = out_of_memory();
	}
	if (rc)
		device_close(d);
	return rc;
}

void device_close(struct device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	free(d->bounce);
	d->fd = -1;
	d->bounce = NULL;
}

int device_check_pair(const char *backing, const char *cache)
{
	struct stat b, c;
	bool same;

	if (stat(backing, &b) || stat(cache, &c))
		return RC_OK;		/* opening will tell */
	if (S_ISBLK(b.st_mode) && S_ISBLK(c.st_mode))
		same = b.st_rdev == c.st_rdev || disk_of(b.st_rdev) == c.st_rdev ||
		       disk_of(c.st_rdev) == b.st_rdev;
	else
		same = b.st_dev == c.st_dev && b.st_ino == c.st_ino;
	if (!same)
		return RC_OK;
	err("%s and %s are the same device; backing and cache device must be two", backing, cache);
	return RC_DEVICE;
}

/* ---------------------------------------------------------------- reading and writing */

/* A short transfer is an error here: the size was checked, so the media gave out. */
static int transfer(const struct device *d, bool write, u64 offset, size_t len, u8 *buf)
{
	ssize_t n;

	while (len) {
		if (write)
			n = pwrite(d->fd, buf, len, (off_t)offset);
		else
			n = pread(d->fd, buf, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;
		buf += n;
		offset += (u64)n;
		len -= (size_t)n;
	}
	return 0;
}

int device_read(struct device *d, u64 offset, size_t len, void *buf)
{
	int e;

	if (offset > (u64)LLONG_MAX || len > WB_MAX_SEGMENT_SIZE)
		return -EIO;
	e = transfer(d, false, offset, len, d->bounce);
	if (!e)
		memcpy(buf, d->bounce, len);
	return e;
}

int device_write(struct device *d, u64 offset, size_t len, const void *buf)
{
	if (offset > (u64)LLONG_MAX || len > WB_MAX_SEGMENT_SIZE)
		return -EIO;
	memcpy(d->bounce, buf, len);
	return transfer(d, true, offset, len, d->bounce);
}

int device_sync(struct device *d)
{
	while (fsync(d->fd)) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}
