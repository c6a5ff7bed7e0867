/* SPDX-License-Identifier: Apache-2.0 */
/* Records, their index, what is past the capacity, and tags. */
#include "crew.h"
#include "ledger_view.h"
#include "own_ledger.h"

static struct ledger_header *start(void)
{
	assert_int_equal(ttmem_start(), 0);
	return ledger_map();
}

static const struct ledger_record *dram(const struct ledger_header *header, uint64_t address)
{
	return ledger_find(header, 0, TTMEM_DRAM, address);
}

static void records_are_dense_and_the_last_freed_is_taken_first(void)
{
	const struct ledger_header *header = start();

	for (uint64_t i = 0; i < 10; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 1, NULL);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(ledger_record(header, i)->address, i);
	assert_int_equal(header->chunks_used, 1);
	assert_int_equal(ledger_chunk(header, 0)->used, 10);
	assert_int_equal(ledger_chunk(header, 0)->shard, 0);
	ttmem_free(0, TTMEM_DRAM, 3);
	ttmem_free(0, TTMEM_DRAM, 7);
	ttmem_alloc(0, TTMEM_DRAM, 100, 1, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 101, 1, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 102, 1, NULL);
	assert_int_equal(ledger_record(header, 7)->address, 100);
	assert_int_equal(ledger_record(header, 7)->sequence, 4);
	assert_int_equal(ledger_record(header, 3)->address, 101);
	assert_int_equal(ledger_record(header, 10)->address, 102);
	assert_int_equal(ledger_chunk(header, 0)->used, 11);
}

/* n-th address of a family that is hard on a hash. */
static uint64_t multiples_of_a_gibibyte(uint64_t n)
{
	return n << 30;
}

static uint64_t equal_low_bits(uint64_t n)
{
	return n << 24 | 0xabcdef;
}

static uint64_t neighbours_at_the_top(uint64_t n)
{
	return UINT64_MAX - n;
}

static uint64_t blocks_of_a_page(uint64_t n)
{
	return n << 12;
}

static uint64_t bits_reversed(uint64_t n)
{
	uint64_t address = 0;

	for (int i = 0; i < 64; i++)
		address |= (n >> i & 1) << (63 - i);
	return address;
}

static void grow_and_shrink(uint64_t (*address)(uint64_t n))
{
	const struct ledger_header *header = start();
	uint64_t count = rounds(200000), bytes = 0;

	for (uint64_t i = 0; i < count; i++) {
		ttmem_alloc((uint32_t)i % 2, TTMEM_DRAM, address(i), i, NULL);
		bytes += i;
	}
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_buffers, count);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_bytes, bytes);
	assert_int_equal(ledger_live(header), count);
	/* Each is found again: as a reference, and the odd ones first. */
	for (uint64_t i = 0; i < count; i++)
		ttmem_alloc((uint32_t)i % 2, TTMEM_DRAM, address(i), i, NULL);
	assert_int_equal(ledger_live(header), count);
	for (int odd = 1; odd >= 0; odd--) {
		for (uint64_t i = (uint64_t)odd; i < count; i += 2) {
			ttmem_free((uint32_t)i % 2, TTMEM_DRAM, address(i));
			ttmem_free((uint32_t)i % 2, TTMEM_DRAM, address(i));
		}
		assert_int_equal(totals_of((uint32_t)odd, TTMEM_DRAM).live_buffers, 0);
	}
	assert_all_is_freed(header);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(errors_now().size_mismatches, 0);
	/* What was used is used again. */
	count = header->chunks_used;
	for (uint64_t i = 0; i < 1000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 1, NULL);
	assert_int_equal(header->chunks_used, count);
}

static void many_multiples_of_a_gibibyte_come_and_go(void)
{
	grow_and_shrink(multiples_of_a_gibibyte);
}

static void many_addresses_with_equal_low_bits_come_and_go(void)
{
	grow_and_shrink(equal_low_bits);
}

static void many_addresses_at_the_top_come_and_go(void)
{
	grow_and_shrink(neighbours_at_the_top);
}

static void many_pages_come_and_go(void)
{
	grow_and_shrink(blocks_of_a_page);
}

static void many_addresses_that_differ_at_the_top_come_and_go(void)
{
	grow_and_shrink(bits_reversed);
}

static void past_the_capacity_the_sums_stay_exact(void)
{
	const struct ledger_header *header;
	uint64_t count = 70000; /* more than one block of what is not listed */

	setenv("TTMEM_RECORDS", "256", 1);
	header = start();
	for (uint64_t i = 0; i < count; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, count * 10);
	assert_int_equal(totals_of(0, TTMEM_DRAM).peak_bytes, count * 10);
	assert_int_equal(header->unlisted, count - 256);
	assert_int_equal(ledger_live(header), 256);
	assert_int_equal(header->chunks_used, 1);
	ttmem_alloc(0, TTMEM_DRAM, count - 1, 10, NULL);
	assert_int_equal(header->unlisted, count - 256);
	for (uint64_t i = 0; i < count; i++)
		ttmem_free(0, TTMEM_DRAM, i);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, 1);
	assert_int_equal(header->unlisted, 1);
	ttmem_free(0, TTMEM_DRAM, count - 1);
	assert_all_is_freed(header);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(errors_now().untracked, 0);
}

static void the_collectors_view_agrees(void)
{
	struct ledger_header *header = start();
	struct ledger_record records[LEDGER_CHUNK_RECORDS];
	struct amount amounts[KIND_COUNT] = {0};
	struct ledger_view view;
	uint64_t bytes = 0;
	const char *why;

	for (uint64_t i = 0; i < 1000; i++)
		ttmem_alloc(1, TTMEM_L1, i, i, "viewed");
	assert_int_equal(ledger_view_open(&view, dup(ledger_fd()), getuid(), &why), 0);
	ledger_view_amounts(&view, header->devices_used, 1u << TTMEM_L1, amounts);
	for (uint32_t i = 0; i < header->chunks_used; i++) {
		int count = ledger_view_chunk(&view, i, records);

		for (int n = 0; n < count; n++) {
			bytes += records[n].size;
			assert_string_equal(ledger_view_tag(&view, records[n].tag), "viewed");
		}
	}
	assert_int_equal(bytes, 999 * 1000 / 2);
	assert_int_equal(amounts[TTMEM_L1].used_bytes, bytes);
	assert_int_equal(amounts[TTMEM_L1].used_buffers, 1000);
	assert_int_equal(ledger_view_peak(&view, 1, (enum kind)TTMEM_L1), bytes);
	ledger_view_close(&view);
}

static const char *tag_of(const struct ledger_header *header, uint64_t address)
{
	return ledger_tag(header, dram(header, address)->tag);
}

static void a_tag_is_kept_once(void)
{
	const struct ledger_header *header = start();

	for (uint64_t i = 0; i < 100; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 1, i % 2 ? "weights" : "kv_cache");
	assert_int_equal(header->tags_used, 4);
	assert_string_equal(tag_of(header, 0), "kv_cache");
	assert_string_equal(tag_of(header, 1), "weights");
	assert_int_equal(dram(header, 1)->tag, dram(header, 99)->tag);
}

static void no_tag_and_an_empty_one_are_none(void)
{
	const struct ledger_header *header = start();

	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 2, 1, "");
	assert_int_equal(dram(header, 1)->tag, LEDGER_TAG_NONE);
	assert_int_equal(dram(header, 2)->tag, LEDGER_TAG_NONE);
	assert_int_equal(header->tags_used, 0);
}

static void a_tag_is_cut_at_47_bytes(void)
{
	const struct ledger_header *header = start();
	char tag[64] = "";

	memset(tag, 'x', 47);
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, tag);
	tag[47] = 'y';
	ttmem_alloc(0, TTMEM_DRAM, 2, 1, tag);
	tag[46] = 'z';
	ttmem_alloc(0, TTMEM_DRAM, 3, 1, tag);
	tag[47] = 0;
	ttmem_alloc(0, TTMEM_DRAM, 4, 1, tag);
	assert_int_equal(strlen(tag_of(header, 1)), TTMEM_TAG_MAX);
	assert_int_equal(dram(header, 1)->tag, dram(header, 2)->tag);
	assert_int_not_equal(dram(header, 1)->tag, dram(header, 3)->tag);
	assert_int_equal(dram(header, 3)->tag, dram(header, 4)->tag);
}

static void the_callers_text_may_change_between_calls(void)
{
	const struct ledger_header *header = start();
	char tag[16] = "first";

	ttmem_alloc(0, TTMEM_DRAM, 1, 1, tag);
	strcpy(tag, "second");
	ttmem_alloc(0, TTMEM_DRAM, 2, 1, tag);
	strcpy(tag, "fir");
	ttmem_alloc(0, TTMEM_DRAM, 3, 1, tag);
	assert_string_equal(tag_of(header, 1), "first");
	assert_string_equal(tag_of(header, 2), "second");
	assert_string_equal(tag_of(header, 3), "fir");
}

static void tags_that_find_no_room_are_other(void)
{
	const struct ledger_header *header = start();
	char tag[16];

	for (uint64_t i = 0; i < TTMEM_MAX_TAGS + 10; i++) {
		snprintf(tag, sizeof tag, "tag %d", (int)i);
		ttmem_alloc(0, TTMEM_DRAM, i, 1, tag);
	}
	assert_int_equal(header->tags_used, LEDGER_TAGS);
	for (uint64_t i = 0; i < TTMEM_MAX_TAGS + 10; i++) {
		snprintf(tag, sizeof tag, "tag %d", (int)i);
		assert_string_equal(tag_of(header, i), i < TTMEM_MAX_TAGS ? tag : "other");
	}
	ttmem_alloc(0, TTMEM_DRAM, 5000, 1, "tag 5");
	assert_string_equal(tag_of(header, 5000), "tag 5");
	ttmem_alloc(0, TTMEM_DRAM, 5001, 1, "one more");
	assert_int_equal(dram(header, 5001)->tag, LEDGER_TAG_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(records_are_dense_and_the_last_freed_is_taken_first),
		isolated(many_multiples_of_a_gibibyte_come_and_go),
		isolated(many_addresses_with_equal_low_bits_come_and_go),
		isolated(many_addresses_at_the_top_come_and_go),
		isolated(many_pages_come_and_go),
		isolated(many_addresses_that_differ_at_the_top_come_and_go),
		isolated(past_the_capacity_the_sums_stay_exact),
		isolated(the_collectors_view_agrees),
		isolated(a_tag_is_kept_once),
		isolated(no_tag_and_an_empty_one_are_none),
		isolated(a_tag_is_cut_at_47_bytes),
		isolated(the_callers_text_may_change_between_calls),
		isolated(tags_that_find_no_room_are_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
