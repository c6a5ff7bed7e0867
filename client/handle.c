/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers that their allocator frees by a handle: no index, no directory, and so no address that
 * must be unique. A handle is the record's number + 1, and above it the record's sequence word,
 * which is another one at the record's next use, mixed with a number that is another one after a
 * fork.
 */
#include "account.h"
#include "enter.h"

static ttmem_handle handle_make(const struct client *client, uint32_t number)
{
	uint32_t proof = record_at(client, number)->sequence ^ client->handle_key;

	return (uint64_t)proof << 32 | (number + 1);
}

ttmem_handle ttmem__alloc_handle(uint32_t device, uint32_t kind, uint64_t address, uint64_t size,
				 const char *tag)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = track_enter(thread);
	struct client *client = ttmem__client;
	struct event event = {.size = size, .flags = RECORD_HAS_HANDLE};
	struct key key = key_bare(device, kind, address);
	ttmem_handle handle = 0;

	if (unlikely(!shard))
		return 0;
	event.thread = thread->tid;
	event.tag = tag ? ttmem__tag(client, thread, tag) : thread->tag;
	own_take(shard, thread);
	if (likely(track_check(client, shard, device, kind, size))) {
		uint32_t number = account_add(client, shard, key, event);

		if (likely(number != UINT32_MAX))
			handle = handle_make(client, number);
	}
	own_give(client, shard, thread);
	track_leave(client, thread);
	return handle;
}

/* Its memory must not be touched before it has been in use. */
static struct ledger_record *record_of(const struct client *client, ttmem_handle handle)
{
	uint32_t number = (uint32_t)handle - 1;
	uint32_t listed = __atomic_load_n(&client->header->chunks_used, __ATOMIC_ACQUIRE);
	uint32_t hidden = __atomic_load_n(&client->overflow_chunks, __ATOMIC_ACQUIRE);

	if (number < client->capacity ? number / LEDGER_CHUNK_RECORDS < listed
				      : (number - client->capacity) / LEDGER_CHUNK_RECORDS < hidden)
		return record_at(client, number);
	return NULL;
}

/* With the record's shard taken. */
static bool is_live(const struct client *client, const struct ledger_record *record,
		    ttmem_handle handle)
{
	return record->references &&
	       (record->sequence ^ client->handle_key) == (uint32_t)(handle >> 32);
}

/* The shard of a record never changes while it is live, and a stale handle's is looked at again. */
static bool free_in(struct client *client, struct shard *own, struct thread *thread,
		    struct ledger_record *record, ttmem_handle handle)
{
	uint32_t owner = word_get(&record->owner);
	struct shard *shard;
	bool live;

	if (!(owner & RECORD_HAS_HANDLE) || (owner & RECORD_SHARD) >= LEDGER_SHARDS)
		return false;
	shard = __atomic_load_n(&client->shards[owner & RECORD_SHARD], __ATOMIC_ACQUIRE);
	if (unlikely(!shard))
		return false;
	if (likely(shard == own))
		own_take(own, thread);
	else
		ttmem__other_take(client, shard);
	live = is_live(client, record, handle) && record->owner == owner;
	if (likely(live))
		account_remove(client, shard, key_of(record), record, (uint32_t)handle - 1);
	if (likely(shard == own))
		own_give(client, own, thread);
	else
		other_give(shard);
	return live;
}

void ttmem__free_handle(ttmem_handle handle)
{
	struct thread *thread = &ttmem__thread;
	struct ledger_record *record;
	struct client *client;
	struct shard *own;

	if (!handle)
		return;
	own = track_enter(thread);
	client = ttmem__client;
	if (unlikely(!own))
		return;
	record = record_of(client, handle);
	if (unlikely(!record || !free_in(client, own, thread, record, handle)))
		word_count(&client->header->unknown_frees);
	track_leave(client, thread);
}
