/* SPDX-License-Identifier: Apache-2.0 */
/* Listings from any place while processes come and go, and links. */
#include "forest.h"
#include <errno.h>
#include <sys/stat.h>

static GArray *list_at(const struct model *model, const char *path, uint64_t offset, guint room)
{
	struct spot dir = spot_at(model, *path ? look(model, path) : TREE_ROOT_INO);

	return list(model, &dir, offset, room);
}

static const char *name_at(const GArray *names, guint i)
{
	return g_array_index(names, struct name, i).text;
}

static void a_listing_goes_on_from_each_of_its_offsets(void **state)
{
	static const char *const dirs[] = {"",        "pids",   "by-asic",      "by-pci",
					   "device0", "pids/6", "device0/pids", "pids/6/device1"};
	struct world *world = *state;

	populate(world);
	for (size_t d = 0; d < G_N_ELEMENTS(dirs); d++) {
		GArray *all = list_at(&world->model, dirs[d], 0, UINT_MAX);

		assert_true(all->len > 2);
		for (guint i = 0; i < all->len; i++) {
			uint64_t next = g_array_index(all, struct name, i).next;
			GArray *rest = list_at(&world->model, dirs[d], next, UINT_MAX);

			assert_int_equal(rest->len, all->len - i - 1);
			for (guint k = 0; k < rest->len; k++)
				assert_string_equal(name_at(rest, k), name_at(all, i + 1 + k));
			g_array_free(rest, TRUE);
		}
		g_array_free(all, TRUE);
	}
}

static void any_offset_at_all_is_harmless(void **state)
{
	static const uint64_t offsets[] = {
		3,          1000,      1ull << 31, (1ull << 32) - 1, 1ull << 32, (1ull << 32) + 1,
		1ull << 33, INT64_MAX, UINT64_MAX};
	struct world *world = *state;

	populate(world);
	for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++)
		g_array_free(list_at(&world->model, "pids", offsets[i], UINT_MAX), TRUE);
}

/* Processes with even pids stay, the others come and go between any two pages. */
static void change_odd_ones(struct world *world, uint64_t *seed)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = (pid_t)(unit_random(seed) % 100 * 2 + 1);
		struct process *process = model_process_by_pid(&world->model, pid);

		if (process)
			world_leave(world, process);
		else
			world_hold(world, world_process(world, pid, 1000),
				   world_device(world, 0, 0, 1000), 0);
	}
}

static void list_while_they_change(struct world *world, const char *path, guint room,
				   uint64_t *seed)
{
	unsigned int seen[201] = {0};
	uint64_t offset = 0;
	guint got;

	do {
		GArray *page = list_at(&world->model, path, offset, room);

		got = page->len;
		for (guint i = 0; i < got; i++) {
			unsigned long pid = strtoul(name_at(page, i), NULL, 10);

			assert_true(pid <= 200);
			seen[pid]++;
			offset = g_array_index(page, struct name, i).next;
		}
		g_array_free(page, TRUE);
		change_odd_ones(world, seed);
	} while (got);
	for (unsigned int pid = 1; pid <= 200; pid++)
		assert_true(pid % 2 ? seen[pid] <= 1 : seen[pid] == 1);
}

static void who_stays_is_listed_once_while_others_come_and_go(void **state)
{
	struct world *world = *state;
	uint64_t seed = 88172645463325252ull;

	for (pid_t pid = 2; pid <= 200; pid += 2)
		world_hold(world, world_process(world, pid, 1000), world_device(world, 0, 0, 1000),
			   0);
	for (guint room = 1; room < 40; room++) {
		list_while_they_change(world, "pids", room, &seed);
		list_while_they_change(world, "device0/pids", room, &seed);
	}
}

/* Two chips may say the same PCI address, and only one of them is found by it. */
static void no_name_is_listed_twice(void **state)
{
	struct world *world = *state;
	struct identity identity = {.pci = "0000:01:00.0"};
	GArray *names;

	for (uint64_t asic = 1; asic <= 3; asic++) {
		identity.asic_id = asic;
		model_device_get(&world->model, &world->source, &identity, 1000);
	}
	names = list_at(&world->model, "by-pci", 0, UINT_MAX);
	assert_int_equal(names->len, 3);
	assert_string_equal(name_at(names, 2), "0000:01:00.0");
	g_array_free(names, TRUE);
	names = list_at(&world->model, "by-asic", 0, UINT_MAX);
	assert_int_equal(names->len, 5);
	g_array_free(names, TRUE);
}

static void assert_link(struct world *world, const char *path, pid_t tid, int error,
			const char *want)
{
	struct reader reader = {.tid = tid};
	struct spot spot = spot_at(&world->model, look(&world->model, path));
	char target[64];

	assert_true(spot.is_link);
	assert_int_equal(tree_link(&world->model, &spot, &reader, target, sizeof target), error);
	if (!error)
		assert_string_equal(target, want);
}

static void links_lead_to_what_they_name(void **state)
{
	struct world *world = *state;

	populate(world);
	assert_link(world, "by-asic/00000000000000a2", 0, 0, "../device2");
	assert_link(world, "by-pci/0000:03:00.0", 0, 0, "../device3");
	assert_link(world, "device4/pids/6", 0, 0, "../../pids/6");
}

static void self_is_the_process_of_the_thread_that_reads(void **state)
{
	struct world *world = *state;
	char *root = unit_mkdir(), *dir = g_build_filename(root, "78", NULL);
	char *file = g_build_filename(dir, "status", NULL);

	world->model.proc = root;
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_link(world, "pids/self", 78, -ENOENT, NULL);
	assert_true(g_file_set_contents(file, "Name:\tx\nTgid:\t77\nPid:\t78\n", -1, NULL));
	assert_link(world, "pids/self", 78, 0, "77");
	assert_link(world, "pids/self", 0, -ENOENT, NULL); /* a pid namespace we do not see */
	assert_link(world, "pids/self", -1, -ENOENT, NULL);
	assert_link(world, "pids/self", 79, -ENOENT, NULL);
	assert_true(g_file_set_contents(file, "nonsense\n", -1, NULL));
	assert_link(world, "pids/self", 78, -ENOENT, NULL);
	g_free(file);
	g_free(dir);
	unit_rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_listing_goes_on_from_each_of_its_offsets),
		TEST(any_offset_at_all_is_harmless),
		TEST(who_stays_is_listed_once_while_others_come_and_go),
		TEST(no_name_is_listed_twice),
		TEST(links_lead_to_what_they_name),
		TEST(self_is_the_process_of_the_thread_that_reads),
	};

	return RUN(tests);
}
