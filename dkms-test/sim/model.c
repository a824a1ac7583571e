// SPDX-License-Identifier: GPL-2.0
/*
 * What a disk promises, sector by sector.
 *
 * Each sector has the list of its versions in the order of the log. While the cache runs a read gives
 * the newest version that was acknowledged before the read began, or a newer one. After a crash there
 * is one place in the log (which the walk names) such that every sector is exactly what the newest
 * version up to there made of it; and that place is not before anything that a flush covered.
 *
 * A read of what is under a discard may give zeros or anything older. After a crash it is what it was,
 * or what the backing device makes of a discard: zeros, or also something older if that device does
 * not always do as it is told. What was written after a discard stands, and where a tombstone was
 * recovered nothing older comes out of the log.
 */
#include "sim.h"

void model_init(struct model *m, u32 nr_sectors)
{
	u32 s;

	m->nr_sectors = nr_sectors;
	m->stamp = 1;
	m->now = 1;
	m->next_chunk = 1;
	m->acked_chunk = 0;
	m->must = 0;
	m->durable = 0;
	m->log_flushed = 0;
	m->backing_flushed = 0;
	m->chunk[0] = (struct chunk_model){ 0 };
	for (s = 0; s < nr_sectors; s++) {
		m->s[s].nr = 0;
		model_adopt(m, s, 1, 0);
	}
}

/* Words that name the sector and the value, so that a torn or misplaced one shows. */
void model_fill(u32 sector, u64 value, void *to)
{
	u64 *w = to, x = mix64(value * 4096 + sector);
	u32 i;

	if (!value) {
		memset(to, 0, WB_SECTOR_SIZE);
		return;
	}
	w[0] = value;
	w[1] = x;
	for (i = 2; i < WB_SECTOR_SIZE / 8 - 1; i++)
		w[i] = x + i;
	w[i] = value ^ x;
}

u64 model_value(u32 sector, const void *bytes, bool all)
{
	u64 w[WB_SECTOR_SIZE / 8], x, value;
	const u8 *b = bytes;
	u32 i;

	if (all) {
		memcpy(w, bytes, sizeof(w));
		for (i = 2, x = w[1]; i < WB_SECTOR_SIZE / 8 - 1; i++)
			if (w[i] != (w[0] ? x + i : 0))
				return ~0ull;
	}
	memcpy(w, b, 16);
	memcpy(&w[2], b + WB_SECTOR_SIZE - 8, 8);
	value = w[0];
	if (!value)
		return w[1] || w[2] ? ~0ull : 0;
	x = mix64(value * 4096 + sector);
	return w[1] == x && w[2] == (value ^ x) ? value : ~0ull;
}

static bool is_before(const struct version *a, const struct version *b)
{
	return a->chunk < b->chunk || (a->chunk == b->chunk && a->place < b->place);
}

static void describe(const struct sector_model *s, u32 sector)
{
	const struct version *v;
	u32 i;

	if (!tracing)
		return;
	trace_line("sector %u: weak up to %llu, tombstone in chunk %d place %u, zeros since %u", sector,
		   ULL(s->weak), (int)s->tomb_chunk, s->tomb_place, s->zero_at);
	for (i = 0; i < s->nr; i++) {
		v = &s->v[i];
		trace_line("  value %llu (write %llu) chunk %u place %u, acked %d%s%s", ULL(v->value),
			   ULL(v->stamp), v->chunk, v->place, (int)v->acked,
			   v->past_log ? ", past the log" : "", v->covered ? ", flushed" : "");
	}
}

void model_publish(struct model *m, u32 sector, const struct version *v)
{
	struct sector_model *s = &m->s[sector];
	u32 at = s->nr;

	CHECK(s->nr < MAX_VERSIONS);
	for (; at && is_before(v, &s->v[at - 1]); at--) {
		if (s->v[at - 1].acked < v->issued) {
			describe(s, sector);
			sim_fail(__FILE__, __LINE__,
				 "sector %u: a write stands before one acknowledged before it began",
				 sector);
		}
		s->v[at] = s->v[at - 1];
	}
	s->v[at] = *v;
	s->nr++;
	s->zero_at = 0;
}

bool model_has_room(const struct model *m, u32 sector, u32 nr)
{
	while (nr--)
		if (m->s[sector++].nr + 2 * MAX_OPS >= MAX_VERSIONS)
			return false;
	return true;
}

void model_ack(struct model *m, u32 op, u32 sector, u32 nr, u32 chunk)
{
	struct sector_model *s;
	u32 i;

	for (s = &m->s[sector]; nr--; s++)
		for (i = 0; i < s->nr; i++)
			if (s->v[i].op == op)
				s->v[i].acked = m->now;
	if (chunk > m->acked_chunk)
		m->acked_chunk = chunk;
}

/* Up to @chunk all is certain to survive: what is older than the newest there is not needed. */
void model_compact(struct model *m, u32 chunk)
{
	struct sector_model *s;
	u32 k, i;

	for (k = 0; k < m->nr_sectors; k++) {
		s = &m->s[k];
		for (i = s->nr - 1; i; i--)
			if (s->v[i].chunk <= chunk && (!s->v[i].past_log || s->v[i].covered))
				break;
		if (!i)
			continue;
		s->nr -= i;
		memmove(s->v, s->v + i, s->nr * sizeof(s->v[0]));
	}
}

void model_covered(struct model *m, u32 issued)
{
	struct sector_model *s;
	u32 k, i;

	for (k = 0; k < m->nr_sectors; k++) {
		s = &m->s[k];
		for (i = 0; i < s->nr; i++)
			if (s->v[i].acked < issued)
				s->v[i].covered = true;
	}
}

void model_flushed(struct model *m, u32 issued, u32 acked_chunk)
{
	if (acked_chunk > m->must)
		m->must = acked_chunk;
	if (issued > m->log_flushed)
		m->log_flushed = issued;
	model_covered(m, issued);
}

static bool is_weak(const struct sector_model *s, const struct version *v, u64 value)
{
	return v->stamp <= s->weak && (!value || value <= s->weak);
}

void model_check_read(const struct model *m, u32 sector, u64 value, u32 since)
{
	const struct sector_model *s = &m->s[sector];
	u32 i;

	for (i = s->nr - 1; i && s->v[i].acked >= since; i--)
		;
	if (s->zero_at && s->zero_at < since && !value)
		return;
	if (!s->zero_at || s->zero_at >= since)
		for (; i < s->nr; i++)
			if (s->v[i].value == value || is_weak(s, &s->v[i], value))
				return;
	describe(s, sector);
	sim_fail(__FILE__, __LINE__, "a read of sector %u gives %lld", sector, (long long)value);
}

void model_check_recovered(const struct model *m, u32 sector, u64 value, u32 last, bool backing,
			   bool rot)
{
	const struct sector_model *s = &m->s[sector];
	const struct version *v;
	bool good, dropped;
	u32 i;

	for (i = s->nr - 1; i; i--)
		if (s->v[i].chunk <= last && (!s->v[i].past_log || s->v[i].covered))
			break;
	v = &s->v[i];
	if (rot && v->chunk > last)
		return;		/* what it was before is not remembered any more */
	dropped = s->tomb_chunk <= last && (v->chunk < s->tomb_chunk ||
		  (v->chunk == s->tomb_chunk && v->place < s->tomb_place));
	good = v->value == value ||
	       (is_weak(s, v, value) && (!value || !m->discards_zero));
	if (good && dropped && v->stamp <= s->weak && !backing) {
		describe(s, sector);
		sim_fail(__FILE__, __LINE__,
			 "sector %u comes out of the log although it was discarded after", sector);
	}
	/*
	 * What was discarded may come back, but not what was older; and not even that once the
	 * backing device's discard is durable.
	 */
	if (s->zero_at && s->zero_at < m->log_flushed && value && last >= m->must &&
	    (s->zero_at < m->backing_flushed || v->value != value)) {
		describe(s, sector);
		sim_fail(__FILE__, __LINE__, "sector %u was discarded for good and holds %lld", sector,
			 (long long)value);
	}
	for (i++; !good && i < s->nr; i++)
		good = (s->v[i].past_log || (rot && s->v[i].chunk <= m->durable)) &&
		       s->v[i].chunk <= (rot ? m->durable : last) && s->v[i].value == value;
	if (good)
		return;
	describe(s, sector);
	sim_fail(__FILE__, __LINE__,
		 "sector %u holds %lld, and the log up to chunk %u makes it %llu", sector,
		 (long long)value, last, ULL(v->value));
}

void model_adopt(struct model *m, u32 sector, u64 value, u32 last)
{
	struct sector_model *s = &m->s[sector];

	s->nr = 1;
	s->weak = 0;
	s->tomb_chunk = NEVER;
	s->zero_at = 0;
	s->v[0] = (struct version){ .value = value, .stamp = m->stamp, .chunk = last };
}
