/* SPDX-License-Identifier: Apache-2.0 */
/* Work in threads of its own: how much of it at once, who waits, and that nobody waits for ever. */
#include "errand.h"
#include "unit.h"
#include <pthread.h>

#define ROOT  0
#define USER  1000
#define OTHER 1001

/* An errand that waits until it is let go on. What threads touch is under `lock`. */
struct job {
	struct office *office;
	struct errand *errand;
	bool begun, go_on;
	unsigned int done, given_up;
};

struct office {
	uv_loop_t loop;
	struct errands errands;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int running, most;
	GPtrArray *jobs;
	bool closed;
};

static int setup(void **state)
{
	struct office *office = g_new0(struct office, 1);

	assert_int_equal(uv_loop_init(&office->loop), 0);
	errands_init(&office->errands, &office->loop);
	pthread_mutex_init(&office->lock, NULL);
	pthread_cond_init(&office->cond, NULL);
	office->jobs = g_ptr_array_new_with_free_func(g_free);
	*state = office;
	return 0;
}

static void close_all(struct office *office)
{
	errands_close(&office->errands);
	office->closed = true;
	uv_run(&office->loop, UV_RUN_DEFAULT);
}

static int teardown(void **state)
{
	struct office *office = *state;

	if (!office->closed)
		close_all(office);
	assert_int_equal(uv_loop_close(&office->loop), 0);
	assert_int_equal(office->errands.running, 0);
	for (guint i = 0; i < office->jobs->len; i++) {
		const struct job *job = office->jobs->pdata[i];

		assert_int_equal(job->done + job->given_up, 1);
	}
	g_ptr_array_free(office->jobs, TRUE);
	g_free(office);
	return 0;
}

static void job_run(void *data)
{
	struct job *job = data;
	struct office *office = job->office;

	pthread_mutex_lock(&office->lock);
	job->begun = true;
	office->running++;
	office->most = MAX(office->most, office->running);
	pthread_cond_broadcast(&office->cond);
	while (!job->go_on)
		pthread_cond_wait(&office->cond, &office->lock);
	office->running--;
	pthread_mutex_unlock(&office->lock);
}

static void job_done(void *data, void *owner)
{
	struct job *job = data;

	if (owner) {
		assert_ptr_equal(owner, job->office);
		job->done++;
	} else {
		job->given_up++;
	}
}

static struct job *job_begin(struct office *office, uid_t uid, bool waits)
{
	struct job *job = g_new0(struct job, 1);

	job->office = office;
	job->go_on = !waits;
	g_ptr_array_add(office->jobs, job);
	job->errand = errand_begin(&office->errands, uid, job_run, job_done, job, office);
	return job;
}

static void let_go_on(struct job *job)
{
	pthread_mutex_lock(&job->office->lock);
	job->go_on = true;
	pthread_cond_broadcast(&job->office->cond);
	pthread_mutex_unlock(&job->office->lock);
}

static void let_all_go_on(struct office *office)
{
	for (guint i = 0; i < office->jobs->len; i++)
		let_go_on(office->jobs->pdata[i]);
}

static bool has_begun(struct job *job)
{
	bool begun;

	pthread_mutex_lock(&job->office->lock);
	begun = job->begun;
	pthread_mutex_unlock(&job->office->lock);
	return begun;
}

static void wait_begun(struct job *job)
{
	pthread_mutex_lock(&job->office->lock);
	while (!job->begun)
		pthread_cond_wait(&job->office->cond, &job->office->lock);
	pthread_mutex_unlock(&job->office->lock);
}

/* No errand keeps the loop alive, so the test must. */
static void turn(struct office *office)
{
	uv_ref((uv_handle_t *)&office->errands.async);
	uv_run(&office->loop, UV_RUN_NOWAIT);
	uv_unref((uv_handle_t *)&office->errands.async);
}

static void wait_done(const struct job *job)
{
	for (int tries = 0; !job->done && !job->given_up && tries < 200000; tries++) {
		turn(job->office);
		g_usleep(100);
	}
	assert_int_equal(job->done + job->given_up, 1);
}

static void runs_in_a_thread_and_is_done_in_the_loop(void **state)
{
	struct job *job = job_begin(*state, USER, true);

	assert_non_null(job->errand);
	wait_begun(job);
	turn(job->office);
	assert_int_equal(job->done, 0);
	let_go_on(job);
	wait_done(job);
	assert_int_equal(job->done, 1);
}

static void keeps_no_loop_alive(void **state)
{
	struct job *job = job_begin(*state, USER, true);

	assert_int_equal(uv_run(&job->office->loop, UV_RUN_DEFAULT), 0);
	let_go_on(job);
}

static void a_user_has_a_few_at_once(void **state)
{
	struct office *office = *state;
	struct job *jobs[ERRANDS_MAX_PER_USER + 2];

	for (size_t i = 0; i < G_N_ELEMENTS(jobs); i++)
		jobs[i] = job_begin(office, USER, true);
	for (size_t i = 0; i < ERRANDS_MAX_PER_USER; i++)
		wait_begun(jobs[i]);
	assert_int_equal(office->errands.running, ERRANDS_MAX_PER_USER);
	assert_int_equal(office->errands.waiting.length, 2);
	let_go_on(jobs[1]);
	wait_done(jobs[1]);
	wait_begun(jobs[ERRANDS_MAX_PER_USER]); /* the one that has waited longest */
	assert_int_equal(office->errands.waiting.length, 1);
	let_all_go_on(office);
	wait_done(jobs[ERRANDS_MAX_PER_USER + 1]);
	assert_int_equal(office->most, ERRANDS_MAX_PER_USER);
}

static void one_users_hanging_holds_up_no_other(void **state)
{
	struct office *office = *state;
	struct job *job;

	for (int i = 0; i < 20; i++)
		job_begin(office, USER, true);
	job = job_begin(office, OTHER, false);
	wait_done(job);
	assert_int_equal(job->done, 1);
	let_all_go_on(office);
}

static void all_users_hanging_do_not_hold_up_root_or_the_daemon(void **state)
{
	struct office *office = *state;
	struct job *job;

	for (uid_t uid = USER; uid < USER + 10; uid++)
		for (int i = 0; i < ERRANDS_MAX_PER_USER; i++)
			job_begin(office, uid, true);
	assert_int_equal(office->errands.running, ERRANDS_MAX - 2 * ERRANDS_KEPT);
	for (int i = 0; i < ERRANDS_KEPT; i++)
		wait_begun(job_begin(office, ROOT, true));
	job_begin(office, ROOT, true);
	assert_int_equal(office->errands.running, ERRANDS_MAX - ERRANDS_KEPT);
	for (int i = 0; i < ERRANDS_KEPT; i++) {
		job = job_begin(office, ERRANDS_OWN, true);
		wait_begun(job);
	}
	assert_int_equal(office->errands.running, ERRANDS_MAX);
	let_all_go_on(office);
	wait_done(job);
	while (office->errands.running)
		turn(office);
	assert_in_range(office->most, 1, ERRANDS_MAX);
}

static void what_waits_can_be_cancelled(void **state)
{
	struct office *office = *state;
	struct job *waiting, *next;

	for (int i = 0; i < ERRANDS_MAX_PER_USER; i++)
		job_begin(office, USER, true);
	waiting = job_begin(office, USER, true);
	next = job_begin(office, USER, false);
	errand_cancel(waiting->errand);
	assert_int_equal(waiting->given_up, 1);
	assert_false(has_begun(waiting));
	let_go_on(office->jobs->pdata[0]);
	wait_done(next);
	assert_int_equal(next->done, 1);
	assert_false(has_begun(waiting));
	let_all_go_on(office);
}

static void what_runs_is_not_cancelled(void **state)
{
	struct job *job = job_begin(*state, USER, true);

	wait_begun(job);
	errand_cancel(job->errand);
	assert_int_equal(job->given_up, 0);
	let_go_on(job);
	wait_done(job);
	assert_int_equal(job->done, 1);
}

static void too_many_are_given_up_at_once(void **state)
{
	struct office *office = *state;
	struct job *job;

	for (int i = 0; i < ERRANDS_MAX_PER_USER + ERRANDS_WAITING_MAX; i++)
		assert_non_null(job_begin(office, USER, true)->errand);
	for (int i = 0; i < 2; i++) {
		job = job_begin(office, OTHER, false);
		assert_null(job->errand);
		assert_int_equal(job->given_up, 1);
	}
	let_all_go_on(office);
}

static void the_end_waits_for_what_is_nearly_done_and_gives_up_the_rest(void **state)
{
	struct office *office = *state;
	struct job *waiting;

	for (int i = 0; i < ERRANDS_MAX_PER_USER; i++)
		job_begin(office, USER, false);
	waiting = job_begin(office, USER, true);
	for (int i = 0; i < ERRANDS_MAX_PER_USER; i++)
		wait_begun(office->jobs->pdata[i]);
	close_all(office);
	assert_int_equal(office->errands.running, 0);
	assert_int_equal(waiting->given_up, 1);
	assert_false(has_begun(waiting));
	assert_null(job_begin(office, USER, false)->errand);
}

/* What a thread that hangs uses stays; the test lets it end, as a daemon would not. */
static void a_thread_that_hangs_does_not_hold_up_the_end(void **state)
{
	struct office *office = *state;
	struct job *job = job_begin(office, USER, true), *quick = job_begin(office, USER, false);
	struct errand *errand;

	wait_begun(job);
	close_all(office);
	assert_int_equal(office->errands.running, 1);
	assert_int_equal(job->done + job->given_up, 0);
	assert_int_equal(quick->given_up, 1);
	let_go_on(job);
	do {
		pthread_mutex_lock(&office->errands.lock);
		errand = g_queue_pop_head(&office->errands.done);
		pthread_mutex_unlock(&office->errands.lock);
	} while (!errand);
	assert_ptr_equal(errand, job->errand);
	g_free(errand);
	g_hash_table_destroy(office->errands.under_way);
	office->errands.running = 0;
	job->given_up = 1;
}

static void every_errand_is_done_once_whoever_begins_it(void **state)
{
	struct office *office = *state;

	for (int i = 0; i < 500; i++) {
		job_begin(office, (uid_t)(i % 7), false);
		if (i % 10 == 0)
			turn(office);
	}
	for (guint i = 0; i < office->jobs->len; i++) {
		wait_done(office->jobs->pdata[i]);
		assert_int_equal(((struct job *)office->jobs->pdata[i])->done, 1);
	}
	assert_in_range(office->most, 1, ERRANDS_MAX);
	assert_int_equal(g_hash_table_size(office->errands.under_way), 0);
}

#define ERRAND_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ERRAND_TEST(runs_in_a_thread_and_is_done_in_the_loop),
		ERRAND_TEST(keeps_no_loop_alive),
		ERRAND_TEST(a_user_has_a_few_at_once),
		ERRAND_TEST(one_users_hanging_holds_up_no_other),
		ERRAND_TEST(all_users_hanging_do_not_hold_up_root_or_the_daemon),
		ERRAND_TEST(what_waits_can_be_cancelled),
		ERRAND_TEST(what_runs_is_not_cancelled),
		ERRAND_TEST(too_many_are_given_up_at_once),
		ERRAND_TEST(the_end_waits_for_what_is_nearly_done_and_gives_up_the_rest),
		ERRAND_TEST(a_thread_that_hangs_does_not_hold_up_the_end),
		ERRAND_TEST(every_errand_is_done_once_whoever_begins_it),
	};

	return RUN(tests);
}
