/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a card by its name. */
#include "cards.h"
#include "unit.h"

static void assert_card(const char *name, const char *arch, unsigned int asics, uint64_t dram_bytes,
			uint64_t l1_bytes)
{
	const struct card *card = card_find(name);

	assert_non_null(card);
	assert_string_equal(card->arch, arch);
	assert_int_equal(card->asics, asics);
	assert_true(card_dram_bytes(card) == dram_bytes);
	assert_true(card_l1_bytes(card) == l1_bytes);
}

/* The products are written out, so that a slip in the table's factors is not repeated here. */
static void a_card_has_the_memory_that_is_published(void **state)
{
	(void)state;
	assert_card("n150", "wormhole_b0", 1, 12884901888, 107937792);
	assert_card("n300", "wormhole_b0", 2, 12884901888, 95944704);
	assert_card("p100", "blackhole", 1, 29947330560, 188743680);
	assert_card("p100a", "blackhole", 1, 29947330560, 188743680);
	assert_card("p150", "blackhole", 1, 34225520640, 220200960);
	assert_card("p150a", "blackhole", 1, 34225520640, 220200960);
	assert_card("p150b", "blackhole", 1, 34225520640, 220200960);
	assert_card("p150c", "blackhole", 1, 34225520640, 220200960);
	assert_card("p300", "blackhole", 2, 34225520640, 188743680);
	assert_card("p300a", "blackhole", 2, 34225520640, 188743680);
	assert_card("p300b", "blackhole", 2, 34225520640, 188743680);
	assert_card("p300c", "blackhole", 2, 34225520640, 188743680);
}

static void a_name_may_be_written_in_any_case(void **state)
{
	(void)state;
	assert_ptr_equal(card_find("N300"), card_find("n300"));
	assert_ptr_equal(card_find("P150A"), card_find("p150a"));
	assert_string_equal(card_find("P150A")->name, "p150a");
}

static void a_name_that_is_only_like_one_is_not_known(void **state)
{
	static const char *const names[] = {
		"",       "n",      "n15",      "n1500",   " n150",
		"n150 ",  "n150\n", "n150a",    "p100b",   "p150d",
		"p150aa", "p",      "e75",      "unknown", "P300 A",
		"p-150",  "p150a_", "n300\x7f", "150",     "galaxy-wormhole",
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		assert_null(card_find(names[i]));
}

static void an_architecture_has_the_number_of_the_older_protocol(void **state)
{
	(void)state;
	assert_int_equal(card_arch_number("grayskull"), 1);
	assert_int_equal(card_arch_number("wormhole_b0"), 2);
	assert_int_equal(card_arch_number("blackhole"), 3);
	assert_int_equal(card_arch_number("quasar"), 4);
	assert_int_equal(card_arch_number("Wormhole_B0"), 2);
	assert_int_equal(card_arch_number("BLACKHOLE"), 3);
	assert_int_equal(card_arch_number(card_find("n150")->arch), 2);
	assert_int_equal(card_arch_number(card_find("p300c")->arch), 3);
}

static void any_other_architecture_is_invalid(void **state)
{
	(void)state;
	assert_int_equal(card_arch_number(""), 0);
	assert_int_equal(card_arch_number("invalid"), 0);
	assert_int_equal(card_arch_number("blackhole2"), 0);
	assert_int_equal(card_arch_number("blackhol"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_card_has_the_memory_that_is_published),
		cmocka_unit_test(a_name_may_be_written_in_any_case),
		cmocka_unit_test(a_name_that_is_only_like_one_is_not_known),
		cmocka_unit_test(an_architecture_has_the_number_of_the_older_protocol),
		cmocka_unit_test(any_other_architecture_is_invalid),
	};

	return RUN(tests);
}
