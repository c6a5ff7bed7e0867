/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that stand, jump, run backwards, or are not there: the sums know nothing of time. */
#include "crew.h"
#include "own_ledger.h"
#include <time.h>

/* What every clock says here; of this program, and so of the library in it. */
static struct timespec now;
static int answer; /* what clock_gettime() returns */
static uint64_t asked;

int clock_gettime(clockid_t clock, struct timespec *time)
{
	(void)clock;
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	if (answer == 0)
		*time = now;
	else
		errno = EINVAL;
	return answer;
}

static const struct timespec moments[] = {
	{1700000000, 5},        {0, 0},         {-1, 0}, {4102444800, 999999999},
	{INT64_MAX, 999999999}, {INT64_MIN, 0}, {1, 0},  {1, 0},
};

/* The times in the records are as wild; nothing else is. */
static void assert_counts(void)
{
	uint64_t asked_before = asked;

	for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
		now = moments[i];
		ttmem_alloc(0, TTMEM_DRAM, i, 10, "weights");
		ttmem_alloc_failed(0, TTMEM_DRAM, 1, 1);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, (i + 1) * 10);
	}
	assert_true(asked > asked_before);
	for (size_t i = 0; i < sizeof moments / sizeof *moments; i++)
		ttmem_free(0, TTMEM_DRAM, i);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 0);
	assert_records_are_sums(ledger_map());
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).failures, sizeof moments / sizeof *moments);
}

static void a_clock_that_jumps_changes_no_sum(void)
{
	assert_int_equal(ttmem_start(), 0);
	assert_counts();
}

static void a_clock_that_stands_at_zero_starts_one_ledger(void)
{
	assert_int_equal(ttmem_start(), 0);
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_L1, 1, 1, NULL);
	assert_int_equal(ledgers_open(), 1);
	assert_counts();
}

static void a_child_is_told_from_its_parent_although_the_clock_stands(void)
{
	pid_t child;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_L1, 1, 1, NULL);
	child = case_fork();
	if (child == 0) {
		assert_int_equal(ttmem_start(), 0);
		ttmem_alloc(0, TTMEM_L1, 2, 3, NULL);
		assert_int_equal(totals_of(0, TTMEM_L1).live_bytes, 3);
		assert_int_equal(ledger_map()->pid, getpid());
		assert_counts();
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_int_equal(totals_of(0, TTMEM_L1).live_bytes, 1);
}

static void a_clock_that_is_refused_is_done_without(void)
{
	answer = -1;
	assert_int_equal(ttmem_start(), 0);
	assert_counts();
	answer = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_clock_that_jumps_changes_no_sum),
		isolated(a_clock_that_stands_at_zero_starts_one_ledger),
		isolated(a_child_is_told_from_its_parent_although_the_clock_stands),
		isolated(a_clock_that_is_refused_is_done_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
