/* SPDX-License-Identifier: Apache-2.0 */
/* Little memory, few descriptors, low limits: a smaller ledger, or none, and a host that lives. */
#include "crew.h"
#include "filter.h"
#include "own_ledger.h"
#include <fcntl.h>
#include <sys/syscall.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static void limit(int resource, uint64_t most)
{
	struct rlimit both;

	assert_int_equal(getrlimit((__rlimit_resource_t)resource, &both), 0);
	both.rlim_cur = most;
	assert_int_equal(setrlimit((__rlimit_resource_t)resource, &both), 0);
}

static void unlimit(int resource)
{
	struct rlimit both;

	assert_int_equal(getrlimit((__rlimit_resource_t)resource, &both), 0);
	limit(resource, both.rlim_max);
}

/* After a start that failed: off, and harmless. */
static void assert_lives_untracked(void)
{
	struct ttmem_totals totals;
	int fds = fds_of("");

	assert_int_equal(ttmem__gate, 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, "tag");
	ttmem_free(0, TTMEM_DRAM, 1);
	assert_int_equal(ttmem_get_totals(0, TTMEM_DRAM, &totals), -ENOTCONN);
	assert_int_equal(ledgers_open(), 0);
	assert_int_equal(fds_of(""), fds);
}

/* As many buffers as the smallest ledger cannot list. */
static void assert_works(void)
{
	for (uint64_t i = 0; i < 20000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 200000);
	for (uint64_t i = 0; i < 20000; i++)
		ttmem_free(0, TTMEM_DRAM, i);
	assert_all_is_freed(ledger_map());
	assert_int_equal(errors_now().untracked, 0);
}

static void a_small_file_size_limit_makes_a_smaller_ledger(void)
{
	limit(RLIMIT_FSIZE, 4 << 20);
	assert_int_equal(ttmem_start(), 0);
	assert_in_range(ledger_map()->file_size, 3 << 20, 4 << 20);
	assert_works();
}

static void a_tiny_file_size_limit_is_an_error_and_no_signal(void)
{
	limit(RLIMIT_FSIZE, 1 << 20);
	errno = 77;
	assert_int_equal(ttmem_start(), -EFBIG);
	assert_int_equal(errno, 77);
	assert_lives_untracked();
	unlimit(RLIMIT_FSIZE);
	assert_int_equal(ttmem_start(), 0);
	assert_works();
}

/* A size from /proc/self/status, in bytes. */
static uint64_t status_of(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	uint64_t bytes = UINT64_MAX;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		if (strncmp(line, name, strlen(name)) == 0)
			bytes = strtoull(line + strlen(name), NULL, 10) * 1024;
	fclose(file);
	assert_true(bytes != UINT64_MAX);
	return bytes;
}

static void a_small_address_space_makes_a_smaller_ledger(void)
{
	if (RUNNING_ON_VALGRIND || UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool needs address space of its own");
	limit(RLIMIT_AS, status_of("VmSize:") + (24 << 20));
	assert_int_equal(ttmem_start(), 0);
	unlimit(RLIMIT_AS);
	assert_in_range(ledger_map()->file_size, 3 << 20, 24 << 20);
	assert_works();
}

static void no_address_space_is_an_error(void)
{
	int error;

	if (RUNNING_ON_VALGRIND || UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool needs address space of its own");
	limit(RLIMIT_AS, status_of("VmSize:") + (1 << 20));
	error = ttmem_start();
	unlimit(RLIMIT_AS);
	assert_int_equal(error, -ENOMEM);
	assert_lives_untracked();
	assert_int_equal(ttmem_start(), 0);
	assert_works();
}

static int lowest_free_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void no_descriptor_is_an_error(void)
{
	int error;

	limit(RLIMIT_NOFILE, (uint64_t)lowest_free_fd());
	error = ttmem_start();
	unlimit(RLIMIT_NOFILE);
	assert_int_equal(error, -EMFILE);
	assert_lives_untracked();
	assert_int_equal(ttmem_start(), 0);
	assert_works();
}

static void with_one_descriptor_there_is_a_ledger_without_a_bell(void)
{
	struct ledger_header *header;

	limit(RLIMIT_NOFILE, (uint64_t)lowest_free_fd() + 1);
	assert_int_equal(ttmem_start(), 0);
	unlimit(RLIMIT_NOFILE);
	header = ledger_map();
	assert_int_equal(header->eventfd, LEDGER_NO_EVENTFD);
	header->armed = 1;
	assert_works();
	assert_int_equal(header->armed, 0);
}

static void an_idle_ledger_takes_little_memory(void)
{
	assert_int_equal(ttmem_start(), 0);
	assert_true(ledger_resident() <= 64 << 10);
	for (uint64_t i = 0; i < 200; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 10, "weights");
	assert_true(ledger_resident() <= 64 << 10);
}

static void locking_all_future_memory_does_not_fill_the_ledger(void)
{
	uint64_t locked;

	if (mlockall(MCL_FUTURE))
		case_skip("memory cannot be locked");
	locked = status_of("VmLck:");
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, "weights");
	assert_true(ledger_resident() <= 64 << 10);
	/* Nor does it count as locked, which has a limit of its own. */
	if (!RUNNING_ON_VALGRIND)
		assert_true(status_of("VmLck:") < locked + (8 << 20));
	munlockall();
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
}

/* From here on the kernel refuses to back memory with `error`; skips the claim if it cannot. */
static void refuse_memory(int error)
{
	filter_argument(SYS_madvise, 2, MADV_POPULATE_WRITE, SECCOMP_RET_ERRNO | (uint32_t)error);
	assert_int_equal(madvise(NULL, 4096, MADV_POPULATE_WRITE), -1);
	assert_int_equal(errno, error);
}

static void without_memory_at_the_start_there_is_no_ledger(void)
{
	refuse_memory(ENOMEM);
	assert_int_equal(ttmem_start(), -ENOMEM);
	assert_lives_untracked();
}

static void without_memory_later_nothing_is_touched_that_is_not_backed(void)
{
	struct ledger_header *header;
	uint64_t resident;

	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
	ttmem_alloc(0, TTMEM_DRAM, 0, 10, NULL);
	resident = ledger_resident();
	refuse_memory(ENOMEM);
	errno = 77;
	/* Another device's counters, tags, and records of a second chunk. */
	ttmem_alloc(8, TTMEM_DRAM, 0, 10, NULL);
	for (uint64_t i = 1; i < 1000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 10, i % 2 ? "weights" : "other");
	assert_int_equal(errno, 77);
	assert_int_equal(ledger_resident(), resident);
	assert_int_equal(errors_now().untracked, 1);
	assert_int_equal(header->devices_used, 1);
	assert_int_equal(header->tags_used, 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10000);
	assert_int_equal(ledger_live(header) + header->unlisted, 1000);
	assert_int_equal(ledger_record(header, 1)->tag, LEDGER_TAG_OTHER);
	for (uint64_t i = 0; i < 1000; i++)
		ttmem_free(0, TTMEM_DRAM, i);
	assert_all_is_freed(header);
	assert_int_equal(errors_now().unknown_frees, 0);
}

static void a_kernel_that_cannot_populate_backs_through_the_descriptor(void)
{
	refuse_memory(EINVAL);
	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < 1000; i++)
		ttmem_alloc((uint32_t)i % 64, TTMEM_DRAM, i, 10, "weights");
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_bytes, 10000);
	assert_int_equal(errors_now().untracked, 0);
	assert_records_are_sums(ledger_map());
}

/* The same with a host that has closed the ledger's descriptor and has a file there. */
static void another_file_under_the_ledgers_number_is_left_alone(void)
{
	char name[] = P_tmpdir "/ttmem-unit-XXXXXX";
	int fd = mkstemp(name);
	struct stat st;

	unlink(name);
	refuse_memory(EINVAL);
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	assert_true(dup2(fd, ledger_fd()) >= 0);
	ttmem_alloc(8, TTMEM_DRAM, 1, 10, "weights");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(errors_now().untracked, 1);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
}

static void use_a_device(struct crew *crew, unsigned int self)
{
	(void)crew;
	pthread_cancel(pthread_self());
	ttmem_alloc(self, TTMEM_DRAM, 1, 10, NULL);
}

/* fallocate() is a cancellation point. */
static void a_cancelled_thread_that_backs_memory_leaves_no_lock_behind(void)
{
	struct crew crew;

	refuse_memory(EINVAL);
	setenv("TTMEM", "1", 1);
	crew_run(&crew, 1, use_a_device);
	ttmem_alloc(0, TTMEM_DRAM, 2, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_small_file_size_limit_makes_a_smaller_ledger),
		isolated(a_tiny_file_size_limit_is_an_error_and_no_signal),
		isolated(a_small_address_space_makes_a_smaller_ledger),
		isolated(no_address_space_is_an_error),
		isolated(no_descriptor_is_an_error),
		isolated(with_one_descriptor_there_is_a_ledger_without_a_bell),
		isolated(an_idle_ledger_takes_little_memory),
		isolated(locking_all_future_memory_does_not_fill_the_ledger),
		isolated(without_memory_at_the_start_there_is_no_ledger),
		isolated(without_memory_later_nothing_is_touched_that_is_not_backed),
		isolated(a_kernel_that_cannot_populate_backs_through_the_descriptor),
		isolated(another_file_under_the_ledgers_number_is_left_alone),
		isolated(a_cancelled_thread_that_backs_memory_leaves_no_lock_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
