/* SPDX-License-Identifier: Apache-2.0 */
#include "lives.h"
#include "ending.h"
#include "log.h"
#include "proc.h"
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct life {
	uv_poll_t poll;
	struct lives *lives;
	struct process *process; /* whose `life` this is, until the handle closes */
	int pidfd;
};

static void on_closed(uv_handle_t *handle)
{
	struct life *life = handle->data;

	close(life->pidfd);
	g_free(life);
}

static void on_death(uv_poll_t *poll, int status, int events)
{
	struct life *life = poll->data;

	(void)status;
	(void)events;
	log_debug("process %d has ended", (int)life->process->pid);
	ending_note(life->lives->model, life->process, life->pidfd);
	model_end(life->lives->model, life->process);
}

static bool has_ended(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) != 0;
}

/* Opened first and compared then: as long as the pidfd's process lives, the number is its own. One
 * that has ended and is not waited for still has all that is in /proc: it would come and go for
 * ever. */
static int open_own(const struct lives *lives, const struct process *process)
{
	int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	uint64_t start_ticks;

	if (pidfd < 0)
		return -errno;
	if (proc_start_ticks(lives->model->proc, process->pid, &start_ticks) ||
	    start_ticks != process->start_ticks || has_ended(pidfd)) {
		close(pidfd);
		return -ESRCH;
	}
	return pidfd;
}

static bool watch(struct process *process, void *data)
{
	struct lives *lives = data;
	int pidfd = lives->count < lives->max ? open_own(lives, process) : -EMFILE;
	struct life *life;

	if (pidfd < 0) {
		if (pidfd != -ESRCH && !lives->failing)
			log_warning("cannot watch process %d and others, so they are not shown: %s",
				    (int)process->pid, g_strerror(-pidfd));
		lives->failing |= pidfd != -ESRCH;
		return false;
	}
	life = g_new0(struct life, 1);
	if (uv_poll_init(lives->loop, &life->poll, pidfd)) {
		close(pidfd);
		g_free(life);
		return false;
	}
	life->lives = lives;
	life->process = process;
	life->pidfd = pidfd;
	life->poll.data = life;
	uv_poll_start(&life->poll, UV_READABLE, on_death);
	process->life = life;
	lives->count++;
	return true;
}

static void unwatch(struct process *process, void *data)
{
	struct lives *lives = data;
	struct life *life = process->life;

	process->life = NULL;
	lives->count--;
	uv_close((uv_handle_t *)&life->poll, on_closed);
}

/* One descriptor each: most are for clients and files. */
static unsigned int lives_possible(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return LIVES_MAX;
	return (unsigned int)MIN(limit.rlim_cur / 8, LIVES_MAX);
}

void lives_init(struct lives *lives, uv_loop_t *loop, struct model *model)
{
	*lives = (struct lives){.loop = loop, .model = model, .max = lives_possible()};
	model->watch_life = watch;
	model->unwatch_life = unwatch;
	model->life_data = lives;
}

void lives_close(struct lives *lives)
{
	lives->model->watch_life = NULL;
}
