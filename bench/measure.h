/* SPDX-License-Identifier: Apache-2.0 */
/* What every measurement needs: a clock, a CPU of its own, percentiles, a way to give up. */
#ifndef TTMEM_BENCH_MEASURE_H
#define TTMEM_BENCH_MEASURE_H

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The machine cannot do what was asked, which is nobody's fault: run.py shows "skipped". */
#define EXIT_SKIPPED 77

/* The compiler must take all memory as read and written here, so no loop can be folded away. */
#define KEEP_LOOP() __asm__ volatile("" ::: "memory")

#define GIVE_UP(status, ...)                  \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr);          \
		exit(status);                 \
	} while (0)

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Pins the caller to the nth of the CPUs it is allowed to use. Returns 0 or a negative errno. */
static inline int pin_to_nth_cpu(unsigned nth)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -errno;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || nth-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return sched_setaffinity(0, sizeof(one), &one) ? -errno : 0;
	}
	return -ENODEV;
}

static inline int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the values as a side effect. */
static inline double percentile(double *values, size_t count, double percent)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return values[(size_t)((double)(count - 1) * percent / 100 + 0.5)];
}

static inline double median(double *values, size_t count)
{
	return percentile(values, count, 50);
}

static inline void *must_alloc(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		GIVE_UP(EXIT_FAILURE, "no memory for %zu times %zu bytes", count, size);
	return memory;
}

static inline unsigned long must_parse(const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end)
		GIVE_UP(EXIT_FAILURE, "not a number: %s", text);
	return value;
}

#endif
