/* SPDX-License-Identifier: Apache-2.0 */
/* Signal handlers that call the library while they interrupt a call of their own thread. */
#include "crew.h"
#include "own_ledger.h"
#include <time.h>

static uint64_t handled;

/* Runs `work` while a timer interrupts it, until `handler` has run often enough, and has
 * interrupted calls; a tool that keeps signals back until a safe moment prevents that. */
static void under_signals(void (*handler)(int), void (*work)(uint64_t turn))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec often = {{0, 50000}, {0, 50000}};
	uint64_t turn = 0;
	timer_t timer;

	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	do
		work(turn++);
	while (__atomic_load_n(&handled, __ATOMIC_RELAXED) < rounds(5000) ||
	       (!UNDER_TSAN && !RUNNING_ON_VALGRIND && errors_now().reentered < 20));
	assert_int_equal(timer_delete(timer), 0);
	assert_int_equal(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = SIG_IGN}, NULL), 0);
}

static uint64_t worked;

static void allocate_and_free(uint64_t turn)
{
	char tag[8];

	snprintf(tag, sizeof tag, "%u", (unsigned int)(turn % 500));
	ttmem_alloc(0, TTMEM_DRAM, turn, 64, tag);
	ttmem_free(0, TTMEM_DRAM, turn);
	worked++;
}

static void on_signal_allocate(int number)
{
	int saved = errno;

	(void)number;
	errno = 77;
	ttmem_alloc(1, TTMEM_L1, handled, 32, "handler");
	ttmem_free(1, TTMEM_L1, handled);
	if (errno != 77)
		abort();
	errno = saved;
	__atomic_store_n(&handled, handled + 1, __ATOMIC_RELAXED);
}

/* A handler's calls are either all recorded or all counted as reentered. */
static void a_handler_that_interrupts_a_call_is_counted(void)
{
	struct ttmem_totals handlers;
	uint64_t reentered;

	assert_int_equal(ttmem_start(), 0);
	under_signals(on_signal_allocate, allocate_and_free);
	reentered = errors_now().reentered;
	handlers = totals_of(1, TTMEM_L1);
	assert_int_equal(reentered % 2, 0);
	assert_int_equal(handlers.allocated_buffers + reentered / 2, handled);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_buffers, worked);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(ledger_map());
}

static void declare(uint64_t turn)
{
	struct ttmem_device device = {.size = sizeof device, .asic_id = turn + 1};

	assert_int_equal(ttmem_declare_device(3, &device), 0);
}

/* A new tag, or a first call, needs the lock that a declaration holds. */
static void on_signal_tag(int number)
{
	char tag[8];
	uint64_t n = handled;

	(void)number;
	for (int i = 6; i >= 0; i--, n /= 10)
		tag[i] = (char)('0' + n % 10);
	tag[7] = 0;
	ttmem_alloc(1, TTMEM_L1, 1, 32, tag);
	ttmem_free(1, TTMEM_L1, 1);
	__atomic_store_n(&handled, handled + 1, __ATOMIC_RELAXED);
}

static void a_handler_may_interrupt_a_declaration(void)
{
	assert_int_equal(ttmem_start(), 0);
	under_signals(on_signal_tag, declare);
	assert_all_is_freed(ledger_map());
	assert_int_equal(errors_now().unknown_frees, 0);
}

static void on_signal_declare(int number)
{
	struct ttmem_device device = {.size = sizeof device, .asic_id = 1};

	(void)number;
	ttmem_declare_device(4, &device);
	ttmem_alloc(1, TTMEM_L1, 1, 32, NULL);
	ttmem_free(1, TTMEM_L1, 1);
	__atomic_store_n(&handled, handled + 1, __ATOMIC_RELAXED);
}

static void a_handler_may_declare(void)
{
	assert_int_equal(ttmem_start(), 0);
	under_signals(on_signal_declare, allocate_and_free);
	assert_all_is_freed(ledger_map());
}

static void on_signal_fork(int number)
{
	(void)number;
	if (handled % 64 == 0) {
		pid_t child = fork();
		int status = 1;

		if (child == 0) {
			alarm(CASE_SECONDS);
			ttmem_alloc(1, TTMEM_L1, 1, 32, "child");
			ttmem_free(1, TTMEM_L1, 1);
			_exit(0);
		}
		if (waitpid(child, &status, 0) != child || status)
			abort();
	}
	ttmem_alloc(1, TTMEM_L1, 1, 32, NULL);
	ttmem_free(1, TTMEM_L1, 1);
	__atomic_store_n(&handled, handled + 1, __ATOMIC_RELAXED);
}

/* As a crash handler does, whose child does not return. */
static void a_handler_may_fork(void)
{
	assert_int_equal(ttmem_start(), 0);
	under_signals(on_signal_fork, allocate_and_free);
	assert_all_is_freed(ledger_map());
}

static void on_signal_tag_and_allocate(int number)
{
	(void)number;
	ttmem_tag_push("handler");
	ttmem_alloc(1, TTMEM_L1, 1, 32, NULL);
	ttmem_free(1, TTMEM_L1, 1);
	ttmem_tag_pop();
}

static void *tag_and_end(void *ends)
{
	ttmem_tag_push("thread");
	ttmem_alloc(0, TTMEM_DRAM, 1, 64, NULL);
	ttmem_free(0, TTMEM_DRAM, 1);
	__atomic_store_n((bool *)ends, true, __ATOMIC_RELAXED);
	return NULL;
}

/* While it lets go of its shard and its tags, too. */
static void a_handler_may_interrupt_a_threads_end(void)
{
	struct sigaction action = {.sa_handler = on_signal_tag_and_allocate};
	pthread_t thread;

	assert_int_equal(ttmem_start(), 0);
	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	for (unsigned int i = 0; i < rounds(400); i++) {
		bool ends = false;

		assert_int_equal(pthread_create(&thread, NULL, tag_and_end, &ends), 0);
		while (pthread_tryjoin_np(thread, NULL) == EBUSY)
			if (__atomic_load_n(&ends, __ATOMIC_RELAXED))
				pthread_kill(thread, SIGUSR1);
	}
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(ledger_map());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_handler_that_interrupts_a_call_is_counted),
		isolated(a_handler_may_interrupt_a_declaration),
		isolated(a_handler_may_declare),
		isolated(a_handler_may_fork),
		isolated(a_handler_may_interrupt_a_threads_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
