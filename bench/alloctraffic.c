/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many events of the older allocation protocol get through, and whether all of them count.
 *
 *   alloctraffic [-n N] [-e N] SOCKET   N processes (4) send N events each (500,000) to an
 * allocation server, and then ask it what device 0 holds alloctraffic [-n N] [-e N]          the
 * same to a process that throws everything away, which is the least that a server of this protocol
 * can do
 *
 * As TT-Metal did, a process sends each event by itself: with LIVE buffers of its own it frees the
 * oldest and allocates the next. Before it ends it waits for an answer, so all that it has sent has
 * been taken in. Prints how long it took from the first to the last, and how many bytes are missing
 * from what the server says while all of them still hold their buffers.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define MESSAGE_BYTES 112
#define LIVE          1000
#define SENDERS_MAX   64

enum { ALLOC = 1, FREE = 2, QUERY = 3 };

struct message {
	uint8_t type, pad1[3];
	int32_t device;
	uint64_t size;
	uint8_t kind, pad2[3];
	int32_t pid;
	uint64_t buffer, time, used;
	uint8_t rest[MESSAGE_BYTES - 48];
} __attribute__((packed));

_Static_assert(sizeof(struct message) == MESSAGE_BYTES, "the form of 112 bytes");

struct setup {
	size_t senders, events;
	const char *path; /* NULL: to a drain */
};

static struct setup parse(int argc, char **argv)
{
	struct setup s = {.senders = 4, .events = 500000};

	for (int option; (option = getopt(argc, argv, "n:e:")) != -1;) {
		if (option == 'n')
			s.senders = must_parse(optarg);
		else if (option == 'e')
			s.events = must_parse(optarg);
		else
			exit(2);
	}
	if (!s.senders || s.senders > SENDERS_MAX || s.events < 2 * LIVE || argc - optind > 1)
		GIVE_UP(2, "usage: alloctraffic [-n SENDERS] [-e EVENTS] [SOCKET]");
	s.path = argv[optind];
	return s;
}

/* Takes whatever has come with one call, from all, and answers who asks: the drain's part. */
static _Noreturn void drain(const int *ends, size_t count)
{
	static uint8_t buffer[585 * MESSAGE_BYTES]; /* whole messages only */
	struct message answer = {.type = 4};
	bool asked;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t open = count; open;) {
		fd_set set;
		int most = 0;

		FD_ZERO(&set);
		for (size_t i = 0; i < count; i++) {
			if (ends[i] >= 0)
				FD_SET(ends[i], &set);
			most = ends[i] > most ? ends[i] : most;
		}
		select(most + 1, &set, NULL, NULL, NULL);
		for (size_t i = 0; i < count; i++) {
			ssize_t size;

			if (!FD_ISSET(ends[i], &set))
				continue;
			size = read(ends[i], buffer, sizeof buffer);
			open -= size <= 0;
			/* The last message of a sender alone is a question. */
			asked = size >= MESSAGE_BYTES && buffer[size - MESSAGE_BYTES] == QUERY;
			if (asked && write(ends[i], &answer, sizeof answer) != sizeof answer)
				GIVE_UP(EXIT_FAILURE, "write: %s", strerror(errno));
			if (size <= 0)
				_exit(0);
		}
	}
	_exit(0);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
		GIVE_UP(EXIT_FAILURE, "%s: %s", path, strerror(errno));
	return fd;
}

static void send_message(int fd, const struct message *message)
{
	if (send(fd, message, sizeof *message, MSG_NOSIGNAL) != sizeof *message)
		GIVE_UP(EXIT_FAILURE, "send: %s", strerror(errno));
}

static struct message ask(int fd)
{
	struct message message = {.type = QUERY};

	send_message(fd, &message);
	if (recv(fd, &message, sizeof message, MSG_WAITALL) != sizeof message)
		GIVE_UP(EXIT_FAILURE, "no answer: %s", strerror(errno));
	return message;
}

static uint64_t size_of(size_t buffer)
{
	return 32 + buffer % 1000 * 32;
}

/* Returns the bytes that it holds at the end. */
static uint64_t send_events(int fd, size_t events)
{
	struct message message = {.pid = getpid()};
	uint64_t held = 0;
	size_t next = 0;

	for (size_t sent = 0; sent < events; sent++) {
		bool frees = next >= LIVE && sent % 2;

		message.type = frees ? FREE : ALLOC;
		message.buffer = frees ? next - LIVE : next;
		message.size = frees ? 0 : size_of(next);
		held += message.size;
		held -= frees ? size_of(next - LIVE) : 0;
		next += !frees;
		send_message(fd, &message);
	}
	return held;
}

/* What passes between the senders and who started them. */
struct report {
	uint64_t held;
	uint64_t seen; /* by the server, when all hold what they hold */
	uint64_t begun_ns, done_ns;
};

static void await(int fd)
{
	char byte;

	if (read(fd, &byte, 1) < 0)
		GIVE_UP(EXIT_FAILURE, "read: %s", strerror(errno));
}

static _Noreturn void be_a_sender(const struct setup *s, int fd, int go, int check, int to)
{
	struct report report = {0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	await(go);
	report.begun_ns = now_ns();
	report.held = send_events(fd, s->events);
	ask(fd);
	report.done_ns = now_ns();
	if (write(to, &report, sizeof report) != sizeof report)
		_exit(EXIT_FAILURE);
	await(check);
	report.seen = ask(fd).used;
	if (write(to, &report, sizeof report) != sizeof report)
		_exit(EXIT_FAILURE);
	await(go); /* its end */
	_exit(EXIT_SUCCESS);
}

static void must_pipe(int ends[2])
{
	if (pipe(ends))
		GIVE_UP(EXIT_FAILURE, "pipe: %s", strerror(errno));
}

static struct report next_report(int from)
{
	struct report report;

	if (read(from, &report, sizeof report) != sizeof report)
		GIVE_UP(EXIT_FAILURE, "a sender has failed");
	return report;
}

/* With a drain the pairs are made first, so that it can have its ends. */
static void connect_senders(const struct setup *s, int *fds, int *ends)
{
	for (size_t i = 0; i < s->senders; i++) {
		int pair[2];

		ends[i] = -1;
		if (s->path) {
			fds[i] = -1;
		} else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
			GIVE_UP(EXIT_FAILURE, "socketpair: %s", strerror(errno));
		} else {
			fds[i] = pair[0];
			ends[i] = pair[1];
		}
	}
	if (!s->path && fork() == 0) {
		for (size_t i = 0; i < s->senders; i++)
			close(fds[i]);
		drain(ends, s->senders);
	}
	for (size_t i = 0; i < s->senders; i++)
		close(ends[i]);
}

int main(int argc, char **argv)
{
	struct setup s = parse(argc, argv);
	int go[2], check[2], reports[2], fds[SENDERS_MAX], ends[SENDERS_MAX];
	uint64_t begun = UINT64_MAX, done = 0, held = 0, seen = 0;
	char all[SENDERS_MAX] = {0};

	connect_senders(&s, fds, ends); /* first: a drain must not have the pipes' ends */
	must_pipe(go);
	must_pipe(check);
	must_pipe(reports);
	for (size_t i = 0; i < s.senders; i++)
		if (fork() == 0) {
			close(go[1]);
			be_a_sender(&s, s.path ? connect_to(s.path) : fds[i], go[0], check[0],
				    reports[1]);
		}
	for (size_t i = 0; i < s.senders; i++)
		close(fds[i]);
	close(reports[1]);
	if (write(go[1], all, s.senders) < 0)
		GIVE_UP(EXIT_FAILURE, "write: %s", strerror(errno));
	for (size_t i = 0; i < s.senders; i++) {
		struct report report = next_report(reports[0]);

		begun = report.begun_ns < begun ? report.begun_ns : begun;
		done = report.done_ns > done ? report.done_ns : done;
		held += report.held;
	}
	if (write(check[1], all, s.senders) < 0)
		GIVE_UP(EXIT_FAILURE, "write: %s", strerror(errno));
	for (size_t i = 0; i < s.senders; i++)
		seen = next_report(reports[0]).seen;
	close(go[1]);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	printf("{\"events\": %zu, \"seconds\": %.6f, \"missing_bytes\": %" PRId64 "}\n",
	       s.senders * s.events, (double)(done - begun) / 1e9,
	       s.path ? (int64_t)(held - seen) : 0);
	return 0;
}
