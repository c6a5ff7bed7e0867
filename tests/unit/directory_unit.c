/* SPDX-License-Identifier: Apache-2.0 */
/* The directory's cells: how many buffers of different shards share one by chance. */
#include "../../client/directory.h"
#include "crew.h"
#include "own_ledger.h"

#define EACH (UNDER_TSAN || RUNNING_ON_VALGRIND ? 1000u : 8000u)

struct spot {
	uint32_t device;
	uint64_t address;
};

/* Where a thread's buffer is, in different programs. */
struct pattern {
	const char *words;
	struct spot (*spot)(uint64_t self, uint64_t i, uint32_t step);
	uint32_t first, last; /* steps, as powers of two */
};

static struct spot a_range_each(uint64_t self, uint64_t i, uint32_t step)
{
	return (struct spot){0, (self * EACH + i) << step};
}

static struct spot ranges_far_apart(uint64_t self, uint64_t i, uint32_t step)
{
	return (struct spot){0, (self << 33) + (i << step)};
}

static struct spot in_turn(uint64_t self, uint64_t i, uint32_t step)
{
	return (struct spot){0, (2 * i + self) << step};
}

static struct spot no_power_of_two(uint64_t self, uint64_t i, uint32_t step)
{
	return (struct spot){0, (2 * i + self) * 1000003 << step};
}

static struct spot the_same_on_another_device(uint64_t self, uint64_t i, uint32_t step)
{
	return (struct spot){(uint32_t)self, i << step};
}

static struct spot the_same_on_16_devices_each(uint64_t self, uint64_t i, uint32_t step)
{
	return (struct spot){(uint32_t)(self * 16 + i % 16), i / 16 << step};
}

static struct spot in_no_order(uint64_t self, uint64_t i, uint32_t step)
{
	uint64_t x = (self * EACH + i + 1) * 0xbf58476d1ce4e5b9ull;

	x = (x ^ x >> 31) * 0x94d049bb133111ebull;
	return (struct spot){0, (x ^ x >> 30) >> 30 << step};
}

static struct spot small_among_large(uint64_t self, uint64_t i, uint32_t step)
{
	if (i % 5 == 0)
		return (struct spot){0, 1ull << 50 | (2 * i + self) << step};
	return (struct spot){0, (self * EACH + i) << (step + 9)};
}

static const struct pattern patterns[] = {
	{"a range each", a_range_each, 0, 40},
	{"ranges far apart", ranges_far_apart, 5, 20},
	{"in turn", in_turn, 0, 40},
	{"no power of two", no_power_of_two, 0, 20},
	{"the same on another device", the_same_on_another_device, 5, 30},
	{"the same on 16 devices each", the_same_on_16_devices_each, 5, 24},
	{"small among large", small_among_large, 0, 20},
	{"in no order", in_no_order, 0, 30},
};

static const struct pattern *pattern;
static uint32_t step;

static struct key key_of_spot(uint64_t self, uint64_t i)
{
	struct spot spot = pattern->spot(self, i, step);

	return key_make(spot.device, TTMEM_DRAM, spot.address);
}

static void allocate_all(unsigned int self)
{
	for (uint64_t i = 0; i < EACH; i++) {
		struct spot spot = pattern->spot(self, i, step);

		ttmem_alloc(spot.device, TTMEM_DRAM, spot.address, 64, NULL);
	}
}

static void free_all(unsigned int self)
{
	for (uint64_t i = 0; i < EACH; i++) {
		struct spot spot = pattern->spot(self, i, step);

		ttmem_free(spot.device, TTMEM_DRAM, spot.address);
	}
}

/* One of twenty at most. Who shares one pays for a search with each allocation. */
static void assert_few_are_shared(void)
{
	uint32_t shared = 0;

	assert_int_equal(ttmem__client->directory.many, 3);
	for (uint64_t i = 0; i < 2ull * EACH; i++) {
		uint8_t owner = directory_look(ttmem__client, key_of_spot(i / EACH, i % EACH));

		assert_int_not_equal(owner, 0);
		shared += owner == CELL_MANY;
	}
	if (shared * 20 > 2 * EACH)
		fail_msg("%s, step 2^%u: %u shared", pattern->words, step, shared);
}

static void allocate_look_free(struct crew *crew, unsigned int self)
{
	for (uint32_t s = pattern->first; s <= pattern->last; s++) {
		if (!self)
			step = s;
		crew_meet(crew);
		allocate_all(self);
		crew_meet(crew);
		if (!self) {
			ttmem__directory_rebuild(ttmem__client);
			assert_few_are_shared();
		}
		crew_meet(crew);
		free_all(self);
		crew_meet(crew);
	}
}

static void few_buffers_of_others_share_a_cell_by_chance(void)
{
	struct crew crew;

	assert_int_equal(ttmem_start(), 0);
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		pattern = &patterns[i];
		crew_run(&crew, 2, allocate_look_free);
	}
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_buffers, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(few_buffers_of_others_share_a_cell_by_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
