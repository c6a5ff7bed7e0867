/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of the older allocation server's protocol: processes that tell of each buffer. The
 * server hands it the events of a process; it keeps the records and answers the model. Knows
 * nothing of sockets.
 *
 * Devices are those of the messages, 0 to 63, by their numbers alone: the protocol has no other
 * name for them.
 */
#ifndef ALLOC_H
#define ALLOC_H

#include "alloc_records.h"
#include "model.h"

/* Live buffers that are kept for a user who is neither root nor the daemon's own, and for those: 32
 * bytes each, twice that while a table grows. */
#define ALLOC_BUFFERS_PER_USER (4u << 20)
#define ALLOC_BUFFERS_TRUSTED  (64u << 20)

struct alloc_process;

struct alloc {
	struct source source;
	struct model *model;
	GHashTable *shares; /* uid -> struct alloc_share */
	/* Called by sync: lets the server take in what has been sent. */
	void (*drain)(void *data);
	/* The process has ended: the server takes in what it still sent, and ends its connections,
	 * with the last of which it leaves. */
	void (*end)(struct alloc_process *process, void *data);
	void *server;
};

/* What the processes of one user have together; goes with the last of them. */
struct alloc_share {
	uid_t uid;
	unsigned int processes;
	struct alloc_quota quota;
};

/* A process that has sent an event. The data of a process and of its holdings; there as long as it
 * has connections. */
struct alloc_process {
	struct process *process;
	struct alloc_share *share;
	struct alloc_records records;
	uint64_t bound; /* a bit for each device that the model has heard of */
	unsigned int connections;
};

void alloc_init(struct alloc *alloc, struct model *model);
/* All processes must have left. */
void alloc_fini(struct alloc *alloc);

/* One more connection of this process has sent an event. NULL if the process has ended. */
struct alloc_process *alloc_process_get(struct alloc *alloc, pid_t pid, uid_t uid, gid_t gid,
					uint64_t start_ticks);

/* With the last connection the process leaves: what it holds is released. */
void alloc_process_put(struct alloc *alloc, struct alloc_process *process);

/* After events: tells the model of devices that are new. */
void alloc_process_settle(struct alloc *alloc, struct alloc_process *process);

#endif
