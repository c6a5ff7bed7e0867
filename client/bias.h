/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who works in a shard. Nearly always its own thread, and so that one pays nothing for the others:
 * no locked instruction and no fence.
 *
 * The own thread says that it is inside, with a plain store, and looks whether the shard is shared.
 * If not, it goes on. Another thread takes the lock, says that the shard is shared, has the kernel
 * make a fence in every running thread of the process (membarrier), and waits until nobody is
 * inside. The fence stands between the own thread's store and its look: either we see that it is
 * inside, or it sees that the shard is shared, steps back and takes the lock like everybody. After
 * some thousand calls without a visitor the own thread makes the shard unshared again.
 *
 * The doorbell's fence is spared in the same way: the ledger says `fenceless`, and the collector
 * has the kernel make the fence between arming and reading.
 *
 * Where the kernel has no membarrier all shards stay shared, and each call has the two fences.
 */
#ifndef TTMEM_BIAS_H
#define TTMEM_BIAS_H

#include "internal.h"

/* Into the calling thread's own shard, without the lock. False: it is shared, and not taken. */
static inline bool own_step_in(struct shard *shard)
{
	word_set(&shard->inside, 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return likely(!__atomic_load_n(&shard->shared, __ATOMIC_ACQUIRE));
}

static inline void own_step_out(struct shard *shard)
{
	__atomic_store_n(&shard->inside, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Takes the calling thread's own shard. */
static inline void own_take(struct shard *shard, struct thread *thread)
{
	if (likely(own_step_in(shard)))
		return;
	ttmem__own_take_slowly(shard);
	thread->locked = 1;
}

static inline void own_give(const struct client *client, struct shard *shard, struct thread *thread)
{
	if (unlikely(thread->locked)) {
		thread->locked = 0;
		ttmem__own_give_slowly(client, shard);
		return;
	}
	own_step_out(shard);
}

static inline void other_give(struct shard *shard)
{
	lock_give(&shard->lock);
}

#endif
