/* SPDX-License-Identifier: Apache-2.0 */
/* A lock that shows that another ttmemd lives: it goes with the process, whatever ends it. */
#ifndef LOCKFILE_H
#define LOCKFILE_H

struct lockfile {
	int fd; /* -1: not held */
	char *path;
};

/* Makes and locks PATH.lock. Returns 0, -EWOULDBLOCK when another process has it, or why not. */
int lockfile_take(struct lockfile *lock, const char *path);

/* Removes the file and lets go. Does nothing when the lock is not held. */
void lockfile_drop(struct lockfile *lock);

#endif
