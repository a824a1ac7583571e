/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the fuzz targets share: checks, and inputs that are structures in the raw.
 *
 * A target is one program, NAME-fuzz.c, whose LLVMFuzzerTestOneInput() does with the bytes that it
 * is given what the module or the tool does with media. Crashes, reads out of bounds, undefined
 * behaviour, leaks and endless loops are the sanitizers' and libFuzzer's to notice; what else must
 * hold is said with CHECK().
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>

#include "encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *to, size_t room, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* Where messages go that are for a person: libFuzzer's own standard error, never the tool's. */
void fuzz_failed(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

#define CHECK(cond) do { \
	if (!(cond)) \
		fuzz_failed(__FILE__, __LINE__, "%s", #cond); \
} while (0)

#define CHECKF(cond, ...) do { \
	if (!(cond)) \
		fuzz_failed(__FILE__, __LINE__, __VA_ARGS__); \
} while (0)

/* Input taken from the front; where it has come to its end there are zeros. */
struct input {
	const u8 *at;
	size_t left;
};

void input_bytes(struct input *in, void *to, size_t len);
u8 input_byte(struct input *in);
u64 input_u64(struct input *in);

/* Give a structure the checksum that fits what it holds. A header's length must be sane. */
void seal_super(void *block);
void seal_record(void *block);
void seal_header(void *block, u32 slot_blocks);

#endif /* FUZZ_H */
