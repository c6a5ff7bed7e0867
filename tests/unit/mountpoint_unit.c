/* SPDX-License-Identifier: Apache-2.0 */
/* What can be mounted on, and what is mounted there. Mounts are made in a namespace of their own,
 * which goes with the child that made them. */
#include "mountpoint.h"
#include "unit.h"
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SKIPPED 77

static char *dir;

static int setup(void **state)
{
	(void)state;
	dir = unit_mkdir();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unit_rmdir(dir);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void an_empty_directory_can_be_mounted_on(void **state)
{
	(void)state;
	assert_null(mountpoint_fault(dir));
	assert_null(mountpoint_type(dir));
	assert_int_equal(mountpoint_clear(dir), 0);
}

static void a_fault_says_what_to_do(void **state)
{
	char *missing = g_build_filename(dir, "missing", NULL);
	char *file = g_build_filename(dir, "file", NULL);

	(void)state;
	assert_non_null(strstr(mountpoint_fault(missing), "mkdir"));
	assert_true(g_file_set_contents(file, "", 0, NULL));
	assert_non_null(strstr(mountpoint_fault(file), "not a directory"));
	assert_non_null(strstr(mountpoint_fault(dir), "empty"));
	g_free(missing);
	g_free(file);
}

static void what_is_not_there_is_no_mount(void **state)
{
	char *missing = g_build_filename(dir, "missing", "deeper", NULL);

	(void)state;
	assert_null(mountpoint_type(missing));
	assert_int_equal(mountpoint_clear(missing), 0);
	g_free(missing);
}

static void a_mount_is_known_by_its_type_and_left_alone(void **state)
{
	char *type = mountpoint_type("/proc");

	(void)state;
	assert_string_equal(type, "proc");
	assert_int_equal(mountpoint_clear("/proc"), -EBUSY);
	g_free(type);
}

/* Returns what the child did, in a mount namespace of its own where it may have one. */
static int in_namespace(bool (*claim)(const char *path), const char *path)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
			_exit(SKIPPED);
		_exit(claim(path) ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool type_is(const char *path, const char *want)
{
	char *type = mountpoint_type(path);
	bool same = g_strcmp0(type, want) == 0;

	g_free(type);
	return same;
}

static bool finds_the_mount_on_top(const char *path)
{
	return mount("none", path, "tmpfs", 0, NULL) == 0 && type_is(path, "tmpfs") &&
	       mount("none", path, "ramfs", 0, NULL) == 0 && type_is(path, "ramfs") &&
	       umount2(path, MNT_DETACH) == 0 && type_is(path, "tmpfs") &&
	       umount2(path, MNT_DETACH) == 0 && type_is(path, NULL) && mountpoint_clear(path) == 0;
}

static void try_in_namespace(bool (*claim)(const char *path), const char *path)
{
	int result = in_namespace(claim, path);

	if (result == SKIPPED)
		skip();
	assert_int_equal(result, 0);
}

static void the_mount_on_top_counts(void **state)
{
	(void)state;
	try_in_namespace(finds_the_mount_on_top, dir);
}

static void names_that_the_table_escapes_are_found(void **state)
{
	static const char *const names[] = {"two words", "tab\tand\nnewline", "back\\slash",
					    "\\040",     "caf\xc3\xa9",       " - tmpfs x"};
	char *path;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		path = g_build_filename(dir, names[i], NULL);
		assert_int_equal(mkdir(path, 0700), 0);
		try_in_namespace(finds_the_mount_on_top, path);
		g_free(path);
	}
}

static bool finds_it_through_a_link(const char *path)
{
	return mount("none", path, "tmpfs", 0, NULL) == 0 && type_is(path, "tmpfs");
}

static void a_way_through_a_link_is_the_same_way(void **state)
{
	char *real = g_build_filename(dir, "real", NULL);
	char *link = g_build_filename(dir, "link", NULL);
	char *mnt = g_build_filename(real, "mnt", NULL);
	char *path = g_build_filename(link, "mnt", NULL);

	(void)state;
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(mkdir(mnt, 0700), 0);
	assert_int_equal(symlink("real", link), 0);
	try_in_namespace(finds_it_through_a_link, path);
	g_free(path);
	g_free(mnt);
	g_free(link);
	g_free(real);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_directory_can_be_mounted_on),
		TEST(a_fault_says_what_to_do),
		TEST(what_is_not_there_is_no_mount),
		TEST(a_mount_is_known_by_its_type_and_left_alone),
		TEST(the_mount_on_top_counts),
		TEST(names_that_the_table_escapes_are_found),
		TEST(a_way_through_a_link_is_the_same_way),
	};

	return RUN(tests);
}
