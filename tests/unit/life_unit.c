/* SPDX-License-Identifier: Apache-2.0 */
/* fork and exec. */
#include "crew.h"
#include "own_ledger.h"
#include <fcntl.h>
#include <sys/syscall.h>

static const char eventfds[] = "anon_inode:[eventfd]";

static ino_t ledger_inode(void)
{
	struct stat st;

	assert_int_equal(fstat(ledger_fd(), &st), 0);
	return st.st_ino;
}

/* In a child: its first call makes a ledger that has this one buffer, and its parent's is gone. */
static void assert_starts_anew(ino_t parents)
{
	ttmem_alloc(1, TTMEM_L1, 42, 7, "child");
	assert_int_equal(ledgers_open(), 1);
	assert_int_equal(fds_of(eventfds), 1);
	assert_true(ledger_inode() != parents);
	assert_int_equal(ledger_map()->pid, getpid());
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_DRAM).allocated_buffers, 0);
	assert_int_equal(totals_of(TTMEM_ALL_DEVICES, TTMEM_L1).live_bytes, 7);
	assert_int_equal(ledger_live(ledger_map()), 1);
	ttmem_free(1, TTMEM_L1, 42);
	assert_all_is_freed(ledger_map());
	assert_int_equal(errors_now().unknown_frees, 0);
}

static ino_t start_with_a_buffer(void)
{
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 100, "parent");
	return ledger_inode();
}

static void assert_is_undisturbed(ino_t inode)
{
	assert_true(ledger_inode() == inode);
	ttmem_alloc(0, TTMEM_DRAM, 2, 100, "parent");
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 200);
	assert_int_equal(totals_of(1, TTMEM_L1).allocated_buffers, 0);
	ttmem_free(0, TTMEM_DRAM, 2);
}

static bool is_ledger_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	bool found = false;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps))
		found |= strstr(line, LEDGER_NAME) != NULL;
	fclose(maps);
	return found;
}

static void a_forked_child_has_no_mapping_until_it_calls(void)
{
	pid_t child;

	start_with_a_buffer();
	assert_true(is_ledger_mapped());
	child = case_fork();
	if (child == 0) {
		assert_false(is_ledger_mapped());
		ttmem_alloc(0, TTMEM_DRAM, 1, 100, NULL);
		assert_true(is_ledger_mapped());
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
}

static void a_forked_child_starts_clean_and_the_parent_goes_on(void)
{
	ino_t inode = start_with_a_buffer();
	pid_t child = case_fork();

	if (child == 0) {
		assert_starts_anew(inode);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_is_undisturbed(inode);
}

static void a_child_does_not_know_its_parents_buffers(void)
{
	pid_t child;

	start_with_a_buffer();
	child = case_fork();
	if (child == 0) {
		ttmem_free(0, TTMEM_DRAM, 1);
		assert_int_equal(errors_now().unknown_frees, 1);
		assert_all_is_freed(ledger_map());
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 100);
}

static void a_raw_clone_starts_clean_too(void)
{
	ino_t inode = start_with_a_buffer();
	pid_t child;

	if (UNDER_TSAN)
		case_skip("the sanitizer does not see a raw clone");
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0) {
		case_begin();
		assert_starts_anew(inode);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_is_undisturbed(inode);
}

/* The child in between makes a call of its own, or none. */
static void grandchild(bool between)
{
	ino_t inode = start_with_a_buffer();
	pid_t child = case_fork();

	if (child == 0) {
		if (between)
			inode = start_with_a_buffer();
		child = case_fork();
		if (child == 0) {
			assert_starts_anew(inode);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
		if (between)
			assert_is_undisturbed(inode);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_is_undisturbed(inode);
}

static void a_grandchild_starts_clean(void)
{
	grandchild(true);
}

static void a_grandchild_of_a_silent_child_starts_clean(void)
{
	grandchild(false);
}

static int open_at(int number)
{
	int fd = open("/proc/self/stat", O_RDONLY);

	assert_true(fd >= 0);
	if (fd != number) {
		assert_int_equal(dup2(fd, number), number);
		close(fd);
	}
	return number;
}

static bool is_stat_file(int fd)
{
	char text[8] = "";

	return pread(fd, text, 1, 0) == 1 && text[0] >= '0' && text[0] <= '9';
}

static void a_child_closes_nothing_that_took_its_parents_numbers(void)
{
	int eventfd, memfd;

	start_with_a_buffer();
	eventfd = (int)ledger_map()->eventfd;
	memfd = ledger_fd();
	/* 1: the eventfd's number is taken; 2: the ledger's; 3: both */
	for (int taken = 1; taken <= 3; taken++) {
		pid_t child = case_fork();

		if (child == 0) {
			for (int i = 0; i < 2; i++)
				if (taken >> i & 1)
					open_at(i ? memfd : eventfd);
			ttmem_alloc(1, TTMEM_L1, 42, 7, NULL);
			assert_int_equal(totals_of(1, TTMEM_L1).live_bytes, 7);
			for (int i = 0; i < 2; i++)
				if (taken >> i & 1)
					assert_true(is_stat_file(i ? memfd : eventfd));
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static unsigned int stop;

static void churn(struct crew *crew, unsigned int self)
{
	(void)crew;
	for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		uint64_t address = (i % 64) << 8 | self;

		ttmem_alloc(2, TTMEM_L1, address, 64, i % 2 ? "odd" : NULL);
		if (i % 64 == 63)
			for (uint64_t n = 0; n < 64; n++)
				ttmem_free(2, TTMEM_L1, n << 8 | self);
	}
	for (uint64_t n = 0; n < 64; n++)
		ttmem_free(2, TTMEM_L1, n << 8 | self);
}

static void forks_amid_a_storm_disturb_neither_side(void)
{
	ino_t inode = start_with_a_buffer();
	struct crew crew;

	crew_begin(&crew, 3, churn);
	for (unsigned int i = 0; i < rounds(200); i++) {
		pid_t child = case_fork();

		if (child == 0) {
			assert_starts_anew(inode);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	crew_end(&crew);
	assert_is_undisturbed(inode);
	ttmem_free(0, TTMEM_DRAM, 1);
	assert_all_is_freed(ledger_map());
}

/* The start of a ledger in one thread while another forks. */
static void a_fork_amid_a_start_leaves_a_child_that_can_start(void)
{
	for (unsigned int i = 0; i < rounds(200); i++) {
		pid_t child = case_fork();

		if (child == 0) {
			struct crew crew;

			setenv("TTMEM", "1", 1);
			stop = 1;
			crew_begin(&crew, 1, churn);
			child = case_fork();
			if (child == 0) {
				ttmem_alloc(1, TTMEM_L1, 42, 7, "child");
				assert_int_equal(totals_of(1, TTMEM_L1).live_bytes, 7);
				assert_int_equal(totals_of(2, TTMEM_L1).allocated_bytes, 0);
				_exit(0);
			}
			assert_int_equal(case_wait(child), 0);
			crew_end(&crew);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void after_exec_nothing_is_left(void)
{
	ino_t inode = start_with_a_buffer();
	static const char script[] = "set -- $(ls -l /proc/self/fd); case \"$*\" in"
				     " *ttmem-ledger*|*eventfd*) exit 1;; esac";

	for (int i = 0; i < 2; i++) {
		pid_t child = i ? vfork() : fork();

		if (child == 0) {
			execl("/bin/sh", "sh", "-c", script, NULL);
			_exit(2);
		}
		assert_int_equal(case_wait(child), 0);
		assert_is_undisturbed(inode);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_forked_child_starts_clean_and_the_parent_goes_on),
		isolated(a_forked_child_has_no_mapping_until_it_calls),
		isolated(a_child_does_not_know_its_parents_buffers),
		isolated(a_raw_clone_starts_clean_too),
		isolated(a_grandchild_starts_clean),
		isolated(a_grandchild_of_a_silent_child_starts_clean),
		isolated(a_child_closes_nothing_that_took_its_parents_numbers),
		isolated(forks_amid_a_storm_disturb_neither_side),
		isolated(a_fork_amid_a_start_leaves_a_child_that_can_start),
		isolated(after_exec_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
