/* SPDX-License-Identifier: Apache-2.0 */
#include "hand.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define END_WAIT_US 500000

static void keep_only(int fd)
{
	if (unshare(CLONE_FILES))
		return;
	if (fd > 0)
		close_range(0, (unsigned int)fd - 1, 0);
	close_range((unsigned int)fd + 1, ~0u, 0);
}

static void write_byte(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return;
	if (pwrite(fd, "\n", 1, 0) != 1) {
		/* The process or the device has gone meanwhile: nobody is to be told. */
	}
	close(fd);
}

static void work(const struct hand_job *job)
{
	switch (job->work) {
	case HAND_WRITE:
		write_byte(job->path);
		break;
	case HAND_MKDIR:
		mkdir(job->path, 0555);
		break;
	case HAND_SYMLINK:
		if (symlink(".", job->path)) {
			/* As above. */
		}
		break;
	case HAND_RMDIR:
		rmdir(job->path);
		break;
	case HAND_UNLINK:
		unlink(job->path);
		break;
	}
}

static struct hand_job *next_job(struct hand *hand)
{
	struct hand_job *job;

	g_mutex_lock(&hand->lock);
	while (!hand->ending && g_queue_is_empty(&hand->todo))
		g_cond_wait(&hand->cond, &hand->lock);
	job = hand->ending ? NULL : g_queue_pop_head(&hand->todo);
	g_mutex_unlock(&hand->lock);
	return job;
}

static gpointer thread_main(gpointer data)
{
	struct hand *hand = data;
	struct hand_job *job;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	keep_only(hand->bell);
	g_atomic_int_set(&hand->tid, (gint)syscall(SYS_gettid));
	while ((job = next_job(hand))) {
		work(job);
		g_mutex_lock(&hand->lock);
		g_queue_push_tail(&hand->done, job);
		g_mutex_unlock(&hand->lock);
		eventfd_write(hand->bell, 1);
	}
	g_mutex_lock(&hand->lock);
	hand->has_ended = true;
	g_cond_signal(&hand->cond);
	g_mutex_unlock(&hand->lock);
	return NULL;
}

static struct hand_job *next_done(struct hand *hand)
{
	struct hand_job *job;

	g_mutex_lock(&hand->lock);
	job = g_queue_pop_head(&hand->done);
	g_mutex_unlock(&hand->lock);
	return job;
}

static void take_done(struct hand *hand)
{
	struct hand_job *job;

	while ((job = next_done(hand))) {
		hand->jobs--;
		job->done(job, hand->data);
	}
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
	struct hand *hand = poll->data;
	eventfd_t count;

	(void)status;
	(void)events;
	eventfd_read(hand->bell, &count);
	take_done(hand);
}

int hand_init(struct hand *hand, uv_loop_t *loop, const char *name, void *data)
{
	*hand = (struct hand){.data = data};
	hand->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hand->bell < 0)
		return -errno;
	hand->is_open = true;
	g_mutex_init(&hand->lock);
	g_cond_init(&hand->cond);
	g_queue_init(&hand->todo);
	g_queue_init(&hand->done);
	uv_poll_init(loop, &hand->poll, hand->bell);
	hand->poll.data = hand;
	uv_poll_start(&hand->poll, UV_READABLE, on_bell);
	uv_unref((uv_handle_t *)&hand->poll);
	hand->thread = g_thread_new(name, thread_main, hand);
	return 0;
}

void hand_do(struct hand *hand, struct hand_job *job)
{
	hand->jobs++;
	g_mutex_lock(&hand->lock);
	g_queue_push_tail(&hand->todo, job);
	g_cond_signal(&hand->cond);
	g_mutex_unlock(&hand->lock);
}

bool hand_is(const struct hand *hand, pid_t tid)
{
	return hand->is_open && tid == g_atomic_int_get(&hand->tid);
}

static bool wait_for_end(struct hand *hand)
{
	gint64 end = g_get_monotonic_time() + END_WAIT_US;
	bool in_time = true;

	g_mutex_lock(&hand->lock);
	hand->ending = true;
	g_cond_broadcast(&hand->cond);
	while (!hand->has_ended && in_time)
		in_time = g_cond_wait_until(&hand->cond, &hand->lock, end);
	g_mutex_unlock(&hand->lock);
	return hand->has_ended;
}

bool hand_fini(struct hand *hand)
{
	struct hand_job *job;

	if (!hand->is_open)
		return true;
	hand->is_open = false;
	uv_close((uv_handle_t *)&hand->poll, NULL);
	if (!wait_for_end(hand))
		return false;
	g_thread_join(hand->thread);
	while ((job = g_queue_pop_head(&hand->todo)))
		g_queue_push_tail(&hand->done, job);
	take_done(hand);
	close(hand->bell);
	g_mutex_clear(&hand->lock);
	g_cond_clear(&hand->cond);
	return true;
}
