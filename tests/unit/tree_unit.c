/* SPDX-License-Identifier: Apache-2.0 */
/* Names and inode numbers: each number stands for one thing for ever, and listings agree with
 * lookups while processes come and go. */
#include "forest.h"
#include <errno.h>

typedef void visit_fn(const struct model *model, const struct spot *dir, const struct name *name,
		      void *data);

static void walk(const struct model *model, uint64_t ino, visit_fn *visit, void *data)
{
	struct spot dir = spot_at(model, ino);
	GArray *names = list(model, &dir, 0, UINT_MAX);

	assert_string_equal(g_array_index(names, struct name, 0).text, ".");
	assert_string_equal(g_array_index(names, struct name, 1).text, "..");
	for (guint i = 2; i < names->len; i++) {
		const struct name *name = &g_array_index(names, struct name, i);

		visit(model, &dir, name, data);
		if (name->type == S_IFDIR)
			walk(model, name->ino, visit, data);
	}
	g_array_free(names, TRUE);
}

static void visit_round_trip(const struct model *model, const struct spot *dir,
			     const struct name *name, void *data)
{
	struct spot spot = spot_at(model, name->ino);

	assert_int_equal(tree_lookup(model, dir, name->text), name->ino);
	assert_int_equal(tree_mode(model, &spot) & S_IFMT, name->type);
	assert_int_equal(!spot.entry, name->type != S_IFREG);
	++*(unsigned int *)data;
}

static void every_listed_name_is_found_and_is_what_the_listing_says(void **state)
{
	struct world *world = *state;
	unsigned int count = 0;

	populate(world);
	walk(&world->model, TREE_ROOT_INO, visit_round_trip, &count);
	assert_true(count > 400);
}

static void visit_unique(const struct model *model, const struct spot *dir, const struct name *name,
			 void *data)
{
	(void)model, (void)dir;
	assert_true(g_hash_table_add(data, g_memdup2(&name->ino, sizeof name->ino)));
}

static GHashTable *numbers_below(const struct model *model, uint64_t ino)
{
	GHashTable *numbers = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

	g_hash_table_add(numbers, g_memdup2(&ino, sizeof ino));
	walk(model, ino, visit_unique, numbers);
	return numbers;
}

static void every_inode_number_stands_for_one_thing(void **state)
{
	struct world *world = *state;
	GHashTable *numbers;

	populate(world);
	numbers = numbers_below(&world->model, TREE_ROOT_INO);
	assert_true(g_hash_table_size(numbers) > 400);
	g_hash_table_destroy(numbers);
}

static void assert_ended(const struct model *model, GHashTable *numbers)
{
	GHashTableIter at;
	gpointer ino;
	struct spot spot;

	g_hash_table_iter_init(&at, numbers);
	while (g_hash_table_iter_next(&at, &ino, NULL))
		assert_int_equal(tree_resolve(model, *(uint64_t *)ino, &spot), -ENOENT);
}

static void numbers_of_a_process_that_ended_stand_for_nothing_ever(void **state)
{
	struct world *world = *state;
	struct model *model = &world->model;
	GHashTable *numbers;
	uint64_t link;

	populate(world);
	link = look(model, "device2/pids/3");
	numbers = numbers_below(model, look(model, "pids/3"));
	g_hash_table_add(numbers, g_memdup2(&link, sizeof link));
	world_leave(world, model_process_by_pid(model, 3));
	assert_ended(model, numbers);
	for (int i = 0; i < 20; i++)
		populate(world); /* the same pids, again and again */
	assert_int_not_equal(look(model, "pids/3"), 0);
	assert_ended(model, numbers);
	g_hash_table_destroy(numbers);
}

static void numbers_of_a_device_that_made_room_stand_for_nothing_ever(void **state)
{
	struct world *world = *state;
	struct model *model = &world->model;
	GHashTable *numbers;

	world_device(world, 0, 0xa, 1000);
	numbers = numbers_below(model, look(model, "device0"));
	for (uint64_t i = 0; i < 2 * MODEL_MAX_DEVICES; i++) {
		world_now_ns++;
		world_device(world, 0, 0x1000 + i, 1000);
	}
	assert_int_not_equal(look(model, "device0"), 0);
	assert_ended(model, numbers);
	g_hash_table_destroy(numbers);
}

static void a_device_that_a_process_leaves_goes_from_its_directory(void **state)
{
	struct world *world = *state;
	struct model *model = &world->model;
	uint64_t directory, file, link;
	struct spot spot;

	populate(world);
	directory = look(model, "pids/1/device0");
	file = look(model, "pids/1/device0/dram");
	link = look(model, "device0/pids/1");
	world_hold(world, model_process_by_pid(model, 1), world_device(world, 0, 0xff, 1000), 0);
	assert_int_equal(look(model, "pids/1/device0"), 0);
	assert_int_equal(look(model, "device0/pids/1"), 0);
	assert_int_equal(tree_resolve(model, directory, &spot), -ENOENT);
	assert_int_equal(tree_resolve(model, file, &spot), -ENOENT);
	assert_int_equal(tree_resolve(model, link, &spot), -ENOENT);
}

static void numbers_that_nobody_was_given_stand_for_nothing(void **state)
{
	struct world *world = *state;
	struct spot spot;

	populate(world);
	assert_int_equal(tree_resolve(&world->model, 0, &spot), -ENOENT);
	assert_int_equal(tree_resolve(&world->model, 15, &spot), -ENOENT);
	assert_int_equal(tree_resolve(&world->model, 0xfff, &spot), -ENOENT);
	assert_int_equal(tree_resolve(&world->model, UINT64_MAX, &spot), -ENOENT);
	assert_int_equal(tree_resolve(&world->model, look(&world->model, "pids/1") | 0xfff, &spot),
			 -ENOENT);
	assert_int_equal(
		tree_resolve(&world->model, look(&world->model, "pids/1") | 0xfff000, &spot),
		-ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_listed_name_is_found_and_is_what_the_listing_says),
		TEST(every_inode_number_stands_for_one_thing),
		TEST(numbers_of_a_process_that_ended_stand_for_nothing_ever),
		TEST(numbers_of_a_device_that_made_room_stand_for_nothing_ever),
		TEST(a_device_that_a_process_leaves_goes_from_its_directory),
		TEST(numbers_that_nobody_was_given_stand_for_nothing),
	};

	return RUN(tests);
}
