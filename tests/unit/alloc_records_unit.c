/* SPDX-License-Identifier: Apache-2.0 */
/* What a process holds by the older server's events, held against a plain list of buffers. */
#include "alloc_records.h"
#include "unit.h"

#define NOW 1700000000000000000u

struct stage {
	struct alloc_records records;
	struct alloc_quota quota;
};

static struct stage *stage_new(uint64_t limit)
{
	struct stage *stage = g_new0(struct stage, 1);

	stage->quota.limit = limit;
	alloc_records_init(&stage->records, &stage->quota);
	return stage;
}

static void stage_free(struct stage *stage)
{
	alloc_records_fini(&stage->records);
	assert_int_equal(stage->quota.used, 0);
	g_free(stage);
}

static void tell(struct stage *stage, enum alloc_type type, int32_t device, uint64_t buffer,
		 uint64_t size, uint8_t kind)
{
	struct alloc_message message = {.type = type,
					.device = device,
					.size = size,
					.buffer_type = kind,
					.pid = 1,
					.buffer = buffer};

	alloc_records_event(&stage->records, &message, NOW);
}

static const struct amount *amount_of(const struct stage *stage, int device, int kind)
{
	return &stage->records.devices[device]->amounts[kind];
}

/* --- the plain list -------------------------------------------------------------------------- */

struct plain {
	int device, class, kind;
	uint64_t buffer, size, references;
};

static struct plain *plain_find(GArray *list, int device, int class, uint64_t buffer)
{
	for (guint i = 0; i < list->len; i++) {
		struct plain *plain = &g_array_index(list, struct plain, i);

		if (plain->device == device && plain->class == class && plain->buffer == buffer)
			return plain;
	}
	return NULL;
}

static void plain_come(GArray *list, int device, int class, uint64_t buffer, uint64_t size,
		       int kind)
{
	struct plain *known = plain_find(list, device, class, buffer);
	struct plain fresh = {device, class, kind, buffer, size, 1};

	if (!known) {
		g_array_append_val(list, fresh);
		return;
	}
	known->references++;
	known->size = size;
	known->kind = kind;
}

static void plain_go(GArray *list, int device, int class, uint64_t buffer)
{
	struct plain *known = plain_find(list, device, class, buffer);

	for (int other = 0; !known && other < ALLOC_DEVICES; other++)
		known = plain_find(list, other, class, buffer);
	if (known && !--known->references)
		g_array_remove_index(list, (guint)(known - (struct plain *)(void *)list->data));
}

/* --- both together --------------------------------------------------------------------------- */

static const enum alloc_type come_types[] = {ALLOC_ALLOC, ALLOC_CB_ALLOC, ALLOC_KERNEL_LOAD};
static const enum alloc_type go_types[] = {ALLOC_FREE, ALLOC_CB_FREE, ALLOC_KERNEL_UNLOAD};

static void step(struct stage *stage, GArray *list, uint64_t *seed)
{
	uint64_t any = unit_random(seed), buffer = any >> 8 & 63, size = any >> 20 & 0xffff;
	int class = (int)(any >> 40 & 3) % 3, device = (int)(any >> 44 & 3);
	int kind = class == 1 ? TTMEM_CB : class == 2 ? TTMEM_KERNEL : (int)(any >> 50 & 7) % 7;

	if (any & 1) {
		tell(stage, come_types[class], device, buffer, size,
		     (uint8_t)(class ? any >> 50 & 1 : (uint64_t)kind));
		plain_come(list, device, class, buffer, size, kind);
	} else {
		tell(stage, go_types[class], device, buffer, 0, 0);
		plain_go(list, device, class, buffer);
	}
}

static void assert_same_sums(const struct stage *stage, const GArray *list)
{
	uint64_t bytes[ALLOC_DEVICES][KIND_COUNT] = {0}, buffers[ALLOC_DEVICES][KIND_COUNT] = {0};

	for (guint i = 0; i < list->len; i++) {
		const struct plain *plain = &g_array_index(list, struct plain, i);

		bytes[plain->device][plain->kind] += plain->size;
		buffers[plain->device][plain->kind]++;
	}
	for (int device = 0; device < ALLOC_DEVICES; device++)
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			const struct alloc_sums *sums = stage->records.devices[device];
			struct amount amount = sums ? sums->amounts[kind] : (struct amount){0};

			assert_int_equal(amount.used_bytes, bytes[device][kind]);
			assert_int_equal(amount.used_buffers, buffers[device][kind]);
			assert_true(amount.allocated_bytes >= amount.used_bytes);
		}
	assert_int_equal(stage->records.table.used, list->len);
	assert_int_equal(stage->quota.used, list->len);
}

static void sums_are_those_of_a_plain_list(void **state)
{
	(void)state;
	for (uint64_t run = 1; run <= 8; run++) {
		struct stage *stage = stage_new(UINT64_MAX);
		GArray *list = g_array_new(FALSE, FALSE, sizeof(struct plain));
		uint64_t seed = run * 0x9e3779b97f4a7c15u;

		for (int i = 0; i < 4000; i++) {
			step(stage, list, &seed);
			if (i % 50 == 0)
				assert_same_sums(stage, list);
		}
		assert_same_sums(stage, list);
		g_array_free(list, TRUE);
		stage_free(stage);
	}
}

/* Rows in pieces, with what happens between two of them. */
static GHashTable *walk(struct stage *stage, size_t room, void (*between)(struct stage *stage))
{
	GHashTable *seen = g_hash_table_new(NULL, NULL);
	struct buffer_cursor cursor = {0};
	struct buffer rows[64];

	while (!cursor.done) {
		size_t count = alloc_records_rows(&stage->records, &cursor, rows, room);

		assert_true(count <= room);
		for (size_t i = 0; i < count; i++) {
			/* A buffer is listed once. */
			assert_true(g_hash_table_add(seen, (void *)(uintptr_t)rows[i].address));
			assert_int_equal(rows[i].size_bytes, rows[i].address * 16);
			assert_int_equal(rows[i].time_ns, NOW);
		}
		if (between)
			between(stage);
	}
	return seen;
}

static void hold(struct stage *stage, uint64_t from, uint64_t to)
{
	for (uint64_t buffer = from; buffer < to; buffer++)
		tell(stage, ALLOC_ALLOC, 0, buffer, buffer * 16, TTMEM_DRAM);
}

static void a_walk_lists_each_buffer_once(void **state)
{
	(void)state;
	for (size_t room = 1; room <= 64; room += 21) {
		struct stage *stage = stage_new(UINT64_MAX);
		GHashTable *seen;

		hold(stage, 1, 5001);
		seen = walk(stage, room, NULL);
		assert_int_equal(g_hash_table_size(seen), 5000);
		g_hash_table_destroy(seen);
		stage_free(stage);
	}
}

static uint64_t next_new;

static void grow(struct stage *stage)
{
	hold(stage, next_new, next_new + 500);
	next_new += 500;
}

static void shrink(struct stage *stage)
{
	for (uint64_t i = 0; i < 500 && next_new > 201; i++)
		tell(stage, ALLOC_FREE, 0, --next_new, 0, 0);
}

static void assert_the_first_200_are_in(GHashTable *seen)
{
	for (uint64_t buffer = 1; buffer <= 200; buffer++)
		assert_true(g_hash_table_contains(seen, (void *)(uintptr_t)buffer));
	g_hash_table_destroy(seen);
}

static void a_walk_misses_nothing_that_stays_while_the_table_grows_and_shrinks(void **state)
{
	struct stage *stage = stage_new(UINT64_MAX);

	(void)state;
	hold(stage, 1, 201);
	next_new = 201;
	assert_the_first_200_are_in(walk(stage, 16, grow));
	assert_true(next_new > 2000);
	assert_the_first_200_are_in(walk(stage, 64, shrink));
	stage_free(stage);
}

static void what_is_over_the_quota_is_not_counted_and_said(void **state)
{
	struct stage *stage = stage_new(3);

	(void)state;
	hold(stage, 1, 6);
	assert_int_equal(amount_of(stage, 0, TTMEM_DRAM)->used_bytes, 16 * (1 + 2 + 3));
	assert_int_equal(stage->records.errors.untracked, 2);
	tell(stage, ALLOC_FREE, 0, 5, 0, 0);
	assert_int_equal(stage->records.errors.unknown_frees, 1);
	tell(stage, ALLOC_FREE, 0, 1, 0, 0);
	hold(stage, 5, 6);
	assert_int_equal(amount_of(stage, 0, TTMEM_DRAM)->used_bytes, 16 * (2 + 3 + 5));
	stage_free(stage);
}

static void a_million_and_more_are_held_and_given_back(void **state)
{
	struct stage *stage = stage_new(UINT64_MAX);

	(void)state;
	hold(stage, 1, ALLOC_TABLE_MAX + 101);
	assert_int_equal(stage->records.table.used, ALLOC_TABLE_MAX);
	assert_int_equal(stage->records.errors.untracked, 100);
	for (uint64_t buffer = 1; buffer <= ALLOC_TABLE_MAX; buffer++)
		tell(stage, ALLOC_FREE, 0, buffer, 0, 0);
	assert_int_equal(stage->records.table.used, 0);
	assert_int_equal(stage->records.errors.unknown_frees, 0);
	assert_true(stage->records.table.places <= 256);
	assert_int_equal(amount_of(stage, 0, TTMEM_DRAM)->used_bytes, 0);
	stage_free(stage);
}

static void sizes_at_the_limit_neither_wrap_nor_stick(void **state)
{
	struct stage *stage = stage_new(UINT64_MAX);

	(void)state;
	tell(stage, ALLOC_ALLOC, 0, 1, INT64_MAX, TTMEM_DRAM);
	tell(stage, ALLOC_ALLOC, 1, 2, 1, TTMEM_DRAM);
	tell(stage, ALLOC_ALLOC, 0, 3, UINT64_MAX, TTMEM_L1);
	assert_int_equal(stage->records.errors.untracked, 2);
	/* Another size of the same buffer that does not fit counts as none. */
	tell(stage, ALLOC_ALLOC, 0, 4, 100, TTMEM_L1);
	tell(stage, ALLOC_ALLOC, 0, 4, UINT64_MAX, TTMEM_L1);
	assert_int_equal(amount_of(stage, 0, TTMEM_L1)->used_bytes, 0);
	tell(stage, ALLOC_FREE, 0, 4, 0, 0);
	tell(stage, ALLOC_FREE, 0, 4, 0, 0);
	tell(stage, ALLOC_FREE, 0, 1, 0, 0);
	assert_int_equal(stage->records.used_bytes[TTMEM_DRAM], 0);
	assert_int_equal(stage->records.peak_bytes[TTMEM_DRAM], INT64_MAX);
	assert_int_equal(stage->quota.used, 0);
	stage_free(stage);
}

static void peaks_are_of_a_device_and_of_all(void **state)
{
	struct stage *stage = stage_new(UINT64_MAX);

	(void)state;
	tell(stage, ALLOC_ALLOC, 0, 1, 100, TTMEM_DRAM);
	tell(stage, ALLOC_FREE, 0, 1, 0, 0);
	tell(stage, ALLOC_ALLOC, 0, 2, 70, TTMEM_DRAM);
	tell(stage, ALLOC_ALLOC, 1, 3, 80, TTMEM_DRAM);
	assert_int_equal(stage->records.devices[0]->peak_bytes[TTMEM_DRAM], 100);
	assert_int_equal(stage->records.devices[1]->peak_bytes[TTMEM_DRAM], 80);
	assert_int_equal(stage->records.peak_bytes[TTMEM_DRAM], 150);
	stage_free(stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_those_of_a_plain_list),
		cmocka_unit_test(a_walk_lists_each_buffer_once),
		cmocka_unit_test(
			a_walk_misses_nothing_that_stays_while_the_table_grows_and_shrinks),
		cmocka_unit_test(what_is_over_the_quota_is_not_counted_and_said),
		cmocka_unit_test(a_million_and_more_are_held_and_given_back),
		cmocka_unit_test(sizes_at_the_limit_neither_wrap_nor_stick),
		cmocka_unit_test(peaks_are_of_a_device_and_of_all),
	};

	return RUN(tests);
}
