/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that may not make some system call that the library makes, or see no file system. */
#include "crew.h"
#include "filter.h"
#include "listener.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* What the library asks the kernel for, and how it fares without. */
static const struct denied {
	const char *name;
	uint32_t number;
	bool tracked; /* without it */
} denied[] = {
	{"memfd_create", SYS_memfd_create, false},
	{"ftruncate", SYS_ftruncate, false},
	{"mprotect", SYS_mprotect, false},
	{"madvise", SYS_madvise, false}, /* a forked child could not be told from its parent */
	{"prlimit64", SYS_prlimit64, true},
	{"munlock", SYS_munlock, true},
	{"eventfd2", SYS_eventfd2, true},
	{"socket", SYS_socket, true},
	{"connect", SYS_connect, true},
	{"getsockopt", SYS_getsockopt, true},
	{"setsockopt", SYS_setsockopt, true},
	{"sendmsg", SYS_sendmsg, true},
	{"gettid", SYS_gettid, true},
	{"getpid", SYS_getpid, true},
	{"futex", SYS_futex, true},
	{"fallocate", SYS_fallocate, true},
	{"clock_gettime", SYS_clock_gettime, true},
	{"rt_sigprocmask", SYS_rt_sigprocmask, true},
	{"sched_yield", SYS_sched_yield, true},
};

#define THREADS 2

/* They are there before the filter, and wait for nothing but words in memory: what the C library
 * does without the calls is not the test. */
static unsigned int begun, go, done;

static void *change(void *arg)
{
	uint64_t self = __atomic_fetch_add(&begun, 1, __ATOMIC_ACQ_REL);

	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		;
	for (uint64_t i = 0; i < 2000; i++) {
		ttmem_alloc(0, TTMEM_DRAM, i << 8 | self, 10, "weights");
		ttmem_alloc(0, TTMEM_L1, i % 7, 10, NULL);
		ttmem_free(0, TTMEM_DRAM, i << 8 | self);
		ttmem_free(0, TTMEM_L1, i % 7);
	}
	__atomic_fetch_add(&done, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		pause();
	return arg;
}

static void threads_begin(void)
{
	pthread_t thread;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread, NULL, change, NULL), 0);
	while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) < THREADS)
		sched_yield();
}

/* Whether it is tracked; the host lives in any case, and what is tracked is right. */
static bool works(void)
{
	int error = ttmem_start();
	struct ttmem_totals totals;

	ttmem_alloc(0, TTMEM_DRAM, ~0ull, 10, NULL);
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < THREADS)
		;
	if (error) {
		assert_true(error < 0);
		assert_int_equal(ttmem__gate, 0);
		assert_int_equal(ttmem_get_totals(0, TTMEM_DRAM, &totals), -ENOTCONN);
		return false;
	}
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(totals_of(0, TTMEM_L1).live_bytes, 0);
	assert_int_equal(errors_now().unknown_frees, 0);
	return true;
}

/* Each in a process of its own; with a collector's socket in reach, at which nobody accepts. */
static void each_is_denied(uint32_t action)
{
	if (UNDER_ASAN || UNDER_TSAN)
		case_skip("the tool makes these calls, too");
	listener(SOCK_SEQPACKET, 64);
	for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
		pid_t child = case_fork();

		if (child == 0) {
			threads_begin();
			filter_call(denied[i].number, action);
			_exit(works());
		}
		if (case_wait(child) != denied[i].tracked)
			fail_msg("without %s it is%s tracked", denied[i].name,
				 denied[i].tracked ? " not" : "");
	}
	listener_remove();
}

static void a_call_that_is_not_permitted_is_done_without(void)
{
	each_is_denied(SECCOMP_RET_ERRNO | EPERM);
}

static void a_call_that_is_not_there_is_done_without(void)
{
	each_is_denied(SECCOMP_RET_ERRNO | ENOSYS);
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info, (void)context; /* the call returns what is in its register */
}

/* As a sandbox does that asks a broker; here the broker does nothing. */
static void a_call_that_is_trapped_is_the_hosts_to_answer(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	assert_int_equal(sigaction(SIGSYS, &action, NULL), 0);
	threads_begin();
	filter_call(SYS_memfd_create, SECCOMP_RET_TRAP);
	assert_false(works());
}

static void no_memory_in_the_file_system_is_no_signal(void)
{
	filter_argument(SYS_madvise, 2, 23 /* MADV_POPULATE_WRITE */, SECCOMP_RET_ERRNO | EINVAL);
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, "weights");
	filter_call(SYS_fallocate, SECCOMP_RET_ERRNO | ENOSPC);
	for (uint64_t i = 2; i < 1000; i++)
		ttmem_alloc(0, TTMEM_DRAM, i, 10, i % 2 ? "kv_cache" : NULL);
	ttmem_alloc(63, TTMEM_DRAM, 1, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 9990);
	assert_int_equal(errors_now().untracked, 1);
}

static void in_an_empty_root_there_is_a_ledger(void)
{
	char empty[] = P_tmpdir "/ttmem-root-XXXXXX";
	pid_t child;
	int status;

	assert_non_null(mkdtemp(empty));
	child = case_fork();
	if (child == 0) {
		threads_begin();
		if (chroot(empty))
			case_skip("the root cannot be changed");
		assert_int_equal(chdir("/"), 0);
		assert_int_equal(access("/proc", F_OK), -1);
		_exit(works());
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	rmdir(empty);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CASE_SKIPPED)
		_exit(CASE_SKIPPED);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void without_dev_shm_and_proc_there_is_a_ledger(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		case_skip("only root can have mounts of its own");
	threads_begin();
	assert_int_equal(mount("none", "/dev", "tmpfs", 0, "size=4k"), 0);
	assert_int_equal(mount("none", "/proc", "tmpfs", 0, "size=4k"), 0);
	assert_true(works());
}

/* What is kept for memory files is not what a full /dev/shm, or any mount, lacks. */
static void a_full_tmpfs_is_another(void)
{
	static char page[4096] = "full";
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		case_skip("only root can have mounts of its own");
	if (mount("none", "/dev/shm", "tmpfs", 0, "size=64k"))
		case_skip("there is no /dev/shm");
	threads_begin();
	fd = open("/dev/shm/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, page, sizeof page) == sizeof page)
		;
	assert_int_equal(errno, ENOSPC);
	assert_true(works());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_call_that_is_not_permitted_is_done_without),
		isolated(a_call_that_is_not_there_is_done_without),
		isolated(a_call_that_is_trapped_is_the_hosts_to_answer),
		isolated(no_memory_in_the_file_system_is_no_signal),
		isolated(in_an_empty_root_there_is_a_ledger),
		isolated(without_dev_shm_and_proc_there_is_a_ledger),
		isolated(a_full_tmpfs_is_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
