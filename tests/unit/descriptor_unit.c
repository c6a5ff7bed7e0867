/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors from strangers: told apart without touching them, and closed by somebody else. */
#include "descriptor.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define MANY 500

static unsigned int lines;

static GLogWriterOutput count_line(GLogLevelFlags level, const GLogField *fields, gsize count,
				   gpointer data)
{
	(void)level, (void)fields, (void)count, (void)data;
	lines++;
	return G_LOG_WRITER_HANDLED;
}

static void an_eventfd_is_told_from_all_else(void **state)
{
	char *dir = unit_mkdir(), *trap = g_build_filename(dir, "anon_inode:[eventfd]", NULL);
	int others[8], ends[2];
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_true(descriptor_is_eventfd(fd));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	others[0] = ends[0];
	others[1] = ends[1];
	assert_int_equal(pipe(ends), 0);
	others[2] = ends[0];
	others[3] = ends[1];
	others[4] = memfd_create("[eventfd]", MFD_CLOEXEC);
	others[5] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	others[6] = epoll_create1(EPOLL_CLOEXEC);
	others[7] = open(trap, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
		assert_true(others[i] >= 0);
		assert_false(descriptor_is_eventfd(others[i]));
		close(others[i]);
	}
	close(fd);
	assert_false(descriptor_is_eventfd(fd));
	assert_false(descriptor_is_eventfd(-1));
	g_free(trap);
	unit_rmdir(dir);
}

/* The other end hears of it when the last copy is closed, which needs no clock to wait for. */
static void wait_for_hangup(int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&end, 1, -1), 1);
	assert_true(end.revents & POLLHUP);
	close(fd);
}

static void what_is_discarded_is_closed(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	descriptors_discard(&ends[1], 1);
	wait_for_hangup(ends[0]);
}

static void what_is_no_descriptor_is_left_out(void **state)
{
	int ends[2], fds[3] = {-1, -1, -1};

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	descriptors_discard(fds, 3);
	descriptors_discard(NULL, 0);
	fds[1] = ends[1];
	descriptors_discard(fds, 3);
	wait_for_hangup(ends[0]);
}

static void discard_many(void)
{
	static int readers[MANY], writers[MANY];

	for (int i = 0; i < MANY; i++) {
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		readers[i] = ends[0];
		writers[i] = ends[1];
	}
	descriptors_discard(writers, MANY / 2);
	for (int i = MANY / 2; i < MANY; i++)
		descriptors_discard(&writers[i], 1);
	for (int i = 0; i < MANY; i++)
		wait_for_hangup(readers[i]);
	while (descriptors_pending())
		sched_yield();
}

static void as_many_as_there_are_are_closed_in_the_end(void **state)
{
	(void)state;
	discard_many();
}

static void many_are_worth_a_line_but_not_again_and_again(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		discard_many();
		descriptors_discard(NULL, 0);
	}
	assert_in_range(lines, 1, 2); /* two if it takes ten seconds */
}

static void nothing_is_left_when_the_process_is_about_to_end(void **state)
{
	int readers[20];

	(void)state;
	for (int i = 0; i < 20; i++) {
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		readers[i] = ends[0];
		descriptors_discard(&ends[1], 1);
	}
	descriptors_abandon();
	assert_int_equal(descriptors_pending(), 0);
	for (int i = 0; i < 20; i++)
		wait_for_hangup(readers[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_eventfd_is_told_from_all_else),
		cmocka_unit_test(what_is_discarded_is_closed),
		cmocka_unit_test(what_is_no_descriptor_is_left_out),
		cmocka_unit_test(as_many_as_there_are_are_closed_in_the_end),
		cmocka_unit_test(many_are_worth_a_line_but_not_again_and_again),
		cmocka_unit_test(nothing_is_left_when_the_process_is_about_to_end),
	};

	g_log_set_writer_func(count_line, NULL, NULL);
	return RUN(tests);
}
