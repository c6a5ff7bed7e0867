/* SPDX-License-Identifier: Apache-2.0 */
/* What the library takes of its host's memory. */
#include "crew.h"
#include "directory.h"
#include "own_ledger.h"

#define IDLE_BYTES   (64 << 10)
#define RECORD_BYTES 64
#define INDEX_BYTES  24

/* Of this process, in bytes: private memory and shared memory. */
static uint64_t resident(void)
{
	char line[128];
	uint64_t bytes = 0;
	unsigned long kib;
	FILE *status = fopen("/proc/self/status", "re");

	assert_non_null(status);
	while (fgets(line, sizeof line, status))
		if (sscanf(line, "RssAnon: %lu kB", &kib) == 1 ||
		    sscanf(line, "RssShmem: %lu kB", &kib) == 1)
			bytes += (uint64_t)kib << 10;
	fclose(status);
	return bytes;
}

static void skip_where_memory_is_not_ours(void)
{
	if (UNDER_TSAN || UNDER_ASAN || RUNNING_ON_VALGRIND)
		case_skip("here each access takes memory of its own");
}

static void an_idle_client_takes_little(void)
{
	uint64_t before;

	skip_where_memory_is_not_ours();
	resident(); /* takes what stdio needs */
	before = resident();
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 4096, 4096, "weights");
	ttmem_free(0, TTMEM_DRAM, 4096);
	assert_true(resident() - before <= IDLE_BYTES);
}

/* Private memory for finding addresses, in bytes. */
static uint64_t index_bytes(void)
{
	const struct client *client = ttmem__client;
	uint64_t bytes = ttmem__directory_bytes(&client->directory);

	for (uint32_t i = 0; i < client->nshards; i++)
		bytes += ((uint64_t)client->shards[i]->index.mask + 1) * sizeof(struct group);
	return bytes;
}

/* At each step of its growth, for numbers that are worth counting bytes. */
static void assert_index_is_small(uint64_t live)
{
	if (live >= 20000)
		assert_true(index_bytes() <= live * INDEX_BYTES);
}

static void a_live_buffer_takes_no_more_than_is_said(void)
{
	const uint64_t live = 300000;
	uint64_t before;

	skip_where_memory_is_not_ours();
	assert_int_equal(ttmem_start(), 0);
	before = resident();
	for (uint64_t i = 0; i < live; i++) {
		ttmem_alloc(0, TTMEM_DRAM, i << 12, 4096, NULL);
		assert_index_is_small(i + 1);
	}
	assert_true(resident() - before <= live * (RECORD_BYTES + INDEX_BYTES));
}

static void a_handle_needs_no_index(void)
{
	uint64_t before;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc_handle(0, TTMEM_DRAM, 0, 4096, NULL);
	before = index_bytes();
	for (uint64_t i = 0; i < 100000; i++)
		assert_true(ttmem_alloc_handle(0, TTMEM_DRAM, i << 12, 4096, NULL));
	assert_int_equal(index_bytes(), before);
}

/* The directory is never larger than when it has just been made. */
static void fill_step_by_step(struct crew *crew, unsigned int self)
{
	uint64_t i = 0;

	for (uint64_t each = 8000; each < 40000; each += each / 16) {
		for (; i < each; i++)
			ttmem_alloc(0, TTMEM_DRAM, (i * crew->size + self) << 12, 4096, NULL);
		crew_meet(crew);
		if (!self) {
			ttmem__directory_rebuild(ttmem__client);
			assert_int_equal(totals_of(0, TTMEM_DRAM).live_buffers, each * crew->size);
			assert_true(index_bytes() <= each * crew->size * INDEX_BYTES);
		}
		crew_meet(crew);
	}
}

static void nor_do_those_of_two_threads(void)
{
	struct crew crew;

	assert_int_equal(ttmem_start(), 0);
	crew_run(&crew, 2, fill_step_by_step);
}

static void nor_those_of_three(void)
{
	struct crew crew;

	assert_int_equal(ttmem_start(), 0);
	crew_run(&crew, 3, fill_step_by_step);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(an_idle_client_takes_little),
		isolated(a_live_buffer_takes_no_more_than_is_said),
		isolated(a_handle_needs_no_index),
		isolated(nor_do_those_of_two_threads),
		isolated(nor_those_of_three),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
