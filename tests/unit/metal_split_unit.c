/* SPDX-License-Identifier: Apache-2.0 */
#include "metal_split.h"
#include "unit.h"

#define MOST ((1ull << 63) - 1)

typedef unsigned __int128 wide;

static void split_run(struct metal_split *split)
{
	memset(split->home, 0xa5, sizeof split->home);
	memset(split->share, 0xa5, sizeof split->share);
	metal_split(split);
}

/* Whatever is put in: each process keeps what it holds, and each chip what it has. */
static void assert_exact(const struct metal_split *split)
{
	for (unsigned int i = 0; i < split->processes; i++) {
		wide sum = split->home[i];

		for (unsigned int chip = 0; chip < split->chips; chip++)
			sum += split->share[chip][i];
		assert_true(sum == split->held[i]);
	}
	for (unsigned int chip = 0; chip < split->chips; chip++) {
		wide sum = split->chip_unattributed[chip];

		for (unsigned int i = 0; i < split->processes; i++)
			sum += split->share[chip][i];
		assert_true(sum == split->on_chip[chip]);
	}
}

static void without_chips_all_is_at_home(void **state)
{
	struct metal_split split = {.processes = 2, .held = {70, 30}, .at_home = 100, .total = 150};

	(void)state;
	split_run(&split);
	assert_exact(&split);
	assert_true(split.home[0] == 70 && split.home[1] == 30);
	assert_true(split.home_unattributed == 50);
}

static void one_process_has_what_the_chips_have(void **state)
{
	struct metal_split split = {.processes = 1,
				    .held = {100},
				    .chips = 2,
				    .on_chip = {25, 40},
				    .at_home = 35,
				    .total = 100};

	(void)state;
	split_run(&split);
	assert_exact(&split);
	assert_true(split.home[0] == 35 && split.share[0][0] == 25 && split.share[1][0] == 40);
	assert_true(!split.home_unattributed && !split.chip_unattributed[0]);
}

static void several_share_a_chip_in_proportion(void **state)
{
	struct metal_split split = {.processes = 3,
				    .held = {60, 30, 10},
				    .chips = 1,
				    .on_chip = {50},
				    .at_home = 50,
				    .total = 100};

	(void)state;
	split_run(&split);
	assert_exact(&split);
	assert_true(split.share[0][0] == 30 && split.share[0][1] == 15 && split.share[0][2] == 5);
	assert_true(split.home_unattributed == 0);
}

static void ghosts_are_taken_to_be_spread_like_the_living(void **state)
{
	struct metal_split split = {.processes = 1,
				    .held = {50},
				    .chips = 1,
				    .on_chip = {60},
				    .at_home = 40,
				    .total = 100};

	(void)state;
	split_run(&split);
	assert_exact(&split);
	assert_true(split.share[0][0] == 30 && split.home[0] == 20);
	assert_true(split.chip_unattributed[0] == 30 && split.home_unattributed == 20);
}

static void without_processes_all_is_nobodys(void **state)
{
	struct metal_split split = {.chips = 1, .on_chip = {60}, .at_home = 40, .total = 100};

	(void)state;
	split_run(&split);
	assert_exact(&split);
	assert_true(split.chip_unattributed[0] == 60 && split.home_unattributed == 40);
}

static void a_total_below_what_is_held_leaves_nothing_over(void **state)
{
	struct metal_split split = {.processes = 1, .held = {100}, .total = 0};

	(void)state;
	split_run(&split);
	assert_exact(&split);
	assert_true(split.home_unattributed == 0);
}

static uint64_t draw(uint64_t *random)
{
	uint64_t value = unit_random(random) & MOST;

	switch (unit_random(random) % 5) {
	case 0:
		return 0;
	case 1:
		return value % 100;
	case 2:
		return value >> 20;
	case 3:
		return MOST - value % 3;
	default:
		return value;
	}
}

static void sums_are_exact_whatever_is_put_in(void **state)
{
	uint64_t random = 88172645463325252ull;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct metal_split split = {
			.processes = (unsigned int)(unit_random(&random) % (METAL_SLOTS + 1)),
			.chips = (unsigned int)(unit_random(&random) % (METAL_CHIPS + 1)),
			.at_home = draw(&random),
			.total = draw(&random),
		};

		for (unsigned int i = 0; i < split.processes; i++)
			split.held[i] = draw(&random);
		for (unsigned int i = 0; i < split.chips; i++)
			split.on_chip[i] = draw(&random);
		split_run(&split);
		assert_exact(&split);
	}
}

/* As a region's chips have it when nobody has been killed: nothing may be left over. */
static void what_adds_up_is_all_given_to_somebody(void **state)
{
	uint64_t random = 362436069ull;

	(void)state;
	for (int round = 0; round < 5000; round++) {
		struct metal_split split = {.processes = 1 + (unsigned int)(round % METAL_SLOTS),
					    .chips = 1 + (unsigned int)(round % METAL_CHIPS)};

		for (unsigned int i = 0; i < split.processes; i++)
			for (unsigned int chip = 0; chip <= split.chips; chip++) {
				uint64_t bytes = unit_random(&random) >> 16;

				split.held[i] += bytes;
				split.total += bytes;
				*(chip ? &split.on_chip[chip - 1] : &split.at_home) += bytes;
			}
		split_run(&split);
		assert_exact(&split);
		assert_true(split.home_unattributed == 0);
		for (unsigned int chip = 0; chip < split.chips; chip++)
			assert_true(split.chip_unattributed[chip] == 0);
	}
}

static void sums_that_do_not_fit_do_not_wrap(void **state)
{
	struct metal_split split = {
		.processes = METAL_SLOTS, .chips = METAL_CHIPS, .at_home = MOST, .total = MOST};

	(void)state;
	for (int i = 0; i < METAL_SLOTS; i++)
		split.held[i] = i % 2 ? MOST : 1;
	for (int i = 0; i < METAL_CHIPS; i++)
		split.on_chip[i] = MOST;
	split_run(&split);
	assert_exact(&split);
	split.processes = 1;
	split.held[0] = 1ull << 62;
	split_run(&split);
	assert_exact(&split);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_chips_all_is_at_home),
		cmocka_unit_test(one_process_has_what_the_chips_have),
		cmocka_unit_test(several_share_a_chip_in_proportion),
		cmocka_unit_test(ghosts_are_taken_to_be_spread_like_the_living),
		cmocka_unit_test(without_processes_all_is_nobodys),
		cmocka_unit_test(a_total_below_what_is_held_leaves_nothing_over),
		cmocka_unit_test(sums_are_exact_whatever_is_put_in),
		cmocka_unit_test(what_adds_up_is_all_given_to_somebody),
		cmocka_unit_test(sums_that_do_not_fit_do_not_wrap),
	};

	return RUN(tests);
}
