/* SPDX-License-Identifier: Apache-2.0 */
/* What unit tests share: cmocka, and directories that go when the test does. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN(tests) cmocka_run_group_tests(tests, NULL, NULL)

/* A new directory below /tmp; give it to unit_rmdir(). */
static inline char *unit_mkdir(void)
{
	char *path = g_strdup("/tmp/ttmem-unit-XXXXXX");

	assert_non_null(mkdtemp(path));
	return path;
}

static inline void unit_rmdir(char *path)
{
	const char *argv[] = {"rm", "-rf", "--", path, NULL};

	assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
				 NULL, NULL, NULL));
	g_free(path);
}

/* A file of a process, in a directory that stands for /proc. */
static inline void unit_put_proc(const char *proc, pid_t pid, const char *name, const char *text)
{
	char *path = g_strdup_printf("%s/%d/%s", proc, (int)pid, name);
	char *dir = g_path_get_dirname(path);

	assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
	assert_true(g_file_set_contents(path, text, -1, NULL));
	g_free(dir);
	g_free(path);
}

/* xorshift: the same numbers in each run. */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
