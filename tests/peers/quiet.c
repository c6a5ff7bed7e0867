/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client whose system calls are counted: quiet THREADS MILLISECONDS. Each thread allocates and
 * frees buffers of many kinds and tags: first a while so that the library has what it needs, then
 * under a filter that lets nothing pass but what this program itself needs to say when. For each
 * line of standard input they go on so long, without a pause; the answer, and the greeting, is
 * "PAIRS CALLS LAST": allocations with their frees, system calls, and the number of the last of
 * these.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "ttmem.h"

#define LIVE        3000
#define WARM_ROUNDS 20
#define THREADS_MAX 8

static _Atomic long pairs, calls, last_call;
static int go[2];   /* a byte for each thread that is to run */
static int done[2]; /* and back */
static long milliseconds;

/* vDSO: no system call. */
static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fill_and_drain(uint64_t thread)
{
	static const char *const tags[] = {"weights", "kv_cache", "activations", NULL};
	for (uint64_t i = 0; i < LIVE; i++)
		ttmem_alloc(i % 3, (enum ttmem_kind)(i % TTMEM_KINDS), thread << 32 | i << 12,
			    4096 + i, tags[i % 4]);
	for (uint64_t i = 0; i < LIVE; i++)
		ttmem_free(i % 3, (enum ttmem_kind)(i % TTMEM_KINDS), thread << 32 | i << 12);
}

static void *thread_main(void *argument)
{
	uint64_t thread = (uint64_t)(uintptr_t)argument;
	char byte = 0;
	for (int i = 0; i < WARM_ROUNDS; i++)
		fill_and_drain(thread);
	while (write(done[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1) {
		long end = now_ms() + milliseconds;
		while (now_ms() < end) {
			fill_and_drain(thread);
			pairs += LIVE;
		}
	}
	return NULL;
}

/* Instead of the call, which has failed then. */
static void on_call(int signal, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	(void)signal;
	calls++;
	last_call = info->si_syscall;
#if defined(__x86_64__)
	user->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
	user->uc_mcontext.regs[0] = (unsigned long long)-ENOSYS;
#endif
}

/* For all threads. Several wait for each other, and make their common directory anew now and then,
 * which maps memory. */
static int filter(int threads)
{
	unsigned int only_many[] = {SYS_futex,         SYS_madvise,    SYS_mmap,
				    SYS_munmap,        SYS_membarrier, SYS_clock_nanosleep,
				    SYS_rt_sigprocmask};
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_read, 14, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_exit_group, 13, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_rt_sigreturn, 12, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[0], 11, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[1], 10, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[2], 9, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[3], 8, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[4], 7, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[5], 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, only_many[6], 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_write, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ, 1, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, (unsigned)go[1], 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, (unsigned)done[1], 0, 1),
		BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET, SECCOMP_RET_TRAP),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

	for (int i = 0; threads == 1 && i < 7; i++)
		code[4 + i].k = SYS_read;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
			    &program);
}

static void say(void)
{
	char text[128];
	int length = snprintf(text, sizeof(text), "%ld %ld %ld\n", pairs, calls, last_call);
	if (write(1, text, (size_t)length) != length)
		_exit(3);
}

static void wait_for(int threads)
{
	char byte;
	while (threads-- && read(done[0], &byte, 1) == 1)
		;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
	static const char bytes[THREADS_MAX];
	int threads = argc == 3 ? atoi(argv[1]) : 0;
	pthread_t thread;
	char byte;
	if (threads < 1 || threads > THREADS_MAX || pipe(go) || pipe(done) || ttmem_start())
		return 64;
	milliseconds = atol(argv[2]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, thread_main, (void *)(uintptr_t)i))
			return 1;
	wait_for(threads);
	sigaction(SIGSYS, &action, NULL);
	if (filter(threads))
		return 2;
	say();
	while (read(0, &byte, 1) == 1) {
		if (byte != '\n')
			continue;
		if (write(go[1], bytes, (size_t)threads) != threads)
			_exit(4);
		wait_for(threads);
		say();
	}
	return 0;
}
