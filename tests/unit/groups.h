/* SPDX-License-Identifier: Apache-2.0 */
/* A /proc with one thread in it, for the groups that it is in. */
#ifndef TESTS_UNIT_GROUPS_H
#define TESTS_UNIT_GROUPS_H

#include "unit.h"
#include <sys/stat.h>

#define GROUPS_TID 78

/* Its directory, for unit_rmdir(). */
static inline char *proc_with_groups(const char *groups)
{
	char *root = unit_mkdir(), *dir = g_strdup_printf("%s/%d", root, GROUPS_TID);
	char *file = g_build_filename(dir, "status", NULL);
	char *text = g_strdup_printf("Name:\tx\nTgid:\t77\nGroups:\t%s\n", groups);

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_true(g_file_set_contents(file, text, -1, NULL));
	g_free(text);
	g_free(file);
	g_free(dir);
	return root;
}

#endif
