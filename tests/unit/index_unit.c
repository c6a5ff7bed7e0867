/* SPDX-License-Identifier: Apache-2.0 */
/* The table from address to record. Compiled without SSE2, as for other processors; the library
 * itself works on the same tables with it. */
#undef __SSE2__
#include "../../client/index.h"
#include "crew.h"
#include "own_ledger.h"

#define MOST 40960

/* Stands for a process: one shard and its records. */
static struct client fake;
static struct shard shard;
static struct ledger_header header;

static void fake_make(void)
{
	fake.header = &header;
	fake.capacity = MOST;
	fake.records = calloc(MOST, sizeof *fake.records);
	fake.chunks = calloc(MOST / LEDGER_CHUNK_RECORDS, sizeof *fake.chunks);
	assert_true(fake.records && fake.chunks);
	header.chunks_used = MOST / LEDGER_CHUNK_RECORDS;
	for (uint32_t i = 0; i < header.chunks_used; i++)
		fake.chunks[i].used = LEDGER_CHUNK_RECORDS;
	assert_true(ttmem__index_grow(&fake, &shard));
}

static uint8_t device_of(struct key key)
{
	return (uint8_t)key.place;
}

static uint8_t kind_of(struct key key)
{
	return (uint8_t)(key.place >> 8);
}

static void put(uint32_t number, struct key key)
{
	struct ledger_record *record = &fake.records[number];

	if (!index_has_room(&shard.index))
		assert_true(ttmem__index_grow(&fake, &shard));
	record->references = 1;
	record->address = key.address;
	record->device = device_of(key);
	record->kind = kind_of(key);
	index_put(&shard.index, key, number);
}

/* Asserts that it is found, and as this record. */
static struct place find(uint32_t number)
{
	struct key key = key_of(&fake.records[number]);
	struct place place = index_find(&shard.index, &fake, key);

	assert_non_null(place.group);
	assert_int_equal(place.number, number);
	assert_ptr_equal(place.record, &fake.records[number]);
	assert_true(ttmem__index_has(&shard.index, &fake, key));
	return place;
}

static void take_out(uint32_t number)
{
	index_remove(&shard.index, key_of(&fake.records[number]), find(number));
	fake.records[number].references = 0;
}

static void assert_absent(struct key key)
{
	assert_null(index_find(&shard.index, &fake, key).group);
	assert_false(ttmem__index_has(&shard.index, &fake, key));
}

/* Each group counts those that passed it, and nothing else. Returns how many are not at home. */
static uint32_t assert_counts_fit(void)
{
	const struct index *index = &shard.index;
	uint32_t *passed = calloc(index->mask + 1, sizeof *passed), away = 0, used = 0;

	assert_non_null(passed);
	for (uint32_t at = 0; at <= index->mask; at++)
		for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
			const struct group *group = &index->groups[at];
			uint32_t home;

			if (!lane_get(group, slot))
				continue;
			home = key_home(key_of(&fake.records[group->records[slot]]), index->mask);
			used++;
			away += home != at;
			for (; home != at; home = (home + 1) & index->mask)
				passed[home]++;
		}
	for (uint32_t at = 0; at <= index->mask; at++)
		assert_int_equal(lane_get(&index->groups[at], PASSED), passed[at]);
	assert_int_equal(index_used(index), used);
	free(passed);
	return away;
}

static void assert_no_trace(void)
{
	assert_int_equal(index_used(&shard.index), 0);
	for (uint32_t at = 0; at <= shard.index.mask; at++)
		for (int word = 0; word < 3; word++)
			assert_int_equal(shard.index.groups[at].words[word], 0);
}

static uint64_t state;

static struct key key_of_pattern(unsigned int pattern, uint64_t i)
{
	if (pattern < 48) /* one buffer after the other */
		return key_make(0, TTMEM_DRAM, 0x1000 + (i << pattern));
	if (pattern < 64) /* downwards, from where L1 or DRAM ends */
		return key_make(1, TTMEM_L1, (3ull << 34) - (i << (pattern - 48)));
	if (pattern == 64) /* the same addresses on all devices */
		return key_make((uint32_t)i % 64, TTMEM_DRAM, (i / 64) << 15);
	if (pattern == 65) /* and of all kinds */
		return key_make((uint32_t)i % 64, (uint32_t)(i / 64) % 7, (i / 448) << 5);
	if (pattern == 66) /* bank and offset */
		return key_make(3, TTMEM_DRAM, i % 12 << 33 | (i / 12) << 11);
	if (pattern == 67) /* pointers of the host's */
		return key_make(0, TTMEM_SYSTEM, 0x7f0000000000ull + i * 0x21000);
	if (pattern == 68) /* sizes that differ */
		return key_make(0, TTMEM_DRAM, i * (i + 1) / 2 << 11);
	return key_make(0, TTMEM_DRAM, next_random(&state) >> 8 & ~31ull);
}

#define PATTERNS 70
#define STEP     (UNDER_TSAN || RUNNING_ON_VALGRIND ? 23 : 1)

/* As full as it becomes, 19 of 20 are at home with random addresses, and five of six with the worst
 * pattern that is known. */
static void nearly_all_are_at_home(void)
{
	for (unsigned int pattern = 0; pattern < PATTERNS; pattern += STEP) {
		unsigned int full = 0;

		memset(&shard, 0, sizeof shard);
		state = 88172645463325252ull;
		fake_make();
		for (uint32_t i = 0; i < MOST; i++) {
			put(i, key_of_pattern(pattern, i));
			if (index_has_room(&shard.index))
				continue;
			full++;
			if (assert_counts_fit() * (pattern == PATTERNS - 1 ? 20 : 6) > i)
				fail_msg("pattern %u, %u buffers", pattern, i + 1);
		}
		assert_int_equal(full, 7); /* 64 groups to 4096 */
		munmap(shard.index.groups, (shard.index.mask + 1) * sizeof(struct group));
		free(fake.records);
		free(fake.chunks);
	}
}

static void each_is_found_and_leaves_no_trace(unsigned int pattern)
{
	const uint32_t most = 3000;

	memset(&shard, 0, sizeof shard);
	fake_make();
	for (uint32_t i = 0; i < most; i++)
		put(i, key_of_pattern(pattern, i));
	for (uint32_t i = 0; i < most; i++) {
		struct key key = key_of(&fake.records[i]);

		find(i);
		assert_absent(key_make(device_of(key), 7, key.address));
		assert_absent(key_make(device_of(key) + 64u, kind_of(key), key.address));
		assert_absent(key_make(device_of(key), kind_of(key), key.address ^ 1ull << 63));
	}
	for (uint32_t i = 0; i < most; i += 2)
		take_out(i);
	assert_counts_fit();
	for (uint32_t i = 0; i < most; i++)
		if (i % 2)
			find(i);
		else
			assert_absent(key_of(&fake.records[i]));
	for (uint32_t i = 0; i < most; i += 2)
		put(i, key_of(&fake.records[i]));
	for (uint32_t i = most; i--;)
		take_out(i);
	assert_no_trace();
	free(fake.records);
	free(fake.chunks);
}

static void addresses_of_all_patterns_are_found(void)
{
	state = 88172645463325252ull;
	for (unsigned int pattern = 0; pattern < PATTERNS; pattern += STEP)
		each_is_found_and_leaves_no_trace(pattern);
}

/* Against what the records say, with as many as there is room for, and none left to grow into. */
static void a_full_table_works_and_leaves_no_trace(void)
{
	const uint32_t room = 64 * GROUP_SLOTS;

	fake_make();
	state = 2685821657736338717ull;
	for (unsigned int turn = 0; turn < 20000; turn++) {
		uint32_t i = (uint32_t)(next_random(&state) >> 20) % room;

		if (fake.records[i].references) {
			take_out(i);
		} else {
			fake.records[i].references = 1;
			fake.records[i].address = next_random(&state);
			index_put(&shard.index, key_of(&fake.records[i]), i);
		}
		for (i = 0; turn % 4000 == 3999 && i < room; i++) {
			if (!fake.records[i].references) {
				fake.records[i].references = 1;
				fake.records[i].address = next_random(&state);
				index_put(&shard.index, key_of(&fake.records[i]), i);
			}
			find(i);
		}
		if (turn % 4000 == 3999) {
			assert_true(index_is_full(&shard.index));
			assert_counts_fit();
			assert_absent(key_make(0, 0, next_random(&state)));
		}
	}
	for (uint32_t i = 0; i < room; i++)
		if (fake.records[i].references)
			take_out(i);
	assert_no_trace();
}

static uint32_t put_at_home(uint32_t from, uint32_t home, uint32_t count)
{
	for (uint32_t i = from; i < from + count; i++) {
		struct key key;

		do
			key = key_make(0, 0, next_random(&state));
		while (key_home(key, shard.index.mask) != home);
		put(i, key);
	}
	return from + count;
}

static void what_passes_the_last_group_goes_on_at_the_first(void)
{
	uint32_t count;

	fake_make();
	state = 1;
	count = put_at_home(0, shard.index.mask, 25);
	assert_int_equal(lane_get(&shard.index.groups[shard.index.mask], PASSED), 15);
	assert_int_equal(lane_get(&shard.index.groups[0], PASSED), 5);
	count = put_at_home(count, 0, 10);
	assert_counts_fit();
	for (uint32_t i = 0; i < count; i++)
		find(i);
	for (uint32_t i = 0; i < count; i++)
		take_out(i);
	assert_no_trace();
}

/* Who has lost count looks further for ever, and finds all. */
static void a_count_that_is_full_stays(void)
{
	struct group *group;
	uint32_t count;

	fake_make();
	state = 1;
	group = &shard.index.groups[7];
	lane_set(group, PASSED, LANE_MAX - 2);
	count = put_at_home(0, 7, 15);
	assert_int_equal(lane_get(group, PASSED), LANE_MAX);
	for (uint32_t i = 0; i < count; i++)
		find(i);
	for (uint32_t i = 0; i < count; i++)
		take_out(i);
	assert_int_equal(lane_get(group, PASSED), LANE_MAX);
	for (uint32_t at = 0; at <= shard.index.mask; at++)
		lane_set(&shard.index.groups[at], PASSED, LANE_MAX);
	assert_absent(key_make(0, 0, 5));
}

static void growing_keeps_all_but_those_with_handles(void)
{
	fake_make();
	state = 1;
	put_at_home(0, 3, 100);
	fake.records[50].owner |= RECORD_HAS_HANDLE;
	assert_true(ttmem__index_grow(&fake, &shard));
	assert_int_equal(shard.index.mask, 127);
	assert_int_equal(index_used(&shard.index), 99);
	assert_counts_fit();
	assert_absent(key_of(&fake.records[50]));
	for (uint32_t i = 0; i < 100; i++)
		if (i != 50)
			find(i);
}

/* --- the library's own -------------------------------------------------------------------------
 */

#define KEPT 300

static bool over;

static uint64_t kept_address(uint64_t i)
{
	return i << 20;
}

static void look_for_what_is_kept(struct crew *crew, unsigned int self)
{
	struct client *client = ttmem__client;

	(void)crew;
	for (uint64_t i = self; !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++) {
		lock_take(&client->search_lock);
		assert_true(ttmem__index_has(&client->shards[0]->index, client,
					     key_make(0, TTMEM_L1, kept_address(i % KEPT))));
		lock_give(&client->search_lock);
	}
}

/* While its owner puts, removes and grows, without being asked. */
static void another_thread_finds_what_stays(void)
{
	struct crew crew;

	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < KEPT; i++)
		ttmem_alloc(0, TTMEM_L1, kept_address(i), 1, NULL);
	crew_begin(&crew, 2, look_for_what_is_kept);
	for (uint64_t most = 64; most < rounds(100000); most *= 2) {
		for (uint64_t i = 0; i < most; i++)
			ttmem_alloc(0, TTMEM_L1, kept_address(i) | 1, 1, NULL);
		for (uint64_t i = 0; i < most; i++)
			ttmem_free(0, TTMEM_L1, kept_address(i) | 1);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	crew_end(&crew);
	assert_int_equal(totals_of(0, TTMEM_L1).live_buffers, KEPT);
	for (uint64_t i = 0; i < KEPT; i++)
		ttmem_free(0, TTMEM_L1, kept_address(i));
	shard.index = ttmem__client->shards[0]->index;
	assert_no_trace();
}

static void with_no_memory_to_grow_the_table_fills_and_the_rest_is_counted(void)
{
	struct rlimit limit;
	uint64_t tracked, i;

	if (RUNNING_ON_VALGRIND || UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool needs address space of its own");
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 0, 1, NULL);
	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = 0; /* what there is stays */
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (i = 1; i < 1000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i << 12, 1, NULL);
	tracked = 64 * GROUP_SLOTS;
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, tracked);
	assert_int_equal(errors_now().untracked, 1000 - tracked);
	ttmem_free(0, TTMEM_DRAM, 5 << 12);
	ttmem_alloc(0, TTMEM_DRAM, 1000 << 12, 1, NULL);
	assert_int_equal(errors_now().untracked, 1000 - tracked);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	for (i = 1001; i < 2000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i << 12, 1, NULL);
	assert_int_equal(errors_now().untracked, 1000 - tracked);
	for (i = 0; i < 2000; i++)
		ttmem_free(0, TTMEM_DRAM, i << 12);
	assert_int_equal(errors_now().unknown_frees, 1000 - tracked + 1);
	assert_all_is_freed(ledger_map());
	shard.index = ttmem__client->shards[0]->index;
	assert_no_trace();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(nearly_all_are_at_home),
		isolated(addresses_of_all_patterns_are_found),
		isolated(a_full_table_works_and_leaves_no_trace),
		isolated(what_passes_the_last_group_goes_on_at_the_first),
		isolated(a_count_that_is_full_stays),
		isolated(growing_keeps_all_but_those_with_handles),
		isolated(another_thread_finds_what_stays),
		isolated(with_no_memory_to_grow_the_table_fills_and_the_rest_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
