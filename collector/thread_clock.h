/* SPDX-License-Identifier: Apache-2.0 */
/* What this thread has had of a CPU: not of the wall's clock, where others' use of it counts. */
#ifndef THREAD_CLOCK_H
#define THREAD_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t thread_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
