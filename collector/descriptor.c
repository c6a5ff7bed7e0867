/* SPDX-License-Identifier: Apache-2.0 */
#include "descriptor.h"
#include "detached.h"
#include "log.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CLOSERS_MAX 16       /* threads that may hang in close() at a time */
#define MANY        64       /* waiting descriptors that are worth a line in the log... */
#define PERIOD_US   10000000 /* ...but not again and again */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static GArray *queue; /* int: descriptors to close */
static unsigned int closers;
static int64_t warned_us; /* 0: never */

bool descriptor_is_eventfd(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[64], link[64];
	ssize_t length;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	length = readlink(path, link, sizeof link);
	return length == sizeof want - 1 && !memcmp(link, want, sizeof want - 1);
}

/* The next descriptor, or -1 when there is none: then the thread ends, and is counted no more. */
static int queue_take(void)
{
	int fd = -1;

	pthread_mutex_lock(&mutex);
	if (queue->len) {
		fd = g_array_index(queue, int, queue->len - 1);
		g_array_set_size(queue, queue->len - 1);
	} else {
		closers--;
	}
	pthread_mutex_unlock(&mutex);
	return fd;
}

static void *closer_run(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = queue_take()) >= 0)
		close(fd);
	return NULL;
}

/* Under the mutex. Without memory for a thread the next discard tries again. */
static void closer_start(void)
{
	if (detached_start(64 << 10, closer_run, NULL))
		closers++;
}

/* Under the mutex. True when so many wait that it is worth a line and none was written lately. */
static bool worth_a_line(void)
{
	int64_t now = g_get_monotonic_time();

	if (queue->len < MANY || (warned_us && now - warned_us < PERIOD_US))
		return false;
	warned_us = now;
	return true;
}

void descriptors_discard(const int *fds, int count)
{
	bool warn;

	pthread_mutex_lock(&mutex);
	if (!queue)
		queue = g_array_new(FALSE, FALSE, sizeof(int));
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			g_array_append_val(queue, fds[i]);
	if (queue->len && closers < CLOSERS_MAX)
		closer_start();
	warn = worth_a_line();
	pthread_mutex_unlock(&mutex);
	if (warn)
		log_warning("descriptors from clients wait to be closed: those before them hang");
}

unsigned int descriptors_pending(void)
{
	unsigned int waiting;

	pthread_mutex_lock(&mutex);
	waiting = queue ? queue->len : 0;
	pthread_mutex_unlock(&mutex);
	return waiting;
}

void descriptors_abandon(void)
{
	pthread_mutex_lock(&mutex);
	for (guint i = queue ? queue->len : 0; i > 0; i--)
		closer_start();
	pthread_mutex_unlock(&mutex);
	/* They need a moment to take their descriptors out of the table. */
	for (int i = 0; i < 100 && descriptors_pending(); i++)
		usleep(1000);
}
