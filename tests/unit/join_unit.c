/* SPDX-License-Identifier: Apache-2.0 */
/* What several sources say of one process on one device counts once, by the best of them. */
#include "tellers.h"

#define PID 42

/* All orders of the sources, as the digits of a number. */
static unsigned int order_next(unsigned int *order)
{
	static const unsigned int orders[] = {
		123,  132,  213,  231,  312,  321,  1023, 1032, 1203, 1230, 1302, 1320,
		2013, 2031, 2103, 2130, 2301, 2310, 3012, 3021, 3102, 3120, 3201, 3210,
	};

	return *order < G_N_ELEMENTS(orders) ? orders[(*order)++] : 9999;
}

static int nth_rank(unsigned int order, int place)
{
	static const unsigned int tens[] = {1000, 100, 10, 1};

	return (int)(order / tens[place] % 10);
}

static const uint64_t said[] = {1000, 200, 30, 0}; /* by each source */

/* One device, of which there is no other user. */
static struct device *chip(struct tellers *tellers)
{
	return driver_lists(tellers, 0, 0xa, "0000:01:00.0");
}

static const struct departed *last_departed(const struct tellers *tellers)
{
	return g_queue_peek_tail((GQueue *)&tellers->model.departed);
}

static void the_best_source_counts_in_whichever_order_they_come_and_go(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	for (unsigned int i = 0, order; (order = order_next(&i)) != 9999;) {
		int best = SOURCE_COUNT;

		for (int place = 0; place < SOURCE_COUNT; place++) {
			int rank = nth_rank(order, place);

			tells(tellers, rank, PID, device, said[rank]);
			best = MIN(best, rank);
			assert_int_equal(dram_of(device).used_bytes, said[best]);
			assert_int_equal(device->users->len, 1);
		}
		for (int place = 0; place < SOURCE_COUNT; place++) {
			struct process *process = model_process_by_pid(&tellers->model, PID);

			for (best = 0; !process->joined[best]; best++)
				;
			assert_int_equal(dram_of_process(process), said[best]);
			assert_ptr_equal(process_source(&tellers->model, process),
					 source_of(tellers, best));
			assert_ptr_equal(process_holding(process, device)->source,
					 source_of(tellers, best));
			leaves(tellers, nth_rank(order, place), PID);
		}
		assert_null(model_process_by_pid(&tellers->model, PID));
		assert_int_equal(device->users->len, 0);
		assert_int_equal(dram_of(device).used_bytes, 0);
	}
}

static void each_device_has_a_best_source_of_its_own(void **state)
{
	struct tellers *tellers = *state;
	struct device *one = chip(tellers), *two = driver_lists(tellers, 1, 0xb, "0000:02:00.0");
	const struct process *process;

	tells(tellers, SOURCE_TT_METAL, PID, one, 200);
	tells(tellers, SOURCE_TT_METAL, PID, two, 20);
	tells(tellers, SOURCE_NATIVE, PID, one, 1000);
	process = model_process_by_pid(&tellers->model, PID);
	assert_int_equal(dram_of(one).used_bytes, 1000);
	assert_int_equal(dram_of(two).used_bytes, 20);
	assert_int_equal(dram_of_process(process), 1020);
	assert_ptr_equal(process_source(&tellers->model, process),
			 source_of(tellers, SOURCE_NATIVE));
	model_let_go(&tellers->model, source_of(tellers, SOURCE_NATIVE),
		     process_holding(process, one));
	assert_int_equal(dram_of_process(process), 220);
}

static void a_worse_source_that_goes_changes_nothing(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);
	struct holding *holding;

	tells(tellers, SOURCE_TT_METAL, PID, device, 200);
	tells(tellers, SOURCE_NATIVE, PID, device, 1000);
	tells(tellers, SOURCE_KMD, PID, device, 0);
	holding = process_holding(model_process_by_pid(&tellers->model, PID), device);
	model_let_go(&tellers->model, source_of(tellers, SOURCE_TT_METAL), holding);
	leaves(tellers, SOURCE_KMD, PID);
	assert_int_equal(dram_of(device).used_bytes, 1000);
	assert_int_equal(dram_of(device).allocated_bytes, 1000);
}

static void only_the_driver_knows_of_an_untracked_process(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);
	const struct process *process;

	tells(tellers, SOURCE_KMD, PID, device, 0);
	process = model_process_by_pid(&tellers->model, PID);
	assert_true(process_is_untracked(process));
	tells(tellers, SOURCE_ALLOC_SERVER, PID, device, 30);
	assert_false(process_is_untracked(process));
	leaves(tellers, SOURCE_ALLOC_SERVER, PID);
	assert_true(process_is_untracked(process));
	assert_int_equal(dram_of(device).used_bytes, 0);
	assert_int_equal(device->users->len, 1);
}

static void an_untracked_process_leaves_no_trace(void **state)
{
	struct tellers *tellers = *state;

	tells(tellers, SOURCE_KMD, PID, chip(tellers), 0);
	leaves(tellers, SOURCE_KMD, PID);
	assert_null(last_departed(tellers));
	tells(tellers, SOURCE_KMD, PID, chip(tellers), 0);
	tells(tellers, SOURCE_TT_METAL, PID, chip(tellers), 5);
	leaves(tellers, SOURCE_TT_METAL, PID);
	leaves(tellers, SOURCE_KMD, PID);
	assert_int_equal(last_departed(tellers)->leaked_bytes[TTMEM_DRAM], 5);
	assert_int_equal(tellers->model.departed.length, 1);
}

static void what_was_allocated_is_counted_once_when_the_process_ends(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		tells(tellers, rank, PID, device, said[rank]);
	model_end(&tellers->model, model_process_by_pid(&tellers->model, PID));
	assert_int_equal(dram_of(device).allocated_bytes, 1000);
	assert_int_equal(dram_of(device).allocated_buffers, 1);
}

static void what_was_allocated_is_counted_once_however_sources_change(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	tells(tellers, SOURCE_TT_METAL, PID, device, 1000);
	for (int i = 0; i < 10; i++) {
		tells(tellers, SOURCE_NATIVE, PID, device, 900);
		assert_int_equal(dram_of(device).allocated_bytes, 1000);
		leaves(tellers, SOURCE_NATIVE, PID);
		assert_int_equal(dram_of(device).allocated_bytes, 1000);
	}
	tells(tellers, SOURCE_NATIVE, PID, device, 1100);
	assert_int_equal(dram_of(device).allocated_bytes, 1100);
	assert_int_equal(dram_of(device).allocated_buffers, 1);
}

static void what_comes_after_untracked_use_is_counted_as_new(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	tells(tellers, SOURCE_KMD, PID, device, 0);
	tells(tellers, SOURCE_NATIVE, PID, device, 1000);
	leaves(tellers, SOURCE_NATIVE, PID);
	assert_int_equal(dram_of(device).allocated_bytes, 1000);
	tells(tellers, SOURCE_NATIVE, PID, device, 10);
	assert_int_equal(dram_of(device).allocated_bytes, 1010);
}

static void counters_at_their_limit_stay_there(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	tells(tellers, SOURCE_TT_METAL, PID, device, UINT64_MAX);
	tells(tellers, SOURCE_TT_METAL, PID + 1, device, 5);
	tells(tellers, SOURCE_NATIVE, PID, device, 7);
	assert_true(dram_of(device).allocated_bytes == UINT64_MAX);
	leaves(tellers, SOURCE_NATIVE, PID);
	leaves(tellers, SOURCE_TT_METAL, PID);
	assert_true(dram_of(device).allocated_bytes == UINT64_MAX);
}

static void counters_and_peaks_never_go_down(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);
	struct word *words[SOURCE_COUNT][5] = {{NULL}};
	uint64_t seed = 88172645463325252u, before = 0, peak = 0;

	for (int i = 0; i < 5000; i++) {
		int rank = (int)(unit_random(&seed) % SOURCE_COUNT), n = (int)(seed >> 20 & 3);
		struct process *process = model_process_by_pid(&tellers->model, PID + n);
		struct word **word = &words[rank][n];
		uint64_t more = unit_random(&seed) % 100;

		if (process && seed >> 30 & 1 && process->joined[rank]) {
			(*word)->amounts[TTMEM_DRAM].allocated_bytes += more;
			(*word)->amounts[TTMEM_DRAM].used_bytes = more;
		} else if (!process || !process->joined[rank]) {
			*word = tells(tellers, rank, PID + n, device, more);
		} else if (seed >> 40 & 1) {
			model_end(&tellers->model, process);
		} else {
			leaves(tellers, rank, PID + n);
		}
		assert_true(dram_of(device).allocated_bytes >= before);
		assert_true(device_peak(device, (enum kind)TTMEM_DRAM) >= peak);
		peak = device_peak(device, (enum kind)TTMEM_DRAM);
		assert_true(peak >= dram_of(device).used_bytes);
		before = dram_of(device).allocated_bytes;
		assert_true(before >= dram_of(device).used_bytes);
	}
}

static void a_leak_is_told_once_and_by_the_best_source(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		tells(tellers, rank, PID, device, said[rank]);
	model_end(&tellers->model, model_process_by_pid(&tellers->model, PID));
	assert_int_equal(tellers->model.departed.length, 1);
	assert_int_equal(last_departed(tellers)->leaked_bytes[TTMEM_DRAM], 1000);
}

static void what_another_source_still_counts_is_no_leak(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);
	struct word *word = tells(tellers, SOURCE_TT_METAL, PID, device, 200);

	tells(tellers, SOURCE_NATIVE, PID, device, 1000);
	leaves(tellers, SOURCE_NATIVE, PID);
	word->amounts[TTMEM_DRAM].used_bytes = 3;
	leaves(tellers, SOURCE_TT_METAL, PID);
	assert_int_equal(last_departed(tellers)->leaked_bytes[TTMEM_DRAM], 3);
}

static void a_holdings_peak_does_not_go_down_with_its_source(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);
	const struct holding *holding;
	struct process *process;

	tells(tellers, SOURCE_TT_METAL, PID, device, 100);
	process = model_process_by_pid(&tellers->model, PID);
	holding = process_holding(process, device);
	tells(tellers, SOURCE_NATIVE, PID, device, 60);
	assert_int_equal(holding_peak(holding, (enum kind)TTMEM_DRAM, 60), 100);
	tells(tellers, SOURCE_NATIVE, PID, device, 500);
	leaves(tellers, SOURCE_NATIVE, PID);
	assert_int_equal(holding_peak(holding, (enum kind)TTMEM_DRAM, 100), 500);
}

static void a_processs_peak_does_not_go_down(void **state)
{
	struct tellers *tellers = *state;
	struct device *one = chip(tellers), *two = driver_lists(tellers, 1, 0xb, "0000:02:00.0");
	struct word *word = tells(tellers, SOURCE_NATIVE, PID, one, 100);
	struct process *process = model_process_by_pid(&tellers->model, PID);
	enum kind dram = (enum kind)TTMEM_DRAM;

	tells(tellers, SOURCE_TT_METAL, PID, two, 50);
	assert_int_equal(process_peak(&tellers->model, process, dram, dram_of_process(process)),
			 150);
	word->amounts[TTMEM_DRAM].used_bytes = 0;
	assert_int_equal(process_peak(&tellers->model, process, dram, dram_of_process(process)),
			 150);
	model_end(&tellers->model, process);
	assert_int_equal(last_departed(tellers)->peak_bytes[TTMEM_DRAM], 150);
}

static void a_peak_that_was_started_afresh_stays_so_when_a_source_comes(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);
	struct word *word = tells(tellers, SOURCE_TT_METAL, PID, device, 1000);
	enum kind dram = (enum kind)TTMEM_DRAM;

	dram_of(device);
	word->amounts[TTMEM_DRAM].used_bytes = 10;
	device_peak_reset(device, dram);
	tells_peak(tellers, SOURCE_NATIVE, PID, device, 10, 1000);
	assert_int_equal(device_peak(device, dram), 10);
	leaves(tellers, SOURCE_NATIVE, PID);
	assert_int_equal(device_peak(device, dram), 10);
	word = tells_peak(tellers, SOURCE_NATIVE, PID, device, 10, 1001);
	assert_int_equal(device_peak(device, dram), 10);
	word->peaks[TTMEM_DRAM] = 1002;
	assert_int_equal(device_peak(device, dram), 1002);
}

static void a_peak_that_only_one_source_saw_is_the_devices(void **state)
{
	struct tellers *tellers = *state;
	struct device *device = chip(tellers);

	tells(tellers, SOURCE_TT_METAL, PID, device, 100);
	tells_peak(tellers, SOURCE_NATIVE, PID, device, 100, 700);
	leaves(tellers, SOURCE_NATIVE, PID);
	assert_int_equal(device_peak(device, (enum kind)TTMEM_DRAM), 700);
}

static void both_ways_to_sum_agree_whoever_comes_and_goes(void **state)
{
	struct tellers *tellers = *state;
	uint64_t seed = 88172645463325252u;

	for (int i = 0; i < 3000; i++) {
		int rank = (int)(unit_random(&seed) % SOURCE_COUNT);
		pid_t pid = (pid_t)(1 + unit_random(&seed) % 8);
		struct process *process = model_process_by_pid(&tellers->model, pid);
		uint64_t asic_id = 1 + unit_random(&seed) % 6, by_process = 0, by_device = 0;

		if (process && process->joined[rank] && seed % 5 == 0)
			leaves(tellers, rank, pid);
		else if (process && seed % 37 == 0)
			model_end(&tellers->model, process);
		else
			tells(tellers, rank, pid,
			      names(tellers, rank,
				    (struct identity){.index = DEVICE_NO_INDEX,
						      .asic_id = asic_id}),
			      seed >> 40 & 0xfff);
		for (pid = 1; pid <= 8; pid++)
			if ((process = model_process_by_pid(&tellers->model, pid)))
				by_process += dram_of_process(process);
		for (uint32_t number = 0; number < 6; number++)
			if (model_device_numbered(&tellers->model, number))
				by_device += dram_of(model_device_numbered(&tellers->model, number))
						     .used_bytes;
		assert_int_equal(by_process, by_device);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TELLERS_TEST(the_best_source_counts_in_whichever_order_they_come_and_go),
		TELLERS_TEST(each_device_has_a_best_source_of_its_own),
		TELLERS_TEST(a_worse_source_that_goes_changes_nothing),
		TELLERS_TEST(only_the_driver_knows_of_an_untracked_process),
		TELLERS_TEST(an_untracked_process_leaves_no_trace),
		TELLERS_TEST(what_was_allocated_is_counted_once_when_the_process_ends),
		TELLERS_TEST(what_was_allocated_is_counted_once_however_sources_change),
		TELLERS_TEST(what_comes_after_untracked_use_is_counted_as_new),
		TELLERS_TEST(counters_at_their_limit_stay_there),
		TELLERS_TEST(counters_and_peaks_never_go_down),
		TELLERS_TEST(a_leak_is_told_once_and_by_the_best_source),
		TELLERS_TEST(what_another_source_still_counts_is_no_leak),
		TELLERS_TEST(a_holdings_peak_does_not_go_down_with_its_source),
		TELLERS_TEST(a_processs_peak_does_not_go_down),
		TELLERS_TEST(a_peak_that_was_started_afresh_stays_so_when_a_source_comes),
		TELLERS_TEST(a_peak_that_only_one_source_saw_is_the_devices),
		TELLERS_TEST(both_ways_to_sum_agree_whoever_comes_and_goes),
	};

	return RUN(tests);
}
