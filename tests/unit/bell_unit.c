/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doorbell between processes: owners whose threads change their ledgers, and readers that
 * sleep until they are rung, as the collector does. The owner goes on only when its reader has seen
 * what it did; so a change that was neither seen nor rung leaves both waiting, and is found.
 * TTMEM_STRESS_SECONDS=600 goes on for so long.
 */
#include "crew.h"
#include "ledger_view.h"
#include "listener.h"
#include <poll.h>
#include <time.h>

#define OWNERS      2
#define THREADS     2
#define TURNS       10000
#define SPINS_LOG   18 /* of a wait: some 100 us */
#define BURST       64
#define PATIENCE_MS 10000 /* far longer than any change takes to come */

static const enum ttmem_kind kinds[THREADS] = {TTMEM_DRAM, TTMEM_L1};

struct owner {
	pid_t pid;
	int connection, bell;
	struct ledger_view view;
	uint64_t *seen; /* changes of each of its threads; in memory that is shared with it */
	uint64_t armings, rings, sleeps;
};

static struct owner owners[OWNERS];
static uint64_t *my_seen;       /* in an owner */
static uint64_t turns, changes; /* of each thread */

static uint64_t changes_in(uint64_t turn)
{
	return turn % 2 ? 1 : 1 + turn * 7 % BURST;
}

/* --- an owner --------------------------------------------------------------------------------- */

/* In each turn the threads make their changes at about the same time, one or many, and then wait
 * until all are seen: whichever is the last has no other behind it that would ring in its place. */
static void change(struct crew *crew, unsigned int self)
{
	uint64_t state = 0x9e3779b97f4a7c15ull * ((uint64_t)getpid() * THREADS + self + 1);
	uint64_t done = 0;

	for (uint64_t turn = 0; turn < turns; turn++) {
		crew_meet(crew);
		/* As far behind the other's as a reader takes to wake, or less. */
		for (uint64_t n = next_random(&state) % (1u << turn % SPINS_LOG); n; n--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		for (uint64_t i = 0; i < changes_in(turn); i++, done++) {
			if (done % 2)
				ttmem_free(0, kinds[self], 0x1000);
			else
				ttmem_alloc(0, kinds[self], 0x1000, 1, NULL);
		}
		while (__atomic_load_n(&my_seen[self], __ATOMIC_ACQUIRE) < done)
			sched_yield();
	}
}

static void own(uint64_t *seen)
{
	struct crew crew;

	assert_int_equal(ttmem_start(), 0);
	my_seen = seen;
	crew_run(&crew, THREADS, change);
	_exit(0);
}

/* The owner starts as any client does; its hello brings the ledger and the bell. */
static void owner_begin(struct owner *owner, int listening)
{
	struct heard heard;
	const char *why;

	memset(owner, 0, sizeof *owner);
	owner->seen = mmap(NULL, THREADS * sizeof *owner->seen, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(owner->seen != MAP_FAILED);
	owner->pid = case_fork();
	if (owner->pid == 0)
		own(owner->seen);
	owner->connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(owner->connection >= 0);
	hear(owner->connection, &heard);
	assert_int_equal(heard.count, 2);
	assert_int_equal(ledger_view_open(&owner->view, heard.fds[0], geteuid(), &why), 0);
	assert_int_equal(ledger_view_pid(&owner->view), owner->pid);
	owner->bell = heard.fds[1];
}

static void owner_end(struct owner *owner)
{
	assert_int_equal(case_wait(owner->pid), 0);
	ledger_view_close(&owner->view);
	munmap(owner->seen, THREADS * sizeof *owner->seen);
	close(owner->connection);
	close(owner->bell);
}

/* --- its reader ------------------------------------------------------------------------------- */

/* A thread allocates and frees in turn, so that the sum of both counts its changes. */
static uint64_t look(struct owner *owner, uint64_t made[THREADS])
{
	struct amount amounts[KIND_COUNT] = {0};
	uint64_t all = 0;

	ledger_view_amounts(&owner->view, 1, 1u << kinds[0] | 1u << kinds[1], amounts);
	for (int i = 0; i < THREADS; i++) {
		const struct amount *amount = &amounts[kinds[i]];

		made[i] = 2 * amount->allocated_buffers - amount->used_buffers;
		all += made[i];
	}
	return all;
}

/* It was asleep for very long. Nothing that a look shows now may be without its ring. */
static void assert_nothing_was_missed(struct owner *owner, uint64_t seen)
{
	struct pollfd bell = {.fd = owner->bell, .events = POLLIN};
	uint64_t made[THREADS], all = look(owner, made);

	if (all != seen && poll(&bell, 1, PATIENCE_MS) == 0)
		fail_msg("%lu changes were neither seen nor rung", (unsigned long)(all - seen));
}

static void empty(struct owner *owner)
{
	uint64_t count;

	if (read(owner->bell, &count, sizeof count) == sizeof count)
		owner->rings += count;
	else
		assert_int_equal(errno, EAGAIN);
	assert_true(owner->rings <= owner->armings);
}

static void follow(struct crew *crew, unsigned int self)
{
	struct owner *owner = &owners[self];
	struct pollfd bell = {.fd = owner->bell, .events = POLLIN};
	uint64_t seen, before = 0, made[THREADS];

	(void)crew;
	for (;;) {
		empty(owner);
		owner->armings++;
		assert_true(ledger_view_arm(&owner->view, true));
		if (ledger_view_is_fenceless(&owner->view))
			assert_true(ledger_view_fence_owners());
		seen = look(owner, made);
		assert_true(seen >= before);
		before = seen;
		for (int i = 0; i < THREADS; i++)
			__atomic_store_n(&owner->seen[i], made[i], __ATOMIC_RELEASE);
		if (seen == THREADS * changes)
			return;
		owner->sleeps++;
		while (poll(&bell, 1, PATIENCE_MS) == 0)
			assert_nothing_was_missed(owner, seen);
	}
}

static void stress(void)
{
	int listening = listener(SOCK_SEQPACKET, OWNERS);
	struct crew readers;

	for (int i = 0; i < OWNERS; i++)
		owner_begin(&owners[i], listening);
	listener_remove();
	close(listening);
	crew_run(&readers, OWNERS, follow);
	for (int i = 0; i < OWNERS; i++) {
		assert_true(owners[i].sleeps > 1);
		assert_true(owners[i].rings > 0);
		owner_end(&owners[i]);
	}
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static void whoever_sleeps_is_woken_by_the_next_change(void)
{
	const char *wanted = getenv("TTMEM_STRESS_SECONDS");
	time_t seconds = wanted ? atoi(wanted) : 0, end = now() + seconds;

	turns = rounds(TURNS);
	for (uint64_t turn = 0; turn < turns; turn++)
		changes += changes_in(turn);
	do {
		alarm(RUNNING_ON_VALGRIND ? 10 * CASE_SECONDS : CASE_SECONDS);
		stress();
	} while (now() < end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(whoever_sleeps_is_woken_by_the_next_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
