/* SPDX-License-Identifier: Apache-2.0 */
/* The one message to a collector, and collectors that are absent, stuck or strange. */
#include "crew.h"
#include "own_ledger.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static char runtime[64], directory[80], path[100];
static int listening_at_once;

/* A collector's socket, in a runtime directory of its own; TTMEM_SOCKET names it. */
static int listener(int type, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(runtime, P_tmpdir "/ttmem-unit-XXXXXX");
	assert_non_null(mkdtemp(runtime));
	snprintf(directory, sizeof directory, "%s/ttmemd", runtime);
	snprintf(path, sizeof path, "%s/ttmemd.sock", directory);
	assert_int_equal(mkdir(directory, 0700), 0);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, backlog), 0);
	setenv("TTMEM_SOCKET", path, 1);
	return fd;
}

static void listener_remove(void)
{
	unlink(path);
	rmdir(directory);
	rmdir(runtime);
}

/* Starts beside the listener, and takes the connection. */
static int start_and_accept(int listening)
{
	const int on = 1;
	int fd;

	assert_int_equal(ttmem_start(), 0);
	listener_remove();
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
	return fd;
}

struct heard {
	struct ttmem_hello hello;
	ssize_t length;
	int fds[4], count;
	struct ucred credentials;
	int flags;
};

static void hear(int fd, struct heard *heard)
{
	union {
		struct cmsghdr align;
		char space[256];
	} control;
	struct iovec part = {&heard->hello, sizeof heard->hello};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof control};

	memset(heard, 0, sizeof *heard);
	heard->length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	heard->flags = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	if (heard->length < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_type == SCM_RIGHTS) {
			heard->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(heard->fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&heard->credentials, CMSG_DATA(c), sizeof heard->credentials);
		}
	}
}

static void assert_same_file(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x), 0);
	assert_int_equal(fstat(b, &y), 0);
	assert_true(x.st_ino == y.st_ino && x.st_dev == y.st_dev);
}

static void the_hello_is_one_message_with_two_descriptors(void)
{
	int own_eventfd, own_ledger, connection = start_and_accept(listener(SOCK_SEQPACKET, 5));
	uint64_t two = 2, count = 0;
	struct heard heard;

	own_ledger = ledger_fd();
	own_eventfd = (int)ledger_map()->eventfd;
	hear(connection, &heard);
	assert_int_equal(heard.length, sizeof heard.hello);
	assert_int_equal(heard.flags, 0);
	assert_memory_equal(heard.hello.magic, HELLO_MAGIC, 8);
	assert_int_equal(heard.hello.major, LEDGER_MAJOR);
	assert_int_equal(heard.hello.minor, LEDGER_MINOR);
	assert_int_equal(heard.hello.size, sizeof heard.hello);
	assert_int_equal(heard.hello.flags | heard.hello.reserved, 0);
	assert_int_equal(heard.credentials.pid, getpid());
	assert_int_equal(heard.credentials.uid, getuid());
	assert_int_equal(heard.count, 2);
	assert_same_file(heard.fds[0], own_ledger);
	assert_int_equal(write(heard.fds[1], &two, sizeof two), sizeof two);
	assert_int_equal(read(own_eventfd, &count, sizeof count), sizeof count);
	assert_int_equal(count, 2);
	/* Nothing follows, whatever happens, and the connection stays. */
	for (uint64_t i = 0; i < 1000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 1, "tag");
	hear(connection, &heard);
	assert_int_equal(heard.length, -1);
	assert_int_equal(errno, EAGAIN);
}

/* Takes the connection as soon as it can, and asks for credentials as late as it can. */
static void accept_at_once(struct crew *crew, unsigned int self)
{
	const int on = 1;
	struct pollfd readable = {.events = POLLIN};
	struct heard heard;
	int connection;

	(void)self;
	crew_pause(crew);
	while ((connection = accept4(listening_at_once, NULL, NULL, SOCK_CLOEXEC)) < 0)
		assert_int_equal(errno, EAGAIN);
	readable.fd = connection;
	assert_int_equal(poll(&readable, 1, -1), 1);
	assert_int_equal(setsockopt(connection, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
	hear(connection, &heard);
	assert_int_equal(heard.credentials.pid, getpid());
}

static void a_hello_has_credentials_however_soon_it_is_accepted(void)
{
	listening_at_once = listener(SOCK_SEQPACKET, 5);
	assert_int_equal(fcntl(listening_at_once, F_SETFL, O_NONBLOCK), 0);
	for (unsigned int i = 0; i < rounds(200); i++) {
		pid_t child = case_fork();

		if (child == 0) {
			struct crew crew;

			crew_begin(&crew, 1, accept_at_once);
			crew_halt(&crew);
			crew_resume(&crew);
			assert_int_equal(ttmem_start(), 0);
			crew_end(&crew);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
	listener_remove();
}

static void the_ledger_outlives_the_connection(void)
{
	int listening = listener(SOCK_SEQPACKET, 5);

	close(start_and_accept(listening));
	close(listening);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
}

static void assert_works_alone(void)
{
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(ledgers_open(), 1);
	assert_int_equal(fds_of("socket:"), 0);
}

static void works_with_no_collector(void)
{
	assert_works_alone();
}

static void works_with_a_socket_path_that_is_nonsense(void)
{
	static const char *const nonsense[] = {"/",          "relative",        ".",
					       "/proc/self", "/proc/self/stat", "\xff\xfe"};

	for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
		pid_t child = case_fork();

		if (child == 0) {
			setenv("TTMEM_SOCKET", nonsense[i], 1);
			assert_works_alone();
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void works_with_a_socket_path_that_is_too_long(void)
{
	static char name[4096];

	for (size_t length = 105; length < sizeof name - 1; length += length < 112 ? 1 : 1000) {
		pid_t child = case_fork();

		if (child == 0) {
			memset(name, 'x', length);
			name[0] = '/';
			setenv("TTMEM_SOCKET", name, 1);
			assert_works_alone();
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void works_with_a_socket_of_another_type(void)
{
	listener(SOCK_STREAM, 5);
	assert_int_equal(ttmem_start(), 0);
	listener_remove();
	assert_int_equal(fds_of("socket:"), 1);
}

/* If it did, nobody would ever wake it. */
static void a_full_backlog_never_blocks_the_first_call(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listening = listener(SOCK_SEQPACKET, 0), sockets, fd;

	strcpy(address.sun_path, path);
	do
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
	while (connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	sockets = fds_of("socket:");
	setenv("TTMEM", "1", 1);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	listener_remove();
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(fds_of("socket:"), sockets);
	close(listening);
}

static void a_users_own_collector_is_found(void)
{
	int listening = listener(SOCK_SEQPACKET, 5);

	if (access("/run/ttmemd/ttmemd.sock", F_OK) == 0) {
		listener_remove();
		case_skip("the system has a collector");
	}
	unsetenv("TTMEM_SOCKET");
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	start_and_accept(listening);
}

static void a_forked_child_says_hello_and_leaves_its_parents_line(void)
{
	int listening = listener(SOCK_SEQPACKET, 5);
	int sockets, connection;
	struct heard heard;
	pid_t child;

	assert_int_equal(ttmem_start(), 0);
	sockets = fds_of("socket:");
	connection = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
	child = case_fork();
	if (child == 0) {
		close(connection);
		ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
		assert_int_equal(fds_of("socket:"), sockets);
		assert_int_equal(fds_of("anon_inode:[eventfd]"), 1);
		assert_int_equal(ledgers_open(), 1);
		connection = start_and_accept(listening);
		hear(connection, &heard);
		assert_int_equal(heard.credentials.pid, getpid());
		assert_same_file(heard.fds[0], ledger_fd());
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	/* Its own line still is the parent's alone: with it gone, the other end hears so. */
	hear(connection, &heard);
	assert_int_equal(heard.count, 2);
	hear(connection, &heard);
	assert_int_equal(heard.length, -1);
	assert_int_equal(errno, EAGAIN);
}

static void a_child_closes_no_file_under_its_parents_eventfd_number(void)
{
	int eventfd;
	pid_t child;

	start_and_accept(listener(SOCK_SEQPACKET, 5));
	eventfd = (int)ledger_map()->eventfd;
	child = case_fork();
	if (child == 0) {
		int file = open("/dev/null", O_RDWR);

		assert_int_equal(dup2(file, eventfd), eventfd);
		ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
		assert_same_file(eventfd, file);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
}

static void no_descriptor_takes_a_standard_number(void)
{
	int listening = listener(SOCK_SEQPACKET, 5), saved, taken = 0, connection;
	struct heard heard;

	saved = fcntl(STDERR_FILENO, F_DUPFD, 10);
	for (int fd = 0; fd <= 2; fd++)
		close(fd);
	connection = ttmem_start();
	for (int fd = 0; fd <= 2; fd++)
		taken += fcntl(fd, F_GETFD) >= 0;
	dup2(saved, STDIN_FILENO);
	dup2(saved, STDOUT_FILENO);
	dup2(saved, STDERR_FILENO);
	assert_int_equal(connection, 0);
	assert_int_equal(taken, 0);
	connection = start_and_accept(listening);
	hear(connection, &heard);
	assert_int_equal(heard.count, 2);
	assert_same_file(heard.fds[0], ledger_fd());
	assert_true(fd_of("anon_inode:[eventfd]", 0) > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(the_hello_is_one_message_with_two_descriptors),
		isolated(a_hello_has_credentials_however_soon_it_is_accepted),
		isolated(the_ledger_outlives_the_connection),
		isolated(works_with_no_collector),
		isolated(works_with_a_socket_path_that_is_nonsense),
		isolated(works_with_a_socket_path_that_is_too_long),
		isolated(works_with_a_socket_of_another_type),
		isolated(a_full_backlog_never_blocks_the_first_call),
		isolated(a_users_own_collector_is_found),
		isolated(a_forked_child_says_hello_and_leaves_its_parents_line),
		isolated(a_child_closes_no_file_under_its_parents_eventfd_number),
		isolated(no_descriptor_takes_a_standard_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
