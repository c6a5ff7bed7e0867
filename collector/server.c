/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"
#include "log.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG       1024
#define LOG_PERIOD_NS 10000000000ull
#define LOG_LINES     4 /* about one user in that time */
#define RETRY_MS      1000

struct user *server_user(struct server *server, uid_t uid)
{
	struct user *user = g_hash_table_lookup(server->users, GUINT_TO_POINTER(uid));

	if (!user) {
		user = g_new0(struct user, 1);
		user->uid = uid;
		g_hash_table_insert(server->users, GUINT_TO_POINTER(uid), user);
	}
	return user;
}

void server_refuse(struct server *server, struct user *user, pid_t pid, const char *reason)
{
	uint64_t now = uv_hrtime();

	server->rejected++;
	if (now - user->log_began_ns >= LOG_PERIOD_NS) {
		user->log_began_ns = now;
		user->logged = 0;
	}
	if (user->logged == LOG_LINES || (user->logged && user->last_reason == reason)) {
		user->unlogged++;
		return;
	}
	if (user->unlogged)
		log_warning("refused %lu more clients of user %u", user->unlogged, user->uid);
	log_warning("refused a client of user %u, pid %d: %s", user->uid, (int)pid, reason);
	user->last_reason = reason;
	user->logged++;
	user->unlogged = 0;
}

static void listening(struct server *server, bool on);

/* Silent connections end after a while; a listener that was paused starts again. */
static void on_timer(uv_timer_t *timer)
{
	struct server *server = timer->data;
	struct peer *peer;

	if (server->paused)
		listening(server, true);
	while ((peer = g_queue_peek_head(&server->silent)) &&
	       uv_now(server->loop) - peer->since_ms >= SERVER_HELLO_TIMEOUT_MS) {
		server_refuse(server, peer->user, peer->pid, "it said no hello");
		peer_end(peer);
	}
	if (!server->paused && g_queue_is_empty(&server->silent))
		uv_timer_stop(timer);
}

static void timer_need(struct server *server)
{
	if (!uv_is_active((uv_handle_t *)&server->timer))
		uv_timer_start(&server->timer, on_timer, RETRY_MS, RETRY_MS);
}

void server_silent_add(struct peer *peer)
{
	struct server *server = peer->server;

	g_queue_push_tail(&server->silent, peer);
	peer->silent_link = server->silent.tail;
	peer->user->silent++;
	timer_need(server);
}

void server_silent_remove(struct peer *peer)
{
	if (!peer->silent_link)
		return;
	g_queue_delete_link(&peer->server->silent, peer->silent_link);
	peer->silent_link = NULL;
	peer->user->silent--;
}

/* Asked before every read, so it must cost little: accept() makes a socket before it finds that
 * nobody is there. */
static bool somebody_waits(const struct server *server)
{
	struct pollfd poll_fd = {.fd = server->fd, .events = POLLIN};

	return !server->paused && poll(&poll_fd, 1, 0) > 0;
}

/* Takes in those who wait now; who comes meanwhile waits for the next time, or a crowd could keep
 * us here. A peer that was just accepted usually has said hello already, so silent ones are few. */
void server_drain(struct server *server)
{
	GList *link, *next;
	unsigned int accepted = 0;

	while (accepted <= BACKLOG && somebody_waits(server)) {
		int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			server->failing = false;
			peer_new(server, fd);
			accepted++;
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) {
			if (!server->failing)
				log_warning("cannot accept clients: %s; trying every second",
					    g_strerror(errno));
			server->failing = true;
			listening(server, false);
		}
		break;
	}
	/* The queue was full, so somebody may not have got in. */
	if (accepted >= BACKLOG)
		server_scan(server);
	for (link = server->silent.head; link; link = next) {
		next = link->next;
		peer_on_readable(link->data);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	server_drain(poll->data);
}

static void listening(struct server *server, bool on)
{
	server->paused = !on;
	if (on) {
		uv_poll_start(&server->poll, UV_READABLE, on_readable);
	} else {
		uv_poll_stop(&server->poll);
		timer_need(server);
	}
}

/* A client takes five descriptors; some are kept for files and for those who are refused. */
static unsigned int clients_possible(void)
{
	struct rlimit limit;
	rlim_t possible;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return SERVER_MAX_CLIENTS;
	possible = limit.rlim_cur > 512 ? (limit.rlim_cur - 256) / 5 : limit.rlim_cur / 8;
	return possible < SERVER_MAX_CLIENTS ? (unsigned int)possible : SERVER_MAX_CLIENTS;
}

/* SO_PASSCRED comes before listen(): what a client sends before it is accepted must have its
 * credentials too. Connections inherit it; the client sets it on its own side as well, for kernels
 * where they do not. */
static int listen_at(const char *path)
{
	const int on = 1;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof address) || chmod(path, 0666) ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) || listen(fd, BACKLOG)) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static void before_sync(void *data)
{
	server_drain(data);
}

static void end_peer(void *data)
{
	peer_end(data);
}

static void look_at(void *data)
{
	peer_look(data);
}

static bool listen_for_bell(void *peer)
{
	return bell_listen(peer);
}

int server_init(struct server *server, uv_loop_t *loop, struct native *native, const char *path,
		bool is_default)
{
	memset(server, 0, sizeof *server);
	server->fd = listen_at(path);
	if (server->fd < 0)
		return server->fd;
	server->loop = loop;
	server->native = native;
	server->path = g_strdup(path);
	server->users = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	server->faulty = g_hash_table_new(NULL, NULL);
	server->walkers = g_ptr_array_new();
	g_queue_init(&server->silent);
	g_queue_init(&server->all);
	uv_poll_init(loop, &server->poll, server->fd);
	uv_timer_init(loop, &server->timer);
	server->poll.data = server;
	server->timer.data = server;
	uv_poll_start(&server->poll, UV_READABLE, on_readable);
	native->before_sync = before_sync;
	native->before_sync_data = server;
	native->end_peer = end_peer;
	native->look = look_at;
	native->listen = listen_for_bell;
	native->source.state = SOURCE_UP;
	errands_init(&server->errands, loop);
	server->is_default = is_default;
	server->max_clients = clients_possible();
	server_scan(server);
	return 0;
}

void server_close(struct server *server)
{
	server->native->before_sync = NULL;
	server->native->source.state = SOURCE_DOWN;
	server->closed = true;
	unlink(server->path);
	while (!g_queue_is_empty(&server->all))
		peer_end(g_queue_peek_head(&server->all));
	errands_close(&server->errands);
	uv_close((uv_handle_t *)&server->poll, NULL);
	uv_close((uv_handle_t *)&server->timer, NULL);
	close(server->fd);
}

void server_fini(struct server *server)
{
	if (server->users)
		g_hash_table_destroy(server->users);
	if (server->faulty)
		g_hash_table_destroy(server->faulty);
	if (server->walkers)
		g_ptr_array_free(server->walkers, TRUE);
	g_free(server->path);
}
