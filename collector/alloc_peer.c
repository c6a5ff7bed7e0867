/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to the allocation server: who it is by the kernel's word, what it sends, what it
 * is answered. It may belong to a process that has others, too.
 */
#include "alloc_server.h"
#include "log.h"
#include "proc.h"
#include "thread_clock.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

#define READ_BYTES    16384
#define DUMP_AGAIN_NS 10000000000u /* anybody may ask for it */

static struct alloc_user *user_get(struct alloc_server *server, uid_t uid)
{
	struct alloc_user *user = g_hash_table_lookup(server->users, GUINT_TO_POINTER(uid));

	if (!user) {
		user = g_new0(struct alloc_user, 1);
		user->uid = uid;
		g_hash_table_insert(server->users, GUINT_TO_POINTER(uid), user);
	}
	return user;
}

static void user_put(struct alloc_server *server, struct alloc_user *user)
{
	if (!--user->peers)
		g_hash_table_remove(server->users, GUINT_TO_POINTER(user->uid));
}

/* Nobody more of this user, or in all; and nobody whom we cannot name. */
static const char *why_refused(const struct alloc_peer *peer)
{
	const struct alloc_server *server = peer->server;

	if (peer->pid <= 0)
		return "its process is not visible from here";
	if (server->peers.length > server->max_peers)
		return "there are too many connections";
	if (peer->user->peers > MIN(ALLOC_MAX_PEERS_PER_USER, server->max_peers / 4) &&
	    !model_trusts(server->alloc->model, peer->uid))
		return "its user has too many connections";
	return NULL;
}

/* What it wants to hear of: messages as long as its side is open, and room for answers when there
 * was none. */
static void interest_set(struct alloc_peer *peer, int operation)
{
	struct epoll_event event = {.data.ptr = peer};

	if (!peer->has_closed)
		event.events |= EPOLLIN;
	if (peer->is_blocked)
		event.events |= EPOLLOUT;
	epoll_ctl(peer->server->epoll, operation, peer->fd, &event);
}

/* The process that connected has ended and its number is free, or another's by now. Before
 * Linux 6.5 nobody can tell. */
static bool has_gone(int fd)
{
	socklen_t size = sizeof(int);
	int pidfd;
	bool gone;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size))
		return errno == ESRCH || errno == EINVAL;
	gone = syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) && errno == ESRCH;
	close(pidfd);
	return gone;
}

void alloc_peer_interest(struct alloc_peer *peer)
{
	interest_set(peer, EPOLL_CTL_MOD);
}

void alloc_peer_new(struct alloc_server *server, int fd)
{
	struct alloc_peer *peer = g_new0(struct alloc_peer, 1);
	struct ucred who = {0};
	socklen_t size = sizeof who;
	const char *fault;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
		who.pid = 0;
	peer->server = server;
	peer->fd = fd;
	peer->pid = who.pid;
	peer->uid = who.uid;
	peer->gid = who.gid;
	peer->user = user_get(server, who.uid);
	peer->user->peers++;
	alloc_stream_init(&peer->stream);
	g_queue_push_tail(&server->peers, peer);
	peer->link = server->peers.tail;
	fault = why_refused(peer);
	if (fault) {
		server->rejected++;
		alloc_server_complain(server, peer, fault);
		alloc_peer_end(peer);
		return;
	}
	if (proc_start_ticks(server->alloc->model->proc, peer->pid, &peer->start_ticks) ||
	    has_gone(fd))
		peer->start_ticks = 0;
	interest_set(peer, EPOLL_CTL_ADD);
	alloc_peer_read(peer, MAX(alloc_peer_pending(peer), 1));
}

static void leave_queues(struct alloc_peer *peer)
{
	struct alloc_server *server = peer->server;

	if (peer->waiting_link)
		g_queue_delete_link(&server->waiting, peer->waiting_link);
	if (peer->asking_link)
		g_queue_delete_link(&server->asking, peer->asking_link);
	peer->waiting_link = peer->asking_link = NULL;
}

static void process_let_go(struct alloc_peer *peer)
{
	struct alloc_process *process = peer->process;

	peer->process = NULL;
	if (process)
		alloc_process_put(peer->server->alloc, process);
}

void alloc_peer_end(struct alloc_peer *peer)
{
	struct alloc_server *server = peer->server;

	if (peer->has_ended)
		return;
	peer->has_ended = true;
	leave_queues(peer);
	g_queue_delete_link(&server->peers, peer->link);
	close(peer->fd);
	process_let_go(peer);
	if (peer->questions)
		g_array_free(peer->questions, TRUE);
	peer->questions = NULL;
	user_put(server, peer->user);
	g_queue_push_tail(&server->ended, peer);
}

/* --- what it sends -------------------------------------------------------------------------- */

static void dump(struct alloc_server *server)
{
	uint64_t now = uv_hrtime();

	if (server->dumped_ns && now - server->dumped_ns < DUMP_AGAIN_NS)
		return;
	server->dumped_ns = now;
	alloc_dump(server->alloc);
}

/* A process whose connection only asks holds nothing and is not shown. */
static bool find_process(struct alloc_peer *peer)
{
	if (peer->process)
		return true;
	if (peer->is_lost)
		return false;
	if (peer->start_ticks)
		peer->process = alloc_process_get(peer->server->alloc, peer->pid, peer->uid,
						  peer->gid, peer->start_ticks);
	peer->is_lost = !peer->process;
	return peer->process;
}

static void on_message(void *data, const struct alloc_message *message)
{
	struct alloc_peer *peer = data;
	struct alloc_server *server = peer->server;

	server->messages++;
	switch (message->type) {
	case ALLOC_QUERY:
	case ALLOC_DEVICE_INFO_QUERY:
		alloc_peer_ask(peer, message);
		break;
	case ALLOC_DUMP_REMAINING:
		dump(server);
		break;
	default:
		if (find_process(peer))
			alloc_records_event(&peer->process->records, message, server->now_ns);
		else
			server->lost_events++;
		break;
	}
}

/* After bytes, or the end of them. */
static void settle_up(struct alloc_peer *peer, uint64_t garbage_before)
{
	struct alloc_server *server = peer->server;
	uint64_t garbage = peer->stream.garbage_bytes - garbage_before;

	server->garbage_bytes += garbage;
	if (garbage && !peer->has_erred) {
		peer->has_erred = true;
		alloc_server_complain(server, peer, "it sent bytes that are no message");
	}
	if (peer->process) {
		alloc_process_settle(server->alloc, peer->process);
		server->alloc->source.last_update_ns = server->now_ns;
		model_ring(server->alloc->model, peer->process->process);
	}
}

/* Its user has had his part of this round. */
static bool has_had_enough(const struct alloc_peer *peer)
{
	struct alloc_user *user = peer->user;

	if (user->round != peer->server->round)
		user->spent_ns = 0;
	user->round = peer->server->round;
	return user->spent_ns > ALLOC_USER_NS &&
	       !model_trusts(peer->server->alloc->model, user->uid);
}

static void take(struct alloc_peer *peer, const uint8_t *bytes, size_t size)
{
	uint64_t garbage = peer->stream.garbage_bytes;
	uint64_t began = thread_clock_ns();

	peer->server->now_ns = peer->server->alloc->model->now_ns();
	peer->heard_ms = uv_now(peer->server->loop);
	alloc_stream_feed(&peer->stream, bytes, size, on_message, peer);
	settle_up(peer, garbage);
	alloc_server_await_settling(peer, alloc_stream_waits(&peer->stream));
	peer->user->spent_ns += thread_clock_ns() - began;
}

void alloc_peer_settle(struct alloc_peer *peer)
{
	uint64_t garbage = peer->stream.garbage_bytes;

	alloc_stream_settle(&peer->stream, on_message, peer);
	settle_up(peer, garbage);
}

/* It sends no more. What it asked is still answered, if it is there: if not, the next event says. A
 * reset, which comes when it leaves answers unread, is an end like any other. */
static void close_side(struct alloc_peer *peer)
{
	uint64_t garbage = peer->stream.garbage_bytes;

	if (peer->has_closed)
		return;
	peer->has_closed = true;
	alloc_stream_end(&peer->stream, on_message, peer);
	settle_up(peer, garbage);
	process_let_go(peer);
	if (alloc_peer_is_owed(peer))
		alloc_peer_interest(peer);
	else
		alloc_peer_end(peer);
}

size_t alloc_peer_pending(const struct alloc_peer *peer)
{
	int bytes;

	return ioctl(peer->fd, FIONREAD, &bytes) || bytes < 0 ? 0 : (size_t)bytes;
}

/* The room is the stack's: the end of another process can have its connections read meanwhile. */
static void read_on(struct alloc_peer *peer, size_t most, bool is_last)
{
	uint8_t bytes[READ_BYTES];
	ssize_t size;

	do {
		size = recv(peer->fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (size > 0) {
			take(peer, bytes, (size_t)size);
			most -= MIN(most, (size_t)size);
		}
	} while ((size > 0 || (size < 0 && errno == EINTR)) && most && !peer->has_ended &&
		 !peer->has_closed && (is_last || !has_had_enough(peer)));
	if (peer->has_ended)
		return;
	if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
		close_side(peer);
}

void alloc_peer_read(struct alloc_peer *peer, size_t most)
{
	if (!has_had_enough(peer))
		read_on(peer, most, false);
}

/* All that is there, whatever its user has had: there is no later, and the socket has no room for
 * much. What somebody else sends meanwhile, to whom it was handed on, is left. */
void alloc_peer_finish(struct alloc_peer *peer)
{
	read_on(peer, MAX(alloc_peer_pending(peer), 1), true);
	if (!peer->has_ended)
		close_side(peer);
	alloc_peer_end(peer);
}
