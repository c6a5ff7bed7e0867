/* SPDX-License-Identifier: Apache-2.0 */
/* How children of ours, known to the daemon by their pidfd alone, have ended. */
#include "ending.h"
#include "proc.h"
#include "unit.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct child {
	struct model model;
	struct process process;
	int pidfd;
};

/* A child that waits for a signal, or exits with a status. */
static void child_make(struct child *child, int status)
{
	*child = (struct child){.model.proc = "/proc"};
	child->process.pid = fork();
	assert_true(child->process.pid >= 0);
	if (!child->process.pid) {
		if (status < 0)
			pause();
		_exit(status);
	}
	child->pidfd = (int)syscall(SYS_pidfd_open, child->process.pid, 0);
	assert_true(child->pidfd >= 0);
	assert_int_equal(proc_start_ticks("/proc", child->process.pid, &child->process.start_ticks),
			 0);
}

static void child_has_ended(const struct child *child)
{
	struct pollfd end = {.fd = child->pidfd, .events = POLLIN};

	assert_int_equal(poll(&end, 1, -1), 1);
}

static void child_reap(struct child *child)
{
	assert_int_equal(waitpid(child->process.pid, NULL, 0), child->process.pid);
}

static void assert_noted(struct child *child, int how, int number)
{
	ending_note(&child->model, &child->process, child->pidfd);
	assert_int_equal(child->process.ending.how, how);
	assert_int_equal(child->process.ending.number, number);
}

static void a_child_that_nobody_has_waited_for_has_its_status(void **state)
{
	static const int statuses[] = {0, 1, 42, 255};
	struct child child;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
		child_make(&child, statuses[i]);
		child_has_ended(&child);
		assert_noted(&child, ENDING_EXIT, statuses[i]);
		child_reap(&child);
		close(child.pidfd);
	}
}

static void a_signal_is_told_from_a_status(void **state)
{
	static const int signals[] = {SIGKILL, SIGTERM, SIGHUP};
	struct child child;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
		child_make(&child, -1);
		kill(child.process.pid, signals[i]);
		child_has_ended(&child);
		assert_noted(&child, ENDING_SIGNAL, signals[i]);
		child_reap(&child);
		close(child.pidfd);
	}
}

/* Since Linux 6.15; before it, nothing is made up. */
static void a_child_that_was_waited_for_has_its_status_or_none(void **state)
{
	struct child child;

	(void)state;
	child_make(&child, 7);
	child_reap(&child);
	ending_note(&child.model, &child.process, child.pidfd);
	if (child.process.ending.how)
		assert_noted(&child, ENDING_EXIT, 7);
	close(child.pidfd);
}

static void who_lives_on_is_detached(void **state)
{
	struct child child;

	(void)state;
	child_make(&child, -1);
	assert_noted(&child, ENDING_DETACHED, 0);
	kill(child.process.pid, SIGKILL);
	child_has_ended(&child);
	assert_noted(&child, ENDING_SIGNAL, SIGKILL);
	child_reap(&child);
	close(child.pidfd);
}

static void anothers_ending_is_not_taken_for_its_own(void **state)
{
	struct ending ending;
	struct child child;

	(void)state;
	child_make(&child, 3);
	child_has_ended(&child);
	proc_ending("/proc", child.process.pid, child.process.start_ticks + 1, &ending);
	assert_int_equal(ending.how, ENDING_UNKNOWN);
	child_reap(&child);
	proc_ending("/proc", child.process.pid, child.process.start_ticks, &ending);
	assert_int_equal(ending.how, ENDING_UNKNOWN);
	close(child.pidfd);
}

/* The kernel shows 0 to those who may not trace the process. */
static void a_status_that_we_may_not_know_is_not_taken_for_0(void **state)
{
	struct ending ending = {ENDING_EXIT, 0};
	struct child child;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	child_make(&child, 3);
	child_has_ended(&child);
	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(99);
		proc_ending("/proc", child.process.pid, child.process.start_ticks, &ending);
		_exit(ending.how != ENDING_UNKNOWN);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	child_reap(&child);
	close(child.pidfd);
}

static void nonsense_in_stat_is_unknown(void **state)
{
	static const char *const texts[] = {"",       "42",       "42 (x",
					    "42 (x)", "42 (x) Z", "42 (x) Z 1 2 3"};
	char *root = unit_mkdir(), *dir = g_strdup_printf("%s/42", root);
	char *path = g_build_filename(dir, "stat", NULL);
	struct ending ending;

	(void)state;
	assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		assert_true(g_file_set_contents(path, texts[i], -1, NULL));
		ending.how = ENDING_EXIT;
		proc_ending(root, 42, 1, &ending);
		assert_int_equal(ending.how, ENDING_UNKNOWN);
	}
	g_free(path);
	g_free(dir);
	unit_rmdir(root);
}

int main(void)
{
	/* Whoever started the tests may ignore it, and children would. */
	signal(SIGHUP, SIG_DFL);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_that_nobody_has_waited_for_has_its_status),
		cmocka_unit_test(a_signal_is_told_from_a_status),
		cmocka_unit_test(a_child_that_was_waited_for_has_its_status_or_none),
		cmocka_unit_test(who_lives_on_is_detached),
		cmocka_unit_test(anothers_ending_is_not_taken_for_its_own),
		cmocka_unit_test(a_status_that_we_may_not_know_is_not_taken_for_0),
		cmocka_unit_test(nonsense_in_stat_is_unknown),
	};

	return RUN(tests);
}
