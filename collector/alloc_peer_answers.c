/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection to the allocation server is answered. */
#include "alloc_server.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define AT_ONCE 64 /* answers, before it is another's turn */

bool alloc_peer_is_owed(const struct alloc_peer *peer)
{
	return peer->unsent || (peer->questions && peer->questions->len);
}

void alloc_peer_ask(struct alloc_peer *peer, const struct alloc_message *message)
{
	struct alloc_question question = {message->type, message->device, message->form};

	if (!peer->questions)
		peer->questions = g_array_new(FALSE, FALSE, sizeof question);
	if (peer->is_deaf || peer->questions->len >= ALLOC_MAX_QUESTIONS) {
		peer->server->lost_answers++;
		return;
	}
	g_array_append_val(peer->questions, question);
	if (!peer->is_blocked)
		alloc_server_await_answer(peer);
}

static void block(struct alloc_peer *peer, bool is_blocked)
{
	if (peer->is_blocked == is_blocked)
		return;
	peer->is_blocked = is_blocked;
	alloc_peer_interest(peer);
}

/* It takes no answers any more, or has gone. What it tells, or told before it went, counts. */
static void deafen(struct alloc_peer *peer)
{
	peer->is_deaf = true;
	peer->server->lost_answers += peer->questions->len - peer->answered;
	peer->answered = peer->questions->len;
}

/* Returns whether it is sent to the last byte; if there is no room, what is left of it waits. */
static bool send_some(struct alloc_peer *peer, const uint8_t *bytes, unsigned int size)
{
	ssize_t sent = send(peer->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		deafen(peer);
		return true;
	}
	sent = MAX(sent, 0);
	if ((unsigned int)sent == size)
		return true;
	if (sent || bytes == peer->rest) {
		peer->unsent = size - (unsigned int)sent;
		memmove(peer->rest, bytes + sent, peer->unsent);
	}
	block(peer, true);
	return false;
}

static bool send_rest(struct alloc_peer *peer)
{
	unsigned int unsent = peer->unsent;

	peer->unsent = 0;
	return !unsent || send_some(peer, peer->rest, unsent);
}

/* An answer of which a part was sent is answered. */
static bool answer_one(struct alloc_peer *peer)
{
	const struct alloc_question *question =
		&g_array_index(peer->questions, struct alloc_question, peer->answered);
	uint8_t answer[ALLOC_FORM_MAX];
	bool is_sent;

	alloc_answer(peer->server->alloc->model, question, answer);
	is_sent = send_some(peer, answer, question->form);
	if (!peer->is_deaf && (is_sent || peer->unsent))
		peer->answered++;
	return is_sent;
}

void alloc_peer_answer(struct alloc_peer *peer)
{
	bool goes_on = send_rest(peer);

	while (goes_on && peer->answered < MIN(peer->questions->len, AT_ONCE))
		goes_on = answer_one(peer);
	g_array_remove_range(peer->questions, 0, peer->answered);
	peer->answered = 0;
	if (!goes_on)
		return;
	block(peer, false);
	if (peer->questions->len)
		alloc_server_await_answer(peer);
	else if (peer->has_closed)
		alloc_peer_end(peer);
}
