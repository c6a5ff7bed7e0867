/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a claim in a process of its own. The client is process-wide and starts once, but a forked
 * child starts clean, so every claim gets a child, with nothing of the client's in its environment
 * and no collector in reach. A claim that fails says so and ends its process, from any thread and
 * from its own children too; one that hangs is killed.
 */
#ifndef TESTS_UNIT_ISOLATED_H
#define TESTS_UNIT_ISOLATED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#endif

#if UNDER_TSAN
/* A forked child takes its parent's threads that have ended for its own, never joined. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0";
}
#endif

#define CASE_SECONDS 50
#define CASE_SKIPPED 77

/* An element of a list of tests. */
#define isolated(claim)                                           \
	{                                                         \
#claim, isolated_run, NULL, NULL, (void *)(claim) \
	}

/* How often to try something that needs luck: less where each try takes long. */
static inline unsigned int rounds(unsigned int wanted)
{
	unsigned int divisor = RUNNING_ON_VALGRIND ? 50 : UNDER_TSAN ? 4 : 1;

	return wanted / divisor ? wanted / divisor : 1;
}

/* In every process that a claim forks, too: what alarm() was set is not inherited. cmocka's own
 * way out of a failed claim would go on with the next claim in this process. */
static inline void case_begin(void)
{
	struct rlimit none;

	getrlimit(RLIMIT_CORE, &none);
	none.rlim_cur = 0;
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	alarm(RUNNING_ON_VALGRIND ? 10 * CASE_SECONDS : CASE_SECONDS);
}

static inline pid_t case_fork(void)
{
	pid_t parent = getpid();
	pid_t child = fork();

	if (child == 0) {
		case_begin();
		if (getppid() != parent) /* it has ended before we asked to be told */
			raise(SIGKILL);
	}
	return child;
}

/* What the kernel cannot do here, or nobody but root may. */
static inline void case_skip(const char *why)
{
	fprintf(stderr, "not tried: %s\n", why);
	_exit(CASE_SKIPPED);
}

/* 0, or the exit status of a child that ended by itself; a signal is a failure. */
static inline int case_wait(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		fail_msg("a child was ended by signal %d (%s)", WTERMSIG(status),
			 WTERMSIG(status) == SIGALRM ? "it hung" : strsignal(WTERMSIG(status)));
	return WEXITSTATUS(status);
}

/* As on a kernel or in a container without it: then the client makes its fences itself. */
static inline void membarrier_deny(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	assert_true(syscall(SYS_membarrier, 0, 0, 0) < 0);
}

static inline void environment_clean(void)
{
	static const char *const names[] = {"TTMEM",         "TT_ALLOC_TRACKING_ENABLED",
					    "TTMEM_RECORDS", "TTMEM_DEBUG",
					    "TTMEM_REPORT",  "XDG_RUNTIME_DIR"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unsetenv(names[i]);
	setenv("TTMEM_SOCKET", "/nonexistent/socket", 1);
}

static void isolated_run(void **state)
{
	void (*claim)(void) = (void (*)(void)) * state;
	pid_t child;
	int status;

	fflush(NULL);
	child = case_fork();
	if (child == 0) {
		environment_clean();
		if (getenv("TTMEM_TEST_FENCES"))
			membarrier_deny();
		claim();
		_exit(0);
	}
	status = case_wait(child);
	if (status == CASE_SKIPPED)
		skip();
	if (status)
		fail_msg("the claim's process ended with %d", status);
}

#endif
