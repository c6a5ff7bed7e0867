/* SPDX-License-Identifier: Apache-2.0 */
#include "deadline.h"
#include <errno.h>
#include <time.h>

void deadline_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

struct timespec deadline_after(int64_t us)
{
	struct timespec moment;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &moment);
	ns = moment.tv_nsec + us % 1000000 * 1000;
	moment.tv_sec += us / 1000000 + ns / 1000000000;
	moment.tv_nsec = ns % 1000000000;
	return moment;
}

bool deadline_wait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *moment)
{
	return pthread_cond_timedwait(cond, lock, moment) != ETIMEDOUT;
}
