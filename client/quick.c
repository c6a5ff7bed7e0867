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

/* Has the key's group fetched. Before the shard is taken, which in a crowded one may be while
 * another of its threads makes a larger table: then it will not be ours the quick way, and nothing
 * is made of what was seen. */
static hot struct group *quick_home(const struct shard *shard, struct key key)
{
	struct group *group =
		word_get(&shard->index.groups) + key_home(key, word_get(&shard->index.mask));

	__builtin_prefetch(group);
	return group;
}

static hot void quick_undo(struct thread *thread, struct shard *shard)
{
	own_step_out(shard);
	thread->busy = 0;
}

static cold void leave_ringing(struct thread *thread)
{
	track_leave(ttmem__client, thread);
}

static hot void quick_leave(struct thread *thread, struct shard *shard)
{
	own_step_out(shard);
	if (unlikely(word_get(shard->armed))) {
		leave_ringing(thread);
		return;
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

static separate void leave_settling(struct thread *thread, struct shard *shard, uint64_t row)
{
	sums_settle(ttmem__client, shard, row);
	quick_leave(thread, shard);
}

/* The record of what was freed, no longer in the index. NULL: not the quick way, and nothing has
 * changed. */
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
	record_give(shard, record, word_get(&group->records[slot]));
	return record;
}

void ttmem__free(uint32_t device, uint32_t kind, uint64_t address)
{
	struct thread *thread = &ttmem__thread;
	struct key key = key_make(device, kind, address);
	struct ledger_record *record;
	struct shard *shard;
	struct group *group;
	uint64_t size;

	if (unlikely(!quick_begin(thread)))
		goto fully;
	shard = thread->shard;
	group = quick_home(shard, key);
	if (unlikely(device >= LEDGER_DEVICES) || unlikely(kind >= TTMEM_KINDS) ||
	    unlikely(!own_step_in(shard)) || unlikely(!(record = quick_free(shard, group, key)))) {
		quick_undo(thread, shard);
		goto fully;
	}
	size = record->size;
	trails_follow(ttmem__client, shard, record);
	count_freed(shard, key.row, size);
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

static separate void alloc_settle(struct ledger_record *record, uint64_t row)
{
	sums_settle(ttmem__client, ttmem__thread.shard, row);
	alloc_finish(record);
}

/* The record of a new buffer, entered in the index. NULL: as above. */
static hot struct ledger_record *quick_alloc(struct shard *shard, struct group *group,
					     struct key key)
{
	uint32_t number = shard->free_record - 1;
	struct ledger_record *record = shard->records + number;
	uint32_t slot;

	if (unlikely(number >= shard->capacity) || unlikely(group_match(group, key_tag(key))) ||
	    unlikely(group_passed(group)) || unlikely(!index_has_room(&shard->index)))
		return NULL;
	if (shard->several && unlikely(!directory_is_ours(ttmem__client, shard, key)))
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
	struct shard *shard;
	struct group *group;

	if (unlikely(tag) || unlikely(!quick_begin(thread)))
		goto fully;
	shard = thread->shard;
	group = quick_home(shard, key);
	if (unlikely(device >= LEDGER_DEVICES) || unlikely(kind >= TTMEM_KINDS) ||
	    unlikely(!own_step_in(shard)) || unlikely(size > LEDGER_MAX_BYTES) ||
	    unlikely(!(shard->devices >> device & 1)) ||
	    unlikely(!(record = quick_alloc(shard, group, key)))) {
		quick_undo(thread, shard);
		goto fully;
	}
	record_begin(record, shard, key,
		     (struct event){.size = size, .thread = thread->tid, .tag = thread->tag});
	count_allocated(shard, key.row, size);
	if (sums_add(shard, key.row, (int64_t)size))
		alloc_settle(record, key.row);
	else
		alloc_finish(record);
	return;
fully:
	ttmem__alloc_fully(device, kind, address, size, tag);
}
