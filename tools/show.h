/* SPDX-License-Identifier: GPL-2.0 */
/* What is on the media, as text and as JSON: shared by check, dump and repair. */
#ifndef SHOW_H
#define SHOW_H

#include "media.h"

/* Byte offset on the cache device. */
static inline u64 show_offset(const struct media *m, u64 id, u32 block)
{
	return id ? wb_slot_offset(&m->s.geom, wb_slot_of(&m->s.geom, id), block) : 0;
}

/* Backing ranges, merged; one a line, each after @head. Nothing if there are none. */
void show_ranges(const char *head, const struct ranges *r);
struct json_object *show_json_ranges(const struct ranges *r);

/* Arrays of both copies. */
struct json_object *show_json_supers(const struct media *m);
struct json_object *show_json_records(const struct media *m);
void show_supers(const struct media *m);
void show_records(const struct media *m);

#endif /* SHOW_H */
