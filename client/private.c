/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory: pages that neither a forked child nor a core dump gets.
 *
 * They are listed, in memory that a fork copies, because there is one child that needs them: the
 * one that was forked by a signal handler in the middle of a call, and goes back into it (see
 * process.c).
 */
#include "internal.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#define HUGE_BYTES (2u << 20)
#define RANGES_MAX 4352 /* all shards with their indexes, all overflow blocks, and some */

/* Free while `start` is NULL; complete once `bytes` is not 0. */
static struct range {
	void *start;
	size_t bytes;
} ranges[RANGES_MAX];

/* Signals of the processor and of a filter of system calls come at once or kill. */
void ttmem__signals_block(sigset_t *saved)
{
	static const int never[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof never / sizeof *never; i++)
		sigdelset(&set, never[i]);
	pthread_sigmask(SIG_BLOCK, &set, saved);
}

static struct range *range_take(void *start)
{
	for (size_t i = 0; i < RANGES_MAX; i++) {
		void *none = NULL;

		if (!__atomic_load_n(&ranges[i].start, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&ranges[i].start, &none, start, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return &ranges[i];
	}
	return NULL;
}

static void *pages_take(size_t bytes)
{
	void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct range *range;

	if (pages == MAP_FAILED)
		return NULL;
	range = range_take(pages);
	if (!range) {
		munmap(pages, bytes);
		return NULL;
	}
	madvise(pages, bytes, MADV_DONTFORK);
	madvise(pages, bytes, MADV_DONTDUMP);
	__atomic_store_n(&range->bytes, bytes, __ATOMIC_RELEASE);
	return pages;
}

/* Pages of zeros. NULL: no memory. A fork of this thread finds them listed or not there. */
void *ttmem__private_pages(size_t bytes)
{
	sigset_t saved;
	void *pages;

	ttmem__signals_block(&saved);
	pages = pages_take(bytes);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return pages;
}

/* The same for a table that will be filled: in large pages where it is large. */
void *ttmem__private_table(size_t bytes)
{
	void *table = ttmem__private_pages(bytes);

	if (table && bytes >= HUGE_BYTES)
		madvise(table, bytes, MADV_HUGEPAGE);
	return table;
}

/* Off the list first: what comes to be at the same place afterwards is the host's. */
void ttmem__private_free(void *pages, size_t bytes)
{
	for (size_t i = 0; i < RANGES_MAX; i++) {
		if (__atomic_load_n(&ranges[i].start, __ATOMIC_RELAXED) != pages)
			continue;
		__atomic_store_n(&ranges[i].bytes, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&ranges[i].start, NULL, __ATOMIC_RELEASE);
		break;
	}
	munmap(pages, bytes);
}

/* Whether a child that is forked now gets them, as copies. */
void ttmem__private_inherit(bool wanted)
{
	for (size_t i = 0; i < RANGES_MAX; i++) {
		size_t bytes = __atomic_load_n(&ranges[i].bytes, __ATOMIC_ACQUIRE);

		if (bytes)
			madvise(ranges[i].start, bytes, wanted ? MADV_DOFORK : MADV_DONTFORK);
	}
}

/* In the child: zeros, should these pages not be there, because another thread has made them after
 * ttmem__private_inherit(). */
void ttmem__private_complete(void *pages, size_t bytes)
{
	if (pages && msync(pages, bytes, MS_ASYNC) && errno == ENOMEM)
		(void)mmap(pages, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
			   0);
}

/* Before a start: what is listed then was listed by a parent. */
void ttmem__private_forget(void)
{
	for (size_t i = 0; i < RANGES_MAX; i++) {
		if (!__atomic_load_n(&ranges[i].start, __ATOMIC_RELAXED))
			continue;
		__atomic_store_n(&ranges[i].bytes, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&ranges[i].start, NULL, __ATOMIC_RELAXED);
	}
}

/* When the library is unloaded and nobody is in a call. */
void ttmem__private_free_all(void)
{
	for (size_t i = 0; i < RANGES_MAX; i++)
		if (ranges[i].bytes)
			munmap(ranges[i].start, ranges[i].bytes);
	ttmem__private_forget();
}
