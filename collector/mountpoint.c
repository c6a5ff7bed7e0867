/* SPDX-License-Identifier: Apache-2.0 */
#include "mountpoint.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUR_TYPE  "fuse.ttmem"
#define STACK_MAX 16 /* dead mounts on top of each other */

/* The directory above is resolved, not the path itself: a stat of a dead mount fails or hangs. */
static char *resolved(const char *path)
{
	char *parent = g_path_get_dirname(path), *name = g_path_get_basename(path);
	char *real = realpath(parent, NULL);
	char *result = real ? g_build_filename(real, name, NULL) : NULL;

	free(real);
	g_free(parent);
	g_free(name);
	return result;
}

/* "36 35 98:0 /root /mnt opts shared:1 - ext4 /dev/sda opts", spaces in paths as \040. */
static bool parse_line(char *line, const char *want, char **type)
{
	char **fields = g_strsplit(line, " ", -1);
	guint count = g_strv_length(fields), dash = 6;
	char *path = count > 4 ? g_strcompress(fields[4]) : NULL;
	bool match = path && !strcmp(path, want);

	while (dash < count && strcmp(fields[dash], "-"))
		dash++;
	if (match && dash + 1 < count) {
		g_free(*type);
		*type = g_strdup(fields[dash + 1]);
	}
	g_free(path);
	g_strfreev(fields);
	return match;
}

char *mountpoint_type(const char *path)
{
	char *want = resolved(path), *type = NULL, *line = NULL;
	FILE *table = want ? fopen("/proc/self/mountinfo", "re") : NULL;
	size_t size = 0;

	/* The last line for a path is the mount on top. */
	while (table && getline(&line, &size, table) > 0)
		parse_line(line, want, &type);
	if (table)
		fclose(table);
	free(line);
	g_free(want);
	return type;
}

static int unmount_as_user(const char *path)
{
	const char *argv[] = {"fusermount3", "-u", "-z", "--", path, NULL};
	int status = 0;

	if (!g_spawn_sync(NULL, (char **)argv, NULL,
			  G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
				  G_SPAWN_STDERR_TO_DEV_NULL,
			  NULL, NULL, NULL, NULL, &status, NULL))
		return -ENOENT;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int unmount_dead(const char *path)
{
	if (geteuid())
		return unmount_as_user(path);
	return umount2(path, MNT_FORCE | MNT_DETACH) ? -errno : 0;
}

int mountpoint_clear(const char *path)
{
	int error = 0;

	for (int i = 0; i < STACK_MAX && !error; i++) {
		char *type = mountpoint_type(path);

		if (!type)
			return 0;
		error = strcmp(type, OUR_TYPE) ? -EBUSY : unmount_dead(path);
		g_free(type);
	}
	return error;
}

static bool is_empty(DIR *dir)
{
	struct dirent *entry;

	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			return false;
	return true;
}

const char *mountpoint_fault(const char *path)
{
	DIR *dir = opendir(path);
	bool empty;

	if (!dir && errno == ENOENT)
		return "does not exist: make it with mkdir";
	if (!dir && errno == ENOTDIR)
		return "is not a directory: give an empty directory";
	if (!dir)
		return "cannot be read: give the user of ttmemd the right to, or another directory";
	empty = is_empty(dir);
	closedir(dir);
	if (!empty)
		return "is not empty: give an empty directory";
	if (access(path, W_OK))
		return "is not writable for this user, which fusermount3 asks for: give another";
	return NULL;
}

const char *mountpoint_fuse_fault(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char *helper;

	if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
		return "there is no FUSE here (/dev/fuse): try `modprobe fuse`, or, in a "
		       "container, "
		       "give it the device";
	if (fd < 0)
		return "/dev/fuse cannot be opened: it must be readable and writable for this user";
	close(fd);
	if (geteuid() == 0)
		return NULL;
	helper = g_find_program_in_path("fusermount3");
	if (!helper)
		return "fusermount3 is missing: install the package fuse3";
	g_free(helper);
	return NULL;
}
