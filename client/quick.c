/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quick way through an allocation and a free: for calls that meet nothing out of the ordinary,
 * which nearly all are. One either does all that there is to do, or changes nothing and leaves the
 * call to track.c, which knows all cases.
 *
 * With many buffers a call is mostly cache misses. A processor looks some 300 instructions ahead,
 * so in a run of short calls the misses of the next are under way while one waits for its own.
 * Hence nothing is called on this way but at its very end, when there is nothing to be kept.
 */
#include "account.h"
#include "directory.h"
#include "enter.h"

#define separate __attribute__((noinline))

/* True: the thread has a shard. False: not the quick way, and nothing has changed. What is asked is
 * asked when the thread is marked: a child that a signal handler forks here returns to here. */
static hot bool quick_begin(struct thread *thread)
{
	const struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);

	if (unlikely(thread->busy))
		return false;
	thread->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (likely(client) && likely(pass_is_good(thread, client)))
		return true;
	thread->busy = 0;
	return false;
}

/* Before the shard is taken, which in a crowded one may be while another of its threads makes a
 * larger table: then it will not be ours the quick way, and nothing is made of what was seen. */
static hot struct group *home_of(const struct shard *shard, struct key key)
{
	return word_get(&shard->index.groups) + key_home(key, word_get(&shard->index.mask));
}

static hot void quick_give(struct thread *thread, struct shard *shard)
{
	__atomic_store_n(&shard->inside, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

/* False: somebody else may be in it. */
static hot bool quick_take(struct shard *shard)
{
	word_set(&shard->inside, 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return likely(!__atomic_load_n(&shard->shared, __ATOMIC_ACQUIRE));
}

static cold void leave_ringing(struct thread *thread)
{
	ttmem__ring(ttmem__client);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

static hot void quick_leave(struct thread *thread, struct shard *shard)
{
	__atomic_store_n(&shard->inside, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (unlikely(word_get(shard->armed))) {
		leave_ringing(thread);
		return;
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

static separate void leave_settling(struct thread *thread, struct shard *shard, uint32_t row)
{
	sum_settle(ttmem__client, shard, row);
	sum_settle(ttmem__client, shard, ROWS_ALL + row % LEDGER_KINDS);
	quick_leave(thread, shard);
}

/* True: they are to be settled. */
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

/* The record of what was freed, no longer in the index. NULL: as above. */
static hot struct ledger_record *quick_free(struct shard *shard, struct group *group,
					    struct key key)
{
	uint32_t match = group_match(group, key_tag(key));
	struct ledger_record *record;
	uint32_t slot, number;

	if (unlikely(!match))
		return NULL;
	slot = (uint32_t)__builtin_ctz(match);
	number = group->records[slot];
	record = shard->records + number;
	if (unlikely(number >= shard->capacity) || unlikely(!key_is(key, record)) ||
	    unlikely(record->references != 1))
		return NULL;
	lane_flip(group, slot, key_tag(key));
	shard->index.room++;
	word_set(&record->references, 0);
	word_set(&record->next_free, shard->free_record);
	shard->free_record = word_get(&group->records[slot]) + 1;
	return record;
}

void ttmem__free(uint32_t device, uint32_t kind, uint64_t address)
{
	struct thread *thread = &ttmem__thread;
	struct key key = key_make(device, kind, address);
	struct ledger_record *record;
	struct ledger_cell *cell;
	struct shard *shard;
	struct group *group;
	uint64_t size;

	if (unlikely(!quick_begin(thread)))
		goto fully;
	shard = thread->shard;
	group = home_of(shard, key);
	__builtin_prefetch(group);
	if (unlikely(device >= LEDGER_DEVICES) || unlikely(kind >= TTMEM_KINDS) ||
	    unlikely(!quick_take(shard)) || unlikely(!(record = quick_free(shard, group, key)))) {
		quick_give(thread, shard);
		goto fully;
	}
	size = record->size;
	trails_follow(ttmem__client, shard, record);
	cell = &shard->cells[key.row];
	__atomic_store_n(&cell->freed_buffers, cell->freed_buffers + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&cell->freed_bytes, cell->freed_bytes + size, __ATOMIC_RELEASE);
	if (sums_add(shard, key.row, -(int64_t)size))
		leave_settling(thread, shard, key.row);
	else
		quick_leave(thread, shard);
	return;
fully:
	ttmem__free_fully(device, kind, address);
}

static separate void alloc_finish(struct ledger_record *record)
{
	record_finish(record, ttmem__thread.shard);
	quick_leave(&ttmem__thread, ttmem__thread.shard);
}

static separate void alloc_finish_settling(struct ledger_record *record, uint32_t row)
{
	struct thread *thread = &ttmem__thread;
	struct shard *shard = thread->shard;

	record_finish(record, shard);
	leave_settling(thread, shard, row);
}

/* The record of a new buffer, entered in the index. NULL: not the quick way, and nothing has
 * changed.
 */
static hot struct ledger_record *quick_alloc(struct shard *shard, struct group *group,
					     struct key key)
{
	uint32_t number = shard->free_record - 1;
	struct ledger_record *record = shard->records + number;
	uint32_t slot;

	if (unlikely(number >= shard->capacity) || unlikely(group_match(group, key_tag(key))) ||
	    unlikely(group_passed(group)) || unlikely(!index_has_room(&shard->index)))
		return NULL;
	if (unlikely(shard->several) &&
	    unlikely(directory_look(ttmem__client, key) != shard->number + 1))
		return NULL;
	slot = group_match(group, 0);
	if (unlikely(!slot))
		return NULL;
	slot = (uint32_t)__builtin_ctz(slot);
	word_set(&group->records[slot], number);
	lane_put(group, slot, key_tag(key));
	shard->index.room--;
	shard->free_record = record->next_free;
	trail_lay(shard, record, key, number);
	return record;
}

void ttmem__alloc(uint32_t device, uint32_t kind, uint64_t address, uint64_t size, const char *tag)
{
	struct thread *thread = &ttmem__thread;
	struct key key = key_make(device, kind, address);
	struct ledger_record *record;
	struct ledger_cell *cell;
	struct shard *shard;
	struct group *group;

	if (unlikely(tag) || unlikely(!quick_begin(thread)))
		goto fully;
	shard = thread->shard;
	group = home_of(shard, key);
	__builtin_prefetch(group);
	if (unlikely(device >= LEDGER_DEVICES) || unlikely(kind >= TTMEM_KINDS) ||
	    unlikely(!quick_take(shard)) || unlikely(size > LEDGER_MAX_BYTES) ||
	    unlikely(!(shard->devices >> device & 1)) ||
	    unlikely(!(record = quick_alloc(shard, group, key)))) {
		quick_give(thread, shard);
		goto fully;
	}
	record_begin(record, shard, key,
		     (struct event){.size = size, .thread = thread->tid, .tag = thread->tag});
	cell = &shard->cells[key.row];
	word_add(&cell->allocated_bytes, size);
	word_add(&cell->allocated_buffers, 1);
	if (sums_add(shard, key.row, (int64_t)size))
		alloc_finish_settling(record, key.row);
	else
		alloc_finish(record);
	return;
fully:
	ttmem__alloc_fully(device, kind, address, size, tag);
}
