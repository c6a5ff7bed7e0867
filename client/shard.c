/* SPDX-License-Identifier: Apache-2.0 */
/* Shards: who works with which, and what changes when there is more than one. */
#include "account.h"
#include "bias.h"
#include "directory.h"
#include <errno.h>

/* Adds to the process table what the shard has kept back. */
void ttmem__push(struct client *client, struct shard *shard, uint32_t row)
{
	struct ledger_process_cell *cell = &client->process[row];
	int64_t delta = sum_kept_back(&shard->ahead[row], row);
	int64_t live = __atomic_add_fetch(&cell->live_bytes, delta, __ATOMIC_RELAXED);
	uint64_t peak = word_get(&cell->peak_bytes);

	while (live > 0 && (uint64_t)live > peak &&
	       !__atomic_compare_exchange_n(&cell->peak_bytes, &peak, (uint64_t)live, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	sum_keep_back(&shard->ahead[row], row);
}

static void device_is_ahead(struct shard *shard, uint32_t device)
{
	for (uint32_t kind = 0; kind < LEDGER_KINDS; kind++)
		sum_keep_back(&shard->ahead[ROW(device, kind)], kind);
}

/* From now on the shard keeps back what it adds. With the shard taken, or nobody else's yet. */
void ttmem__sums_are_ahead(struct shard *shard)
{
	for (uint32_t device = 0; device < LEDGER_DEVICES; device++)
		if (shard->devices >> device & 1)
			device_is_ahead(shard, device);
	device_is_ahead(shard, LEDGER_ALL_DEVICES);
	shard->sums = shard->ahead;
	shard->several = true;
}

static struct shard *shard_new(struct client *client)
{
	uint32_t number = client->nshards;
	struct shard *shard;

	if (!ttmem__directory_admit(client, number))
		return NULL;
	shard = ttmem__private_pages(sizeof *shard);
	if (!shard)
		return NULL;
	shard->number = number;
	shard->shared = !__atomic_load_n(&client->fenceless, __ATOMIC_RELAXED);
	if (!ttmem__index_grow(client, shard)) {
		ttmem__private_free(shard, sizeof *shard);
		return NULL;
	}
	shard->cells =
		((struct ledger_shard *)((char *)client->header + LEDGER_OFFSET_COUNTERS))[number]
			.cells[0];
	for (int i = 0; i < TRAIL; i++)
		shard->trails[i].later = &shard->nowhere;
	shard->records = client->records;
	shard->capacity = client->capacity;
	shard->armed = &client->header->armed;
	if (number)
		ttmem__sums_are_ahead(shard);
	else
		shard->sums = client->process;
	__atomic_store_n(&client->shards[number], shard, __ATOMIC_RELEASE);
	__atomic_store_n(&client->nshards, number + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&client->header->shards_used, number + 1, __ATOMIC_RELEASE);
	return shard;
}

static struct shard *shard_least_used(const struct client *client)
{
	struct shard *least = NULL;

	for (uint32_t i = 0; i < client->nshards; i++)
		if (!least || client->shards[i]->users < least->users)
			least = client->shards[i];
	return least;
}

/* A shard that is several threads' own stays shared: `inside` can speak for one only. */
static void crowd(struct client *client, struct shard *shard, bool crowded)
{
	ttmem__other_take(client, shard);
	shard->crowded = crowded;
	other_give(shard);
}

/* Under client->lock. A shard that an ended thread left, a new one, or, when there are no more, the
 * one with the fewest threads. NULL: no memory for the first. */
struct shard *ttmem__shard_take(struct client *client)
{
	struct shard *shard = shard_least_used(client);

	if (!shard || (shard->users && client->nshards < LEDGER_SHARDS)) {
		struct shard *fresh = shard_new(client);

		shard = fresh ? fresh : shard;
	}
	if (shard && ++shard->users > 1)
		crowd(client, shard, true);
	return shard;
}

void ttmem__shard_leave(struct client *client, struct shard *shard)
{
	lock_take(&client->lock);
	if (--shard->users == 1)
		crowd(client, shard, false);
	lock_give(&client->lock);
}

/* With the shard taken: the first event of a device in this shard. */
bool ttmem__shard_use_device(struct client *client, struct shard *shard, uint32_t device)
{
	int saved = errno;
	int error = ttmem__back(client, &shard->cells[ROW(device, 0)],
				LEDGER_KINDS * sizeof *shard->cells);

	errno = saved;
	if (error)
		return false;
	if (shard->several)
		device_is_ahead(shard, device);
	shard->devices |= 1ull << device;
	__atomic_store_n(&client->header->shard_devices[shard->number], shard->devices,
			 __ATOMIC_RELEASE);
	ttmem__device_seen(client, device);
	return true;
}
