// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <unistd.h>

#include "fuzz.h"

/* As in the unit tests: with the usual quarantine each image would be fresh pages. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:thread_local_quarantine_size_kb=64:"
	       "allocator_release_to_os_interval_ms=-1:detect_leaks=1";
}

void fuzz_failed(const char *file, int line, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "\nCHECK failed at %s:%d: %s\n",
		strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, text);
	abort();
}

void input_bytes(struct input *in, void *to, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memcpy(to, in->at, n);
	memset((u8 *)to + n, 0, len - n);
	in->at += n;
	in->left -= n;
}

u8 input_byte(struct input *in)
{
	u8 b;

	input_bytes(in, &b, 1);
	return b;
}

u64 input_u64(struct input *in)
{
	__le64 v;

	input_bytes(in, &v, sizeof(v));
	return le64_to_cpu(v);
}

void seal_super(void *block)
{
	struct wb_super_disk *d = block;

	d->crc = cpu_to_le32(wb_crc32c(&d->version, sizeof(*d) - offsetof(typeof(*d), version)));
}

void seal_record(void *block)
{
	struct wb_record_disk *d = block;

	d->crc = cpu_to_le32(wb_crc32c(&d->life_link, sizeof(*d) - offsetof(typeof(*d), life_link)));
}

void seal_header(void *block, u32 slot_blocks)
{
	struct wb_header_disk *d = block;
	u32 nr = le16_to_cpu(d->nr_entries);

	if (nr >= slot_blocks)
		nr = slot_blocks - 1;
	d->crc = cpu_to_le32(wb_crc32c(&d->seed, sizeof(*d) - offsetof(typeof(*d), seed) +
				       nr * sizeof(struct wb_entry_disk)));
}
