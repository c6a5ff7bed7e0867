/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of stat, of which some never come back: a FIFO that nobody writes to stands for those. */
#include "proc_stat.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY 32 /* that may hang */

static char *root;

static char *path_of(pid_t pid, const char *name)
{
	return g_strdup_printf("%s/%d/%s", root, (int)pid, name);
}

static void put(pid_t pid, const char *name, const char *text)
{
	unit_put_proc(root, pid, name, text);
}

static void put_hanging(pid_t pid)
{
	g_autofree char *dir = path_of(pid, ""), *path = path_of(pid, "stat");

	assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
}

/* Whoever hangs there gets this. */
static void let_go(pid_t pid, const char *text)
{
	g_autofree char *path = path_of(pid, "stat");
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_true(write(fd, text, strlen(text)) > 0);
	close(fd);
	unlink(path);
}

static int setup(void **state)
{
	(void)state;
	root = unit_mkdir();
	put(1, "stat", "1 (one)\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_rmdir(root);
	return 0;
}

static int ask(pid_t pid, char text[100])
{
	return proc_stat_read(root, pid, text, 100);
}

static void reads_what_is_there(void **state)
{
	char text[100];

	(void)state;
	assert_int_equal(ask(1, text), 8);
	assert_string_equal(text, "1 (one)\n");
	put(1, "statm", "700 80 60 5 0 90 0\n");
	assert_int_equal(ask(1, text), 8);
	put(1, "statm", "0 0 0 0 0 0 0\n"); /* a thread of the kernel, or a zombie */
	assert_int_equal(ask(1, text), 8);
	assert_int_equal(ask(2, text), -ENOENT);
}

static void our_own_as_the_kernel_has_it(void **state)
{
	char ours[100], start[40];

	(void)state;
	assert_true(proc_stat_read("/proc", getpid(), ours, sizeof ours) > 0);
	snprintf(start, sizeof start, "%d (proc_stat_unit)", getpid());
	assert_true(g_str_has_prefix(ours, start));
}

static void nobody_asks_in_the_middle_of_execve(void **state)
{
	char text[100];

	(void)state;
	put_hanging(3);
	put(3, "statm", "1 1 0 0 0 1 0\n");
	assert_int_equal(ask(3, text), -EBUSY);
}

/* Instead of GLib's: so that what is waited for comes after so many waits, however long they take.
 */
static unsigned int waits_left;

void g_usleep(gulong us)
{
	if (waits_left && !--waits_left)
		put(5, "statm", "700 80 60 5 0 90 0\n");
	usleep((useconds_t)us);
}

static void one_that_has_just_begun_is_waited_for(void **state)
{
	char text[100];

	(void)state;
	put(5, "stat", "5 (five)");
	put(5, "statm", "1 1 0 0 0 1 0\n");
	waits_left = 10;
	assert_int_equal(ask(5, text), 8);
	assert_int_equal(waits_left, 0);
}

static void wait_until_it_can_be_asked(pid_t pid)
{
	char text[100];

	while (ask(pid, text) == -EBUSY)
		g_usleep(1000);
}

static guint threads_now(void)
{
	GDir *tasks = g_dir_open("/proc/self/task", 0, NULL);
	guint count = 0;

	while (g_dir_read_name(tasks))
		count++;
	g_dir_close(tasks);
	return count;
}

static void one_that_hangs_is_left_behind_and_not_asked_again(void **state)
{
	char text[100];
	guint before;

	(void)state;
	put_hanging(4);
	assert_int_equal(ask(4, text), -EBUSY);
	assert_int_equal(ask(1, text), 8);
	before = threads_now();
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask(4, text), -EBUSY);
	assert_int_equal(ask(1, text), 8);
	assert_int_equal(threads_now(), before);
	let_go(4, "4 (late)");
	put(4, "stat", "4 (again)");
	wait_until_it_can_be_asked(4);
	assert_int_equal(ask(4, text), 9);
	assert_string_equal(text, "4 (again)");
}

static void *ask_in_a_thread(void *data)
{
	char text[100];

	return GINT_TO_POINTER(ask((pid_t)GPOINTER_TO_INT(data), text));
}

static void so_many_may_hang_and_others_are_answered_when_they_are_done(void **state)
{
	pthread_t threads[MANY];
	char text[100];
	void *result;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		put_hanging(100 + i);
		pthread_create(&threads[i], NULL, ask_in_a_thread, GINT_TO_POINTER(100 + i));
	}
	for (int i = 0; i < MANY; i++) {
		pthread_join(threads[i], &result);
		assert_int_equal(GPOINTER_TO_INT(result), -EBUSY);
	}
	assert_int_equal(ask(1, text), -EBUSY);
	let_go(100, "100 (late)");
	wait_until_it_can_be_asked(1);
	assert_int_equal(ask(1, text), 8);
	for (int i = 1; i < MANY; i++)
		let_go(100 + i, "late");
}

static void many_may_ask_at_a_time(void **state)
{
	pthread_t threads[MANY];
	void *result;

	(void)state;
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < MANY; i++)
			pthread_create(&threads[i], NULL, ask_in_a_thread, GINT_TO_POINTER(1));
		for (int i = 0; i < MANY; i++) {
			pthread_join(threads[i], &result);
			assert_int_equal(GPOINTER_TO_INT(result), 8);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_what_is_there),
		TEST(our_own_as_the_kernel_has_it),
		TEST(nobody_asks_in_the_middle_of_execve),
		TEST(one_that_has_just_begun_is_waited_for),
		TEST(one_that_hangs_is_left_behind_and_not_asked_again),
		TEST(many_may_ask_at_a_time),
		TEST(so_many_may_hang_and_others_are_answered_when_they_are_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
