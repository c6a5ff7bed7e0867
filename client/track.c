/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot path: an allocation, a free, a failed allocation.
 *
 * A thread works under the lock of its own shard, which nobody else takes unless buffers cross
 * threads. While there is one shard that is all. With several, the same address may be live in
 * another shard, and the directory (directory.h) says whether to look there.
 */
#include "directory.h"
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

/* Under the shard's lock: whether the arguments can be recorded, and the device has counters. */
static inline bool track_check(struct client *client, struct shard *shard, uint32_t device,
			       uint32_t kind, uint64_t size)
{
	if (unlikely(device >= LEDGER_DEVICES || kind >= TTMEM_KINDS || size > LEDGER_MAX_BYTES)) {
		word_count(&client->header->bad_arguments);
		return false;
	}
	if (likely(shard->devices >> device & 1) || ttmem__shard_use_device(client, shard, device))
		return true;
	word_count(&client->header->untracked);
	return false;
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#define LARGE_KINDS (1u << TTMEM_DRAM | 1u << TTMEM_SYSTEM | 1u << TTMEM_TRACE)

/* How far a shard may be ahead of the process table, in bytes: ttmem_get_totals() states it. */
static inline int64_t batch_of(uint32_t kind)
{
	return LARGE_KINDS >> kind & 1 ? 4 << 20 : 256 << 10;
}

/* Adds to one row of the process table, at once while there is one shard, else in batches. */
static inline void process_add(struct client *client, struct shard *shard, uint32_t row,
			       uint32_t kind, int64_t delta)
{
	struct ledger_process_cell *cell = &client->process[row][kind];
	int64_t live;

	if (unlikely(client->several)) {
		int64_t batch = batch_of(kind);

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

/* What is known of an allocation besides its key. */
struct event {
	uint64_t size;
	uint32_t thread;
	uint16_t tag;
};

static inline void record_write(struct ledger_record *record, const struct key *key,
				const struct event *event)
{
	uint32_t sequence = record->sequence;

	word_set(&record->sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	word_set(&record->references, 1);
	word_set(&record->address, key->address);
	word_set(&record->size, event->size);
	word_set(&record->time_ns, now_ns());
	word_set(&record->thread, event->thread);
	word_set(&record->tag, event->tag);
	word_set(&record->device, key->device);
	word_set(&record->kind, key->kind);
	__atomic_store_n(&record->sequence, sequence + 2, __ATOMIC_RELEASE);
}

/* The next record of the shard's own, or UINT32_MAX when the host has no memory left. */
static inline uint32_t record_take(struct client *client, struct shard *shard)
{
	uint32_t number = shard->free_record;

	if (likely(number))
		shard->free_record = record_at(client, number - 1)->next_free;
	else
		number = ttmem__record_fresh(client, shard);
	return number - 1;
}

static inline void buffer_add(struct client *client, struct shard *shard, const struct key *key,
			      const struct event *event)
{
	struct ledger_cell *cell = &shard->cells->cells[key->device][key->kind];
	uint32_t number = index_reserve(&shard->index) ? record_take(client, shard) : UINT32_MAX;

	if (unlikely(number == UINT32_MAX)) {
		word_count(&client->header->untracked);
		return;
	}
	record_write(record_at(client, number), key, event);
	index_put(&shard->index, key->hash, number);
	word_add(&cell->allocated_bytes, event->size);
	word_add(&cell->allocated_buffers, 1);
	process_add(client, shard, key->device, key->kind, (int64_t)event->size);
	process_add(client, shard, LEDGER_ALL_DEVICES, key->kind, (int64_t)event->size);
	if (unlikely(number >= client->capacity))
		word_count(&client->header->unlisted);
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

/* Takes the locks of all shards and searches them. Returns true if the address was found and given
 * another reference. The number of shards is read again each time: see directory.h. */
static bool refer_anywhere(struct client *client, const struct shard *own, const struct key *key,
			   uint64_t size, uint32_t *locked)
{
	bool found = false;
	uint32_t i;

	for (i = 0; i < __atomic_load_n(&client->nshards, __ATOMIC_ACQUIRE); i++) {
		struct shard *shard = client->shards[i];
		uint32_t slot;

		lock_take(&shard->lock);
		/* Since we entered, the directory may have been made anew. Now it cannot be. */
		if (i == 0)
			directory_enter(client, own, key);
		slot = found ? INDEX_NONE : index_find(&shard->index, client, key);
		if (slot != INDEX_NONE) {
			buffer_refer(client, shard, slot, size);
			found = true;
		}
	}
	*locked = i;
	return found;
}

/* The address may be another shard's too: the slow way, with all locks held together. Called with
 * our lock held, and returns with it. */
static void alloc_among_many(struct client *client, struct shard *own, const struct key *key,
			     const struct event *event)
{
	bool crowded = false;
	uint32_t locked;

	lock_give(&own->lock); /* they are taken in order, so that two threads cannot lock up */
	if (!refer_anywhere(client, own, key, event->size, &locked)) {
		crowded = ttmem__directory_wasted(client);
		buffer_add(client, own, key, event);
	}
	for (uint32_t i = 0; i < locked; i++)
		if (client->shards[i] != own || crowded)
			lock_give(&client->shards[i]->lock);
	if (crowded) {
		ttmem__directory_rebuild(client);
		lock_take(&own->lock);
	}
}

void ttmem__alloc(uint32_t device, uint32_t kind, uint64_t address, uint64_t size, const char *tag)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;
	struct event event = {.size = size};
	struct key key;
	uint32_t slot;

	if (unlikely(!shard))
		return;
	event.thread = thread->tid;
	event.tag = tag ? ttmem__tag(client, thread, tag) : LEDGER_TAG_NONE;
	key = key_make(device, kind, address);
	lock_take(&shard->lock);
	if (unlikely(!track_check(client, shard, device, kind, size)))
		goto out;
	slot = index_find(&shard->index, client, &key);
	if (unlikely(slot != INDEX_NONE))
		buffer_refer(client, shard, slot, size);
	else if (likely(!client->several) || directory_enter(client, shard, &key))
		buffer_add(client, shard, &key, &event);
	else
		alloc_among_many(client, shard, &key, &event);
out:
	track_leave(client, shard, thread);
}

/* The buffer is not in our shard: it is another thread's, or nobody's. Called with our lock held,
 * and returns with it. */
static bool free_elsewhere(struct client *client, struct shard *own, const struct key *key)
{
	uint8_t owner = __atomic_load_n(directory_cell(client, key), __ATOMIC_RELAXED);
	bool found = false;

	if (!owner || owner == own->number + 1)
		return false;
	lock_give(&own->lock);
	for (uint32_t i = 0; !found && i < __atomic_load_n(&client->nshards, __ATOMIC_ACQUIRE);
	     i++) {
		struct shard *shard = client->shards[i];
		uint32_t slot;

		if (owner != CELL_MANY && owner != i + 1)
			continue;
		lock_take(&shard->lock);
		slot = index_find(&shard->index, client, key);
		if (slot != INDEX_NONE)
			buffer_remove(client, shard, key, slot);
		lock_give(&shard->lock);
		found = slot != INDEX_NONE;
	}
	lock_take(&own->lock);
	return found;
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
	if (likely(slot != INDEX_NONE))
		buffer_remove(client, shard, &key, slot);
	else if (!client->several || !free_elsewhere(client, shard, &key))
		word_count(&client->header->unknown_frees);
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
	if (track_check(client, shard, device, kind, 0))
		failure_write(&shard->cells->cells[device][kind], size, largest_free);
	track_leave(client, shard, thread);
}
