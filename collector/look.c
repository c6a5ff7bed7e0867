/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a process still has its ledger: after an exec it has not, and it is the same process.
 *
 * When a connection ends we look into its maps. But it need not end: a child that was made by a raw
 * clone() holds it, too, and a process that we have found has none. So there also is a descriptor
 * of each process's address space, which tells at any time, and without waiting, whether that has
 * gone. To open it may wait for an exec, as looking into the maps may: both are errands.
 */
#include "log.h"
#include "proc.h"
#include "server.h"
#include <unistd.h>

/* In a thread. The maps come last: if they have the ledger, then so has what was opened. */
static void look_run(void *data)
{
	struct peer *peer = data;

	peer->memory = proc_memory_open("/proc", peer->pid);
	peer->still_mapped = proc_maps_inode("/proc", peer->pid, peer->inode);
}

static void memory_take(struct peer *peer)
{
	if (peer->ledger && peer->ledger->memory < 0)
		peer->ledger->memory = peer->memory;
	else if (peer->memory >= 0)
		close(peer->memory);
	peer->memory = -1;
}

/* Without a look the process counts as alive, until its death. So does one that is dying: other
 * sources may have a word on it, and all let go of it at once. */
static void look_done(void *data, void *owner)
{
	struct peer *peer = data;
	bool again = peer->look_again && owner && !peer->ended;

	peer->errand = NULL;
	memory_take(peer);
	peer->look_again = false;
	if (again)
		peer_look(peer);
	else if (owner && !peer->still_mapped && !proc_is_exiting("/proc", peer->pid))
		peer_end(peer);
	else if (!peer->ended && peer->hung_up)
		log_debug("process %d has closed its connection and lives on", (int)peer->pid);
	/* The errand has a use of its own, which the analyzer does not see. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	peer_unuse(peer);
}

/* What a look that is under way has seen may be older than what this one is for. */
void peer_look(struct peer *peer)
{
	peer->look_again = peer->errand != NULL;
	if (peer->errand)
		return;
	peer->inode = peer->ledger->view.inode;
	peer->memory = -1;
	peer->users++;
	peer->errand = errand_begin(&peer->server->errands, peer->uid, look_run, look_done, peer,
				    peer->server);
}
