// SPDX-License-Identifier: GPL-2.0
#include <sys/mman.h>
#include <unistd.h>

#include "image.h"

void image_init(struct image *im, bool file)
{
	memset(im, 0, sizeof(*im));
	im->fd = file ? memfd_create("image", 0) : -1;
	if (file && (im->fd < 0 || ftruncate(im->fd, IMAGE_BYTES)))
		abort();
	im->base = mmap(NULL, IMAGE_BYTES, PROT_READ | PROT_WRITE,
			file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, im->fd, 0);
	if (im->base == MAP_FAILED)
		abort();
	im->sectors = IMAGE_BYTES >> WB_SECTOR_SHIFT;
	snprintf(im->path, sizeof(im->path), "/proc/self/fd/%d", im->fd);
}

void image_clear(struct image *im, u64 sectors)
{
	u32 i;

	/* First as long as it can be: beyond the end there is nothing to write zeros to. */
	image_resize(im, IMAGE_BYTES >> WB_SECTOR_SHIFT);
	for (i = 0; i < IMAGE_BLOCKS; i++)
		if (im->written[i])
			memset(im->base + ((size_t)i << WB_BLOCK_SHIFT), 0, WB_BLOCK_SIZE);
	memset(im->written, 0, sizeof(im->written));
	memset(im->unreadable, 0, sizeof(im->unreadable));
	im->nr_unreadable = 0;
	image_resize(im, sectors);
}

void image_resize(struct image *im, u64 sectors)
{
	if (sectors > IMAGE_BYTES >> WB_SECTOR_SHIFT)
		sectors = IMAGE_BYTES >> WB_SECTOR_SHIFT;
	if (sectors == im->sectors)
		return;
	im->sectors = sectors;
	if (im->fd >= 0 && ftruncate(im->fd, (off_t)(sectors << WB_SECTOR_SHIFT)))
		abort();
}

void *image_touch(struct image *im, u64 offset)
{
	im->written[offset >> WB_BLOCK_SHIFT] = true;
	return im->base + offset;
}

static bool fits(const struct image *im, u64 offset, size_t len)
{
	u64 end = im->sectors << WB_SECTOR_SHIFT;

	return offset <= end && len <= end - offset;
}

int image_read(const struct image *im, u64 offset, size_t len, void *to)
{
	u64 i;

	if (!fits(im, offset, len))
		return -EIO;
	for (i = offset >> WB_BLOCK_SHIFT; im->nr_unreadable && i << WB_BLOCK_SHIFT < offset + len; i++)
		if (im->unreadable[i])
			return -EIO;
	memcpy(to, im->base + offset, len);
	return 0;
}

int image_write(struct image *im, u64 offset, size_t len, const void *from)
{
	u64 i;

	if (!fits(im, offset, len))
		return -EIO;
	for (i = offset >> WB_BLOCK_SHIFT; i << WB_BLOCK_SHIFT < offset + len; i++) {
		im->written[i] = true;
		if (im->unreadable[i])
			im->nr_unreadable--;
		im->unreadable[i] = false;
	}
	memcpy(im->base + offset, from, len);
	return 0;
}

void image_save(const struct image *im, struct image_copy *to)
{
	u32 i;

	if (!to->base)
		to->base = calloc(1, IMAGE_BYTES);
	if (!to->base)
		abort();
	for (i = 0; i < IMAGE_BLOCKS; i++) {
		u8 *at = to->base + ((size_t)i << WB_BLOCK_SHIFT);

		if (im->written[i] && (u64)(i + 1) << (WB_BLOCK_SHIFT - WB_SECTOR_SHIFT) <= im->sectors)
			memcpy(at, im->base + (at - to->base), WB_BLOCK_SIZE);
		else if (to->written[i])
			memset(at, 0, WB_BLOCK_SIZE);
	}
	memcpy(to->written, im->written, sizeof(to->written));
}

/* All of it, whoever may have written and where. */
bool image_same(const struct image *im, const struct image_copy *as)
{
	size_t blocks = im->sectors >> (WB_BLOCK_SHIFT - WB_SECTOR_SHIFT);

	return !memcmp(im->base, as->base, blocks << WB_BLOCK_SHIFT);
}

void image_restore(struct image *im, const struct image_copy *from)
{
	u32 i;

	for (i = 0; i < im->sectors >> (WB_BLOCK_SHIFT - WB_SECTOR_SHIFT); i++)
		if (im->written[i] || from->written[i])
			memcpy(im->base + ((size_t)i << WB_BLOCK_SHIFT),
			       from->base + ((size_t)i << WB_BLOCK_SHIFT), WB_BLOCK_SIZE);
	memcpy(im->written, from->written, sizeof(im->written));
}
