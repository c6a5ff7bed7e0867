/* SPDX-License-Identifier: Apache-2.0 */
#include "errand.h"
#include "deadline.h"
#include "detached.h"
#include "log.h"

#define STACK_BYTES (256u << 10)
#define END_WAIT_US 200000

struct errand {
	struct errands *errands;
	uid_t uid;
	void (*run)(void *data);
	void (*done)(void *data, void *owner);
	void *data;
	void *owner;
};

static void *thread_main(void *argument)
{
	struct errand *errand = argument;
	struct errands *errands = errand->errands;

	errand->run(errand->data);
	pthread_mutex_lock(&errands->lock);
	g_queue_push_tail(&errands->done, errand);
	pthread_cond_signal(&errands->cond);
	if (!errands->closed)
		uv_async_send(&errands->async);
	pthread_mutex_unlock(&errands->lock);
	return NULL;
}

static guint under_way(const struct errands *errands, uid_t uid)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(errands->under_way, GUINT_TO_POINTER(uid)));
}

static void count(struct errands *errands, uid_t uid, int change)
{
	guint number = under_way(errands, uid) + (guint)change;

	errands->running += (guint)change;
	if (number)
		g_hash_table_insert(errands->under_way, GUINT_TO_POINTER(uid),
				    GUINT_TO_POINTER(number));
	else
		g_hash_table_remove(errands->under_way, GUINT_TO_POINTER(uid));
}

static void give_up(struct errand *errand)
{
	errand->done(errand->data, NULL);
	g_free(errand);
}

/* So that others' which hang leave some. */
static unsigned int room_for(uid_t uid)
{
	unsigned int kept = uid == ERRANDS_OWN ? 0 : uid == 0 ? ERRANDS_KEPT : 2 * ERRANDS_KEPT;

	return ERRANDS_MAX - kept;
}

/* Root's are not a guest's: most containers are his, and some that hang must not keep the others
 * from being seen. */
static unsigned int most_of(uid_t uid)
{
	return uid == 0 ? ERRANDS_MAX : ERRANDS_MAX_PER_USER;
}

static bool may_run(const struct errand *errand)
{
	return errand->errands->running < room_for(errand->uid) &&
	       under_way(errand->errands, errand->uid) < most_of(errand->uid);
}

static bool run(struct errand *errand)
{
	count(errand->errands, errand->uid, 1);
	if (detached_start(STACK_BYTES, thread_main, errand))
		return true;
	count(errand->errands, errand->uid, -1);
	give_up(errand);
	return false;
}

/* The oldest whose user may have one more. */
static void run_waiting(struct errands *errands)
{
	GList *link, *next;

	for (link = errands->waiting.head; link; link = next) {
		struct errand *errand = link->data;

		next = link->next;
		if (!may_run(errand))
			continue;
		g_queue_delete_link(&errands->waiting, link);
		run(errand);
	}
}

static struct errand *next_done(struct errands *errands)
{
	struct errand *errand;

	pthread_mutex_lock(&errands->lock);
	errand = g_queue_pop_head(&errands->done);
	pthread_mutex_unlock(&errands->lock);
	return errand;
}

static void on_done(uv_async_t *async)
{
	struct errands *errands = async->data;
	struct errand *errand;

	while ((errand = next_done(errands))) {
		count(errands, errand->uid, -1);
		errand->done(errand->data, errand->owner);
		g_free(errand);
	}
	if (!errands->closed)
		run_waiting(errands);
}

void errands_init(struct errands *errands, uv_loop_t *loop)
{
	*errands = (struct errands){0};
	pthread_mutex_init(&errands->lock, NULL);
	deadline_cond_init(&errands->cond);
	g_queue_init(&errands->done);
	g_queue_init(&errands->waiting);
	errands->under_way = g_hash_table_new(NULL, NULL);
	uv_async_init(loop, &errands->async, on_done);
	uv_unref((uv_handle_t *)&errands->async);
	errands->async.data = errands;
}

struct errand *errand_begin(struct errands *errands, uid_t uid, void (*run_it)(void *data),
			    void (*done)(void *data, void *owner), void *data, void *owner)
{
	struct errand *errand = g_new0(struct errand, 1);

	*errand = (struct errand){errands, uid, run_it, done, data, owner};
	if (errands->closed || errands->waiting.length >= ERRANDS_WAITING_MAX) {
		if (!errands->closed && !errands->failing)
			log_warning("too many looks into other processes are under way or hang; "
				    "some processes may not be shown");
		errands->failing |= !errands->closed;
		give_up(errand);
		return NULL;
	}
	if (may_run(errand))
		return run(errand) ? errand : NULL;
	g_queue_push_tail(&errands->waiting, errand);
	return errand;
}

void errand_cancel(struct errand *errand)
{
	if (g_queue_remove(&errand->errands->waiting, errand))
		give_up(errand);
}

/* Those under way are nearly always done in a moment. */
static void wait_for_running(struct errands *errands)
{
	struct timespec end = deadline_after(END_WAIT_US);
	bool in_time = true;

	while (errands->running && in_time) {
		struct errand *errand;

		pthread_mutex_lock(&errands->lock);
		while (in_time && g_queue_is_empty(&errands->done))
			in_time = deadline_wait(&errands->cond, &errands->lock, &end);
		errand = g_queue_pop_head(&errands->done);
		pthread_mutex_unlock(&errands->lock);
		if (!errand)
			break;
		count(errands, errand->uid, -1);
		give_up(errand);
	}
}

void errands_close(struct errands *errands)
{
	struct errand *errand;

	pthread_mutex_lock(&errands->lock);
	errands->closed = true;
	pthread_mutex_unlock(&errands->lock);
	while ((errand = g_queue_pop_head(&errands->waiting)))
		give_up(errand);
	wait_for_running(errands);
	uv_close((uv_handle_t *)&errands->async, NULL);
	if (errands->running)
		return; /* what they use stays */
	g_hash_table_destroy(errands->under_way);
	pthread_mutex_destroy(&errands->lock);
	pthread_cond_destroy(&errands->cond);
}
