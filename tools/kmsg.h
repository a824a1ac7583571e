/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why the kernel refused: device-mapper tells only an error number, the reason goes to the kernel
 * log. Open before the call, ask after it failed.
 */
#ifndef KMSG_H
#define KMSG_H

#include <stddef.h>

/* At the end of the kernel log as it is now. Return: a descriptor, or -1 if it may not be read. */
int kmsg_open(void);

/*
 * The target's last line since then, without the prefix; "" if there is none. Closes @fd.
 */
void kmsg_reason(int fd, char *to, size_t len);

#endif /* KMSG_H */
