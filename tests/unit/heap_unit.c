/* SPDX-License-Identifier: Apache-2.0 */
/* The library never asks for the host's heap: a signal handler may have interrupted it. */
#include "crew.h"
#include "own_ledger.h"
#include <dlfcn.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static unsigned int asked;

/* What the C library's own functions call, too. */
#if !UNDER_ASAN && !UNDER_TSAN
void *malloc(size_t size)
{
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
	return __libc_realloc(old, size);
}
#endif

static void need_a_heap_of_our_own(void)
{
	unsigned int before = asked;
	void *volatile some;

	some = malloc(1);
	free(some);
	if (RUNNING_ON_VALGRIND || asked == before)
		case_skip("the tool has a heap of its own");
}

static void all_calls(void)
{
	struct ttmem_device device = {.size = sizeof device, .asic_id = 1};
	char tag[16];

	for (uint64_t i = 0; i < 3000; i++) {
		snprintf(tag, sizeof tag, "%u", (unsigned int)i);
		ttmem_alloc((uint32_t)i % 64, TTMEM_DRAM, i, 10, tag);
	}
	ttmem_declare_device(1, &device);
	ttmem_alloc_failed(0, TTMEM_L1, 1, 1);
	for (uint64_t i = 0; i < 3000; i++)
		ttmem_free((uint32_t)i % 64, TTMEM_DRAM, i);
	totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM);
	errors_now();
}

static void no_call_takes_from_the_heap(void)
{
	unsigned int before;

	need_a_heap_of_our_own();
	before = asked;
	assert_int_equal(ttmem_start(), 0);
	all_calls();
	assert_int_equal(asked, before);
}

static unsigned int in_thread;

static void first_calls(struct crew *crew, unsigned int self)
{
	unsigned int before;

	(void)self;
	crew_meet(crew);
	before = asked;
	all_calls();
	crew_meet(crew);
	if (self == 0)
		in_thread = asked - before;
}

/* A key beyond the first of a thread's would need a block. */
static void a_threads_first_call_takes_nothing_either(void)
{
	struct crew crew;

	need_a_heap_of_our_own();
	assert_int_equal(ttmem_start(), 0);
	in_thread = 1;
	crew_run(&crew, 3, first_calls);
	assert_int_equal(in_thread, 0);
}

static void nor_does_a_child(void)
{
	pid_t child;

	need_a_heap_of_our_own();
	assert_int_equal(ttmem_start(), 0);
	child = case_fork();
	if (child == 0) {
		unsigned int before = asked;

		all_calls();
		_exit(asked != before);
	}
	assert_int_equal(case_wait(child), 0);
}

/* Before the library's own constructor, so that its key is beyond the first. */
__attribute__((constructor(101))) static void keys(void)
{
	for (int i = 0; i < 40; i++) {
		pthread_key_t key;

		pthread_key_create(&key, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(no_call_takes_from_the_heap),
		isolated(a_threads_first_call_takes_nothing_either),
		isolated(nor_does_a_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
