/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer's record, and the sums that change with it. All with the buffer's shard taken. */
#ifndef TTMEM_ACCOUNT_H
#define TTMEM_ACCOUNT_H

#include "directory.h"

/* What is known of an allocation besides its key. */
struct event {
	uint64_t size;
	uint32_t thread;
	uint16_t tag;
	uint16_t flags; /* RECORD_HAS_HANDLE */
};

#define LARGE_KINDS (1u << TTMEM_DRAM | 1u << TTMEM_SYSTEM | 1u << TTMEM_TRACE)

/* How far a shard may be ahead of the process table, in bytes: ttmem_get_totals() states it. */
static hot int64_t batch_of(uint32_t kind)
{
	return LARGE_KINDS >> kind & 1 ? 4 << 20 : 256 << 10;
}

/*
 * Sums of the process: of a device and of all, by kind. While there is one shard they are the
 * process table's. With several each shard keeps its part back until it is a batch: `live_bytes` is
 * then the part + batch - 1, and `peak_bytes` the most that may become, so that to go beyond is
 * what a new peak is in the other case.
 */
static hot void sum_keep_back(struct ledger_process_cell *sum, uint32_t row)
{
	int64_t batch = batch_of(row % LEDGER_KINDS);

	*sum = (struct ledger_process_cell){batch - 1, (uint64_t)batch * 2 - 2};
}

static hot int64_t sum_kept_back(const struct ledger_process_cell *sum, uint32_t row)
{
	return sum->live_bytes - (batch_of(row % LEDGER_KINDS) - 1);
}

/* Adds to the sum of a device and to that of all. True: they are to be settled. */
static hot bool sums_add(const struct shard *shard, uint64_t row, int64_t delta)
{
	struct ledger_process_cell *device = &shard->sums[row];
	struct ledger_process_cell *all = &shard->sums[row % LEDGER_KINDS + ROWS_ALL];
	uint64_t device_live = (uint64_t)device->live_bytes + (uint64_t)delta;
	uint64_t all_live = (uint64_t)all->live_bytes + (uint64_t)delta;

	word_set(&device->live_bytes, (int64_t)device_live);
	word_set(&all->live_bytes, (int64_t)all_live);
	return unlikely(device_live > device->peak_bytes) || unlikely(all_live > all->peak_bytes);
}

static hot void sum_settle(struct client *client, struct shard *shard, uint64_t row)
{
	struct ledger_process_cell *sum = &shard->sums[row];

	if (likely((uint64_t)sum->live_bytes <= sum->peak_bytes))
		return;
	if (shard->several)
		ttmem__push(client, shard, (uint32_t)row);
	else
		word_set(&sum->peak_bytes, (uint64_t)sum->live_bytes);
}

static hot void sums_settle(struct client *client, struct shard *shard, uint64_t row)
{
	sum_settle(client, shard, row);
	sum_settle(client, shard, row % LEDGER_KINDS + ROWS_ALL);
}

static hot void count_allocated(struct shard *shard, uint64_t row, uint64_t size)
{
	struct ledger_cell *cell = &shard->cells[row];

	word_add(&cell->allocated_bytes, size);
	word_add(&cell->allocated_buffers, 1);
}

/* A reader that sees one of these also sees the allocation: it takes `freed` first. */
static hot void count_freed(struct shard *shard, uint64_t row, uint64_t size)
{
	struct ledger_cell *cell = &shard->cells[row];

	__atomic_store_n(&cell->freed_buffers, cell->freed_buffers + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&cell->freed_bytes, cell->freed_bytes + size, __ATOMIC_RELEASE);
}

/*
 * Most programs free in the order in which they have allocated, or in the opposite one. So a record
 * has trails to those that were allocated TRAIL allocations later and earlier. A free has the
 * memory of both fetched, which is then at hand when their own frees come; of what was freed just
 * now it is there anyhow. A trail is 23 bits of a record's number, then the 18 lowest of its key's
 * hash, which lead to its group, and the 23 highest, which lead to its cell's cache line in the
 * directory. It may be old, or too short for a large table: nothing but the fetching relies on it.
 */
#define TRAIL_NUMBER  ((1ull << 23) - 1)
#define TRAIL_LOWEST  ((1ull << 18) - 1)
#define TRAIL_HIGHEST (~0ull << 41)

static hot void trail_lay(struct shard *shard, struct ledger_record *record, struct key key,
			  uint32_t number)
{
	struct trail *trail = &shard->trails[shard->allocated++ % TRAIL];
	uint64_t here = (key.hash & TRAIL_HIGHEST) | (key.hash & TRAIL_LOWEST) << 23 |
			(number & TRAIL_NUMBER);

	word_set(trail->later, here);
	word_set(&record->earlier, trail->here);
	trail->here = here;
	trail->later = &record->later;
}

static hot void trail_fetch(const struct shard *shard, uint64_t trail)
{
	__builtin_prefetch(shard->records + (trail & TRAIL_NUMBER));
	__builtin_prefetch(shard->index.groups + (trail >> 23 & shard->index.mask));
}

static hot void trails_follow(const struct client *client, const struct shard *shard,
			      const struct ledger_record *record)
{
	const struct directory *directory = &client->directory;

	trail_fetch(shard, record->later);
	trail_fetch(shard, record->earlier);
	/* Its address will be used again. */
	if (shard->several)
		__builtin_prefetch(directory->bytes +
				   directory_position(directory, record->later & TRAIL_HIGHEST) /
					   8);
}

/* A reader leaves the record alone until record_finish(). */
static hot void record_begin(struct ledger_record *record, const struct shard *shard,
			     struct key key, struct event event)
{
	word_set(&record->sequence, record->sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	word_set(&record->references, 1);
	word_set(&record->address, key.address);
	word_set(&record->size, event.size);
	word_set(&record->thread, event.thread);
	word_set(&record->tag, event.tag);
	word_set((uint16_t_alias *)&record->device, key.place);
	word_set(&record->owner, shard->number | event.flags);
}

static hot void record_finish(struct ledger_record *record, struct shard *shard)
{
	clock_gettime(CLOCK_REALTIME_COARSE, &shard->now);
	word_set(&record->time_ns,
		 (uint64_t)shard->now.tv_sec * 1000000000u + (uint64_t)shard->now.tv_nsec);
	__atomic_store_n(&record->sequence, record->sequence + 1, __ATOMIC_RELEASE);
}

/* The next record of the shard's own, or UINT32_MAX when the host has no memory left. */
static hot uint32_t record_take(struct client *client, struct shard *shard)
{
	uint32_t number = shard->free_record;

	if (likely(number))
		shard->free_record = record_at(client, number - 1)->next_free;
	else
		number = ttmem__record_fresh(client, shard);
	return number - 1;
}

static hot void record_give(struct shard *shard, struct ledger_record *record, uint32_t number)
{
	word_set(&record->references, 0);
	word_set(&record->next_free, shard->free_record);
	shard->free_record = number + 1;
}

/* Writes the record of a new buffer and counts it. Returns its number, or UINT32_MAX when the host
 * has no memory left: then it is not tracked. */
static hot uint32_t account_add(struct client *client, struct shard *shard, struct key key,
				struct event event)
{
	uint32_t number = record_take(client, shard);

	if (unlikely(number == UINT32_MAX)) {
		word_count(&client->header->untracked);
		return number;
	}
	record_begin(record_at(client, number), shard, key, event);
	trail_lay(shard, record_at(client, number), key, number);
	record_finish(record_at(client, number), shard);
	count_allocated(shard, key.row, event.size);
	if (sums_add(shard, key.row, (int64_t)event.size))
		sums_settle(client, shard, key.row);
	if (unlikely(number >= client->capacity))
		word_count(&client->header->unlisted);
	return number;
}

/* The last reference is gone. */
static hot void account_remove(struct client *client, struct shard *shard, struct key key,
			       struct ledger_record *record, uint32_t number)
{
	uint64_t size = record->size;

	trails_follow(client, shard, record);
	record_give(shard, record, number);
	count_freed(shard, key.row, size);
	if (sums_add(shard, key.row, -(int64_t)size))
		sums_settle(client, shard, key.row);
	if (unlikely(number >= client->capacity))
		__atomic_fetch_sub(&client->header->unlisted, 1, __ATOMIC_RELAXED);
}

#endif
