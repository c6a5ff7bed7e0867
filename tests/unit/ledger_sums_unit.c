/* SPDX-License-Identifier: Apache-2.0 */
/* Sums, devices, names and marks of a ledger whose owner writes what he likes. */
#include "forged.h"

static struct amount amount_of(struct forged *forged, uint64_t slots, int kind)
{
	struct amount amounts[KIND_COUNT] = {0};

	ledger_view_amounts(&forged->view, slots, 1u << kind, amounts);
	return amounts[kind];
}

static void sums_are_over_shards_and_over_the_slots_that_are_asked_for(void **state)
{
	struct forged *forged = *state;

	forged->header->shards_used = 3;
	for (uint32_t shard = 0; shard < 3; shard++) {
		forged->header->shard_devices[shard] = 7;
		for (uint32_t device = 0; device < 3; device++) {
			struct ledger_cell *cell = forged_cell(forged, shard, device, TTMEM_L1);

			cell->allocated_bytes = 1000 + 100 * device + shard;
			cell->freed_bytes = 1000;
			cell->allocated_buffers = 5;
			cell->freed_buffers = 2;
			cell->failures = 1;
		}
	}
	assert_int_equal(amount_of(forged, 1, TTMEM_L1).used_bytes, 3);
	assert_int_equal(amount_of(forged, 6, TTMEM_L1).used_bytes, 900 + 6);
	assert_int_equal(amount_of(forged, 6, TTMEM_L1).used_buffers, 18);
	assert_int_equal(amount_of(forged, 1, TTMEM_L1).allocated_bytes, 3003);
	assert_int_equal(amount_of(forged, 1, TTMEM_L1).allocated_buffers, 15);
	assert_int_equal(amount_of(forged, 1, TTMEM_L1).failures, 3);
	assert_int_equal(amount_of(forged, 7, TTMEM_DRAM).used_bytes, 0);
	assert_int_equal(amount_of(forged, 0, TTMEM_L1).used_bytes, 0);
}

static void a_shard_counts_only_where_it_says_that_it_has_counters(void **state)
{
	struct forged *forged = *state;

	forged->header->shards_used = 2;
	forged->header->shard_devices[0] = 2;
	forged_cell(forged, 0, 0, TTMEM_CB)->allocated_bytes = 5;
	forged_cell(forged, 0, 1, TTMEM_CB)->allocated_bytes = 7;
	forged_cell(forged, 1, 1, TTMEM_CB)->allocated_bytes = 11;
	assert_int_equal(amount_of(forged, UINT64_MAX, TTMEM_CB).used_bytes, 7);
}

static void there_are_no_more_shards_than_there_is_room_for(void **state)
{
	struct forged *forged = *state;

	forged->header->shards_used = UINT32_MAX;
	for (uint32_t shard = 0; shard < LEDGER_SHARDS; shard++) {
		forged->header->shard_devices[shard] = 1ull << 63;
		forged_cell(forged, shard, 63, TTMEM_KERNEL)->allocated_bytes = 1;
	}
	assert_int_equal(amount_of(forged, 1ull << 63, TTMEM_KERNEL).used_bytes, LEDGER_SHARDS);
	assert_int_equal(ledger_view_pid(&forged->view), getpid()); /* it was mapped anew */
	forged->header->shards_used = 1;
	assert_int_equal(amount_of(forged, 1ull << 63, TTMEM_KERNEL).used_bytes, 1);
	forged->header->shards_used = 0;
	assert_int_equal(amount_of(forged, 1ull << 63, TTMEM_KERNEL).used_bytes, 0);
}

static void more_freed_than_allocated_is_nothing(void **state)
{
	struct forged *forged = *state;
	struct ledger_cell *cell = forged_cell(forged, 0, FORGE_DEVICE, TTMEM_DRAM);

	cell->freed_bytes = cell->allocated_bytes + 1;
	cell->freed_buffers = UINT64_MAX;
	assert_int_equal(amount_of(forged, 1 << FORGE_DEVICE, TTMEM_DRAM).used_bytes, 0);
	assert_int_equal(amount_of(forged, 1 << FORGE_DEVICE, TTMEM_DRAM).used_buffers, 0);
}

static void what_cannot_be_is_the_most_that_can(void **state)
{
	struct forged *forged = *state;
	struct amount amount;

	forged->header->shards_used = LEDGER_SHARDS;
	for (uint32_t shard = 0; shard < LEDGER_SHARDS; shard++) {
		struct ledger_cell *cell = forged_cell(forged, shard, 0, TTMEM_DRAM);

		forged->header->shard_devices[shard] = 1;
		memset(cell, 0xff, sizeof *cell);
		cell->freed_bytes = cell->freed_buffers = 0;
	}
	amount = amount_of(forged, 1, TTMEM_DRAM);
	assert_true(amount.used_bytes == LEDGER_SHARDS * LEDGER_MAX_BYTES);
	assert_true(amount.used_buffers == LEDGER_SHARDS * LEDGER_MAX_BYTES);
	assert_true(amount.allocated_bytes == UINT64_MAX); /* and not what is left of 64 times it */
	assert_true(amount.allocated_buffers == UINT64_MAX);
	assert_true(amount.failures == (uint64_t)LEDGER_SHARDS * UINT32_MAX);
}

static void a_peak_is_no_more_than_there_can_be(void **state)
{
	struct forged *forged = *state;
	struct ledger_process_cell(*process)[LEDGER_KINDS] =
		forged_at(forged, LEDGER_OFFSET_PROCESS);

	process[LEDGER_ALL_DEVICES][TTMEM_L1].peak_bytes = UINT64_MAX - 1;
	process[63][TTMEM_KERNEL].peak_bytes = 42;
	process[63][TTMEM_KERNEL].live_bytes = INT64_MIN;
	assert_true(ledger_view_peak(&forged->view, LEDGER_ALL_DEVICES, (enum kind)TTMEM_L1) ==
		    LEDGER_MAX_BYTES);
	assert_int_equal(ledger_view_peak(&forged->view, 63, (enum kind)TTMEM_KERNEL), 42);
}

static void what_could_not_be_recorded_is_read_as_it_is(void **state)
{
	struct forged *forged = *state;
	struct recording_errors errors;

	forged->header->unknown_frees = 1;
	forged->header->size_mismatches = 2;
	forged->header->bad_arguments = 3;
	forged->header->reentered = 4;
	forged->header->untracked = 5;
	forged->header->unlisted = UINT64_MAX;
	ledger_view_errors(&forged->view, &errors);
	assert_int_equal(errors.unknown_frees, 1);
	assert_int_equal(errors.size_mismatches, 2);
	assert_int_equal(errors.bad_arguments, 3);
	assert_int_equal(errors.reentered, 4);
	assert_int_equal(errors.untracked, 5);
	assert_true(errors.unlisted == UINT64_MAX);
}

static struct ledger_device *device_of(const struct forged *forged, uint32_t index)
{
	return (struct ledger_device *)forged_at(forged, LEDGER_OFFSET_DEVICES) + index;
}

static void a_device_is_what_its_owner_says(void **state)
{
	struct forged *forged = *state;
	struct identity identity;

	*device_of(forged, 63) = (struct ledger_device){
		.sequence = 4,
		.flags = LEDGER_DEVICE_REMOTE,
		.asic_id = 0xabc,
		.dram_total = LEDGER_MAX_BYTES,
		.l1_total = 1,
		.pci = "0000:AB:00.0",
		.arch = "wormhole_b0",
		.board = "n300",
	};
	assert_true(ledger_view_identity(&forged->view, 63, &identity));
	assert_int_equal(identity.index, 63);
	assert_int_equal(identity.asic_id, 0xabc);
	assert_true(identity.is_remote);
	assert_true(identity.dram_total_bytes == LEDGER_MAX_BYTES);
	assert_int_equal(identity.l1_total_bytes, 1);
	assert_string_equal(identity.pci, "0000:ab:00.0");
	assert_string_equal(identity.arch, "wormhole_b0");
	assert_string_equal(identity.board, "n300");
}

static void what_is_not_plain_in_a_device_is_not_known(void **state)
{
	struct forged *forged = *state;
	struct ledger_device *device = device_of(forged, 0);
	struct identity identity;

	memset(device, 0xff, sizeof *device);
	device->sequence = 2;
	memcpy(device->pci, "../../../../../x", 16);
	memcpy(device->arch, "no_zero_at_end__", 16);
	memcpy(device->board, "two\nlines", 10);
	assert_true(ledger_view_identity(&forged->view, 0, &identity));
	assert_string_equal(identity.pci, "");
	assert_string_equal(identity.arch, "");
	assert_string_equal(identity.board, "");
	assert_int_equal(identity.dram_total_bytes, 0);
	assert_int_equal(identity.l1_total_bytes, 0);
}

static void a_device_that_is_being_written_is_not_shown(void **state)
{
	struct forged *forged = *state;
	struct identity identity;

	device_of(forged, 5)->sequence = UINT32_MAX;
	assert_false(ledger_view_identity(&forged->view, 5, &identity));
	device_of(forged, 5)->sequence++;
	assert_true(ledger_view_identity(&forged->view, 5, &identity));
}

static struct ledger_tag *tag_of(const struct forged *forged, uint32_t tag)
{
	return (struct ledger_tag *)forged_at(forged, LEDGER_OFFSET_TAGS) + tag;
}

static void a_tag_has_a_name_once_it_is_announced(void **state)
{
	struct forged *forged = *state;

	strcpy(tag_of(forged, 2)->name, "weights");
	forged->header->tags_used = 2;
	assert_null(ledger_view_tag(&forged->view, 2));
	forged->header->tags_used = 3;
	assert_string_equal(ledger_view_tag(&forged->view, 2), "weights");
	assert_null(ledger_view_tag(&forged->view, LEDGER_TAG_NONE));
	forged->header->tags_used = 0;
	assert_string_equal(ledger_view_tag(&forged->view, LEDGER_TAG_OTHER), "other");
}

static void a_name_that_was_shown_stays(void **state)
{
	struct forged *forged = *state;
	const char *name;

	strcpy(tag_of(forged, 2)->name, "weights");
	forged->header->tags_used = 3;
	name = ledger_view_tag(&forged->view, 2);
	strcpy(tag_of(forged, 2)->name, "other words");
	forged->header->tags_used = UINT32_MAX;
	assert_null(ledger_view_tag(&forged->view, 3));
	assert_ptr_equal(ledger_view_tag(&forged->view, 2), name);
	assert_string_equal(name, "weights");
}

static void odd_names_and_numbers_of_tags_are_harmless(void **state)
{
	struct forged *forged = *state;
	const char *name;

	memset(tag_of(forged, 2), 'a', 64);
	strcpy(tag_of(forged, 3)->name, "a b\n\x1b[2J\\\xff");
	forged->header->tags_used = UINT32_MAX;
	name = ledger_view_tag(&forged->view, 2);
	assert_int_equal(strlen(name), 47);
	assert_string_equal(ledger_view_tag(&forged->view, 3), "a?b??[2J??");
	assert_null(ledger_view_tag(&forged->view, 4)); /* it has no name */
	assert_null(ledger_view_tag(&forged->view, 1023));
	assert_null(ledger_view_tag(&forged->view, 1024));
	assert_null(ledger_view_tag(&forged->view, UINT16_MAX));
	assert_null(ledger_view_tag(&forged->view, UINT32_MAX));
}

static void put_failure(struct forged *forged, uint32_t shard, uint32_t device, uint64_t bytes,
			uint64_t time_ns)
{
	struct ledger_cell *cell = forged_cell(forged, shard, device, TTMEM_DRAM);

	cell->failed_bytes = bytes;
	cell->largest_free_bytes = bytes + 1;
	cell->failure_time_ns = time_ns;
	cell->failures++;
}

static void assert_failure(struct forged *forged, uint64_t slots, uint64_t bytes, uint64_t time_ns)
{
	struct failure failure;

	ledger_view_failure(&forged->view, slots, (enum kind)TTMEM_DRAM, &failure);
	assert_int_equal(failure.requested_bytes, bytes);
	assert_int_equal(failure.largest_free_bytes, bytes ? bytes + 1 : 0);
	assert_int_equal(failure.time_ns, time_ns);
}

static void the_last_failure_is_that_of_any_shard_and_slot(void **state)
{
	struct forged *forged = *state;

	assert_failure(forged, UINT64_MAX, 0, 0);
	forged->header->shards_used = 2;
	forged->header->shard_devices[0] = forged->header->shard_devices[1] = 6;
	put_failure(forged, 0, 1, 100, 50);
	put_failure(forged, 1, 1, 200, 70);
	put_failure(forged, 1, 2, 300, 60);
	put_failure(forged, 0, 3, 400, 90); /* a device that the shard does not have */
	assert_failure(forged, UINT64_MAX, 200, 70);
	assert_failure(forged, 1 << 2, 300, 60);
	assert_failure(forged, 1 << 3, 0, 0);
	assert_failure(forged, 0, 0, 0);
}

static void a_failure_that_is_being_written_is_not_told(void **state)
{
	struct forged *forged = *state;

	forged->header->shard_devices[0] = 6;
	put_failure(forged, 0, 1, 100, 50);
	put_failure(forged, 0, 2, 200, 40);
	forged_cell(forged, 0, 1, TTMEM_DRAM)->failure_sequence = 7;
	assert_failure(forged, UINT64_MAX, 200, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sums_are_over_shards_and_over_the_slots_that_are_asked_for),
		TEST(a_shard_counts_only_where_it_says_that_it_has_counters),
		TEST(there_are_no_more_shards_than_there_is_room_for),
		TEST(more_freed_than_allocated_is_nothing),
		TEST(what_cannot_be_is_the_most_that_can),
		TEST(a_peak_is_no_more_than_there_can_be),
		TEST(what_could_not_be_recorded_is_read_as_it_is),
		TEST(the_last_failure_is_that_of_any_shard_and_slot),
		TEST(a_failure_that_is_being_written_is_not_told),
		TEST(a_device_is_what_its_owner_says),
		TEST(what_is_not_plain_in_a_device_is_not_known),
		TEST(a_device_that_is_being_written_is_not_shown),
		TEST(a_tag_has_a_name_once_it_is_announced),
		TEST(a_name_that_was_shown_stays),
		TEST(odd_names_and_numbers_of_tags_are_harmless),
	};

	return RUN(tests);
}
