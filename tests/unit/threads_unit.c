/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with shards of their own, and buffers that cross from one to another. */
#include "../../client/directory.h"
#include "../../client/internal.h"
#include "crew.h"
#include "own_ledger.h"

static struct ledger_header *header;
static uint64_t turns;
static unsigned int working;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

static void allocate_in_turn(struct crew *crew, unsigned int self)
{
	for (unsigned int i = 0; i < crew->size; i++) {
		if (i == self)
			ttmem_alloc(0, TTMEM_L1, self, self + 1, NULL);
		crew_meet(crew);
	}
}

static void each_thread_writes_to_a_shard_of_its_own(void)
{
	struct crew crew;

	start();
	crew_run(&crew, 5, allocate_in_turn);
	assert_int_equal(header->shards_used, 5);
	assert_int_equal(header->several_shards, 1);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(ledger_cell(header, i, 0, TTMEM_L1)->allocated_bytes, i + 1);
		assert_int_equal(header->shard_devices[i], 1);
		assert_int_equal(ledger_chunk(header, i)->shard, i);
	}
	assert_records_are_sums(header);
}

static void allocate_here_free_there(struct crew *crew, unsigned int self)
{
	for (uint64_t i = 0; self == 0 && i < 1000; i++)
		ttmem_alloc(0, TTMEM_L1, i, 10, NULL);
	crew_meet(crew);
	for (uint64_t i = 0; self == 1 && i < 1000; i++)
		ttmem_free(0, TTMEM_L1, i);
	crew_meet(crew); /* so that neither takes the other's shard */
}

static void a_buffer_freed_by_another_thread_counts_where_it_was_allocated(void)
{
	struct crew crew;

	start();
	crew_run(&crew, 2, allocate_here_free_there);
	assert_int_equal(header->shards_used, 2);
	assert_int_equal(ledger_cell(header, 0, 0, TTMEM_L1)->freed_buffers, 1000);
	assert_int_equal(ledger_cell(header, 1, 0, TTMEM_L1)->freed_buffers, 0);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

static void refer_to_one(struct crew *crew, unsigned int self)
{
	(void)self;
	for (uint64_t i = 0; i < turns; i++) {
		uint64_t address = i % 97;

		crew_pause(crew);
		ttmem_alloc(0, TTMEM_DRAM, address, 100, NULL);
		crew_pause(crew);
		ttmem_free(0, TTMEM_DRAM, address);
	}
}

static void threads_that_allocate_one_address_at_once_share_a_buffer(void)
{
	struct crew crew;

	start();
	turns = rounds(4000);
	crew_begin(&crew, 3, refer_to_one);
	for (uint64_t i = 0; i < turns; i++) {
		crew_halt(&crew);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 0);
		crew_resume(&crew);
		crew_halt(&crew);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 100);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, 1);
		assert_int_equal(ledger_live(header), 1);
		assert_int_equal(ledger_find(header, 0, TTMEM_DRAM, i % 97)->references, 3);
		crew_resume(&crew);
	}
	crew_end(&crew);
	assert_all_is_freed(header);
	assert_int_equal(errors_now().unknown_frees, 0);
}

static void refer_at_once(struct crew *crew, unsigned int self)
{
	(void)self;
	__atomic_fetch_add(&working, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&working, __ATOMIC_ACQUIRE) % crew->size)
		sched_yield();
	ttmem_alloc(0, TTMEM_DRAM, 5, 100, NULL);
	crew_meet(crew);
}

/* Each makes its shard while the others search those that there are. */
static void threads_that_begin_with_one_address_share_a_buffer(void)
{
	for (unsigned int i = 0; i < rounds(400); i++) {
		pid_t child = case_fork();

		if (child == 0) {
			struct crew crew;

			start();
			crew_run(&crew, 4, refer_at_once);
			assert_int_equal(header->shards_used, 4);
			assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 100);
			assert_int_equal(ledger_find(header, 0, TTMEM_DRAM, 5)->references, 4);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void hold_and_free_a_neighbours(struct crew *crew, unsigned int self)
{
	unsigned int neighbour = (self + 1) % crew->size;

	for (uint64_t i = 0; i < 50; i++)
		ttmem_alloc(self % 64, TTMEM_CB, i << 8 | self, 10, "crowd");
	crew_pause(crew);
	for (uint64_t i = 0; i < 50; i++)
		ttmem_free(neighbour % 64, TTMEM_CB, i << 8 | neighbour);
}

static void a_hundred_threads_share_64_shards(void)
{
	struct crew crew;

	start();
	crew_begin(&crew, 100, hold_and_free_a_neighbours);
	crew_halt(&crew);
	assert_int_equal(header->shards_used, LEDGER_SHARDS);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_CB).live_buffers, 5000);
	assert_records_are_sums(header);
	crew_resume(&crew);
	crew_end(&crew);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

static void free_the_last_ones_and_leave_one(struct crew *crew, unsigned int self)
{
	(void)crew;
	(void)self;
	ttmem_free(0, TTMEM_DRAM, turns);
	ttmem_alloc(0, TTMEM_DRAM, turns + 1, 8, "left");
}

static void a_thread_that_ends_leaves_its_shard_to_the_next(void)
{
	struct crew crew;

	start();
	ttmem_alloc(0, TTMEM_DRAM, 0, 8, NULL);
	for (turns = 0; turns < 200; turns++)
		crew_run(&crew, 1, free_the_last_ones_and_leave_one);
	assert_int_equal(header->shards_used, 2);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, 1);
	ttmem_free(0, TTMEM_DRAM, turns);
	assert_all_is_freed(header);
}

/* Of its own, and one that each of the others has had, when there are `others`. */
static void hold_and_refer(unsigned int self, unsigned int others)
{
	for (uint64_t i = 0; i < 300; i++) {
		ttmem_alloc(0, TTMEM_DRAM, (self * 300 + i) << 12, 10, NULL);
		ttmem_alloc(1, TTMEM_DRAM, i << 12, 10, NULL);
	}
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, 300 * (others + 1));
	assert_int_equal(totals_of(1, TTMEM_DRAM).live_buffers, 300);
}

/* The last one frees what all have, once for each. */
static void come_one_after_the_other(struct crew *crew, unsigned int self)
{
	for (unsigned int i = 0; i < crew->size; i++) {
		if (i == self)
			hold_and_refer(self, i);
		crew_meet(crew);
	}
	for (uint64_t i = 0; self + 1 == crew->size && i < 300 * crew->size; i++) {
		ttmem_free(0, TTMEM_DRAM, i << 12);
		ttmem_free(1, TTMEM_DRAM, i % 300 << 12);
	}
	crew_meet(crew);
}

/* The directory's cells become wider with the third shard, and with the fifteenth. */
static void buffers_are_found_while_shards_come(void)
{
	struct crew crew;

	start();
	crew_run(&crew, 18, come_one_after_the_other);
	assert_int_equal(header->shards_used, 18);
	assert_int_equal(ttmem__client->directory.many, 255);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(errors_now().size_mismatches, 0);
	assert_all_is_freed(header);
}

static void grow_side_by_side(struct crew *crew, unsigned int self)
{
	for (uint64_t i = 0; i < turns; i++) {
		ttmem_alloc(self, TTMEM_DRAM, i, 1, NULL);
		if (i % LEDGER_CHUNK_RECORDS == 0)
			crew_meet(crew);
	}
	crew_meet(crew);
}

/* The longest row of chunks that belong to one shard. */
static uint32_t longest_run(void)
{
	const struct ledger_chunk *chunks = ttmem__client->chunks;
	uint32_t run = 1, longest = 1;

	for (uint32_t i = 1; i < header->chunks_used; i++) {
		run = chunks[i].shard == chunks[i - 1].shard ? run + 1 : 1;
		if (run > longest)
			longest = run;
	}
	return longest;
}

static void shards_that_grow_side_by_side_take_longer_and_longer_pieces(void)
{
	struct crew crew;

	start();
	turns = 16 * LEDGER_CHUNK_RECORDS;
	crew_run(&crew, 2, grow_side_by_side);
	assert_true(longest_run() <= 2);
	assert_int_equal(header->chunks_used, 32);
	turns = 256 * LEDGER_CHUNK_RECORDS;
	crew_run(&crew, 2, grow_side_by_side);
	assert_true(longest_run() >= 8);
	/* No more than a 32nd of each is idle. */
	assert_true(header->chunks_used <= 2 * (256 + 256 / 32));
}

/* What others could need is left: both get nearly all there is. */
static void near_the_capacity_pieces_are_small_again(void)
{
	struct crew crew;

	setenv("TTMEM_RECORDS", "65536", 1);
	start();
	turns = 127 * LEDGER_CHUNK_RECORDS;
	crew_run(&crew, 2, grow_side_by_side);
	assert_int_equal(header->unlisted, 0);
	turns = 140 * LEDGER_CHUNK_RECORDS;
	crew_run(&crew, 2, grow_side_by_side);
	assert_int_equal(header->chunks_used, 256);
	assert_int_equal(header->unlisted, (2 * 140 - 256) * LEDGER_CHUNK_RECORDS);
}

static uint64_t most_bytes;

/* Every thread has each address in turn, so each frees what its shard and all others allocated. */
static void allocate_many_in_turn(struct crew *crew, unsigned int self)
{
	for (unsigned int turn = 0; turn < 2 * crew->size; turn++) {
		for (uint64_t i = self; i < turns; i += crew->size)
			ttmem_alloc(0, TTMEM_DRAM, (i + turn) % turns << 30, 64, NULL);
		crew_meet(crew);
		/* Frees do not change it. */
		if (self == 0 && ttmem__directory_bytes(&ttmem__client->directory) > most_bytes)
			most_bytes = ttmem__directory_bytes(&ttmem__client->directory);
		for (uint64_t i = self; i < turns; i += crew->size)
			ttmem_free(0, TTMEM_DRAM, (i + turn / 2) % turns << 30);
		crew_meet(crew);
	}
}

static void the_directory_grows_with_what_is_live(void)
{
	uint64_t bytes;
	struct crew crew;

	start();
	turns = 40000;
	crew_run(&crew, 2, allocate_here_free_there);
	bytes = ttmem__directory_bytes(&ttmem__client->directory);
	crew_run(&crew, 4, allocate_many_in_turn);
	assert_true(most_bytes > bytes);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(each_thread_writes_to_a_shard_of_its_own),
		isolated(a_buffer_freed_by_another_thread_counts_where_it_was_allocated),
		isolated(threads_that_allocate_one_address_at_once_share_a_buffer),
		isolated(threads_that_begin_with_one_address_share_a_buffer),
		isolated(a_hundred_threads_share_64_shards),
		isolated(a_thread_that_ends_leaves_its_shard_to_the_next),
		isolated(shards_that_grow_side_by_side_take_longer_and_longer_pieces),
		isolated(near_the_capacity_pieces_are_small_again),
		isolated(the_directory_grows_with_what_is_live),
		isolated(buffers_are_found_while_shards_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
