/* SPDX-License-Identifier: Apache-2.0 */
/* Which device an identity means, who may change what is known of it, and how many there can be. */
#include "world.h"

#define USER_1 1001
#define USER_2 1002

static void hold(struct world *world, pid_t pid, uid_t uid, struct device *device, uint32_t index)
{
	world_hold(world, world_process(world, pid, uid), device, index);
}

static struct device *get(struct world *world, const struct identity identity, uid_t uid)
{
	return model_device_get(&world->model, &world->source, &identity, uid);
}

static void an_asic_is_one_device_whatever_its_index(void **state)
{
	struct device *device = world_device(*state, 0, 0xa, USER_1);

	assert_ptr_equal(world_device(*state, 3, 0xa, USER_2), device);
	assert_int_equal(device->number, 0);
}

static void the_pci_address_joins_where_an_asic_id_is_missing(void **state)
{
	struct device *device = get(*state, (struct identity){.pci = "0000:01:00.0"}, USER_1);
	struct identity named = {.index = 5, .pci = "0000:01:00.0", .asic_id = 0xa};
	struct identity other = {.index = 6, .pci = "0000:01:00.0"};

	assert_ptr_equal(get(*state, named, USER_1), device);
	assert_int_equal(device->identity.asic_id, 0xa);
	assert_ptr_equal(get(*state, other, USER_1), device);
}

static void the_asic_id_counts_for_more_than_the_pci_address(void **state)
{
	struct identity one = {.pci = "0000:01:00.0", .asic_id = 0xa};
	struct identity two = {.pci = "0000:01:00.0", .asic_id = 0xb};
	struct identity moved = {.pci = "0000:02:00.0", .asic_id = 0xa};
	struct device *device = get(*state, one, USER_1);

	assert_ptr_not_equal(get(*state, two, USER_1), device);
	assert_ptr_equal(get(*state, moved, USER_1), device);
	assert_string_equal(device->identity.pci, "0000:01:00.0");
}

static void the_index_joins_where_nothing_else_is_known(void **state)
{
	struct device *device = world_device(*state, 2, 0, USER_1);

	assert_int_equal(device->number, 2);
	assert_ptr_equal(world_device(*state, 2, 0, USER_2), device);
	assert_ptr_not_equal(world_device(*state, 1, 0, USER_2), device);
}

static void the_same_index_with_other_identities_is_two_devices(void **state)
{
	struct device *one = world_device(*state, 0, 0xa, USER_1);
	struct device *two = world_device(*state, 0, 0xb, USER_1);

	assert_ptr_not_equal(one, two);
	assert_int_equal(one->number, 0);
	assert_int_equal(two->number, 1);
	assert_int_not_equal(one->serial, two->serial);
}

static void a_process_that_knows_no_identity_joins_the_device_of_its_index(void **state)
{
	struct device *device = world_device(*state, 0, 0xa, USER_1);

	assert_ptr_equal(world_device(*state, 0, 0, USER_2), device);
}

static void a_device_learns_its_identity_later(void **state)
{
	struct device *device = world_device(*state, 0, 0, USER_1);
	struct identity named = {.asic_id = 0xa, .pci = "0000:01:00.0", .arch = "blackhole"};

	hold(*state, 1, USER_1, device, 0);
	assert_ptr_equal(get(*state, named, USER_1), device);
	assert_int_equal(device->identity.asic_id, 0xa);
	assert_string_equal(device->identity.arch, "blackhole");
	assert_ptr_equal(world_device(*state, 7, 0xa, USER_2), device);
	assert_ptr_not_equal(world_device(*state, 0, 0xb, USER_2), device);
}

static void what_is_known_of_a_device_stays_while_it_is_in_use(void **state)
{
	struct identity first = {.asic_id = 0xa,
				 .arch = "wormhole",
				 .board = "n300",
				 .dram_total_bytes = 12,
				 .l1_total_bytes = 3};
	struct identity second = {.asic_id = 0xa,
				  .pci = "0000:01:00.0",
				  .arch = "other",
				  .board = "other",
				  .dram_total_bytes = 99,
				  .l1_total_bytes = 99};
	struct device *device = get(*state, first, USER_1);

	hold(*state, 1, USER_1, device, 0);
	get(*state, second, USER_2);
	assert_string_equal(device->identity.arch, "wormhole");
	assert_string_equal(device->identity.board, "n300");
	assert_int_equal(device->identity.dram_total_bytes, 12);
	assert_int_equal(device->identity.l1_total_bytes, 3);
	assert_string_equal(device->identity.pci, "0000:01:00.0");
}

static void capacities_change_while_nobody_uses_the_device(void **state)
{
	struct identity first = {.asic_id = 0xa, .dram_total_bytes = 12};
	struct identity second = {.asic_id = 0xa, .dram_total_bytes = 24, .l1_total_bytes = 3};
	struct identity third = {.asic_id = 0xa};
	struct device *device = get(*state, first, USER_1);

	get(*state, second, USER_1);
	get(*state, third, USER_1);
	assert_int_equal(device->identity.dram_total_bytes, 24);
	assert_int_equal(device->identity.l1_total_bytes, 3);
}

static void nobody_makes_a_device_remote_that_another_uses(void **state)
{
	struct identity remote = {.asic_id = 0xa, .is_remote = true};
	struct device *device = world_device(*state, 0, 0xa, USER_1);

	hold(*state, 1, USER_1, device, 0);
	get(*state, remote, USER_2);
	assert_false(device->identity.is_remote);
}

static void a_device_that_is_in_use_can_still_be_named_as_remote(void **state)
{
	struct identity remote = {.asic_id = 0xa, .is_remote = true};
	struct device *device = world_device(*state, 0, 0, USER_1);

	hold(*state, 1, USER_1, device, 0);
	assert_ptr_equal(get(*state, remote, USER_1), device);
	assert_true(device->identity.is_remote);
}

/* Devices that nobody uses, one made after the other. */
static void make_devices(struct world *world, uid_t uid, uint64_t first_asic, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		world_now_ns++;
		assert_non_null(world_device(world, i % 64, first_asic + i, uid));
	}
}

static void make_used_devices(struct world *world, uid_t uid, uint64_t first_asic,
			      unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		hold(world, (pid_t)(first_asic + i), uid,
		     world_device(world, i % 64, first_asic + i, uid), i % 64);
}

static void a_user_makes_no_more_devices_than_his_share(void **state)
{
	struct world *world = *state;

	make_used_devices(world, USER_1, 1000, MODEL_MAX_DEVICES_PER_USER);
	assert_null(world_device(world, 0, 1, USER_1));
	assert_int_equal(world->model.refused_devices, 1);
	assert_non_null(world_device(world, 0, 1000, USER_1));
	assert_non_null(world_device(world, 0, 2, USER_2));
	assert_int_equal(g_tree_nnodes(world->model.devices), MODEL_MAX_DEVICES_PER_USER + 1);
}

static void the_oldest_device_that_nobody_uses_makes_room_for_its_maker(void **state)
{
	struct world *world = *state;
	uint64_t serials[3];

	make_devices(world, USER_2, 500, 1);
	make_devices(world, USER_1, 1000, MODEL_MAX_DEVICES_PER_USER);
	for (uint32_t i = 0; i < 3; i++)
		serials[i] = world_device(world, 0, 1000 + i, USER_1)->serial;
	hold(world, 1, USER_1, model_device(&world->model, serials[0]), 0);
	assert_non_null(world_device(world, 0, 1, USER_1));
	assert_non_null(model_device(&world->model, serials[0]));
	assert_null(model_device(&world->model, serials[1]));
	assert_non_null(model_device(&world->model, serials[2]));
	assert_non_null(world_device(world, 0, 500, USER_2));
	assert_int_equal(g_tree_nnodes(world->model.devices), MODEL_MAX_DEVICES_PER_USER + 1);
}

static void the_share_is_not_for_root_or_the_daemons_own_user(void **state)
{
	struct world *world = *state;

	make_used_devices(world, 0, 1000, MODEL_MAX_DEVICES / 2);
	make_used_devices(world, WORLD_OWNER, 2000, MODEL_MAX_DEVICES / 2);
	assert_null(world_device(world, 0, 1, 0));
	assert_int_equal(g_tree_nnodes(world->model.devices), MODEL_MAX_DEVICES);
}

static void devices_that_others_left_behind_keep_nobody_out(void **state)
{
	struct world *world = *state;
	struct device *device;

	for (uint32_t i = 0; i < MODEL_MAX_DEVICES / MODEL_MAX_DEVICES_PER_USER; i++)
		make_devices(world, USER_1 + i, 1000 * (i + 1), MODEL_MAX_DEVICES_PER_USER);
	device = world_device(world, 0, 1, 0);
	assert_non_null(device);
	assert_true(device->number < MODEL_MAX_DEVICES);
	assert_int_equal(g_tree_nnodes(world->model.devices), MODEL_MAX_DEVICES);
}

static void a_number_is_given_to_one_device_at_a_time(void **state)
{
	struct world *world = *state;
	bool seen[MODEL_MAX_DEVICES] = {false};

	make_devices(world, USER_1, 1000, 3 * MODEL_MAX_DEVICES_PER_USER);
	for (GTreeNode *node = g_tree_node_first(world->model.devices); node;
	     node = g_tree_node_next(node)) {
		const struct device *device = g_tree_node_value(node);

		assert_int_equal(device->number, GPOINTER_TO_UINT(g_tree_node_key(node)));
		assert_true(device->number < MODEL_MAX_DEVICES && !seen[device->number]);
		seen[device->number] = true;
		assert_ptr_equal(model_device(&world->model, device->serial), device);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_asic_is_one_device_whatever_its_index),
		TEST(the_pci_address_joins_where_an_asic_id_is_missing),
		TEST(the_asic_id_counts_for_more_than_the_pci_address),
		TEST(the_index_joins_where_nothing_else_is_known),
		TEST(the_same_index_with_other_identities_is_two_devices),
		TEST(a_process_that_knows_no_identity_joins_the_device_of_its_index),
		TEST(a_device_learns_its_identity_later),
		TEST(what_is_known_of_a_device_stays_while_it_is_in_use),
		TEST(capacities_change_while_nobody_uses_the_device),
		TEST(nobody_makes_a_device_remote_that_another_uses),
		TEST(a_device_that_is_in_use_can_still_be_named_as_remote),
		TEST(a_user_makes_no_more_devices_than_his_share),
		TEST(the_oldest_device_that_nobody_uses_makes_room_for_its_maker),
		TEST(the_share_is_not_for_root_or_the_daemons_own_user),
		TEST(devices_that_others_left_behind_keep_nobody_out),
		TEST(a_number_is_given_to_one_device_at_a_time),
	};

	return RUN(tests);
}
