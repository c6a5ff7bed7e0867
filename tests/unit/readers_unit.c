/* SPDX-License-Identifier: Apache-2.0 */
/* What readers see while threads work. */
#include "crew.h"
#include "ledger_view.h"
#include "own_ledger.h"

static uint64_t turns;
static unsigned int working;
static struct ledger_header *header;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

static void change_much(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = 0; i < turns; i++) {
		uint64_t n = i % 32 << 8 | self;

		ttmem_alloc((uint32_t)n % 64, TTMEM_L1, n, n * 3 + 1, NULL);
		if (i % 32 == 31)
			for (n = self; n < 32 << 8; n += 256)
				ttmem_free((uint32_t)n % 64, TTMEM_L1, n);
	}
	__atomic_fetch_sub(&working, 1, __ATOMIC_RELEASE);
}

static void come_and_go(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = 0; i < turns; i++) {
		ttmem_alloc(0, TTMEM_DRAM, self, 1 << 20, NULL);
		ttmem_free(0, TTMEM_DRAM, self);
	}
	__atomic_store_n(&working, 0, __ATOMIC_RELEASE);
}

/* A reader that is interrupted between two words must not add up what came and went meanwhile. */
static void what_is_freed_during_a_look_is_not_taken_for_live(void)
{
	struct crew crew;

	start();
	turns = rounds(3000000);
	working = 1;
	crew_begin(&crew, 1, come_and_go);
	while (__atomic_load_n(&working, __ATOMIC_ACQUIRE))
		assert_in_range(totals_of(0, TTMEM_DRAM).live_bytes, 0, (uint64_t)1 << 30);
	crew_end(&crew);
}

/* Device and size follow from the address, so a record that is torn shows it. */
static void assert_records_are_whole(const struct ledger_view *view)
{
	struct ledger_record records[LEDGER_CHUNK_RECORDS];
	int count;

	for (uint32_t i = 0; (count = ledger_view_chunk(view, i, records)) >= 0; i++) {
		for (int n = 0; n < count; n++) {
			assert_int_equal(records[n].size, records[n].address * 3 + 1);
			assert_int_equal(records[n].device, records[n].address % 64);
			assert_int_equal(records[n].kind, TTMEM_L1);
		}
	}
}

static void a_reader_meanwhile_sees_nothing_torn_and_no_sum_below_zero(void)
{
	struct ledger_view view;
	struct crew crew;
	const char *why;

	start();
	turns = rounds(50000) * 32;
	working = 3;
	assert_int_equal(ledger_view_open(&view, dup(ledger_fd()), getuid(), &why), 0);
	crew_begin(&crew, 3, change_much);
	while (__atomic_load_n(&working, __ATOMIC_ACQUIRE)) {
		struct ttmem_totals totals = totals_of(TTMEM_ALL_DEVICES, TTMEM_L1);

		assert_true(totals.live_buffers <= turns * 3);
		assert_true(totals.live_bytes <= totals.allocated_bytes);
		assert_records_are_whole(&view);
	}
	crew_end(&crew);
	ledger_view_close(&view);
	assert_all_is_freed(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(what_is_freed_during_a_look_is_not_taken_for_live),
		isolated(a_reader_meanwhile_sees_nothing_torn_and_no_sum_below_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
