/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a process that only a file or the driver reports is an event. Processes and /proc are
 * real. */
#include "lives.h"
#include "proc.h"
#include "tellers.h"
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct watch {
	struct tellers *tellers;
	struct model *model;
	uv_loop_t loop;
	struct lives lives;
	GArray *children; /* pid_t */
};

static int setup(void **state)
{
	struct watch *watch = g_new0(struct watch, 1);

	tellers_setup((void **)&watch->tellers);
	watch->model = &watch->tellers->model;
	watch->model->proc = "/proc";
	assert_int_equal(uv_loop_init(&watch->loop), 0);
	lives_init(&watch->lives, &watch->loop, watch->model);
	watch->children = g_array_new(FALSE, FALSE, sizeof(pid_t));
	*state = watch;
	return 0;
}

static void reap(struct watch *watch, pid_t pid)
{
	for (guint i = 0; i < watch->children->len; i++)
		if (g_array_index(watch->children, pid_t, i) == pid)
			g_array_remove_index(watch->children, i);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int teardown(void **state)
{
	struct watch *watch = *state;

	while (g_tree_nnodes(watch->model->processes))
		model_end(watch->model,
			  g_tree_node_value(g_tree_node_first(watch->model->processes)));
	assert_int_equal(watch->lives.count, 0);
	lives_close(&watch->lives);
	assert_null(watch->model->watch_life);
	uv_run(&watch->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&watch->loop), 0);
	while (watch->children->len)
		reap(watch, g_array_index(watch->children, pid_t, 0));
	g_array_free(watch->children, TRUE);
	tellers_teardown((void **)&watch->tellers);
	g_free(watch);
	return 0;
}

static pid_t child(struct watch *watch)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	g_array_append_val(watch->children, pid);
	return pid;
}

/* Ends it; its parent does not wait for it yet. */
static void leave_dead(pid_t pid)
{
	siginfo_t info;

	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static struct process *join(struct watch *watch, int rank, pid_t pid)
{
	uint64_t ticks;

	assert_int_equal(proc_start_ticks("/proc", pid, &ticks), 0);
	return model_join(watch->model, source_of(watch->tellers, rank), watch, pid, 1000, 100,
			  ticks);
}

static unsigned int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Turns the loop until so many are watched. */
static void wait_count(struct watch *watch, unsigned int count)
{
	while (watch->lives.count != count)
		uv_run(&watch->loop, UV_RUN_ONCE);
}

static void the_end_of_a_process_is_the_end_for_all_its_sources(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);

	assert_non_null(join(watch, SOURCE_KMD, pid));
	assert_non_null(join(watch, SOURCE_TT_METAL, pid));
	assert_non_null(join(watch, SOURCE_NATIVE, pid));
	assert_int_equal(watch->lives.count, 1);
	leave_dead(pid);
	wait_count(watch, 0);
	assert_null(model_process_by_pid(watch->model, pid));
	assert_int_equal(watch->model->departed.length, 1);
}

static void a_ledgers_process_is_not_watched_here(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);

	assert_non_null(join(watch, SOURCE_NATIVE, pid));
	assert_int_equal(watch->lives.count, 0);
	assert_non_null(join(watch, SOURCE_ALLOC_SERVER, pid));
	assert_int_equal(watch->lives.count, 1);
}

static void a_process_that_leaves_is_watched_no_more(void **state)
{
	struct watch *watch = *state;
	unsigned int before = descriptors();
	pid_t pid = child(watch);
	struct process *process = join(watch, SOURCE_KMD, pid);

	assert_int_equal(descriptors(), before + 1);
	model_leave(watch->model, source_of(watch->tellers, SOURCE_KMD), process);
	leave_dead(pid); /* in the same turn of the loop */
	uv_run(&watch->loop, UV_RUN_DEFAULT);
	assert_int_equal(watch->lives.count, 0);
	assert_int_equal(descriptors(), before);
}

static void a_process_stays_watched_while_any_source_has_it(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);
	struct process *process = join(watch, SOURCE_KMD, pid);

	join(watch, SOURCE_TT_METAL, pid);
	model_leave(watch->model, source_of(watch->tellers, SOURCE_KMD), process);
	assert_int_equal(watch->lives.count, 1);
	leave_dead(pid);
	wait_count(watch, 0);
	assert_null(model_process_by_pid(watch->model, pid));
}

static void one_that_has_ended_and_is_not_waited_for_does_not_come_back(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);

	join(watch, SOURCE_TT_METAL, pid);
	leave_dead(pid);
	wait_count(watch, 0);
	for (int i = 0; i < 3; i++) {
		assert_null(join(watch, SOURCE_TT_METAL, pid));
		assert_null(join(watch, SOURCE_KMD, pid));
	}
	assert_int_equal(watch->model->departed.length, 1);
	assert_int_equal(g_tree_nnodes(watch->model->processes), 0);
}

static void one_that_is_gone_does_not_join(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);

	reap(watch, pid);
	assert_null(model_join(watch->model, source_of(watch->tellers, SOURCE_KMD), watch, pid, 0,
			       0, 1));
	assert_int_equal(g_tree_nnodes(watch->model->processes), 0);
	assert_int_equal(watch->lives.count, 0);
}

static void a_number_that_is_anothers_now_does_not_join(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);
	unsigned int before = descriptors();

	assert_null(model_join(watch->model, source_of(watch->tellers, SOURCE_KMD), watch, pid, 0,
			       0, 1));
	assert_int_equal(descriptors(), before);
	assert_non_null(join(watch, SOURCE_KMD, pid));
}

/* The ledger's process stays, though the other source cannot have it. */
static void what_cannot_be_watched_takes_nothing_away(void **state)
{
	struct watch *watch = *state;
	pid_t pid = child(watch);
	struct process *process = join(watch, SOURCE_NATIVE, pid);

	watch->lives.max = 0;
	assert_null(join(watch, SOURCE_TT_METAL, pid));
	assert_ptr_equal(model_process_by_pid(watch->model, pid), process);
	assert_null(process->joined[SOURCE_TT_METAL]);
	watch->lives.max = 1;
	assert_ptr_equal(join(watch, SOURCE_TT_METAL, pid), process);
}

static void watches_leave_descriptors_for_others(void **state)
{
	struct watch *watch = *state;
	struct rlimit limit, low;

	getrlimit(RLIMIT_NOFILE, &limit);
	low = (struct rlimit){80, limit.rlim_max};
	setrlimit(RLIMIT_NOFILE, &low);
	lives_init(&watch->lives, &watch->loop, watch->model);
	setrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(join(watch, SOURCE_KMD, child(watch)) != NULL, i < 10);
	assert_int_equal(watch->lives.count, 10);
	leave_dead(g_array_index(watch->children, pid_t, 3));
	wait_count(watch, 9);
	assert_non_null(join(watch, SOURCE_KMD, g_array_index(watch->children, pid_t, 11)));
}

static void many_that_end_at_once_are_all_gone(void **state)
{
	struct watch *watch = *state;

	for (int i = 0; i < 200; i++)
		assert_non_null(join(watch, i % 2 ? SOURCE_KMD : SOURCE_TT_METAL, child(watch)));
	for (guint i = 0; i < watch->children->len; i++)
		kill(g_array_index(watch->children, pid_t, i), SIGKILL);
	wait_count(watch, 0);
	assert_int_equal(g_tree_nnodes(watch->model->processes), 0);
	assert_int_equal(watch->model->departed.length, 100);
}

#define LIVES_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIVES_TEST(the_end_of_a_process_is_the_end_for_all_its_sources),
		LIVES_TEST(a_ledgers_process_is_not_watched_here),
		LIVES_TEST(a_process_that_leaves_is_watched_no_more),
		LIVES_TEST(a_process_stays_watched_while_any_source_has_it),
		LIVES_TEST(one_that_has_ended_and_is_not_waited_for_does_not_come_back),
		LIVES_TEST(one_that_is_gone_does_not_join),
		LIVES_TEST(a_number_that_is_anothers_now_does_not_join),
		LIVES_TEST(what_cannot_be_watched_takes_nothing_away),
		LIVES_TEST(watches_leave_descriptors_for_others),
		LIVES_TEST(many_that_end_at_once_are_all_gone),
	};

	return RUN(tests);
}
