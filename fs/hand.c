/* SPDX-License-Identifier: Apache-2.0 */
#include "hand.h"
#include "deadline.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
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

/* Not by way of the library, where the thread sanitizer takes the same number in the tables of two
 * threads for one descriptor. */
static int own_open(int dir, const char *path, int flags)
{
	return (int)syscall(SYS_openat, dir, path, flags | O_CLOEXEC);
}

static void own_close(int fd)
{
	syscall(SYS_close, fd);
}

/* The mount may have been taken away or covered: then the path leads to other people's files. The
 * number is known without asking ourselves. */
static bool is_ours(const struct hand *hand, int fd)
{
	struct statx st;

	return !statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) &&
	       (st.stx_dev_major << 20 | st.stx_dev_minor) == hand->device;
}

/* The directory that the job is in, and the name there. */
static int open_dir(const struct hand *hand, const struct hand_job *job, const char **name)
{
	char *path = g_path_get_dirname(job->path);
	int fd = own_open(AT_FDCWD, path, O_PATH | O_DIRECTORY);

	g_free(path);
	*name = strrchr(job->path, '/') + 1;
	if (fd >= 0 && !is_ours(hand, fd)) {
		own_close(fd);
		fd = -1;
	}
	return fd;
}

/* Without waiting: whoever owns a file can have a lease on it, and let us wait for its end. */
static void write_byte(int dir, const char *name)
{
	int fd = own_open(dir, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW);

	if (fd < 0)
		return;
	/* If the process or the device has gone meanwhile, nobody is to be told. */
	syscall(SYS_pwrite64, fd, "\n", 1ul, 0ul);
	own_close(fd);
}

static void work(const struct hand *hand, const struct hand_job *job)
{
	const char *name;
	int dir = open_dir(hand, job, &name);

	if (dir < 0)
		return;
	switch (job->work) {
	case HAND_WRITE:
		write_byte(dir, name);
		break;
	case HAND_MKDIR:
		mkdirat(dir, name, 0555);
		break;
	case HAND_SYMLINK:
		if (symlinkat(".", dir, name)) {
			/* Nobody is to be told, as above. */
		}
		break;
	case HAND_RMDIR:
		unlinkat(dir, name, AT_REMOVEDIR);
		break;
	case HAND_UNLINK:
		unlinkat(dir, name, 0);
		break;
	}
	own_close(dir);
}

static struct hand_job *next_job(struct hand *hand)
{
	struct hand_job *job;

	pthread_mutex_lock(&hand->lock);
	while (!hand->ending && g_queue_is_empty(&hand->todo))
		pthread_cond_wait(&hand->cond, &hand->lock);
	job = hand->ending ? NULL : g_queue_pop_head(&hand->todo);
	pthread_mutex_unlock(&hand->lock);
	return job;
}

static void *thread_main(void *data)
{
	struct hand *hand = data;
	struct hand_job *job;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	keep_only(hand->bell);
	g_atomic_int_set(&hand->tid, (gint)syscall(SYS_gettid));
	while ((job = next_job(hand))) {
		work(hand, job);
		pthread_mutex_lock(&hand->lock);
		g_queue_push_tail(&hand->done, job);
		pthread_mutex_unlock(&hand->lock);
		eventfd_write(hand->bell, 1);
	}
	pthread_mutex_lock(&hand->lock);
	hand->has_ended = true;
	pthread_cond_signal(&hand->cond);
	pthread_mutex_unlock(&hand->lock);
	return NULL;
}

static struct hand_job *next_done(struct hand *hand)
{
	struct hand_job *job;

	pthread_mutex_lock(&hand->lock);
	job = g_queue_pop_head(&hand->done);
	pthread_mutex_unlock(&hand->lock);
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

int hand_init(struct hand *hand, uv_loop_t *loop, const char *name, uint32_t device, void *data)
{
	*hand = (struct hand){.data = data, .device = device};
	hand->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hand->bell < 0)
		return -errno;
	hand->is_open = true;
	pthread_mutex_init(&hand->lock, NULL);
	deadline_cond_init(&hand->cond);
	g_queue_init(&hand->todo);
	g_queue_init(&hand->done);
	uv_poll_init(loop, &hand->poll, hand->bell);
	hand->poll.data = hand;
	uv_poll_start(&hand->poll, UV_READABLE, on_bell);
	uv_unref((uv_handle_t *)&hand->poll);
	if (pthread_create(&hand->thread, NULL, thread_main, hand)) {
		uv_close((uv_handle_t *)&hand->poll, NULL);
		hand->is_open = false;
		return -EAGAIN;
	}
	pthread_setname_np(hand->thread, name);
	return 0;
}

void hand_do(struct hand *hand, struct hand_job *job)
{
	hand->jobs++;
	pthread_mutex_lock(&hand->lock);
	g_queue_push_tail(&hand->todo, job);
	pthread_cond_signal(&hand->cond);
	pthread_mutex_unlock(&hand->lock);
}

bool hand_is(const struct hand *hand, pid_t tid)
{
	return hand->is_open && tid > 0 && tid == g_atomic_int_get(&hand->tid);
}

static bool wait_for_end(struct hand *hand)
{
	struct timespec end = deadline_after(END_WAIT_US);
	bool in_time = true;

	pthread_mutex_lock(&hand->lock);
	hand->ending = true;
	pthread_cond_broadcast(&hand->cond);
	while (!hand->has_ended && in_time)
		in_time = deadline_wait(&hand->cond, &hand->lock, &end);
	pthread_mutex_unlock(&hand->lock);
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
	pthread_join(hand->thread, NULL);
	while ((job = g_queue_pop_head(&hand->todo)))
		g_queue_push_tail(&hand->done, job);
	take_done(hand);
	close(hand->bell);
	pthread_mutex_destroy(&hand->lock);
	pthread_cond_destroy(&hand->cond);
	return true;
}
