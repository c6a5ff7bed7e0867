/* SPDX-License-Identifier: Apache-2.0 */
/* The host's memory: what is locked, what is dumped, and what is left when there is no more. */
#include "../../client/internal.h"
#include "crew.h"
#include "own_ledger.h"
#include <fcntl.h>

/* Whether the mapping with this address has a flag of /proc/self/smaps; 0 also if there is none. */
static int mappings_with(const void *start, size_t bytes, const char *flag)
{
	uintptr_t from = (uintptr_t)start, to = from + bytes, begin = 0, end = 0;
	FILE *smaps = fopen("/proc/self/smaps", "r");
	int count = 0;
	char line[512];

	assert_non_null(smaps);
	while (fgets(line, sizeof line, smaps)) {
		unsigned long low, high;

		if (sscanf(line, "%lx-%lx ", &low, &high) == 2) {
			begin = low;
			end = high;
		} else if (strncmp(line, "VmFlags:", 8) == 0 && begin < to && end > from) {
			count += strstr(line, flag) != NULL;
		}
	}
	fclose(smaps);
	return count;
}

static int mappings(const void *start, size_t bytes)
{
	return mappings_with(start, bytes, "VmFlags:");
}

static void fill_from(uint64_t first, uint64_t buffers)
{
	for (uint64_t i = first; i < buffers; i++)
		ttmem_alloc((uint32_t)i % 64, TTMEM_DRAM, i, 10, i % 2 ? "weights" : NULL);
}

static void fill(uint64_t buffers)
{
	fill_from(0, buffers);
}

/* The records in use, to the next step, and the tables before them. */
static void locking_all_memory_does_not_fill_the_ledger(void)
{
	uint64_t used;

	assert_int_equal(ttmem_start(), 0);
	fill(100);
	if (mlockall(MCL_CURRENT))
		case_skip("memory cannot be locked");
	assert_true(ledger_resident() <= LEDGER_OFFSET_RECORDS + (1 << 20));
	fill(100000);
	used = ledger_resident();
	assert_int_equal(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
	assert_true(ledger_resident() <= used + LEDGER_OFFSET_RECORDS + (1 << 20));
	fill(200000);
	assert_true(ledger_resident() < ledger_map()->file_size / 2);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_buffers, 200000);
	assert_int_equal(errors_now().untracked, 0);
}

static void the_last_record_can_be_written(void)
{
	static const char *const capacities[] = {"256", "16384", "16640", "100000"};

	for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
		pid_t child = case_fork();

		if (child == 0) {
			struct ledger_header *header;

			setenv("TTMEM_RECORDS", capacities[i], 1);
			assert_int_equal(ttmem_start(), 0);
			header = ledger_map();
			fill(header->record_capacity);
			assert_int_equal(header->unlisted, 0);
			assert_int_equal(ledger_live(header), header->record_capacity);
			assert_records_are_sums(header);
			fill(header->record_capacity + 1000);
			assert_int_equal(header->unlisted, 1000);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void no_page_is_to_be_dumped(void)
{
	const struct client *client;
	size_t size;

	assert_int_equal(ttmem_start(), 0);
	fill(50000);
	client = ttmem__client;
	size = ledger_file_size(client->capacity);
	assert_true(mappings(client->header, size) > 0);
	assert_int_equal(mappings_with(client->header, size, " dd"),
			 mappings(client->header, size));
	assert_int_equal(mappings_with(client->header, size, " dc"),
			 mappings(client->header, size));
	assert_int_equal(mappings_with(client->shards[0]->index.groups, 4096, " dd"), 1);
	assert_int_equal(mappings_with(client->shards[0], 4096, " dd"), 1);
}

static bool is_in_file(const char *name, const char *text)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	void *file, *found;

	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(file != MAP_FAILED);
	close(fd);
	found = memmem(file, (size_t)st.st_size, text, strlen(text));
	munmap(file, (size_t)st.st_size);
	return found != NULL;
}

static void the_ledger_is_not_in_a_core_dump(void)
{
	static char wanted[] = "a word of the host itself: ";
	char pattern[8] = "", directory[] = P_tmpdir "/ttmem-core-XXXXXX", tag[32];
	int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
	pid_t child;
	int status;

	if (UNDER_ASAN || UNDER_TSAN || RUNNING_ON_VALGRIND)
		case_skip("the tool's memory is too large to be dumped");
	if (read(fd, pattern, sizeof pattern) != 5 || memcmp(pattern, "core\n", 5))
		case_skip("core dumps go elsewhere");
	assert_non_null(mkdtemp(directory));
	child = case_fork();
	if (child == 0) {
		struct rlimit most;

		getrlimit(RLIMIT_CORE, &most);
		most.rlim_cur = most.rlim_max;
		setrlimit(RLIMIT_CORE, &most);
		/* Words that are nowhere else, put together so that they are not in the program. */
		snprintf(tag, sizeof tag, "%s-%s", "in-the", "ledger-alone");
		snprintf(wanted + 8, sizeof wanted - 8, "%s", "-dumped");
		assert_int_equal(ttmem_start(), 0);
		ttmem_alloc(0, TTMEM_DRAM, 1, 10, tag);
		memset(tag, 0, sizeof tag);
		if (chdir(directory))
			_exit(1);
		abort();
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(chdir(directory), 0);
	if (!WCOREDUMP(status)) {
		rmdir(directory);
		case_skip("there are no core dumps");
	}
	if (access("core", R_OK))
		assert_int_equal(system("mv core.* core"), 0);
	assert_true(is_in_file("core", "a word o-dumped"));
	assert_false(is_in_file("core", "in-the-ledger-alone"));
	unlink("core");
	rmdir(directory);
}

static void limit_address_space(uint64_t room)
{
	struct rlimit limit;
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = pages * 4096 + room;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

/* The index cannot grow: what does not fit is counted, and what is there stays right. */
static void no_address_space_later_loses_what_it_must_and_counts_it(void)
{
	uint64_t tracked, lost;

	if (RUNNING_ON_VALGRIND || UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool needs address space of its own");
	assert_int_equal(ttmem_start(), 0);
	fill(100);
	limit_address_space(64 << 10);
	errno = 77;
	fill_from(100, 100000);
	assert_int_equal(errno, 77);
	lost = errors_now().untracked;
	tracked = totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_buffers;
	assert_true(lost > 0 && tracked > 100);
	for (uint64_t i = 0; i < 100000; i++)
		ttmem_free((uint32_t)i % 64, TTMEM_DRAM, i);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).live_bytes, 0);
	assert_int_equal(errors_now().unknown_frees, lost);
}

static void come_and_go(struct crew *crew, unsigned int self)
{
	crew_pause(crew);
	for (uint64_t i = 0; i < 100; i++) {
		ttmem_alloc(0, TTMEM_L1, i << 8 | self, 1, NULL);
		ttmem_free(0, TTMEM_L1, i << 8 | self);
	}
}

/* Threads then share the shards that there are. */
static void no_address_space_for_a_threads_shard_is_no_harm(void)
{
	struct crew crew;

	if (RUNNING_ON_VALGRIND || UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool needs address space of its own");
	assert_int_equal(ttmem_start(), 0);
	fill(100);
	crew_begin(&crew, 3, come_and_go);
	crew_halt(&crew);
	limit_address_space(0);
	crew_resume(&crew);
	crew_end(&crew);
	assert_int_equal(totals_of(0, TTMEM_L1).allocated_buffers, 300);
	assert_int_equal(totals_of(0, TTMEM_L1).live_bytes, 0);
	assert_int_equal(errors_now().unknown_frees, 0);
	assert_int_equal(ttmem__client->nshards, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(locking_all_memory_does_not_fill_the_ledger),
		isolated(the_last_record_can_be_written),
		isolated(no_page_is_to_be_dumped),
		isolated(the_ledger_is_not_in_a_core_dump),
		isolated(no_address_space_later_loses_what_it_must_and_counts_it),
		isolated(no_address_space_for_a_threads_shard_is_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
