/* SPDX-License-Identifier: Apache-2.0 */
/* TT-Metal's source on real files in directories of the test's, and a /proc of its own. */
#ifndef TESTS_UNIT_METAL_FOREST_H
#define TESTS_UNIT_METAL_FOREST_H

#include "metal.h"
#include "region_bytes.h"
#include "unit.h"
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#define ASIC 0xa51cu

struct forest {
	char *root, *proc, *shm;
	struct model model;
	struct metal metal;
	unsigned int asked; /* how often somebody was to look into pid namespaces */
};

static inline uint64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In ticks since boot. */
static inline uint64_t seconds_ago(unsigned int seconds)
{
	uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);

	return (clock_now(CLOCK_BOOTTIME) - seconds * 1000000000ull) / tick_ns;
}

static inline void begin(struct forest *forest)
{
	const char *dirs[] = {forest->shm, NULL};

	model_init(&forest->model);
	forest->model.proc = forest->proc;
	metal_init(&forest->metal, &forest->model, dirs);
}

static inline void end(struct forest *forest)
{
	metal_fini(&forest->metal);
	assert_int_equal(g_tree_nnodes(forest->model.processes), 0);
	model_fini(&forest->model);
}

static inline int setup(void **state)
{
	struct forest *forest = g_new0(struct forest, 1);

	forest->root = unit_mkdir();
	forest->proc = g_build_filename(forest->root, "proc", NULL);
	forest->shm = g_build_filename(forest->root, "shm", NULL);
	mkdir(forest->proc, 0700);
	mkdir(forest->shm, 0700);
	begin(forest);
	*state = forest;
	return 0;
}

static inline int teardown(void **state)
{
	struct forest *forest = *state;

	end(forest);
	unit_rmdir(forest->root);
	g_free(forest->proc);
	g_free(forest->shm);
	g_free(forest);
	return 0;
}

static inline void write_file(char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	g_free(path);
}

static inline void put_process(const struct forest *forest, pid_t pid, uint64_t start_ticks)
{
	char *dir = g_strdup_printf("%s/%d", forest->proc, (int)pid);
	char *stat =
		g_strdup_printf("%d (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 %" PRIu64 " 0 0\n",
				(int)pid, start_ticks);
	char *status = g_strdup_printf("Name:\tx\nTgid:\t%d\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\n",
				       (int)pid);

	mkdir(dir, 0700);
	write_file(g_build_filename(dir, "stat", NULL), stat, strlen(stat));
	write_file(g_build_filename(dir, "status", NULL), status, strlen(status));
	g_free(status);
	g_free(stat);
	g_free(dir);
}

/* As a writer does it: the file stays the same one. */
static inline void put_region(const char *dir, uint64_t id, const struct region_bytes *bytes)
{
	write_file(g_strdup_printf("%s/tt_device_%" PRIu64 "_memory", dir, id), bytes->at,
		   bytes->size);
}

/* One process has something now. */
static inline void put_one(const char *dir, uint64_t id, pid_t pid, uint64_t dram)
{
	struct region_bytes bytes;

	region_bytes_init(&bytes, 4);
	put_slot(&bytes, 0, pid, clock_now(CLOCK_REALTIME), "one");
	put_slot_bytes(&bytes, 0, 0, dram);
	put_total(&bytes, 0, dram);
	put_region(dir, id, &bytes);
}

static inline void look(struct forest *forest)
{
	model_sync(&forest->model, NULL);
}

static inline void metal_sync_only(struct forest *forest)
{
	forest->metal.source.ops->sync(&forest->metal.source, NULL);
}

/* When what is only looked for now and then is due. */
static inline void look_later(struct forest *forest)
{
	forest->metal.looked_ns = 0;
	for (guint i = 0; i < forest->metal.dirs->len; i++)
		((struct metal_dir *)forest->metal.dirs->pdata[i])->asked_ns = 0;
	look(forest);
}

static inline struct amount held(struct forest *forest, pid_t pid)
{
	struct process *process = model_process_by_pid(&forest->model, pid);
	struct amount amounts[KIND_COUNT] = {0};

	if (process)
		process_read(process, KINDS_ALL, amounts);
	return amounts[TTMEM_DRAM];
}

static inline uint64_t used(struct forest *forest, pid_t pid)
{
	look(forest);
	return held(forest, pid).used_bytes;
}

static inline void assert_detail(const struct forest *forest, enum source_state state,
				 const char *part)
{
	const struct source *source = &forest->metal.source;

	assert_int_equal(source->state, state);
	if (!strstr(source->detail, part) || (!*part && *source->detail))
		fail_msg("%s", source->detail);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
