/* SPDX-License-Identifier: Apache-2.0 */
/* The doorbell: rung once by the next change when a collector has armed it, and never else. */
#include "crew.h"
#include "own_ledger.h"
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/syscall.h>

static struct ledger_header *header;
static int bell;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
	bell = (int)header->eventfd;
}

/* How often it was rung since the last look. */
static uint64_t rung(void)
{
	uint64_t count;

	if (read(bell, &count, sizeof count) == sizeof count)
		return count;
	assert_int_equal(errno, EAGAIN);
	return 0;
}

static void arm(void)
{
	__atomic_store_n(&header->armed, 1, __ATOMIC_SEQ_CST);
}

static void assert_rung_once(void)
{
	assert_int_equal(header->armed, 0);
	assert_int_equal(rung(), 1);
}

static void an_armed_ledger_rings_once_at_the_next_change(void)
{
	struct ttmem_device device = {.size = sizeof device};

	start();
	arm();
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 2, 1, NULL);
	assert_rung_once();
	arm();
	ttmem_free(0, TTMEM_DRAM, 2);
	assert_rung_once();
	arm();
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	assert_rung_once();
	arm();
	ttmem_alloc_failed(0, TTMEM_DRAM, 1, 1);
	assert_rung_once();
	arm();
	ttmem_declare_device(0, &device);
	assert_rung_once();
}

static void a_ledger_that_is_not_armed_never_rings(void)
{
	start();
	for (uint64_t i = 0; i < 1000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 1, NULL);
	assert_int_equal(rung(), 0);
	assert_int_equal(header->armed, 0);
}

static void reading_the_own_sums_does_not_ring(void)
{
	start();
	arm();
	totals_of(0, TTMEM_DRAM);
	errors_now();
	assert_int_equal(header->armed, 1);
	assert_int_equal(rung(), 0);
}

static void a_full_eventfd_is_as_good_as_rung(void)
{
	uint64_t full = UINT64_MAX - 1;

	start();
	assert_int_equal(write(bell, &full, sizeof full), sizeof full);
	arm();
	errno = 77;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	assert_int_equal(errno, 77);
	assert_int_equal(header->armed, 0);
	assert_int_equal(rung(), full);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 1);
}

/* A host that closes all descriptors at some time, as daemons do. */
static void nothing_is_written_to_a_file_under_the_bells_number(void)
{
	char name[] = P_tmpdir "/ttmem-unit-XXXXXX";
	struct stat st;
	int file;

	start();
	file = mkstemp(name);
	unlink(name);
	assert_true(file >= 0);
	assert_int_equal(dup2(file, bell), bell);
	arm();
	errno = 77;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	assert_int_equal(errno, 77);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 1);
}

static void a_closed_bell_is_harmless(void)
{
	start();
	close(bell);
	arm();
	errno = 77;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	assert_int_equal(errno, 77);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 1);
}

static void nothing_is_written_to_a_pipe_under_the_bells_number(void)
{
	struct pollfd readable = {.events = POLLIN};
	int ends[2];

	start();
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[1], bell), bell);
	arm();
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	readable.fd = ends[0];
	assert_int_equal(poll(&readable, 1, 0), 0);
}

static unsigned int working;
static uint64_t turns;

static void change(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = 0; i < turns; i++) {
		ttmem_alloc(0, TTMEM_L1, self, 1, NULL);
		ttmem_free(0, TTMEM_L1, self);
	}
	__atomic_fetch_sub(&working, 1, __ATOMIC_RELEASE);
}

/* One ring for each time that it was armed, however many threads see that at once. */
static void threads_ring_once_between_them(void)
{
	uint64_t armed = 0, heard = 0;
	struct crew crew;

	start();
	turns = rounds(200000);
	working = 3;
	crew_begin(&crew, 3, change);
	while (__atomic_load_n(&working, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&header->armed, __ATOMIC_SEQ_CST))
			continue;
		arm();
		armed++;
		heard += rung();
	}
	crew_end(&crew);
	heard += rung();
	assert_int_equal(heard + header->armed, armed);
}

/* Rounds begun by the test, and ended by the thread. */
static uint64_t begun, ended;

static uint64_t wait_beyond(const uint64_t *count, uint64_t last)
{
	uint64_t now;

	for (int spins = 0; (now = __atomic_load_n(count, __ATOMIC_ACQUIRE)) == last; spins++)
		if (spins % 4096 == 4095)
			sched_yield();
	return now;
}

static void fail_once_a_round(struct crew *crew, unsigned int self)
{
	(void)crew;
	(void)self;
	for (uint64_t i = 0; i < turns; i++) {
		wait_beyond(&begun, i);
		ttmem_alloc_failed(0, TTMEM_L1, 1, 1);
		__atomic_store_n(&ended, i + 1, __ATOMIC_RELEASE);
	}
}

/* The collector arms, fences and reads; the owner changes, fences and looks. So what the collector
 * has not seen rings. */
static void no_change_is_both_unseen_and_silent(void)
{
	const struct ledger_cell *cell;
	struct crew crew;

	start();
	turns = rounds(300000);
	cell = ledger_cell(header, 0, 0, TTMEM_L1);
	crew_begin(&crew, 1, fail_once_a_round);
	for (uint64_t i = 0; i < turns; i++) {
		uint32_t seen;

		__atomic_store_n(&begun, i + 1, __ATOMIC_RELEASE);
		for (uint64_t n = i % 1000; n; n--)
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
		__atomic_store_n(&header->armed, 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (header->fenceless)
			assert_int_equal(
				syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0), 0);
		seen = __atomic_load_n(&cell->failures, __ATOMIC_RELAXED);
		wait_beyond(&ended, i);
		if (seen == i)
			assert_int_equal(header->armed, 0);
		if (!header->armed)
			assert_int_equal(rung(), 1);
		header->armed = 0;
	}
	crew_end(&crew);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(an_armed_ledger_rings_once_at_the_next_change),
		isolated(a_ledger_that_is_not_armed_never_rings),
		isolated(reading_the_own_sums_does_not_ring),
		isolated(a_full_eventfd_is_as_good_as_rung),
		isolated(nothing_is_written_to_a_file_under_the_bells_number),
		isolated(a_closed_bell_is_harmless),
		isolated(nothing_is_written_to_a_pipe_under_the_bells_number),
		isolated(threads_ring_once_between_them),
		isolated(no_change_is_both_unseen_and_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
