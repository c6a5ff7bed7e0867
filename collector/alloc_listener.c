/* SPDX-License-Identifier: Apache-2.0 */
/* Where connections to the allocation server come in. */
#include "alloc_server.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Whoever runs a model may report: the socket is for all, as the older server's was. */
int alloc_listener_open(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || chmod(path, 0666) ||
	    listen(fd, ALLOC_BACKLOG)) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* One takes a descriptor, its process another. Most are for clients with ledgers, and for files. */
unsigned int alloc_listener_peers_possible(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return ALLOC_MAX_PEERS;
	return (unsigned int)MIN(limit.rlim_cur / 8, ALLOC_MAX_PEERS);
}

/* A listener that always fails would keep the loop busy. */
static void listening(struct alloc_server *server, bool on)
{
	struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = server};

	server->paused = !on;
	server->paused_ms = uv_now(server->loop);
	epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->fd, &event);
}

static void accept_failed(struct alloc_server *server, int error)
{
	struct source *source = &server->alloc->source;

	if (source->state != SOURCE_ERROR) {
		source->state = SOURCE_ERROR;
		g_snprintf(source->detail, sizeof source->detail, "cannot accept connections: %s",
			   g_strerror(error));
		log_warning("%s: %s", server->path, source->detail);
	}
	listening(server, false);
}

static void accept_works(struct alloc_server *server)
{
	server->alloc->source.state = SOURCE_UP;
	*server->alloc->source.detail = 0;
}

/* To find out who it is takes a descriptor more than to let him in. Without it he would be taken
 * for one who had ended before he was met, and never be heard. */
static int accept_one(const struct alloc_server *server)
{
	int spare = fcntl(server->fd, F_DUPFD_CLOEXEC, 0);
	int fd, error;

	if (spare < 0)
		return -1;
	fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	error = errno;
	close(spare);
	errno = error;
	return fd;
}

/* Those who wait now; who comes meanwhile waits for the next time. */
void alloc_listener_accept(struct alloc_server *server, unsigned int most)
{
	if (server->paused && uv_now(server->loop) - server->paused_ms < ALLOC_RETRY_MS)
		return;
	if (server->paused)
		listening(server, true);
	for (; most; most--) {
		int fd = accept_one(server);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN)
			accept_failed(server, errno);
		else
			accept_works(server);
		if (fd < 0)
			break;
		alloc_peer_new(server, fd);
	}
}
