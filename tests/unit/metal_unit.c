/* SPDX-License-Identifier: Apache-2.0 */
/* The source as a whole. */
#include "metal_forest.h"
#include <sys/resource.h>

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

static void for_want_of_a_descriptor_it_is_tried_again(void **state)
{
	struct forest *forest = *state;
	struct rlimit before, low;
	int next = dup(0);

	close(next);
	put_process(forest, 42, seconds_ago(10));
	put_one(forest->shm, ASIC, 42, 4096);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (int more = 0; more < 2; more++) { /* for the directory; not for the file, either */
		low = before;
		low.rlim_cur = (rlim_t)(next + more);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		look(forest);
		assert_int_equal(forest->metal.files->len, more);
	}
	assert_detail(forest, SOURCE_ERROR, "cannot be opened: Too many open files");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(used(forest, 42) == 4096);
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
		TEST(for_want_of_a_descriptor_it_is_tried_again),
		TEST(layout_1_is_a_device_of_the_driver_if_only_one_can_be_meant),
	};

	return RUN(tests);
}
