// SPDX-License-Identifier: GPL-2.0
#include "media.h"
#include "signature.h"

/* ---------------------------------------------------------------- superblocks and records */

static void read_copy(struct device *d, u64 offset, u8 *raw, enum wb_verdict *v)
{
	*v = device_read(d, offset, WB_BLOCK_SIZE, raw) ? WB_READ_ERROR : WB_OK;
}

void media_read(struct media *m, struct device *d)
{
	const void *raw[WB_NR_COPIES];
	int i;

	memset(m, 0, sizeof(*m));
	m->dev = d;
	for (i = 0; i < WB_NR_COPIES; i++) {
		struct super_copy *c = &m->super[i];

		read_copy(d, WB_SUPER_OFFSET(i), c->raw, &c->verdict);
		raw[i] = c->verdict == WB_OK ? c->raw : NULL;
		if (raw[i])
			c->verdict = wb_super_decode(c->raw, &c->s);
	}
	m->super_verdict = wb_super_pick(raw, &m->s);
	if (m->super_verdict != WB_OK)
		return;
	m->super_which = m->super[0].verdict == WB_OK ? 0 : 1;
	m->shorter = d->sectors < m->s.geom.cache_sectors;

	for (i = 0; i < WB_NR_COPIES; i++) {
		struct record_copy *c = &m->record[i];

		read_copy(d, WB_RECORD_OFFSET(i), c->raw, &c->verdict);
		raw[i] = c->verdict == WB_OK ? c->raw : NULL;
		if (raw[i])
			c->verdict = wb_record_decode(&m->s.geom, c->raw, &c->r);
	}
	m->record_verdict = wb_record_pick(&m->s.geom, raw, &m->r, &m->record_which);
}

bool media_is_ours(const struct media *m)
{
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		if (m->super[i].verdict != WB_NOT_OURS && m->super[i].verdict != WB_READ_ERROR &&
		    m->super[i].verdict != WB_OLD_WRITEBOOST && m->super[i].verdict != WB_FOREIGN)
			return true;
	}
	return false;
}

int media_explain(const struct media *m)
{
	const char *path = m->dev->path;

	switch (m->super_verdict) {
	case WB_OLD_WRITEBOOST:
		err("%s is a cache of dm-writeboost 2.x, another format; write it back with that "
		    "version, then format it anew", path);
		return RC_DEVICE;
	case WB_FOREIGN:
		err("%s %s", path, wb_verdict_text(m->super_verdict));
		if (m->super[1].verdict == WB_OK)
			err("it was a cache before that; if it still is, and that was a mistake: overwrite "
			    "its first 4096 bytes with zeros, then " TOOL_NAME " repair %s", path);
		return RC_DEVICE;
	case WB_BAD_VERSION:
	case WB_BAD_FEATURE:
		err("%s was made by a newer dm-writeboost (%s); use that version's " TOOL_NAME,
		    path, wb_verdict_text(m->super_verdict));
		return RC_DEVICE;
	default:
		break;
	}
	if (media_is_ours(m)) {
		err("both superblocks of %s are damaged (%s; %s): it cannot be used or repaired",
		    path, wb_verdict_text(m->super[0].verdict),
		    wb_verdict_text(m->super[1].verdict));
		return RC_DAMAGE;
	}
	if (m->super_verdict == WB_READ_ERROR)
		err("%s cannot be read, or is too small to be a cache", path);
	else
		err("%s is not formatted as a cache; to do so: " TOOL_NAME
		    " format %s --backing BACKING", path, path);
	return RC_DEVICE;
}

int media_find_others(const struct media *m, bool *found)
{
	struct signatures s;
	int rc, i;

	*found = false;
	rc = signatures_find(m->dev, WB_FIRST_SLOT_OFFSET, &s);
	if (rc)
		return rc;
	for (i = 0; i < s.nr; i++)
		err("found on %s: %s (at byte %llu), where nothing but the cache's own blocks should be",
		    m->dev->path, s.found[i].what, (unsigned long long)s.found[i].offset);
	*found = s.nr;
	if (s.unreadable && !s.nr && m->super[0].verdict == WB_NOT_OURS) {
		err("the first superblock of %s is gone, and whether something else is there instead "
		    "cannot be told: it cannot be read", m->dev->path);
		return RC_DEVICE;
	}
	return RC_OK;
}

int media_writable(const struct media *m, bool force)
{
	bool others;
	int rc;

	if (m->s.ro_compat & ~WB_RO_COMPAT_KNOWN) {
		err("%s has features of a newer dm-writeboost and may only be read; use that version's "
		    TOOL_NAME, m->dev->path);
		return RC_DEVICE;
	}
	if (force)
		return RC_OK;
	rc = media_find_others(m, &others);
	if (rc || !others)
		return rc;
	err("%s was a cache, but seems to have been given to something else since; if not so, remove "
	    "that (wipefs --offset BYTE), or add --force", m->dev->path);
	return RC_REFUSED;
}

int media_shorter(const struct media *m)
{
	err("%s has %llu sectors, but was formatted with %llu: it is not the whole device",
	    m->dev->path, (unsigned long long)m->dev->sectors,
	    (unsigned long long)m->s.geom.cache_sectors);
	return RC_DEVICE;
}

/* ---------------------------------------------------------------- the log */

int media_read_slot(const struct media *m, u64 id, u32 block, u32 nr, void *buf)
{
	const struct wb_geom *g = &m->s.geom;

	return device_read(m->dev, wb_slot_offset(g, wb_slot_of(g, id), block),
			   (size_t)nr << WB_BLOCK_SHIFT, buf) ? -EIO : 0;
}

static int scan_read(void *ctx, u64 id, u32 block, u32 nr, void *buf)
{
	static const char gone[16] = "\xd1\x0e unreadable\xa7\x5c";
	struct log_scan *s = ctx;
	size_t i;
	int e;

	if (interrupted)
		return -EINTR;
	e = media_read_slot(s->media, id, block, nr, buf);
	if (e && s->unreadable) {
		/* The second walk, see scan_log(). Not zeros: blocks of them are what many hold. */
		for (i = 0; i < ((size_t)nr << WB_BLOCK_SHIFT); i += sizeof(gone))
			memcpy((u8 *)buf + i, gone, sizeof(gone));
		return 0;
	}
	return e;
}

/*
 * Two kinds of damage are noted. Where the chain breaks, what is applied after the note still lies
 * before the break. Rotten data is noted just before its chunk is applied, and the chain goes on
 * through it; a log that is cut ends before the first such chunk.
 */
static void scan_note(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	struct log_scan *s = ctx;
	struct finding *f;

	if (s->nr_findings < MAX_FINDINGS) {
		f = &s->findings[s->nr_findings];
		*f = (struct finding){ .id = id, .block = block, .why = why };
		snprintf(f->text, sizeof(f->text), "%s", text);
	}
	s->nr_findings++;
	if (s->walk.state != WB_LOG_DAMAGED)
		return;
	if ((why == WB_BAD_DATA || why == WB_READ_ERROR) &&
	    !(id == s->walk.bad_id && block == s->walk.bad_block)) {
		s->bad_data = true;
		s->rotten_chunks++;
	} else {
		s->broken = true;
	}
}

/* Which entries of this chunk are bad? Where even reading fails, block by block. */
static void mark_bad(struct log_scan *s, const struct wb_header *h,
		     const struct wb_header_disk *raw, size_t first)
{
	struct wb_entry e;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE)
			continue;
		if (media_read_slot(s->media, h->id, h->block + 1 + i, 1, s->buf) ||
		    wb_data_crc(s->buf, e.mask) != e.crc)
			s->copies.v[first + i].bad = true;
	}
}

static int scan_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct log_scan *s = ctx;
	size_t first = s->copies.nr;

	if (interrupted)
		return -EINTR;
	if (copies_add_chunk(&s->copies, &s->media->s.geom, h, raw))
		return -ENOMEM;
	if (s->bad_data) {
		mark_bad(s, h, raw, first);
		s->bad_data = false;
	}
	if (!s->rotten_chunks) {
		s->cut = (struct wb_pos){ h->id, h->chunk };
		s->cut_end = h->block + 1 + h->nr_entries;
		s->cut_crc = h->crc;
		s->cut_chunks++;
		s->cut_copies = s->copies.nr;
	}
	return 0;
}

static int walk_once(struct log_scan *s)
{
	static const struct wb_walk_ops ops = {
		.read = scan_read,
		.apply = scan_apply,
		.note = scan_note,
	};

	s->walk = (struct wb_walk){
		.geom = &s->media->s.geom,
		.record = &s->media->r,
		.verify_all = s->verify,
		.ops = &ops,
		.ctx = s,
	};
	s->nr_findings = 0;
	s->rotten_chunks = 0;
	s->broken = false;
	s->bad_data = false;
	s->copies.nr = 0;
	s->cut = (struct wb_pos){ .id = s->media->r.migrated, .chunk = ~0u };
	s->cut_end = 0;
	s->cut_crc = s->media->r.life_link;
	s->cut_chunks = 0;
	s->cut_copies = 0;
	return wb_walk(&s->walk);
}

int scan_log(struct log_scan *s, const struct media *m, bool verify)
{
	struct wb_walk broken;
	int e;

	memset(s, 0, sizeof(*s));
	s->media = m;
	s->verify = verify;
	s->buf = malloc(WB_BLOCK_SIZE);
	if (!s->buf)
		return out_of_memory();
	e = walk_once(s);
	if (e == -EIO) {
		/*
		 * The target would not start here. To tell how far the log is good all the same,
		 * walk again and take what cannot be read for something that was never part of it.
		 */
		broken = s->walk;
		s->unreadable = true;
		e = walk_once(s);
		s->walk.bad_id = broken.bad_id;
		s->walk.bad_block = broken.bad_block;
		s->walk.bad_why = WB_READ_ERROR;
		scan_note(s, broken.bad_id, broken.bad_block, WB_READ_ERROR,
			  "the log cannot be read here");
	}
	s->damaged = s->unreadable || s->walk.state == WB_LOG_DAMAGED;
	if (!e)
		e = copies_resolve(&s->copies);
	if (!e)
		return RC_OK;
	scan_free(s);
	if (e == -ENOMEM)
		return out_of_memory();
	if (e == -EINTR) {
		err("interrupted");
		return RC_INTERRUPTED;
	}
	return fail_errno(-e, "cannot read %s", m->dev->path);
}

void scan_free(struct log_scan *s)
{
	copies_free(&s->copies);
	free(s->buf);
	s->buf = NULL;
}

const char *scan_state(const struct log_scan *s)
{
	if (s->damaged)
		return "damaged";
	if (s->walk.state == WB_LOG_TORN)
		return "torn tail";
	return s->copies.live_blocks ? "dirty" : "clean";
}
