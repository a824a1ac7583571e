// SPDX-License-Identifier: GPL-2.0
/*
 * wbmedia: look at the on-media structures of a cache device, and falsify them, for cases about bad media.
 *
 *	wbmedia super DEVICE [KEY...]		print these fields of the superblock, one a line (default: all)
 *	wbmedia super DEVICE COPY KEY=VALUE...	write copy 0, 1 or `both` anew with these fields changed, CRC good
 *	wbmedia record DEVICE ...			the same for the record
 *	wbmedia log DEVICE			walk the log: a line for each chunk, one for the end
 *	wbmedia where DEVICE BLOCK		byte offset of the newest copy of a backing block in the log
 *	wbmedia flip DEVICE OFFSET...		invert the byte there
 *	wbmedia header DEVICE OFFSET [INDEX] KEY=VALUE...	change the chunk header there, or an entry of it
 *					(block_lo, mask, flags, crc), CRC good
 *
 * Offsets are in bytes. Reads and writes past the page cache. Exit status: 0, or 1 with a message.
 * The checking is the module's own: it is linked with its sources.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../../src/segment/recover.h"


static const char *path;
static int fd;

static void die(const char *what)
{
	fprintf(stderr, "wbmedia: %s: %s\n", path ? path : "usage", what);
	exit(1);
}

/* ---------------------------------------------------------------- blocks */

static void *new_buf(size_t len)
{
	void *p;

	if (posix_memalign(&p, WB_BLOCK_SIZE, len))
		die("no memory");
	return p;
}

static void read_at(u64 offset, void *buf, size_t len)
{
	if (pread(fd, buf, len, (off_t)offset) != (ssize_t)len)
		die("read error");
}

static void write_at(u64 offset, const void *buf)
{
	if (pwrite(fd, buf, WB_BLOCK_SIZE, (off_t)offset) != WB_BLOCK_SIZE || fsync(fd))
		die("write error");
}

static u64 number(const char *s)
{
	char *end;
	u64 n = strtoull(s, &end, 0);

	if (!*s || *end)
		die("a number is expected");
	return n;
}

static void flip(u64 offset)
{
	u8 *buf = new_buf(WB_BLOCK_SIZE);
	u64 start = offset & ~(u64)(WB_BLOCK_SIZE - 1);

	read_at(start, buf, WB_BLOCK_SIZE);
	buf[offset - start] ^= 0xff;
	write_at(start, buf);
	free(buf);
}

/* ---------------------------------------------------------------- superblock and record */

/* A field of a structure on the media, by its place there. */
struct field {
	const char *name;
	size_t offset;
	size_t size;	/* 1 to 8 bytes */
};

#define FIELD(type, name) { #name, offsetof(struct type, name), sizeof(((struct type *)0)->name) }

static const struct field super_fields[] = {
	FIELD(wb_super_disk, version), FIELD(wb_super_disk, compat), FIELD(wb_super_disk, ro_compat),
	FIELD(wb_super_disk, incompat), FIELD(wb_super_disk, slot_blocks),
	FIELD(wb_super_disk, nr_slots), FIELD(wb_super_disk, cache_sectors),
	FIELD(wb_super_disk, backing_sectors), { NULL, 0, 0 }
};

static const struct field record_fields[] = {
	FIELD(wb_record_disk, life_link), FIELD(wb_record_disk, seed), FIELD(wb_record_disk, seq),
	FIELD(wb_record_disk, epoch), FIELD(wb_record_disk, life_start),
	FIELD(wb_record_disk, migrated), FIELD(wb_record_disk, durable_id),
	FIELD(wb_record_disk, durable_chunk), { NULL, 0, 0 }
};

static const struct field header_fields[] = {
	FIELD(wb_header_disk, epoch), FIELD(wb_header_disk, id), FIELD(wb_header_disk, chunk),
	FIELD(wb_header_disk, block), FIELD(wb_header_disk, nr_entries), { NULL, 0, 0 }
};

static const struct field entry_fields[] = {
	FIELD(wb_entry_disk, block_lo), FIELD(wb_entry_disk, mask), FIELD(wb_entry_disk, flags),
	FIELD(wb_entry_disk, crc), { NULL, 0, 0 }
};

static u64 get_field(const void *block, const struct field *f)
{
	__le64 v = 0;

	memcpy(&v, (const u8 *)block + f->offset, f->size);
	return le64_to_cpu(v);
}

static void set_field(void *block, const struct field *f, u64 value)
{
	__le64 v = cpu_to_le64(value);

	memcpy((u8 *)block + f->offset, &v, f->size);
}

static const struct field *find_field(const struct field *f, const char *name, size_t len)
{
	for (; f->name; f++)
		if (strlen(f->name) == len && !strncmp(f->name, name, len))
			return f;
	die("no such field");
	return NULL;
}

/* The superblock that counts. It may have been falsified, so its verdict alone decides nothing here. */
static enum wb_verdict get_super(struct wb_super *s, int *which)
{
	void *copy[WB_NR_COPIES];
	struct wb_super one;
	enum wb_verdict v;
	int i;

	*which = 0;
	for (i = 0; i < WB_NR_COPIES; i++) {
		copy[i] = new_buf(WB_BLOCK_SIZE);
		read_at(WB_SUPER_OFFSET(i), copy[i], WB_BLOCK_SIZE);
	}
	for (i = WB_NR_COPIES; i-- > 0;)
		if (wb_super_decode(copy[i], &one) == WB_OK)
			*which = i;
	v = wb_super_pick((const void *const *)copy, s);
	free(copy[0]);
	free(copy[1]);
	return v;
}

static enum wb_verdict get_record(const struct wb_geom *g, struct wb_record *r, int *which)
{
	void *copy[WB_NR_COPIES];
	enum wb_verdict v;
	int i;

	for (i = 0; i < WB_NR_COPIES; i++) {
		copy[i] = new_buf(WB_BLOCK_SIZE);
		read_at(WB_RECORD_OFFSET(i), copy[i], WB_BLOCK_SIZE);
	}
	*which = 0;
	v = wb_record_pick(g, (const void *const *)copy, r, which);
	free(copy[0]);
	free(copy[1]);
	return v;
}

static void seal(bool record, void *block)
{
	struct wb_super_disk *s = block;
	struct wb_record_disk *r = block;

	if (record)
		r->crc = cpu_to_le32(wb_crc32c(&r->life_link,
					       sizeof(*r) - offsetof(struct wb_record_disk, life_link)));
	else
		s->crc = cpu_to_le32(wb_crc32c(&s->version,
					       sizeof(*s) - offsetof(struct wb_super_disk, version)));
}

static void edit(bool record, char **args)
{
	const struct field *fields = record ? record_fields : super_fields, *f;
	u64 offset[WB_NR_COPIES];
	void *block = new_buf(WB_BLOCK_SIZE);
	struct wb_super s;
	struct wb_record r;
	int which, i;

	if (get_super(&s, &which) != WB_OK && record)
		die("has no good superblock");
	if (record && get_record(&s.geom, &r, &which) != WB_OK)
		die("has no good record");
	for (i = 0; i < WB_NR_COPIES; i++)
		offset[i] = record ? WB_RECORD_OFFSET(i) : WB_SUPER_OFFSET(i);
	read_at(offset[which], block, WB_BLOCK_SIZE);

	if (!args[0])
		for (f = fields; f->name; f++)
			printf("%s %llu\n", f->name, (unsigned long long)get_field(block, f));
	if (!args[0] || (strcmp(args[0], "0") && strcmp(args[0], "1") && strcmp(args[0], "both"))) {
		for (; *args; args++)
			printf("%llu\n", (unsigned long long)
			       get_field(block, find_field(fields, *args, strlen(*args))));
		free(block);
		return;
	}
	for (i = 1; args[i]; i++) {
		const char *is = strchr(args[i], '=');

		if (!is)
			die("KEY=VALUE is expected");
		set_field(block, find_field(fields, args[i], (size_t)(is - args[i])), number(is + 1));
	}
	seal(record, block);
	for (i = 0; i < WB_NR_COPIES; i++)
		if (!strcmp(args[0], "both") || (int)number(args[0]) == i)
			write_at(offset[i], block);
	free(block);
}

static void edit_header(char **args)
{
	struct wb_header_disk *h = new_buf(WB_BLOCK_SIZE);
	u64 offset = number(args[0]);
	const struct field *fields = header_fields;
	void *to = h;

	read_at(offset, h, WB_BLOCK_SIZE);
	if (le32_to_cpu(h->magic) != WB_CHUNK_MAGIC)
		die("no header there");
	if (args[1] && !strchr(args[1], '=')) {
		to = &h->entry[number(*++args)];
		fields = entry_fields;
	}
	while (*++args) {
		const char *is = strchr(*args, '=');

		if (!is)
			die("KEY=VALUE is expected");
		set_field(to, find_field(fields, *args, (size_t)(is - *args)), number(is + 1));
	}
	h->crc = cpu_to_le32(wb_crc32c(&h->seed, sizeof(*h) - offsetof(struct wb_header_disk, seed) +
				       le16_to_cpu(h->nr_entries) * sizeof(struct wb_entry_disk)));
	write_at(offset, h);
	free(h);
}

/* ---------------------------------------------------------------- the log */

struct log_walk {
	struct wb_geom *g;
	bool print;
	u64 block;	/* the one to be found */
	u64 found;	/* offset of its newest copy */
};

static int read_slot(void *ctx, u64 id, u32 block, u32 nr, void *buf)
{
	struct log_walk *l = ctx;
	void *mine = new_buf((size_t)nr << WB_BLOCK_SHIFT);

	read_at(wb_slot_offset(l->g, wb_slot_of(l->g, id), block), mine, (size_t)nr << WB_BLOCK_SHIFT);
	memcpy(buf, mine, (size_t)nr << WB_BLOCK_SHIFT);
	free(mine);
	return 0;
}

static int see_chunk(void *ctx, const struct wb_header *h, const struct wb_header_disk *raw)
{
	struct log_walk *l = ctx;
	u64 offset = wb_slot_offset(l->g, wb_slot_of(l->g, h->id), h->block);
	struct wb_entry e;
	u32 i;

	if (l->print)
		printf("chunk %llu %u epoch %llu block %u entries %u durable %llu %u offset %llu\n",
		       (unsigned long long)h->id, h->chunk, (unsigned long long)h->epoch, h->block,
		       h->nr_entries, (unsigned long long)h->durable.id, h->durable.chunk,
		       (unsigned long long)offset);
	for (i = 0; i < h->nr_entries; i++) {
		wb_entry_decode(raw, i, &e);
		if (e.flags & WB_ENTRY_TOMBSTONE) {
			if (l->print)
				printf("tombstone %llu %u\n", (unsigned long long)e.block, e.crc);
			if (l->block - e.block < e.crc)
				l->found = 0;
		} else if (e.block == l->block) {
			l->found = offset + ((u64)(1 + i) << WB_BLOCK_SHIFT);
		}
	}
	return 0;
}

static void walk_the_log(struct log_walk *l)
{
	static const struct wb_walk_ops ops = { .read = read_slot, .apply = see_chunk };
	static const char *const states[] = {
		[WB_LOG_ENDS] = "whole", [WB_LOG_TORN] = "torn", [WB_LOG_DAMAGED] = "damaged",
	};
	struct wb_super s;
	struct wb_record r;
	struct wb_walk w = { .geom = &s.geom, .record = &r, .ops = &ops, .ctx = l };
	int which;

	if (get_super(&s, &which) != WB_OK || get_record(&s.geom, &r, &which) != WB_OK)
		die("has no good superblock or record");
	l->g = &s.geom;
	if (wb_walk(&w))
		die("the log cannot be walked");
	if (l->print)
		printf("end %s chunks %llu blocks %llu last %llu %u at %llu %u\n", states[w.state],
		       (unsigned long long)w.nr_chunks, (unsigned long long)w.nr_blocks,
		       (unsigned long long)w.last.id, w.last.chunk, (unsigned long long)w.bad_id,
		       w.bad_block);
}

int main(int argc, char **argv)
{
	struct log_walk l = { .block = ~0ull };
	const char *verb = argc > 2 ? argv[1] : "";

	if (argc > 2) {
		path = argv[2];
		fd = open(path, O_RDWR | O_DIRECT);
		if (fd < 0)
			die("cannot be opened");
	}
	if (!strcmp(verb, "super") || !strcmp(verb, "record")) {
		edit(!strcmp(verb, "record"), argv + 3);
	} else if (!strcmp(verb, "log")) {
		l.print = true;
		walk_the_log(&l);
	} else if (!strcmp(verb, "where") && argc == 4) {
		l.block = number(argv[3]);
		walk_the_log(&l);
		if (!l.found)
			die("no copy of that block in the log");
		printf("%llu\n", (unsigned long long)l.found);
	} else if (!strcmp(verb, "header") && argc > 4) {
		edit_header(argv + 3);
	} else if (!strcmp(verb, "flip") && argc > 3) {
		for (argv += 3; *argv; argv++)
			flip(number(*argv));
	} else {
		path = NULL;
		die("wbmedia super|record|log|where|flip|header DEVICE ...: see dkms-test/guest-src/wbmedia.c");
	}
	return 0;
}
