/* SPDX-License-Identifier: Apache-2.0 */
/* Which names there are, which there are not, and what they are allowed to be used for. */
#include "forest.h"

static void odd_names_are_not_found(void **state)
{
	static const char *const names[] = {
		"",
		".",
		"..",
		"/",
		"007",
		"+7",
		"-1",
		"1 ",
		" 1",
		"1x",
		"0x1",
		"00",
		"0",
		"99999999999999999999",
		"4294967297",
		"-4294967295",
		"1\n",
		"device",
		"device00",
		"device-1",
		"device+1",
		"device01",
		"device 1",
		"device1x",
		"device18446744073709551616",
		"DEVICE0",
		"deviceN",
		"pids ",
		"self/",
		"Self",
		"dram_used ",
		"%s%n%s",
		"\xff",
	};
	static const char *const dirs[] = {"by-asic", "by-pci",       "pids",          "device0",
					   "pids/1",  "device0/pids", "pids/1/device0"};
	struct world *world = *state;
	const struct model *model = &world->model;
	struct spot dir = spot_at(model, TREE_ROOT_INO);
	char long_name[5000];

	populate(world);
	memset(long_name, '1', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		assert_int_equal(tree_lookup(model, &dir, names[i]), 0);
	assert_int_equal(tree_lookup(model, &dir, long_name), 0);
	for (size_t d = 0; d < G_N_ELEMENTS(dirs); d++) {
		dir = spot_at(model, look(model, dirs[d]));
		for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
			assert_int_equal(tree_lookup(model, &dir, names[i]), 0);
		assert_int_equal(tree_lookup(model, &dir, long_name), 0);
	}
}

static void what_is_not_known_of_a_device_has_no_file(void **state)
{
	static const char *const names[] = {"arch",      "board",    "asic_id",
					    "pci",       "remote",   "dram_total",
					    "dram_free", "l1_total", "dram_largest_free"};
	struct world *world = *state;
	char path[64];

	populate(world);
	fake_of(model_process_by_pid(&world->model, 1))->failures[0][TTMEM_DRAM] =
		(struct failure){.time_ns = 5, .largest_free_bytes = 77};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		snprintf(path, sizeof path, "device0/%s", names[i]);
		assert_int_not_equal(look(&world->model, path), 0);
		snprintf(path, sizeof path, "device40/%s", names[i]);
		assert_int_equal(look(&world->model, path), 0);
	}
	assert_int_not_equal(look(&world->model, "device40/dram_used"), 0);
}

static void modes_say_who_may_do_what(void **state)
{
	static const struct {
		const char *path;
		mode_t mode;
	} files[] = {
		{"status", S_IFREG | 0444},
		{"device0", S_IFDIR | 0555},
		{"device0/dram_peak", S_IFREG | 0644},
		{"device0/dram_used", S_IFREG | 0444},
		{"pids/1/buffers", S_IFREG | 0400},
		{"pids/1/stat", S_IFREG | 0444},
		{"pids/self", S_IFLNK | 0777},
		{"device0/pids/1", S_IFLNK | 0777},
	};
	struct world *world = *state;

	populate(world);
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		struct spot spot = spot_at(&world->model, look(&world->model, files[i].path));

		assert_int_equal(tree_mode(&world->model, &spot), files[i].mode);
	}
}

static void only_names_that_can_mean_something_else_are_volatile(void **state)
{
	static const char *const lasting[] = {"status",       "pids",         "device0",
					      "device0/pids", "device0/stat", "pids/1/dram"};
	static const char *const others[] = {"pids/1", "pids/self", "pids/1/device0",
					     "device0/pids/1", "by-asic/00000000000000a0"};
	struct world *world = *state;
	struct spot spot;

	populate(world);
	for (size_t i = 0; i < G_N_ELEMENTS(lasting); i++) {
		spot = spot_at(&world->model, look(&world->model, lasting[i]));
		assert_false(tree_is_volatile(&spot));
	}
	for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
		spot = spot_at(&world->model, look(&world->model, others[i]));
		assert_true(tree_is_volatile(&spot));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(odd_names_are_not_found),
		TEST(what_is_not_known_of_a_device_has_no_file),
		TEST(modes_say_who_may_do_what),
		TEST(only_names_that_can_mean_something_else_are_volatile),
	};

	return RUN(tests);
}
