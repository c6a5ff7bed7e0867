/* SPDX-License-Identifier: Apache-2.0 */
/* Sums, references, peaks and failures, with one thread: everything is exact. */
#include "crew.h"
#include "own_ledger.h"

static struct ledger_header *start(void)
{
	assert_int_equal(ttmem_start(), 0);
	return ledger_map();
}

static void assert_totals(uint32_t device, enum ttmem_kind kind, uint64_t bytes, uint64_t buffers,
			  uint64_t peak)
{
	struct ttmem_totals totals = totals_of(device, kind);

	assert_int_equal(totals.live_bytes, bytes);
	assert_int_equal(totals.live_buffers, buffers);
	assert_int_equal(totals.peak_bytes, peak);
}

static void every_kind_on_every_device_has_sums_of_its_own(void)
{
	const struct ledger_header *header = start();

	for (uint32_t device = 0; device < TTMEM_MAX_DEVICES; device++)
		for (int kind = 0; kind < TTMEM_KINDS; kind++)
			ttmem_alloc(device, (enum ttmem_kind)kind, 0x1000,
				    (uint64_t)(device * 10 + (uint32_t)kind + 1), NULL);
	for (uint32_t device = 0; device < TTMEM_MAX_DEVICES; device++) {
		for (int kind = 0; kind < TTMEM_KINDS; kind++) {
			uint64_t bytes = device * 10 + (uint32_t)kind + 1;

			assert_totals(device, (enum ttmem_kind)kind, bytes, 1, bytes);
		}
	}
	for (uint64_t kind = 0; kind < TTMEM_KINDS; kind++)
		assert_totals(TTMEM_ALL_DEVICES, (enum ttmem_kind)kind,
			      64 * 63 / 2 * 10 + 64 * (kind + 1), 64,
			      64 * 63 / 2 * 10 + 64 * (kind + 1));
	assert_int_equal(header->devices_used, UINT64_MAX);
	assert_int_equal(header->device_generation, 64);
	assert_int_equal(header->shard_devices[0], UINT64_MAX);
	assert_records_are_sums(header);
}

static void a_record_says_what_was_allocated(void)
{
	const struct ledger_header *header = start();
	const struct ledger_record *record;

	ttmem_alloc(63, TTMEM_KERNEL, UINT64_MAX, LEDGER_MAX_BYTES, "code");
	record = ledger_find(header, 63, TTMEM_KERNEL, UINT64_MAX);
	assert_non_null(record);
	assert_int_equal(record->references, 1);
	assert_int_equal(record->sequence, 2);
	assert_int_equal(record->size, LEDGER_MAX_BYTES);
	assert_int_equal(record->thread, getpid());
	assert_true(record->time_ns / 1000000000 + 1 >= header->start_time_ns / 1000000000);
	assert_string_equal(ledger_tag(header, record->tag), "code");
}

static void a_buffer_of_no_bytes_counts_as_a_buffer(void)
{
	start();
	ttmem_alloc(0, TTMEM_L1, 0, 0, NULL);
	assert_totals(0, TTMEM_L1, 0, 1, 0);
	ttmem_free(0, TTMEM_L1, 0);
	assert_totals(0, TTMEM_L1, 0, 0, 0);
	assert_int_equal(errors_now().unknown_frees, 0);
}

static void an_address_allocated_again_changes_no_sum_until_the_last_free(void)
{
	const struct ledger_header *header = start();

	for (int i = 0; i < 3; i++)
		ttmem_alloc(0, TTMEM_DRAM, 64, 100, i ? "again" : "first");
	assert_totals(0, TTMEM_DRAM, 100, 1, 100);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_buffers, 1);
	assert_int_equal(ledger_find(header, 0, TTMEM_DRAM, 64)->references, 3);
	for (int i = 0; i < 2; i++) {
		ttmem_free(0, TTMEM_DRAM, 64);
		assert_totals(0, TTMEM_DRAM, 100, 1, 100);
	}
	ttmem_free(0, TTMEM_DRAM, 64);
	assert_totals(0, TTMEM_DRAM, 0, 0, 100);
	ttmem_free(0, TTMEM_DRAM, 64);
	assert_int_equal(errors_now().unknown_frees, 1);
	assert_int_equal(errors_now().size_mismatches, 0);
	assert_all_is_freed(header);
}

static void another_size_is_counted_and_the_first_one_stands(void)
{
	start();
	ttmem_alloc(0, TTMEM_DRAM, 64, 100, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 64, 200, NULL);
	assert_totals(0, TTMEM_DRAM, 100, 1, 100);
	assert_int_equal(errors_now().size_mismatches, 1);
	ttmem_free(0, TTMEM_DRAM, 64);
	ttmem_free(0, TTMEM_DRAM, 64);
	assert_totals(0, TTMEM_DRAM, 0, 0, 100);
	ttmem_alloc(0, TTMEM_DRAM, 64, 200, NULL);
	assert_totals(0, TTMEM_DRAM, 200, 1, 200);
}

static void the_same_address_elsewhere_is_another_buffer(void)
{
	start();
	ttmem_alloc(0, TTMEM_DRAM, 64, 1, NULL);
	ttmem_alloc(1, TTMEM_DRAM, 64, 2, NULL);
	ttmem_alloc(0, TTMEM_L1, 64, 4, NULL);
	ttmem_free(1, TTMEM_DRAM, 64);
	assert_totals(0, TTMEM_DRAM, 1, 1, 1);
	assert_totals(1, TTMEM_DRAM, 0, 0, 2);
	assert_totals(0, TTMEM_L1, 4, 1, 4);
	assert_int_equal(errors_now().size_mismatches, 0);
}

static void a_free_of_an_unknown_address_changes_no_sum(void)
{
	const struct ledger_header *header = start();

	ttmem_alloc(0, TTMEM_DRAM, 64, 100, NULL);
	ttmem_free(0, TTMEM_DRAM, 65);
	ttmem_free(1, TTMEM_DRAM, 64);
	ttmem_free(0, TTMEM_L1, 64);
	assert_int_equal(errors_now().unknown_frees, 3);
	assert_totals(0, TTMEM_DRAM, 100, 1, 100);
	assert_records_are_sums(header);
	assert_int_equal(header->devices_used, 1);
}

static void a_first_call_that_frees_is_unknown(void)
{
	setenv("TTMEM", "1", 1);
	ttmem_free(0, TTMEM_DRAM, 64);
	assert_int_equal(errors_now().unknown_frees, 1);
}

static void bad_arguments_are_counted_and_change_no_sum(void)
{
	const struct ledger_header *header = start();
	struct ttmem_totals totals;

	ttmem_alloc(64, TTMEM_DRAM, 1, 1, NULL);
	ttmem_alloc(UINT32_MAX, TTMEM_DRAM, 1, 1, NULL);
	ttmem_alloc(256, TTMEM_DRAM, 1, 1, NULL);
	ttmem_alloc(0, (enum ttmem_kind)7, 1, 1, NULL);
	ttmem_alloc(0, (enum ttmem_kind)256, 1, 1, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 1, LEDGER_MAX_BYTES + 1, NULL);
	ttmem_free(64, TTMEM_DRAM, 1);
	ttmem_free(0, (enum ttmem_kind)7, 1);
	ttmem_alloc_failed(64, TTMEM_DRAM, 1, 1);
	ttmem_alloc_failed(0, (enum ttmem_kind)7, 1, 1);
	assert_int_equal(errors_now().bad_arguments, 10);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(ledger_live(header), 0);
	assert_int_equal(header->devices_used, 0);
	assert_int_equal(ttmem_get_totals(64, TTMEM_DRAM, &totals), -EINVAL);
	assert_int_equal(ttmem_get_totals(0, TTMEM_KINDS, &totals), -EINVAL);
	assert_int_equal(ttmem_get_totals(0, TTMEM_DRAM, NULL), -EINVAL);
}

static void the_last_failure_is_kept_with_its_largest_free_block(void)
{
	const struct ledger_header *header = start();
	const struct ledger_cell *cell = ledger_cell(header, 0, 5, TTMEM_L1);

	ttmem_alloc_failed(5, TTMEM_L1, 1000, 10);
	assert_int_equal(cell->failures, 1);
	assert_int_equal(cell->failure_sequence, 2);
	assert_int_equal(cell->failed_bytes, 1000);
	assert_int_equal(cell->largest_free_bytes, 10);
	assert_int_not_equal(cell->failure_time_ns, 0);
	ttmem_alloc_failed(5, TTMEM_L1, UINT64_MAX, 0);
	assert_int_equal(cell->failures, 2);
	assert_int_equal(cell->failure_sequence, 4);
	assert_int_equal(cell->failed_bytes, UINT64_MAX);
	assert_int_equal(cell->largest_free_bytes, 0);
	assert_int_equal(totals_of(5, TTMEM_L1).failures, 2);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_L1).failures, 2);
	assert_totals(5, TTMEM_L1, 0, 0, 0);
	assert_int_equal(errors_now().bad_arguments, 0);
}

static void a_peak_stays_and_is_each_devices_own(void)
{
	start();
	ttmem_alloc(0, TTMEM_L1, 1, 100, NULL);
	ttmem_free(0, TTMEM_L1, 1);
	ttmem_alloc(1, TTMEM_L1, 1, 70, NULL);
	assert_totals(0, TTMEM_L1, 0, 0, 100);
	assert_totals(1, TTMEM_L1, 70, 1, 70);
	assert_totals(TTMEM_ALL_DEVICES, TTMEM_L1, 70, 1, 100);
	ttmem_alloc(0, TTMEM_L1, 1, 50, NULL);
	assert_totals(TTMEM_ALL_DEVICES, TTMEM_L1, 120, 2, 120);
	assert_totals(0, TTMEM_L1, 50, 1, 100);
}

#define MODEL_DEVICES 5
#define MODEL_SLOTS   256

struct model {
	uint64_t sizes[MODEL_DEVICES][TTMEM_KINDS][MODEL_SLOTS];
	uint32_t references[MODEL_DEVICES][TTMEM_KINDS][MODEL_SLOTS];
	uint64_t live[MODEL_DEVICES + 1][TTMEM_KINDS], peak[MODEL_DEVICES + 1][TTMEM_KINDS];
	uint64_t unknown, mismatches;
};

static void model_add(struct model *model, uint32_t row, int kind, uint64_t size)
{
	model->live[row][kind] += size;
	if (model->live[row][kind] > model->peak[row][kind])
		model->peak[row][kind] = model->live[row][kind];
}

static void model_step(struct model *model, uint64_t dice)
{
	uint32_t device = (uint32_t)(dice >> 8) % MODEL_DEVICES;
	int kind = (int)((dice >> 16) % TTMEM_KINDS);
	uint32_t slot = (uint32_t)(dice >> 24) % MODEL_SLOTS;
	uint64_t *size = &model->sizes[device][kind][slot];
	uint32_t *references = &model->references[device][kind][slot];

	if (dice % 9 < 5) {
		uint64_t asked = *references && dice % 2 ? *size : dice >> 40;

		ttmem_alloc(device, (enum ttmem_kind)kind, (uint64_t)slot << 20, asked, NULL);
		if (!(*references)++) {
			*size = asked;
			model_add(model, device, kind, asked);
			model_add(model, MODEL_DEVICES, kind, asked);
		} else {
			model->mismatches += asked != *size;
		}
		return;
	}
	ttmem_free(device, (enum ttmem_kind)kind, (uint64_t)slot << 20);
	if (!*references) {
		model->unknown++;
	} else if (!--*references) {
		model->live[device][kind] -= *size;
		model->live[MODEL_DEVICES][kind] -= *size;
	}
}

static void a_random_walk_agrees_with_a_model_of_it(void)
{
	static struct model model;
	const struct ledger_header *header = start();
	uint64_t state = 88172645463325252ull;

	for (unsigned int i = 0; i < rounds(200000); i++) {
		model_step(&model, next_random(&state));
		if (i % 1024)
			continue;
		for (uint32_t row = 0; row <= MODEL_DEVICES; row++) {
			for (int kind = 0; kind < TTMEM_KINDS; kind++) {
				struct ttmem_totals totals =
					totals_of(row < MODEL_DEVICES ? row : TTMEM_ALL_DEVICES,
						  (enum ttmem_kind)kind);

				assert_int_equal(totals.live_bytes, model.live[row][kind]);
				assert_int_equal(totals.peak_bytes, model.peak[row][kind]);
			}
		}
		assert_records_are_sums(header);
		assert_int_equal(errors_now().unknown_frees, model.unknown);
		assert_int_equal(errors_now().size_mismatches, model.mismatches);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(every_kind_on_every_device_has_sums_of_its_own),
		isolated(a_record_says_what_was_allocated),
		isolated(a_buffer_of_no_bytes_counts_as_a_buffer),
		isolated(an_address_allocated_again_changes_no_sum_until_the_last_free),
		isolated(another_size_is_counted_and_the_first_one_stands),
		isolated(the_same_address_elsewhere_is_another_buffer),
		isolated(a_free_of_an_unknown_address_changes_no_sum),
		isolated(a_first_call_that_frees_is_unknown),
		isolated(bad_arguments_are_counted_and_change_no_sum),
		isolated(the_last_failure_is_kept_with_its_largest_free_block),
		isolated(a_peak_stays_and_is_each_devices_own),
		isolated(a_random_walk_agrees_with_a_model_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
