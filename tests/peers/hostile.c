/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections, messages and descriptors that no client sends: hostile MODE SOCKET [ARGUMENT]. See
 * forge.h for what it prints. forger.c has ledgers that must be refused, liar.c ledgers that are
 * taken and then lie, stuck.c descriptors that block whoever closes them.
 */
#include "forge.h"

#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* --- hellos ------------------------------------------------------------------------------- */

static int send_changed_hello(const struct ttmem_hello *hello, size_t size)
{
	int fd = forge_connect();
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	forge_seal(&f, FORGE_SEALS);
	forge_send(fd, hello, size, (const int[]){f.memfd, f.eventfd}, 2);
	return fd;
}

static int hello_magic(void)
{
	struct ttmem_hello hello = forge_hello();
	hello.magic[0] = 'X';
	return send_changed_hello(&hello, sizeof(hello));
}

static int hello_major(void)
{
	struct ttmem_hello hello = forge_hello();
	hello.major = LEDGER_MAJOR + 1;
	return send_changed_hello(&hello, sizeof(hello));
}

static int hello_short(void)
{
	struct ttmem_hello hello = forge_hello();
	return send_changed_hello(&hello, sizeof(hello.magic));
}

static int hello_size(void)
{
	struct ttmem_hello hello = forge_hello();
	hello.size = UINT32_MAX;
	return send_changed_hello(&hello, sizeof(hello));
}

static int hello_huge(void)
{
	size_t size = 128 << 10;
	struct ttmem_hello hello = forge_hello(), *huge = calloc(1, size);
	memcpy(huge, &hello, sizeof(hello));
	huge->size = (uint32_t)size;
	int fd = send_changed_hello(huge, size);
	free(huge);
	return fd;
}

static int garbage(void)
{
	char noise[sizeof(struct ttmem_hello)];
	int fd = forge_connect();
	if (getrandom(noise, sizeof(noise), 0) < 0)
		forge_die("getrandom");
	forge_send(fd, noise, sizeof(noise), NULL, 0);
	return fd;
}

/* A message of no bytes looks like the end of the connection to recvmsg(2). */
static int empty_message(void)
{
	int fd = forge_connect();
	forge_send(fd, "", 0, NULL, 0);
	return fd;
}

static int empty_with_descriptors(void)
{
	int fd = forge_connect();
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	forge_send(fd, "", 0, (const int[]){f.memfd, f.eventfd}, 2);
	return fd;
}

/* --- descriptors -------------------------------------------------------------------------- */

static int send_instead(int instead)
{
	int fd = forge_connect();
	if (instead < 0)
		forge_die("descriptor");
	forge_send_hello(fd, &instead, 1);
	close(instead);
	return fd;
}

static int no_descriptor(void)
{
	int fd = forge_connect();
	forge_send_hello(fd, NULL, 0);
	return fd;
}

static int many_descriptors(void)
{
	int fd = forge_connect(), fds[253];
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	forge_seal(&f, FORGE_SEALS);
	for (size_t i = 0; i < 253; i++)
		fds[i] = i % 2 ? f.eventfd : f.memfd;
	forge_send_hello(fd, fds, 253);
	return fd;
}

static int a_pipe(void)
{
	int ends[2];
	return pipe(ends) < 0 ? -1 : send_instead(ends[0]);
}

static int a_file(void)
{
	return send_instead(open("/tmp", O_TMPFILE | O_RDWR, 0600));
}

static int a_directory(void)
{
	return send_instead(open("/", O_RDONLY | O_DIRECTORY));
}

static int a_socket(void)
{
	return send_instead(forge_connect());
}

static int an_eventfd(void)
{
	return send_instead(eventfd(0, 0));
}

static int dev_zero(void)
{
	return send_instead(open("/dev/zero", O_RDWR));
}

static int named_only(void) /* ARGUMENT: any file, such as one on the collector's own mount */
{
	return send_instead(open(forge_argument, O_RDONLY));
}

/* A good ledger, but the doorbell is a pipe that is full: writing or reading it would block. */
static int doorbell_is_a_pipe(void)
{
	int fd = forge_connect(), ends[2];
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	forge_seal(&f, FORGE_SEALS);
	if (pipe(ends) < 0)
		forge_die("pipe");
	forge_send_hello(fd, (const int[]){f.memfd, ends[0]}, 2);
	return fd;
}

/* --- numbers ------------------------------------------------------------------------------ */

static int twice(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	forge_offer(&f, FORGE_SEALS);
	return forge_offer(&f, 0);
}

static int again(void) /* the same hello twice on one connection */
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	int fd = forge_offer(&f, FORGE_SEALS);
	struct ttmem_hello hello = forge_hello();
	forge_send(fd, &hello, sizeof(hello), (const int[]){f.memfd, f.eventfd}, 2);
	return fd;
}

static int flood(void) /* as many descriptors as the collector lets us queue */
{
	int fd = forge_connect(), fds[253];
	for (int i = 0; i < 253; i++)
		fds[i] = 1;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 2000; i++)
		if (forge_send(fd, "x", 1, fds, 253) < 0)
			break;
	return fd;
}

static int crowd(void)
{
	int fd = -1;
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	alarm(20); /* a full backlog that nobody empties would block connect(2) for ever */
	for (int i = 0; i < 1000; i++) {
		int next = forge_try_connect();
		fd = next >= 0 ? next : fd;
	}
	alarm(0);
	return fd;
}

static int churn(void)
{
	for (int i = 0; i < 2000; i++) {
		int fd = forge_try_connect();
		if (fd >= 0)
			close(fd);
	}
	return forge_connect();
}

/* Processes that are gone before their hello is read. */
static int hit_and_run(void)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct forgery f = forge_ledger(FORGE_CAPACITY);
			forge_offer(&f, FORGE_SEALS);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	return forge_connect();
}

/* A good ledger, from a process that sent the connection's descriptor to its child: the hello
 * comes from another process than the connection. */
static int passed_on(void)
{
	int fd = forge_connect();
	pid_t pid = fork();
	if (pid == 0) {
		struct forgery f = forge_ledger(FORGE_CAPACITY);
		forge_seal(&f, FORGE_SEALS);
		forge_send_ledger(fd, &f);
		forge_stay();
		_exit(0);
	}
	return fd;
}

static int good(void) /* not an attack: shows that the forger's work is taken when it is right */
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	return forge_offer(&f, FORGE_SEALS);
}

static int idle(void)
{
	return forge_connect();
}

static const struct forge_mode modes[] = {
	{"good", good, false},
	{"idle", idle, false},
	{"crowd", crowd, false},
	{"churn", churn, false},
	{"hit_and_run", hit_and_run, false},
	{"flood", flood, true},
	{"hello_magic", hello_magic, true},
	{"hello_major", hello_major, true},
	{"hello_short", hello_short, true},
	{"hello_size", hello_size, true},
	{"hello_huge", hello_huge, true},
	{"garbage", garbage, true},
	{"empty_message", empty_message, true},
	{"empty_with_descriptors", empty_with_descriptors, true},
	{"no_descriptor", no_descriptor, true},
	{"many_descriptors", many_descriptors, true},
	{"a_pipe", a_pipe, true},
	{"a_file", a_file, true},
	{"a_directory", a_directory, true},
	{"a_socket", a_socket, true},
	{"an_eventfd", an_eventfd, true},
	{"dev_zero", dev_zero, true},
	{"named", named_only, true},
	{"doorbell_is_a_pipe", doorbell_is_a_pipe, true},
	{"passed_on", passed_on, true},
	{"twice", twice, true},
	{"again", again, true},
};

int main(int argc, char **argv)
{
	return forge_main(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);
}
