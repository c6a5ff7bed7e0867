/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of libttmem that does what its standard input says: one command a line, one line of
 * answer each ("ok ..." or "error ..."), so that a test knows when a thing has happened.
 *
 * Lines are read and written with read(2) and write(2) alone: a stdio buffer would be in two
 * processes after a fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ttmem.h"

#define LINE_MAX_BYTES 4096
#define WORDS_MAX      16

struct words {
	int count;
	char *word[WORDS_MAX + 1];
	char *rest; /* all after the first word, as it came */
};

static pid_t child_pid;
static int child_fd = -1;

static void run_line(char *line);

__attribute__((format(printf, 1, 2))) static void answer(const char *format, ...)
{
	char text[LINE_MAX_BYTES];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(text, sizeof(text) - 1, format, arguments);
	va_end(arguments);
	if (length < 0 || length > (int)sizeof(text) - 2)
		length = (int)sizeof(text) - 2;
	text[length++] = '\n';
	if (write(1, text, (size_t)length) != length)
		_exit(3);
}

static void answer_result(int result)
{
	if (result < 0)
		answer("error %d %s", -result, strerror(-result));
	else
		answer("ok");
}

/* Reads up to a newline, a byte at a time: nothing is left in a buffer for a child. */
static int read_line(int fd, char *line, size_t size)
{
	size_t used = 0;
	char byte;
	while (used < size - 1) {
		ssize_t got = read(fd, &byte, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		if (byte == '\n')
			break;
		line[used++] = byte;
	}
	line[used] = 0;
	return 0;
}

static uint64_t number(const struct words *w, int index)
{
	return index < w->count ? strtoull(w->word[index], NULL, 0) : 0;
}

static uint32_t device_number(const struct words *w, int index)
{
	if (index < w->count && !strcmp(w->word[index], "all"))
		return TTMEM_ALL_DEVICES;
	return (uint32_t)number(w, index);
}

static enum ttmem_kind kind_number(const struct words *w, int index)
{
	static const char *const names[TTMEM_KINDS] = {"dram",  "l1", "system", "l1_small",
						       "trace", "cb", "kernel"};
	for (unsigned kind = 0; index < w->count && kind < TTMEM_KINDS; kind++)
		if (!strcmp(w->word[index], names[kind]))
			return (enum ttmem_kind)kind;
	return (enum ttmem_kind)number(w, index);
}

static void do_start(struct words *w)
{
	(void)w;
	answer_result(ttmem_start());
}

/* declare DEV asic=0x.. pci=.. arch=.. board=.. dram=.. l1=.. remote=1 */
static void do_declare(struct words *w)
{
	struct ttmem_device device = {.size = sizeof(device)};
	for (int i = 2; i < w->count; i++) {
		char *value = strchr(w->word[i], '=');
		if (!value)
			continue;
		*value++ = 0;
		const char *key = w->word[i];
		if (!strcmp(key, "asic"))
			device.asic_id = strtoull(value, NULL, 0);
		else if (!strcmp(key, "dram"))
			device.dram_total = strtoull(value, NULL, 0);
		else if (!strcmp(key, "l1"))
			device.l1_total = strtoull(value, NULL, 0);
		else if (!strcmp(key, "remote"))
			device.is_remote = (uint32_t)strtoul(value, NULL, 0);
		else if (!strcmp(key, "pci"))
			device.pci = value;
		else if (!strcmp(key, "arch"))
			device.arch = value;
		else if (!strcmp(key, "board"))
			device.board = value;
	}
	answer_result(ttmem_declare_device((uint32_t)number(w, 1), &device));
}

static void do_alloc(struct words *w)
{
	ttmem_alloc(device_number(w, 1), kind_number(w, 2), number(w, 3), number(w, 4),
		    w->count > 5 ? w->word[5] : NULL);
	answer("ok");
}

static void do_free(struct words *w)
{
	ttmem_free(device_number(w, 1), kind_number(w, 2), number(w, 3));
	answer("ok");
}

static void do_fail(struct words *w)
{
	ttmem_alloc_failed(device_number(w, 1), kind_number(w, 2), number(w, 3), number(w, 4));
	answer("ok");
}

/* fill DEV KIND COUNT SIZE [BASE]: COUNT buffers side by side */
static void do_fill(struct words *w)
{
	uint64_t size = number(w, 4), base = w->count > 5 ? number(w, 5) : 1ull << 32;
	for (uint64_t i = 0; i < number(w, 3); i++)
		ttmem_alloc(device_number(w, 1), kind_number(w, 2), base + i * size, size, "fill");
	answer("ok");
}

static void do_drain(struct words *w)
{
	uint64_t size = number(w, 4), base = w->count > 5 ? number(w, 5) : 1ull << 32;
	for (uint64_t i = 0; i < number(w, 3); i++)
		ttmem_free(device_number(w, 1), kind_number(w, 2), base + i * size);
	answer("ok");
}

static void do_totals(struct words *w)
{
	struct ttmem_totals t;
	int result = ttmem_get_totals(device_number(w, 1), kind_number(w, 2), &t);
	if (result < 0)
		answer_result(result);
	else
		answer("ok live_bytes=%llu live_buffers=%llu peak_bytes=%llu allocated_bytes=%llu "
		       "allocated_buffers=%llu failures=%llu",
		       (unsigned long long)t.live_bytes, (unsigned long long)t.live_buffers,
		       (unsigned long long)t.peak_bytes, (unsigned long long)t.allocated_bytes,
		       (unsigned long long)t.allocated_buffers, (unsigned long long)t.failures);
}

static void do_errors(struct words *w)
{
	struct ttmem_errors e;
	(void)w;
	int result = ttmem_get_errors(&e);
	if (result < 0)
		answer_result(result);
	else
		answer("ok unknown_frees=%llu size_mismatches=%llu bad_arguments=%llu "
		       "reentered=%llu untracked=%llu",
		       (unsigned long long)e.unknown_frees, (unsigned long long)e.size_mismatches,
		       (unsigned long long)e.bad_arguments, (unsigned long long)e.reentered,
		       (unsigned long long)e.untracked);
}

/* %XX stands for a byte: names of processes may hold anything. */
static void unescape(char *text)
{
	char *to = text;
	for (char *from = text; *from; from++) {
		unsigned byte;
		if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
			*to++ = (char)byte;
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = 0;
}

static void do_name(struct words *w)
{
	unescape(w->rest);
	answer_result(prctl(PR_SET_NAME, w->rest) ? -errno : 0);
}

static void do_readlink(struct words *w)
{
	char target[256];
	ssize_t length = readlink(w->rest, target, sizeof(target));
	if (length < 0)
		answer_result(-errno);
	else
		answer("ok %.*s", (int)length, target);
}

/* cat PATH: the first line of what one read gives */
static void do_cat(struct words *w)
{
	char text[2048];
	int fd = open(w->rest, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	int error = errno;
	if (fd >= 0)
		close(fd);
	if (length < 0) {
		answer_result(-error);
		return;
	}
	text[length] = 0;
	text[strcspn(text, "\n")] = 0;
	answer("ok %s", text);
}

static void *thread_main(void *line)
{
	run_line(line);
	return NULL;
}

/* thread COMMAND...: the same from a thread of its own, which has ended when the answer comes */
static void do_thread(struct words *w)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, thread_main, w->rest);
	if (error)
		answer_result(-error);
	else
		pthread_join(thread, NULL);
}

/* fork [raw] [silent]: a child that takes commands through "child ..."; raw goes round libc, a
 * silent one takes none and does not end when its parent calls exec. */
static void do_fork(struct words *w)
{
	int pair[2];
	if (child_fd >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		answer("error busy");
		return;
	}
	child_pid =
		strstr(w->rest, "raw") ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
	if (child_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (strstr(w->rest, "silent"))
			pause();
		dup2(pair[1], 0);
		dup2(pair[1], 1);
		close(pair[0]);
		close(pair[1]);
		return;
	}
	close(pair[1]);
	child_fd = pair[0];
	answer("ok %d", child_pid);
}

static void do_child(struct words *w)
{
	char line[LINE_MAX_BYTES];
	if (child_fd < 0 || dprintf(child_fd, "%s\n", w->rest) < 0)
		answer("error no child");
	else if (read_line(child_fd, line, sizeof(line)) == 0)
		answer("%s", line);
	else
		answer("ok gone");
}

static void do_wait(struct words *w)
{
	int status = 0;
	(void)w;
	if (child_fd < 0) {
		answer("error no child");
		return;
	}
	close(child_fd); /* the child reads the end of its input */
	child_fd = -1;
	waitpid(child_pid, &status, 0);
	answer("ok %d", status);
}

/* As a host does that does not know what it has open. */
static void do_close(struct words *w)
{
	(void)w;
	for (int fd = 3; fd < 256; fd++)
		close(fd);
	answer("ok");
}

static void do_exec(struct words *w)
{
	(void)w;
	execl("/proc/self/exe", "peer", "again", (char *)NULL);
	answer_result(-errno);
}

/* tell PATH DEVICE BUFFER SIZE: the older allocation server's way to say that DRAM is allocated. */
static void do_tell(struct words *w)
{
	static int server = -1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct {
		uint32_t type;
		int32_t device;
		uint64_t size;
		uint32_t kind;
		int32_t pid;
		uint64_t buffer, time, rest[11];
	} event = {1, (int32_t)number(w, 2), number(w, 4), 0, getpid(), number(w, 3), 1, {0}};

	_Static_assert(sizeof event == 128, "a form of the protocol");
	if (server < 0) {
		server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		strncpy(address.sun_path, w->word[1], sizeof address.sun_path - 1);
		if (connect(server, (struct sockaddr *)&address, sizeof address)) {
			answer_result(-errno);
			return;
		}
	}
	answer_result(write(server, &event, sizeof event) == sizeof event ? 0 : -EIO);
}

static void do_pid(struct words *w)
{
	(void)w;
	answer("ok %d", getpid());
}

static void do_exit(struct words *w)
{
	_exit((int)number(w, 1));
}

static void do_quit(struct words *w)
{
	(void)w;
	exit(0);
}

static const struct command {
	const char *name;
	void (*run)(struct words *w);
} commands[] = {
	{"start", do_start},   {"declare", do_declare},   {"alloc", do_alloc},
	{"free", do_free},     {"fail", do_fail},         {"fill", do_fill},
	{"drain", do_drain},   {"totals", do_totals},     {"errors", do_errors},
	{"name", do_name},     {"readlink", do_readlink}, {"cat", do_cat},
	{"thread", do_thread}, {"fork", do_fork},         {"child", do_child},
	{"wait", do_wait},     {"exec", do_exec},         {"pid", do_pid},
	{"tell", do_tell},     {"exit", do_exit},         {"quit", do_quit},
	{"close", do_close},
};

static void run_line(char *line)
{
	char rest[LINE_MAX_BYTES], *save = NULL;
	struct words w = {.rest = rest};
	size_t first = strcspn(line, " ");
	strcpy(rest, line[first] ? line + first + 1 : "");
	for (char *word = strtok_r(line, " ", &save); word && w.count < WORDS_MAX;
	     word = strtok_r(NULL, " ", &save))
		w.word[w.count++] = word;
	for (size_t i = 0; w.count && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!strcmp(w.word[0], commands[i].name)) {
			commands[i].run(&w);
			return;
		}
	}
	answer("error what?");
}

int main(int argc, char **argv)
{
	char line[LINE_MAX_BYTES];
	(void)argv;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		answer("ok again");
	while (read_line(0, line, sizeof(line)) == 0)
		run_line(line);
	return 0;
}
