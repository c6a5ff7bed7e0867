/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shard may have an address, while there are several: a cell for each group of hashes.
 *
 *   0         nobody has an address of the group
 *   n + 1     only shard n
 *   all ones  several (CELL_MANY), or some shard that has let go of it since
 *
 * A cell has two bits while there are two shards, four up to 14, then eight: the fewer bits, the
 * more cells, and the fewer groups that belong to several shards by chance. It is written when its
 * group gets its first owner or a second one, so in a steady state all threads only read it, and
 * threads with buffers of their own do not disturb each other.
 *
 * Why no address can be live in two shards. A thread that finds its own number, or enters it where
 * there was none, inserts with its shard taken. Whoever wants the group later does so under
 * client.search_lock: it makes the cell CELL_MANY, and then takes the shard that had the group
 * alone. If that one was just inserting it sees what was inserted, and from then on that one's
 * thread sees CELL_MANY. An address of such a group is looked for in all other shards and inserted
 * under search_lock, so one such search sees what another has inserted. It does not take the other
 * shards: what they insert and remove meanwhile are other addresses, and entries do not move.
 *
 * The directory is made anew from what is live, under client.lock and search_lock and with all
 * shards taken.
 */
#ifndef TTMEM_DIRECTORY_H
#define TTMEM_DIRECTORY_H

#include "index.h"

#define CELL_MANY 255

/* Under client->lock, before the shard of this number is made: sees to it that there is a directory
 * and that its cells can name it. False: no memory. */
bool ttmem__directory_admit(struct client *client, uint32_t number);
uint64_t ttmem__directory_bytes(const struct directory *directory);

/* Under client->search_lock: a search of all shards found nothing. True when that has been so often
 * that it is worth making the directory anew. */
bool ttmem__directory_wasted(struct client *client);

/* Makes it anew from what is live, and larger if need be. No lock may be held, and no shard taken.
 */
void ttmem__directory_rebuild(struct client *client);

/*
 * A cell's lowest bit is found by 32 bits of a key's hash, from `from` on: their upper ones,
 * without `shift` of them, are its position in the directory; of its position in the byte `at` is a
 * mask. Of addresses at equal distances the upper bits are spread evenly, more so than chance would
 * have it, and hardly any share a cell; but with a few distances they come back to where they were.
 * So there are several places to take them from, and the lowest bits, in which chance rules.
 */
static inline uint32_t directory_position(const struct directory *directory, uint64_t hash)
{
	return (uint32_t)(hash >> directory->from) >> directory->shift;
}

struct cell {
	uint8_t *byte;
	uint8_t at; /* the lowest bit */
	uint8_t many;
};

static inline struct cell directory_cell(const struct directory *directory, struct key key)
{
	uint32_t position = directory_position(directory, key.hash);

	return (struct cell){.byte = &directory->bytes[position / 8],
			     .at = (uint8_t)(position & directory->at),
			     .many = directory->many};
}

/* 0, number + 1 or what stands for several. */
static inline uint8_t cell_bits(struct cell cell, uint8_t byte)
{
	return (uint8_t)(byte >> cell.at & cell.many);
}

/* 0, number + 1 or CELL_MANY. */
static inline uint8_t cell_value(struct cell cell, uint8_t byte)
{
	uint8_t bits = cell_bits(cell, byte);

	return bits == cell.many ? CELL_MANY : bits;
}

/* Sets the cell, unless its byte has changed. */
static inline bool cell_change(struct cell cell, uint8_t *byte, uint8_t value)
{
	uint8_t others = (uint8_t)(*byte & ~(cell.many << cell.at));
	uint8_t wanted = (uint8_t)(others | (value & cell.many) << cell.at);

	return __atomic_compare_exchange_n(cell.byte, byte, wanted, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* The key's cell. With a shard taken, so that the directory stays. Acquired, as it was released by
 * the shard that entered itself: whoever sees the number must find the shard. */
static inline uint8_t directory_look(const struct client *client, struct key key)
{
	struct cell cell = directory_cell(&client->directory, key);

	return cell_value(cell, __atomic_load_n(cell.byte, __ATOMIC_ACQUIRE));
}

/* With our shard taken: whether we are alone in the cell. */
static inline bool directory_is_ours(const struct client *client, const struct shard *own,
				     struct key key)
{
	struct cell cell = directory_cell(&client->directory, key);

	return cell_bits(cell, word_get(cell.byte)) == own->number + 1;
}

/* The same, or we enter it as the first. */
static inline bool directory_enter(const struct client *client, const struct shard *own,
				   struct key key)
{
	struct cell cell = directory_cell(&client->directory, key);
	uint8_t mine = (uint8_t)(own->number + 1);
	uint8_t byte = __atomic_load_n(cell.byte, __ATOMIC_RELAXED);

	while (unlikely(!cell_value(cell, byte)))
		if (cell_change(cell, &byte, mine))
			return true;
	return cell_value(cell, byte) == mine;
}

/* With client->search_lock: enters our shard beside whoever is there. Returns what was there: our
 * own number if we are alone, CELL_MANY, or the number + 1 of the one that was alone until now. */
static inline uint8_t directory_join(const struct client *client, const struct shard *own,
				     struct key key)
{
	struct cell cell = directory_cell(&client->directory, key);
	uint8_t mine = (uint8_t)(own->number + 1);
	uint8_t byte = __atomic_load_n(cell.byte, __ATOMIC_ACQUIRE);
	uint8_t seen = cell_value(cell, byte);

	while (seen != mine && seen != CELL_MANY) {
		if (cell_change(cell, &byte, seen ? CELL_MANY : mine))
			return seen ? seen : mine;
		seen = cell_value(cell, byte);
	}
	return seen;
}

#endif
