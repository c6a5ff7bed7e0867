/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptors of this process, by what they lead to. */
#ifndef TESTS_UNIT_FDS_H
#define TESTS_UNIT_FDS_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FDS_LOOKED_AT 4096

/* A descriptor whose link begins with `what`, at or above `from`; -1: none. */
static inline int fd_of(const char *what, int from)
{
	char path[64], link[64];

	for (int fd = from; fd < FDS_LOOKED_AT; fd++) {
		ssize_t length;

		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		length = readlink(path, link, sizeof link - 1);
		if (length < 0)
			continue;
		link[length] = 0;
		if (strncmp(link, what, strlen(what)) == 0)
			return fd;
	}
	return -1;
}

static inline int fds_of(const char *what)
{
	int count = 0;

	for (int fd = -1; (fd = fd_of(what, fd + 1)) >= 0;)
		count++;
	return count;
}

#endif
