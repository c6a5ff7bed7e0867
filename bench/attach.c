/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes that hold device memory and otherwise sleep.
 *
 *   attach [-d DEVICES] N    forks N processes that each hold 4 DRAM buffers of 1 MiB on device 0,
 *                            or on each of the first DEVICES, prints "ready", and ends with all
 *                            of them when its standard input ends
 */
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"
#include "ttmem.h"

#define BUFFERS      4
#define BUFFER_BYTES (1 << 20)

static unsigned int devices = 1;

static bool hold_buffers(void)
{
	if (ttmem_start())
		return false;
	for (unsigned int device = 0; device < devices; device++)
		for (uint64_t i = 0; i < BUFFERS; i++)
			ttmem_alloc(device, TTMEM_DRAM, i * BUFFER_BYTES, BUFFER_BYTES, NULL);
	return true;
}

static void wait_for_end_of(int fd)
{
	char ignored[64];
	ssize_t length;

	do
		length = read(fd, ignored, sizeof(ignored));
	while (length > 0 || (length < 0 && errno == EINTR));
}

static _Noreturn void be_a_child(int ready, int go)
{
	char answer = hold_buffers() ? 'y' : 'n';

	if (write(ready, &answer, 1) != 1)
		_exit(EXIT_FAILURE);
	close(ready);
	wait_for_end_of(go);
	_exit(EXIT_SUCCESS);
}

/* A pipe for each child, so that one that dies ends the wait for it too. */
static bool start_child(const int go[2])
{
	int ready[2];
	char answer = 'n';
	pid_t child;

	if (pipe(ready))
		return false;
	child = fork();
	if (child == 0) {
		close(go[1]);
		close(ready[0]);
		be_a_child(ready[1], go[0]);
	}
	close(ready[1]);
	if (child > 0 && read(ready[0], &answer, 1) != 1)
		answer = 'n';
	close(ready[0]);
	return answer == 'y';
}

/* Every child holds the reading end of `go` and nobody but the parent the writing end: when the
 * parent goes, however it goes, they all read the end of the file and leave. They are started one
 * after the other, because a thousand at once could overflow the daemon's backlog, which is
 * another measurement. */
static bool start_children(size_t count, const int go[2])
{
	for (size_t i = 0; i < count; i++) {
		if (!start_child(go)) {
			fprintf(stderr, "process %zu of %zu did not start\n", i + 1, count);
			return false;
		}
	}
	return true;
}

static void end_children(const int go[2])
{
	close(go[1]);
	while (wait(NULL) > 0 || errno == EINTR)
		continue;
}

static size_t parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "d:")) == 'd')
		devices = (unsigned int)must_parse(optarg);
	if (option != -1 || argc - optind != 1)
		GIVE_UP(2, "usage: attach [-d DEVICES] N");
	return must_parse(argv[optind]);
}

int main(int argc, char **argv)
{
	size_t count = parse(argc, argv);
	int go[2];
	bool ready;

	if (pipe(go))
		GIVE_UP(EXIT_FAILURE, "pipe: %s", strerror(errno));
	ready = start_children(count, go);
	if (ready) {
		puts("ready");
		fflush(stdout);
		wait_for_end_of(STDIN_FILENO);
	}
	end_children(go);
	return ready ? EXIT_SUCCESS : EXIT_FAILURE;
}
