/* SPDX-License-Identifier: Apache-2.0 */
/* Children that a signal handler forks in the middle of a call, and that return into it. */
#include "../../client/internal.h"
#include "crew.h"
#include "own_ledger.h"
#include <time.h>

#define CHILDREN 60

static struct ledger_header *header;
static pthread_t worker;
static timer_t timer;
static uint64_t children, worked;
static bool is_child; /* in one that has returned */

/* Whether this handler interrupts a call: then its own call is not recorded, but counted. */
static bool interrupts_a_call(void)
{
	uint64_t before = word_get(&header->reentered);

	ttmem_alloc_failed(63, TTMEM_KERNEL, 1, 0);
	return word_get(&header->reentered) > before;
}

/* Not a periodic timer: a handler that takes longer than its period would interrupt one place for
 * ever. */
static void signal_soon(void)
{
	const struct itimerspec once = {.it_value = {0, 50000 + (long)(worked % 64) * 997}};

	timer_settime(timer, 0, &once, NULL);
}

/* The parent's other threads may count at the same time, so the thread's own mark is asked, too. */
/* All of case_begin() that is not inherited. */
static void child_begins(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(CASE_SECONDS);
}

static void fork_amid_a_call(void)
{
	pid_t child;
	int status;

	if (!interrupts_a_call() || !ttmem__thread.busy)
		return;
	child = fork();
	if (child == 0) {
		child_begins();
		is_child = true;
		return;
	}
	if (waitpid(child, &status, 0) != child)
		abort();
	if (status) {
		fprintf(stderr, "a child that returned ended with %#x\n", (unsigned int)status);
		abort();
	}
	children++;
}

static void on_signal(int number)
{
	int saved = errno;

	(void)number;
	if (!is_child && pthread_equal(pthread_self(), worker))
		fork_amid_a_call();
	signal_soon();
	errno = saved;
}

/* In the child, after the interrupted call. If that had not come far, it has started anew itself,
 * and is in the child's ledger; else, if it was an allocation, only its free came there. */
static void starts_anew(void)
{
	struct ttmem_totals totals = totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM);

	assert_true(totals.allocated_buffers <= 1);
	assert_int_equal(ledgers_open(), 1);
	header = ledger_map();
	assert_int_equal(header->pid, getpid());
	for (uint64_t i = 0; i < 600; i++)
		ttmem_alloc(5, TTMEM_L1, i, 7, i % 2 ? "child" : NULL);
	assert_int_equal(totals_of(5, TTMEM_L1).live_bytes, 4200);
	for (uint64_t i = 0; i < 600; i++)
		ttmem_free(5, TTMEM_L1, i);
	assert_true(ledger_live(header) <= totals.allocated_buffers);
	assert_records_are_sums(header);
	assert_true(errors_now().unknown_frees + totals.allocated_buffers <= 1);
	_exit(0);
}

static void until_enough_have_returned(void (*work)(void))
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};

	if (UNDER_TSAN || RUNNING_ON_VALGRIND)
		case_skip("the tool keeps signals back until a call has ended");
	sigemptyset(&action.sa_mask);
	worker = pthread_self();
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	signal_soon();
	while (children < rounds(CHILDREN)) {
		work();
		if (is_child)
			starts_anew();
	}
	assert_int_equal(timer_delete(timer), 0);
	assert_int_equal(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = SIG_IGN}, NULL), 0);
}

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

static void allocate_and_free(void)
{
	char tag[16];

	for (uint64_t i = 0; i < 64 && !is_child; i++) {
		snprintf(tag, sizeof tag, "%u", (unsigned int)(worked % 900));
		ttmem_alloc((uint32_t)(worked % 64), TTMEM_DRAM, worked, 64, tag);
		ttmem_free((uint32_t)(worked % 64), TTMEM_DRAM, worked);
		worked++;
	}
}

static void a_child_returns_into_the_call_that_was_interrupted(void)
{
	start();
	until_enough_have_returned(allocate_and_free);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).allocated_buffers, worked);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

/* A ledger that grows all the time: indexes, chunks, and what has no chunk any more. */
static void only_allocate(void)
{
	for (uint64_t i = 0; i < 64 && !is_child; i++)
		ttmem_alloc(0, TTMEM_DRAM, worked++, 1, NULL);
}

static void a_child_returns_into_a_call_that_takes_memory(void)
{
	setenv("TTMEM_RECORDS", "10000", 1);
	start();
	until_enough_have_returned(only_allocate);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, worked);
	assert_int_equal(ledger_live(header) + header->unlisted, worked);
}

static unsigned int stop;

/* Addresses that all share, so that each looks for them in the others' shards. */
static void share(struct crew *crew, unsigned int self)
{
	uint64_t state = self + 1;

	(void)crew;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t address = next_random(&state) % 64;

		ttmem_alloc(0, TTMEM_DRAM, address, 64, NULL);
		ttmem_free(0, TTMEM_DRAM, address);
	}
}

static void share_once(void)
{
	for (uint64_t i = 0; i < 64 && !is_child; i++) {
		ttmem_alloc(0, TTMEM_DRAM, i, 64, NULL);
		ttmem_free(0, TTMEM_DRAM, i);
	}
}

static void a_child_returns_although_other_threads_held_locks(void)
{
	struct crew crew;

	start();
	crew_begin(&crew, 3, share);
	until_enough_have_returned(share_once);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	crew_end(&crew);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

static void on_signal_once(int number)
{
	int status;
	pid_t child = fork();

	(void)number;
	if (child == 0) {
		child_begins();
		__atomic_store_n(&is_child, true, __ATOMIC_RELAXED);
		return;
	}
	if (waitpid(child, &status, 0) != child || status)
		abort();
	__atomic_store_n(&children, 1, __ATOMIC_RELAXED);
}

static void start_amid_a_fork(long nanoseconds)
{
	struct sigaction action = {.sa_handler = on_signal_once};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec once = {.it_value = {0, nanoseconds}};

	setenv("TTMEM", "1", 1);
	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &once, NULL), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	while (!__atomic_load_n(&is_child, __ATOMIC_RELAXED) &&
	       !__atomic_load_n(&children, __ATOMIC_RELAXED))
		sched_yield();
}

/* The parent's first call makes its ledger: the child must not take the same one for its own. */
static void a_child_that_returns_into_a_start_makes_its_own(void)
{
	for (unsigned int i = 0; i < rounds(200); i++) {
		pid_t parent = case_fork();

		if (parent == 0) {
			start_amid_a_fork(1000 + i * 500);
			ttmem_alloc(0, TTMEM_L1, 1, 7, NULL);
			assert_int_equal(ledger_map()->pid, getpid());
			assert_int_equal(ledgers_open(), 1);
			assert_int_equal(totals_of(0, TTMEM_L1).allocated_bytes, 7);
			assert_true(is_child || totals_of(0, TTMEM_DRAM).live_bytes == 10);
			_exit(0);
		}
		assert_int_equal(case_wait(parent), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_child_returns_into_the_call_that_was_interrupted),
		isolated(a_child_returns_into_a_call_that_takes_memory),
		isolated(a_child_returns_although_other_threads_held_locks),
		isolated(a_child_that_returns_into_a_start_makes_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
