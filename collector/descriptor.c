/* SPDX-License-Identifier: Apache-2.0 */
#include "descriptor.h"
#include "log.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CLOSERS_MAX 16 /* threads that may hang in close() at a time; more descriptors stay open \
			*/

static int closers;

bool descriptor_is_eventfd(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[64], link[64];
	ssize_t length;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	length = readlink(path, link, sizeof link);
	return length == sizeof want - 1 && !memcmp(link, want, sizeof want - 1);
}

static void *closer_run(void *arg)
{
	close((int)(intptr_t)arg);
	__atomic_fetch_sub(&closers, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void discard_one(int fd)
{
	pthread_attr_t attr;
	pthread_t thread;
	int error = -1;

	if (__atomic_fetch_add(&closers, 1, __ATOMIC_RELAXED) < CLOSERS_MAX) {
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, 64 << 10);
		error = pthread_create(&thread, &attr, closer_run, (void *)(intptr_t)fd);
		pthread_attr_destroy(&attr);
	}
	if (error) {
		__atomic_fetch_sub(&closers, 1, __ATOMIC_RELAXED);
		log_warning("a client's descriptor stays open: closing those before it hangs");
	}
}

void descriptors_discard(const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			discard_one(fds[i]);
}
