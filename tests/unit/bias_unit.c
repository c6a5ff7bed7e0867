/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a shard is: its own thread's without a lock, until another comes. See client/bias.h. */
#include "../../client/bias.h"
#include "../../client/index.h"
#include "crew.h"
#include "own_ledger.h"

#define CALM_CALLS 5000 /* of the own thread: enough to have its shard for itself again */
#define GIFTS      256

static struct ledger_header *header;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

static void start_with_membarrier(void)
{
	start();
	if (!ttmem__client->fenceless)
		case_skip("the kernel has no membarrier");
}

static struct shard *shard_of(uint32_t number)
{
	return ttmem__client->shards[number];
}

static bool is_shared(uint32_t number)
{
	return __atomic_load_n(&shard_of(number)->shared, __ATOMIC_ACQUIRE);
}

/* With handles: nobody looks into another's shard for these. */
static void work(unsigned int calls)
{
	for (unsigned int i = 0; i < calls; i += 2)
		ttmem_free_handle(ttmem_alloc_handle(1, TTMEM_CB, i, 1, NULL));
}

static void free_the_first(struct crew *crew, unsigned int self)
{
	(void)crew;
	errno = 77;
	ttmem_free(0, TTMEM_DRAM, self);
	assert_int_equal(errno, 77);
}

static void a_shard_is_shared_by_a_visit_and_its_own_again_after_calm(void)
{
	struct crew crew;

	start_with_membarrier();
	for (int i = 0; i < 3; i++) {
		ttmem_alloc(0, TTMEM_DRAM, 0, 8, NULL);
		work(CALM_CALLS);
		assert_false(is_shared(0));
		crew_run(&crew, 1, free_the_first);
		assert_true(is_shared(0));
		assert_false(is_shared(1));
		work(100);
		assert_true(is_shared(0));
		work(CALM_CALLS);
		assert_false(is_shared(0));
	}
	assert_int_equal(header->fenceless, 1);
	assert_all_is_freed(header);
}

static void visits_begin_the_calm_anew(void)
{
	struct crew crew;

	start_with_membarrier();
	for (uint64_t i = 0; i < 10; i++) {
		ttmem_alloc(0, TTMEM_DRAM, 0, 8, NULL);
		crew_run(&crew, 1, free_the_first);
		work(CALM_CALLS / 2);
		assert_true(is_shared(0));
	}
}

static void without_membarrier_all_shards_stay_shared(void)
{
	struct crew crew;

	if (!getenv("TTMEM_TEST_FENCES"))
		membarrier_deny();
	start();
	assert_int_equal(header->fenceless, 0);
	ttmem_alloc(0, TTMEM_DRAM, 0, 8, NULL);
	crew_run(&crew, 1, free_the_first);
	work(2 * CALM_CALLS);
	assert_true(is_shared(0));
	assert_true(is_shared(1));
	assert_all_is_freed(header);
}

static bool freed;

static void free_and_say_so(struct crew *crew, unsigned int self)
{
	free_the_first(crew, self);
	__atomic_store_n(&freed, true, __ATOMIC_RELEASE);
}

static void a_visitor_waits_until_the_own_thread_is_out(void)
{
	struct crew crew;

	start_with_membarrier();
	ttmem_alloc(0, TTMEM_DRAM, 0, 8, NULL);
	own_take(shard_of(0), &ttmem__thread);
	crew_begin(&crew, 1, free_and_say_so);
	while (!is_shared(0))
		sched_yield();
	for (int i = 0; i < 1000; i++) {
		assert_false(__atomic_load_n(&freed, __ATOMIC_ACQUIRE));
		sched_yield();
	}
	own_give(ttmem__client, shard_of(0), &ttmem__thread);
	crew_end(&crew);
	assert_all_is_freed(header);
}

static void free_while_visited(struct crew *crew, unsigned int self)
{
	(void)self;
	ttmem_alloc(0, TTMEM_L1, 1, 8, NULL);
	crew_pause(crew);
	ttmem_free(0, TTMEM_L1, 1);
	__atomic_store_n(&freed, true, __ATOMIC_RELEASE);
}

static void the_own_thread_steps_back_for_a_visitor(void)
{
	struct crew crew;

	start();
	ttmem_alloc(0, TTMEM_DRAM, 0, 8, NULL);
	crew_begin(&crew, 1, free_while_visited);
	crew_halt(&crew);
	ttmem__other_take(ttmem__client, shard_of(1));
	crew_resume(&crew);
	while (!__atomic_load_n(&shard_of(1)->lock.waiters, __ATOMIC_ACQUIRE))
		sched_yield();
	for (int i = 0; i < 1000; i++) {
		assert_false(__atomic_load_n(&freed, __ATOMIC_ACQUIRE));
		assert_int_equal(__atomic_load_n(&shard_of(1)->inside, __ATOMIC_ACQUIRE), 0);
		sched_yield();
	}
	other_give(shard_of(1));
	crew_end(&crew);
	ttmem_free(0, TTMEM_DRAM, 0);
	assert_all_is_freed(header);
}

static bool is_taken[LEDGER_SHARDS];

/* The first of a shard's threads stays until it has the shard for itself. */
static void crowd_and_thin_out(struct crew *crew, unsigned int self)
{
	uint32_t number;

	ttmem_alloc(0, TTMEM_L1, self, 8, NULL);
	number = ttmem__thread.shard->number;
	crew_meet(crew);
	work(CALM_CALLS);
	crew_pause(crew);
	ttmem_free(0, TTMEM_L1, self);
	if (!__atomic_exchange_n(&is_taken[number], true, __ATOMIC_RELAXED))
		while (is_shared(number))
			work(100);
}

static void a_crowded_shard_is_shared_until_one_thread_is_left(void)
{
	struct crew crew;

	start_with_membarrier();
	crew_begin(&crew, CREW_MAX, crowd_and_thin_out);
	crew_halt(&crew);
	for (uint32_t i = 0; i < LEDGER_SHARDS; i++) {
		assert_int_equal(shard_of(i)->users, 2);
		assert_true(is_shared(i));
	}
	assert_int_equal(totals_of(0, TTMEM_L1).live_buffers, CREW_MAX);
	assert_int_equal(totals_of(1, TTMEM_CB).allocated_buffers, CREW_MAX * CALM_CALLS / 2);
	assert_records_are_sums(header);
	crew_resume(&crew);
	crew_end(&crew);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

#define SHARERS 6
#define EACH    300

static void share_one(struct crew *crew, unsigned int self)
{
	crew_pause(crew);
	for (uint64_t i = 0; i < EACH; i++) {
		ttmem_alloc(0, TTMEM_DRAM, i << 8 | self, 1, NULL);
		ttmem_alloc(0, TTMEM_DRAM, i << 8 | 0xff, 1, NULL);
		ttmem_free(0, TTMEM_DRAM, i << 8 | 0xff);
	}
	crew_pause(crew);
}

static void free_what_they_share(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (self = 0; self < SHARERS; self++)
		for (uint64_t i = 0; i < EACH; i++)
			ttmem_free(0, TTMEM_DRAM, i << 8 | self);
}

/* And a thread that comes when there is memory again has a shard, and knows of their buffers. */
static void without_memory_for_a_second_shard_threads_share_the_first(void)
{
	struct rlimit limit;
	struct crew crew;
	rlim_t before;

	if (RUNNING_ON_VALGRIND || UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool needs address space of its own");
	start();
	for (uint64_t i = 0; i < 5000; i++) /* so that no table has to grow */
		ttmem_alloc(0, TTMEM_DRAM, 1ull << 40 | i, 1, NULL);
	for (uint64_t i = 0; i < 5000; i++)
		ttmem_free(0, TTMEM_DRAM, 1ull << 40 | i);
	crew_begin(&crew, SHARERS, share_one);
	crew_halt(&crew);
	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	crew_resume(&crew);
	crew_halt(&crew);
	limit.rlim_cur = before;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	assert_int_equal(header->shards_used, 1);
	assert_int_equal(shard_of(0)->users, SHARERS + 1);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, SHARERS * EACH);
	assert_records_are_sums(header);
	crew_resume(&crew);
	crew_end(&crew);
	crew_run(&crew, 1, free_what_they_share);
	assert_int_equal(header->shards_used, 2);
	assert_int_equal(errors_now().unknown_frees + errors_now().untracked, 0);
	assert_all_is_freed(header);
}

/* --- what an own thread and its visitors do at once --------------------------------------------
 */

static uint64_t gifts[GIFTS]; /* addresses + 1 that visitors free; 0: room for one */
static uint64_t given;
static bool over;

/* As if its thread had been alone for long, so that the next visit needs the fence again. */
static void calm_now(struct shard *shard)
{
	lock_take(&shard->lock);
	if (__atomic_load_n(&ttmem__client->fenceless, __ATOMIC_RELAXED) && !shard->crowded)
		__atomic_store_n(&shard->shared, 0, __ATOMIC_RELEASE);
	lock_give(&shard->lock);
}

static void free_gifts(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = self; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++) {
		uint64_t gift = __atomic_exchange_n(&gifts[i * 7 % GIFTS], 0, __ATOMIC_ACQ_REL);

		if (!gift)
			continue;
		ttmem_free(0, TTMEM_DRAM, gift - 1);
		calm_now(shard_of(0));
	}
}

static void give_gifts(uint64_t turns)
{
	for (uint64_t i = 1; i <= turns; i++) {
		uint64_t *place = &gifts[i % GIFTS];

		if (!__atomic_load_n(place, __ATOMIC_ACQUIRE)) {
			ttmem_alloc(0, TTMEM_DRAM, i << 12, 3, NULL);
			given++;
			__atomic_store_n(place, (i << 12) + 1, __ATOMIC_RELEASE);
		}
		ttmem_alloc(0, TTMEM_DRAM, i << 12 | 1, 2, NULL);
		ttmem_free(0, TTMEM_DRAM, i << 12 | 1);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
}

/* The owner never stops: every store that is lost shows in the sums or in the records. */
static void visit_all_the_time(unsigned int visitors, uint64_t turns)
{
	struct crew crew;

	ttmem_alloc(0, TTMEM_DRAM, 0, 5, NULL);
	crew_begin(&crew, visitors, free_gifts);
	give_gifts(turns);
	crew_end(&crew);
	for (int i = 0; i < GIFTS; i++)
		if (gifts[i])
			ttmem_free(0, TTMEM_DRAM, gifts[i] - 1);
	ttmem_free(0, TTMEM_DRAM, 0);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_buffers, given + turns + 1);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_bytes, 3 * given + 2 * turns + 5);
	assert_int_equal(index_used(&shard_of(0)->index), 0);
	assert_all_is_freed(header);
}

static void visitors_and_the_own_thread_exclude_each_other(void)
{
	start();
	visit_all_the_time(1, rounds(1000000));
}

static void several_visitors_exclude_each_other(void)
{
	start();
	visit_all_the_time(4, rounds(300000));
}

/* Then nobody but time can make the fence, and each shard becomes shared once for all. */
static void membarrier_may_be_denied_later(void)
{
	start_with_membarrier();
	work(CALM_CALLS);
	membarrier_deny();
	visit_all_the_time(2, rounds(300000));
	assert_false(ttmem__client->fenceless);
	work(2 * CALM_CALLS);
	assert_true(is_shared(0));
	assert_int_equal(header->fenceless, 1); /* the collector still makes its own */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_shard_is_shared_by_a_visit_and_its_own_again_after_calm),
		isolated(visits_begin_the_calm_anew),
		isolated(without_membarrier_all_shards_stay_shared),
		isolated(a_visitor_waits_until_the_own_thread_is_out),
		isolated(the_own_thread_steps_back_for_a_visitor),
		isolated(a_crowded_shard_is_shared_until_one_thread_is_left),
		isolated(without_memory_for_a_second_shard_threads_share_the_first),
		isolated(visitors_and_the_own_thread_exclude_each_other),
		isolated(several_visitors_exclude_each_other),
		isolated(membarrier_may_be_denied_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
