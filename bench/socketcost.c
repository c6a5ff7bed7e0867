/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baseline that libttmem replaces: one 112-byte message per event over a Unix stream socket,
 * so two per allocation and free, to a process that does nothing but drain them.
 *
 *   -s N    slices (40)
 *   -p      sender and drain on a CPU each; otherwise the scheduler places them
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define MESSAGE_BYTES 112
#define PAIRS         2000 /* in a slice */

struct setup {
	size_t slices;
	bool pinned;
};

static struct setup parse(int argc, char **argv)
{
	struct setup s = {.slices = 40};

	for (int option; (option = getopt(argc, argv, "s:p")) != -1;) {
		switch (option) {
		case 's':
			s.slices = must_parse(optarg);
			break;
		case 'p':
			s.pinned = true;
			break;
		default:
			exit(2);
		}
	}
	s.slices = s.slices ? s.slices : 1;
	return s;
}

static void pin_if(bool pinned, unsigned cpu)
{
	if (pinned && pin_to_nth_cpu(cpu))
		GIVE_UP(EXIT_SKIPPED, "needs two CPUs");
}

/* Takes whatever has come with one call: the cheapest receiver there is, which favours the
 * baseline. */
static _Noreturn void drain(int fd)
{
	static char buffer[65536];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fd, buffer, sizeof(buffer)) > 0)
		continue;
	_exit(0);
}

static void send_message(int fd)
{
	static const char message[MESSAGE_BYTES];

	if (send(fd, message, sizeof(message), MSG_NOSIGNAL) != MESSAGE_BYTES)
		GIVE_UP(EXIT_FAILURE, "send: %s", strerror(errno));
}

static double pair_ns(int fd)
{
	uint64_t start = now_ns();

	for (size_t i = 0; i < PAIRS; i++) {
		send_message(fd);
		send_message(fd);
	}
	return (double)(now_ns() - start) / PAIRS;
}

static int start_drain(bool pinned, pid_t *child)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		GIVE_UP(EXIT_FAILURE, "socketpair: %s", strerror(errno));
	*child = fork();
	if (*child < 0)
		GIVE_UP(EXIT_FAILURE, "fork: %s", strerror(errno));
	if (*child == 0) {
		close(ends[0]);
		pin_if(pinned, 1);
		drain(ends[1]);
	}
	close(ends[1]);
	return ends[0];
}

int main(int argc, char **argv)
{
	struct setup s = parse(argc, argv);
	double *values = must_alloc(s.slices, sizeof(double));
	pid_t child;
	int fd = start_drain(s.pinned, &child);

	pin_if(s.pinned, 0);
	pair_ns(fd);
	for (size_t i = 0; i < s.slices; i++)
		values[i] = pair_ns(fd);
	close(fd);
	waitpid(child, NULL, 0);
	printf("{\"pair_ns\": %.1f}\n", median(values, s.slices));
	free(values);
	return 0;
}
