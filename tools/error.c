// SPDX-License-Identifier: GPL-2.0
/* Messages, questions and numbers as text. */
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

volatile int interrupted;

static void message(const char *kind, const char *fmt, va_list ap, const char *more)
{
	fflush(stdout);		/* keep the order where both go to one place */
	fprintf(stderr, TOOL_NAME ": %s", kind);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "%s%s\n", more ? ": " : "", more ? more : "");
}

void err(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("", fmt, ap, NULL);
	va_end(ap);
}

void warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("warning: ", fmt, ap, NULL);
	va_end(ap);
}

int code_of_errno(int e)
{
	switch (e) {
	case EPERM:
	case EACCES:
		return RC_PERMISSION;
	case ENOMEM:
		return RC_MEMORY;
	case EBUSY:
	case EEXIST:
		return RC_BUSY;
	case EINTR:
		return RC_INTERRUPTED;
	default:
		return RC_DEVICE;
	}
}

int fail_errno(int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	message("", fmt, ap, strerror(e));
	va_end(ap);
	return code_of_errno(e);
}

int out_of_memory(void)
{
	err("out of memory");
	return RC_MEMORY;
}

int confirm(bool yes, const char *question)
{
	char line[64];
	ssize_t n;

	/* Also with --yes: this is the last moment at which all is as it was. */
	if (interrupted) {
		err("interrupted, nothing was changed");
		return RC_INTERRUPTED;
	}
	if (yes)
		return RC_OK;
	if (!isatty(STDIN_FILENO)) {
		err("%s No terminal to ask on; if you mean it, add --yes", question);
		return RC_REFUSED;
	}
	fflush(stdout);
	fprintf(stderr, "%s [y/N] ", question);
	/* read(), not stdio: a signal has to end the wait. */
	n = read(STDIN_FILENO, line, sizeof(line) - 1);
	if (interrupted) {
		fputc('\n', stderr);
		err("interrupted, nothing was changed");
		return RC_INTERRUPTED;
	}
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	if (!strcasecmp(line, "y") || !strcasecmp(line, "yes"))
		return RC_OK;
	err("refused, nothing was changed");
	return RC_REFUSED;
}

int finish_output(void)
{
	if (fflush(stdout) || ferror(stdout)) {
		err("cannot write to standard output");
		return RC_DEVICE;
	}
	return RC_OK;
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------- numbers */

char *size_text(u64 bytes, char *to)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double n = bytes;
	unsigned int i = 0;

	while (n >= 1024 && i + 1 < ARRAY_SIZE(unit)) {
		n /= 1024;
		i++;
	}
	if (i)
		snprintf(to, TEXT_LEN, "%.1f %s", n, unit[i]);
	else
		snprintf(to, TEXT_LEN, "%u B", (unsigned int)bytes);
	return to;
}

char *time_text(double seconds, char *to)
{
	u64 s = seconds < 0 ? 0 : seconds > 1e12 ? (u64)1e12 : (u64)(seconds + 0.5);

	if (s >= 86400)
		snprintf(to, TEXT_LEN, "%llu d %u h", (unsigned long long)(s / 86400),
			 (unsigned int)(s / 3600 % 24));
	else if (s >= 3600)
		snprintf(to, TEXT_LEN, "%u h %u min", (unsigned int)(s / 3600),
			 (unsigned int)(s / 60 % 60));
	else if (s >= 60)
		snprintf(to, TEXT_LEN, "%u min %u s", (unsigned int)(s / 60),
			 (unsigned int)(s % 60));
	else
		snprintf(to, TEXT_LEN, "%u s", (unsigned int)s);
	return to;
}

char *percent_text(u64 n, u64 d, char *to)
{
	if (d)
		snprintf(to, TEXT_LEN, "%.1f%%", 100.0 * (double)n / (double)d);
	else
		snprintf(to, TEXT_LEN, "-");
	return to;
}

bool parse_u64(const char *text, u64 *n)
{
	u64 v = 0, digit;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		digit = (u64)(*text - '0');
		if (v > (~0ull - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*n = v;
	return true;
}

bool parse_size(const char *text, u64 *bytes)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text + digits, *at;
	char number[24];
	u64 n;
	int shift = 0;

	if (!digits || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (!parse_u64(number, &n))
		return false;
	if (*unit) {
		at = strchr(units, *unit == 'k' ? 'K' : *unit);
		if (!at || (unit[1] && strcmp(unit + 1, "iB")))
			return false;
		shift = 10 * (int)(at - units + 1);
		if (n > ~0ull >> shift)
			return false;
	}
	*bytes = n << shift;
	return true;
}
