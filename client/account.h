/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer's record, and the sums that change with it. All with the buffer's shard taken. */
#ifndef TTMEM_ACCOUNT_H
#define TTMEM_ACCOUNT_H

#include "index.h"

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

static hot void process_add_later(struct client *client, struct shard *shard, uint32_t row,
				  uint32_t kind, int64_t delta)
{
	int64_t batch = batch_of(kind);
	int64_t ahead = shard->unpushed[row][kind] += delta;

	if (ahead >= batch || ahead <= -batch) {
		shard->unpushed[row][kind] = 0;
		ttmem__push(client, row, kind, ahead);
	}
}

static hot void process_add_now(struct ledger_process_cell *cell, int64_t delta)
{
	int64_t live = cell->live_bytes + delta;

	word_set(&cell->live_bytes, live);
	if (unlikely((uint64_t)live > cell->peak_bytes))
		word_set(&cell->peak_bytes, (uint64_t)live);
}

/* Adds to the device's row of the process table and to that of all devices: at once while there is
 * one shard, else in batches. */
static hot void process_add(struct client *client, struct shard *shard, struct key key,
			    int64_t delta)
{
	if (likely(!client->several)) {
		process_add_now(&client->process[key.device][key.kind], delta);
		process_add_now(&client->process[LEDGER_ALL_DEVICES][key.kind], delta);
	} else {
		process_add_later(client, shard, key.device, key.kind, delta);
		process_add_later(client, shard, LEDGER_ALL_DEVICES, key.kind, delta);
	}
}

static hot void record_write(struct ledger_record *record, const struct shard *shard,
			     struct key key, struct event event)
{
	uint32_t sequence = record->sequence;

	word_set(&record->sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	word_set(&record->references, 1);
	word_set(&record->address, key.address);
	word_set(&record->size, event.size);
	word_set(&record->time_ns, clock_ns(CLOCK_REALTIME_COARSE));
	word_set(&record->thread, event.thread);
	word_set(&record->tag, event.tag);
	word_set(&record->device, key.device);
	word_set(&record->kind, key.kind);
	word_set(&record->owner, shard->number | event.flags);
	__atomic_store_n(&record->sequence, sequence + 2, __ATOMIC_RELEASE);
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

/* Writes the record of a new buffer and counts it. Returns its number, or UINT32_MAX when the host
 * has no memory left: then it is not tracked. */
static hot uint32_t account_add(struct client *client, struct shard *shard, struct key key,
				struct event event)
{
	struct ledger_cell *cell = &shard->cells->cells[key.device][key.kind];
	uint32_t number = record_take(client, shard);

	if (unlikely(number == UINT32_MAX)) {
		word_count(&client->header->untracked);
		return number;
	}
	record_write(record_at(client, number), shard, key, event);
	word_add(&cell->allocated_bytes, event.size);
	word_add(&cell->allocated_buffers, 1);
	process_add(client, shard, key, (int64_t)event.size);
	if (unlikely(number >= client->capacity))
		word_count(&client->header->unlisted);
	return number;
}

/* The last reference is gone. */
static hot void account_remove(struct client *client, struct shard *shard, struct key key,
			       struct ledger_record *record, uint32_t number)
{
	struct ledger_cell *cell = &shard->cells->cells[key.device][key.kind];
	uint64_t size = record->size;

	word_set(&record->references, 0);
	word_set(&record->next_free, shard->free_record);
	shard->free_record = number + 1;
	/* A reader that sees one of these also sees the allocation: it takes `freed` first. */
	__atomic_store_n(&cell->freed_buffers, cell->freed_buffers + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&cell->freed_bytes, cell->freed_bytes + size, __ATOMIC_RELEASE);
	process_add(client, shard, key, -(int64_t)size);
	if (unlikely(number >= client->capacity))
		__atomic_fetch_sub(&client->header->unlisted, 1, __ATOMIC_RELAXED);
}

#endif
