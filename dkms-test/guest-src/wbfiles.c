// SPDX-License-Identifier: GPL-2.0
/*
 * wbfiles: files that know their contents, for power cuts below a file system.
 *
 *   wbfiles use DIR NOTES SEED	write files until something fails; DIR is on the device, NOTES is not
 *   wbfiles check DIR NOTES		what NOTES says was durable is there
 *
 * Each file is written under a temporary name, made durable by fsync, renamed, and then its folder is made durable:
 * what every mail server and package manager does. Only then NOTES, which outlives the cut, gets a line with its
 * name, seed and length. Some are overwritten like this, some in place with fsync, some are deleted; of those that
 * were being changed when the power went, either state is right. Contents follow from the seed in the line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common.h"

#define FILES	40u
#define MOST	200000u		/* bytes */

const char *program = "wbfiles";

/* What a name stands for. @seed is 0 where there is no file. */
struct state {
	u64 seed;
	u32 length;
};

static struct state now[FILES], next[FILES];	/* noted as durable; being made */
static bool changing[FILES];
static u8 *buf, *wanted;

static void fill(u8 *to, const struct state *s)
{
	u64 x = s->seed, word;
	u32 i;

	for (i = 0; i < s->length; i += sizeof(word)) {
		word = random_next(&x);
		memcpy(to + i, &word, sizeof(word));
	}
}

static bool sync_path(const char *path, int flags)
{
	int fd = open(path, flags);
	bool ok = fd >= 0 && !fsync(fd);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool write_file(const char *path, const struct state *s, bool direct)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | (direct ? O_DIRECT : 0), 0600);
	u32 whole = direct ? s->length - s->length % 4096 : s->length;
	bool ok;

	if (fd < 0)
		return false;
	fill(buf, s);
	ok = write(fd, buf, whole) == (ssize_t)whole;
	if (ok && whole < s->length) {
		fcntl(fd, F_SETFL, 0);
		ok = write(fd, buf + whole, s->length - whole) == (ssize_t)(s->length - whole);
	}
	ok = ok && !fsync(fd);
	close(fd);
	return ok;
}

static void note(FILE *notes, const char *what, u32 i, const struct state *s)
{
	fprintf(notes, "%s %u %llu %u\n", what, i, (unsigned long long)s->seed, s->length);
	fflush(notes);
}

/* Return: false when the device has failed. */
static bool one_step(FILE *notes, const char *dir, u64 *rng, u64 seed)
{
	u32 i = random_below(rng, FILES), dice = random_below(rng, 10);
	struct state s = { .seed = seed, .length = 1 + random_below(rng, 1 + random_below(rng, MOST)) };
	char path[512], temporary[512];

	snprintf(path, sizeof(path), "%s/f%u", dir, i);
	snprintf(temporary, sizeof(temporary), "%s/tmp%u", dir, i);
	if (dice == 0) {
		s.seed = 0;
		s.length = 0;
		note(notes, "change", i, &s);
		if ((unlink(path) && errno != ENOENT) || !sync_path(dir, O_RDONLY | O_DIRECTORY))
			return false;
	} else {
		note(notes, "change", i, &s);
		if (!write_file(temporary, &s, dice == 1) || rename(temporary, path) ||
		    !sync_path(dir, O_RDONLY | O_DIRECTORY))
			return false;
	}
	note(notes, "durable", i, &s);
	return true;
}

static void read_notes(const char *path)
{
	FILE *notes = fopen(path, "r");
	unsigned long long seed;
	char word[16];
	u32 i, length;

	if (!notes)
		return;
	while (fscanf(notes, "%15s %u %llu %u", word, &i, &seed, &length) == 4) {
		if (i >= FILES || length > MOST)
			die("%s holds nonsense", path);
		next[i] = (struct state){ seed, length };
		changing[i] = !strcmp(word, "change");
		if (!changing[i])
			now[i] = next[i];
	}
	fclose(notes);
}

/* Is the file in state @s? NULL, or what is wrong. */
static const char *compare(const char *path, const struct state *s)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return !s->seed && errno == ENOENT ? NULL : strerror(errno);
	if (!s->seed) {
		close(fd);
		return "it is there, and was deleted";
	}
	n = read(fd, buf, MOST + 1);
	close(fd);
	if (n != (ssize_t)s->length)
		return n < 0 ? strerror(errno) : "its length is wrong";
	fill(wanted, s);
	return memcmp(buf, wanted, n) ? "its contents are wrong" : NULL;
}

static void check(const char *dir, const char *path)
{
	const char *bad;
	FILE *notes;
	char file[512];
	u32 i, there = 0;

	read_notes(path);
	for (i = 0; i < FILES; i++) {
		snprintf(file, sizeof(file), "%s/f%u", dir, i);
		bad = compare(file, &now[i]);
		if (bad && changing[i] && !compare(file, &next[i])) {
			now[i] = next[i];
			bad = NULL;
		}
		if (bad)
			die("%s, which was made durable with seed %llu and %u bytes%s: %s", file,
			    (unsigned long long)now[i].seed, now[i].length,
			    changing[i] ? ", and was being changed" : "", bad);
		there += now[i].seed != 0;
	}
	/* What the next cut must leave alone. */
	notes = fopen(path, "w");
	for (i = 0; notes && i < FILES; i++)
		note(notes, "durable", i, &now[i]);
	if (!notes || fclose(notes))
		die("cannot write %s", path);
	printf("%u files, as they must be\n", there);
}

int main(int argc, char **argv)
{
	buf = io_alloc(MOST + 4096);
	wanted = io_alloc(MOST + 4096);
	if (argc == 5 && !strcmp(argv[1], "use")) {
		FILE *notes = fopen(argv[3], "a");
		u64 seed = number(argv[4]), rng = mix(seed), steps = 0;

		if (!notes)
			die("cannot open %s", argv[3]);
		while (one_step(notes, argv[2], &rng, mix(seed) + steps + 1))
			steps++;
		printf("%llu steps, then: %s\n", (unsigned long long)steps, strerror(errno));
	} else if (argc == 4 && !strcmp(argv[1], "check")) {
		check(argv[2], argv[3]);
	} else {
		die("usage: see the top of dkms-test/guest-src/wbfiles.c");
	}
	return 0;
}
