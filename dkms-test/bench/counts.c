// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU's emulation (interface 1: QEMU 4.2 to 8.x) that counts how often each block of translated
 * code runs, so how many instructions the guest spends where, without the guest noticing.
 *
 * When the guest executes `mark` (mark.S makes a program of it), the counts since the last time go to the file named by
 * the argument to=, with the number of the mark appended: one line a block, its address, its instructions, how often it
 * has run.
 * What QEMU's own header declares is declared here: Debian does not package that.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
					   void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int cpu, void *data), int flags,
					    void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

#define EXPORT __attribute__((visibility("default")))
#define OP_ADD_U64 0
#define NO_REGS 0

EXPORT int qemu_plugin_version = 1;

/* nopl 0x42575042(%rax): does nothing, and no compiler emits it. */
static const uint8_t mark[] = { 0x0f, 0x1f, 0x80, 0x42, 0x50, 0x57, 0x42 };

/* A block of code; translated anew, it keeps its counter. Blocks are never freed: translated code points at them. */
struct block {
	struct block *next;
	uint64_t addr;
	uint64_t nr_insns;
	uint64_t runs;
};

#define NR_BUCKETS 65536
static struct block *buckets[NR_BUCKETS];
static const char *file = "counts";
static unsigned int nr_marks;

static struct block *find_block(uint64_t addr, uint64_t nr_insns)
{
	struct block **head = &buckets[(addr * 0x9e3779b97f4a7c15ull + nr_insns) >> 48];
	struct block *b;

	for (b = *head; b; b = b->next)
		if (b->addr == addr && b->nr_insns == nr_insns)
			return b;
	b = calloc(1, sizeof(*b));
	if (!b)
		abort();
	b->addr = addr;
	b->nr_insns = nr_insns;
	b->next = *head;
	*head = b;
	return b;
}

static void at_mark(unsigned int cpu, void *data)
{
	struct block *b;
	char name[4096];
	FILE *out;
	int i;

	snprintf(name, sizeof(name), "%s.%u", file, nr_marks++);
	out = fopen(name, "w");
	if (!out) {
		perror(name);
		abort();
	}
	for (i = 0; i < NR_BUCKETS; i++)
		for (b = buckets[i]; b; b = b->next) {
			if (b->runs)
				fprintf(out, "%016llx %llu %llu\n", (unsigned long long)b->addr,
					(unsigned long long)b->nr_insns, (unsigned long long)b->runs);
			b->runs = 0;
		}
	if (fclose(out)) {
		perror(name);
		abort();
	}
}

static void at_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i;
	struct block *b = find_block(qemu_plugin_tb_vaddr(tb), n);

	qemu_plugin_register_vcpu_tb_exec_inline(tb, OP_ADD_U64, &b->runs, 1);
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (qemu_plugin_insn_size(insn) == sizeof(mark) &&
		    !memcmp(qemu_plugin_insn_data(insn), mark, sizeof(mark)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, at_mark, NO_REGS, NULL);
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv);
EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	if (argc > 0 && !strncmp(argv[0], "to=", 3))
		file = strdup(argv[0] + 3);
	qemu_plugin_register_vcpu_tb_trans_cb(id, at_translation);
	return 0;
}
