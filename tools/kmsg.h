/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the target said to the kernel log: device-mapper tells only an error number. Open before the
 * call, ask after it.
 */
#ifndef KMSG_H
#define KMSG_H

#include <stdbool.h>
#include <stddef.h>

/* At the end of the kernel log as it is now. Return: a descriptor, or -1 if it may not be read. */
int kmsg_open(void);

/*
 * Call @say for each line of the target since then, without the prefix. @own: it is its own, not what
 * device-mapper quotes of its constructor. Closes @fd.
 */
void kmsg_each(int fd, void (*say)(void *ctx, const char *text, bool own), void *ctx);

/* The last such line, its own before any other; "" if there is none. Closes @fd. */
void kmsg_reason(int fd, char *to, size_t len);

#endif /* KMSG_H */
