/* SPDX-License-Identifier: Apache-2.0 */
#include "directory.h"
#include "bias.h"
#include "records.h"
#include <errno.h>
#include <string.h>

#define BITS_MIN 16 /* of bytes */
#define BITS_MAX 26
#define PER_LIVE 5 /* bytes for each live buffer, at most: with the index's, less than 24 */

#define SHARED_FEW 64 /* not more than one of so many */

uint64_t ttmem__directory_bytes(const struct directory *directory)
{
	return directory->bytes ? 1ull << (29 - directory->shift) : 0;
}

/* Returns how many of the shard's buffers share their cell with others'. */
static uint64_t fill(const struct directory *directory, const struct client *client,
		     const struct shard *shard)
{
	struct records records = ttmem__records_of(client, shard->number);
	uint8_t mine = (uint8_t)(shard->number + 1);
	const struct ledger_record *record;
	uint64_t shared = 0;

	while ((record = ttmem__records_next(&records))) {
		struct cell cell = directory_cell(directory, key_of(record));
		uint8_t byte = *cell.byte, seen = cell_value(cell, byte);

		if (record->owner & RECORD_HAS_HANDLE || seen == mine)
			continue;
		cell_change(cell, &byte, seen ? CELL_MANY : mine);
		shared += seen != 0;
	}
	return shared;
}

static uint64_t fill_from(struct directory *directory, const struct client *client, uint8_t from)
{
	uint64_t shared = 0;

	directory->from = from;
	for (uint32_t i = 0; i < client->nshards; i++)
		shared += fill(directory, client, client->shards[i]);
	return shared;
}

/* Most often the first place is good. */
static void fill_best(struct directory *directory, const struct client *client, uint64_t live)
{
	static const uint8_t places[] = {32, 29, 26, 0};
	uint64_t shared, least = UINT64_MAX;
	uint8_t best = 0;

	for (size_t i = 0; i < sizeof places && least > live / SHARED_FEW; i++) {
		if (i)
			memset(directory->bytes, 0, ttmem__directory_bytes(directory));
		shared = fill_from(directory, client, places[i]);
		if (shared < least) {
			least = shared;
			best = places[i];
		}
	}
	if (best == directory->from)
		return;
	memset(directory->bytes, 0, ttmem__directory_bytes(directory));
	fill_from(directory, client, best);
}

static uint32_t bits_for(uint64_t live)
{
	uint32_t bits = BITS_MIN;

	while (bits < BITS_MAX && 2ull << bits <= live * PER_LIVE)
		bits++;
	return bits;
}

/* A cell's bits, all ones. */
static uint8_t many_for(uint32_t nshards)
{
	return nshards <= 2 ? 3 : nshards <= 14 ? 15 : 255;
}

/* How many searches in vain pay for making it anew. Some cells belong to two shards by chance and
 * always will, so when nothing but time has passed the next one comes later. */
static uint64_t limit_after(const struct client *client, uint64_t live, bool grown)
{
	uint64_t limit = grown ? live / 8 : client->wasted_limit * 2;

	if (limit > live * 16)
		limit = live * 16;
	return limit > 1024 ? limit : 1024;
}

/* With all shards taken, client->lock and client->search_lock. For as many shards as `nshards`. The
 * new one is complete when it takes the old one's place: a child that a handler forks gets one. */
static bool make(struct client *client, uint32_t nshards)
{
	struct directory old = client->directory, made = {.many = many_for(nshards)};
	uint64_t live = 0, old_bytes = ttmem__directory_bytes(&old);
	uint32_t bits;

	for (uint32_t i = 0; i < client->nshards; i++)
		live += index_used(&client->shards[i]->index);
	bits = bits_for(live);
	client->wasted = 0;
	made.shift = (uint8_t)(29 - bits);
	made.at = (uint8_t)(8 - __builtin_popcount(made.many));
	made.bytes = ttmem__private_table(1ull << bits);
	if (!made.bytes)
		return false;
	fill_best(&made, client, live);
	client->directory = made;
	if (old.bytes)
		ttmem__private_free(old.bytes, old_bytes);
	client->wasted_limit = limit_after(client, live, 1ull << bits != old_bytes);
	return true;
}

/* Under client->lock, which keeps the number of shards as it is. */
static bool make_alone(struct client *client, uint32_t nshards)
{
	bool made;

	lock_take(&client->search_lock);
	for (uint32_t i = 0; i < client->nshards; i++)
		ttmem__other_take(client, client->shards[i]);
	made = make(client, nshards);
	if (made && !client->shards[0]->several) {
		ttmem__sums_are_ahead(client->shards[0]);
		word_set(&client->header->several_shards, 1);
	}
	for (uint32_t i = 0; i < client->nshards; i++)
		other_give(client->shards[i]);
	lock_give(&client->search_lock);
	return made;
}

bool ttmem__directory_admit(struct client *client, uint32_t number)
{
	if (!number || (client->directory.bytes && many_for(number + 1) == client->directory.many))
		return true;
	return make_alone(client, number + 1);
}

bool ttmem__directory_wasted(struct client *client)
{
	return ++client->wasted == client->wasted_limit;
}

/* Without memory the old one stays in use. */
void ttmem__directory_rebuild(struct client *client)
{
	int saved = errno;

	lock_take(&client->lock);
	make_alone(client, client->nshards);
	lock_give(&client->lock);
	errno = saved;
}
