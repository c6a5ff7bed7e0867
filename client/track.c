/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot path: an allocation, a free, a failed allocation.
 *
 * A thread works under the lock of its own shard, which nobody else takes unless buffers cross
 * threads. While there is one shard that is all. With several, the same address may be live in
 * another shard, and the directory says where to look:
 *
 *   A thread enters its shard's bit in the address's cell while it holds its own lock, and before
 *   it inserts. If it then finds its bit alone, nobody else has the address: whoever enters a bit
 *   later sees ours, and takes our lock before it decides, so it finds what we inserted. If there
 *   are other bits, all the shards named are locked, in order, and searched before inserting.
 *   Bits are never cleared; a stale one costs a search and changes no result.
 */
#include "index.h"
#include <time.h>

static struct shard *reentered(const struct client *client)
{
	if (client && client->epoch)
		word_count(&client->header->reentered);
	return NULL;
}

/* The thread's shard, not yet locked; NULL: not tracked. */
static inline struct shard *track_enter(struct thread *thread)
{
	const struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);
	struct shard *shard;

	if (unlikely(thread->busy))
		return reentered(client);
	thread->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (likely(client && thread->epoch == word_get(&client->epoch) && thread->epoch))
		return thread->shard;
	shard = ttmem__enter_slowly(thread);
	if (!shard)
		thread->busy = 0;
	return shard;
}

/* Gives the shard back and rings the doorbell if the collector waits. One fence serves the lock's
 * waiters and the doorbell. */
static inline void track_leave(struct client *client, struct shard *shard, struct thread *thread)
{
	lock_drop(&shard->lock);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	lock_wake_waiters(&shard->lock);
	doorbell_check(client);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t *directory_cell(const struct client *client, const struct key *key)
{
	return &client->directory[key->hash >> (32 - DIRECTORY_BITS)];
}

/* Adds to one row of the process table, at once while there is one shard, else in batches. */
static inline void process_add(struct client *client, struct shard *shard, uint32_t row,
			       uint32_t kind, int64_t delta)
{
	struct ledger_process_cell *cell = &client->process[row][kind];
	int64_t live;

	if (unlikely(client->several)) {
		int64_t batch = ttmem__batch(kind);

		live = shard->unpushed[row][kind] += delta;
		if (live >= batch || live <= -batch) {
			shard->unpushed[row][kind] = 0;
			ttmem__push(client, row, kind, live);
		}
		return;
	}
	live = cell->live_bytes + delta;
	word_set(&cell->live_bytes, live);
	if ((uint64_t)live > cell->peak_bytes)
		word_set(&cell->peak_bytes, (uint64_t)live);
}

static inline void record_write(struct ledger_record *record, const struct key *key, uint64_t size,
				uint32_t thread, uint16_t tag)
{
	uint32_t sequence = record->sequence;

	word_set(&record->sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	word_set(&record->references, 1);
	word_set(&record->address, key->address);
	word_set(&record->size, size);
	word_set(&record->time_ns, now_ns());
	word_set(&record->thread, thread);
	word_set(&record->tag, tag);
	word_set(&record->device, key->device);
	word_set(&record->kind, key->kind);
	__atomic_store_n(&record->sequence, sequence + 2, __ATOMIC_RELEASE);
}

static inline bool buffer_add(struct client *client, struct shard *shard, const struct key *key,
			      uint64_t size, uint32_t thread, uint16_t tag)
{
	struct ledger_cell *cell = &shard->cells->cells[key->device][key->kind];
	struct ledger_record *record;
	uint32_t number = shard->free_record;

	if (unlikely(!index_reserve(&shard->index)))
		return false;
	if (likely(number)) {
		record = record_at(client, --number);
		shard->free_record = record->next_free;
	} else {
		number = ttmem__record_fresh(client, shard);
		if (unlikely(!number))
			return false;
		record = record_at(client, --number);
	}
	record_write(record, key, size, thread, tag);
	index_put(&shard->index, key->hash, number);
	word_add(&cell->allocated_bytes, size);
	word_add(&cell->allocated_buffers, 1);
	process_add(client, shard, key->device, key->kind, (int64_t)size);
	process_add(client, shard, LEDGER_ALL_DEVICES, key->kind, (int64_t)size);
	if (unlikely(number >= client->capacity))
		word_count(&client->header->unlisted);
	return true;
}

static inline void buffer_remove(struct client *client, struct shard *shard, const struct key *key,
				 uint32_t slot)
{
	struct ledger_cell *cell = &shard->cells->cells[key->device][key->kind];
	uint32_t number = slot_record(shard->index.slots[slot]);
	struct ledger_record *record = record_at(client, number);
	uint64_t size = record->size;

	if (unlikely(record->references > 1)) {
		word_set(&record->references, record->references - 1);
		return;
	}
	index_remove(&shard->index, slot);
	word_set(&record->references, 0);
	word_set(&record->next_free, shard->free_record);
	shard->free_record = number + 1;
	word_add(&cell->freed_buffers, 1);
	/* A reader that sees this also sees the allocation: it takes `freed` first. */
	__atomic_store_n(&cell->freed_bytes, cell->freed_bytes + size, __ATOMIC_RELEASE);
	process_add(client, shard, key->device, key->kind, -(int64_t)size);
	process_add(client, shard, LEDGER_ALL_DEVICES, key->kind, -(int64_t)size);
	if (unlikely(number >= client->capacity))
		__atomic_fetch_sub(&client->header->unlisted, 1, __ATOMIC_RELAXED);
}

static void buffer_refer(struct client *client, struct shard *shard, uint32_t slot, uint64_t size)
{
	struct ledger_record *record = record_at(client, slot_record(shard->index.slots[slot]));

	if (record->size != size)
		word_count(&client->header->size_mismatches);
	if (record->references < UINT32_MAX)
		word_set(&record->references, record->references + 1);
}

/* The shards, in order, that may hold the address, each one locked and searched; the bit of ours
 * is among them. Returns true if the address was found and given another reference. */
static bool refer_anywhere(struct client *client, uint64_t mask, const struct key *key,
			   uint64_t size)
{
	bool found = false;

	for (uint64_t rest = mask; rest; rest &= rest - 1) {
		struct shard *shard = client->shards[__builtin_ctzll(rest)];
		uint32_t slot;

		lock_take(&shard->lock);
		slot = found ? INDEX_NONE : index_find(&shard->index, client, key);
		if (slot != INDEX_NONE) {
			buffer_refer(client, shard, slot, size);
			found = true;
		}
	}
	return found;
}

static void others_unlock(struct client *client, uint64_t mask, const struct shard *own)
{
	for (uint64_t rest = mask & ~(1ull << own->number); rest; rest &= rest - 1)
		lock_give(&client->shards[__builtin_ctzll(rest)]->lock);
}

/* With several shards and our lock held, but the address not in our shard. Returns true if another
 * shard had it. On return our lock is held, and so are those in *locked. */
static bool refer_elsewhere(struct client *client, struct shard *own, const struct key *key,
			    uint64_t size, uint64_t *locked)
{
	uint64_t *cell = directory_cell(client, key);
	uint64_t bit = 1ull << own->number;
	uint64_t mask = __atomic_load_n(cell, __ATOMIC_ACQUIRE);

	if (!(mask & bit))
		mask = __atomic_fetch_or(cell, bit, __ATOMIC_ACQ_REL) | bit;
	if (mask == bit)
		return false;
	lock_give(&own->lock); /* they are taken in order, so that two threads cannot lock up */
	*locked = mask;
	return refer_anywhere(client, mask, key, size);
}

void ttmem__alloc(uint32_t device, uint32_t kind, uint64_t address, uint64_t size,
		  const char *tag_name)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;
	uint64_t locked = 0;
	struct key key;
	uint32_t slot;
	uint16_t tag;

	if (unlikely(!shard))
		return;
	tag = tag_name ? ttmem__tag(client, thread, tag_name) : LEDGER_TAG_NONE;
	key = key_make(device, kind, address);
	lock_take(&shard->lock);
	if (unlikely(device >= LEDGER_DEVICES || kind >= TTMEM_KINDS || size > LEDGER_MAX_BYTES)) {
		word_count(&client->header->bad_arguments);
		goto out;
	}
	if (unlikely(!(shard->devices >> device & 1)) &&
	    !ttmem__shard_use_device(client, shard, device)) {
		word_count(&client->header->untracked);
		goto out;
	}
	slot = index_find(&shard->index, client, &key);
	if (unlikely(slot != INDEX_NONE))
		buffer_refer(client, shard, slot, size);
	else if (!(client->several && refer_elsewhere(client, shard, &key, size, &locked)) &&
		 unlikely(!buffer_add(client, shard, &key, size, thread->tid, tag)))
		word_count(&client->header->untracked);
	if (unlikely(locked))
		others_unlock(client, locked, shard);
out:
	track_leave(client, shard, thread);
}

/* The buffer is not in our shard: it is another thread's, or nobody's. Our lock is not held. */
static bool free_elsewhere(struct client *client, const struct shard *own, const struct key *key)
{
	uint64_t mask = __atomic_load_n(directory_cell(client, key), __ATOMIC_ACQUIRE);

	for (mask &= ~(1ull << own->number); mask; mask &= mask - 1) {
		struct shard *shard = client->shards[__builtin_ctzll(mask)];
		uint32_t slot;

		lock_take(&shard->lock);
		slot = index_find(&shard->index, client, key);
		if (slot != INDEX_NONE)
			buffer_remove(client, shard, key, slot);
		lock_give(&shard->lock);
		if (slot != INDEX_NONE)
			return true;
	}
	return false;
}

void ttmem__free(uint32_t device, uint32_t kind, uint64_t address)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;
	struct key key;
	uint32_t slot;

	if (unlikely(!shard))
		return;
	key = key_make(device, kind, address);
	lock_take(&shard->lock);
	if (unlikely(device >= LEDGER_DEVICES || kind >= TTMEM_KINDS)) {
		word_count(&client->header->bad_arguments);
		goto out;
	}
	slot = index_find(&shard->index, client, &key);
	if (likely(slot != INDEX_NONE)) {
		buffer_remove(client, shard, &key, slot);
		goto out;
	}
	if (client->several) {
		lock_give(&shard->lock);
		if (!free_elsewhere(client, shard, &key))
			word_count(&client->header->unknown_frees);
		lock_take(&shard->lock);
	} else {
		word_count(&client->header->unknown_frees);
	}
out:
	track_leave(client, shard, thread);
}

static void failure_write(struct ledger_cell *cell, uint64_t size, uint64_t largest_free)
{
	uint32_t sequence = cell->failure_sequence;

	word_set(&cell->failure_sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	word_set(&cell->failed_bytes, size);
	word_set(&cell->largest_free_bytes, largest_free);
	word_set(&cell->failure_time_ns, now_ns());
	__atomic_store_n(&cell->failure_sequence, sequence + 2, __ATOMIC_RELEASE);
	word_add(&cell->failures, 1);
}

void ttmem__alloc_failed(uint32_t device, uint32_t kind, uint64_t size, uint64_t largest_free)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;

	if (unlikely(!shard))
		return;
	lock_take(&shard->lock);
	if (device >= LEDGER_DEVICES || kind >= TTMEM_KINDS) {
		word_count(&client->header->bad_arguments);
	} else if (!(shard->devices >> device & 1) &&
		   !ttmem__shard_use_device(client, shard, device)) {
		word_count(&client->header->untracked);
	} else {
		failure_write(&shard->cells->cells[device][kind], size, largest_free);
	}
	track_leave(client, shard, thread);
}
