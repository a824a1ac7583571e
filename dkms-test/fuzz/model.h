/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module would make of a cache device, in user space: superblock, record, walk and index
 * from the real code, in the order of src/recovery.c; beside it a plain list of who has the newest
 * copy of each sector, to compare the index and the tool with.
 */
#ifndef MODEL_H
#define MODEL_H

#include "image.h"
#include "index.h"
#include "recover.h"

#define NO_OWNER 0xffffffffu

/* A backing block that the log has copies of: place of the newest one, for each sector. */
struct owned {
	u64 block;
	u32 place[WB_BLOCK_SECTORS];
};

struct chunk {
	struct wb_pos pos;
	u32 block, crc;
};

/**
 * struct model - a cache device as the module sees it
 * @super_verdict, @super: the superblock
 * @shorter: the device is shorter than it says
 * @record_verdict, @record, @which: the record, if the superblock is good and not @shorter
 * @walked: the log was walked
 * @err, @walk: with this result
 * @starts: the module would start with it
 * @chunk, @nr_chunks: what was accepted
 * @owned, @nr_owned: what is in it
 * @live_sectors: how many sectors have an owner
 * @rotten_chunks: accepted ones with data that is bad or cannot be read
 * @copies_good: all four copies of superblock and record are
 * @reads, @blocks_read: how much the walk read
 * @plausible: every header stands where some writer can have put it
 */
struct model {
	enum wb_verdict super_verdict;
	struct wb_super super;
	bool shorter;
	enum wb_verdict record_verdict;
	struct wb_record record;
	int which;
	bool walked;
	int err;
	struct wb_walk walk;
	bool starts;

	struct chunk chunk[IMAGE_SLOT_BLOCKS];
	u32 nr_chunks;
	struct owned owned[IMAGE_SLOT_BLOCKS];
	u32 nr_owned;
	u64 live_sectors;
	u64 rotten_chunks;
	bool copies_good;
	u64 reads, blocks_read;
	bool plausible;

	/* private */
	struct image *im;
	bool blind;
	struct wb_index ix;
	s64 slot_live[IMAGE_SLOT_BLOCKS];
};

void model_make(struct model *m, struct image *im);

/* The same where blocks of the log that cannot be read hold what never was part of it. */
void model_make_blind(struct model *m, struct image *im);

/* What @part accepted is what @whole accepted and @part does not call migrated, or the first of it. */
bool model_is_prefix(const struct model *whole, const struct model *part);

#endif /* MODEL_H */
