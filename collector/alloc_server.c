/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_server.h"
#include "log.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MOST   16384 /* of one connection, before it is another's turn */
#define ACCEPT_MOST 16
#define TURN_NS     1000000u /* of the loop's, before it is the mount's */
#define COMPLAIN_NS 10000000000u

void alloc_server_complain(struct alloc_server *server, const struct alloc_peer *peer,
			   const char *fault)
{
	uint64_t now = uv_hrtime();

	if (server->logged_ns && now - server->logged_ns < COMPLAIN_NS) {
		server->unlogged++;
		return;
	}
	if (server->unlogged)
		log_warning("%lu more faults of clients of %s", server->unlogged, server->path);
	log_warning("a client of %s, pid %d of user %u: %s", server->path, (int)peer->pid,
		    peer->uid, fault);
	server->logged_ns = now;
	server->unlogged = 0;
}

static void on_timer(uv_timer_t *timer);
static void on_answer(uv_idle_t *idle);

static void timer_need(struct alloc_server *server, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)&server->timer))
		uv_timer_start(&server->timer, on_timer, ms, 0);
}

void alloc_server_await_settling(struct alloc_peer *peer, bool waits)
{
	struct alloc_server *server = peer->server;

	if (peer->waiting_link)
		g_queue_delete_link(&server->waiting, peer->waiting_link);
	peer->waiting_link = NULL;
	if (!waits)
		return;
	g_queue_push_tail(&server->waiting, peer);
	peer->waiting_link = server->waiting.tail;
	timer_need(server, ALLOC_SETTLE_MS);
}

void alloc_server_await_answer(struct alloc_peer *peer)
{
	struct alloc_server *server = peer->server;

	if (!peer->asking_link) {
		g_queue_push_tail(&server->asking, peer);
		peer->asking_link = server->asking.tail;
	}
	uv_idle_start(&server->answer, on_answer);
}

/* --- looking at peers ------------------------------------------------------------------------ */

/* Until the last call that may have one in its hands returns, those that end are kept. */
static void look_begin(struct alloc_server *server)
{
	server->depth++;
}

static void look_end(struct alloc_server *server)
{
	struct alloc_peer *peer;

	if (--server->depth)
		return;
	while ((peer = g_queue_pop_head(&server->ended)))
		g_free(peer);
}

static void on_peer_event(struct alloc_peer *peer, uint32_t events, bool all)
{
	if (peer->has_ended)
		return;
	if (events & EPOLLOUT || (peer->has_closed && events & (EPOLLHUP | EPOLLERR))) {
		if (peer->has_closed && events & (EPOLLHUP | EPOLLERR))
			alloc_peer_end(peer); /* nobody is there to read answers */
		else
			alloc_server_await_answer(peer);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !peer->has_ended && !peer->has_closed)
		alloc_peer_read(peer, all ? MAX(alloc_peer_pending(peer), 1) : READ_MOST);
}

/* When it fails it is tried again after a while. */
static void listen_in(struct alloc_server *server, unsigned int most)
{
	alloc_listener_accept(server, most);
	if (server->paused)
		timer_need(server, ALLOC_RETRY_MS);
}

static bool is_first(struct alloc_server *server, void *of)
{
	uint64_t *round = of == server ? &server->accepted : &((struct alloc_peer *)of)->round;
	bool first = *round != server->round;

	*round = server->round;
	return first;
}

/* A round over all that have something. They are asked for one by one because epoll hands them out
 * in turn, also from one call to the next: whoever comes a second time has let all others pass, and
 * where time is short those who were left out are the next. */
static void look(struct alloc_server *server, bool all)
{
	uint64_t end = uv_hrtime() + TURN_NS;
	struct epoll_event event;

	look_begin(server);
	server->round++;
	while (epoll_wait(server->epoll, &event, 1, 0) > 0 && is_first(server, event.data.ptr)) {
		if (event.data.ptr == server)
			listen_in(server, all ? ALLOC_BACKLOG + 1 : ACCEPT_MOST);
		else
			on_peer_event(event.data.ptr, event.events, all);
		if (!all && uv_hrtime() >= end)
			break;
	}
	look_end(server);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	look(poll->data, false);
}

/* For a reader: all that has been sent by now, also by those who are not accepted yet. */
static void drain(void *data)
{
	look(data, true);
}

static bool is_of(const struct alloc_peer *peer, const struct process *process)
{
	return peer->pid == process->pid && peer->start_ticks == process->start_ticks;
}

/* Its last words count: what it freed just before its end is not a leak. */
static void end_process(struct alloc_process *process, void *data)
{
	struct alloc_server *server = data;
	GList *link, *next;

	look_begin(server);
	process->connections++; /* so that it is there until all are ended */
	for (link = server->peers.head; link; link = next) {
		struct alloc_peer *peer = link->data;

		next = link->next;
		if (is_of(peer, process->process))
			alloc_peer_finish(peer);
	}
	alloc_process_put(server->alloc, process);
	look_end(server);
}

/* --- later ---------------------------------------------------------------------------------- */

static void settle_silent(struct alloc_server *server)
{
	struct alloc_peer *peer;
	uint64_t now = uv_now(server->loop);

	while ((peer = g_queue_peek_head(&server->waiting))) {
		if (now - peer->heard_ms < ALLOC_SETTLE_MS) {
			timer_need(server, ALLOC_SETTLE_MS - (now - peer->heard_ms));
			return;
		}
		g_queue_delete_link(&server->waiting, peer->waiting_link);
		peer->waiting_link = NULL;
		if (alloc_stream_waits(&peer->stream))
			alloc_peer_settle(peer);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct alloc_server *server = timer->data;

	look_begin(server);
	settle_silent(server);
	if (server->paused)
		listen_in(server, ACCEPT_MOST);
	look_end(server);
}

/* In turn, a few of each, and what takes long goes on in the next turn. What was asked in a turn is
 * answered from one moment, or a later one. */
static void on_answer(uv_idle_t *idle)
{
	struct alloc_server *server = idle->data;
	uint64_t end;

	look_begin(server);
	model_sync(server->alloc->model, NULL);
	end = uv_hrtime() + TURN_NS;
	for (guint left = server->asking.length; left; left--) {
		struct alloc_peer *peer = g_queue_pop_head(&server->asking);

		if (!peer)
			break;
		peer->asking_link = NULL;
		alloc_peer_answer(peer);
		if (uv_hrtime() >= end)
			break;
	}
	if (g_queue_is_empty(&server->asking))
		uv_idle_stop(idle);
	look_end(server);
}

/* --- beginning and end ---------------------------------------------------------------------- */

static int epoll_of(int fd, void *data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	return epoll;
}

static void note_file(struct alloc_server *server)
{
	struct stat st = {0};

	if (lstat(server->path, &st) == 0) {
		server->device = st.st_dev;
		server->inode = st.st_ino;
	}
}

/* Another server may have come in our place. */
static void remove_file(const struct alloc_server *server)
{
	struct stat st;

	if (lstat(server->path, &st) == 0 && st.st_dev == server->device &&
	    st.st_ino == server->inode)
		unlink(server->path);
}

int alloc_server_init(struct alloc_server *server, uv_loop_t *loop, struct alloc *alloc,
		      const char *path)
{
	int error;

	*server = (struct alloc_server){
		.loop = loop, .alloc = alloc, .fd = alloc_listener_open(path)};
	if (server->fd < 0)
		return server->fd;
	server->path = g_strdup(path);
	server->max_peers = alloc_listener_peers_possible();
	note_file(server);
	server->epoll = epoll_of(server->fd, server);
	error = server->epoll < 0 ? server->epoll
				  : uv_poll_init(loop, &server->poll, server->epoll);
	if (error) {
		remove_file(server);
		close(server->fd);
		server->fd = -1;
		return error;
	}
	server->users = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_queue_init(&server->peers);
	g_queue_init(&server->waiting);
	g_queue_init(&server->asking);
	g_queue_init(&server->ended);
	uv_timer_init(loop, &server->timer);
	uv_idle_init(loop, &server->answer);
	server->poll.data = server->timer.data = server->answer.data = server;
	uv_poll_start(&server->poll, UV_READABLE, on_readable);
	alloc->server = server;
	alloc->drain = drain;
	alloc->end = end_process;
	alloc->source.state = SOURCE_UP;
	*alloc->source.detail = 0;
	return 0;
}

void alloc_server_close(struct alloc_server *server)
{
	if (!server->path || server->fd < 0)
		return;
	look_begin(server);
	while (!g_queue_is_empty(&server->peers))
		alloc_peer_end(g_queue_peek_head(&server->peers));
	look_end(server);
	server->alloc->drain = NULL;
	server->alloc->source.state = SOURCE_DOWN;
	remove_file(server);
	uv_close((uv_handle_t *)&server->poll, NULL);
	uv_close((uv_handle_t *)&server->timer, NULL);
	uv_close((uv_handle_t *)&server->answer, NULL);
	close(server->epoll);
	close(server->fd);
	server->fd = -1;
}

void alloc_server_fini(struct alloc_server *server)
{
	if (server->users)
		g_hash_table_destroy(server->users);
	g_free(server->path);
}
