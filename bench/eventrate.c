/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many changes a second a daemon tells its watchers of when many files change all the time.
 *
 *   eventrate [-n N] [-s MS] MOUNT    N processes (200) each change what they hold every 20 ms; all
 *                                     their pids/PID/dram are watched for MS (3000)
 *
 * Each process allocates one more buffer every time, until it frees them all and begins again: a
 * value that had come back to what was told last would be no news.
 */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"
#include "ttmem.h"

#define WARM_UP_MS   1000
#define CHANGE_MS    20
#define LIVE_MOST    100
#define BUFFER_BYTES 4096

struct setup {
	size_t processes;
	uint64_t measure_ms;
	const char *mount;
};

static struct setup parse(int argc, char **argv)
{
	struct setup s = {.processes = 200, .measure_ms = 3000};

	for (int option; (option = getopt(argc, argv, "n:s:")) != -1;) {
		if (option == 'n')
			s.processes = must_parse(optarg);
		else if (option == 's')
			s.measure_ms = must_parse(optarg);
		else
			exit(2);
	}
	if (!s.processes || !s.measure_ms || argc - optind != 1)
		GIVE_UP(2, "usage: eventrate [-n PROCESSES] [-s MS] MOUNT");
	s.mount = argv[optind];
	return s;
}

static void change(uint64_t turn)
{
	uint64_t live = turn % LIVE_MOST;

	if (live == 0)
		for (uint64_t i = 1; i < LIVE_MOST; i++)
			ttmem_free(0, TTMEM_DRAM, i * BUFFER_BYTES);
	else
		ttmem_alloc(0, TTMEM_DRAM, live * BUFFER_BYTES, BUFFER_BYTES, NULL);
}

/* Until `end` is closed. */
static _Noreturn void be_a_child(int ready, int end)
{
	struct pollfd wait = {.fd = end, .events = POLLIN};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ttmem_start())
		_exit(EXIT_FAILURE);
	ttmem_alloc(0, TTMEM_DRAM, 0, BUFFER_BYTES, NULL);
	if (write(ready, "", 1) != 1)
		_exit(EXIT_FAILURE);
	close(ready);
	/* Not all at the same moment: their beginnings are as far apart as their starts. */
	for (uint64_t turn = 1; poll(&wait, 1, CHANGE_MS) == 0; turn++)
		change(turn);
	_exit(EXIT_SUCCESS);
}

/* A pipe for each child, so that one that dies ends the wait for it too. One after the other,
 * because of the daemon's backlog. */
static pid_t start_child(const int end[2])
{
	int ready[2];
	char byte;
	pid_t child;

	if (pipe(ready))
		GIVE_UP(EXIT_FAILURE, "pipe: %s", strerror(errno));
	child = fork();
	if (child < 0)
		GIVE_UP(EXIT_FAILURE, "fork: %s", strerror(errno));
	if (child == 0) {
		close(end[1]);
		close(ready[0]);
		be_a_child(ready[1], end[0]);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		GIVE_UP(EXIT_FAILURE, "a process did not start");
	close(ready[0]);
	return child;
}

static void watch_child(int watch, const char *mount, pid_t child)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/pids/%d/dram", mount, (int)child);
	if (inotify_add_watch(watch, path, IN_MODIFY) < 0)
		GIVE_UP(EXIT_FAILURE, "a watch of %s: %s", path, strerror(errno));
}

static size_t count_events(const char *events, size_t size)
{
	size_t count = 0;

	for (size_t at = 0; at < size; count++) {
		const struct inotify_event *event = (const void *)(events + at);

		if (event->mask & IN_Q_OVERFLOW)
			GIVE_UP(EXIT_FAILURE, "inotify's queue was full");
		at += sizeof(*event) + event->len;
	}
	return count;
}

static size_t events_until(int watch, uint64_t end_ns)
{
	static char room[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct pollfd some = {.fd = watch, .events = POLLIN};
	size_t count = 0;

	for (uint64_t now; (now = now_ns()) < end_ns;) {
		ssize_t size;

		if (poll(&some, 1, (int)((end_ns - now) / 1000000) + 1) < 1)
			continue;
		size = read(watch, room, sizeof(room));
		if (size <= 0)
			GIVE_UP(EXIT_FAILURE, "inotify: %s", strerror(errno));
		count += count_events(room, (size_t)size);
	}
	return count;
}

int main(int argc, char **argv)
{
	struct setup s = parse(argc, argv);
	pid_t *children = must_alloc(s.processes, sizeof(*children));
	int watch, end[2];
	uint64_t begun, done;
	size_t events;

	if (pipe(end))
		GIVE_UP(EXIT_FAILURE, "pipe: %s", strerror(errno));
	for (size_t i = 0; i < s.processes; i++)
		children[i] = start_child(end);
	watch = inotify_init1(IN_CLOEXEC); /* now, or they would all have it too */
	if (watch < 0)
		GIVE_UP(EXIT_FAILURE, "inotify: %s", strerror(errno));
	for (size_t i = 0; i < s.processes; i++)
		watch_child(watch, s.mount, children[i]);
	events_until(watch, now_ns() + WARM_UP_MS * UINT64_C(1000000));
	begun = now_ns();
	events = events_until(watch, begun + s.measure_ms * 1000000);
	done = now_ns();
	close(end[1]);
	while (wait(NULL) > 0 || errno == EINTR)
		continue;
	printf("{\"events\": %zu, \"seconds\": %.6f}\n", events, (double)(done - begun) / 1e9);
	free(children);
	return 0;
}
