/* SPDX-License-Identifier: Apache-2.0 */
/* Who sees which directory, and whom the numbers in it mean. */
#include "metal_forest.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(numbers_in_a_container_are_its_own),
		TEST(a_directory_stays_as_long_as_it_is_read),
		TEST(a_process_may_see_another_directory_than_before),
		TEST(others_in_a_container_are_asked_for_and_found),
		TEST(a_number_chosen_in_a_namespace_takes_nothing_from_ours),
		TEST(whom_a_number_means_is_looked_at_again_when_more_is_known),
	};

	return RUN(tests);
}
