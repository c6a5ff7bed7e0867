/* SPDX-License-Identifier: Apache-2.0 */
#include "lockfile.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The last holder may have removed the file between our open and our lock. */
static bool is_still_there(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

int lockfile_take(struct lockfile *lock, const char *path)
{
	int error = 0;

	lock->path = g_strconcat(path, ".lock", NULL);
	for (;;) {
		lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (lock->fd < 0 || flock(lock->fd, LOCK_EX | LOCK_NB))
			error = -errno;
		if (error || is_still_there(lock->fd, lock->path))
			break;
		close(lock->fd);
	}
	if (!error)
		return 0;
	if (lock->fd >= 0)
		close(lock->fd);
	lock->fd = -1;
	g_free(lock->path);
	lock->path = NULL;
	return error;
}

void lockfile_drop(struct lockfile *lock)
{
	if (lock->fd < 0)
		return;
	unlink(lock->path);
	close(lock->fd);
	g_free(lock->path);
	lock->fd = -1;
}
