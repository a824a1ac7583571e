// SPDX-License-Identifier: GPL-2.0
/*
 * CRC32C for user space, with the meaning of the kernel's crc32c(): no inversions.
 *
 * Eight table lookups for eight bytes, or the CPU's own instruction where it has one. The table is
 * made before main() runs, so that this can be called from several threads.
 */
#include "port.h"

#define CRC32C_POLY	0x82f63b78u	/* Castagnoli, reflected */

static u32 table[8][256];
static bool have_instruction;

__attribute__((constructor)) static void crc32c_init(void)
{
	u32 i, k, crc;

	for (i = 0; i < 256; i++) {
		crc = i;
		for (k = 0; k < 8; k++)
			crc = (crc >> 1) ^ (crc & 1 ? CRC32C_POLY : 0);
		table[0][i] = crc;
	}
	for (i = 0; i < 256; i++)
		for (k = 1; k < 8; k++)
			table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
#ifdef __x86_64__
	__builtin_cpu_init();
	have_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

static inline u64 load64(const u8 *p)
{
	__le64 v;

	memcpy(&v, p, sizeof(v));
	return le64_to_cpu(v);
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static u32 by_instruction(u32 crc, const u8 *p, size_t len)
{
	u64 wide = crc;

	for (; len >= 8; len -= 8, p += 8)
		wide = __builtin_ia32_crc32di(wide, load64(p));
	crc = (u32)wide;
	while (len--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#else
static u32 by_instruction(u32 crc, const u8 *p, size_t len)
{
	(void)p;
	(void)len;
	return crc;
}
#endif

static u32 by_table(u32 crc, const u8 *p, size_t len)
{
	u64 v;

	for (; len >= 8; len -= 8, p += 8) {
		v = load64(p) ^ crc;
		crc = table[7][v & 0xff] ^ table[6][(v >> 8) & 0xff] ^
		      table[5][(v >> 16) & 0xff] ^ table[4][(v >> 24) & 0xff] ^
		      table[3][(v >> 32) & 0xff] ^ table[2][(v >> 40) & 0xff] ^
		      table[1][(v >> 48) & 0xff] ^ table[0][v >> 56];
	}
	while (len--)
		crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 0xff];
	return crc;
}

u32 wb_crc32c_raw(u32 crc, const void *data, size_t len)
{
	return have_instruction ? by_instruction(crc, data, len) : by_table(crc, data, len);
}
