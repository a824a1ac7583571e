// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "signature.h"
#include "sysfs.h"

/* First line of a file, without white space around it. Return: whether there is any text. */
static bool read_line(const char *path, char *to, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t skip = 0;
	ssize_t n;

	*to = '\0';
	if (fd < 0)
		return false;
	n = read(fd, to, len - 1);
	close(fd);
	if (n <= 0) {
		*to = '\0';
		return false;
	}
	to[n] = '\0';
	to[strcspn(to, "\n")] = '\0';
	while (isspace((unsigned char)to[skip]))
		skip++;
	memmove(to, to + skip, strlen(to + skip) + 1);
	for (n = (ssize_t)strlen(to); n && isspace((unsigned char)to[n - 1]); n--)
		to[n - 1] = '\0';
	return *to;
}

static bool read_attr(dev_t rdev, const char *attr, char *to, size_t len)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(rdev), minor(rdev), attr);
	return read_line(path, to, len);
}

char *device_name_of(dev_t rdev, char *to, size_t len)
{
	char path[64], target[PATH_MAX], name[256], *p;
	const char *base;
	ssize_t n;

	if (read_attr(rdev, "dm/name", name, sizeof(name))) {
		snprintf(to, len, "/dev/mapper/%s", name);
		return to;
	}
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(rdev), minor(rdev));
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0) {
		snprintf(to, len, "%u:%u", major(rdev), minor(rdev));
		return to;
	}
	target[n] = '\0';
	base = strrchr(target, '/');
	snprintf(to, len, "/dev/%s", base ? base + 1 : target);
	for (p = to; *p; p++)
		if (*p == '!')		/* sysfs has cciss!c0d0 for cciss/c0d0 */
			*p = '/';
	return to;
}

dev_t disk_of(dev_t rdev)
{
	char text[32];
	unsigned int ma, mi;

	if (!read_attr(rdev, "partition", text, sizeof(text)) ||
	    !read_attr(rdev, "../dev", text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &ma, &mi) != 2)
		return 0;
	return makedev(ma, mi);
}

/* ---------------------------------------------------------------- who uses it */

bool device_mounted(dev_t rdev, char *to, size_t len)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned int ma, mi;
	char *line = NULL, where[512];
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0) {
		if (sscanf(line, "%*u %*u %u:%u %*s %511s", &ma, &mi, where) == 3 &&
		    makedev(ma, mi) == rdev) {
			snprintf(to, len, "%s", where);
			found = true;
		}
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static bool is_swap(dev_t rdev)
{
	FILE *f = fopen("/proc/swaps", "re");
	char *line = NULL, path[512];
	size_t room = 0;
	struct stat st;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0)
		found = sscanf(line, "%511s", path) == 1 && !stat(path, &st) &&
			S_ISBLK(st.st_mode) && st.st_rdev == rdev;
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* The names of the devices on top of it, as far as they fit. */
static void holders(dev_t rdev, char *to, size_t len)
{
	char path[128], devno[32], name[256];
	unsigned int ma, mi;
	struct dirent *e;
	size_t used = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(rdev), minor(rdev));
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/class/block/%.64s/dev", e->d_name);
		if (!read_line(path, devno, sizeof(devno)) ||
		    sscanf(devno, "%u:%u", &ma, &mi) != 2)
			continue;
		device_name_of(makedev(ma, mi), name, sizeof(name));
		if (used < len)
			used += (size_t)snprintf(to + used, len - used, "%s%s",
						 used ? ", " : "", name);
	}
	if (dir)
		closedir(dir);
}

void device_holder(dev_t rdev, char *to, size_t len)
{
	char what[256] = "";

	*to = '\0';
	if (device_mounted(rdev, what, sizeof(what))) {
		snprintf(to, len, "it is mounted on %s; unmount it first", what);
	} else if (is_swap(rdev)) {
		snprintf(to, len, "it is swap space; swapoff it first");
	} else {
		holders(rdev, what, sizeof(what));
		if (*what)
			snprintf(to, len, "%s is on it; remove that first", what);
	}
}

bool image_loop(dev_t dev, ino_t ino, char *to, size_t len)
{
	char path[128], file[PATH_MAX];
	DIR *dir = opendir("/sys/block");
	struct dirent *e;
	bool found = false;
	struct stat st;

	while (dir && !found && (e = readdir(dir))) {
		if (strncmp(e->d_name, "loop", 4))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%.64s/loop/backing_file", e->d_name);
		if (!read_line(path, file, sizeof(file)) || stat(file, &st))
			continue;
		found = st.st_dev == dev && st.st_ino == ino;
		if (found)
			snprintf(to, len, "/dev/%.32s", e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* ---------------------------------------------------------------- identity */

static const struct {
	const char *kind;
	const char *attr;	/* NULL: asked of libblkid */
} identities[] = {
	{ "dm", "dm/uuid" },
	{ "md", "md/uuid" },
	{ "wwid", "wwid" },		/* NVMe */
	{ "wwid", "device/wwid" },	/* SCSI */
	{ "serial", "serial" },		/* virtio */
	{ "serial", "device/serial" },	/* NVMe of old, MMC */
	{ "partuuid", NULL },
};

void device_identity(const struct device *d, const char *want, char *id)
{
	/* The media has room for so much; what is longer is compared as far as it goes. */
	char value[WB_BACKING_ID_LEN - sizeof("partuuid:")];
	size_t i, kind_len;

	memset(id, 0, WB_BACKING_ID_LEN);
	if (!d->block)
		return;
	for (i = 0; i < ARRAY_SIZE(identities); i++) {
		kind_len = strlen(identities[i].kind);
		if (want && (strncmp(want, identities[i].kind, kind_len) || want[kind_len] != ':'))
			continue;
		if (identities[i].attr ?
		    read_attr(d->rdev, identities[i].attr, value, sizeof(value)) :
		    partition_uuid(d, value, sizeof(value))) {
			snprintf(id, WB_BACKING_ID_LEN, "%s:%s", identities[i].kind, value);
			return;
		}
	}
}
