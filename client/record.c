/* SPDX-License-Identifier: Apache-2.0 */
/* Where records come from: a shard's free list, its chunk, a new chunk, and, past the capacity,
 * private memory that keeps the sums exact although nobody can list it. */
#include "internal.h"
#include <errno.h>

#define RUN_MOST    16
#define RUN_OF_OWN  32 /* one of so many that it has */
#define RUN_OF_LEFT 64 /* likewise */

/* How many chunks to take at once. Where those of threads alternate, each has its records in twice
 * as many places, which the processor has to translate. So a shard takes several; the less, the
 * less it has itself, and the less is left for others. */
static uint32_t run_length(const struct client *client, const struct shard *shard)
{
	uint64_t left = client->capacity / LEDGER_CHUNK_RECORDS - client->header->chunks_used;
	uint32_t run = 1 + shard->chunks / RUN_OF_OWN;

	if (run > 1 + left / RUN_OF_LEFT)
		run = (uint32_t)(1 + left / RUN_OF_LEFT);
	return run < RUN_MOST ? run : RUN_MOST;
}

/* Under client->chunk_lock. Returns the number of chunks that follow those in use, or 0. */
static uint32_t chunks_new(const struct client *client, const struct shard *shard, uint32_t run)
{
	struct ledger_header *header = client->header;
	uint32_t chunk = header->chunks_used;

	if ((uint64_t)chunk * LEDGER_CHUNK_RECORDS >= client->capacity ||
	    ttmem__back(client, &client->chunks[chunk], run * sizeof *client->chunks) ||
	    ttmem__back(client, &client->records[chunk * LEDGER_CHUNK_RECORDS],
			run * LEDGER_CHUNK_RECORDS * sizeof *client->records))
		return 0;
	for (uint32_t i = chunk; i < chunk + run; i++)
		client->chunks[i] =
			(struct ledger_chunk){.used = 0, .shard = (uint16_t)shard->number};
	__atomic_store_n(&header->chunks_used, chunk + run, __ATOMIC_RELEASE);
	return run;
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

static bool chunks_take(struct client *client, struct shard *shard)
{
	uint32_t first, run, wanted;
	int saved = errno;

	lock_take(&client->chunk_lock);
	first = client->header->chunks_used * LEDGER_CHUNK_RECORDS + 1;
	wanted = run_length(client, shard);
	run = chunks_new(client, shard, wanted);
	if (!run && wanted > 1)
		run = chunks_new(client, shard, 1);
	if (!run) {
		run = 1;
		first = overflow_new(client, shard);
	}
	lock_give(&client->chunk_lock);
	errno = saved;
	if (!first)
		return false;
	shard->chunks += run;
	shard->next_record = first - 1;
	shard->chunk_end = first - 1 + run * LEDGER_CHUNK_RECORDS;
	return true;
}

/* With the shard taken. Returns record + 1, or 0 when the host has no memory left. */
uint32_t ttmem__record_fresh(struct client *client, struct shard *shard)
{
	uint32_t record;

	if (shard->next_record == shard->chunk_end && !chunks_take(client, shard))
		return 0;
	record = shard->next_record++;
	if (record < client->capacity)
		__atomic_store_n(&client->chunks[record / LEDGER_CHUNK_RECORDS].used,
				 (uint16_t)(record % LEDGER_CHUNK_RECORDS + 1), __ATOMIC_RELEASE);
	return record + 1;
}
