/* SPDX-License-Identifier: Apache-2.0 */
/* What may happen amid a call, at each of its instructions in turn: the processor's trap flag stops
 * the call there. */
#include "../../client/account.h"
#include "crew.h"
#include "own_ledger.h"
#include <sys/wait.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100
#define ENDED     99 /* the call had ended before the step came */
#define HELD      64 /* buffers, besides those that the claims free or allocate */
#define CALM      5000

static volatile int step, step_wanted;
static volatile bool stopped;
static void (*act)(void);
static uint64_t handed; /* what the other thread shall free; 0: nothing */
static bool over;

static void hand(uint64_t address)
{
	__atomic_store_n(&handed, address, __ATOMIC_SEQ_CST);
}

static bool is_done(void)
{
	return !__atomic_load_n(&handed, __ATOMIC_SEQ_CST);
}

static void *other_thread(void *unused)
{
	uint64_t address;

	while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
		address = __atomic_load_n(&handed, __ATOMIC_SEQ_CST);
		if (address) {
			ttmem_free(0, TTMEM_DRAM, address);
			hand(0);
		}
		sched_yield();
	}
	return unused;
}

#ifdef __x86_64__
static void trap_flag(bool on)
{
	if (on)
		__asm__ volatile("pushfq; orq %0, (%%rsp); popfq" ::"i"(TRAP_FLAG)
				 : "memory", "cc");
	else
		__asm__ volatile("pushfq; andq %0, (%%rsp); popfq" ::"i"(~TRAP_FLAG)
				 : "memory", "cc");
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	int saved = errno;

	(void)number;
	(void)info;
	if (step++ == step_wanted) {
		interrupted->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
		stopped = true;
		act();
	}
	errno = saved;
}
#else
static void trap_flag(bool on)
{
	(void)on;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
}
#endif

static void hold(void)
{
	for (uint64_t i = 1; i <= HELD + 2; i++)
		ttmem_alloc(0, TTMEM_DRAM, i << 12, 64, NULL);
}

/* The shard is our thread's alone again, although the other one has been in it. */
static void be_calm(void)
{
	hand((HELD + 1) << 12);
	while (!is_done())
		sched_yield();
	for (unsigned int i = 0; i < CALM; i++) {
		ttmem_alloc(0, TTMEM_DRAM, 1 << 30, 64, NULL);
		ttmem_free(0, TTMEM_DRAM, 1 << 30);
	}
}

/* Each record that was in use is live, or on the free list for the next buffer. */
static uint64_t records_in_use(void)
{
	const struct client *client = ttmem__client;
	uint64_t used = 0;

	for (uint32_t i = 0; i < client->header->chunks_used; i++)
		used += client->chunks[i].used;
	return used;
}

static uint64_t records_free(void)
{
	const struct client *client = ttmem__client;
	uint64_t count = 0;

	for (uint32_t i = 0; i < client->nshards; i++)
		for (uint32_t at = client->shards[i]->free_record; at;
		     at = record_at(client, at - 1)->next_free)
			count++;
	return count;
}

static void assert_exact(uint64_t live)
{
	const struct ledger_header *header = ledger_map();
	struct ttmem_errors errors = errors_now();

	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, live);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, live * 64);
	assert_int_equal(ledger_live(header), live);
	assert_int_equal(records_in_use(), live + records_free());
	assert_int_equal(errors.unknown_frees, 0);
	assert_records_are_sums(header);
}

/* In a process of its own: a call that is stopped at the step that is wanted. */
static void stop_once(bool frees)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	uint64_t live = HELD + 1;
	pthread_t other;

	assert_int_equal(ttmem_start(), 0);
	hold();
	assert_int_equal(pthread_create(&other, NULL, other_thread, NULL), 0);
	be_calm();
	assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
	trap_flag(true);
	if (frees)
		ttmem__free(0, TTMEM_DRAM, 1 << 12);
	else
		ttmem__alloc(0, TTMEM_DRAM, 1 << 20, 64, NULL);
	trap_flag(false);
	live = frees ? live - 1 : live + 1;
	while (!is_done())
		sched_yield();
	__atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_join(other, NULL), 0);
	assert_exact(stopped ? live - 1 : live);
	_exit(stopped ? 0 : ENDED);
}

static void at_each_step(bool frees)
{
	int status = 0;

#ifndef __x86_64__
	case_skip("the processor has no trap flag");
#endif
	if (UNDER_TSAN || UNDER_ASAN || RUNNING_ON_VALGRIND)
		case_skip("the tool has calls of its own there");
	for (step_wanted = 0; status == 0; step_wanted++) {
		pid_t child = case_fork();

		if (child == 0)
			stop_once(frees);
		status = case_wait(child);
	}
	assert_int_equal(status, ENDED);
	assert_true(step_wanted > 50);
}

/* It waits until the call has ended, should that be inside; we do not wait for it. */
static void another_frees(void)
{
	hand((HELD + 2) << 12);
	for (int i = 0; i < 200 && !is_done(); i++)
		sched_yield();
}

static void another_thread_frees_a_buffer_of_the_shard(void)
{
	act = another_frees;
	at_each_step(true);
	at_each_step(false);
}

static void fork_and_another_frees(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		abort();
	another_frees();
}

/* Such a fork makes each shard another's for a moment, that of the call as well. */
static void the_handler_forks_and_another_thread_frees(void)
{
	act = fork_and_another_frees;
	at_each_step(true);
	at_each_step(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(another_thread_frees_a_buffer_of_the_shard),
		isolated(the_handler_forks_and_another_thread_frees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
