// SPDX-License-Identifier: GPL-2.0
#include "sweep.h"

static u32 slot_of(u64 id)
{
	return id % WB_SWEEP_SEGMENTS;
}

void wb_sweep_begin(struct wb_sweep *s, u64 first)
{
	s->nr = 0;
	s->at = 0;
	s->first = first;
	s->last = first - 1;
}

static bool before(const struct wb_cand *a, const struct wb_cand *b)
{
	return a->block != b->block ? a->block < b->block : a->place < b->place;
}

/* Forget what was taken. */
static void compact(struct wb_sweep *s)
{
	u32 i, kept = 0;

	for (i = 0; i < s->nr; i++) {
		if (i == s->at)
			s->at = kept;
		if (!s->cands[i].taken)
			s->cands[kept++] = s->cands[i];
	}
	if (s->at > kept)
		s->at = kept;
	s->nr = kept;
}

/* The first of block @head or behind. */
static u32 find(const struct wb_sweep *s)
{
	u32 low = 0, high = s->nr, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (s->cands[middle].block < s->head)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void wb_sweep_join(struct wb_sweep *s, u64 last, const struct wb_cand *new, u32 nr)
{
	u32 i;

	for (; s->last < last; s->last++)
		s->left[slot_of(s->last + 1)] = 0;
	for (i = 0; i < nr; i++)
		s->left[new[i].segment]++;
	compact(s);
	/* From the end, so that nothing is overwritten that is still to be moved. */
	i = s->nr;
	s->nr += nr;
	while (nr) {
		if (i && before(&new[nr - 1], &s->cands[i - 1])) {
			s->cands[i + nr - 1] = s->cands[i - 1];
			i--;
		} else {
			s->cands[i + nr - 1] = new[nr - 1];
			nr--;
		}
	}
	s->at = find(s);
}

u64 wb_sweep_limit(const struct wb_sweep *s, u64 blocks)
{
	u64 id = s->first, sum = s->left[slot_of(id)];

	while (id < s->last) {
		sum += s->left[slot_of(id + 1)];
		if (sum > blocks)
			break;
		id++;
	}
	return id;
}

/* The neighbourhood that begins at @i. Return: its end; *@wanted: is any of it within @limit? */
static u32 run_end(const struct wb_sweep *s, u32 i, u64 limit, bool *wanted)
{
	u32 served = limit - s->first, end = i;

	*wanted = false;
	do {
		*wanted |= (u8)(s->cands[end].segment - s->first) <= served;
		end++;
	} while (end < s->nr && end - i < WB_SWEEP_RUN && !s->cands[end].taken &&
		 s->cands[end].block - s->cands[end - 1].block <= 1);
	return end;
}

static u32 take(struct wb_sweep *s, u64 limit, struct wb_cand *out, u32 max, u32 runs)
{
	u32 i = s->at, nr = 0, end;
	bool wanted;

	while (i < s->nr && runs) {
		if (s->cands[i].taken) {
			i++;
			continue;
		}
		end = run_end(s, i, limit, &wanted);
		if (wanted && nr + end - i > max)
			break;
		for (; i < end; i++) {
			if (!wanted)
				continue;
			out[nr++] = s->cands[i];
			s->cands[i].taken = 1;
		}
		runs -= wanted;
	}
	s->at = i;
	if (i)
		s->head = s->cands[i - 1].block + 1;
	return nr;
}

u32 wb_sweep_take(struct wb_sweep *s, u64 limit, struct wb_cand *out, u32 max, u32 runs,
		  bool *again)
{
	u32 nr = take(s, limit, out, max, runs);

	*again = !nr;
	if (nr)
		return nr;
	s->at = 0;
	s->head = 0;
	compact(s);
	return take(s, limit, out, max, runs);
}

void wb_sweep_finished(struct wb_sweep *s, const struct wb_cand *cand)
{
	s->left[cand->segment]--;
}

u64 wb_sweep_done(const struct wb_sweep *s)
{
	u64 id = s->first;

	while (id <= s->last && !s->left[slot_of(id)])
		id++;
	return id - 1;
}

void wb_sweep_leave(struct wb_sweep *s, u64 id)
{
	s->first = id + 1;
}
