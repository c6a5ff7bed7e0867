/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doorbells: eventfds that clients write when their ledger was armed. They are the clients' own
 * descriptors, which can be written without end and made to block; so one is in the loop only from
 * the moment its ledger is armed until it has rung, and is read without waiting.
 */
#include "log.h"
#include "server.h"
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

/* The count says nothing. A kernel that cannot read an eventfd without waiting leaves it full,
 * which is as good: it is looked at again when it is armed, rings at once, and is polled in
 * effect. */
static void empty(int eventfd)
{
	uint64_t count;
	struct iovec part = {&count, sizeof count};

	if (preadv2(eventfd, &part, 1, -1, RWF_NOWAIT) < 0 && errno != EAGAIN)
		log_debug("a doorbell cannot be read: %s", g_strerror(errno));
}

static void on_ring(uv_poll_t *poll, int status, int events)
{
	struct peer *peer = poll->data;

	(void)status;
	(void)events;
	uv_poll_stop(poll);
	empty(peer->eventfd);
	peer->server->rings++;
	model_ring(peer->server->native->model, peer->ledger->process);
}

bool bell_listen(struct peer *peer)
{
	if (peer->eventfd < 0)
		return false;
	if (!peer->has_bell) {
		if (uv_poll_init(peer->server->loop, &peer->bell, peer->eventfd))
			return false;
		peer->bell.data = peer;
		peer->has_bell = true;
		peer->users++;
	}
	if (!uv_is_active((uv_handle_t *)&peer->bell))
		uv_poll_start(&peer->bell, UV_READABLE, on_ring);
	return true;
}
