/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that nobody waits for, because what they do may never end. */
#ifndef DETACHED_H
#define DETACHED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* False: the system has no more. */
static inline bool detached_start(size_t stack_bytes, void *(*thread_main)(void *), void *data)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, stack_bytes);
	error = pthread_create(&thread, &attributes, thread_main, data);
	pthread_attr_destroy(&attributes);
	return !error;
}

#endif
