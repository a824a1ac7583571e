/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest's test programs share: direct I/O in sectors, and sectors that say who they are.
 *
 * A *stamped* sector holds its own number, the life and the operation that wrote it, and for each writer
 * how many operations had been acknowledged when that operation was issued. The rest of it follows from
 * these words. So a reader can tell from the sector alone whether it was ever written like this,
 * and what else must be there if it is.
 */
#ifndef COMMON_H
#define COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR		512u
#define BLOCK_SECTORS	8u
#define MAX_WRITERS	8u

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;

/* struct stamp - who a sector is: @life and @op are 0 for one that was never written */
struct stamp {
	u64 sector;
	u32 life;
	u32 op;		/* number of the operation, from 1 */
	u32 dep[MAX_WRITERS];
};

extern const char *program;

/* Print "program: ..." on stderr and exit with status 1. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A number from a command line; dies if it is none. */
u64 number(const char *text);

/* Fill a sector. */
void stamp_write(void *to, const struct stamp *s);

/*
 * Read the stamp of sector @sector. Returns NULL, or in words what is wrong: then nobody ever wrote these
 * bytes to this place. A sector of zeros is one that was never written, or discarded.
 */
const char *stamp_read(const void *from, u64 sector, struct stamp *s);

/* Numbers that look random and follow from @x (splitmix64, Vigna). */
u64 mix(u64 x);

/* A stream of such numbers. */
static inline u64 random_next(u64 *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	return mix(*state);
}

static inline u32 random_below(u64 *state, u32 n)
{
	return (u32)((random_next(state) >> 32) * n >> 32);
}

/* Memory for direct I/O. */
void *io_alloc(size_t size);

int open_direct(const char *path, bool writable);
u64 device_sectors(int fd);

/* Return: 0 or the errno. Short transfers count as EIO. */
int read_sectors(int fd, void *to, u64 sector, u32 nr);
int write_sectors(int fd, const void *from, u64 sector, u32 nr, bool fua);
int discard_sectors(int fd, u64 sector, u64 nr);

u64 now_ms(void);
void sleep_ms(u32 ms);

#endif /* COMMON_H */
