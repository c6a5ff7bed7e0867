/* SPDX-License-Identifier: Apache-2.0 */
/* Records of a ledger that is written while it is read: each row that is shown was written whole.
 */
#include "forged.h"
#include <pthread.h>

#define ROWS_WANTED    500000
#define CHUNKS         (FORGE_CAPACITY / LEDGER_CHUNK_RECORDS)
#define word_get(p)    __atomic_load_n(p, __ATOMIC_RELAXED)
#define word_put(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)

/* All that a record says follows from one number. */
static void record_fields(struct ledger_record *record, uint64_t number)
{
	word_put(&record->references, (uint32_t)(number % 5 + 1));
	word_put(&record->address, number << 12);
	word_put(&record->size, number * 3 + 1);
	word_put(&record->time_ns, ~number);
	word_put(&record->thread, (uint32_t)number);
	word_put(&record->tag, (uint16_t)(number * 7));
	word_put(&record->device, (uint8_t)(number % LEDGER_DEVICES));
	word_put(&record->kind, (uint8_t)(number % KIND_COUNT));
}

static void record_write(struct ledger_record *record, uint64_t number)
{
	uint32_t sequence = record->sequence;

	word_put(&record->sequence, sequence + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	record_fields(record, number);
	__atomic_store_n(&record->sequence, sequence + 2, __ATOMIC_RELEASE);
}

static void assert_whole(const struct ledger_record *record)
{
	struct ledger_record want = *record;

	assert_int_equal(record->sequence & 1, 0);
	record_fields(&want, record->address >> 12);
	assert_memory_equal(record, &want, sizeof want);
}

static int chunk_read(struct forged *forged, uint32_t chunk, struct ledger_record *rows)
{
	return ledger_view_chunk(&forged->view, chunk, rows);
}

static void a_live_record_is_a_row(void **state)
{
	struct forged *forged = *state;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];

	forged_chunks(forged)[0].used = 3;
	record_write(&forged_records(forged)[0], 1000);
	record_write(&forged_records(forged)[1], 1001);
	record_write(&forged_records(forged)[2], 1002);
	forged_records(forged)[1].references = 0;
	assert_int_equal(chunk_read(forged, 0, rows), 2);
	assert_whole(&rows[0]);
	assert_whole(&rows[1]);
	assert_int_equal(rows[1].address, 1002 << 12);
	assert_int_equal(chunk_read(forged, 1, rows), -1);
	assert_int_equal(ledger_view_records(&forged->view), LEDGER_CHUNK_RECORDS);
}

static void a_record_that_is_being_written_is_never_a_row(void **state)
{
	struct forged *forged = *state;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];

	forged_chunks(forged)[0].used = 2;
	record_write(&forged_records(forged)[0], 1);
	record_write(&forged_records(forged)[1], 2);
	forged_records(forged)[0].sequence++;
	assert_int_equal(chunk_read(forged, 0, rows), 1);
	assert_int_equal(rows[0].address, 2 << 12);
}

static void what_a_record_cannot_say_is_no_row(void **state)
{
	struct forged *forged = *state;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS], *records = forged_records(forged);

	forged_chunks(forged)[0].used = 5;
	for (uint32_t i = 0; i < 5; i++)
		record_write(&records[i], i + 1);
	records[0].device = LEDGER_DEVICES;
	records[1].kind = KIND_COUNT;
	records[2].kind = UINT8_MAX;
	records[3].size = LEDGER_MAX_BYTES + 1;
	records[4].size = LEDGER_MAX_BYTES;
	assert_int_equal(chunk_read(forged, 0, rows), 1);
	assert_true(rows[0].size == LEDGER_MAX_BYTES);
}

static void a_chunk_holds_no_more_than_there_is_room_for(void **state)
{
	struct forged *forged = *state;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];

	forged->header->chunks_used = CHUNKS;
	for (uint32_t i = 0; i < FORGE_CAPACITY; i++)
		record_write(&forged_records(forged)[i], i + 1);
	for (uint32_t chunk = 0; chunk < CHUNKS; chunk++)
		forged_chunks(forged)[chunk] = (struct ledger_chunk){UINT16_MAX, UINT16_MAX};
	for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) {
		assert_int_equal(chunk_read(forged, chunk, rows), LEDGER_CHUNK_RECORDS);
		assert_int_equal(rows[0].address, (uint64_t)(chunk * LEDGER_CHUNK_RECORDS + 1)
							  << 12);
	}
	forged->header->chunks_used = UINT32_MAX;
	assert_int_equal(chunk_read(forged, CHUNKS, rows), -1);
	assert_int_equal(chunk_read(forged, UINT32_MAX, rows), -1);
	assert_int_equal(ledger_view_records(&forged->view), FORGE_CAPACITY);
}

/* A thread that changes the ledger all the time while the test reads it. */
static struct vandal {
	struct forged *forged;
	void (*work)(struct forged *forged, uint64_t *seed);
	uint32_t rounds;
	bool runs;
	pthread_t thread;
} vandal;

static void *vandal_run(void *arg)
{
	uint64_t seed = 88172645463325252ull;

	(void)arg;
	while (word_get(&vandal.runs)) {
		vandal.work(vandal.forged, &seed);
		__atomic_fetch_add(&vandal.rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void vandal_start(struct forged *forged, void (*work)(struct forged *, uint64_t *))
{
	vandal = (struct vandal){.forged = forged, .work = work, .runs = true};
	assert_int_equal(pthread_create(&vandal.thread, NULL, vandal_run, NULL), 0);
}

static void vandal_stop(void)
{
	word_put(&vandal.runs, false);
	pthread_join(vandal.thread, NULL);
}

/* A claim that failed has not stopped it. */
static int vandal_teardown(void **state)
{
	if (word_get(&vandal.runs))
		vandal_stop();
	return forged_teardown(state);
}

#define TEST_WITH_VANDAL(name) cmocka_unit_test_setup_teardown(name, forged_setup, vandal_teardown)

static void rewrite_records(struct forged *forged, uint64_t *seed)
{
	for (int i = 0; i < 1000; i++) {
		uint64_t random = unit_random(seed);

		record_write(&forged_records(forged)[random % 16], random % (1ull << 40));
	}
}

static void each_row_was_written_whole_whatever_the_writer_does_meanwhile(void **state)
{
	struct forged *forged = *state;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];
	uint64_t seen = 0;

	forged_chunks(forged)[0].used = 16;
	for (uint32_t i = 0; i < 16; i++)
		record_write(&forged_records(forged)[i], i + 1);
	vandal_start(forged, rewrite_records);
	while (seen < ROWS_WANTED || word_get(&vandal.rounds) < 100) {
		int live = chunk_read(forged, 0, rows);

		assert_in_range(live, 0, 16);
		for (int i = 0; i < live; i++)
			assert_whole(&rows[i]);
		seen += (uint64_t)live;
	}
	vandal_stop();
	assert_int_equal(chunk_read(forged, 0, rows), 16);
}

/* Holes appear anywhere, and are filled again. */
static void punch(struct forged *forged, uint64_t *seed)
{
	uint64_t size = ledger_file_size(FORGE_CAPACITY);

	for (int i = 0; i < 100; i++)
		fallocate(forged->by_hand.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)(unit_random(seed) % size & ~4095ull), 4096);
	fallocate(forged->by_hand.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		  (off_t)size);
	forge_fill_header(&forged->by_hand);
	forge_fill_tables(&forged->by_hand);
	forged->header->shards_used = LEDGER_SHARDS;
	forged->header->chunks_used = CHUNKS;
	forged->header->tags_used = LEDGER_TAGS;
	memset(forged->header->shard_devices, 0xff, sizeof forged->header->shard_devices);
}

static void read_all(struct forged *forged)
{
	struct amount amounts[KIND_COUNT] = {0};
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];
	struct recording_errors errors;
	struct identity identity;

	ledger_view_amounts(&forged->view, UINT64_MAX, KINDS_ALL, amounts);
	assert_true(amounts[TTMEM_DRAM].used_bytes == 0 || amounts[TTMEM_DRAM].used_bytes == 4096);
	ledger_view_errors(&forged->view, &errors);
	for (uint32_t i = 0; i < LEDGER_DEVICES; i++) {
		ledger_view_identity(&forged->view, i, &identity);
		assert_int_equal(ledger_view_peak(&forged->view, i, (enum kind)TTMEM_L1), 0);
	}
	for (uint32_t chunk = 0; chunk < CHUNKS; chunk++) {
		int live = chunk_read(forged, chunk, rows);

		assert_in_range(live + 1, 0, chunk ? 1 : 2);
		if (live == 1)
			assert_int_equal(rows[0].size, 4096);
	}
	ledger_view_tag(&forged->view, LEDGER_TAGS - 1);
}

static void holes_are_zeros_and_nothing_else(void **state)
{
	vandal_start(*state, punch);
	for (int i = 0; i < 100 || word_get(&vandal.rounds) < 20; i++)
		read_all(*state);
	vandal_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_live_record_is_a_row),
		TEST(a_record_that_is_being_written_is_never_a_row),
		TEST(what_a_record_cannot_say_is_no_row),
		TEST(a_chunk_holds_no_more_than_there_is_room_for),
		TEST_WITH_VANDAL(each_row_was_written_whole_whatever_the_writer_does_meanwhile),
		TEST_WITH_VANDAL(holes_are_zeros_and_nothing_else),
	};

	return RUN(tests);
}
