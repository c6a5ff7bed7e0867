/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All at once on one ledger: threads that allocate and free each other's buffers, handlers that
 * interrupt them and allocate too, threads that are cancelled or end, and forks in between, whose
 * children do the same for a while. In the end all sums are exact.
 *
 * Runs for a second, or for TTMEM_STRESS_SECONDS.
 */
#include "crew.h"
#include "own_ledger.h"
#include <inttypes.h>
#include <time.h>

#define WORKERS   4
#define PLACES    4096  /* buffers that pass from thread to thread */
#define STEPS     20000 /* of a thread, and then it ends */
#define SIGNALLED SIGUSR1

/* What a place holds: the address of a live buffer, or 0. Who exchanges it owns the buffer. No
 * address is used again, and its last bits are the size. */
static uint64_t places[PLACES], addresses;

static uint64_t size_of(uint64_t address)
{
	return address % 4096 + 1;
}

/* How often, by all threads of this process: what the ledger must say in the end. */
static struct count {
	uint64_t allocated, freed, failed, handled, cancelled, ended, children;
} count;

/* The address sanitizer takes what is left of a cancelled thread's stack for its own. */
static const bool may_cancel = !UNDER_ASAN;

static unsigned int stop;
static unsigned int tireless; /* threads no longer end by themselves */

static void add(uint64_t *number, uint64_t more)
{
	__atomic_fetch_add(number, more, __ATOMIC_RELAXED);
}

static bool is_counted(const uint64_t *number)
{
	return __atomic_load_n(number, __ATOMIC_RELAXED);
}

static uint32_t device_of(uint64_t place)
{
	return (uint32_t)(place % 5);
}

static enum ttmem_kind kind_of(uint64_t place)
{
	return (enum ttmem_kind)(place / 5 % TTMEM_KINDS);
}

static const char *tag_of(uint64_t dice)
{
	static const char *const tags[] = {NULL, "weights", "kv_cache", "", "activations"};

	return tags[dice % 5];
}

static void let_go(uint64_t place, uint64_t address)
{
	ttmem_free(device_of(place), kind_of(place), address);
	add(&count.freed, 1);
}

/* Takes what is at the place, if anything is, and frees it; else puts a buffer there. The buffer is
 * reported before others can find it, and is nobody else's when it is freed. */
static void exchange(uint64_t dice)
{
	uint64_t place = dice % PLACES, none = 0;
	uint64_t address = __atomic_exchange_n(&places[place], 0, __ATOMIC_ACQ_REL);

	if (address) {
		let_go(place, address);
		return;
	}
	address = __atomic_add_fetch(&addresses, 1, __ATOMIC_RELAXED) << 12 | (dice >> 16) % 4096;
	ttmem_alloc(device_of(place), kind_of(place), address, size_of(address),
		    tag_of(dice >> 40));
	add(&count.allocated, 1);
	if (!__atomic_compare_exchange_n(&places[place], &none, address, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		let_go(place, address);
}

/* Either both calls are counted as reentered, or both are recorded. */
static void on_signal(int number)
{
	int saved = errno;
	uint64_t unique = 1ull << 63 | (uintptr_t)&saved;

	(void)number;
	ttmem_alloc(63, TTMEM_CB, unique, 32, "handler");
	ttmem_free(63, TTMEM_CB, unique);
	add(&count.handled, 1);
	errno = saved;
}

/* A cancellation may be waiting during any call, and strikes here. */
static void *work(void *seed)
{
	uint64_t state = (uintptr_t)seed * 0x9e3779b97f4a7c15ull + 1;

	for (unsigned int i = 0;
	     !__atomic_load_n(&stop, __ATOMIC_RELAXED) &&
	     (i < rounds(STEPS) || __atomic_load_n(&tireless, __ATOMIC_RELAXED));
	     i++) {
		uint64_t dice = next_random(&state);

		exchange(dice);
		if (dice >> 58 == 0) {
			ttmem_alloc_failed(device_of(dice), kind_of(dice), 1, 1);
			add(&count.failed, 1);
		}
		pthread_testcancel();
	}
	return seed;
}

static uint64_t sum_of(uint32_t device, struct ttmem_totals *sum)
{
	memset(sum, 0, sizeof *sum);
	for (int kind = 0; kind < TTMEM_KINDS; kind++) {
		struct ttmem_totals totals = totals_of(device, (enum ttmem_kind)kind);

		sum->live_bytes += totals.live_bytes;
		sum->live_buffers += totals.live_buffers;
		sum->allocated_buffers += totals.allocated_buffers;
		sum->failures += totals.failures;
	}
	return sum->allocated_buffers;
}

/* While nobody works: the ledger against the count, with what the places hold, and without. */
static void check(void)
{
	struct ledger_header *header = ledger_map();
	struct ttmem_totals all, handlers;
	struct ttmem_errors errors = errors_now();
	uint64_t live = 0, bytes = 0;

	for (uint64_t place = 0; place < PLACES; place++) {
		live += places[place] != 0;
		bytes += places[place] ? size_of(places[place]) : 0;
	}
	sum_of(TTMEM_ALL_DEVICES, &all);
	sum_of(63, &handlers);
	assert_int_equal(errors.reentered % 2, 0);
	assert_int_equal(handlers.allocated_buffers + errors.reentered / 2, count.handled);
	assert_int_equal(all.allocated_buffers - handlers.allocated_buffers, count.allocated);
	assert_int_equal(count.allocated - count.freed, live);
	assert_int_equal(all.live_buffers, live);
	assert_int_equal(all.live_bytes, bytes);
	assert_int_equal(all.failures, count.failed);
	assert_int_equal(errors.unknown_frees + errors.size_mismatches + errors.untracked, 0);
	assert_records_are_sums(header);
	for (uint64_t place = 0; place < PLACES; place++)
		if (places[place])
			exchange(place);
	assert_all_is_freed(header);
	munmap(header, header->file_size);
}

static pthread_t worker_begin(uint64_t seed)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, work, (void *)(uintptr_t)seed), 0);
	return thread;
}

static void worker_end(pthread_t thread)
{
	void *result;

	assert_int_equal(pthread_join(thread, &result), 0);
	add(result == PTHREAD_CANCELED ? &count.cancelled : &count.ended, 1);
}

/* The child does the same with a ledger of its own. The thread sanitizer lets it have no threads,
 * and under the address sanitizer they may wait for a lock of its own that a thread of the parent's
 * had at the fork. */
static void child_works(uint64_t seed)
{
	unsigned int others = UNDER_TSAN || UNDER_ASAN ? 0 : 2;
	pthread_t threads[2];

	memset(&count, 0, sizeof count);
	memset(places, 0, sizeof places);
	for (unsigned int i = 0; i < others; i++)
		threads[i] = worker_begin(seed + i);
	for (uint64_t i = 0; i < rounds(2000); i++)
		exchange(next_random(&seed));
	for (unsigned int i = 0; i < others; i++) {
		pthread_kill(threads[i], SIGNALLED);
		if (may_cancel)
			pthread_cancel(threads[i]);
		worker_end(threads[i]);
	}
	check();
	assert_int_equal(ledgers_open(), 1);
	_exit(0);
}

static void fork_one(uint64_t seed)
{
	pid_t child = case_fork();

	if (child == 0)
		child_works(seed);
	assert_int_equal(case_wait(child), 0);
	count.children++;
}

static uint64_t seconds(void)
{
	const char *wanted = getenv("TTMEM_STRESS_SECONDS");

	return wanted && atoi(wanted) > 0 ? (uint64_t)atoi(wanted) : 1;
}

static bool is_over(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - begin->tv_sec > (time_t)seconds() ||
	       (now.tv_sec - begin->tv_sec == (time_t)seconds() && now.tv_nsec >= begin->tv_nsec);
}

/* Each of these is tried, however little time there is; and works, where threads do not end first.
 */
static bool has_seen_all(void)
{
	return is_counted(&count.children) && (is_counted(&count.cancelled) || !may_cancel) &&
	       is_counted(&count.handled);
}

static void disturb(pthread_t workers[WORKERS])
{
	struct timespec begin;
	uint64_t state = 88172645463325252ull;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (uint64_t turn = 0; !is_over(&begin) || !has_seen_all(); turn++) {
		uint64_t dice = next_random(&state);
		pthread_t *worker = &workers[dice % WORKERS];

		__atomic_store_n(&tireless, may_cancel && is_over(&begin), __ATOMIC_RELAXED);
		pthread_kill(*worker, SIGNALLED);
		exchange(dice);
		if (dice >> 32 & 31)
			continue;
		if (tireless || (may_cancel && dice >> 40 & 1))
			pthread_cancel(*worker);
		worker_end(*worker);
		*worker = worker_begin(dice);
		if ((dice >> 44 & (RUNNING_ON_VALGRIND ? 63 : 3)) == 0)
			fork_one(dice);
	}
}

static void all_at_once_ends_in_exact_sums(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t workers[WORKERS];

	alarm(RUNNING_ON_VALGRIND ? 0 : CASE_SECONDS + (unsigned int)seconds());
	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGNALLED, &action, NULL), 0);
	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < WORKERS; i++)
		workers[i] = worker_begin(i + 1);
	disturb(workers);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < WORKERS; i++)
		worker_end(workers[i]);
	check();
	printf("%" PRIu64 " allocations, %" PRIu64 " signals, %" PRIu64
	       " threads cancelled, %" PRIu64 " ended, %" PRIu64 " children\n",
	       count.allocated, count.handled, count.cancelled, count.ended, count.children);
	fflush(stdout);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(all_at_once_ends_in_exact_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
