// SPDX-License-Identifier: GPL-2.0
/*
 * Write a log into the image of a formatted cache, without a kernel: mklog IMAGE < SCRIPT
 *
 * What it writes is what the script says, also where the module would never write it: torn and
 * rotten chunks, leftovers of earlier lives and laps, records that contradict the log. A line each:
 *
 *	epoch N				of the chunks that follow
 *	segment ID			the next chunk is the first of that segment
 *	durable ID CHUNK		the durable point in the headers that follow
 *	version N			of the data that follows; see below
 *	chunk WHAT...			a chunk with these blocks: B, B-C for B to C, B/M for its
 *					sectors of hexadecimal mask M, B+N for a tombstone
 *	torn WHAT...			the same, but its last data block is not written
 *	rotten WHAT...			the same, but with a bit of its last data block turned over
 *	keep | back			remember where we are: place and link | go back there
 *	link last|HEX			what the next chunk links to (it follows by itself)
 *	flip ID BLOCK [BYTE]		turn a bit over in a block of the slot of a segment
 *	zero ID BLOCK			destroy that block
 *	flipbyte OFFSET			turn a bit over anywhere
 *	incompat N			rewrite both superblocks with these feature flags
 *	ro_compat N			and with these
 *	record both|0|1 KEY=N...	rewrite records: epoch, life_start, migrated, seq, durable
 *					(ID.CHUNK), link (HEX or last); the rest stays as it is
 *
 * Sector S of block B in version V is filled with the text "block B sector S version V\n".
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "recover.h"

static int fd;
static struct wb_super super;
static struct wb_record record;

static struct where {
	u64 id;
	u32 block, chunk, link;
} at;
static struct where kept;
static struct wb_pos durable;
static u64 epoch;
static unsigned int version;
static unsigned int line_nr;

enum how { WHOLE, TORN, ROTTEN };

static void put(u64 offset, const void *data, size_t len)
{
	if (pwrite(fd, data, len, (off_t)offset) != (ssize_t)len)
		err(1, "write");
}

static void get(u64 offset, void *data, size_t len)
{
	if (pread(fd, data, len, (off_t)offset) != (ssize_t)len)
		err(1, "read");
}

static u64 place(u64 id, u32 block)
{
	return wb_slot_offset(&super.geom, wb_slot_of(&super.geom, id), block);
}

static void flip(u64 offset)
{
	u8 byte;

	get(offset, &byte, 1);
	byte ^= 0x10;
	put(offset, &byte, 1);
}

static void fill(u8 *data, u64 block)
{
	unsigned int s, i;
	char text[64];
	int len;

	for (s = 0; s < WB_BLOCK_SECTORS; s++) {
		len = snprintf(text, sizeof(text), "block %llu sector %u version %u\n",
			       (unsigned long long)block, s, version);
		for (i = 0; i < WB_SECTOR_SIZE; i++)
			data[s * WB_SECTOR_SIZE + i] = (u8)text[i % (unsigned int)len];
	}
}

static void chunk(enum how how)
{
	static u8 buf[WB_MAX_SEGMENT_SIZE];
	struct wb_header h = {
		.epoch = epoch, .id = at.id, .durable = durable, .link = at.link,
		.chunk = at.chunk, .block = at.block,
	};
	struct wb_entry e;
	char *word, *rest;
	u64 last;
	u32 n;

	memset(buf, 0, sizeof(buf));
	while ((word = strtok(NULL, " \n"))) {
		e = (struct wb_entry){ .block = strtoull(word, &rest, 10), .mask = WB_MASK_ALL };
		last = e.block;
		if (*rest == '-') {
			last = strtoull(rest + 1, &rest, 10);
		} else if (*rest == '/') {
			e.mask = (u8)strtoul(rest + 1, &rest, 16);
		} else if (*rest == '+') {
			e.mask = 0;
			e.flags = WB_ENTRY_TOMBSTONE;
			e.crc = (u32)strtoul(rest + 1, &rest, 10);
		}
		if (*rest)
			errx(1, "line %u: '%s'?", line_nr, word);
		for (; e.block <= last; e.block++) {
			u8 *data = buf + ((size_t)(h.nr_entries + 1) << WB_BLOCK_SHIFT);

			if (at.block + h.nr_entries + 1 >= super.geom.slot_blocks)
				errx(1, "line %u: no room in the segment", line_nr);
			if (e.mask) {
				fill(data, e.block);
				e.crc = wb_data_crc(data, e.mask);
			}
			wb_entry_encode((struct wb_header_disk *)buf, h.nr_entries, &e);
			h.nr_entries++;
		}
	}
	wb_header_encode(&super.geom, &h, (struct wb_header_disk *)buf);
	n = h.nr_entries + 1 - (how == TORN);
	if (how == ROTTEN)
		buf[((size_t)h.nr_entries << WB_BLOCK_SHIFT) + 100] ^= 1;
	put(place(at.id, at.block), buf, (size_t)n << WB_BLOCK_SHIFT);
	at.block += h.nr_entries + 1;
	at.chunk++;
	at.link = h.crc;
}

static u64 number(const char *text)
{
	char *rest;
	u64 n = text ? strtoull(text, &rest, 10) : 0;

	if (!text || *rest)
		errx(1, "line %u: a number is missing", line_nr);
	return n;
}

static u32 link_of(const char *text)
{
	return text && strcmp(text, "last") ? (u32)strtoul(text, NULL, 16) : at.link;
}

static void write_record(const char *which)
{
	u8 buf[WB_BLOCK_SIZE];
	char *word, *value;

	record.seq++;
	while ((word = strtok(NULL, " \n"))) {
		value = strchr(word, '=');
		if (!value)
			errx(1, "line %u: '%s'?", line_nr, word);
		*value++ = '\0';
		if (!strcmp(word, "epoch"))
			record.epoch = number(value);
		else if (!strcmp(word, "life_start"))
			record.life_start = number(value);
		else if (!strcmp(word, "migrated"))
			record.migrated = number(value);
		else if (!strcmp(word, "seq"))
			record.seq = number(value);
		else if (!strcmp(word, "link"))
			record.life_link = link_of(value);
		else if (!strcmp(word, "durable"))
			sscanf(value, "%lu.%u", &record.durable.id, &record.durable.chunk);
		else
			errx(1, "line %u: '%s'?", line_nr, word);
	}
	wb_record_encode(&super.geom, &record, buf);
	if (strcmp(which, "1"))
		put(WB_RECORD_OFFSET(0), buf, sizeof(buf));
	if (strcmp(which, "0"))
		put(WB_RECORD_OFFSET(1), buf, sizeof(buf));
}

static void command(const char *word)
{
	static const u8 zero[WB_BLOCK_SIZE];
	static u8 block_buf[WB_BLOCK_SIZE];
	const char *more;
	u64 id;
	u32 block;

	if (!strcmp(word, "epoch")) {
		epoch = number(strtok(NULL, " \n"));
	} else if (!strcmp(word, "segment")) {
		at = (struct where){ .id = number(strtok(NULL, " \n")), .link = at.link };
	} else if (!strcmp(word, "durable")) {
		durable.id = number(strtok(NULL, " \n"));
		durable.chunk = (u32)number(strtok(NULL, " \n"));
	} else if (!strcmp(word, "version")) {
		version = (unsigned int)number(strtok(NULL, " \n"));
	} else if (!strcmp(word, "chunk")) {
		chunk(WHOLE);
	} else if (!strcmp(word, "torn")) {
		chunk(TORN);
	} else if (!strcmp(word, "rotten")) {
		chunk(ROTTEN);
	} else if (!strcmp(word, "keep")) {
		kept = at;
	} else if (!strcmp(word, "back")) {
		at = kept;
	} else if (!strcmp(word, "link")) {
		at.link = link_of(strtok(NULL, " \n"));
	} else if (!strcmp(word, "flip")) {
		id = number(strtok(NULL, " \n"));
		block = (u32)number(strtok(NULL, " \n"));
		more = strtok(NULL, " \n");
		flip(place(id, block) + (more ? number(more) : 20));
	} else if (!strcmp(word, "zero")) {
		id = number(strtok(NULL, " \n"));
		put(place(id, (u32)number(strtok(NULL, " \n"))), zero, sizeof(zero));
	} else if (!strcmp(word, "flipbyte")) {
		flip(number(strtok(NULL, " \n")));
	} else if (!strcmp(word, "incompat") || !strcmp(word, "ro_compat")) {
		*(*word == 'i' ? &super.incompat : &super.ro_compat) = number(strtok(NULL, " \n"));
		wb_super_encode(&super, block_buf);
		put(WB_SUPER_OFFSET(0), block_buf, WB_BLOCK_SIZE);
		put(WB_SUPER_OFFSET(1), block_buf, WB_BLOCK_SIZE);
	} else if (!strcmp(word, "record")) {
		write_record(strtok(NULL, " \n"));
	} else {
		errx(1, "line %u: unknown command '%s'", line_nr, word);
	}
}

int main(int argc, char **argv)
{
	u8 s[WB_NR_COPIES][WB_BLOCK_SIZE], r[WB_NR_COPIES][WB_BLOCK_SIZE];
	const void *supers[WB_NR_COPIES] = { s[0], s[1] }, *records[WB_NR_COPIES] = { r[0], r[1] };
	char line[4096], *word;
	int i, which;

	if (argc != 2)
		errx(2, "usage: mklog IMAGE < SCRIPT");
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);
	for (i = 0; i < WB_NR_COPIES; i++) {
		get(WB_SUPER_OFFSET(i), s[i], WB_BLOCK_SIZE);
		get(WB_RECORD_OFFSET(i), r[i], WB_BLOCK_SIZE);
	}
	if (wb_super_pick(supers, &super) != WB_OK ||
	    wb_record_pick(&super.geom, records, &record, &which) != WB_OK)
		errx(1, "%s is not a cache", argv[1]);
	epoch = record.epoch;
	durable = record.durable;
	at = (struct where){ .id = record.life_start, .link = record.life_link };
	kept = at;
	version = 1;
	if (record.clean) {
		/* As at every start: from now on the log may go on behind the durable point. */
		record.clean = false;
		for (i = 0; i < WB_NR_COPIES; i++) {
			record.seq++;
			wb_record_encode(&super.geom, &record, r[i]);
			put(WB_RECORD_OFFSET(i), r[i], WB_BLOCK_SIZE);
		}
	}

	while (fgets(line, sizeof(line), stdin)) {
		line_nr++;
		line[strcspn(line, "#")] = '\0';
		word = strtok(line, " \t\n");
		if (word)
			command(word);
	}
	return 0;
}
