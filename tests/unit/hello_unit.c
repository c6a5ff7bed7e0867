/* SPDX-License-Identifier: Apache-2.0 */
/* The one message to a collector, and the connection that stays. */
#include "crew.h"
#include "listener.h"
#include <fcntl.h>
#include <poll.h>

static int listening_at_once;

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
		isolated(a_forked_child_says_hello_and_leaves_its_parents_line),
		isolated(a_child_closes_no_file_under_its_parents_eventfd_number),
		isolated(no_descriptor_takes_a_standard_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
