/* SPDX-License-Identifier: GPL-2.0 */
/* A program that executes the instruction counts.c looks for, and ends. */
	.globl _start
_start:
	.byte 0x0f, 0x1f, 0x80, 0x42, 0x50, 0x57, 0x42
	mov $60, %eax
	xor %edi, %edi
	syscall
	.section .note.GNU-stack, "", @progbits
