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

void kmsg_reason(int fd, char *to, size_t len)
{
	char record[8192], *text;
	const char *reason;
	bool own = false;
	ssize_t n;

	*to = '\0';
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
		/* What the target says itself is nearer the cause than what its constructor gives up. */
		if (!reason || (own && !strstr(text, OWN_PREFIX)))
			continue;
		own = strstr(text, OWN_PREFIX);
		snprintf(to, len, "%s", reason);
	}
	close(fd);
}
