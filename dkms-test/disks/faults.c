// SPDX-License-Identifier: GPL-2.0
/*
 * Faults asked for: errors, hung requests, slow ones, by range, operation and probability.
 */
#include <linux/slab.h>
#include <linux/string.h>

#include "wbdisk.h"

enum wbd_fault_kind { WBD_FAULT_ERROR, WBD_FAULT_HANG, WBD_FAULT_SLOW };

static const char *const wbd_fault_kinds[] = { "error", "hang", "slow" };
static const char *const wbd_op_names[] = { "read", "write", "flush", "discard", "any" };

struct wbd_fault {
	struct list_head node;
	u64 kind;
	enum wbd_op op;
	u64 first, last;	/* sectors of 512 bytes; a flush has none, and matches any range */
	u64 percent;
	u64 seed;		/* state of its generator */
	u64 after;		/* so many matching requests are spared first */
	u64 count;		/* then so many are hit; 0 is no limit */
	u64 ms;
	u64 ahead;		/* only what is read ahead */
	u64 lose;		/* a failing flush: later flushes do not cover what it did */
	u64 matched, hit;
};

static int wbd_fault_word(struct wbd_fault *fault, char *word)
{
	struct {
		const char *name;
		u64 *value;
	} numbers[] = {
		{ "first", &fault->first }, { "last", &fault->last },
		{ "percent", &fault->percent }, { "seed", &fault->seed },
		{ "after", &fault->after }, { "count", &fault->count },
		{ "ms", &fault->ms }, { "lose", &fault->lose }, { "ahead", &fault->ahead },
	};
	char *value = strchr(word, '=');
	int i;

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	if (!strcmp(word, "op"))
		return wbd_parse_op(value, &fault->op);
	if (!strcmp(word, "kind")) {
		i = match_string(wbd_fault_kinds, ARRAY_SIZE(wbd_fault_kinds), value);
		fault->kind = i;
		return i < 0 ? i : 0;
	}
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!strcmp(word, numbers[i].name))
			return wbd_parse_u64(value, numbers[i].value);
	return -EINVAL;
}

/**
 * wbd_fault_add() - a further fault
 * @disk: the disk
 * @words: its description, KEY=VALUE each; they are changed
 * @nr_words: how many
 *
 * May sleep. Return: 0, -EINVAL or -ENOMEM.
 */
int wbd_fault_add(struct wbd_disk *disk, char **words, int nr_words)
{
	struct wbd_fault *fault = kzalloc(sizeof(*fault), GFP_KERNEL);
	int i, r = 0;

	if (!fault)
		return -ENOMEM;
	fault->kind = U64_MAX;
	fault->op = WBD_ANY;
	fault->last = U64_MAX;
	fault->percent = 100;
	for (i = 0; !r && i < nr_words; i++)
		r = wbd_fault_word(fault, words[i]);
	if (r || fault->kind == U64_MAX || fault->percent > 100 || fault->first > fault->last) {
		kfree(fault);
		return r ?: -EINVAL;
	}
	spin_lock_irq(&wbd_lock);
	list_add_tail(&fault->node, &disk->faults);
	spin_unlock_irq(&wbd_lock);
	return 0;
}

/**
 * wbd_faults_clear() - all faults of a disk away
 * @disk: the disk
 *
 * Context: wbd_lock held.
 */
void wbd_faults_clear(struct wbd_disk *disk)
{
	struct wbd_fault *fault, *next;

	list_for_each_entry_safe(fault, next, &disk->faults, node) {
		list_del(&fault->node);
		kfree(fault);
	}
}

static bool wbd_fault_hits(struct wbd_fault *fault, enum wbd_op op, u64 sector, u32 sectors,
			   bool ahead)
{
	if ((fault->op != WBD_ANY && fault->op != op) || (fault->ahead && !ahead))
		return false;
	if (op != WBD_FLUSH && (sector > fault->last || sector + sectors <= fault->first))
		return false;
	if (fault->matched++ < fault->after)
		return false;
	if (fault->count && fault->hit >= fault->count)
		return false;
	if (!wbd_chance(&fault->seed, fault->percent))
		return false;
	fault->hit++;
	return true;
}

/**
 * wbd_faults_judge() - what the faults have in store for a request
 * @disk: the disk
 * @op: what it does
 * @sector: where, sectors of 512 bytes
 * @sectors: how many
 * @ahead: nobody has asked for it yet
 *
 * Context: wbd_lock held.
 */
struct wbd_verdict wbd_faults_judge(struct wbd_disk *disk, enum wbd_op op, u64 sector, u32 sectors,
				    bool ahead)
{
	struct wbd_verdict verdict = {};
	struct wbd_fault *fault;

	list_for_each_entry(fault, &disk->faults, node) {
		if (!wbd_fault_hits(fault, op, sector, sectors, ahead))
			continue;
		switch (fault->kind) {
		case WBD_FAULT_ERROR:
			verdict.error = true;
			verdict.lose |= fault->lose;
			break;
		case WBD_FAULT_HANG:
			verdict.hang = true;
			break;
		case WBD_FAULT_SLOW:
			verdict.slow_ns += fault->ms * NSEC_PER_MSEC;
			break;
		}
	}
	return verdict;
}

/**
 * wbd_faults_show() - a line for each fault
 * @disk: the disk
 * @m: where to
 *
 * Context: wbd_lock held.
 */
void wbd_faults_show(struct wbd_disk *disk, struct seq_file *m)
{
	struct wbd_fault *fault;

	list_for_each_entry(fault, &disk->faults, node)
		seq_printf(m, "  fault kind=%s op=%s matched=%llu hit=%llu\n",
			   wbd_fault_kinds[fault->kind], wbd_op_names[fault->op], fault->matched,
			   fault->hit);
}

/**
 * wbd_parse_op() - the operation of that name
 * @text: read, write, flush, discard or any
 * @op: the result
 *
 * Return: 0 or -EINVAL.
 */
int wbd_parse_op(const char *text, enum wbd_op *op)
{
	int i = match_string(wbd_op_names, ARRAY_SIZE(wbd_op_names), text);

	if (i < 0)
		return -EINVAL;
	*op = i;
	return 0;
}
