/* SPDX-License-Identifier: Apache-2.0 */
#include "metal_region.h"
#include "region_bytes.h"
#include "unit.h"

static const int kinds[] = {TTMEM_DRAM,  TTMEM_L1, TTMEM_L1_SMALL,
			    TTMEM_TRACE, TTMEM_CB, TTMEM_KERNEL};

/* From a block of just this size, so that a sanitizer sees who reads on. */
static bool parse_bytes(struct metal_region *region, const void *bytes, size_t size, char *reason,
			size_t room)
{
	uint8_t *copy = g_memdup2(bytes, size ? size : 1);
	bool fine;

	copy = size ? copy : g_realloc(copy, 1);
	memset(region, 0xa5, sizeof *region);
	memset(reason, 0x5a, room);
	fine = metal_region_parse(region, copy, size, reason, room);
	g_free(copy);
	return fine;
}

static struct metal_region *parse(const struct region_bytes *bytes)
{
	static struct metal_region region;
	char reason[96];

	assert_true(parse_bytes(&region, bytes->at, bytes->size, reason, sizeof reason));
	return &region;
}

static void assert_refused(const void *bytes, size_t size, const char *why)
{
	struct metal_region region;
	char reason[96];

	assert_false(parse_bytes(&region, bytes, size, reason, sizeof reason));
	assert_string_equal(reason, why);
}

static void assert_nothing(const struct metal_sums *sums)
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		assert_true(sums->bytes[kind] == 0);
	assert_int_equal(sums->wrapped, 0);
}

/* Each number is `first`, `first` + 1... in the order of the file. */
static void assert_numbers(const struct metal_sums *sums, unsigned int count, uint64_t first)
{
	struct metal_sums left = *sums;

	for (unsigned int i = 0; i < count; i++) {
		assert_true(sums->bytes[kinds[i]] == first + i);
		left.bytes[kinds[i]] = 0;
	}
	assert_nothing(&left);
}

/* Every field has a value of its own. */
static void fill(struct region_bytes *bytes)
{
	put64(bytes, 8, 0x1111111111111111);
	put64(bytes, 24, 0x2222222222222222);
	put64(bytes, 32, 0x3333333333333333);
	put32(bytes, 40, (uint32_t)-7);
	for (unsigned int i = 0; i < number_count(bytes); i++)
		put_total(bytes, i, 1000 + i);
	for (unsigned int chip = 0; chip < 16; chip++) {
		put_chip(bytes, chip, 50 + chip, chip % 2);
		for (unsigned int i = 0; i < number_count(bytes); i++)
			put_chip_bytes(bytes, chip, i, 2000 + 10 * chip + i);
	}
	for (unsigned int slot = 0; slot < 64; slot++) {
		char name[16];

		g_snprintf(name, sizeof name, "name%u", slot);
		put_slot(bytes, slot, 100 + (int32_t)slot, 5000 + slot, name);
		for (unsigned int i = 0; i < number_count(bytes); i++)
			put_slot_bytes(bytes, slot, i, 3000 + 10 * slot + i);
	}
}

static void every_field_of_every_layout_is_where_it_belongs(void **state)
{
	struct region_bytes bytes;

	(void)state;
	for (uint32_t version = 1; version <= 4; version++) {
		const struct metal_region *region;

		region_bytes_init(&bytes, version);
		fill(&bytes);
		region = parse(&bytes);
		assert_int_equal(region->version, version);
		assert_true(region->updated_ns == 0x1111111111111111);
		assert_true(region->board_serial == (version == 1 ? 0x2222222222222222 : 0));
		assert_true(region->asic_id == 0x3333333333333333);
		assert_int_equal(region->logical_id, -7);
		assert_numbers(&region->total, number_count(&bytes), 1000);
		assert_int_equal(region->chip_count, 16);
		assert_int_equal(region->slot_count, 64);
		for (unsigned int i = 0; i < 16; i++) {
			assert_int_equal(region->chips[i].id, 50 + i);
			assert_int_equal(region->chips[i].is_remote, i % 2);
			assert_numbers(&region->chips[i].sums, number_count(&bytes), 2000 + 10 * i);
		}
		for (unsigned int i = 0; i < 64; i++) {
			char name[16];

			g_snprintf(name, sizeof name, "name%u", i);
			assert_int_equal(region->slots[i].pid, 100 + i);
			assert_int_equal(region->slots[i].place, i);
			assert_true(region->slots[i].updated_ns == 5000 + i);
			assert_string_equal(region->slots[i].name, name);
			assert_numbers(&region->slots[i].sums, number_count(&bytes), 3000 + 10 * i);
		}
	}
}

static void an_empty_region_has_nothing_in_it(void **state)
{
	struct region_bytes bytes;

	(void)state;
	for (uint32_t version = 1; version <= 4; version++) {
		const struct metal_region *region;

		region_bytes_init(&bytes, version);
		region = parse(&bytes);
		assert_int_equal(region->chip_count, 0);
		assert_int_equal(region->slot_count, 0);
		assert_nothing(&region->total);
	}
}

static void an_unused_chip_has_the_number_of_its_layout(void **state)
{
	struct region_bytes bytes;

	(void)state;
	for (uint32_t version = 1; version <= 4; version++) {
		const struct metal_region *region;

		region_bytes_init(&bytes, version);
		put_chip(&bytes, 3, 9, 1);
		put_chip(&bytes, 5, version > 2 ? 0 : UINT32_MAX, 2);
		region = parse(&bytes);
		assert_int_equal(region->chip_count, 2);
		assert_int_equal(region->chips[0].id, 9);
		assert_int_equal(region->chips[1].id, version > 2 ? 0 : UINT32_MAX);
		assert_true(region->chips[0].is_remote && region->chips[1].is_remote);
	}
}

/* In layouts 1 and 2 chip 0 looks like an unused one, until it has something. */
static void chip_0_is_in_use_when_it_has_something(void **state)
{
	struct region_bytes bytes;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++)
		for (unsigned int number = 0; number < (version == 1 ? 6 : 5); number++) {
			const struct metal_region *region;

			region_bytes_init(&bytes, version);
			put_chip_bytes(&bytes, 0, number, number % 2 ? 4096 : UINT64_MAX);
			region = parse(&bytes);
			assert_int_equal(region->chip_count, 1);
			assert_int_equal(region->chips[0].id, 0);
			assert_int_equal(region->chips[0].sums.wrapped,
					 number % 2 ? 0 : 1u << kinds[number]);
		}
}

static void only_slots_of_processes_are_taken(void **state)
{
	static const int32_t free_ones[] = {0, -1, -2, INT32_MIN};
	struct region_bytes bytes;

	(void)state;
	for (uint32_t version = 1; version <= 4; version++) {
		const struct metal_region *region;

		region_bytes_init(&bytes, version);
		for (unsigned int slot = 0; slot < 64; slot++) {
			put_slot(&bytes, slot, free_ones[slot % 4], 1, "gone");
			put_slot_bytes(&bytes, slot, 0, 4096);
		}
		put_slot(&bytes, 17, 1, 0, "");
		put_slot(&bytes, 63, INT32_MAX, UINT64_MAX, "x");
		region = parse(&bytes);
		assert_int_equal(region->slot_count, 2);
		assert_int_equal(region->slots[0].pid, 1);
		assert_int_equal(region->slots[0].place, 17);
		assert_int_equal(region->slots[1].pid, INT32_MAX);
		assert_int_equal(region->slots[1].place, 63);
		assert_true(region->slots[1].updated_ns == UINT64_MAX);
	}
}

static void a_name_that_does_not_end_is_ended(void **state)
{
	struct region_bytes bytes;
	char name[64];

	(void)state;
	memset(name, 'n', sizeof name);
	for (uint32_t version = 1; version <= 4; version++) {
		region_bytes_init(&bytes, version);
		put_slot(&bytes, 63, 1, 1, "");
		memcpy(bytes.at + slot_at(&bytes, 63) + 16 + 8 * number_count(&bytes), name, 64);
		assert_int_equal(strlen(parse(&bytes)->slots[0].name), 63);
	}
}

static void a_sum_below_zero_is_a_fault_and_no_number(void **state)
{
	static const uint64_t below[] = {UINT64_MAX, 1ull << 63, -4096ull};
	struct region_bytes bytes;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(below); i++) {
		const struct metal_region *region;

		region_bytes_init(&bytes, 4);
		put_slot(&bytes, 0, 1, 1, "");
		put_chip(&bytes, 0, 1, 1);
		put_total(&bytes, 1, below[i]);
		put_chip_bytes(&bytes, 0, 2, below[i]);
		put_slot_bytes(&bytes, 0, 3, below[i]);
		put_slot_bytes(&bytes, 0, 4, (1ull << 63) - 1);
		region = parse(&bytes);
		assert_int_equal(region->total.wrapped, 1u << TTMEM_L1);
		assert_int_equal(region->chips[0].sums.wrapped, 1u << TTMEM_L1_SMALL);
		assert_int_equal(region->slots[0].sums.wrapped, 1u << TTMEM_TRACE);
		assert_true(region->total.bytes[TTMEM_L1] == 0);
		assert_true(region->chips[0].sums.bytes[TTMEM_L1_SMALL] == 0);
		assert_true(region->slots[0].sums.bytes[TTMEM_TRACE] == 0);
		assert_true(region->slots[0].sums.bytes[TTMEM_CB] == (1ull << 63) - 1);
	}
}

static void a_file_that_is_too_short_says_how_much(void **state)
{
	struct region_bytes bytes;
	char why[64];

	(void)state;
	for (uint32_t version = 1; version <= 4; version++) {
		region_bytes_init(&bytes, version);
		for (size_t size = 4; size < bytes.size; size += 61) {
			g_snprintf(why, sizeof why, "only %zu of %zu bytes", size, bytes.size);
			assert_refused(bytes.at, size, why);
		}
		g_snprintf(why, sizeof why, "only %zu of %zu bytes", bytes.size - 1, bytes.size);
		assert_refused(bytes.at, bytes.size - 1, why);
	}
}

static void a_file_that_has_just_been_made_is_not_initialised(void **state)
{
	static const uint8_t zeros[9280];

	(void)state;
	assert_refused(zeros, 0, "only 0 of 8576 bytes");
	assert_refused(zeros, 3, "only 3 of 8576 bytes");
	assert_refused(zeros, 4, "not initialised yet");
	assert_refused(zeros, sizeof zeros, "not initialised yet");
}

static void a_longer_file_is_read_to_its_layouts_end(void **state)
{
	struct region_bytes bytes;

	(void)state;
	for (uint32_t version = 2; version <= 4; version++) {
		region_bytes_init(&bytes, version);
		memset(bytes.at + 8576, 0xff, sizeof bytes.at - 8576);
		bytes.size = sizeof bytes.at;
		assert_int_equal(parse(&bytes)->slot_count, 0);
	}
}

static void an_unknown_layout_is_not_guessed_at(void **state)
{
	static const uint32_t versions[] = {5, 6, 0x100, 0x01000000, 1u << 31, UINT32_MAX};
	struct region_bytes bytes;
	char why[64];

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(versions); i++) {
		region_bytes_init(&bytes, 4);
		put32(&bytes, 0, versions[i]);
		g_snprintf(why, sizeof why, "unknown layout version %u", versions[i]);
		assert_refused(bytes.at, bytes.size, why);
		assert_refused(bytes.at, 4, why);
	}
}

static void layout_4_is_read_when_it_is_ready(void **state)
{
	static const uint32_t states[] = {0, 1, 2, 0x52454458, 0x59444552, UINT32_MAX};
	struct region_bytes bytes;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
		region_bytes_init(&bytes, 4);
		put32(&bytes, 8536, states[i]);
		assert_refused(bytes.at, bytes.size, "being initialised");
		put32(&bytes, 0, 3);
		bytes.version = 3;
		assert_int_equal(parse(&bytes)->version, 3);
	}
}

/* What was read before must be there still. */
static void a_region_that_is_refused_changes_nothing(void **state)
{
	struct metal_region region, before;
	struct region_bytes bytes;
	char reason[96];

	(void)state;
	memset(&before, 0xa5, sizeof before);
	region_bytes_init(&bytes, 4);
	put32(&bytes, 8536, 0);
	assert_false(parse_bytes(&region, bytes.at, bytes.size, reason, sizeof reason));
	assert_memory_equal(&region, &before, sizeof region);
	assert_false(parse_bytes(&region, bytes.at, 100, reason, sizeof reason));
	assert_memory_equal(&region, &before, sizeof region);
}

static void a_reason_is_cut_to_its_room(void **state)
{
	struct metal_region region;
	char reason[8];

	(void)state;
	assert_false(parse_bytes(&region, "\xff\xff\xff\xff", 4, reason, sizeof reason));
	assert_string_equal(reason, "unknown");
}

static void assert_name(const char *name, uint64_t id)
{
	uint64_t found = ~id;

	assert_true(metal_region_name(name, &found));
	assert_true(found == id);
}

static void a_region_is_known_by_its_name(void **state)
{
	(void)state;
	assert_name("tt_device_0_memory", 0);
	assert_name("tt_device_1_memory", 1);
	assert_name("tt_device_9223372036854775808_memory", 1ull << 63);
	assert_name("tt_device_18446744073709551615_memory", UINT64_MAX);
}

static void other_names_are_not_regions(void **state)
{
	static const char *const names[] = {
		"",
		"tt_device_",
		"tt_device__memory",
		"tt_device_memory",
		"tt_device_1",
		"tt_device_1_memor",
		"tt_device_1_memory2",
		"tt_device_1_memory.tmp",
		"tt_device_1_memory\n",
		" tt_device_1_memory",
		"tt_device_ 1_memory",
		"tt_device_01_memory",
		"tt_device_+1_memory",
		"tt_device_-1_memory",
		"tt_device_0x1_memory",
		"tt_device_1 _memory",
		"tt_device_1a_memory",
		"TT_device_1_memory",
		"tt_device_18446744073709551616_memory",
		"tt_device_99999999999999999999999_memory",
		"tt_device_000000000000000000000000000000000000000000000000000000000000001_memory",
		"tt_device_1_memorytt_device_1_memorytt_device_1_memorytt_device_1_memory",
	};
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		assert_false(metal_region_name(names[i], &id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_every_layout_is_where_it_belongs),
		cmocka_unit_test(an_empty_region_has_nothing_in_it),
		cmocka_unit_test(an_unused_chip_has_the_number_of_its_layout),
		cmocka_unit_test(chip_0_is_in_use_when_it_has_something),
		cmocka_unit_test(only_slots_of_processes_are_taken),
		cmocka_unit_test(a_name_that_does_not_end_is_ended),
		cmocka_unit_test(a_sum_below_zero_is_a_fault_and_no_number),
		cmocka_unit_test(a_file_that_is_too_short_says_how_much),
		cmocka_unit_test(a_file_that_has_just_been_made_is_not_initialised),
		cmocka_unit_test(a_longer_file_is_read_to_its_layouts_end),
		cmocka_unit_test(an_unknown_layout_is_not_guessed_at),
		cmocka_unit_test(layout_4_is_read_when_it_is_ready),
		cmocka_unit_test(a_region_that_is_refused_changes_nothing),
		cmocka_unit_test(a_reason_is_cut_to_its_room),
		cmocka_unit_test(a_region_is_known_by_its_name),
		cmocka_unit_test(other_names_are_not_regions),
	};

	return RUN(tests);
}
