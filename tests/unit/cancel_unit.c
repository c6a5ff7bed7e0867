/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that are cancelled: what a call makes of that. */
#include "../../client/internal.h"
#include "crew.h"
#include "own_ledger.h"

static void last_words(struct crew *crew, unsigned int self)
{
	(void)crew;
	(void)self;
	pthread_cancel(pthread_self());
	ttmem_alloc(0, TTMEM_DRAM, 1, 5, "cancelled");
	ttmem_alloc(0, TTMEM_DRAM, 2, 5, "cancelled");
}

/* A cancellation that waits strikes at the thread's next cancellation point, which must not be in
 * a call: there it would leave locks behind. */
static void a_cancelled_thread_finishes_its_calls(void)
{
	struct crew crew;

	setenv("TTMEM", "1", 1);
	crew_run(&crew, 1, last_words);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
}

static void ring_and_go_on(struct crew *crew, unsigned int self)
{
	(void)self;
	(void)crew;
	pthread_cancel(pthread_self());
	ttmem_alloc(0, TTMEM_DRAM, 1, 5, NULL);
	ttmem_free(0, TTMEM_DRAM, 1);
}

static void a_cancelled_thread_rings_and_finishes(void)
{
	struct ledger_header *header;
	struct crew crew;
	uint64_t count;

	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
	header->armed = 1;
	crew_run(&crew, 1, ring_and_go_on);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_bytes, 5);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 0);
	assert_int_equal(read((int)header->eventfd, &count, sizeof count), sizeof count);
}

static bool visitor_finished;

static void *leave_later(void *arg)
{
	struct shard *shard = ttmem__client->shards[0];

	(void)arg;
	while (!__atomic_load_n(&shard->inside, __ATOMIC_ACQUIRE) ||
	       !__atomic_load_n(&shard->shared, __ATOMIC_ACQUIRE))
		sched_yield();
	usleep(20000);
	__atomic_store_n(&shard->inside, 0, __ATOMIC_RELEASE);
	return NULL;
}

static void free_anothers(struct crew *crew, unsigned int self)
{
	(void)crew;
	(void)self;
	ttmem_alloc(0, TTMEM_DRAM, 2, 5, NULL);
	__atomic_store_n(&ttmem__client->shards[0]->shared, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&ttmem__client->shards[0]->inside, 1, __ATOMIC_RELEASE);
	pthread_cancel(pthread_self());
	ttmem_free(0, TTMEM_DRAM, 1);
	visitor_finished = true;
}

/* It sleeps until the other has left its shard, with the shard's lock. */
static void a_cancelled_thread_that_waits_for_another_finishes(void)
{
	pthread_t owner;
	struct crew crew;

	assert_int_equal(ttmem_start(), 0);
	if (!ttmem__client->fenceless)
		case_skip("nobody waits where the kernel has no membarrier");
	ttmem_alloc(0, TTMEM_DRAM, 1, 5, NULL);
	crew_begin(&crew, 1, free_anothers);
	assert_int_equal(pthread_create(&owner, NULL, leave_later, NULL), 0);
	crew_end(&crew);
	assert_int_equal(pthread_join(owner, NULL), 0);
	assert_true(visitor_finished);
	ttmem_free(0, TTMEM_DRAM, 2);
	assert_all_is_freed(ledger_map());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_cancelled_thread_finishes_its_calls),
		isolated(a_cancelled_thread_rings_and_finishes),
		isolated(a_cancelled_thread_that_waits_for_another_finishes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
