/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shard may have an address, while there are several: one byte for each group of hashes.
 *
 *   0         nobody has an address of the group
 *   n + 1     only shard n
 *   CELL_MANY several, or some shard that has let go of it since
 *
 * A byte is read and changed only by a thread that holds the lock of its own shard, or shard 0's,
 * before it inserts. It is written when a group gets its first owner or a second one, so in a
 * steady state all threads only read it, and threads with buffers of their own do not disturb each
 * other.
 *
 * Why no address can be live in two shards: a thread that finds its own number inserts under its
 * own lock. Whoever wants the group later makes it CELL_MANY, and then holds all shards' locks
 * together, taken in order, while it searches and inserts: it sees what the first has inserted, and
 * all such searches come one after the other because each begins with shard 0. There it enters once
 * more: while it held no lock the directory may have been made anew from what was live, and it was
 * not. A shard that is made meanwhile is found too: its number is published before its thread can
 * take shard 0's lock.
 */
#ifndef TTMEM_DIRECTORY_H
#define TTMEM_DIRECTORY_H

#include "index.h"

#define CELL_MANY 255

/* Under client->lock, when the second shard is made. False: no memory. */
bool ttmem__directory_create(struct client *client);

/* A search of all shards found nothing. True when that has been so often that it is worth making
 * the directory anew. */
bool ttmem__directory_wasted(struct client *client);

/* Makes it anew from what is live, and larger if need be. No lock may be held. */
void ttmem__directory_rebuild(struct client *client);

static inline uint8_t *directory_cell(const struct client *client, const struct key *key)
{
	return &client->directory[key->hash >> client->directory_shift];
}

/* Enters the shard. True if it is alone in the cell. */
static inline bool directory_enter(const struct client *client, const struct shard *own,
				   const struct key *key)
{
	uint8_t *cell = directory_cell(client, key);
	uint8_t mine = (uint8_t)(own->number + 1);
	uint8_t seen = __atomic_load_n(cell, __ATOMIC_RELAXED);

	for (;;) {
		if (likely(seen == mine))
			return true;
		if (seen == CELL_MANY)
			return false;
		if (__atomic_compare_exchange_n(cell, &seen, seen ? CELL_MANY : mine, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return !seen;
	}
}

#endif
