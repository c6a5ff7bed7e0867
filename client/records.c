/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

/* Chunks that come while one walks are not looked at. */
struct records ttmem__records_of(const struct client *client, uint32_t shard)
{
	return (struct records){
		.client = client,
		.shard = shard,
		.listed = __atomic_load_n(&client->header->chunks_used, __ATOMIC_ACQUIRE)};
}

/* The ledger says how many of a chunk's records have been in use; private memory is zeros. */
static bool chunk_enter(struct records *records)
{
	const struct client *client = records->client;
	uint32_t hidden = records->chunk - records->listed;
	uint32_t shard;

	if (records->chunk < records->listed) {
		shard = client->chunks[records->chunk].shard;
		records->used =
			__atomic_load_n(&client->chunks[records->chunk].used, __ATOMIC_ACQUIRE);
	} else {
		if (hidden >= __atomic_load_n(&client->overflow_chunks, __ATOMIC_ACQUIRE))
			return false;
		shard = client->overflow_shard[hidden];
		records->used = LEDGER_CHUNK_RECORDS;
	}
	if (records->shard != RECORDS_OF_ALL && records->shard != shard)
		records->used = 0;
	return true;
}

static uint32_t chunk_first(const struct records *records)
{
	uint32_t hidden = records->chunk - records->listed;

	if (records->chunk < records->listed)
		return records->chunk * LEDGER_CHUNK_RECORDS;
	return (uint32_t)records->client->capacity + hidden * LEDGER_CHUNK_RECORDS;
}

const struct ledger_record *ttmem__records_next(struct records *records)
{
	for (; records->next || chunk_enter(records); records->chunk++, records->next = 0) {
		uint32_t first = chunk_first(records);

		while (records->next < records->used) {
			const struct ledger_record *record;

			records->number = first + records->next++;
			record = record_at(records->client, records->number);
			if (word_get(&record->references))
				return record;
		}
	}
	return NULL;
}
