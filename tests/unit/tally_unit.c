/* SPDX-License-Identifier: Apache-2.0 */
/* Sums by tag, device and kind, and by age, against plain counts. */
#include "ages.h"
#include "tally.h"
#include "unit.h"

#define SECOND 1000000000ull
#define NOW    (1700000000 * SECOND)

#define TAGS    40u
#define DEVICES 5u
#define ROUNDS  20000u

static void sums_are_those_of_a_plain_count(void **state)
{
	static uint64_t bytes[TAGS + 1][DEVICES][KIND_COUNT],
		buffers[TAGS + 1][DEVICES][KIND_COUNT];
	uint64_t dice = 1;
	struct tally tally;

	(void)state;
	tally_init(&tally, UINT_MAX);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int tag = unit_random(&dice) % (TAGS + 1);
		uint32_t device = unit_random(&dice) % DEVICES;
		enum kind kind = unit_random(&dice) % KIND_COUNT;
		char text[32];

		snprintf(text, sizeof text, "a tag of some length %u", tag);
		tally_row_add(tally_row(&tally, tag ? text : NULL, device, kind), i, 1);
		bytes[tag][device][kind] += i;
		buffers[tag][device][kind]++;
	}
	assert_int_equal(tally.rows->len, (TAGS + 1) * DEVICES * KIND_COUNT);
	for (guint i = 0; i < tally.rows->len; i++) {
		const struct tally_row *row = &g_array_index(tally.rows, struct tally_row, i);
		unsigned int tag = 0;

		assert_true(!row->tag || sscanf(row->tag, "a tag of some length %u", &tag) == 1);
		assert_int_equal(row->bytes, bytes[tag][row->device][row->kind]);
		assert_int_equal(row->buffers, buffers[tag][row->device][row->kind]);
	}
	tally_fini(&tally);
}

static void no_tag_is_not_an_empty_one(void **state)
{
	struct tally tally;

	(void)state;
	tally_init(&tally, 10);
	tally_row_add(tally_row(&tally, NULL, 0, 1), 1, 1);
	tally_row_add(tally_row(&tally, "", 0, 1), 2, 1);
	assert_int_equal(tally.rows->len, 2);
	assert_int_equal(tally_row(&tally, NULL, 0, 1)->bytes, 1);
	tally_fini(&tally);
}

static void tags_beyond_the_limit_are_other_and_no_sum_is_lost(void **state)
{
	uint64_t bytes = 0, buffers = 0, other = 0;
	struct tally tally;

	(void)state;
	tally_init(&tally, 100);
	for (unsigned int i = 0; i < 5000; i++) {
		char tag[16];

		snprintf(tag, sizeof tag, "t%u", i);
		tally_row_add(tally_row(&tally, tag, i % 2, i % 3), i, 1);
	}
	assert_int_equal(tally.rows->len, 100 + 2 * 3);
	for (guint i = 0; i < tally.rows->len; i++) {
		const struct tally_row *row = &g_array_index(tally.rows, struct tally_row, i);

		bytes += row->bytes;
		buffers += row->buffers;
		other += strcmp(row->tag, TALLY_OTHER) ? 0 : row->buffers;
	}
	assert_int_equal(bytes, 5000 * 4999 / 2);
	assert_int_equal(buffers, 5000);
	assert_int_equal(other, 4900);
	tally_fini(&tally);
}

static void sums_stay_at_their_limit(void **state)
{
	struct tally tally;

	(void)state;
	tally_init(&tally, 10);
	tally_row_add(tally_row(&tally, "t", 0, 0), UINT64_MAX - 1, UINT64_MAX - 1);
	tally_row_add(tally_row(&tally, "t", 0, 0), 5, 5);
	assert_true(tally_row(&tally, "t", 0, 0)->bytes == UINT64_MAX);
	assert_true(tally_row(&tally, "t", 0, 0)->buffers == UINT64_MAX);
	tally_fini(&tally);
}

static void rows_come_by_use_then_tag_device_and_kind(void **state)
{
	static const struct tally_row want[] = {
		{.tag = "z", .device = 0, .kind = 0, .bytes = 9},
		{.tag = NULL, .device = 0, .kind = 0, .bytes = 5},
		{.tag = "a", .device = 1, .kind = 2, .bytes = 5},
		{.tag = "a", .device = 2, .kind = 1, .bytes = 5},
		{.tag = "a", .device = 2, .kind = 3, .bytes = 5},
		{.tag = "b", .device = 0, .kind = 0, .bytes = 5},
	};
	struct tally tally;
	GPtrArray *rows;

	(void)state;
	tally_init(&tally, 10);
	for (size_t i = G_N_ELEMENTS(want); i-- > 0;)
		tally_row_add(tally_row(&tally, want[i].tag, want[i].device, want[i].kind),
			      want[i].bytes, 1);
	rows = tally_by_use(&tally);
	assert_int_equal(rows->len, G_N_ELEMENTS(want));
	for (guint i = 0; i < rows->len; i++) {
		const struct tally_row *row = rows->pdata[i];

		assert_int_equal(g_strcmp0(row->tag, want[i].tag), 0);
		assert_int_equal(row->device, want[i].device);
		assert_int_equal(row->kind, want[i].kind);
	}
	g_ptr_array_free(rows, TRUE);
	tally_fini(&tally);
}

static unsigned int true_column(uint64_t age_ns)
{
	static const uint64_t limits[] = {1, 10, 60, 600, 3600};
	unsigned int column = 0;

	while (column < G_N_ELEMENTS(limits) && age_ns >= limits[column] * SECOND)
		column++;
	return column;
}

/* The column in which a single buffer of that age is read some time later. */
static unsigned int column_read(uint64_t age_ns, uint64_t later_ns)
{
	struct ages_sum columns[AGES_COLUMNS] = {0};
	struct ages ages = {0};
	unsigned int found = AGES_COLUMNS;

	ages_add(&ages, NOW - age_ns, NOW, 77);
	ages_read(&ages, later_ns, columns);
	for (unsigned int i = 0; i < AGES_COLUMNS; i++) {
		if (!columns[i].buffers)
			continue;
		assert_int_equal(found, AGES_COLUMNS);
		assert_int_equal(columns[i].bytes, 77);
		found = i;
	}
	assert_in_range(found, 0, AGES_COLUMNS - 1);
	return found;
}

static void ages_are_exact_at_the_moment_of_the_count(void **state)
{
	static const uint64_t limits[] = {1, 10, 60, 600, 3600};
	uint64_t dice = 3;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
		assert_int_equal(column_read(limits[i] * SECOND - 1, 0), i);
		assert_int_equal(column_read(limits[i] * SECOND, 0), i + 1);
	}
	for (int i = 0; i < 100000; i++) {
		uint64_t age = unit_random(&dice) % (10 * SECOND << unit_random(&dice) % 11);

		assert_int_equal(column_read(age, 0), true_column(age));
	}
}

static void read_later_ages_are_off_by_a_quarter_of_a_second_at_most(void **state)
{
	uint64_t dice = 4;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t age = unit_random(&dice) % (10 * SECOND << unit_random(&dice) % 11);
		uint64_t later = unit_random(&dice) % (AGES_LATER_NS + 1), then = age + later;
		unsigned int column = column_read(age, later);

		assert_in_range(column, true_column(then - MIN(then, (uint64_t)AGES_QUANTUM_NS)),
				true_column(then));
	}
}

static void a_buffer_from_the_future_is_young(void **state)
{
	struct ages_sum columns[AGES_COLUMNS] = {0};
	struct ages ages = {0};

	(void)state;
	ages_add(&ages, NOW + 1, NOW, 5);
	ages_add(&ages, UINT64_MAX, NOW, 5);
	ages_read(&ages, 3 * SECOND, columns);
	assert_int_equal(columns[0].buffers, 2);
	assert_int_equal(columns[0].bytes, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_a_plain_count),
		cmocka_unit_test(no_tag_is_not_an_empty_one),
		cmocka_unit_test(tags_beyond_the_limit_are_other_and_no_sum_is_lost),
		cmocka_unit_test(sums_stay_at_their_limit),
		cmocka_unit_test(rows_come_by_use_then_tag_device_and_kind),
		cmocka_unit_test(ages_are_exact_at_the_moment_of_the_count),
		cmocka_unit_test(read_later_ages_are_off_by_a_quarter_of_a_second_at_most),
		cmocka_unit_test(a_buffer_from_the_future_is_young),
	};

	return RUN(tests);
}
