/* SPDX-License-Identifier: Apache-2.0 */
/* Where records come from: a shard's free list, its chunk, a new chunk, and, past the capacity,
 * private memory that keeps the sums exact although nobody can list it. */
#include "internal.h"
#include <errno.h>

/* Under client->chunk_lock. */
static uint32_t chunk_new(struct client *client, struct shard *shard)
{
	struct ledger_header *header = client->header;
	uint32_t chunk = header->chunks_used;
	uint32_t first = chunk * LEDGER_CHUNK_RECORDS;

	if (first >= client->capacity ||
	    ttmem__back(client, &client->chunks[chunk], sizeof *client->chunks) ||
	    ttmem__back(client, &client->records[first],
			LEDGER_CHUNK_RECORDS * sizeof *client->records))
		return 0;
	client->chunks[chunk] = (struct ledger_chunk){.used = 0, .shard = (uint16_t)shard->number};
	__atomic_store_n(&header->chunks_used, chunk + 1, __ATOMIC_RELEASE);
	return first + 1;
}

/* Under client->chunk_lock: a piece of private memory as long as a chunk. */
static uint32_t overflow_new(struct client *client, const struct shard *shard)
{
	uint32_t block = client->overflow_chunks / (OVERFLOW_BLOCK / LEDGER_CHUNK_RECORDS);
	uint32_t first =
		(uint32_t)client->capacity + client->overflow_chunks * LEDGER_CHUNK_RECORDS;

	if (block >= OVERFLOW_BLOCKS)
		return 0;
	if (!client->overflow[block])
		client->overflow[block] =
			ttmem__private_pages(OVERFLOW_BLOCK * sizeof(struct ledger_record));
	if (!client->overflow[block])
		return 0;
	client->overflow_shard[client->overflow_chunks] = (uint8_t)shard->number;
	__atomic_store_n(&client->overflow_chunks, client->overflow_chunks + 1, __ATOMIC_RELEASE);
	return first + 1;
}

static bool chunk_take(struct client *client, struct shard *shard)
{
	int saved = errno;
	uint32_t first;

	lock_take(&client->chunk_lock);
	first = chunk_new(client, shard);
	if (!first)
		first = overflow_new(client, shard);
	lock_give(&client->chunk_lock);
	errno = saved;
	if (!first)
		return false;
	shard->next_record = first - 1;
	shard->chunk_end = first - 1 + LEDGER_CHUNK_RECORDS;
	return true;
}

/* With the shard taken. Returns record + 1, or 0 when the host has no memory left. */
uint32_t ttmem__record_fresh(struct client *client, struct shard *shard)
{
	uint32_t record;

	if (shard->next_record == shard->chunk_end && !chunk_take(client, shard))
		return 0;
	record = shard->next_record++;
	if (record < client->capacity)
		__atomic_store_n(&client->chunks[record / LEDGER_CHUNK_RECORDS].used,
				 (uint16_t)(record % LEDGER_CHUNK_RECORDS + 1), __ATOMIC_RELEASE);
	return record + 1;
}
