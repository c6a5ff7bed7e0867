/* SPDX-License-Identifier: Apache-2.0 */
/* The lock's slow side: two threads meet only when one frees or refers to the other's buffer. */
#include "internal.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPINS 64

static bool lock_try(struct lock *lock)
{
	return !word_get(&lock->held) && !__atomic_exchange_n(&lock->held, 1, __ATOMIC_SEQ_CST);
}

void ttmem__lock_wait(struct lock *lock)
{
	const struct timespec limit = {.tv_nsec = 10000000};
	int saved = errno;

	for (int i = 0; i < SPINS; i++) {
		if (lock_try(lock))
			return;
#if defined(__x86_64__)
		__builtin_ia32_pause();
#endif
	}
	__atomic_fetch_add(&lock->waiters, 1, __ATOMIC_SEQ_CST);
	while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &lock->held, FUTEX_WAIT_PRIVATE, 1, &limit, NULL, 0);
	__atomic_fetch_sub(&lock->waiters, 1, __ATOMIC_RELAXED);
	errno = saved;
}

void ttmem__lock_wake(struct lock *lock)
{
	int saved = errno;

	syscall(SYS_futex, &lock->held, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = saved;
}
