/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that works on our own mount, because the kernel tells watchers only of operations that
 * were made through it. The loop cannot do that itself: it would wait for its own answer.
 *
 * It has a descriptor table of its own, with nothing in it but its bell: a thread that waits for
 * its own mount and holds the session's descriptor would keep both alive for ever.
 */
#ifndef HAND_H
#define HAND_H

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

enum hand_work {
	HAND_WRITE, /* open for writing, a byte, close */
	HAND_MKDIR,
	HAND_SYMLINK,
	HAND_RMDIR,
	HAND_UNLINK,
};

/* One operation. The caller's until hand_do(), and again from `done` on. */
struct hand_job {
	enum hand_work work;
	char *path; /* absolute */
	void (*done)(struct hand_job *job, void *data);
};

struct hand {
	pthread_t thread;
	pthread_mutex_t lock; /* over what follows, up to the next comment */
	pthread_cond_t cond;
	GQueue todo; /* struct hand_job */
	GQueue done;
	bool ending;
	bool has_ended;
	uint32_t device; /* of the mount; fixed */
	/* The loop's own. */
	gint tid; /* atomic: of the thread, by which its requests are told from others' */
	int bell; /* an eventfd: something is done */
	uv_poll_t poll;
	void *data;
	unsigned int jobs; /* not done yet */
	bool is_open;
};

/* `device` is the mount's, major << 20 | minor; `data` is what `done` gets. 0 or a negative errno.
 */
int hand_init(struct hand *hand, uv_loop_t *loop, const char *name, uint32_t device, void *data);
void hand_do(struct hand *hand, struct hand_job *job);
bool hand_is(const struct hand *hand, pid_t tid);

/* Call it when the mount is gone, which ends what the thread waits for. Jobs that are left are
 * done as far as their `done` is concerned. False if the thread hangs: all of it must stay. */
bool hand_fini(struct hand *hand);

#endif
