/* SPDX-License-Identifier: Apache-2.0 */
#include "proc_stat.h"
#include "deadline.h"
#include "detached.h"
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_US     500000 /* nobody needs so long, but on a machine with too much to do */
#define HANGING_MAX 32     /* more than there are errands, which ask too */
#define EXECVE_US   10000  /* it takes some 100 */
#define LOOK_US     200
#define STUCK_KNOWN 256
#define STACK_BYTES (256u << 10)
#define TEXT_BYTES  1024
#define PROC_PATH   256

/* Whoever is the last to need it frees it: who asked, or the thread if he no longer waits. */
struct request {
	char proc[PROC_PATH];
	pid_t pid;
	char text[TEXT_BYTES];
	int length;
	bool is_taken;
	bool is_done;
	bool is_given_up;
};

/* All of it under the lock. A thread waits for requests for ever once it has been made. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked, answered;
	GQueue requests; /* struct request, not taken */
	unsigned int idle;
	unsigned int asking; /* each may come to hang */
	struct request *hanging[HANGING_MAX];
	unsigned int hangs;
	pid_t stuck[STUCK_KNOWN]; /* in execve, for longer than that takes; the last ones */
	unsigned int stuck_next;
} readers = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};

static void readers_init(void)
{
	static gsize is_ready;

	if (g_once_init_enter(&is_ready)) {
		deadline_cond_init(&readers.answered);
		g_once_init_leave(&is_ready, 1);
	}
}

int proc_slurp(const char *proc, pid_t pid, const char *name, char *text, size_t size)
{
	char path[PROC_PATH];
	ssize_t length;
	int fd;

	snprintf(path, sizeof path, "%s/%d/%s", proc, (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = read(fd, text, size - 1);
	if (length < 0)
		length = -errno;
	else
		text[length] = 0;
	close(fd);
	return (int)length;
}

static void hanging_add(struct request *request)
{
	readers.hanging[readers.hangs++] = request;
}

static void hanging_remove(const struct request *request)
{
	for (unsigned int i = 0; i < readers.hangs; i++)
		if (readers.hanging[i] == request) {
			readers.hanging[i] = readers.hanging[--readers.hangs];
			return;
		}
}

static bool may_ask(pid_t pid)
{
	for (unsigned int i = 0; i < readers.hangs; i++)
		if (readers.hanging[i]->pid == pid)
			return false;
	return readers.hangs + readers.asking < HANGING_MAX;
}

static void answer(struct request *request)
{
	pthread_mutex_unlock(&readers.lock);
	request->length = proc_slurp(request->proc, request->pid, "stat", request->text,
				     sizeof request->text);
	pthread_mutex_lock(&readers.lock);
	if (request->is_given_up) {
		hanging_remove(request);
		g_free(request);
		return;
	}
	request->is_done = true;
	pthread_cond_broadcast(&readers.answered);
}

static void *thread_main(void *data)
{
	struct request *request;

	pthread_mutex_lock(&readers.lock);
	for (;;) {
		while (!(request = g_queue_pop_head(&readers.requests))) {
			readers.idle++;
			pthread_cond_wait(&readers.asked, &readers.lock);
			readers.idle--;
		}
		request->is_taken = true;
		answer(request);
	}
	return data;
}

/* As many as are asked at the same time, and those that hang. */
static bool thread_need(void)
{
	return readers.idle >= readers.requests.length ||
	       detached_start(STACK_BYTES, thread_main, NULL);
}

/* Returns whether it is still the caller's. */
static bool wait_for(struct request *request)
{
	struct timespec end = deadline_after(WAIT_US);

	pthread_cond_signal(&readers.asked);
	while (!request->is_done && deadline_wait(&readers.answered, &readers.lock, &end))
		;
	if (request->is_done)
		return true;
	if (!request->is_taken) {
		g_queue_remove(&readers.requests, request);
		return true;
	}
	request->is_given_up = true;
	hanging_add(request);
	return false;
}

/* 0 if it may be asked. Whoever has gone is not worth a thread's time. */
static int look_first(const char *proc, pid_t pid)
{
	unsigned long pages, resident, shared, code;
	char text[256];

	if (proc_slurp(proc, pid, "statm", text, sizeof text) < 0) {
		snprintf(text, sizeof text, "%s/%d", proc, (int)pid);
		return access(text, F_OK) ? -errno : 0;
	}
	if (sscanf(text, "%lu %lu %lu %lu", &pages, &resident, &shared, &code) != 4)
		return 0;
	return pages && !code ? -EBUSY : 0;
}

static pid_t *stuck_find(pid_t pid)
{
	for (unsigned int i = 0; i < STUCK_KNOWN; i++)
		if (readers.stuck[i] == pid)
			return &readers.stuck[i];
	return NULL;
}

/* Waits for one that has only just begun, as a process that was started a moment ago may have; but
 * not again and again for the same one. */
static int look_twice(const char *proc, pid_t pid)
{
	int error = look_first(proc, pid);
	pid_t *known;

	if (error != -EBUSY)
		return error;
	pthread_mutex_lock(&readers.lock);
	known = stuck_find(pid);
	if (!known)
		readers.stuck[readers.stuck_next++ % STUCK_KNOWN] = pid;
	pthread_mutex_unlock(&readers.lock);
	for (int us = 0; !known && error == -EBUSY && us < EXECVE_US; us += LOOK_US) {
		g_usleep(LOOK_US);
		error = look_first(proc, pid);
	}
	if (error != -EBUSY) {
		pthread_mutex_lock(&readers.lock);
		known = stuck_find(pid);
		if (known)
			*known = 0;
		pthread_mutex_unlock(&readers.lock);
	}
	return error;
}

bool proc_in_execve(const char *proc, pid_t pid)
{
	return look_twice(proc, pid) == -EBUSY;
}

static int ask(struct request *request, char *text, size_t size)
{
	int length = -EBUSY;

	g_queue_push_tail(&readers.requests, request);
	if (!thread_need()) {
		g_queue_remove(&readers.requests, request);
		g_free(request);
		return -EAGAIN;
	}
	if (!wait_for(request))
		return -EBUSY;
	if (request->is_done)
		length = request->length;
	if (length > 0)
		g_strlcpy(text, request->text, size);
	g_free(request);
	return length;
}

int proc_stat_read(const char *proc, pid_t pid, char *text, size_t size)
{
	struct request *request;
	int length = look_twice(proc, pid);

	if (length)
		return length;
	length = -EBUSY;
	readers_init();
	pthread_mutex_lock(&readers.lock);
	if (may_ask(pid)) {
		request = g_new0(struct request, 1);
		g_strlcpy(request->proc, proc, sizeof request->proc);
		request->pid = pid;
		readers.asking++;
		length = ask(request, text, size);
		readers.asking--;
	}
	pthread_mutex_unlock(&readers.lock);
	return length;
}
