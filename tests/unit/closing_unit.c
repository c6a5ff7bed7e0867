/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that close what they do not know, and children that keep what they did not ask for. */
#include "crew.h"
#include "listener.h"
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

extern char **environ;

static void close_by_range(void)
{
	if (syscall(SYS_close_range, 3u, ~0u, 0u))
		case_skip("there is no close_range()");
}

static void close_by_loop(void)
{
	for (int fd = 3; fd < FDS_LOOKED_AT; fd++)
		close(fd);
}

/* The library's numbers go to the host's own files, eventfds among them. */
static void after_closing(void (*close_all)(void))
{
	int bell, connection = start_and_accept(listener(SOCK_SEQPACKET, 5));
	struct ledger_header *header = ledger_map();
	struct pollfd readable = {.events = POLLIN};

	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	bell = (int)header->eventfd;
	assert_true(connection > bell);
	close_all();
	while ((readable.fd = eventfd(0, EFD_CLOEXEC)) < bell)
		;
	assert_int_equal(readable.fd, bell);
	header->armed = 1;
	for (uint64_t i = 0; i < 1000; i++)
		ttmem_alloc((uint32_t)i % 64, TTMEM_L1, i, 1, i % 2 ? "weights" : NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_L1).live_bytes, 1000);
	for (readable.fd = 3; readable.fd <= bell; readable.fd++)
		assert_int_equal(poll(&readable, 1, 0), 0);
}

static void a_host_that_closes_a_range_is_not_written_to(void)
{
	after_closing(close_by_range);
}

static void a_host_that_closes_one_by_one_is_not_written_to(void)
{
	after_closing(close_by_loop);
}

static void a_child_of_a_host_that_has_closed_all_starts_clean(void)
{
	pid_t child;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	close_by_loop();
	for (int i = 0; i < 8; i++)
		eventfd(0, EFD_CLOEXEC);
	child = case_fork();
	if (child == 0) {
		int open = fds_of("");

		ttmem_alloc(0, TTMEM_DRAM, 1, 20, NULL);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 20);
		assert_int_equal(fds_of(""), open + 2);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
}

/* It forks, and the parent is gone before main() goes on. */
static void a_daemon_starts_clean(void)
{
	int told[2];
	uint64_t live = 0;
	pid_t child;

	assert_int_equal(pipe(told), 0);
	child = case_fork();
	if (child == 0) {
		assert_int_equal(ttmem_start(), 0);
		ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
		if (daemon(0, 0))
			_exit(3);
		prctl(PR_SET_PDEATHSIG, 0); /* who died is not the test */
		alarm(CASE_SECONDS);
		ttmem_alloc(0, TTMEM_DRAM, 2, 20, NULL);
		live = totals_of(0, TTMEM_DRAM).live_bytes;
		if (ledgers_open() != 1 || write(told[1], &live, sizeof live) != sizeof live)
			_exit(3);
		_exit(0);
	}
	close(told[1]);
	assert_int_equal(read(told[0], &live, sizeof live), sizeof live);
	assert_int_equal(live, 20);
	assert_int_equal(case_wait(child), 0);
}

/* What the collector sees when the process calls exec, although a child of it lives. */
static void assert_line_ends(int connection)
{
	struct pollfd ended = {.fd = connection, .events = POLLIN};
	struct heard heard;

	hear(connection, &heard);
	for (int i = 0; i < heard.count; i++)
		close(heard.fds[i]);
	assert_int_equal(poll(&ended, 1, -1), 1);
	hear(connection, &heard);
	assert_int_equal(heard.length, 0);
}

static void a_silent_child_does_not_hold_its_parents_line(void)
{
	int connection, listening = listener(SOCK_SEQPACKET, 5);
	pid_t parent;

	parent = case_fork();
	if (parent == 0) {
		close(listening);
		assert_int_equal(ttmem_start(), 0);
		if (case_fork() == 0) {
			pause();
			_exit(0);
		}
		execl("/bin/sleep", "sleep", "600", NULL);
		_exit(2);
	}
	connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	listener_remove();
	assert_line_ends(connection);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
}

static void assert_no_ledger_was_passed_on(pid_t child)
{
	assert_int_equal(case_wait(child), 0);
	assert_int_equal(ledgers_open(), 1);
	ttmem_alloc(0, TTMEM_DRAM, 2, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 20);
	ttmem_free(0, TTMEM_DRAM, 2);
}

static char script[] = "set -- $(ls -l /proc/$$/fd); case \"$*\" in"
		       " *ttmem-ledger*|*eventfd*) exit 1;; esac";

static void programs_that_are_spawned_get_nothing(void)
{
	char shell[] = "sh", option[] = "-c", *argv[] = {shell, option, script, NULL};
	FILE *pipe;
	pid_t child;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	assert_int_equal(posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ), 0);
	assert_no_ledger_was_passed_on(child);
	assert_int_equal(system(script), 0);
	pipe = popen(script, "r");
	assert_non_null(pipe);
	assert_int_equal(pclose(pipe), 0);
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0) {
		execv("/bin/sh", argv);
		_exit(2);
	}
	assert_no_ledger_was_passed_on(child);
}

/* It is in its parent's memory, which stands still meanwhile. */
static void a_call_after_vfork_is_the_parents(void)
{
	pid_t child;

	if (UNDER_TSAN || RUNNING_ON_VALGRIND)
		case_skip("the tool makes a fork of it");
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	child = vfork();
	if (child == 0) {
		ttmem_alloc(0, TTMEM_DRAM, 2, 20, "vfork");
		ttmem_free(0, TTMEM_DRAM, 1);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 20);
	assert_int_equal(ledger_live(ledger_map()), 1);
	assert_int_equal(ledgers_open(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_host_that_closes_a_range_is_not_written_to),
		isolated(a_host_that_closes_one_by_one_is_not_written_to),
		isolated(a_child_of_a_host_that_has_closed_all_starts_clean),
		isolated(a_daemon_starts_clean),
		isolated(a_silent_child_does_not_hold_its_parents_line),
		isolated(programs_that_are_spawned_get_nothing),
		isolated(a_call_after_vfork_is_the_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
