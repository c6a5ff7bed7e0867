/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of the older allocation server. Events are taken in as they come, because a sender
 * waits when its socket is full: some hundred messages. One thread, in the loop.
 *
 * All its sockets are in one epoll set, so that whoever reads a file can take in what has been sent
 * with one call when nothing has been.
 */
#ifndef ALLOC_SERVER_H
#define ALLOC_SERVER_H

#include "alloc.h"
#include "alloc_answer.h"
#include <uv.h>

#define ALLOC_MAX_PEERS          1024
#define ALLOC_MAX_PEERS_PER_USER 128 /* of a user who is neither root nor the daemon's own */
#define ALLOC_BACKLOG            128
#define ALLOC_RETRY_MS           500  /* after accept() has failed */
#define ALLOC_MAX_QUESTIONS      4096 /* of one connection that are not answered yet */

/* What a round may take for a user who is neither root nor the daemon's own. Honest events that
 * fill all his sockets take less; a reader does not wait for what takes more, which is read later.
 */
#define ALLOC_USER_NS 10000000u

/* Nothing more has come for so long: then a question that is the first message of its connection is
 * taken to be as long as what is there. */
#define ALLOC_SETTLE_MS 20

struct alloc_server {
	uv_loop_t *loop;
	struct alloc *alloc;
	char *path;
	int fd;       /* listens; -1: none of this was asked for */
	int epoll;    /* of `fd` and all peers */
	dev_t device; /* of the socket file, which is removed if it is still ours */
	ino_t inode;
	uv_poll_t poll;     /* of `epoll` */
	uv_timer_t timer;   /* runs only while a peer waits to be settled, or accept() has failed */
	uv_idle_t answer;   /* runs only while there are questions that can be answered */
	GHashTable *users;  /* uid -> struct alloc_user */
	GQueue peers;       /* struct alloc_peer */
	GQueue waiting;     /* struct alloc_peer: holds back a question, longest silence first */
	GQueue asking;      /* struct alloc_peer: has asked, and can be answered */
	GQueue ended;       /* struct alloc_peer: to be freed when nobody looks at it any more */
	unsigned int depth; /* how many calls look at peers */
	uint64_t round;     /* counts the looks at all that have something... */
	uint64_t accepted;  /* ...and in which of them connections were last accepted */
	unsigned int max_peers;
	bool paused;            /* accept() has failed for want of descriptors or memory... */
	uint64_t paused_ms;     /* ...then */
	uint64_t messages;      /* events and questions */
	uint64_t garbage_bytes; /* that were no message */
	uint64_t lost_answers;  /* to questions of those who do not read their answers */
	uint64_t lost_events;   /* of processes that had ended before they were met */
	uint64_t rejected;      /* connections */
	uint64_t logged_ns;     /* when a fault of a peer was last logged... */
	uint64_t unlogged;      /* ...and how many there were since */
	uint64_t now_ns;        /* when the bytes that are being read came */
	uint64_t dumped_ns;     /* when what is live was last written to the log */
};

/* What one user has here; goes with his last connection. */
struct alloc_user {
	uid_t uid;
	unsigned int peers;
	uint64_t round; /* when he was last heard... */
	uint64_t
		spent_ns; /* ...and what it took in this round, if he is neither root nor our own */
};

/* A connection. Owned by the server. */
struct alloc_peer {
	struct alloc_server *server;
	struct alloc_user *user;
	GList *link; /* in server.peers */
	int fd;
	pid_t pid; /* this and what follows: by the kernel's word, of who connected */
	uid_t uid;
	gid_t gid;
	uint64_t start_ticks;          /* 0: it had ended when it was accepted */
	struct alloc_process *process; /* NULL: no event yet, or its process has ended */
	bool is_lost;                  /* it has ended, and its events are nobody's */
	bool has_closed;               /* its side; it may still read answers */
	bool is_blocked;               /* its side is full of answers */
	bool is_deaf;                  /* it takes no answers any more */
	bool has_ended;
	bool has_erred; /* it has sent garbage, and that was logged */
	uint64_t heard_ms;
	uint64_t round; /* the last in which it had something */
	GList *waiting_link;
	GList *asking_link;
	GArray *questions;     /* struct alloc_question; NULL: it never asked */
	unsigned int answered; /* of these, the first so many */
	unsigned int unsent;   /* bytes at the end of an answer that was cut in two */
	uint8_t rest[ALLOC_FORM_MAX];
	struct alloc_stream stream;
};

/* Listens at the path, where nobody else does. 0 or a negative errno. Without a call of it, the
 * others do nothing. */
int alloc_server_init(struct alloc_server *server, uv_loop_t *loop, struct alloc *alloc,
		      const char *path);

/* Ends all connections and removes the socket; the loop must run once more. */
void alloc_server_close(struct alloc_server *server);
void alloc_server_fini(struct alloc_server *server);

/* alloc_listener.c. A descriptor or a negative errno. */
int alloc_listener_open(const char *path);
unsigned int alloc_listener_peers_possible(void);
/* Those who wait now; who comes meanwhile waits for the next time. When it fails, it is paused. */
void alloc_listener_accept(struct alloc_server *server, unsigned int most);

/* alloc_peer.c. A new one is read at once. */
void alloc_peer_new(struct alloc_server *server, int fd);
void alloc_peer_read(struct alloc_peer *peer, size_t most);
void alloc_peer_settle(struct alloc_peer *peer);
void alloc_peer_end(struct alloc_peer *peer);
/* Its process has ended: reads what it has sent, and ends. */
void alloc_peer_finish(struct alloc_peer *peer);
/* Sets what epoll reports of it. */
void alloc_peer_interest(struct alloc_peer *peer);
/* What it takes to read all that is there now. */
size_t alloc_peer_pending(const struct alloc_peer *peer);

/* alloc_peer_answers.c */
void alloc_peer_ask(struct alloc_peer *peer, const struct alloc_message *message);
/* Some of its questions. */
void alloc_peer_answer(struct alloc_peer *peer);
bool alloc_peer_is_owed(const struct alloc_peer *peer);

/* One line about a peer's fault, at most every ten seconds. */
void alloc_server_complain(struct alloc_server *server, const struct alloc_peer *peer,
			   const char *fault);
/* After bytes of a peer. One that was heard and waits no more must leave, or it would hold up those
 * who have waited longer. */
void alloc_server_await_settling(struct alloc_peer *peer, bool waits);
void alloc_server_await_answer(struct alloc_peer *peer);

/* alloc_dump.c: writes what is live to the log. */
void alloc_dump(const struct alloc *alloc);

#endif
