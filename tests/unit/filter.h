/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of system calls, as containers and browsers have them. */
#ifndef TESTS_UNIT_FILTER_H
#define TESTS_UNIT_FILTER_H

#include "isolated.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

/* For all threads; valgrind, which runs one at a time, knows the older call alone. */
static inline void filter_set(struct sock_filter *code, size_t length)
{
	struct sock_fprog program = {(unsigned short)length, code};
	long error = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

	if (!error && RUNNING_ON_VALGRIND)
		error = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
	else if (!error)
		error = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				&program);
	if (error)
		case_skip("system calls cannot be filtered");
}

/* From here on the kernel answers a system call with `action`; skips the claim if it cannot. */
static inline void filter_call(uint32_t number, uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	filter_set(code, sizeof code / sizeof *code);
}

/* The same for one value of an argument. */
static inline void filter_argument(uint32_t number, unsigned int argument, uint32_t value,
				   uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	filter_set(code, sizeof code / sizeof *code);
}

#endif
