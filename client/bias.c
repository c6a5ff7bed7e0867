/* SPDX-License-Identifier: Apache-2.0 */
#include "bias.h"
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CALM  4096 /* a fence in all threads costs 1 to 15 us, so at most some ns for each call */
#define SPINS 64

/* Registers the process with the kernel. With other threads running this takes some 10 ms, once. */
bool ttmem__fenceless_start(void)
{
	int saved = errno;
	bool works = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;

	errno = saved;
	return works;
}

/* For all of the time, whatever signals come: ttmem__fence_all() relies on it. */
static void nap(long ns)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (end.tv_nsec + ns) / 1000000000;
	end.tv_nsec = (end.tv_nsec + ns) % 1000000000;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
}

/* A host may forbid the call after it has started. Then all that is left is to wait: no processor
 * keeps a store back for a millisecond. From now on the shards stay shared. */
void ttmem__fence_all(struct client *client)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0)
		return;
	__atomic_store_n(&client->fenceless, false, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	nap(10000000);
}

static void wait_until_nobody_is_inside(const struct shard *shard)
{
	for (int i = 0; __atomic_load_n(&shard->inside, __ATOMIC_ACQUIRE); i++)
		if (i > SPINS)
			nap(20000);
}

void ttmem__other_take(struct client *client, struct shard *shard)
{
	int saved, cancel;

	lock_take(&shard->lock);
	shard->calm = 0;
	/* A fork amid a call makes a shard shared while its thread is inside: see process.c. */
	if (likely(word_get(&shard->shared)) &&
	    likely(!__atomic_load_n(&shard->inside, __ATOMIC_ACQUIRE)))
		return;
	saved = errno;
	/* To sleep is a cancellation point, and locks are held here. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (!word_get(&shard->shared)) {
		word_set(&shard->shared, 1);
		ttmem__fence_all(client);
	}
	wait_until_nobody_is_inside(shard);
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
}

/* Nobody waits for our `inside` for long: it is given back here, and not taken with the lock. */
void ttmem__own_take_slowly(struct shard *shard)
{
	__atomic_store_n(&shard->inside, 0, __ATOMIC_RELEASE);
	lock_take(&shard->lock);
}

void ttmem__own_give_slowly(const struct client *client, struct shard *shard)
{
	if (__atomic_load_n(&client->fenceless, __ATOMIC_RELAXED) && !shard->crowded &&
	    ++shard->calm >= CALM) {
		shard->calm = 0;
		__atomic_store_n(&shard->shared, 0, __ATOMIC_RELEASE);
	}
	lock_give(&shard->lock);
}
