/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the plain C of this folder needs from its surroundings.
 *
 * All but the RAM buffer is built from one source into the module and into the user-space tests, and
 * what reads a log into writeboost-ctl, too. It takes no lock, does no I/O of its own (recovery is
 * handed the media), and sleeps only there and where it allocates; all that it asks of the world is
 * fixed-width integers, byte order, CRC32C and memory.
 */
#ifndef WB_PORT_H
#define WB_PORT_H

#ifdef __KERNEL__

#include <linux/types.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <linux/errno.h>
#include <linux/build_bug.h>
#include <linux/crc32c.h>
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/*
 * May sleep; contents are zero. Only called while a device is being set up or recovered. An index too
 * large for this machine is refused: nobody is killed to make room for it.
 */
static inline void *wb_zalloc(size_t bytes)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL;

	return bytes < (1u << 20) ? kvmalloc(bytes, gfp) : __vmalloc(bytes, gfp);
}

/* As wb_zalloc(), but its contents are anything, and its pages are neighbours where that can be had. */
static inline void *wb_alloc(size_t bytes)
{
	return kvmalloc(bytes, GFP_KERNEL | __GFP_NOWARN);
}

static inline void wb_free(void *p)
{
	kvfree(p);
}

static inline u32 wb_crc32c_raw(u32 crc, const void *data, size_t len)
{
	return crc32c(crc, data, len);
}

#else /* user space */

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/types.h>	/* __le16 and so on; libc's own headers bring them in as well */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define cpu_to_le16(x) htole16(x)
#define cpu_to_le32(x) htole32(x)
#define cpu_to_le64(x) htole64(x)
#define le16_to_cpu(x) le16toh(x)
#define le32_to_cpu(x) le32toh(x)
#define le64_to_cpu(x) le64toh(x)
#ifndef __packed
#define __packed __attribute__((packed))
#endif
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

static inline void *wb_zalloc(size_t bytes)
{
	return calloc(1, bytes);
}

static inline void *wb_alloc(size_t bytes)
{
	return malloc(bytes);
}

static inline void wb_free(void *p)
{
	free(p);
}

static inline unsigned int hweight8(unsigned int w)
{
	return (unsigned int)__builtin_popcount(w & 0xff);
}

static inline unsigned int hweight64(u64 w)
{
	return (unsigned int)__builtin_popcountll(w);
}

static inline u64 div_u64(u64 n, u32 d)
{
	return n / d;
}

static inline u64 div64_u64(u64 n, u64 d)
{
	return n / d;
}

static inline u64 div64_u64_rem(u64 n, u64 d, u64 *rem)
{
	*rem = n % d;
	return n / d;
}

/* CRC32C without the customary inversions, as the kernel's crc32c(). In tools/crc32c.c. */
u32 wb_crc32c_raw(u32 crc, const void *data, size_t len);

#endif /* __KERNEL__ */

/**
 * wb_crc32c_more() - continue a CRC32C over further bytes
 * @crc: what the earlier call returned, or 0 to begin
 * @data: the bytes
 * @len: how many
 *
 * Gives the checksum with the customary inversions (that of "123456789" is 0xe3069283), and
 * wb_crc32c_more(wb_crc32c_more(0, a), b) is the checksum of a followed by b.
 */
static inline u32 wb_crc32c_more(u32 crc, const void *data, size_t len)
{
	return ~wb_crc32c_raw(~crc, data, len);
}

static inline u32 wb_crc32c(const void *data, size_t len)
{
	return wb_crc32c_more(0, data, len);
}

#endif /* WB_PORT_H */
