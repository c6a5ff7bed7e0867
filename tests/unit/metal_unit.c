/* SPDX-License-Identifier: Apache-2.0 */
/* The source as a whole, on real files in directories of the test's and a /proc of its own. */
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

static uint64_t clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In ticks since boot. */
static uint64_t seconds_ago(unsigned int seconds)
{
	uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);

	return (clock_now(CLOCK_BOOTTIME) - seconds * 1000000000ull) / tick_ns;
}

static void begin(struct forest *forest)
{
	const char *dirs[] = {forest->shm, NULL};

	model_init(&forest->model);
	forest->model.proc = forest->proc;
	metal_init(&forest->metal, &forest->model, dirs);
}

static void end(struct forest *forest)
{
	metal_fini(&forest->metal);
	assert_int_equal(g_tree_nnodes(forest->model.processes), 0);
	model_fini(&forest->model);
}

static int setup(void **state)
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

static int teardown(void **state)
{
	struct forest *forest = *state;

	end(forest);
	unit_rmdir(forest->root);
	g_free(forest->proc);
	g_free(forest->shm);
	g_free(forest);
	return 0;
}

static void write_file(char *path, const void *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	g_free(path);
}

static void put_process(const struct forest *forest, pid_t pid, uint64_t start_ticks)
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
static void put_region(const char *dir, uint64_t id, const struct region_bytes *bytes)
{
	write_file(g_strdup_printf("%s/tt_device_%" PRIu64 "_memory", dir, id), bytes->at,
		   bytes->size);
}

/* One process has something now. */
static void put_one(const char *dir, uint64_t id, pid_t pid, uint64_t dram)
{
	struct region_bytes bytes;

	region_bytes_init(&bytes, 4);
	put_slot(&bytes, 0, pid, clock_now(CLOCK_REALTIME), "one");
	put_slot_bytes(&bytes, 0, 0, dram);
	put_total(&bytes, 0, dram);
	put_region(dir, id, &bytes);
}

static void look(struct forest *forest)
{
	model_sync(&forest->model, NULL);
}

static void metal_sync_only(struct forest *forest)
{
	forest->metal.source.ops->sync(&forest->metal.source, NULL);
}

/* When what is only looked for now and then is due. */
static void look_later(struct forest *forest)
{
	forest->metal.looked_ns = 0;
	for (guint i = 0; i < forest->metal.dirs->len; i++)
		((struct metal_dir *)forest->metal.dirs->pdata[i])->asked_ns = 0;
	look(forest);
}

static struct amount held(struct forest *forest, pid_t pid)
{
	struct process *process = model_process_by_pid(&forest->model, pid);
	struct amount amounts[KIND_COUNT] = {0};

	if (process)
		process_read(process, KINDS_ALL, amounts);
	return amounts[TTMEM_DRAM];
}

static uint64_t used(struct forest *forest, pid_t pid)
{
	look(forest);
	return held(forest, pid).used_bytes;
}

static void assert_detail(const struct forest *forest, enum source_state state, const char *part)
{
	const struct source *source = &forest->metal.source;

	assert_int_equal(source->state, state);
	if (!strstr(source->detail, part) || (!*part && *source->detail))
		fail_msg("%s", source->detail);
}

static void a_living_process_has_what_its_slot_says(void **state)
{
	struct forest *forest = *state;
	struct process *process;

	put_process(forest, 42, seconds_ago(10));
	put_one(forest->shm, ASIC, 42, 4096);
	assert_true(used(forest, 42) == 4096);
	process = model_process_by_pid(&forest->model, 42);
	assert_int_equal(process->uid, 7);
	assert_int_equal(process->gid, 8);
	assert_int_equal(process->holdings->len, 1);
	assert_detail(forest, SOURCE_UP, "");
	model_end(&forest->model, process);
	assert_true(used(forest, 42) == 0);
}

static void after_its_end_a_slot_is_nobodys_until_it_changes(void **state)
{
	struct forest *forest = *state;

	put_process(forest, 42, seconds_ago(10));
	put_one(forest->shm, ASIC, 42, 4096);
	look(forest);
	model_end(&forest->model, model_process_by_pid(&forest->model, 42));
	look(forest);
	assert_null(model_process_by_pid(&forest->model, 42));
	put_process(forest, 42, seconds_ago(0)); /* another of this number */
	look(forest);
	assert_null(model_process_by_pid(&forest->model, 42));
	put_one(forest->shm, ASIC, 42, 8192);
	assert_true(used(forest, 42) == 8192);
}

static void a_stamp_counts_if_the_process_was_there(void **state)
{
	static const int64_t offsets[] = {-3600, -11, 0, 5};
	struct forest *forest = *state;

	put_process(forest, 42, seconds_ago(10));
	for (int monotonic = 0; monotonic < 2; monotonic++)
		for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++) {
			uint64_t now = clock_now(monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME);
			int64_t offset = offsets[i] * 1000000000;
			struct region_bytes bytes;

			if (monotonic && (int64_t)now + offset <= 0)
				continue;
			region_bytes_init(&bytes, 2);
			put_slot(&bytes, 0, 42, now + (uint64_t)offset, "x");
			put_slot_bytes(&bytes, 0, 0, 4096);
			put_region(forest->shm, ASIC + i, &bytes);
			assert_true(used(forest, 42) == (offset >= 0 ? 4096 : 0));
			region_bytes_init(&bytes, 2);
			put_region(forest->shm, ASIC + i, &bytes);
			look(forest);
		}
}

static void stamps_near_zero_and_far_off_are_no_faults(void **state)
{
	static const uint64_t stamps[] = {0, 1, 100, 1000, UINT64_MAX, 1ull << 63};
	struct forest *forest = *state;

	put_process(forest, 42, seconds_ago(1));
	for (int round = 0; round < 1000; round++) {
		uint64_t stamp = stamps[(size_t)round % G_N_ELEMENTS(stamps)];
		struct region_bytes bytes;

		region_bytes_init(&bytes, 1);
		put_slot(&bytes, 0, 42, stamp, "x");
		put_slot_bytes(&bytes, 0, 0, 4096);
		put_region(forest->shm, ASIC, &bytes);
		assert_true(used(forest, 42) == (stamp > 1000 ? 4096 : 0));
		region_bytes_init(&bytes, 1);
		put_region(forest->shm, ASIC, &bytes);
		look(forest);
	}
}

static void threads_of_the_kernel_hold_nothing(void **state)
{
	struct forest *forest = *state;
	const char *stat = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0\n";

	put_process(forest, 2, 1);
	write_file(g_build_filename(forest->proc, "2/stat", NULL), stat, strlen(stat));
	put_one(forest->shm, ASIC, 2, 4096);
	assert_true(used(forest, 2) == 0);
}

static void what_was_allocated_never_shrinks(void **state)
{
	static const uint64_t sizes[] = {100, 40, 90, 10, 60};
	uint64_t allocated = 0, before = 0;
	struct forest *forest = *state;

	put_process(forest, 42, seconds_ago(10));
	put_one(forest->shm, ASIC, 42, 5); /* stays as it is */
	look(forest);
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
		put_one(forest->shm, ASIC + 1, 42, sizes[i]);
		look(forest);
		allocated += sizes[i] > before ? sizes[i] - before : 0;
		before = sizes[i];
		assert_true(held(forest, 42).allocated_bytes == 5 + allocated);
		assert_true(held(forest, 42).used_bytes == 5 + sizes[i]);
	}
}

/* In two directories, so that it is one device. */
static void what_goes_from_one_region_of_several_can_come_again(void **state)
{
	struct forest *forest = *state;
	char *more = g_build_filename(forest->root, "more", NULL);
	struct region_bytes nobody;

	mkdir(more, 0700);
	metal_dir_new(&forest->metal, more, -1);
	put_process(forest, 42, seconds_ago(10));
	region_bytes_init(&nobody, 4);
	put_one(forest->shm, ASIC, 42, 1000);
	put_one(more, ASIC, 42, 500);
	assert_true(used(forest, 42) == 1500);
	put_region(more, ASIC, &nobody);
	assert_true(used(forest, 42) == 1000);
	put_one(more, ASIC, 42, 300);
	assert_true(used(forest, 42) == 1300);
	assert_true(held(forest, 42).allocated_bytes == 1800);
	assert_int_equal(model_process_by_pid(&forest->model, 42)->holdings->len, 1);
	g_free(more);
}

static void a_directory_replaced_before_the_first_look_is_found(void **state)
{
	struct forest *forest = *state;
	char *old = g_build_filename(forest->root, "old", NULL);

	put_process(forest, 42, seconds_ago(10));
	assert_int_equal(rename(forest->shm, old), 0);
	assert_int_equal(mkdir(forest->shm, 0700), 0);
	put_one(forest->shm, ASIC, 42, 4096);
	assert_true(used(forest, 42) == 4096);
	g_free(old);
}

static void without_inotify_directories_are_listed(void **state)
{
	struct forest *forest = *state;

	close(forest->metal.inotify);
	forest->metal.inotify = -1;
	((struct metal_dir *)forest->metal.dirs->pdata[0])->watch = -1;
	put_process(forest, 42, seconds_ago(10));
	for (uint64_t asic = ASIC; asic < ASIC + 5; asic++)
		put_one(forest->shm, asic, 42, 10);
	look_later(forest);
	assert_true(used(forest, 42) == 50);
	unit_rmdir(g_strdup_printf("%s/tt_device_%u_memory", forest->shm, ASIC));
	look_later(forest);
	assert_int_equal(forest->metal.files->len, 5); /* it is mapped still */
	model_end(&forest->model, model_process_by_pid(&forest->model, 42));
	look_later(forest);
	assert_int_equal(forest->metal.files->len, 4);
}

static void more_than_may_be_read_is_told_and_read_when_there_is_room(void **state)
{
	struct forest *forest = *state;
	struct region_bytes bytes;

	region_bytes_init(&bytes, 4);
	for (uint64_t id = 1; id <= METAL_MAX_FILES + 3; id++)
		put_region(forest->shm, id, &bytes);
	look(forest);
	assert_int_equal(forest->metal.files->len, METAL_MAX_FILES);
	assert_int_equal(forest->metal.source.state, SOURCE_ERROR);
	for (uint64_t id = 1; id <= METAL_MAX_FILES; id++) {
		char *path = g_strdup_printf("%s/tt_device_%" PRIu64 "_memory", forest->shm, id);

		unlink(path);
		g_free(path);
	}
	look(forest);
	look(forest);
	assert_true(forest->metal.files->len >= 1 && forest->metal.files->len <= 3);
	assert_detail(forest, SOURCE_UP, "");
}

/* Layout 1 names a board; `id` is its serial number and the place on it. */
static struct device *device_of_board(struct forest *forest, uint64_t id)
{
	struct region_bytes bytes;

	region_bytes_init(&bytes, 1);
	put_slot(&bytes, 0, 42, clock_now(CLOCK_REALTIME), "x");
	put_region(forest->shm, id, &bytes);
	look(forest);
	for (guint i = 0; i < forest->metal.files->len; i++) {
		struct metal_file *file = forest->metal.files->pdata[i];

		if (file->id == id)
			return file->device;
	}
	return NULL;
}

static void layout_1_is_a_device_of_the_driver_if_only_one_can_be_meant(void **state)
{
	static struct source driver = {.name = "kmd", .rank = SOURCE_KMD};
	struct identity one = {.asic_id = 1, .serial = "ff00000000000011"};
	struct identity two = {.index = 1, .asic_id = 2, .serial = "0000000000000022"};
	struct identity twin = {.index = 2, .asic_id = 3, .serial = "0000000000000022"};
	struct forest *forest = *state;
	struct model *model = &forest->model;
	struct device *device;

	device = model_device_of_driver(model, &driver, &one);
	model_device_of_driver(model, &driver, &two);
	model_device_of_driver(model, &driver, &twin);
	assert_ptr_equal(device_of_board(forest, 0x11ull << 8), device);
	assert_int_equal(device_of_board(forest, 0x22ull << 8)->number, 3);
	assert_int_equal(device_of_board(forest, 0x11ull << 8 | 1)->number, 4);
	assert_int_equal(device_of_board(forest, 0x33ull << 8)->number, 5);
}

/* --- containers ------------------------------------------------------------------------------ */

static void on_want(uint64_t dir_serial, const GArray *namespaces, void *data)
{
	struct forest *forest = data;

	(void)dir_serial;
	assert_int_equal(namespaces->len, 1);
	assert_int_equal(g_array_index(namespaces, ino_t, 0), 77);
	forest->asked++;
}

/* Process 1000 is number 1 in a container with a directory of its own. */
static char *add_container(struct forest *forest)
{
	char *dir = g_build_filename(forest->root, "container", NULL);
	struct metal_sight sight = {
		.pid = 1000, .inner = 1, .namespace_ino = 77, .is_elsewhere = true};

	mkdir(dir, 0700);
	put_process(forest, 1, 1);
	put_process(forest, 1000, seconds_ago(10));
	sight.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	metal_member_add(&forest->metal, &sight);
	forest->metal.want_namespace = on_want;
	forest->metal.want_data = forest;
	return dir;
}

static void numbers_in_a_container_are_its_own(void **state)
{
	struct forest *forest = *state;
	char *dir = add_container(forest);

	put_one(dir, ASIC, 1, 4096);
	assert_true(used(forest, 1000) == 4096);
	assert_true(used(forest, 1) == 0);
	put_one(dir, ASIC, 1000, 4096);
	assert_true(used(forest, 1000) == 0);
	put_one(forest->shm, ASIC + 1, 1, 10);
	assert_true(used(forest, 1) == 10);
	metal_member_remove(&forest->metal, 1000);
	assert_int_equal(forest->metal.dirs->len, 1);
	g_free(dir);
}

static void on_end(struct source *source, struct process *process)
{
	struct forest *forest = process->joined[source->rank];

	model_leave(&forest->model, source, process);
	metal_member_remove(&forest->metal, 1000);
}

/* The end of the last that sees a directory may become known while its regions are being read: its
 * number is another's. */
static void a_directory_stays_as_long_as_it_is_read(void **state)
{
	static const struct source_ops ops = {.ended = on_end};
	static struct source driver = {.name = "kmd", .rank = SOURCE_KMD, .ops = &ops};
	struct forest *forest = *state;
	char *dir = add_container(forest);

	model_add_source(&forest->model, &driver);
	model_join(&forest->model, &driver, forest, 1000, 0, 0, seconds_ago(10));
	put_process(forest, 1000, seconds_ago(5));
	put_one(dir, ASIC, 1, 4096);
	metal_sync_only(forest);
	assert_int_equal(forest->metal.dirs->len, 1);
	assert_int_equal(forest->metal.files->len, 0);
	assert_true(held(forest, 1000).used_bytes == 0);
	g_free(dir);
}

static void a_process_may_see_another_directory_than_before(void **state)
{
	struct forest *forest = *state;
	char *dir = add_container(forest), *other = g_build_filename(forest->root, "other", NULL);
	struct metal_sight sight = {
		.pid = 1000, .inner = 1, .namespace_ino = 77, .is_elsewhere = true};

	put_one(dir, ASIC, 1, 4096);
	assert_true(used(forest, 1000) == 4096);
	mkdir(other, 0700);
	put_one(other, ASIC, 1, 10);
	sight.dirfd = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	metal_member_add(&forest->metal, &sight);
	assert_true(used(forest, 1000) == 10);
	assert_int_equal(forest->metal.dirs->len, 2);
	sight.dirfd = -1;
	metal_member_add(&forest->metal, &sight);
	assert_true(used(forest, 1000) == 0);
	assert_int_equal(forest->metal.dirs->len, 1);
	g_free(other);
	g_free(dir);
}

static void others_in_a_container_are_asked_for_and_found(void **state)
{
	struct metal_number number = {.inner = 7, .pid = 2000};
	struct forest *forest = *state;
	char *dir = add_container(forest);
	struct metal_dir *place = forest->metal.dirs->pdata[1];
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof number);

	number.start_ticks = seconds_ago(5);
	put_process(forest, 2000, number.start_ticks);
	put_one(dir, ASIC, 7, 4096);
	look_later(forest);
	look_later(forest);
	look_later(forest);
	assert_int_equal(forest->asked, 1);
	g_array_append_val(numbers, number);
	metal_dir_set_namespace(&forest->metal, place->serial, numbers);
	assert_true(used(forest, 2000) == 4096);
	model_end(&forest->model, model_process_by_pid(&forest->model, 2000));
	put_process(forest, 2000, seconds_ago(1)); /* one of ours by now */
	put_one(dir, ASIC, 7, 5000);
	assert_true(used(forest, 2000) == 0);
	look_later(forest);
	assert_int_equal(forest->asked, 2);
	metal_dir_set_namespace(&forest->metal, UINT64_MAX,
				g_array_new(FALSE, FALSE, sizeof number));
	g_free(dir);
}

static void whom_a_number_means_is_looked_at_again_when_more_is_known(void **state)
{
	struct metal_sight sight = {.pid = 1000, .inner = 1, .namespace_ino = 77};
	struct forest *forest = *state;

	put_process(forest, 1, 1);
	put_process(forest, 1000, seconds_ago(10));
	put_one(forest->shm, ASIC, 1, 4096);
	assert_true(used(forest, 1) == 4096);
	sight.dirfd = open(forest->shm, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	metal_member_add(&forest->metal, &sight);
	assert_true(used(forest, 1000) == 4096);
	assert_true(used(forest, 1) == 0);
	assert_int_equal(forest->metal.dirs->len, 1);
}

/* Whoever makes a pid namespace can have any number in it. */
static void a_number_chosen_in_a_namespace_takes_nothing_from_ours(void **state)
{
	struct metal_sight thief = {.pid = 1000, .inner = 42, .namespace_ino = 77};
	struct metal_sight ours = {.pid = 42, .inner = 42, .namespace_ino = 1};
	struct forest *forest = *state;

	put_process(forest, 42, seconds_ago(10));
	put_process(forest, 1000, seconds_ago(10));
	for (int round = 0; round < 2; round++) {
		struct metal_sight *first = round ? &ours : &thief;
		struct metal_sight *second = round ? &thief : &ours;

		first->dirfd = open(forest->shm, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		second->dirfd = open(forest->shm, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		metal_member_add(&forest->metal, first);
		metal_member_add(&forest->metal, second);
		put_one(forest->shm, ASIC, 42, 4096);
		assert_true(used(forest, 42) == 4096);
		assert_true(used(forest, 1000) == 0);
		metal_member_remove(&forest->metal, 42);
		metal_member_remove(&forest->metal, 1000);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_living_process_has_what_its_slot_says),
		TEST(after_its_end_a_slot_is_nobodys_until_it_changes),
		TEST(a_stamp_counts_if_the_process_was_there),
		TEST(stamps_near_zero_and_far_off_are_no_faults),
		TEST(threads_of_the_kernel_hold_nothing),
		TEST(what_was_allocated_never_shrinks),
		TEST(what_goes_from_one_region_of_several_can_come_again),
		TEST(a_directory_replaced_before_the_first_look_is_found),
		TEST(without_inotify_directories_are_listed),
		TEST(more_than_may_be_read_is_told_and_read_when_there_is_room),
		TEST(layout_1_is_a_device_of_the_driver_if_only_one_can_be_meant),
		TEST(numbers_in_a_container_are_its_own),
		TEST(a_directory_stays_as_long_as_it_is_read),
		TEST(a_process_may_see_another_directory_than_before),
		TEST(others_in_a_container_are_asked_for_and_found),
		TEST(a_number_chosen_in_a_namespace_takes_nothing_from_ours),
		TEST(whom_a_number_means_is_looked_at_again_when_more_is_known),
	};

	return RUN(tests);
}
