/* SPDX-License-Identifier: Apache-2.0 */
/* Calls before main(), after it, and at a thread's end. This program runs itself for them. */
#include "crew.h"
#include "own_ledger.h"
#include <sys/syscall.h>

#define WORD "TTMEM_TEST_MOMENTS" /* in the environment: where to write what was counted */

/* A buffer for each moment, and its size. */
enum { FIRST_CONSTRUCTOR = 1, CONSTRUCTOR = 2, MAIN = 4, KEY = 8, ATEXIT = 16 };
enum { DESTRUCTOR = 32, LAST_DESTRUCTOR = 64, ALL = 127 };

static bool is_run(void)
{
	return getenv(WORD) != NULL;
}

static void moment(uint64_t number)
{
	if (is_run())
		ttmem_alloc(0, TTMEM_DRAM, number, number, "moment");
}

/* There is no environment yet, so this is not counted, and must not be the end of it. */
static void preinit(void)
{
	ttmem_alloc(0, TTMEM_DRAM, 0, 1000, "moment");
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void first_constructor(void)
{
	moment(FIRST_CONSTRUCTOR);
}

__attribute__((constructor)) static void constructor(void)
{
	moment(CONSTRUCTOR);
}

__attribute__((destructor)) static void destructor(void)
{
	moment(DESTRUCTOR);
}

/* What was counted, by then. */
__attribute__((destructor(101))) static void last_destructor(void)
{
	struct ttmem_totals totals = {0};
	ssize_t written;

	if (!is_run())
		return;
	moment(LAST_DESTRUCTOR);
	ttmem_get_totals(0, TTMEM_DRAM, &totals);
	written = write(atoi(getenv(WORD)), &totals.live_bytes, sizeof totals.live_bytes);
	(void)written;
}

static void at_exit(void)
{
	moment(ATEXIT);
}

static pthread_key_t key;

/* Comes again and again, as often as the C library lets it: after the library's own, too. */
static void thread_ends(void *count)
{
	uint64_t *left = count;

	ttmem_alloc(0, TTMEM_L1, *left, 1, NULL);
	if (--*left)
		pthread_setspecific(key, left);
	else
		moment(KEY);
}

static void *thread_main(void *count)
{
	pthread_setspecific(key, count);
	ttmem_alloc(0, TTMEM_L1, 100, 1, NULL);
	return NULL;
}

static int run(void)
{
	struct ttmem_totals totals;
	uint64_t count = 3;
	pthread_t thread;

	if (ttmem_get_totals(0, TTMEM_DRAM, &totals) ||
	    totals.live_bytes != (FIRST_CONSTRUCTOR | CONSTRUCTOR))
		return 3;
	moment(MAIN);
	atexit(at_exit);
	pthread_key_create(&key, thread_ends);
	pthread_create(&thread, NULL, thread_main, &count);
	pthread_join(thread, NULL);
	return totals_of(0, TTMEM_L1).live_buffers == 4 ? 0 : 4;
}

static uint64_t counted(const char *tracking)
{
	uint64_t live = 0;
	char number[16];
	int told[2];
	pid_t child;

	assert_int_equal(pipe(told), 0);
	child = case_fork();
	if (child == 0) {
		snprintf(number, sizeof number, "%d", told[1]);
		setenv(WORD, number, 1);
		setenv("TTMEM", tracking, 1);
		execl("/proc/self/exe", "moments", NULL);
		_exit(2);
	}
	close(told[1]);
	assert_int_equal(read(told[0], &live, sizeof live), sizeof live);
	close(told[0]);
	assert_int_equal(case_wait(child), *tracking == '1' ? 0 : 3);
	return live;
}

static void every_moment_counts(void)
{
	assert_int_equal(counted("1"), ALL);
}

static void no_moment_counts_when_it_is_off(void)
{
	assert_int_equal(counted("0"), 0);
}

static void come_and_go(struct crew *crew, unsigned int self)
{
	(void)crew;
	ttmem_alloc(0, TTMEM_L1, self, 1, "thread");
	ttmem_free(0, TTMEM_L1, self);
}

/* Other threads are in the middle of calls when the process exits. */
static void for_ever(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = 0;; i++) {
		ttmem_alloc(0, TTMEM_DRAM, i << 8 | self, 1, "thread");
		ttmem_free(0, TTMEM_DRAM, i << 8 | self);
	}
}

static void an_exit_amid_other_threads_calls_is_an_exit(void)
{
	for (unsigned int i = 0; i < rounds(100); i++) {
		pid_t child = case_fork();

		if (child == 0) {
			struct crew crew;

			assert_int_equal(ttmem_start(), 0);
			crew_begin(&crew, 3, for_ever);
			while (!totals_of(0, TTMEM_DRAM).allocated_buffers)
				sched_yield();
			if (UNDER_TSAN)
				_exit(0); /* it would report the threads */
			exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

/* Without the key a thread's shard stays with it, and 64 are shared. */
static void many_keys_of_the_host_are_no_harm(void)
{
	struct crew crew;

	for (int i = 0; i < 600; i++) {
		pthread_key_t other;

		if (pthread_key_create(&other, NULL))
			break;
	}
	assert_int_equal(ttmem_start(), 0);
	for (int i = 0; i < 100; i++)
		crew_run(&crew, 2, come_and_go);
	assert_all_is_freed(ledger_map());
	assert_int_equal(totals_of(0, TTMEM_L1).allocated_buffers, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(every_moment_counts),
		isolated(no_moment_counts_when_it_is_off),
		isolated(an_exit_amid_other_threads_calls_is_an_exit),
		isolated(many_keys_of_the_host_are_no_harm),
	};

	if (is_run())
		return run();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
