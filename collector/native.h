/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of ledgers. The server hands it a process and its memory file; it keeps the view,
 * binds the process's device indices to devices, and answers the model. Knows nothing of sockets.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include "ledger_view.h"
#include "model.h"

struct native {
	struct source source;
	struct model *model;
	GHashTable *by_inode; /* struct ledger -> itself, known by the memory file's inode */
	GPtrArray *ledgers;   /* the same, in no order, for looking at all */
	uint64_t checked_ns; /* when their processes were last asked whether they still have them */
	/* Called by sync before anything else: lets the server take in who is waiting. */
	void (*before_sync)(void *data);
	void *before_sync_data;
	/* Called when a process comes with a new ledger: ends what the server has of the old one,
	 * which releases it. */
	void (*end_peer)(void *peer);
	/* Called once for a ledger whose process lives for a while: finds out whether it still has
	 * it, and the address space. */
	void (*look)(void *peer);
	/* Makes the server listen for the peer's doorbell; false if it has none. */
	bool (*listen)(void *peer);
	/* Ledgers were armed whose owners' fence is ours to make, before the next read. */
	bool owes_fence;
	bool can_fence; /* asked once */
};

/* A process with its ledger. Owned by native, from native_adopt() to native_release(). */
struct ledger {
	struct ledger_view view;
	struct process *process;
	guint place;    /* in native.ledgers */
	uint32_t binds; /* how often its devices were bound: see may_bind() */
	uint64_t last_bind_ns;
	uint64_t since_ns; /* when it came */
	int memory;        /* of the address space that it is mapped in; -1: not open (yet) */
	bool looked;
	void *peer; /* the server's */
};

void native_init(struct native *native, struct model *model);
void native_fini(struct native *native);

/* native_exec.c: ends the peers of those who have called exec; looks at most ten times a second. */
void native_check_execs(struct native *native);

/* Takes over a descriptor that says it is the ledger of this process. On error the caller keeps the
 * descriptor, and *why says what is wrong with it. */
struct ledger *native_adopt(struct native *native, int fd, pid_t pid, uid_t uid, gid_t gid,
			    const char **why);

/* The process has ended, or has let go of its ledger. */
void native_release(struct native *native, struct ledger *ledger);

#endif
