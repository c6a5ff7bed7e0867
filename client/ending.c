/* SPDX-License-Identifier: Apache-2.0 */
/* TTMEM_REPORT: a table at the end of the process, and a line every so many milliseconds. */
#include "internal.h"
#include "report.h"
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS (24 * 3600 * 1000)
#define STACK_BYTES     (128u << 10)

static bool ending; /* the process's end has begun */

bool ttmem__report_asked(void)
{
	const char *wanted = secure_getenv("TTMEM_REPORT");

	return wanted && *wanted && strcmp(wanted, "0") != 0;
}

/* 0: only at the end. */
static long interval_ms(void)
{
	const char *wanted = secure_getenv("TTMEM_REPORT");
	long ms;
	char *end;

	if (!wanted || strcmp(wanted, "exit") == 0)
		return 0;
	ms = strtol(wanted, &end, 10);
	if (*end || !isdigit((unsigned char)*wanted)) {
		fprintf(stderr,
			"libttmem: TTMEM_REPORT=%s is neither \"exit\" nor a number of "
			"milliseconds; reporting at exit\n",
			wanted);
		return 0;
	}
	return ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : ms;
}

static double seconds(const struct timespec *time)
{
	return (double)time->tv_sec + (double)time->tv_nsec / 1e9;
}

static void *report_now_and_then(void *argument)
{
	long ms = (long)(intptr_t)argument;
	struct timespec start, next;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (next = start;;) {
		next.tv_nsec += ms % 1000 * 1000000;
		next.tv_sec += ms / 1000 + next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL) == EINTR)
			;
		if (__atomic_load_n(&ending, __ATOMIC_RELAXED))
			return NULL;
		ttmem__report_line(STDERR_FILENO, seconds(&next) - seconds(&start));
	}
}

/* An archive in a plugin would take our thread's code away when the plugin is closed. */
static void stay_loaded(void)
{
	Dl_info info;

	if (dladdr((const void *)&ending, &info) && info.dli_fname)
		dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

/* No signal of the host's is delivered to our thread. */
static void thread_start(long ms)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	stay_loaded();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	error = pthread_create(&thread, &attr, report_now_and_then, (void *)(intptr_t)ms);
	if (!error)
		pthread_setname_np(thread, "ttmem-report");
	else
		fprintf(stderr, "libttmem: no thread for TTMEM_REPORT: %s; reporting at exit\n",
			strerror(error));
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void ttmem__report_start(void)
{
	long ms = ttmem__report_asked() ? interval_ms() : 0;

	if (ms)
		thread_start(ms);
}

/* After the host's own handlers and destructors, which may still free. A process that ends by
 * _exit() or a signal reports nothing. */
static __attribute__((destructor)) void report_at_exit(void)
{
	const struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);

	__atomic_store_n(&ending, true, __ATOMIC_RELAXED);
	if (client && client->epoch && ttmem__report_asked())
		ttmem__report_table(STDERR_FILENO, true);
}
