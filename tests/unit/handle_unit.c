/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers with handles: freed by these alone, from anywhere, once. */
#include "../../client/internal.h"
#include "crew.h"
#include "own_ledger.h"

static struct ledger_header *header;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

static ttmem_handle make(uint64_t address, uint64_t size)
{
	ttmem_handle handle = ttmem_alloc_handle(0, TTMEM_DRAM, address, size, "handle");

	assert_true(handle);
	return handle;
}

static void a_handle_frees_its_buffer_once(void)
{
	ttmem_handle handle;

	start();
	handle = make(0x1000, 5);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 5);
	assert_int_equal(ledger_find(header, 0, TTMEM_DRAM, 0x1000)->size, 5);
	assert_records_are_sums(header);
	ttmem_free_handle(handle);
	assert_all_is_freed(header);
	assert_int_equal(errors_now().unknown_frees, 0);
	ttmem_free_handle(handle);
	ttmem_free_handle(handle);
	assert_all_is_freed(header);
	assert_int_equal(errors_now().unknown_frees, 2);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_buffers, 1);
}

static void no_handle_does_nothing(void)
{
	ttmem_free_handle(0);
	start();
	ttmem_free_handle(0);
	assert_int_equal(errors_now().unknown_frees, 0);
}

static void while_it_is_off_there_are_no_handles(void)
{
	assert_int_equal(ttmem_alloc_handle(0, TTMEM_DRAM, 1, 5, "off"), 0);
	start();
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_buffers, 0);
}

static void what_cannot_be_has_no_handle(void)
{
	start();
	assert_int_equal(ttmem_alloc_handle(64, TTMEM_DRAM, 1, 5, NULL), 0);
	assert_int_equal(ttmem_alloc_handle(0, TTMEM_KINDS, 1, 5, NULL), 0);
	assert_int_equal(ttmem_alloc_handle(0, TTMEM_DRAM, 1, (1ull << 56) + 1, NULL), 0);
	assert_int_equal(errors_now().bad_arguments, 3);
	assert_all_is_freed(header);
}

static void buffers_with_one_address_are_apart(void)
{
	ttmem_handle first, second;

	start();
	first = make(7, 5);
	ttmem_alloc(0, TTMEM_DRAM, 7, 50, NULL);
	second = make(7, 500);
	assert_true(first != second);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 555);
	ttmem_free(0, TTMEM_DRAM, 7);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 505);
	ttmem_free(0, TTMEM_DRAM, 7); /* does not find the others */
	assert_int_equal(errors_now().unknown_frees, 1);
	ttmem_free_handle(first);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 500);
	ttmem_free_handle(second);
	assert_int_equal(errors_now().size_mismatches, 0);
	assert_all_is_freed(header);
}

/* The last record to be freed is the first to be used again. */
static void a_stale_handle_frees_nobody_elses_buffer(void)
{
	ttmem_handle stale[50];

	start();
	for (int i = 0; i < 50; i++) {
		stale[i] = make((uint64_t)i, 1);
		ttmem_free_handle(stale[i]);
	}
	make(100, 64);
	for (int i = 0; i < 50; i++)
		ttmem_free_handle(stale[i]);
	ttmem_free_handle(make(101, 32));
	ttmem_alloc(0, TTMEM_DRAM, 102, 128, NULL);
	for (int i = 0; i < 50; i++)
		ttmem_free_handle(stale[i]);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 64 + 128);
	assert_int_equal(errors_now().unknown_frees, 100);
	assert_records_are_sums(header);
}

static void a_made_up_handle_is_unknown(void)
{
	uint64_t state = 99;
	ttmem_handle handle;

	setenv("TTMEM_RECORDS", "512", 1);
	start();
	for (uint64_t i = 0; i < 100; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 1, NULL);
	handle = make(1000, 3);
	for (uint64_t i = 0; i < 40000; i++) /* records that were never used, and that cannot be */
		if (i != (uint32_t)handle)
			ttmem_free_handle((handle & ~0xffffffffull) | i);
	for (uint64_t i = 0; i < 40000; i++)
		ttmem_free_handle(next_random(&state));
	for (int bit = 0; bit < 64; bit++)
		ttmem_free_handle(handle ^ 1ull << bit);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 103);
	ttmem_free_handle(handle);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 100);
	assert_records_are_sums(header);
}

/* Its records have the same numbers, and have been used as often. */
static void a_parents_handle_is_unknown_to_a_forked_child(void)
{
	ttmem_handle handle;
	pid_t child;

	start();
	handle = make(1, 5);
	child = case_fork();
	if (child == 0) {
		ttmem_handle own;

		ttmem_free_handle(handle);
		assert_int_equal(errors_now().unknown_frees, 1);
		own = make(1, 7);
		assert_int_equal((uint32_t)own, (uint32_t)handle);
		ttmem_free_handle(handle);
		assert_int_equal(errors_now().unknown_frees, 2);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 7);
		ttmem_free_handle(own);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 0);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	ttmem_free_handle(handle);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_all_is_freed(header);
}

static void past_the_capacity_handles_work(void)
{
	enum { MANY = 70000 }; /* more than a block of private memory */
	static ttmem_handle handles[MANY];

	setenv("TTMEM_RECORDS", "256", 1);
	start();
	for (uint64_t i = 0; i < MANY; i++)
		handles[i] = make(i, 2);
	assert_int_equal(header->unlisted, MANY - 256);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 2 * MANY);
	for (uint64_t i = 0; i < MANY; i++)
		ttmem_free_handle(handles[i]);
	for (uint64_t i = 0; i < MANY; i++)
		ttmem_free_handle(handles[i]);
	assert_int_equal(errors_now().unknown_frees, MANY);
	assert_all_is_freed(header);
}

/* --- many threads ------------------------------------------------------------------------------
 */

#define HELD    64
#define THREADS 5
#define KINDS   2

/* What is known of a buffer beside the library. Under `reference`, as all that follows. */
struct known {
	ttmem_handle handle; /* 0: it is freed by its address, or there is none */
	uint64_t address;
	uint64_t size; /* 0: there is none */
	enum ttmem_kind kind;
};

static pthread_mutex_t reference = PTHREAD_MUTEX_INITIALIZER;
static struct known all[THREADS * HELD];
static uint64_t stale_frees, bytes[KINDS], buffers[KINDS];
static unsigned int pauses, steps;
static bool handles_alone;

static void known_count(const struct known *known, bool comes)
{
	bytes[known->kind] += comes ? known->size : -known->size;
	buffers[known->kind] += comes ? 1 : -1ull;
}

/* Takes out what is known at a place, of whichever thread. */
static struct known known_take(uint64_t place)
{
	struct known known;

	pthread_mutex_lock(&reference);
	known = all[place];
	all[place].size = 0;
	if (known.size)
		known_count(&known, false);
	pthread_mutex_unlock(&reference);
	return known;
}

static void known_put(uint64_t place, struct known known)
{
	struct known old;

	pthread_mutex_lock(&reference);
	old = all[place];
	all[place] = known;
	if (old.size)
		known_count(&old, false);
	known_count(&known, true);
	pthread_mutex_unlock(&reference);
	if (old.handle && old.size)
		ttmem_free_handle(old.handle);
	else if (old.size)
		ttmem_free(3, old.kind, old.address);
}

static void let_go(struct known known, bool twice)
{
	if (!known.size)
		return;
	if (!known.handle) {
		ttmem_free(3, known.kind, known.address);
		return;
	}
	ttmem_free_handle(known.handle);
	if (!twice)
		return;
	ttmem_free_handle(known.handle);
	__atomic_fetch_add(&stale_frees, 1, __ATOMIC_RELAXED);
}

static void step(unsigned int self, uint64_t *state, uint64_t *serial)
{
	uint64_t dice = next_random(state);
	uint64_t place = (dice >> 8) % (THREADS * HELD);
	struct known known = {.size = (dice >> 20 & 0xffff) + 1, .kind = dice >> 40 & 1};

	if (dice & 1) {
		let_go(known_take(place), dice % 16 == 1);
		return;
	}
	if (dice & 2 || handles_alone) { /* the address does not matter */
		known.handle = ttmem_alloc_handle(3, known.kind, dice >> 60, known.size, NULL);
		assert_true(known.handle);
	} else {
		known.address = ++*serial << 8 | self;
		ttmem_alloc(3, known.kind, known.address, known.size, NULL);
	}
	known_put(place, known);
}

static void work(struct crew *crew, unsigned int self)
{
	uint64_t state = 0x9e3779b97f4a7c15ull * (self + 1), serial = 0;

	for (unsigned int pause = 0; pause < pauses; pause++) {
		for (unsigned int i = 0; i < steps; i++)
			step(self, &state, &serial);
		crew_pause(crew);
	}
}

static void compare(void)
{
	for (enum ttmem_kind kind = 0; kind < KINDS; kind++) {
		assert_int_equal(totals_of(3, kind).live_bytes, bytes[kind]);
		assert_int_equal(totals_of(3, kind).live_buffers, buffers[kind]);
	}
	assert_int_equal(errors_now().unknown_frees, stale_frees);
	assert_records_are_sums(header);
}

static void free_each_others(void)
{
	struct crew crew;

	start();
	pauses = 20;
	steps = rounds(10000);
	crew_begin(&crew, THREADS, work);
	for (unsigned int i = 0; i < pauses; i++) {
		crew_halt(&crew);
		compare();
		crew_resume(&crew);
	}
	crew_end(&crew);
	for (uint64_t place = 0; place < THREADS * HELD; place++)
		let_go(known_take(place), false);
	compare();
	assert_all_is_freed(header);
}

static void threads_free_each_others_by_handle(void)
{
	handles_alone = true;
	free_each_others();
}

static void threads_free_each_others_by_handle_and_by_address(void)
{
	free_each_others();
}

static ttmem_handle wanted;

static void free_at_once(struct crew *crew, unsigned int self)
{
	for (unsigned int i = 0; i < steps; i++) {
		if (!self)
			wanted = make(i, 5);
		crew_meet(crew);
		ttmem_free_handle(wanted);
		crew_meet(crew);
	}
}

static void of_many_frees_of_one_handle_one_counts(void)
{
	struct crew crew;

	start();
	steps = rounds(3000);
	crew_run(&crew, 3, free_at_once);
	assert_int_equal(totals_of(0, TTMEM_DRAM).allocated_buffers, steps);
	assert_int_equal(errors_now().unknown_frees, 2 * steps);
	assert_all_is_freed(header);
}

static void make_some(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = 0; i < 1000; i++)
		all[i % HELD].handle = make(i << 8 | self, 2);
}

/* The next thread that takes the shard, or any other, frees what its thread has left. */
static void handles_outlive_their_thread(void)
{
	struct crew crew;

	start();
	crew_run(&crew, 1, make_some);
	for (int i = 0; i < HELD; i++)
		ttmem_free_handle(all[i].handle);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, 1000 - HELD);
	assert_records_are_sums(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_handle_frees_its_buffer_once),
		isolated(no_handle_does_nothing),
		isolated(while_it_is_off_there_are_no_handles),
		isolated(what_cannot_be_has_no_handle),
		isolated(buffers_with_one_address_are_apart),
		isolated(a_stale_handle_frees_nobody_elses_buffer),
		isolated(a_made_up_handle_is_unknown),
		isolated(a_parents_handle_is_unknown_to_a_forked_child),
		isolated(past_the_capacity_handles_work),
		isolated(threads_free_each_others_by_handle),
		isolated(threads_free_each_others_by_handle_and_by_address),
		isolated(of_many_frees_of_one_handle_one_counts),
		isolated(handles_outlive_their_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
