/* SPDX-License-Identifier: Apache-2.0 */
/* The socket on which clients say hello, and the watch over their lives. One thread, in the loop.
 */
#ifndef SERVER_H
#define SERVER_H

#include "errand.h"
#include "native.h"
#include <glib.h>
#include <uv.h>

#define SERVER_MAX_CLIENTS          4096
#define SERVER_MAX_CLIENTS_PER_USER 256 /* of a user who is neither root nor the daemon's own */
#define SERVER_MAX_SILENT           64  /* connections of one user that have not said hello */
#define SERVER_MAX_PENDING          256 /* descriptors from clients that wait to be closed */
#define SERVER_HELLO_TIMEOUT_MS     5000

/* What one user has here; kept while it has anything, and for the log's sake after a refusal. */
struct user {
	uid_t uid;
	unsigned int peers;
	unsigned int silent;
	const char *last_reason; /* of a refusal that was logged */
	uint64_t log_began_ns;   /* a period of some seconds... */
	unsigned int logged;     /* ...and the refusals that were logged in it */
	uint64_t unlogged;
};

struct server {
	uv_loop_t *loop;
	struct native *native;
	int fd;
	char *path;
	uv_poll_t poll;
	uv_timer_t timer;     /* runs only while a connection is silent, or accept() has failed */
	GHashTable *users;    /* uid -> struct user */
	GQueue silent;        /* struct peer: no hello yet, oldest first */
	GQueue all;           /* struct peer */
	unsigned int clients; /* peers with a ledger */
	uint64_t rings;       /* of doorbells */
	uint64_t rejected;
	struct errands errands; /* looks into processes; the outlook's, too */
	GHashTable *faulty;     /* inodes of ledgers that were found and refused */
	GPtrArray *walkers;     /* see walk.c */
	bool scanning;
	bool scan_again;       /* asked for while one was under way */
	uint64_t scan_next_ns; /* when those elsewhere may be looked through again */
	bool closed;
	bool is_default;          /* the socket that clients try when they were given none */
	unsigned int max_clients; /* SERVER_MAX_CLIENTS, or what the descriptors allow */
	bool failing;             /* accept() has failed, and that was logged */
	bool paused;              /* accept() has failed for want of descriptors or memory */
};

/* A connection, and after its hello a process. Owned by the server; goes when both handles and the
 * errand are done with. */
struct peer {
	struct server *server;
	struct user *user;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	int fd; /* -1: it did not connect, we have found it */
	int pidfd;
	int eventfd; /* -1: none was sent */
	uv_poll_t poll;
	uv_poll_t life;
	uv_poll_t bell; /* of eventfd */
	bool has_bell;
	struct ledger *ledger; /* NULL before the hello */
	GList *silent_link;    /* in server.silent, or NULL */
	GList *link;           /* in server.all */
	uint64_t since_ms;
	unsigned int users; /* itself until its end, handles and errand */
	bool ended;
	bool hung_up;
	struct errand *errand; /* looks whether the ledger is still mapped; NULL: nobody does... */
	bool still_mapped;     /* ...and this is what it found, */
	int memory;            /* and the address space, or -1 */
	bool look_again;       /* when it has come back */
	ino_t inode;           /* of the ledger, for the errand */
};

/* Listens at the path, and looks for processes that were there before. `is_default`: clients try
 * the path when they were given none. Returns 0 or a negative errno. */
int server_init(struct server *server, uv_loop_t *loop, struct native *native, const char *path,
		bool is_default);

/* Takes in everybody who is waiting now. */
void server_drain(struct server *server);

/* Ends all connections and removes the socket; the loop must run once more to free them. */
void server_close(struct server *server);
void server_fini(struct server *server);

/* Looks through all processes for ledgers that were meant for this socket. */
void server_scan(struct server *server);

/* The same, through those in another root than ours that have none yet: they may not see the
 * socket. For somebody who reads now; does nothing if that was only just done. */
void server_scan_elsewhere(struct server *server);

/* The same for single processes, in a thread: ledger_search_process() may be called anywhere, the
 * others in the loop. */
struct ledger_search {
	uint64_t hash; /* of our socket's path */
	bool takes_unnamed;
	GArray *findings; /* struct finding */
};
void ledger_search_begin(const struct server *server, struct ledger_search *search);
void ledger_search_process(struct ledger_search *search, pid_t pid);
void ledger_search_end(struct server *server, struct ledger_search *search, bool take);

/* peer.c */
void peer_new(struct server *server, int fd);
void peer_on_readable(struct peer *peer);

/* A process whose ledger was found; the descriptors become the server's. */
struct finding {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	int pidfd;
	int memfd;
	int eventfd;       /* -1: none */
	int memory;        /* of the address space, or -1 */
	ino_t inode;       /* of the memory file */
	const char *fault; /* why it cannot be taken; NULL: nothing is wrong so far */
};
void peer_found(struct server *server, const struct finding *finding);
void peer_end(struct peer *peer);
void peer_unuse(struct peer *peer);

/* look.c: lets go of the peer if its ledger is not mapped any more, and opens its address space. */
void peer_look(struct peer *peer);

/* bell.c: listens for the peer's doorbell until it rings; false if it has none. */
bool bell_listen(struct peer *peer);

/* Counts a refusal and logs it, but not the same one again and again. */
void server_refuse(struct server *server, struct user *user, pid_t pid, const char *reason);
struct user *server_user(struct server *server, uid_t uid);
void server_silent_add(struct peer *peer);
void server_silent_remove(struct peer *peer);

#endif
