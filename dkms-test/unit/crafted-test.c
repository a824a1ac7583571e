// SPDX-License-Identifier: GPL-2.0
/*
 * Logs that no writer of ours leaves: single chunks put where one wants them, and media that
 * somebody made up, with checksums that fit. The walk must say the right thing about the former,
 * and come to an end within the slots, in bounded memory, whatever the latter hold.
 */
#include "recover.h"
#include "test.h"

struct media {
	struct wb_geom g;
	struct wb_record record;
	u8 *slots;
	struct wb_walk walk;
	u64 reads, blocks_read;
	u32 applied;
	struct wb_pos last_applied;
	bool verify_all;

	/* misbehave */
	u64 bad_id;		/* reading this block fails ... */
	u32 bad_block;
	int read_error;		/* ... like this */
	int apply_error;
	u32 apply_error_at;	/* this one fails, the first being 0 */
};

static void media_init(struct media *m, u32 slots, u32 segment_size)
{
	memset(m, 0, sizeof(*m));
	CHECK(!wb_geometry(&m->g, (WB_FIRST_SLOT_OFFSET + (u64)slots * segment_size) >>
			   WB_SECTOR_SHIFT, 100000, segment_size));
	m->g.seed = 0x1234;
	m->slots = calloc(slots, segment_size);
	CHECK(m->slots);
	m->record = (struct wb_record){ .seq = 1, .epoch = 5, .life_start = 1 };
}

static void media_exit(struct media *m)
{
	free(m->slots);
}

static u8 *at(struct media *m, u64 id, u32 block)
{
	return m->slots + ((wb_slot_of(&m->g, id) * m->g.slot_blocks + block) << WB_BLOCK_SHIFT);
}

/* Put a chunk of @nr blocks there. Return: its CRC, for the next one's link. */
static u32 put(struct media *m, u64 id, u32 chunk, u32 block, u32 nr, u64 epoch, u32 link,
	       struct wb_pos durable)
{
	struct wb_header_disk *d = (void *)at(m, id, block);
	struct wb_header h = { .epoch = epoch, .id = id, .durable = durable, .link = link,
			       .chunk = chunk, .block = block, .nr_entries = nr };
	u32 i;

	for (i = 0; i < nr; i++) {
		u8 *data = at(m, id, block + 1 + i);
		struct wb_entry e = { .block = id * 10 + i, .mask = 0xff };

		memset(data, (int)(id * 16 + chunk), WB_BLOCK_SIZE);
		e.crc = wb_data_crc(data, e.mask);
		wb_entry_encode(d, i, &e);
	}
	wb_header_encode(&m->g, &h, d);
	return h.crc;
}

static int media_read(void *ctx, u64 id, u32 block, u32 nr, void *to)
{
	struct media *m = ctx;

	CHECKF(id > m->record.migrated && id <= m->record.migrated + m->g.nr_slots,
	       "read of segment %llu", (unsigned long long)id);
	CHECKF(nr && block < m->g.slot_blocks && nr <= m->g.slot_blocks - block,
	       "read of %u blocks from %u", nr, block);
	/* Each block a few times at most: as header, as data, in the search, and singly. */
	m->reads++;
	m->blocks_read += nr;
	CHECKF(m->blocks_read <= 6 * m->g.nr_slots * m->g.slot_blocks + 1000,
	       "the walk does not end");
	if (m->read_error && id == m->bad_id && block <= m->bad_block && m->bad_block < block + nr)
		return m->read_error;
	memcpy(to, at(m, id, block), (size_t)nr << WB_BLOCK_SHIFT);
	return 0;
}

static int media_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct media *m = ctx;
	struct wb_pos pos = { h->id, h->chunk };

	CHECKF(!m->applied || wb_pos_cmp(pos, m->last_applied) > 0, "not in log order");
	CHECK(h->id > m->record.migrated && h->id <= m->record.migrated + m->g.nr_slots);
	CHECK(h->nr_entries && h->block + h->nr_entries < m->g.slot_blocks);
	CHECK(le16_to_cpu(raw->nr_entries) == h->nr_entries && le32_to_cpu(raw->crc) == h->crc);
	m->last_applied = pos;
	if (m->apply_error)
		CHECKF(m->applied <= m->apply_error_at, "applied after an error");
	return m->applied++ == m->apply_error_at ? m->apply_error : 0;
}

static void media_note(void *ctx, u64 id, u32 block, enum wb_verdict why, const char *text)
{
	CHECK(text && *text && text[strlen(text) - 1] != '.' && wb_verdict_text(why));
	trace("segment %llu block %u: %s (%s)", (unsigned long long)id, block, text,
	      wb_verdict_text(why));
}

static int walk(struct media *m)
{
	static const struct wb_walk_ops ops = { .read = media_read, .apply = media_apply, .note = media_note };
	int err;

	m->reads = 0;
	m->blocks_read = 0;
	m->applied = 0;
	memset(&m->walk, 0xa5, sizeof(m->walk));
	m->walk.geom = &m->g;
	m->walk.record = &m->record;
	m->walk.verify_all = m->verify_all;
	m->walk.ops = &ops;
	m->walk.slot_buf = NULL;
	m->walk.ctx = m;
	err = wb_walk(&m->walk);
	trace("walk: %d, state %d, %u accepted, ends at segment %llu block %u: %s", err,
	      (int)m->walk.state, m->applied, (unsigned long long)m->walk.bad_id, m->walk.bad_block,
	      err ? "" : wb_verdict_text(m->walk.bad_why));
	if (!err)
		CHECK(m->walk.nr_chunks == m->applied);
	return err;
}

static void expect(struct media *m, enum wb_log_state state, u32 nr, u64 bad_id, u32 bad_block,
		   enum wb_verdict why)
{
	CHECK(walk(m) == 0);
	CHECK(m->walk.state == state);
	CHECK(m->applied == nr);
	CHECK(m->walk.bad_id == bad_id && m->walk.bad_block == bad_block && m->walk.bad_why == why);
}

#define NONE ((struct wb_pos){ 0, 0 })

/* ---------------------------------------------------------------- by hand */

/*
 * A torn chunk is the only one that says that a rotten one was durable. Its header is destroyed, and
 * recovery cut off: the next one must not take the rotten one for torn.
 */
static void test_proof_destroyed(void)
{
	struct media m;
	struct wb_record r;
	u32 crc, block;
	u64 id;

	test_case("what a destroyed header proved is recorded before");
	media_init(&m, 4, 32 << 10);
	crc = put(&m, 1, 0, 0, 1, 5, 0, NONE);
	crc = put(&m, 1, 1, 2, 1, 5, crc, NONE);
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_NOT_OURS);
	CHECK(!wb_walk_must_record(&m.walk, &r));
	put(&m, 1, 2, 4, 1, 5, crc, (struct wb_pos){ 1, 1 });
	at(&m, 1, 1)[70] ^= 1;
	at(&m, 1, 5)[70] ^= 1;
	expect(&m, WB_LOG_TORN, 2, 1, 4, WB_BAD_DATA);
	CHECK(wb_walk_must_destroy(&m.walk, 0, &id, &block) && id == 1 && block == 4);
	CHECK(wb_walk_must_record(&m.walk, &r));
	CHECK(r.seq == 2 && r.epoch == 5 && r.life_start == 1 && !r.migrated && !r.clean);
	CHECK(r.durable.id == 1 && r.durable.chunk == 1);

	memset(at(&m, 1, 4), 0, WB_BLOCK_SIZE);
	m.record = r;
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_NOT_OURS);
	CHECK(!wb_walk_must_record(&m.walk, &r));

	/* A number that no chunk can have is recorded as one that decodes. */
	m.record.durable = NONE;
	put(&m, 2, 0, 0, 1, 5, crc, (struct wb_pos){ 1, ~0u });
	CHECK(!walk(&m) && m.walk.state == WB_LOG_ENDS && m.applied == 3);
	CHECK(wb_walk_must_record(&m.walk, &r) && r.durable.id == 1 && r.durable.chunk == 7);
	media_exit(&m);
}

/* A tombstone has a data block, in which there is nothing: it need not be readable. */
static void test_unreadable_tombstone(void)
{
	struct wb_header_disk *d;
	struct wb_header h;
	struct wb_entry e;
	struct media m;

	test_case("what is behind a tombstone is not needed");
	media_init(&m, 4, 16 << 10);
	put(&m, 1, 0, 0, 2, 5, 0, NONE);
	m.bad_id = 1;
	m.bad_block = 2;
	m.read_error = -EIO;
	CHECK(walk(&m) == -EIO && m.walk.bad_id == 1 && !m.walk.bad_block);
	d = (void *)at(&m, 1, 0);
	CHECK(wb_header_decode(&m.g, d, &h) == WB_OK);
	e = (struct wb_entry){ .block = 3, .flags = WB_ENTRY_TOMBSTONE, .crc = 1 };
	wb_entry_encode(d, 1, &e);
	wb_header_encode(&m.g, &h, d);
	expect(&m, WB_LOG_ENDS, 1, 2, 0, WB_NOT_OURS);
	m.bad_block = 1;
	CHECK(walk(&m) == -EIO && m.walk.bad_id == 1 && !m.walk.bad_block);
	media_exit(&m);
}

static void test_ends(void)
{
	struct media m;
	struct wb_record r;
	u32 crc, block;
	u64 id;

	test_case("where a log ends, and why");
	media_init(&m, 4, 16 << 10);
	expect(&m, WB_LOG_ENDS, 0, 1, 0, WB_NOT_OURS);
	CHECK(!wb_walk_must_destroy(&m.walk, 0, &id, &block));
	wb_walk_next_life(&m.walk, &r);
	CHECK(r.life_start == 1 && r.epoch == 6 && r.seq == 2 && r.migrated == 0 && !r.durable.id);

	crc = put(&m, 1, 0, 0, 1, 5, 0, NONE);
	expect(&m, WB_LOG_ENDS, 1, 2, 0, WB_NOT_OURS);
	CHECK(m.walk.last.id == 1 && m.walk.last.chunk == 0 && m.walk.last_end == 2 &&
	      m.walk.last_crc == crc && m.walk.nr_blocks == 1);
	CHECK(wb_walk_must_destroy(&m.walk, 0, &id, &block) && id == 1 && block == 2);
	CHECK(!wb_walk_must_destroy(&m.walk, 1, &id, &block));
	wb_walk_next_life(&m.walk, &r);
	CHECK(r.life_start == 2 && r.life_link == crc && r.durable.id == 1 && r.durable.chunk == 0);

	/* A torn header after it, in the segment and in the next one. */
	put(&m, 1, 1, 2, 1, 5, crc, NONE);
	at(&m, 1, 2)[70] ^= 1;
	expect(&m, WB_LOG_TORN, 1, 1, 2, WB_BAD_CRC);
	put(&m, 1, 1, 2, 1, 5, crc, NONE);
	at(&m, 1, 3)[70] ^= 1;
	expect(&m, WB_LOG_TORN, 1, 1, 2, WB_BAD_DATA);
	crc = put(&m, 1, 1, 2, 1, 5, crc, NONE);
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_NOT_OURS);
	CHECK(!wb_walk_must_destroy(&m.walk, 0, &id, &block));	/* the slot is full */
	put(&m, 2, 0, 0, 3, 5, crc, (struct wb_pos){ 1, 0 });
	at(&m, 2, 0)[70] ^= 1;
	expect(&m, WB_LOG_TORN, 2, 2, 0, WB_BAD_CRC);

	/* Whoever claims the torn one to be durable turns it into damage. */
	m.record.durable = (struct wb_pos){ 2, 0 };
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 2);
	m.record.durable = NONE;
	put(&m, 3, 1, 2, 1, 5, 77, (struct wb_pos){ 2, 0 });
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 2);
	/* Not so a header of another life, or one that stands in a wrong place. */
	put(&m, 3, 1, 2, 1, 4, 77, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_TORN, 2, 2, 0, WB_BAD_CRC);
	put(&m, 3, 1, 2, 1, 6, 77, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_TORN, 2, 2, 0, WB_BAD_CRC);
	put(&m, 3 + 4, 1, 2, 1, 5, 77, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_TORN, 2, 2, 0, WB_BAD_CRC);
	put(&m, 3, 1, 2, 1, 5, 77, (struct wb_pos){ 2, 0 });
	memmove(at(&m, 3, 1), at(&m, 3, 2), WB_BLOCK_SIZE);
	memset(at(&m, 3, 2), 0, WB_BLOCK_SIZE);
	expect(&m, WB_LOG_TORN, 2, 2, 0, WB_BAD_CRC);
	media_exit(&m);
}

static void test_lives(void)
{
	struct media m;
	u32 crc;

	test_case("the start of a life");
	media_init(&m, 4, 16 << 10);
	crc = put(&m, 1, 0, 0, 1, 3, 0, NONE);
	crc = put(&m, 2, 0, 0, 1, 4, crc, (struct wb_pos){ 1, 0 });
	m.record.life_start = 3;
	m.record.life_link = crc;
	m.record.durable = (struct wb_pos){ 2, 0 };
	expect(&m, WB_LOG_ENDS, 2, 3, 0, WB_NOT_OURS);
	put(&m, 3, 0, 0, 1, 5, crc, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_ENDS, 3, 4, 0, WB_NOT_OURS);
	put(&m, 3, 0, 0, 1, 4, crc, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_ENDS, 2, 3, 0, WB_BAD_EPOCH);
	put(&m, 3, 0, 0, 1, 6, crc, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_ENDS, 2, 3, 0, WB_BAD_EPOCH);
	put(&m, 3, 0, 0, 1, 5, crc + 1, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_ENDS, 2, 3, 0, WB_BAD_LINK);

	/* The link holds also where everything before was migrated. */
	m.record.migrated = 2;
	expect(&m, WB_LOG_ENDS, 0, 3, 0, WB_BAD_LINK);
	put(&m, 3, 0, 0, 1, 5, crc, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_ENDS, 1, 4, 0, WB_NOT_OURS);
	m.record.migrated = 0;

	/* Any gap before it is damage, even if the record's durable point should not say so. */
	m.record.durable = NONE;
	expect(&m, WB_LOG_ENDS, 3, 4, 0, WB_NOT_OURS);
	put(&m, 2, 0, 0, 1, 5, 0, NONE);	/* this life's epoch may not stand there */
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 2);
	memset(at(&m, 2, 0), 0, WB_BLOCK_SIZE);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 2);
	memset(at(&m, 1, 0), 0, WB_BLOCK_SIZE);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 1);

	/* So is an end of the life before that is not the one in the record. */
	memset(m.slots, 0, 4 * (16 << 10));
	crc = put(&m, 1, 0, 0, 1, 3, 0, NONE);
	put(&m, 2, 0, 0, 1, 4, crc, NONE);
	m.record.life_link = 4711;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);

	/* A log that is full begins its next life where there is no slot yet. */
	test_case("a full log");
	memset(m.slots, 0, 4 * (16 << 10));
	crc = put(&m, 1, 0, 0, 3, 3, 0, NONE);
	crc = put(&m, 2, 0, 0, 3, 3, crc, NONE);
	crc = put(&m, 3, 0, 0, 3, 3, crc, NONE);
	crc = put(&m, 4, 0, 0, 3, 3, crc, NONE);
	m.record.life_start = 5;
	m.record.life_link = crc;
	m.record.durable = (struct wb_pos){ 4, 0 };
	expect(&m, WB_LOG_ENDS, 4, 5, 0, WB_NOT_OURS);
	memset(at(&m, 4, 0), 0, 70);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 4);
	media_exit(&m);
}

static void test_errors(void)
{
	struct media m;
	u32 crc, i;

	test_case("errors of the caller end the walk");
	media_init(&m, 4, 16 << 10);
	crc = put(&m, 1, 0, 0, 1, 5, 0, NONE);
	crc = put(&m, 1, 1, 2, 1, 5, crc, NONE);
	put(&m, 2, 0, 0, 1, 5, crc, (struct wb_pos){ 1, 0 });
	for (i = 0; i < 16; i++) {
		m.bad_id = 1 + i / 4;
		m.bad_block = i % 4;
		m.read_error = -EINTR;
		/* The data of the first chunk needs no look: a later header calls it durable. */
		CHECK(walk(&m) == (i == 1 ? 0 : -EINTR));
	}
	m.read_error = 0;
	m.apply_error = -ENOSPC;
	CHECK(walk(&m) == -ENOSPC && m.applied == 1);
	/* Whichever chunk it is: one that is known to be durable, or that counts because it is whole. */
	m.apply_error = -ENOMEM;
	for (i = 0; i < 3; i++) {
		m.apply_error_at = i;
		CHECK(walk(&m) == -ENOMEM && m.applied == i + 1);
	}
	m.apply_error = 0;
	m.apply_error_at = 0;

	test_case("what cannot be read is not torn");
	m.read_error = -EIO;
	for (i = 0; i < 16; i++) {
		m.bad_id = 1 + i / 4;
		m.bad_block = i % 4;
		CHECK(walk(&m) == (i == 1 ? 0 : -EIO));
	}
	media_exit(&m);
}

struct applied {
	struct media *m;
	u64 newest[100];	/* of each block: the place, 0 = none */
};

/* What recovery makes of tombstones: see walk_apply() of recovery.c. */
static int tombstone_apply(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	u64 *newest = ((struct applied *)ctx)->newest;
	struct wb_entry e;
	u32 i;

	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			CHECK(!e.mask && e.crc && e.block + e.crc <= 100);
			memset(newest + e.block, 0, e.crc * sizeof(*newest));
		} else {
			newest[e.block] = h->id * 16 + h->block + 1 + i;
		}
	}
	return 0;
}

static int tombstone_read(void *ctx, u64 id, u32 block, u32 nr, void *to)
{
	memcpy(to, at(((struct applied *)ctx)->m, id, block), (size_t)nr << WB_BLOCK_SHIFT);
	return 0;
}

/*
 * Tombstones come to those who apply as they stand in the log, between the copies before and behind
 * them, and what their block holds does not matter.
 */
static void test_tombstones(void)
{
	static const struct wb_walk_ops ops = { .read = tombstone_read, .apply = tombstone_apply };
	struct wb_entry tomb = { .block = 20, .crc = 2, .flags = WB_ENTRY_TOMBSTONE };
	struct media m;
	struct applied a = { .m = &m };
	struct wb_header h;
	u32 crc, i;

	test_case("tombstones where they stand");
	media_init(&m, 4, 32 << 10);
	/* Blocks 10 and 11, 20 to 22; then a tombstone over 20 and 21, block 21 again; block 40. */
	crc = put(&m, 1, 0, 0, 2, 5, 0, NONE);
	put(&m, 2, 0, 0, 3, 5, crc, NONE);
	h = (struct wb_header){ .epoch = 5, .id = 2, .link = crc, .nr_entries = 3 };
	wb_header_encode(&m.g, &h, (void *)at(&m, 2, 0));
	put(&m, 3, 0, 0, 2, 5, h.crc, NONE);
	wb_entry_encode((void *)at(&m, 3, 0), 0, &tomb);
	tomb = (struct wb_entry){ .block = 21, .mask = 0xff, .crc = wb_data_crc(at(&m, 3, 2), 0xff) };
	wb_entry_encode((void *)at(&m, 3, 0), 1, &tomb);
	rng_fill(&(struct rng){ 1 }, at(&m, 3, 1), WB_BLOCK_SIZE);
	h = (struct wb_header){ .epoch = 5, .id = 3, .link = h.crc, .nr_entries = 2 };
	wb_header_encode(&m.g, &h, (void *)at(&m, 3, 0));
	put(&m, 4, 0, 0, 1, 5, h.crc, NONE);

	m.walk = (struct wb_walk){ .geom = &m.g, .record = &m.record, .ops = &ops, .ctx = &a };
	CHECK(!wb_walk(&m.walk) && m.walk.state == WB_LOG_ENDS && m.walk.nr_chunks == 4);
	for (i = 0; i < 100; i++) {
		u64 place = i == 10 || i == 11 ? 16 + 1 + i - 10 : i == 21 ? 3 * 16 + 2 :
			    i == 22 ? 2 * 16 + 3 : i == 40 ? 4 * 16 + 1 : 0;

		CHECKF(a.newest[i] == place, "block %u", i);
	}
	media_exit(&m);
}

static void test_search(void)
{
	struct media m;
	u32 crc = 0, i;

	test_case("how far behind a break the proof is looked for");
	media_init(&m, 60, 16 << 10);
	/* The first header that can call segment 1 durable is behind all that can be in flight. */
	for (i = 1; i <= 1 + WB_MAX_VOLATILE_SEGMENTS; i++)
		crc = put(&m, i, 0, 0, 3, 5, crc, i > WB_MAX_VOLATILE_SEGMENTS ?
			  (struct wb_pos){ 1, 0 } : NONE);
	at(&m, 1, 0)[30] ^= 1;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 1);
	/* Of those between, any number may be torn. */
	for (i = 2; i <= WB_MAX_VOLATILE_SEGMENTS; i++)
		at(&m, i, 0)[30] ^= 1;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 1);
	media_exit(&m);

	/*
	 * One flush made the first ones durable, as many as may be volatile, and when the power went as
	 * many more were on their way: of these only the very last arrived.
	 */
	media_init(&m, 80, 16 << 10);
	for (i = 1; i <= 2 * WB_MAX_VOLATILE_SEGMENTS; i++)
		crc = put(&m, i, 0, 0, 3, 5, i == 1 ? 0 : crc, i > WB_MAX_VOLATILE_SEGMENTS ?
			  (struct wb_pos){ WB_MAX_VOLATILE_SEGMENTS, 0 } : NONE);
	at(&m, 1, 0)[30] ^= 1;
	for (i = 1 + WB_MAX_VOLATILE_SEGMENTS; i < 2 * WB_MAX_VOLATILE_SEGMENTS; i++)
		at(&m, i, 0)[30] ^= 1;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 1);
	/* Nothing further is read. */
	CHECK(m.blocks_read <= 2 + (1 + 2 * WB_MAX_VOLATILE_SEGMENTS) * (1 + m.g.slot_blocks));
	media_exit(&m);

	/* Where nothing stands behind the break, or older headers do, these are all that is read of most. */
	media_init(&m, 80, 32 << 10);
	crc = put(&m, 1, 0, 0, 3, 5, 0, NONE);
	put(&m, 2, 0, 0, 3, 5, crc, NONE);
	at(&m, 2, 0)[30] ^= 1;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_TORN && m.walk.bad_id == 2);
	CHECK(m.blocks_read <= 6 + WB_SEARCH_SEGMENTS + (2 + WB_SEARCH_BLINDLY) * m.g.slot_blocks);
	/* A bad one may have been followed by others. */
	put(&m, 20, 0, 0, 3, 5, 7, NONE);
	at(&m, 20, 0)[30] ^= 1;
	put(&m, 20, 1, 4, 3, 5, 7, (struct wb_pos){ 2, 0 });
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 2);
	media_exit(&m);
}

/* What the record says of a stop in order holds if the log ends where it says, and only then. */
static void test_clean(void)
{
	struct media m;
	struct wb_record r;
	u32 crc, link, i;
	u64 id;

	test_case("a stop in order: nothing behind the end matters");
	media_init(&m, 60, 16 << 10);
	crc = put(&m, 1, 0, 0, 1, 5, 0, NONE);
	crc = put(&m, 1, 1, 2, 1, 5, crc, NONE);
	m.record.durable = (struct wb_pos){ 1, 1 };
	m.record.clean = true;
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_NOT_OURS);
	CHECK(m.blocks_read == 3);	/* two headers, and one that is not there */
	wb_walk_next_life(&m.walk, &r);
	CHECK(!r.clean && r.durable.id == 1 && r.durable.chunk == 1 && r.life_start == 2);
	/* A torn header there, and a whole one that calls it durable: no writer left them. */
	put(&m, 2, 0, 0, 3, 5, crc, (struct wb_pos){ 1, 1 });
	at(&m, 2, 0)[70] ^= 1;
	put(&m, 3, 0, 0, 3, 5, 77, (struct wb_pos){ 2, 0 });
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_BAD_CRC);
	CHECK(m.blocks_read == 3);
	m.read_error = -EIO;
	m.bad_id = 2;
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_READ_ERROR);
	m.read_error = 0;
	m.record.clean = false;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);

	/* The same where all is migrated, whatever the durable point says below that. */
	m.record.clean = true;
	m.record.migrated = 1;
	for (i = 0; i < 3; i++) {
		m.record.durable = (struct wb_pos){ i != 1, i == 2 };
		expect(&m, WB_LOG_ENDS, 0, 2, 0, WB_BAD_CRC);
		CHECK(m.blocks_read == 1);
		wb_walk_next_life(&m.walk, &r);
		CHECK(!r.clean && r.life_start == 2);
	}

	/* And where the log fills all slots. */
	media_exit(&m);
	media_init(&m, 4, 16 << 10);
	for (crc = 0, id = 1; id <= 4; id++)
		crc = put(&m, id, 0, 0, 3, 5, crc, NONE);
	m.record.durable = (struct wb_pos){ 4, 0 };
	m.record.clean = true;
	expect(&m, WB_LOG_ENDS, 4, 5, 0, WB_NOT_OURS);
	CHECK(m.blocks_read == 4);

	test_case("a stop in order: the last chunk is durable");
	media_exit(&m);
	media_init(&m, 60, 16 << 10);
	m.record.clean = true;
	crc = put(&m, 1, 0, 0, 1, 5, 0, NONE);
	link = put(&m, 1, 1, 2, 1, 5, crc, NONE);
	m.record.durable = (struct wb_pos){ 1, 1 };
	m.read_error = -EIO;
	m.bad_id = 1;
	m.bad_block = 2;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 1);
	m.read_error = 0;
	at(&m, 1, 2)[70] ^= 1;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 1 &&
	      m.walk.bad_block == 2);
	memset(at(&m, 1, 2), 0, WB_BLOCK_SIZE);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);
	put(&m, 1, 1, 2, 1, 4, crc, NONE);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);
	put(&m, 1, 1, 2, 1, 5, crc + 1, NONE);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);
	put(&m, 1, 1, 2, 1, 5, crc, NONE);
	at(&m, 1, 3)[70] ^= 1;	/* its data: migration and check see that */
	expect(&m, WB_LOG_ENDS, 2, 2, 0, WB_NOT_OURS);
	m.verify_all = true;
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);
	m.verify_all = false;
	memset(at(&m, 1, 0), 0, WB_BLOCK_SIZE);
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);
	put(&m, 1, 0, 0, 1, 5, 0, NONE);
	put(&m, 1, 1, 2, 1, 5, crc, NONE);

	/*
	 * A stale copy of the record, which no writer leaves: the log goes on behind its end. What
	 * follows is judged as if the copy did not say anything.
	 */
	test_case("a stop in order that the log denies");
	crc = put(&m, 2, 0, 0, 3, 5, link, (struct wb_pos){ 1, 1 });
	expect(&m, WB_LOG_ENDS, 3, 3, 0, WB_NOT_OURS);
	CHECK(m.walk.last.id == 2);
	wb_walk_next_life(&m.walk, &r);
	CHECK(!r.clean && r.durable.id == 2);
	at(&m, 2, 2)[70] ^= 1;
	expect(&m, WB_LOG_TORN, 2, 2, 0, WB_BAD_DATA);
	put(&m, 2, 0, 0, 3, 5, link, (struct wb_pos){ 1, 1 });
	put(&m, 3, 0, 0, 3, 5, crc, (struct wb_pos){ 2, 0 });
	at(&m, 3, 0)[70] ^= 1;
	expect(&m, WB_LOG_TORN, 3, 3, 0, WB_BAD_CRC);
	put(&m, 4, 0, 0, 3, 5, 77, (struct wb_pos){ 3, 0 });
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED && m.walk.bad_id == 3);
	memset(at(&m, 4, 0), 0, WB_BLOCK_SIZE);
	m.read_error = -EIO;
	m.bad_id = 3;
	m.bad_block = 0;
	CHECK(walk(&m) == -EIO);
	m.bad_id = 4;
	CHECK(walk(&m) == -EIO);
	media_exit(&m);
}

/* A chain in which nothing ever becomes durable: no reason to keep all of it in memory. */
static void test_never_durable(void)
{
	struct media m;
	u32 crc = 0, i;

	test_case("no log gets further ahead of its durable point than its writer may");
	media_init(&m, 400, 16 << 10);
	for (i = 1; i <= 400; i++) {
		crc = put(&m, i, 0, 0, 1, 5, crc, NONE);
		crc = put(&m, i, 1, 2, 1, 5, crc, NONE);
	}
	CHECK(!walk(&m) && m.walk.state == WB_LOG_DAMAGED);
	CHECK(m.walk.bad_id == 2 + WB_MAX_VOLATILE_SEGMENTS);
	media_exit(&m);

	/* As far as it may is fine. */
	media_init(&m, 400, 16 << 10);
	for (crc = 0, i = 1; i <= 400; i++)
		crc = put(&m, i, 0, 0, 3, 5, crc, (struct wb_pos){ i > WB_MAX_VOLATILE_SEGMENTS ?
			  i - WB_MAX_VOLATILE_SEGMENTS : 0, 0 });
	expect(&m, WB_LOG_ENDS, 400, 401, 0, WB_NOT_OURS);
	media_exit(&m);
}

/* ---------------------------------------------------------------- made up */

static struct wb_pos some_pos(struct media *m, struct rng *r, u64 near)
{
	switch (rng_below(r, 6)) {
	case 0:
		return NONE;
	case 1:
		return (struct wb_pos){ rng_u64(r), (u32)rng_u64(r) };
	case 2:
		return (struct wb_pos){ near, (u32)rng_u64(r) };
	default:
		return (struct wb_pos){ near - rng_below(r, 3), rng_below(r, 3) };
	}
}

static void reseal(struct wb_header_disk *d)
{
	u32 nr = le16_to_cpu(d->nr_entries);
	size_t size = sizeof(*d) + nr * sizeof(struct wb_entry_disk);

	if (size <= WB_BLOCK_SIZE)
		d->crc = cpu_to_le32(wb_crc32c((u8 *)d + 8, size - 8));
}

/* A log that mostly hangs together, then fields set to whatever, with a checksum that fits. */
static void make_up(struct media *m, struct rng *r)
{
	struct wb_header_disk *d;
	u32 block, chunk, link, nr, n, i;
	u64 id, first, last_durable;

	m->record = (struct wb_record){ .seq = 1, .epoch = 5, .migrated = rng_below(r, 20) };
	if (rng_one_in(r, 10))
		m->record.migrated = (m->g.nr_slots << 31) - 1 - rng_below(r, 10);
	first = m->record.migrated + 1;
	m->record.life_start = first + rng_below(r, rng_one_in(r, 2) ? 1 : (u32)m->g.nr_slots + 1);
	if (rng_one_in(r, 4))
		m->record.life_start = first > 3 ? first - 2 : 1;
	link = m->record.life_link = (u32)rng_u64(r);
	last_durable = 0;
	for (id = first; id < first + m->g.nr_slots; id++) {
		block = 0;
		for (chunk = 0; block + 1 < m->g.slot_blocks && !rng_one_in(r, 4); chunk++) {
			nr = 1 + rng_below(r, m->g.slot_blocks - block - 1);
			if (id == m->record.life_start && !chunk)
				m->record.life_link = link;
			link = put(m, id, chunk, block, nr, id < m->record.life_start ? 4 : 5, link,
				   rng_one_in(r, 8) ? some_pos(m, r, id) :
				   (struct wb_pos){ last_durable, 0 });
			block += 1 + nr;
		}
		if (rng_one_in(r, 2))
			last_durable = id;
	}
	m->record.durable = NONE;
	if (rng_one_in(r, 3))
		m->record.durable.id = first + rng_below(r, (u32)m->g.nr_slots);
	m->record.clean = rng_one_in(r, 3);

	for (n = rng_below(r, 6); n; n--) {
		id = first + rng_below(r, (u32)m->g.nr_slots);
		d = (void *)at(m, id, rng_one_in(r, 2) ? 0 : rng_below(r, m->g.slot_blocks));
		switch (rng_below(r, 10)) {
		case 0:
			d->nr_entries = cpu_to_le16((u16)rng_u64(r));
			break;
		case 1:
			d->nr_entries = cpu_to_le16((u16)rng_below(r, m->g.slot_blocks + 1));
			break;
		case 2:
			d->block = cpu_to_le16((u16)rng_below(r, m->g.slot_blocks + 1));
			break;
		case 3:
			d->chunk = cpu_to_le16((u16)rng_u64(r));
			break;
		case 4:
			d->epoch = cpu_to_le64(rng_below(r, 8));
			break;
		case 5:
			d->durable_id = cpu_to_le64(some_pos(m, r, id).id);
			d->durable_chunk = cpu_to_le32((u32)rng_u64(r));
			break;
		case 6:
			d->link = cpu_to_le32((u32)rng_u64(r));
			break;
		case 7:
			d->id = cpu_to_le64(id + m->g.nr_slots * rng_below(r, 3));
			d->lap = cpu_to_le64(wb_lap_of(&m->g, le64_to_cpu(d->id)));
			break;
		case 8:
			for (i = 0; i < WB_BLOCK_SIZE; i += 8)
				memcpy((u8 *)d + i, &(u64){ rng_u64(r) }, 8);
			d->magic = cpu_to_le32(WB_CHUNK_MAGIC);
			d->seed = cpu_to_le64(m->g.seed);
			break;
		case 9:
			memcpy(d, at(m, first + rng_below(r, (u32)m->g.nr_slots),
				     rng_below(r, m->g.slot_blocks)), WB_BLOCK_SIZE);
			break;
		}
		if (!rng_one_in(r, 5))
			reseal(d);
	}
	m->read_error = rng_one_in(r, 4) ? -EIO : 0;
	m->bad_id = first + rng_below(r, (u32)m->g.nr_slots);
	m->bad_block = rng_below(r, m->g.slot_blocks);
	m->verify_all = rng_one_in(r, 3);
}

static void test_made_up(u32 slots, u32 segment_size, u64 rounds, const char *name)
{
	u64 seed = test_options.seed, i, id;
	struct wb_record next;
	struct media m;
	struct rng r;
	u8 *record = malloc(WB_BLOCK_SIZE);
	u32 block;
	int err;

	test_case(name);
	media_init(&m, slots, segment_size);
	for (i = 0; test_more(i, rounds); i++) {
		trace_reset();
		test_options.seed = seed + i;
		r = rng_init(seed + i);
		if (rng_one_in(&r, 4))
			rng_fill(&r, m.slots, 4096);
		make_up(&m, &r);
		/* What the record's decoder refuses is never walked from. */
		wb_record_encode(&m.g, &m.record, record);
		if (wb_record_decode(&m.g, record, &m.record) != WB_OK)
			continue;
		err = walk(&m);
		CHECKF(!err || (err == -EIO && m.read_error), "the walk says %d", err);
		if (err || m.walk.state == WB_LOG_DAMAGED)
			continue;
		/* Whatever it was, a life can begin from here, and a record that can be read. */
		if (wb_walk_must_destroy(&m.walk, 0, &id, &block))
			CHECK(id > m.record.migrated && id <= m.record.migrated + m.g.nr_slots &&
			      block < m.g.slot_blocks);
		wb_walk_next_life(&m.walk, &next);
		wb_record_encode(&m.g, &next, record);
		CHECK(wb_record_decode(&m.g, record, &next) == WB_OK);
		CHECK(next.epoch > m.record.epoch && next.seq > m.record.seq && !next.clean);
	}
	test_options.seed = seed;
	media_exit(&m);
	free(record);
}

int main(int argc, char **argv)
{
	test_begin(argc, argv);
	test_ends();
	test_proof_destroyed();
	test_unreadable_tombstone();
	test_lives();
	test_errors();
	test_tombstones();
	test_search();
	test_clean();
	test_never_durable();
	test_made_up(4, 16 << 10, 20000, "made-up media, 4 slots of 16 KiB");
	test_made_up(7, 64 << 10, 4000, "made-up media, 7 slots of 64 KiB");
	test_made_up(50, 16 << 10, 1000, "made-up media, 50 slots of 16 KiB");
	return test_end();
}
