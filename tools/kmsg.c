// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <unistd.h>

#include "kmsg.h"
#include "tool.h"

#define OWN_PREFIX	"device-mapper: writeboost: "	/* DMERR() of the target */
#define TABLE_PREFIX	"device-mapper: table: "	/* device-mapper, quoting the constructor */

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* The reason in one line of the log, or NULL. */
static const char *reason_in(const char *line)
{
	const char *at = strstr(line, OWN_PREFIX), *colon;

	if (at)
		return at + strlen(OWN_PREFIX);
	at = strstr(line, TABLE_PREFIX);
	colon = at ? strstr(at, ": writeboost: ") : NULL;
	return colon ? colon + strlen(": writeboost: ") : NULL;
}

void kmsg_each(int fd, void (*say)(void *ctx, const char *text, bool own), void *ctx)
{
	char record[8192], *text;
	const char *reason;
	ssize_t n;

	if (fd < 0)
		return;
	/* One read() is one record: "priority,sequence,time,flags;text\n", then more lines. */
	while ((n = read(fd, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		if (n < 0)
			continue;	/* overwritten while we slept: the next is there */
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		reason = reason_in(text + 1);
		if (reason)
			say(ctx, reason, strstr(text, OWN_PREFIX));
	}
	close(fd);
}

struct last {
	char *to;
	size_t len;
	bool own;
};

static void keep_last(void *ctx, const char *text, bool own)
{
	struct last *l = ctx;

	/* What the target says itself is nearer the cause than what its constructor gives up. */
	if (l->own && !own)
		return;
	l->own = own;
	snprintf(l->to, l->len, "%s", text);
}

void kmsg_reason(int fd, char *to, size_t len)
{
	struct last l = { .to = to, .len = len };

	*to = '\0';
	kmsg_each(fd, keep_last, &l);
}
