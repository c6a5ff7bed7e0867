/* SPDX-License-Identifier: Apache-2.0 */
/* TTMEM_REPORT: a table at the end of the process, and a line every so many milliseconds. */
#include "internal.h"
#include "report.h"
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_MIN_MS 100
#define INTERVAL_MAX_MS (24 * 3600 * 1000)
#define STACK_BYTES     (1u << 20) /* the host's exit handlers may run there */
#define SECOND_NS       1000000000

static bool ending;  /* the process's end has begun */
static bool at_exit; /* it was asked for at the start, and there was a stderr */

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
		ttmem__say("libttmem: TTMEM_REPORT=%s is neither \"exit\" nor a number of "
			   "milliseconds; reporting at exit\n",
			   wanted);
		return 0;
	}
	return ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS : ms;
}

static int64_t now_ns(void)
{
	return (int64_t)clock_ns(CLOCK_MONOTONIC);
}

/* A process whose main thread has ended goes on until its last thread ends, and that must not be
 * ours. The main thread stays as a zombie until then. */
static bool nobody_else_is_left(void)
{
	char stat_line[256], *state;
	struct stat tasks;
	ssize_t length;
	int fd;

	if (stat("/proc/self/task", &tasks) || tasks.st_nlink != 2 + 2)
		return false;
	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, stat_line, sizeof stat_line - 1);
	close(fd);
	stat_line[length > 0 ? length : 0] = 0;
	state = strrchr(stat_line, ')');
	return state && strncmp(state, ") Z", 3) == 0;
}

/* False: the process ends. */
static bool sleep_until(int64_t end_ns)
{
	for (int64_t ns = now_ns(); ns < end_ns; ns = now_ns()) {
		int64_t next_ns = end_ns - ns < SECOND_NS ? end_ns : ns + SECOND_NS;
		const struct timespec next = {.tv_sec = next_ns / SECOND_NS,
					      .tv_nsec = next_ns % SECOND_NS};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		if (__atomic_load_n(&ending, __ATOMIC_RELAXED) || nobody_else_is_left())
			return false;
	}
	return true;
}

/* Lines that were missed, because the process was stopped or its reader slow, stay away. */
static void *report_now_and_then(void *argument)
{
	int64_t interval_ns = (intptr_t)argument * 1000000;
	int64_t start_ns = now_ns(), next_ns = start_ns;

	for (;;) {
		next_ns += interval_ns;
		if (next_ns < now_ns())
			next_ns = now_ns() + interval_ns;
		if (!sleep_until(next_ns))
			return NULL;
		ttmem__report_line(STDERR_FILENO, (double)(next_ns - start_ns) / SECOND_NS);
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
		ttmem__say("libttmem: no thread for TTMEM_REPORT: %s; reporting at exit\n",
			   strerror(error));
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* What is opened under its number when there is none at the start is the host's own file. */
static bool have_stderr(void)
{
	return fcntl(STDERR_FILENO, F_GETFD) >= 0;
}

void ttmem__report_start(void)
{
	bool asked = ttmem__report_asked() && have_stderr();
	long ms = asked ? interval_ms() : 0;

	__atomic_store_n(&at_exit, asked, __ATOMIC_RELAXED);
	if (ms)
		thread_start(ms);
}

/* After the host's own handlers and destructors, which may still free. A process that ends by
 * _exit() or a signal reports nothing. */
static __attribute__((destructor)) void report_at_exit(void)
{
	const struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);
	int cancel;

	__atomic_store_n(&ending, true, __ATOMIC_RELAXED);
	if (!client || !word_get(&client->epoch) || !__atomic_load_n(&at_exit, __ATOMIC_RELAXED))
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	ttmem__report_table(STDERR_FILENO, true);
	pthread_setcancelstate(cancel, NULL);
}
