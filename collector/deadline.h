/* SPDX-License-Identifier: Apache-2.0 */
/* A condition on which a thread waits until a moment of the monotonic clock. */
#ifndef DEADLINE_H
#define DEADLINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void deadline_cond_init(pthread_cond_t *cond);

/* So many microseconds from now. */
struct timespec deadline_after(int64_t us);

/* False when the moment has come. */
bool deadline_wait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *moment);

#endif
