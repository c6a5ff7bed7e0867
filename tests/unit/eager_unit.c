/* SPDX-License-Identifier: Apache-2.0 */
/* When the daemon stays awake for the next request: against a reader whose speed is made up. */
#include "eager.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BUDGET_US 100
#define US        1000u

static struct eager eager;
static uint64_t now;

struct reader {
	unsigned int asleep_us; /* from answer to request, if the daemon sleeps meanwhile */
	unsigned int awake_us;
};

static void begin(unsigned int processors, uint64_t budget_us)
{
	now = 1000000;
	eager_init(&eager, budget_us, processors);
}

/* One request as the session meets it. True if the daemon stayed awake for it. */
static bool ask(const struct reader *reader)
{
	uint64_t until = eager_until(&eager, now);
	uint64_t arrives = now + (until ? reader->awake_us : reader->asleep_us) * US;

	if (until && arrives >= until) {
		eager_missed(&eager);
		arrives = now + reader->asleep_us * US;
	}
	now = arrives;
	eager_request(&eager, now);
	now += US;
	eager_answered(&eager, now);
	return until;
}

static unsigned int awake_of(const struct reader *reader, unsigned int requests)
{
	unsigned int awake = 0;

	for (unsigned int i = 0; i < requests; i++)
		awake += ask(reader);
	return awake;
}

static const struct reader apart = {.asleep_us = 30, .awake_us = 8};
static const struct reader together = {.asleep_us = 7, .awake_us = 14};

static void never_with_one_processor(void **state)
{
	(void)state;
	begin(1, BUDGET_US);
	assert_int_equal(awake_of(&apart, 10000), 0);
}

static void never_when_it_is_off(void **state)
{
	(void)state;
	begin(8, 0);
	assert_int_equal(awake_of(&apart, 10000), 0);
}

static void never_for_one_who_asks_now_and_then(void **state)
{
	const struct reader seldom = {.asleep_us = 1000000, .awake_us = 1000000};

	(void)state;
	begin(8, BUDGET_US);
	assert_int_equal(awake_of(&seldom, 1000), 0);
	assert_int_equal(eager.misses, 0);
}

static void stays_awake_where_that_is_faster(void **state)
{
	(void)state;
	begin(2, BUDGET_US);
	awake_of(&apart, 4 * EAGER_BLOCK);
	assert_true(awake_of(&apart, 100000) > 95000);
}

static void sleeps_where_that_is_faster(void **state)
{
	(void)state;
	begin(2, BUDGET_US);
	assert_true(awake_of(&together, 100000) < 1000);
	/* It gives up ever more thoroughly. */
	assert_true(awake_of(&together, 1000000) < 2000);
}

static void a_small_gain_is_not_worth_a_processor(void **state)
{
	const struct reader both = {.asleep_us = 10, .awake_us = 9};

	(void)state;
	begin(2, BUDGET_US);
	assert_true(awake_of(&both, 100000) < 1000);
}

static void learns_anew_when_things_change(void **state)
{
	(void)state;
	begin(2, BUDGET_US);
	awake_of(&together, 1000000);
	awake_of(&apart, 100000);
	assert_true(awake_of(&apart, 100000) > 95000);
	awake_of(&together, 100000);
	assert_true(awake_of(&together, 100000) < 1000);
}

/* Both processors are busy: the reader gets none while we keep ours. */
static void gives_up_when_nobody_comes(void **state)
{
	const struct reader starved = {.asleep_us = 20, .awake_us = 5000};

	(void)state;
	begin(2, BUDGET_US);
	awake_of(&apart, 10000);
	awake_of(&starved, 10 * EAGER_BLOCK);
	assert_true(awake_of(&starved, 100000) < 1000);
}

static void the_first_request_is_no_sample(void **state)
{
	(void)state;
	begin(2, BUDGET_US);
	eager_request(&eager, now);
	assert_int_equal(eager.taken, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_with_one_processor),
		cmocka_unit_test(never_when_it_is_off),
		cmocka_unit_test(never_for_one_who_asks_now_and_then),
		cmocka_unit_test(stays_awake_where_that_is_faster),
		cmocka_unit_test(sleeps_where_that_is_faster),
		cmocka_unit_test(a_small_gain_is_not_worth_a_processor),
		cmocka_unit_test(learns_anew_when_things_change),
		cmocka_unit_test(gives_up_when_nobody_comes),
		cmocka_unit_test(the_first_request_is_no_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
