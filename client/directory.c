/* SPDX-License-Identifier: Apache-2.0 */
#include "directory.h"
#include "bias.h"
#include "records.h"
#include <errno.h>
#include <string.h>

#define BITS_MIN 14
#define BITS_MAX 26
#define PER_LIVE 4 /* cells for each live buffer, at least */

static void fill(uint8_t *cells, uint32_t shift, const struct client *client,
		 const struct shard *shard)
{
	struct records records = ttmem__records_of(client, shard->number);
	uint8_t mine = (uint8_t)(shard->number + 1);
	const struct ledger_record *record;

	while ((record = ttmem__records_next(&records))) {
		struct key key = key_of(record);
		uint8_t *cell = &cells[key.hash >> 32 >> shift];

		if (!(record->owner & RECORD_HAS_HANDLE) && *cell != mine)
			*cell = *cell ? CELL_MANY : mine;
	}
}

static uint32_t bits_for(uint64_t live)
{
	uint32_t bits = BITS_MIN;

	while (bits < BITS_MAX && 1ull << bits < live * PER_LIVE)
		bits++;
	return bits;
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

/* With all shards taken, and client->search_lock. */
static bool make(struct client *client, uint32_t nshards)
{
	uint64_t live = 0;
	uint32_t bits;
	uint8_t *cells;
	bool grown;

	for (uint32_t i = 0; i < nshards; i++)
		live += client->shards[i]->index.used;
	bits = bits_for(live);
	cells = ttmem__private_table(1ull << bits);
	if (!cells)
		return false;
	for (uint32_t i = 0; i < nshards; i++)
		fill(cells, 32 - bits, client, client->shards[i]);
	grown = !client->directory || 32 - bits != client->directory_shift;
	if (client->directory)
		ttmem__private_free(client->directory, 1ull << (32 - client->directory_shift));
	client->directory = cells;
	client->directory_shift = 32 - bits;
	word_set(&client->wasted, 0);
	word_set(&client->wasted_limit, limit_after(client, live, grown));
	return true;
}

bool ttmem__directory_create(struct client *client)
{
	struct shard *first = client->shards[0];
	bool made;

	lock_take(&client->search_lock);
	ttmem__other_take(client, first);
	made = make(client, 1);
	if (made) {
		word_set(&client->several, 1);
		word_set(&client->header->several_shards, 1);
	}
	other_give(first);
	lock_give(&client->search_lock);
	return made;
}

bool ttmem__directory_wasted(struct client *client)
{
	uint64_t wasted = __atomic_add_fetch(&client->wasted, 1, __ATOMIC_RELAXED);

	return wasted == word_get(&client->wasted_limit);
}

/* client->lock keeps the number of shards as it is. Without memory the old one stays in use. */
void ttmem__directory_rebuild(struct client *client)
{
	int saved = errno;

	lock_take(&client->lock);
	lock_take(&client->search_lock);
	for (uint32_t i = 0; i < client->nshards; i++)
		ttmem__other_take(client, client->shards[i]);
	if (!make(client, client->nshards))
		word_set(&client->wasted, 0);
	for (uint32_t i = 0; i < client->nshards; i++)
		other_give(client->shards[i]);
	lock_give(&client->search_lock);
	lock_give(&client->lock);
	errno = saved;
}
