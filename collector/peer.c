/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client: who it is by the kernel's word, its hello, its death.
 *
 * The end of the connection alone is not the end of the process: a host may close all descriptors
 * it does not know and live on, with its ledger still mapped. Death is the pidfd's event; a closed
 * connection makes us look whether the ledger is still mapped (look.c), which after an exec it is
 * not.
 */
#include "descriptor.h"
#include "ending.h"
#include "log.h"
#include "proc.h"
#include "server.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define HELLO_MAX 256
#define DESCRIPTORS_MAX                                                          \
	253 /* SCM_MAX_FD: with less room the kernel would close the rest itself \
	     */

void peer_unuse(struct peer *peer)
{
	if (--peer->users)
		return;
	descriptors_discard(&peer->fd, 1);
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	if (peer->eventfd >= 0)
		close(peer->eventfd);
	peer->user->peers--;
	g_free(peer);
}

static void on_closed(uv_handle_t *handle)
{
	peer_unuse(handle->data);
}

/* Lets go of everything the model has of this client; the memory goes when the loop is done. */
void peer_end(struct peer *peer)
{
	struct server *server = peer->server;

	if (peer->ended)
		return;
	peer->ended = true;
	server_silent_remove(peer);
	g_queue_delete_link(&server->all, peer->link);
	if (peer->ledger) {
		server->clients--;
		ending_note(server->native->model, peer->ledger->process, peer->pidfd);
		native_release(server->native, peer->ledger);
		peer->ledger = NULL;
	}
	if (peer->fd >= 0)
		uv_close((uv_handle_t *)&peer->poll, on_closed);
	if (peer->pidfd >= 0)
		uv_close((uv_handle_t *)&peer->life, on_closed);
	if (peer->has_bell)
		uv_close((uv_handle_t *)&peer->bell, on_closed);
	if (peer->errand)
		errand_cancel(peer->errand); /* others' maps may keep it waiting for ever */
	peer_unuse(peer);
}

static void peer_refuse(struct peer *peer, const char *reason)
{
	server_refuse(peer->server, peer->user, peer->pid, reason);
	peer_end(peer);
}

static void on_death(uv_poll_t *poll, int status, int events)
{
	struct peer *peer = poll->data;

	(void)status;
	(void)events;
	log_debug("process %d has ended", (int)peer->pid);
	if (peer->ledger)
		model_end(peer->server->native->model, peer->ledger->process);
	else
		peer_end(peer);
}

static void on_hangup(struct peer *peer)
{
	if (!peer->ledger) {
		peer_refuse(peer, "it said no hello");
		return;
	}
	uv_poll_stop(&peer->poll);
	peer->hung_up = true;
	peer_look(peer);
}

/* Returns the pidfd of the process that connected, or a negative errno if it is gone. Without
 * SO_PEERPIDFD the number could be another process's by now, if that one had started in between:
 * then the process is younger than the ledger's header says, which native_adopt() would not know,
 * but its innermost pid and the memory file's owner would still have to agree. */
static int pidfd_of(int fd, pid_t pid)
{
	socklen_t size = sizeof(int);
	int pidfd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0)
		return pidfd;
	if (errno != ENOPROTOOPT)
		return -errno;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

static bool has_ended(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) != 0;
}

/* What came with a hello. */
struct parcel {
	union {
		struct ttmem_hello hello;
		char room[HELLO_MAX]; /* for a newer minor's, of which we read the start */
	};
	ssize_t length;
	int flags;
	int fds[DESCRIPTORS_MAX];
	int count;
	struct ucred sender;
};

static void parcel_take(struct parcel *parcel, struct msghdr *message)
{
	struct cmsghdr *header;

	for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		size_t size = header->cmsg_len - CMSG_LEN(0);

		if (header->cmsg_level != SOL_SOCKET)
			continue;
		if (header->cmsg_type == SCM_CREDENTIALS && size == sizeof parcel->sender)
			memcpy(&parcel->sender, CMSG_DATA(header), size);
		if (header->cmsg_type == SCM_RIGHTS && size <= sizeof parcel->fds) {
			memcpy(parcel->fds, CMSG_DATA(header), size);
			parcel->count = (int)(size / sizeof(int));
		}
	}
}

static void parcel_receive(struct parcel *parcel, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX) +
			   CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = {parcel->room, sizeof parcel->room};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.space,
				 .msg_controllen = sizeof control.space};

	memset(parcel, 0, sizeof *parcel);
	do
		parcel->length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (parcel->length < 0 && errno == EINTR);
	if (parcel->length < 0)
		return;
	parcel->flags = message.msg_flags;
	parcel_take(parcel, &message);
}

static const char *parcel_fault(const struct parcel *parcel, const struct peer *peer)
{
	const struct ttmem_hello *hello = &parcel->hello;

	if (parcel->length < (ssize_t)sizeof *hello || parcel->flags & (MSG_TRUNC | MSG_CTRUNC) ||
	    memcmp(hello->magic, HELLO_MAGIC, sizeof hello->magic) || hello->size != parcel->length)
		return "its hello is not one";
	if (hello->major != LEDGER_MAJOR)
		return "it speaks another major version; upgrade the older side";
	if (parcel->sender.pid != peer->pid || parcel->sender.uid != peer->uid)
		return "its hello comes from another process than the connection";
	if (parcel->count < 1)
		return "its hello brings no memory file";
	if (parcel->count > 2)
		return "its hello brings too many descriptors";
	if (parcel->count == 2 && !descriptor_is_eventfd(parcel->fds[1]))
		return "its doorbell is not an eventfd";
	return NULL;
}

/* The pidfd comes before everything else is looked up by number: as long as it says that the
 * process lives, the number is its own. */
static bool watch_life(struct peer *peer, int pidfd)
{
	peer->pidfd = pidfd;
	if (peer->pidfd < 0)
		return false;
	if (uv_poll_init(peer->server->loop, &peer->life, peer->pidfd)) {
		close(peer->pidfd);
		peer->pidfd = -1;
		return false;
	}
	peer->life.data = peer;
	peer->users++;
	uv_poll_start(&peer->life, UV_READABLE, on_death);
	return true;
}

static void peer_is_here(struct peer *peer, int eventfd, int memory)
{
	peer->ledger->peer = peer;
	peer->ledger->memory = memory;
	peer->eventfd = eventfd;
	peer->server->clients++;
	log_debug("process %d of user %u is here", (int)peer->pid, peer->uid);
	if (has_ended(peer->pidfd))
		peer_end(peer);
	else
		model_ring(peer->server->native->model, peer->ledger->process);
}

static void peer_hello(struct peer *peer, struct parcel *parcel)
{
	struct server *server = peer->server;
	const char *why = parcel_fault(parcel, peer);

	if (!why && watch_life(peer, pidfd_of(peer->fd, peer->pid)))
		peer->ledger = native_adopt(server->native, parcel->fds[0], peer->pid, peer->uid,
					    peer->gid, &why);
	if (!peer->ledger) {
		descriptors_discard(parcel->fds, parcel->count);
		if (why && !(peer->pidfd >= 0 && has_ended(peer->pidfd)))
			peer_refuse(peer, why);
		else
			peer_end(peer);
		return;
	}
	server_silent_remove(peer);
	peer_is_here(peer, parcel->count == 2 ? parcel->fds[1] : -1, -1);
}

void peer_on_readable(struct peer *peer)
{
	struct parcel parcel;

	if (peer->ended)
		return;
	parcel_receive(&parcel, peer->fd);
	if (parcel.length < 0 && errno == EAGAIN)
		return;
	if (parcel.length <= 0 && !parcel.count) {
		on_hangup(peer);
	} else if (peer->ledger) {
		descriptors_discard(parcel.fds, parcel.count);
		peer_refuse(peer, "it goes on talking after its hello");
	} else {
		peer_hello(peer, &parcel);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	peer_on_readable(poll->data);
}

static const char *limit_reached(const struct server *server, const struct user *user)
{
	bool trusted = model_trusts(server->native->model, user->uid);

	if (server->all.length >= server->max_clients)
		return "there are too many clients";
	if (!trusted && user->peers >= SERVER_MAX_CLIENTS_PER_USER)
		return "its user has too many clients";
	if (user->silent >= SERVER_MAX_SILENT)
		return "its user has too many connections that say nothing";
	if (!trusted && descriptors_pending() >= SERVER_MAX_PENDING)
		return "too many descriptors from clients cannot be closed";
	return NULL;
}

static struct peer *peer_make(struct server *server, struct user *user, pid_t pid, gid_t gid)
{
	struct peer *peer = g_new0(struct peer, 1);

	peer->server = server;
	peer->user = user;
	peer->pid = pid;
	peer->uid = user->uid;
	peer->gid = gid;
	peer->fd = peer->pidfd = peer->eventfd = -1;
	peer->users = 1;
	user->peers++;
	g_queue_push_tail(&server->all, peer);
	peer->link = server->all.tail;
	return peer;
}

/* Takes over an accepted connection. */
void peer_new(struct server *server, int fd)
{
	const int on = 1;
	struct ucred creds = {0};
	socklen_t size = sizeof creds;
	const char *limit;
	struct user *user;
	struct peer *peer;

	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &size);
	user = server_user(server, creds.uid);
	limit = creds.pid <= 0 ? "its process is in a pid namespace that we do not see"
			       : limit_reached(server, user);
	if (limit) {
		server_refuse(server, user, creds.pid, limit);
		descriptors_discard(&fd, 1);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	peer = peer_make(server, user, creds.pid, creds.gid);
	peer->fd = fd;
	peer->since_ms = uv_now(server->loop);
	peer->users++;
	uv_poll_init(server->loop, &peer->poll, fd);
	peer->poll.data = peer;
	uv_poll_start(&peer->poll, UV_READABLE, on_readable);
	server_silent_add(peer);
	peer_on_readable(peer);
}

void peer_found(struct server *server, const struct finding *finding)
{
	struct user *user = server_user(server, finding->uid);
	const char *why = limit_reached(server, user);
	struct peer *peer;

	if (why) {
		server_refuse(server, user, finding->pid, why);
		close(finding->pidfd);
	} else {
		peer = peer_make(server, user, finding->pid, finding->gid);
		if (watch_life(peer, finding->pidfd))
			peer->ledger = native_adopt(server->native, finding->memfd, peer->pid,
						    peer->uid, peer->gid, &why);
		if (peer->ledger) {
			peer_is_here(peer, finding->eventfd, finding->memory);
			return;
		}
		peer_end(peer);
	}
	descriptors_discard((const int[]){finding->memfd, finding->eventfd, finding->memory}, 3);
}
