/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long after an allocation a watcher in another process hears of it.
 *
 *   eventlatency [-n N] [-g MS] FILE    one process allocates N times (100) on device 0, the other
 *                                       watches FILE, which must be of the same daemon; at least
 *                                       MS (70) pass from an event to the next allocation
 *
 * The time is taken before the call and after read(2) has returned the event: both processes'
 * wake-ups are in it. The gap is longer than the daemon's interval between two events of a file, so
 * each change is a first one that waits for nothing; it varies, so as not to keep step with
 * anything. Prints all the latencies, in microseconds and as they came.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"
#include "ttmem.h"

#define WARM_UP      5 /* changes that do not count */
#define BUFFER_BYTES 4096
#define GAP_MORE_MS  30   /* the gap is longer by less than this */
#define HEARD_WITHIN 5000 /* ms */

struct setup {
	size_t changes;
	unsigned int gap_ms;
	const char *path;
};

struct allocator {
	pid_t pid;
	int go;                     /* a byte for each change */
	_Atomic uint64_t *asked_ns; /* when it called last */
};

static struct setup parse(int argc, char **argv)
{
	struct setup s = {.changes = 100, .gap_ms = 70};

	for (int option; (option = getopt(argc, argv, "n:g:")) != -1;) {
		if (option == 'n')
			s.changes = must_parse(optarg);
		else if (option == 'g')
			s.gap_ms = (unsigned int)must_parse(optarg);
		else
			exit(2);
	}
	if (!s.changes || argc - optind != 1)
		GIVE_UP(2, "usage: eventlatency [-n CHANGES] [-g MS] FILE");
	s.path = argv[optind];
	return s;
}

/* Says that it is there with a byte, and then allocates once for each byte that it gets. */
static _Noreturn void be_the_allocator(_Atomic uint64_t *asked_ns, int go, int ready)
{
	char byte = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ttmem_start())
		_exit(EXIT_FAILURE);
	ttmem_alloc(0, TTMEM_DRAM, 0, BUFFER_BYTES, NULL);
	if (write(ready, &byte, 1) != 1)
		_exit(EXIT_FAILURE);
	for (uint64_t i = 1; read(go, &byte, 1) == 1; i++) {
		atomic_store(asked_ns, now_ns());
		ttmem_alloc(0, TTMEM_DRAM, i * BUFFER_BYTES, BUFFER_BYTES, NULL);
	}
	_exit(EXIT_SUCCESS);
}

static struct allocator start_allocator(void)
{
	struct allocator a = {.asked_ns = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE,
					       MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
	int go[2], ready[2];
	char byte;

	if (a.asked_ns == MAP_FAILED || pipe(go) || pipe(ready))
		GIVE_UP(EXIT_FAILURE, "no memory or pipe: %s", strerror(errno));
	a.pid = fork();
	if (a.pid < 0)
		GIVE_UP(EXIT_FAILURE, "fork: %s", strerror(errno));
	if (a.pid == 0) {
		close(go[1]);
		close(ready[0]);
		be_the_allocator(a.asked_ns, go[0], ready[1]);
	}
	close(go[0]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		GIVE_UP(EXIT_FAILURE, "the process that allocates did not start");
	close(ready[0]);
	a.go = go[1];
	return a;
}

static int start_watch(const char *path)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0)
		GIVE_UP(EXIT_FAILURE, "a watch of %s: %s", path, strerror(errno));
	return fd;
}

/* All that is there, and the time after it. */
static uint64_t take_events(int watch)
{
	char room[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	uint64_t now;

	if (read(watch, room, sizeof(room)) < 0 && errno != EAGAIN)
		GIVE_UP(EXIT_FAILURE, "inotify: %s", strerror(errno));
	now = now_ns();
	while (read(watch, room, sizeof(room)) > 0)
		continue;
	return now;
}

static double latency_us(const struct allocator *a, int watch)
{
	struct pollfd event = {.fd = watch, .events = POLLIN};
	uint64_t heard_ns;

	take_events(watch);
	if (write(a->go, "", 1) != 1)
		GIVE_UP(EXIT_FAILURE, "the process that allocates has ended");
	if (poll(&event, 1, HEARD_WITHIN) != 1)
		GIVE_UP(EXIT_FAILURE, "no event within %d ms of a change", HEARD_WITHIN);
	heard_ns = take_events(watch);
	return (double)(heard_ns - atomic_load(a->asked_ns)) / 1000;
}

static void rest(unsigned int gap_ms)
{
	unsigned int more_us = (unsigned int)random() % (GAP_MORE_MS * 1000);

	usleep(gap_ms * 1000 + more_us);
}

int main(int argc, char **argv)
{
	struct setup s = parse(argc, argv);
	struct allocator a = start_allocator();
	int watch = start_watch(s.path);

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < WARM_UP; i++) {
		rest(s.gap_ms);
		latency_us(&a, watch);
	}
	printf("{\"latencies_us\": [");
	for (size_t i = 0; i < s.changes; i++) {
		rest(s.gap_ms);
		printf("%s%.1f", i ? ", " : "", latency_us(&a, watch));
	}
	puts("]}");
	close(a.go);
	waitpid(a.pid, NULL, 0);
	return 0;
}
