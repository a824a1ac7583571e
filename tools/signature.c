// SPDX-License-Identifier: GPL-2.0
#include <blkid/blkid.h>
#include <fcntl.h>
#include <unistd.h>

#include "signature.h"

/*
 * libblkid wants a descriptor of its own without O_DIRECT. The device stays held by ours, so this
 * one is opened through it, without O_EXCL.
 */
static int open_beside(const struct device *d, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", d->fd);
	return open(path, flags | O_CLOEXEC);
}

static blkid_probe probe_new(const struct device *d, int fd)
{
	blkid_probe pr = blkid_new_probe();

	if (!pr)
		return NULL;
	if (blkid_probe_set_device(pr, fd, 0, 0) ||
	    blkid_probe_enable_superblocks(pr, 1) ||
	    blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE |
					      BLKID_SUBLKS_USAGE | BLKID_SUBLKS_LABEL |
					      BLKID_SUBLKS_BADCSUM) ||
	    blkid_probe_enable_partitions(pr, 1) ||
	    blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT)) {
		err("cannot look for signatures on %s", d->path);
		blkid_free_probe(pr);
		return NULL;
	}
	return pr;
}

static const char *value_of(blkid_probe pr, const char *name)
{
	const char *data;

	return blkid_probe_lookup_value(pr, name, &data, NULL) ? NULL : data;
}

/* Offset of the magic that the probe has just found, -1 where it has none. */
static u64 magic_offset(blkid_probe pr)
{
	const char *off = value_of(pr, "SBMAGIC_OFFSET");

	if (!off)
		off = value_of(pr, "PTMAGIC_OFFSET");
	return off ? strtoull(off, NULL, 10) : ~0ull;
}

static void describe(blkid_probe pr, char *to, size_t len)
{
	const char *type = value_of(pr, "TYPE"), *usage = value_of(pr, "USAGE");
	const char *label = value_of(pr, "LABEL"), *kind = "signature";

	if (!type) {
		type = value_of(pr, "PTTYPE");
		kind = "partition table";
	} else if (usage && !strcmp(usage, "filesystem")) {
		kind = "file system";
	} else if (usage && !strcmp(usage, "raid")) {
		kind = "RAID or volume manager member";
	} else if (usage && !strcmp(usage, "crypto")) {
		kind = "encrypted volume";
	}
	snprintf(to, len, "%s %s%s%.40s%s", type ? type : "unknown", kind, label ? " '" : "",
		 label ? label : "", label ? "'" : "");
}

int signatures_find(const struct device *d, u64 end, struct signatures *s)
{
	int fd = open_beside(d, O_RDONLY), n = 1;
	blkid_probe pr;
	u64 at;

	memset(s, 0, sizeof(*s));
	if (fd < 0)
		return fail_errno(errno, "cannot look for signatures on %s", d->path);
	pr = probe_new(d, fd);
	if (!pr) {
		close(fd);
		return RC_DEVICE;
	}
	while (s->nr < MAX_SIGNATURES && !(n = blkid_do_probe(pr))) {
		at = magic_offset(pr);
		if (at == ~0ull || (end && at >= end))
			continue;
		describe(pr, s->found[s->nr].what, sizeof(s->found[0].what));
		s->found[s->nr++].offset = at;
	}
	s->unreadable = n < 0;
	blkid_free_probe(pr);
	close(fd);
	return RC_OK;
}

int signatures_wipe(const struct device *d, u64 end)
{
	int fd = open_beside(d, O_RDWR), rc = RC_OK;
	blkid_probe pr;
	u64 at;

	if (fd < 0)
		return fail_errno(errno, "cannot wipe signatures on %s", d->path);
	pr = probe_new(d, fd);
	if (!pr) {
		close(fd);
		return RC_DEVICE;
	}
	while (!rc && !blkid_do_probe(pr)) {
		at = magic_offset(pr);
		if (at == ~0ull || (end && at >= end))
			continue;
		/* This also steps the probe back, so that a backup elsewhere is found next. */
		if (blkid_do_wipe(pr, 0)) {
			err("cannot wipe the signature at byte %llu of %s",
			    (unsigned long long)at, d->path);
			rc = RC_DEVICE;
		}
	}
	blkid_free_probe(pr);
	if (!rc && fsync(fd))
		rc = fail_errno(errno, "cannot write to %s", d->path);
	close(fd);
	return rc;
}

bool partition_uuid(const struct device *d, char *to, size_t len)
{
	int fd = open_beside(d, O_RDONLY);
	const char *uuid;
	blkid_probe pr;
	bool found = false;

	if (fd < 0)
		return false;
	pr = blkid_new_probe();
	if (pr && !blkid_probe_set_device(pr, fd, 0, 0) &&
	    !blkid_probe_enable_superblocks(pr, 0) &&
	    !blkid_probe_enable_partitions(pr, 1) &&
	    !blkid_probe_set_partitions_flags(pr, BLKID_PARTS_ENTRY_DETAILS) &&
	    blkid_do_safeprobe(pr) >= 0) {
		uuid = value_of(pr, "PART_ENTRY_UUID");
		if (uuid) {
			snprintf(to, len, "%s", uuid);
			found = true;
		}
	}
	blkid_free_probe(pr);
	close(fd);
	return found;
}
