/* SPDX-License-Identifier: Apache-2.0 */
/* Who watches, by a tree of files that stands for /proc. */
#include "numbers.h"
#include "unit.h"
#include "watchers.h"
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE 0x34

static char *root;
static GHashTable *inodes;

static void put(pid_t pid, const char *name, const char *text)
{
	unit_put_proc(root, pid, name, text);
}

/* A process with one watch. */
static void put_watcher(pid_t pid, const char *statm, const char *info)
{
	g_autofree char *dir = g_strdup_printf("%s/%d/fd", root, (int)pid);
	g_autofree char *link = g_strdup_printf("%s/3", dir);

	put(pid, "statm", statm);
	put(pid, "fdinfo/3", info);
	assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
	assert_int_equal(symlink("anon_inode:inotify", link), 0);
}

static int setup(void **state)
{
	(void)state;
	root = unit_mkdir();
	inodes = numbers_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	g_hash_table_destroy(inodes);
	unit_rmdir(root);
	return 0;
}

static bool watched(uint64_t ino)
{
	return g_hash_table_contains(inodes, &ino);
}

static void watches_of_all_processes_are_found(void **state)
{
	(void)state;
	put_watcher(5, "700 80 60 5 0 90 0\n",
		    "pos:\t0\ninotify wd:1 ino:2a sdev:34 mask:2 ignored_mask:0 fhandle-bytes:8\n");
	put_watcher(
		6, "700 80 60 5 0 90 0\n",
		"fanotify ino:2b sdev:34 mflags:0 mask:2\ninotify wd:1 ino:2c sdev:35 mask:2\n");
	assert_true(watchers_find(root, DEVICE, inodes));
	assert_true(watched(0x2a));
	assert_true(watched(0x2b));
	assert_false(watched(0x2c)); /* elsewhere */
	assert_int_equal(g_hash_table_size(inodes), 2);
}

/* Whoever read its links would wait for it. */
static void one_in_the_middle_of_execve_is_left_out_and_may_watch(void **state)
{
	(void)state;
	put_watcher(5, "700 80 60 5 0 90 0\n", "inotify wd:1 ino:2a sdev:34 mask:2\n");
	put_watcher(6, "1 1 0 0 0 1 0\n", "inotify wd:1 ino:2b sdev:34 mask:2\n");
	assert_false(watchers_find(root, DEVICE, inodes));
	assert_true(watched(0x2a));
	assert_false(watched(0x2b));
	put(6, "statm", "700 80 60 5 0 90 0\n");
	assert_true(watchers_find(root, DEVICE, inodes));
	assert_true(watched(0x2b));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(watches_of_all_processes_are_found),
		TEST(one_in_the_middle_of_execve_is_left_out_and_may_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
