/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot path: an allocation, a free, a failed allocation.
 *
 * A thread works in its own shard, which nobody else takes unless buffers cross threads. While
 * there is one shard that is all. With several, the same address may be live in another shard, and
 * the directory (directory.h) says whether to look there.
 */
#include "account.h"
#include "directory.h"
#include "enter.h"

struct shard *ttmem__reentered(const struct client *client)
{
	if (client && word_get(&client->epoch))
		word_count(&client->header->reentered);
	return NULL;
}

static hot void buffer_add(struct client *client, struct shard *shard, struct key key,
			   struct event event)
{
	uint32_t number = account_add(client, shard, key, event);

	if (likely(number != UINT32_MAX))
		index_put(&shard->index, key, number);
}

static hot void buffer_remove(struct client *client, struct shard *shard, struct key key,
			      struct place place)
{
	if (unlikely(place.record->references > 1)) {
		word_set(&place.record->references, place.record->references - 1);
		return;
	}
	index_remove(&shard->index, key, place);
	account_remove(client, shard, key, place.record, place.number);
}

static cold void buffer_refer(const struct client *client, struct ledger_record *record,
			      uint64_t size)
{
	if (record->size != size)
		word_count(&client->header->size_mismatches);
	if (record->references < UINT32_MAX)
		word_set(&record->references, record->references + 1);
}

/* Takes a shard, and gives the key's buffer in it another reference if it is there. */
static bool refer_in(struct client *client, struct shard *shard, struct key key, uint64_t size)
{
	struct place place;

	ttmem__other_take(client, shard);
	place = index_find(&shard->index, client, key);
	if (place.group)
		buffer_refer(client, place.record, size);
	other_give(shard);
	return place.group;
}

/* With client->search_lock: the next shard from `*next` on, but our own, that seems to have the
 * key, or NULL. A no is certain; what was seen of a record that is written meanwhile may be of two
 * keys, so whoever takes the shard and does not find the key goes on. */
static struct shard *search(const struct client *client, const struct shard *own, struct key key,
			    uint32_t *next)
{
	while (*next < __atomic_load_n(&client->nshards, __ATOMIC_ACQUIRE)) {
		struct shard *shard = __atomic_load_n(&client->shards[(*next)++], __ATOMIC_ACQUIRE);

		if (shard != own && ttmem__index_has(&shard->index, client, key))
			return shard;
	}
	return NULL;
}

/* With client->search_lock, and no shard taken. Enters us in the key's cell, and gives the buffer
 * another reference if another shard has it. directory.h says why this is right. */
static bool refer_elsewhere(struct client *client, const struct shard *own, struct key key,
			    uint64_t size, bool *in_vain)
{
	uint8_t owner = directory_join(client, own, key);
	struct shard *shard;
	uint32_t next = 0;

	if (owner == own->number + 1)
		return false;
	if (owner != CELL_MANY)
		return refer_in(client, client->shards[owner - 1], key, size);
	while ((shard = search(client, own, key, &next)))
		if (refer_in(client, shard, key, size))
			return true;
	*in_vain = true;
	return false;
}

/* The address may be another shard's, too. With our own shard taken, before and after. */
static cold void alloc_among_many(struct client *client, struct shard *own, struct thread *thread,
				  struct key key, struct event event)
{
	bool in_vain = false, rebuild = false;
	struct place place;

	own_give(client, own, thread);
	lock_take(&client->search_lock);
	if (refer_elsewhere(client, own, key, event.size, &in_vain)) {
		own_take(own, thread);
	} else {
		/* A thread that shares our shard may have been here. */
		own_take(own, thread);
		place = index_find(&own->index, client, key);
		if (unlikely(place.group))
			buffer_refer(client, place.record, event.size);
		else if (index_is_full(&own->index))
			word_count(&client->header->untracked);
		else
			buffer_add(client, own, key, event);
		rebuild = in_vain && ttmem__directory_wasted(client);
	}
	lock_give(&client->search_lock);
	if (rebuild) {
		own_give(client, own, thread);
		ttmem__directory_rebuild(client);
		own_take(own, thread);
	}
}

/* Other threads may be looking into the table, so it grows when they cannot. */
static cold bool make_room(struct client *client, struct shard *own, struct thread *thread)
{
	own_give(client, own, thread);
	lock_take(&client->search_lock);
	own_take(own, thread);
	if (!index_has_room(&own->index))
		ttmem__index_grow(client, own);
	lock_give(&client->search_lock);
	return !index_is_full(&own->index);
}

static hot void alloc_in(struct client *client, struct shard *own, struct thread *thread,
			 struct key key, struct event event)
{
	struct place place = index_find(&own->index, client, key);

	if (unlikely(place.group))
		buffer_refer(client, place.record, event.size);
	else if (likely(!own->several) || directory_enter(client, own, key))
		buffer_add(client, own, key, event);
	else
		alloc_among_many(client, own, thread, key, event);
}

void ttmem__alloc_fully(uint32_t device, uint32_t kind, uint64_t address, uint64_t size,
			const char *tag)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;
	struct event event = {.size = size};
	struct key key;

	if (unlikely(!shard))
		return;
	event.thread = thread->tid;
	event.tag = tag ? ttmem__tag(client, thread, tag) : thread->tag;
	key = key_make(device, kind, address);
	own_take(shard, thread);
	if (likely(track_check(client, shard, device, kind, size))) {
		if (likely(index_has_room(&shard->index)) || make_room(client, shard, thread))
			alloc_in(client, shard, thread, key, event);
		else
			word_count(&client->header->untracked);
	}
	own_give(client, shard, thread);
	track_leave(client, thread);
}

/* Takes a shard, and frees the key's buffer in it if it is there. */
static bool free_in(struct client *client, struct shard *shard, struct key key)
{
	struct place place;

	ttmem__other_take(client, shard);
	place = index_find(&shard->index, client, key);
	if (place.group)
		buffer_remove(client, shard, key, place);
	other_give(shard);
	return place.group;
}

static bool free_among_many(struct client *client, const struct shard *own, struct key key)
{
	struct shard *shard;
	uint32_t next = 0;

	do {
		lock_take(&client->search_lock);
		shard = search(client, own, key, &next);
		lock_give(&client->search_lock);
	} while (shard && !free_in(client, shard, key));
	return shard;
}

/* The buffer is not in our shard: it is another thread's, or nobody's. With our own shard taken,
 * before and after. */
static cold bool free_elsewhere(struct client *client, struct shard *own, struct thread *thread,
				struct key key)
{
	uint8_t owner = directory_look(client, key);
	bool freed;

	if (!owner || owner == own->number + 1)
		return false;
	own_give(client, own, thread);
	freed = owner == CELL_MANY ? free_among_many(client, own, key)
				   : free_in(client, client->shards[owner - 1], key);
	own_take(own, thread);
	return freed;
}

void ttmem__free_fully(uint32_t device, uint32_t kind, uint64_t address)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;
	struct key key;
	struct place place;

	if (unlikely(!shard))
		return;
	if (unlikely(device >= LEDGER_DEVICES || kind >= TTMEM_KINDS)) {
		word_count(&client->header->bad_arguments);
		thread->busy = 0;
		return;
	}
	key = key_make(device, kind, address);
	own_take(shard, thread);
	place = index_find(&shard->index, client, key);
	if (likely(place.group))
		buffer_remove(client, shard, key, place);
	else if (!shard->several || !free_elsewhere(client, shard, thread, key))
		word_count(&client->header->unknown_frees);
	own_give(client, shard, thread);
	track_leave(client, thread);
}

/* Failures are rare, so they can have the fine clock: of two processes' the later one is known. */
static void failure_write(struct ledger_cell *cell, uint64_t size, uint64_t largest_free)
{
	uint32_t sequence = cell->failure_sequence;

	word_set(&cell->failure_sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	word_set(&cell->failed_bytes, size);
	word_set(&cell->largest_free_bytes, largest_free);
	word_set(&cell->failure_time_ns, clock_ns(CLOCK_REALTIME));
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
	own_take(shard, thread);
	if (track_check(client, shard, device, kind, 0))
		failure_write(&shard->cells[ROW(device, kind)], size, largest_free);
	own_give(client, shard, thread);
	track_leave(client, thread);
}
