/* SPDX-License-Identifier: Apache-2.0 */
/* Peaks while several threads keep changes back: within the bound that ttmem.h states. */
#include "crew.h"
#include "own_ledger.h"

static struct ledger_header *header;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

#define PIECES 40
#define PIECE  100000

static void hold_pieces(struct crew *crew, unsigned int self)
{
	for (uint64_t i = 0; i < PIECES; i++)
		ttmem_alloc(0, TTMEM_L1, i << 8 | self, PIECE, NULL);
	crew_meet(crew);
	for (uint64_t i = 0; i < PIECES; i++)
		ttmem_free(0, TTMEM_L1, i << 8 | self);
}

static void hold_pieces_in_turn(struct crew *crew, unsigned int self)
{
	for (unsigned int turn = 0; turn < 10 * crew->size; turn++) {
		if (turn % crew->size == self) {
			for (uint64_t i = 0; i < PIECES; i++)
				ttmem_alloc(0, TTMEM_L1, i << 8 | self, PIECE, NULL);
			for (uint64_t i = 0; i < PIECES; i++)
				ttmem_free(0, TTMEM_L1, i << 8 | self);
		}
		crew_meet(crew);
	}
}

/* By less than a batch for each shard. */
static void assert_peak_is_about(uint64_t peak, uint64_t shards)
{
	const uint64_t bound = shards * (256 << 10);

	assert_in_range(totals_of(0, TTMEM_L1).peak_bytes, peak - bound + 1, peak + bound - 1);
	assert_in_range(totals_of(TTMEM_ALL_DEVICES, TTMEM_L1).peak_bytes, peak - bound + 1,
			peak + bound - 1);
}

static void peaks_of_several_threads_together_are_within_the_bound(void)
{
	struct crew crew;

	start();
	crew_run(&crew, 4, hold_pieces);
	assert_peak_is_about((uint64_t)4 * PIECES * PIECE, 4);
	assert_all_is_freed(header);
}

static void peaks_of_threads_in_turn_are_not_added_up(void)
{
	struct crew crew;

	start();
	crew_run(&crew, 4, hold_pieces_in_turn);
	assert_peak_is_about((uint64_t)PIECES * PIECE, 4);
}

static void hold_one(struct crew *crew, unsigned int self)
{
	(void)crew;
	ttmem_alloc(0, TTMEM_L1, self, 1, NULL);
}

static void peaks_are_exact_again_up_to_the_second_thread(void)
{
	struct crew crew;

	start();
	ttmem_alloc(0, TTMEM_L1, 1, 12345, NULL);
	ttmem_free(0, TTMEM_L1, 1);
	crew_run(&crew, 1, hold_one);
	assert_int_equal(totals_of(0, TTMEM_L1).peak_bytes, 12345);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(peaks_of_several_threads_together_are_within_the_bound),
		isolated(peaks_of_threads_in_turn_are_not_added_up),
		isolated(peaks_are_exact_again_up_to_the_second_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
