/* SPDX-License-Identifier: Apache-2.0 */
/* The way into a call on the hot path, and out of it. */
#ifndef TTMEM_ENTER_H
#define TTMEM_ENTER_H

#include "bias.h"

struct shard *ttmem__reentered(const struct client *client);

/* The thread's shard, not yet taken; NULL: not tracked. */
static hot struct shard *track_enter(struct thread *thread)
{
	const struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);
	struct shard *shard;

	if (unlikely(thread->busy))
		return ttmem__reentered(client);
	thread->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (likely(client && pass_is_good(thread, client)))
		return thread->shard;
	shard = ttmem__enter_slowly(thread);
	if (!shard)
		thread->busy = 0;
	return shard;
}

/* After a shard was given back, which is a fence or stands for one: rings if the collector waits.
 */
static hot void track_leave(struct client *client, struct thread *thread)
{
	doorbell_check(client);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

/* With the shard taken: whether the arguments can be recorded, and the device has counters. */
static hot bool track_check(struct client *client, struct shard *shard, uint32_t device,
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

#endif
