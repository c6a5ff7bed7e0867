/* SPDX-License-Identifier: Apache-2.0 */
/* The collector's end of a connection, in the test itself. */
#ifndef TESTS_UNIT_LISTENER_H
#define TESTS_UNIT_LISTENER_H

#include "own_ledger.h"
#include <sys/socket.h>
#include <sys/un.h>

static char runtime[64], directory[80], path[100];

/* A collector's socket, in a runtime directory of its own; TTMEM_SOCKET names it. */
static inline int listener(int type, int backlog)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(runtime, P_tmpdir "/ttmem-unit-XXXXXX");
	assert_non_null(mkdtemp(runtime));
	snprintf(directory, sizeof directory, "%s/ttmemd", runtime);
	snprintf(path, sizeof path, "%s/ttmemd.sock", directory);
	assert_int_equal(mkdir(directory, 0700), 0);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, backlog), 0);
	setenv("TTMEM_SOCKET", path, 1);
	return fd;
}

static inline void listener_remove(void)
{
	unlink(path);
	rmdir(directory);
	rmdir(runtime);
}

/* Starts beside the listener, and takes the connection. */
static inline int start_and_accept(int listening)
{
	const int on = 1;
	int fd;

	assert_int_equal(ttmem_start(), 0);
	listener_remove();
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
	return fd;
}

struct heard {
	struct ttmem_hello hello;
	ssize_t length;
	int fds[4], count;
	struct ucred credentials;
	int flags;
};

static inline void hear(int fd, struct heard *heard)
{
	union {
		struct cmsghdr align;
		char space[256];
	} control;
	struct iovec part = {&heard->hello, sizeof heard->hello};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof control};

	memset(heard, 0, sizeof *heard);
	heard->length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	heard->flags = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	if (heard->length < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_type == SCM_RIGHTS) {
			heard->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(heard->fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&heard->credentials, CMSG_DATA(c), sizeof heard->credentials);
		}
	}
}

static inline void assert_same_file(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x), 0);
	assert_int_equal(fstat(b, &y), 0);
	assert_true(x.st_ino == y.st_ino && x.st_dev == y.st_dev);
}

#endif
