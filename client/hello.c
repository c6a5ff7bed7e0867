/* SPDX-License-Identifier: Apache-2.0 */
/* The one message to the collector. No collector is no error: one that starts later will look. */
#include "internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/ttmemd/ttmemd.sock"

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	int fd;

	if (!length || length >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, length);
	fd = ttmem__above_stdio(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Who listens there gets to write to the ledger. Below /run only root can make a socket; a place
 * that the environment names may be a stranger's, in whose environment root runs us with sudo -E.
 */
static int connect_to_own(const char *path)
{
	int fd = connect_to(path);
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (fd < 0 || (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
		       (peer.uid == 0 || peer.uid == geteuid())))
		return fd;
	close(fd);
	return -1;
}

/* $XDG_RUNTIME_DIR/ttmemd/ttmemd.sock is where an ordinary user's own collector listens. */
static int connect_to_any(void)
{
	const char *named = secure_getenv("TTMEM_SOCKET");
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	char path[sizeof((struct sockaddr_un *)0)->sun_path + 1];
	int fd;

	if (named && *named)
		return connect_to_own(named);
	fd = connect_to(SYSTEM_SOCKET);
	if (fd >= 0 || !runtime || *runtime != '/')
		return fd;
	if (snprintf(path, sizeof path, "%s/ttmemd/ttmemd.sock", runtime) >= (int)sizeof path)
		return -1;
	return connect_to_own(path);
}

/* Returns the connection, which stays open so that the collector sees an exec, or -1. */
int ttmem__hello(const struct client *client)
{
	struct ttmem_hello hello = {
		.major = LEDGER_MAJOR, .minor = LEDGER_MINOR, .size = sizeof hello};
	int fds[2] = {client->memfd, client->eventfd};
	size_t fds_size = (client->eventfd < 0 ? 1 : 2) * sizeof(int);
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof fds)];
	} control = {0};
	struct iovec part = {&hello, sizeof hello};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.space,
				 .msg_controllen = CMSG_SPACE(fds_size)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	const int on = 1;
	int fd = connect_to_any();

	if (fd < 0)
		return -1;
	/* So that the kernel adds our credentials, whether we have been accepted yet or not. */
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	memcpy(hello.magic, HELLO_MAGIC, sizeof hello.magic);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(fds_size);
	memcpy(CMSG_DATA(header), fds, fds_size);
	if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof hello) {
		close(fd);
		return -1;
	}
	return fd;
}
