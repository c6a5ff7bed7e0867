/* SPDX-License-Identifier: Apache-2.0 */
#include "watchers.h"
#include "numbers.h"
#include "proc_stat.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A line is "inotify wd:1 ino:2a sdev:34 mask:2 ..." or "fanotify ino:2a sdev:34 mflags:0 ...", all
 * hexadecimal. */
static void take_line(const char *line, uint32_t device, GHashTable *inodes)
{
	const char *inode = strstr(line, " ino:"), *where = strstr(line, " sdev:");

	if (!inode || !where || g_ascii_strtoull(where + 6, NULL, 16) != device)
		return;
	numbers_add(inodes, g_ascii_strtoull(inode + 5, NULL, 16));
}

static void take_info(int infos, const char *name, uint32_t device, GHashTable *inodes)
{
	int fd = openat(infos, name, O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char *line = NULL;
	size_t room = 0;

	if (!file) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (getline(&line, &room, file) > 0)
		if (g_str_has_prefix(line, "inotify ") || g_str_has_prefix(line, "fanotify "))
			take_line(line, device, inodes);
	free(line);
	fclose(file);
}

/* What a descriptor is shows its link; nothing is opened but the list of one that watches. */
static bool is_watcher(int links, const char *name)
{
	char target[32];
	ssize_t length = readlinkat(links, name, target, sizeof target - 1);

	if (length <= 0)
		return false;
	target[length] = 0;
	return !strcmp(target, "anon_inode:inotify") || !strcmp(target, "inotify") ||
	       !strcmp(target, "anon_inode:[fanotify]");
}

static DIR *open_dir(int proc, const char *pid, const char *below)
{
	char path[32];
	int fd;
	DIR *dir;

	g_snprintf(path, sizeof path, "%s/%s", pid, below);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

/* Root's mount is everybody's, so each process that cannot be looked at may watch. An ordinary
 * user's is his own alone, unless that is allowed, and then nobody counts on this; what he may not
 * look at although it is his (an ssh-agent, a process with capabilities) is taken not to watch, or
 * his daemon would never sleep. */
static bool may_watch(int error)
{
	return error != ENOENT && error != ESRCH && !geteuid();
}

static bool take_process(const char *path, int proc, const char *pid, uint32_t device,
			 GHashTable *inodes)
{
	DIR *links = open_dir(proc, pid, "fd"), *infos = NULL;
	struct dirent *entry;

	if (!links)
		return !may_watch(errno);
	if (proc_in_execve(path, (pid_t)atoi(pid))) { /* and may watch when it is through */
		closedir(links);
		return false;
	}
	while ((entry = readdir(links))) {
		if (!is_watcher(dirfd(links), entry->d_name))
			continue;
		if (!infos)
			infos = open_dir(proc, pid, "fdinfo");
		if (infos)
			take_info(dirfd(infos), entry->d_name, device, inodes);
	}
	if (infos)
		closedir(infos);
	closedir(links);
	return true;
}

bool watchers_find(const char *proc, uint32_t device, GHashTable *inodes)
{
	DIR *dir = opendir(proc);
	struct dirent *entry;
	bool complete = dir;

	while (dir && (entry = readdir(dir)))
		if (g_ascii_isdigit(*entry->d_name))
			complete &= take_process(proc, dirfd(dir), entry->d_name, device, inodes);
	if (dir)
		closedir(dir);
	return complete;
}
