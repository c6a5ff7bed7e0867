/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's devices and who has them open, from a tree of made-up files and the real /proc. The
 * clock stands still but for what the tests add; the thread that looks is a real one.
 */
#ifndef TESTS_UNIT_KMD_STAGE_H
#define TESTS_UNIT_KMD_STAGE_H

#include "driver_forest.h"
#include "kmd.h"
#include <signal.h>
#include <sys/wait.h>

#define CHILDREN 4

struct stage {
	struct driver_forest forest;
	struct model model;
	struct kmd kmd;
	pid_t children[CHILDREN]; /* 0: none */
	unsigned int opened, closed;
	pid_t last_closed;
	bool begun, hangs;
};

static uint64_t now_ns = 1700000000123456789u;

static inline uint64_t clock_now(void)
{
	return now_ns;
}

static inline void on_opened(struct process *process, void *data)
{
	assert_non_null(process->joined[SOURCE_KMD]);
	((struct stage *)data)->opened++;
}

static inline void on_closed(pid_t pid, void *data)
{
	((struct stage *)data)->closed++;
	((struct stage *)data)->last_closed = pid;
}

static inline int setup(void **state)
{
	struct stage *stage = g_new0(struct stage, 1);

	driver_forest_init(&stage->forest);
	model_init(&stage->model);
	stage->model.now_ns = clock_now;
	*state = stage;
	return 0;
}

static inline void begin(struct stage *stage)
{
	kmd_init(&stage->kmd, &stage->model, stage->forest.sysfs, stage->forest.procfs);
	stage->kmd.opened = on_opened;
	stage->kmd.closed = on_closed;
	stage->kmd.hook_data = stage;
	stage->begun = true;
}

static inline void child_end(struct stage *stage, int n)
{
	kill(stage->children[n], SIGKILL);
	assert_int_equal(waitpid(stage->children[n], NULL, 0), stage->children[n]);
	stage->children[n] = 0;
}

static inline int teardown(void **state)
{
	struct stage *stage = *state;

	if (stage->begun)
		assert_int_equal(kmd_fini(&stage->kmd), !stage->hangs);
	if (stage->begun && !stage->hangs)
		assert_int_equal(g_tree_nnodes(stage->model.processes), 0);
	for (int n = 0; n < CHILDREN; n++)
		if (stage->children[n])
			child_end(stage, n);
	model_fini(&stage->model);
	driver_forest_fini(&stage->forest);
	g_free(stage);
	return 0;
}

/* A process that only waits. */
static inline pid_t child(struct stage *stage, int n)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			pause();
	stage->children[n] = pid;
	return pid;
}

/* A look that sees all that is there now: the one before may have been under way. */
static inline void look(struct stage *stage)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	uint64_t round = stage->kmd.round;

	while (stage->kmd.round < round + 2 && g_get_monotonic_time() < deadline) {
		now_ns += KMD_AGAIN_NS;
		model_sync(&stage->model, NULL);
		g_usleep(100);
	}
	assert_true(stage->kmd.round >= round + 2);
}

G_GNUC_PRINTF(3, 4)
static inline void opens(struct stage *stage, uint32_t number, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	driver_forest_pids(&stage->forest, number, text);
	g_free(text);
}

static inline struct device *numbered(struct stage *stage, uint32_t number)
{
	struct device *device = model_device_numbered(&stage->model, number);

	return device && device_is_shown(device) ? device : NULL;
}

static inline struct process *process(struct stage *stage, pid_t pid)
{
	return model_process_by_pid(&stage->model, pid);
}

#define KMD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
