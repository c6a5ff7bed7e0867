/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shard may have an address, while there are several: one byte for each group of hashes.
 *
 *   0         nobody has an address of the group
 *   n + 1     only shard n
 *   CELL_MANY several, or some shard that has let go of it since
 *
 * A byte is written when a group gets its first owner or a second one, so in a steady state all
 * threads only read it, and threads with buffers of their own do not disturb each other.
 *
 * Why no address can be live in two shards. A thread that finds its own number, or enters it where
 * there was none, inserts with its shard taken. Whoever wants the group later does so under
 * client.search_lock: it makes the byte CELL_MANY, and then takes the shard that had the group
 * alone. If that one was just inserting it sees what was inserted, and from then on that one's
 * thread sees CELL_MANY. An address of such a group is looked for in all other shards and inserted
 * under search_lock, so one such search sees what another has inserted. It does not take the other
 * shards: what they insert and remove meanwhile are other addresses, and entries do not move.
 *
 * The directory is made anew from what is live, under search_lock and with all shards taken. A
 * shard that is made meanwhile is found too: its number is published before its thread can enter it
 * here.
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

/* Makes it anew from what is live, and larger if need be. No lock may be held, and no shard taken.
 */
void ttmem__directory_rebuild(struct client *client);

static inline uint8_t *directory_cell(const struct client *client, struct key key)
{
	return &client->directory[key.hash >> 32 >> client->directory_shift];
}

/* The key's byte. With a shard taken, so that the directory stays. Acquired, as it was released by
 * the shard that entered itself: whoever sees the number must find the shard. */
static inline uint8_t directory_look(const struct client *client, struct key key)
{
	return __atomic_load_n(directory_cell(client, key), __ATOMIC_ACQUIRE);
}

/* With our shard taken: true if we are alone in the cell, or enter it as the first. */
static inline bool directory_enter(const struct client *client, const struct shard *own,
				   struct key key)
{
	uint8_t *cell = directory_cell(client, key);
	uint8_t mine = (uint8_t)(own->number + 1);
	uint8_t seen = __atomic_load_n(cell, __ATOMIC_RELAXED);

	if (unlikely(!seen))
		return __atomic_compare_exchange_n(cell, &seen, mine, false, __ATOMIC_RELEASE,
						   __ATOMIC_RELAXED);
	return seen == mine;
}

/* With client->search_lock: enters our shard beside whoever is there. Returns what was there: our
 * own number if we are alone, CELL_MANY, or the number + 1 of the one that was alone until now. */
static inline uint8_t directory_join(const struct client *client, const struct shard *own,
				     struct key key)
{
	uint8_t *cell = directory_cell(client, key);
	uint8_t mine = (uint8_t)(own->number + 1);
	uint8_t seen = __atomic_load_n(cell, __ATOMIC_ACQUIRE);

	while (seen != mine && seen != CELL_MANY)
		if (__atomic_compare_exchange_n(cell, &seen, seen ? CELL_MANY : mine, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return seen ? seen : mine;
	return seen;
}

#endif
