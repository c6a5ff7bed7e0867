/* SPDX-License-Identifier: Apache-2.0 */
#include "metal_split.h"
#include "capped.h"

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t rest(uint64_t from, uint64_t take)
{
	return from > take ? from - take : 0;
}

/* a * b / c without overflow; b is at most c, and c not 0. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

static uint64_t sum_of(const uint64_t *values, unsigned int count)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < count; i++)
		add_capped(&sum, values[i]);
	return sum;
}

/* Divides what is on a chip in proportion to what the processes have left (which is not less),
 * exactly: each gets what all up to it should have, less what those before it got. */
static void divide(struct metal_split *split, unsigned int chip, uint64_t bytes, uint64_t all)
{
	uint64_t before = 0, given = 0;

	for (unsigned int i = 0; i < split->processes; i++) {
		uint64_t due;

		add_capped(&before, split->home[i]);
		due = all ? scale(bytes, before, all) : 0;
		split->share[chip][i] = due - given;
		split->home[i] -= due - given;
		given = due;
	}
}

void metal_split(struct metal_split *split)
{
	uint64_t living = sum_of(split->held, split->processes);
	uint64_t claimed = sum_of(split->on_chip, split->chips);
	uint64_t ghosts = rest(split->total, living);

	add_capped(&claimed, split->at_home);
	for (unsigned int i = 0; i < split->processes; i++)
		split->home[i] = split->held[i];
	for (unsigned int chip = 0; chip < split->chips; chip++) {
		uint64_t left = sum_of(split->home, split->processes);
		uint64_t bytes = split->on_chip[chip];

		if (claimed > living)
			bytes = scale(bytes, living, claimed);
		bytes = least(bytes, left); /* it is more when `claimed` was capped */
		split->chip_unattributed[chip] = split->on_chip[chip] - bytes;
		ghosts = rest(ghosts, split->chip_unattributed[chip]);
		divide(split, chip, bytes, left);
	}
	split->home_unattributed = ghosts;
}
