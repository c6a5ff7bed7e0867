/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's own view for people: a table when it ends, and a line now and then. All text is
 * made in one buffer and written at once, so that processes that share a stderr do not mix lines.
 */
#include "report.h"
#include "internal.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES (256u << 10) /* of address space; what is not written takes no memory */
#define TAG_ROWS   40

static const char *const kind_names[TTMEM_KINDS] = {
	[TTMEM_DRAM] = "dram",         [TTMEM_L1] = "l1",       [TTMEM_SYSTEM] = "system",
	[TTMEM_L1_SMALL] = "l1_small", [TTMEM_TRACE] = "trace", [TTMEM_CB] = "cb",
	[TTMEM_KERNEL] = "kernel",
};

struct text {
	char *bytes;
	size_t length;
};

static __attribute__((format(printf, 2, 3))) void add(struct text *text, const char *format, ...)
{
	size_t room = TEXT_BYTES - text->length;
	va_list args;
	int length;

	va_start(args, format);
	/* The analyzer does not know va_start() when it has seen another file before.
	 * NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	length = vsnprintf(text->bytes + text->length, room, format, args);
	va_end(args);
	if (length > 0)
		text->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* "1.5 GiB": four digits at most, so that columns stay narrow. */
static const char *amount(uint64_t bytes, char *to, size_t size)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1023.5 && unit < (int)sizeof units - 2) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(to, size, "%" PRIu64 " B", bytes);
	else
		snprintf(to, size, "%.*f %ciB",
			 value < 9.995   ? 2
			 : value < 99.95 ? 1
					 : 0,
			 value, units[unit]);
	return to;
}

static void add_amount(struct text *text, uint64_t bytes)
{
	char buffer[32];

	add(text, "%12s", amount(bytes, buffer, sizeof buffer));
}

/* Control characters in a tag must not reach a terminal. */
static void tag_printable(char *tag)
{
	for (; *tag; tag++)
		if ((unsigned char)*tag < ' ' || *tag == 127)
			*tag = '?';
}

static bool was_used(uint32_t device, uint32_t kind, struct ttmem_totals *totals)
{
	return ttmem_get_totals(device, kind, totals) == 0 &&
	       (totals->allocated_buffers || totals->failures);
}

static void add_totals(struct text *text)
{
	struct ttmem_totals totals;

	add(text, "  %-9s%-9s%12s%12s%12s%14s%10s\n", "device", "kind", "peak", "live", "buffers",
	    "allocations", "failures");
	for (uint32_t device = 0; device < TTMEM_MAX_DEVICES; device++)
		for (uint32_t kind = 0; kind < TTMEM_KINDS; kind++) {
			if (!was_used(device, kind, &totals))
				continue;
			add(text, "  %-9u%-9s", device, kind_names[kind]);
			add_amount(text, totals.peak_bytes);
			add_amount(text, totals.live_bytes);
			add(text, "%12" PRIu64 "%14" PRIu64 "%10" PRIu64 "\n", totals.live_buffers,
			    totals.allocated_buffers, totals.failures);
		}
}

static void add_tags(struct text *text, const char *title)
{
	struct ttmem_tag_totals rows[TAG_ROWS];
	size_t count = TAG_ROWS, shown;
	int error = ttmem_get_tags(rows, &count);

	if (error && error != -ENOSPC) {
		add(text, "  the live buffers cannot be listed: %s\n", strerror(-error));
		return;
	}
	if (!count) {
		add(text, "  nothing is live: all that was allocated was freed\n");
		return;
	}
	add(text, "  %s, by tag\n  %-24s%-9s%-9s%12s%12s\n", title, "tag", "device", "kind",
	    "bytes", "buffers");
	shown = count < TAG_ROWS ? count : TAG_ROWS;
	for (size_t i = 0; i < shown; i++) {
		tag_printable(rows[i].tag);
		add(text, "  %-23s %-9u%-9s", *rows[i].tag ? rows[i].tag : "-", rows[i].device,
		    kind_names[rows[i].kind]);
		add_amount(text, rows[i].live_bytes);
		add(text, "%12" PRIu64 "\n", rows[i].live_buffers);
	}
	if (count > shown)
		add(text, "  and %zu smaller ones\n", count - shown);
}

static void add_error(struct text *text, const char *what, uint64_t count)
{
	if (count)
		add(text, "  %s: %" PRIu64 "\n", what, count);
}

static void add_errors(struct text *text)
{
	struct ttmem_errors errors;

	if (ttmem_get_errors(&errors))
		return;
	add_error(text, "frees of buffers that were not live", errors.unknown_frees);
	add_error(text, "allocations of a live address with another size", errors.size_mismatches);
	add_error(text, "calls with a device or kind out of range", errors.bad_arguments);
	add_error(text, "calls from signal handlers that were not recorded", errors.reentered);
	add_error(text, "allocations not recorded for want of memory", errors.untracked);
}

/* A reader that is gone must not end the process by SIGPIPE, and no handler is ours to install: the
 * signal is held back, and taken away if it came by us. */
static int write_quietly(int fd, const struct text *text)
{
	const struct timespec now = {0};
	sigset_t pipe, old, pending;
	size_t done = 0;
	int error = 0;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe, &old);
	while (done < text->length) {
		ssize_t written = write(fd, text->bytes + done, text->length - done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0) {
			error = -errno;
			break;
		}
		done += (size_t)written;
	}
	if (error == -EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

static int text_begin(struct text *text)
{
	text->length = 0;
	text->bytes = ttmem__private_pages(TEXT_BYTES);
	return text->bytes ? 0 : -ENOMEM;
}

static int text_end(struct text *text, int fd)
{
	int error = write_quietly(fd, text);

	ttmem__private_free(text->bytes, TEXT_BYTES);
	return error;
}

int ttmem__report_table(int fd, bool at_exit)
{
	struct text text;
	int error;

	if (!ttmem__client_ready())
		return -ENOTCONN;
	error = text_begin(&text);
	if (error)
		return error;
	add(&text, "ttmem: device memory of pid %d (%s)%s\n", (int)getpid(),
	    program_invocation_short_name, at_exit ? " at exit" : "");
	add_totals(&text);
	add_tags(&text, at_exit ? "never freed" : "live");
	add_errors(&text);
	return text_end(&text, fd);
}

static void add_device(struct text *text, uint32_t device)
{
	struct ttmem_totals totals;
	char buffer[32];
	bool named = false;

	for (uint32_t kind = 0; kind < TTMEM_KINDS; kind++) {
		if (!was_used(device, kind, &totals))
			continue;
		if (!named)
			add(text, "; device %u", device);
		named = true;
		add(text, " %s %s", kind_names[kind],
		    amount(totals.live_bytes, buffer, sizeof buffer));
	}
}

int ttmem__report_line(int fd, double age_sec)
{
	struct text text;
	int error = text_begin(&text);

	if (error)
		return error;
	add(&text, "ttmem: pid %d (%s) %.1f s", (int)getpid(), program_invocation_short_name,
	    age_sec);
	for (uint32_t device = 0; device < TTMEM_MAX_DEVICES; device++)
		add_device(&text, device);
	add(&text, "\n");
	return text_end(&text, fd);
}

void ttmem__say(const char *format, ...)
{
	char line[256];
	struct text text = {.bytes = line};
	va_list args;
	int length;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	length = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (length >= (int)sizeof line)
		line[sizeof line - 2] = '\n';
	text.length = strlen(line);
	write_quietly(STDERR_FILENO, &text);
}

int ttmem_report(int fd)
{
	int saved = errno;
	int cancel;
	int error;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	error = ttmem__report_table(fd, false);
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
	return error;
}
