/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that may wait for another process for ever: a look into its root or its descriptors can meet
 * a file system that does not answer. Each errand has a thread of its own, so that one that hangs
 * holds up nothing else; a user can have a few under way, and all together a few more.
 */
#ifndef ERRAND_H
#define ERRAND_H

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#define ERRANDS_MAX          16
#define ERRANDS_KEPT         4 /* of these, for root alone; and as many for the daemon's own */
#define ERRANDS_MAX_PER_USER 4 /* but root */
#define ERRANDS_WAITING_MAX  16384

#define ERRANDS_OWN ((uid_t)-1) /* for nobody's sake but the daemon's */

struct errand;

struct errands {
	uv_async_t async;
	pthread_mutex_t lock;
	pthread_cond_t cond;   /* one more is done */
	GQueue done;           /* struct errand: under the lock; all else is the loop's */
	GQueue waiting;        /* struct errand */
	GHashTable *under_way; /* uid -> how many */
	unsigned int running;
	bool closed;
	bool failing; /* one could not be begun, and that was logged */
};

void errands_init(struct errands *errands, uv_loop_t *loop);

/* Runs `run(data)` in a thread, then `done(data, owner)` in the loop. `done` gets owner NULL when
 * there was no room, it was cancelled, or the daemon is ending: it only frees. For the sake of
 * `uid`. Returns what errand_cancel() takes until it is done; NULL if it is done already. */
struct errand *errand_begin(struct errands *errands, uid_t uid, void (*run)(void *data),
			    void (*done)(void *data, void *owner), void *data, void *owner);

/* Does nothing if its thread runs already. */
void errand_cancel(struct errand *errand);

/* Nothing is done any more; threads that hang are left behind, and `running` says how many. */
void errands_close(struct errands *errands);

#endif
