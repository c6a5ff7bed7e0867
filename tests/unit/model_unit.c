/* SPDX-License-Identifier: Apache-2.0 */
/* Processes, what they hold of devices, and the sums of both. */
#include "world.h"

static struct amount amount_of(struct device *device, int kind)
{
	struct amount amounts[KIND_COUNT];

	device_read(device, 1u << kind, amounts);
	return amounts[kind];
}

/* A process that calls the device `index` and holds this much of its DRAM. */
static struct process *holder(struct world *world, pid_t pid, struct device *device, uint32_t index,
			      uint64_t bytes)
{
	struct process *process = world_process(world, pid, 1000);

	world_hold(world, process, device, index);
	world_set(process, index, TTMEM_DRAM, bytes, 1);
	return process;
}

static void a_process_is_found_by_pid_and_by_serial(void **state)
{
	struct world *world = *state;
	struct process *process = world_process(world, 42, 1000);

	assert_ptr_equal(model_process_by_pid(&world->model, 42), process);
	assert_ptr_equal(model_process(&world->model, process->serial), process);
	assert_null(model_device(&world->model, process->serial));
	assert_int_equal(process->seen_ns, WORLD_NOW);
	world_leave(world, process);
	assert_null(model_process_by_pid(&world->model, 42));
	assert_int_equal(g_tree_nnodes(world->model.processes), 0);
}

static void a_reused_pid_replaces_the_one_that_had_it(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	uint64_t first = holder(world, 42, device, 0, 100)->serial;
	struct process *second = world_process(world, 42, 1001);

	assert_null(model_process(&world->model, first));
	assert_int_not_equal(second->serial, first);
	assert_ptr_equal(model_process_by_pid(&world->model, 42), second);
	assert_int_equal(second->holdings->len, 0);
	assert_int_equal(device_used(device, TTMEM_DRAM), 0);
	assert_int_equal(g_tree_nnodes(device->holdings), 0);
}

static void sums_are_over_processes_and_over_devices(void **state)
{
	struct world *world = *state;
	struct device *one = world_device(world, 0, 0xa, 1000);
	struct device *two = world_device(world, 1, 0xb, 1000);
	struct process *first = holder(world, 1, one, 0, 100);
	struct process *second = holder(world, 2, one, 5, 10);

	world_hold(world, first, two, 1);
	world_set(first, 1, TTMEM_DRAM, 1000, 1);
	world_set(first, 1, TTMEM_L1, 7, 1);
	assert_int_equal(device_used(one, TTMEM_DRAM), 110);
	assert_int_equal(device_used(two, TTMEM_DRAM), 1000);
	assert_int_equal(device_used(two, TTMEM_L1), 7);
	assert_int_equal(process_used(first, TTMEM_DRAM), 1100);
	assert_int_equal(process_used(second, TTMEM_DRAM), 10);
}

static void two_indices_of_one_device_count_both(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 0, 100);

	world_hold(world, process, device, 9);
	world_set(process, 9, TTMEM_DRAM, 1000, 1);
	assert_int_equal(process->holdings->len, 1);
	assert_int_equal(device->users->len, 1);
	assert_int_equal(device_used(device, TTMEM_DRAM), 1100);
	assert_int_equal(process_used(process, TTMEM_DRAM), 1100);
}

static void an_index_means_one_device_at_a_time(void **state)
{
	struct world *world = *state;
	struct device *one = world_device(world, 0, 0xa, 1000);
	struct device *two = world_device(world, 1, 0xb, 1000);
	struct process *process = holder(world, 1, one, 3, 100);

	world_hold(world, process, one, 4);
	world_hold(world, process, two, 3);
	assert_int_equal(device_used(one, TTMEM_DRAM), 0);
	assert_int_equal(device_used(two, TTMEM_DRAM), 100);
	assert_non_null(process_holding(process, one)); /* by index 4 */
	world_hold(world, process, two, 4);
	assert_null(process_holding(process, one));
	assert_int_equal(g_tree_nnodes(one->holdings), 0);
	assert_int_equal(one->users->len, 0);
	assert_int_equal(process_used(process, TTMEM_DRAM), 100);
}

static void a_holding_that_comes_back_has_another_number(void **state)
{
	struct world *world = *state;
	struct device *one = world_device(world, 0, 0xa, 1000);
	struct device *two = world_device(world, 1, 0xb, 1000);
	struct process *process = holder(world, 1, one, 7, 100);
	uint32_t stays = process_holding(process, one)->number, last = stays;

	for (int i = 0; i < 2 * MODEL_MAX_HOLDING; i++) {
		const struct holding *holding;

		world_hold(world, process, two, 3);
		holding = process_holding(process, two);
		assert_in_range(holding->number, 1, MODEL_MAX_HOLDING);
		assert_int_not_equal(holding->number, last);
		assert_int_not_equal(holding->number, stays);
		assert_ptr_equal(process_holding_numbered(process, holding->number), holding);
		last = holding->number;
		model_let_go(&world->model, &world->source, process_holding(process, two));
		assert_null(process_holding_numbered(process, last));
	}
}

static void the_highest_index_is_an_index(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 63, 0, 1000);
	struct process *process = holder(world, 1, device, 63, 100);

	assert_int_equal(process_holding(process, device)->slots, 1ull << 63);
	assert_int_equal(process_used(process, TTMEM_DRAM), 100);
}

static void holdings_are_in_the_order_of_device_numbers(void **state)
{
	struct world *world = *state;
	struct process *process = world_process(world, 1, 1000);
	static const uint32_t order[] = {5, 0, 9, 3, 1};

	for (size_t i = 0; i < G_N_ELEMENTS(order); i++)
		world_hold(world, process, world_device(world, order[i], 0, 1000), order[i]);
	for (guint i = 1; i < process->holdings->len; i++) {
		const struct holding *before = process->holdings->pdata[i - 1];
		const struct holding *after = process->holdings->pdata[i];

		assert_true(before->device->number < after->device->number);
	}
}

static void what_a_process_had_allocated_stays_in_the_counters(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 0, 100);

	fake_of(process)->amounts[0][TTMEM_DRAM] = (struct amount){
		.used_bytes = 100,
		.used_buffers = 1,
		.allocated_bytes = 500,
		.allocated_buffers = 5,
		.failures = 3,
	};
	world_leave(world, process);
	process = holder(world, 2, device, 0, 1);
	assert_int_equal(amount_of(device, TTMEM_DRAM).used_bytes, 1);
	assert_int_equal(amount_of(device, TTMEM_DRAM).used_buffers, 1);
	assert_int_equal(amount_of(device, TTMEM_DRAM).allocated_bytes, 501);
	assert_int_equal(amount_of(device, TTMEM_DRAM).allocated_buffers, 6);
	assert_int_equal(amount_of(device, TTMEM_DRAM).failures, 3);
}

static void the_peak_includes_what_was_there_when_a_process_left(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *first = holder(world, 1, device, 0, 100);

	holder(world, 2, device, 0, 1000);
	world_leave(world, first);
	assert_int_equal(device_used(device, TTMEM_DRAM), 1000);
	assert_int_equal(device->peak_bytes[TTMEM_DRAM], 1100);
}

/* As many as a user may have, of whom each makes a read take long. */
static void many_that_end_at_once_do_not_take_the_square_of_their_number(void **state)
{
	const uint64_t processes = 256, devices = 32;
	struct world *world = *state;

	for (uint32_t index = 0; index < devices; index++)
		world_device(world, index, 0, 1000);
	for (uint32_t i = 0; i < processes * devices; i++) {
		pid_t pid = (pid_t)(1 + i / devices);
		struct process *process = model_process_by_pid(&world->model, pid);

		world_hold(world, process ? process : world_process(world, pid, 1000),
			   model_device_numbered(&world->model, i % devices), i % devices);
	}
	world->holdings_read = 0;
	world->read_takes_ns = 20000;
	for (pid_t pid = 1; pid <= (pid_t)processes; pid++)
		world_leave(world, model_process_by_pid(&world->model, pid));
	assert_true(world->holdings_read < 2 * processes * devices);
}

static void a_peak_goes_up_with_reads_and_starts_again_at_what_is_in_use(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 0, 100);

	assert_int_equal(device_used(device, TTMEM_DRAM), 100);
	world_set(process, 0, TTMEM_DRAM, 60, 1);
	assert_int_equal(device_used(device, TTMEM_DRAM), 60);
	assert_int_equal(device->peak_bytes[TTMEM_DRAM], 100);
	device_peak_reset(device, (enum kind)TTMEM_DRAM);
	assert_int_equal(device->peak_bytes[TTMEM_DRAM], 60);
	assert_int_equal(device->peak_bytes[TTMEM_L1], 0);
}

static void a_peak_is_never_below_what_is_in_use(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 0, 100);
	const struct holding *holding = process_holding(process, device);

	fake_of(process)->peaks[TTMEM_DRAM] = 90;
	fake_of(process)->peaks[TTMEM_L1] = 90;
	fake_of(process)->holding_peaks[0][TTMEM_DRAM] = 110;
	assert_int_equal(process_peak(&world->model, process, (enum kind)TTMEM_DRAM, 100), 100);
	assert_int_equal(process_peak(&world->model, process, (enum kind)TTMEM_DRAM, 80), 100);
	assert_int_equal(process_peak(&world->model, process, (enum kind)TTMEM_L1, 80), 90);
	assert_int_equal(holding_peak(holding, (enum kind)TTMEM_DRAM, 100), 110);
	assert_int_equal(holding_peak(holding, (enum kind)TTMEM_DRAM, 120), 120);
}

static void sums_stay_at_their_limit(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);

	for (pid_t pid = 1; pid <= 3; pid++)
		memset(fake_of(holder(world, pid, device, 0, 0))->amounts, 0xff,
		       sizeof((struct fake *)0)->amounts);
	assert_true(amount_of(device, TTMEM_L1).used_bytes == UINT64_MAX);
	assert_true(amount_of(device, TTMEM_L1).failures == UINT64_MAX);
	world_leave(world, model_process_by_pid(&world->model, 1));
	world_leave(world, model_process_by_pid(&world->model, 2));
	assert_true(amount_of(device, TTMEM_L1).allocated_bytes == UINT64_MAX);
	assert_true(device->peak_bytes[TTMEM_L1] == UINT64_MAX);
}

static void only_the_kinds_that_are_asked_for_are_touched(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 0, 100);
	struct amount amounts[KIND_COUNT];

	for (int kind = 0; kind < KIND_COUNT; kind++)
		amounts[kind].used_bytes = 12345;
	process_read(process, 1u << TTMEM_DRAM | 1u << TTMEM_CB, amounts);
	assert_int_equal(amounts[TTMEM_DRAM].used_bytes, 100);
	assert_int_equal(amounts[TTMEM_CB].used_bytes, 0);
	assert_int_equal(amounts[TTMEM_L1].used_bytes, 12345);
}

static void holdings_of_one_source_are_read_in_one_call(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);

	for (pid_t pid = 1; pid <= 100; pid++)
		holder(world, pid, device, 0, (uint64_t)pid);
	world->reads = 0;
	assert_int_equal(device_used(device, TTMEM_DRAM), 5050);
	assert_int_equal(world->reads, 1);
}

/* Whatever comes and goes, both ways to sum give the same, and the lists agree. */
static void assert_consistent(const struct model *model)
{
	uint64_t by_process = 0, by_device = 0, holdings = 0, users = 0;

	for (GTreeNode *node = g_tree_node_first(model->processes); node;
	     node = g_tree_node_next(node)) {
		const struct process *process = g_tree_node_value(node);

		by_process += process_used(process, TTMEM_DRAM);
		holdings += process->holdings->len;
	}
	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node)) {
		struct device *device = g_tree_node_value(node);

		by_device += device_used(device, TTMEM_DRAM);
		users += device->users->len;
		assert_int_equal(device->users->len, g_tree_nnodes(device->holdings));
		for (guint i = 0; i < device->users->len; i++) {
			const struct holding *holding = device->users->pdata[i];

			assert_int_equal(holding->place, i);
			assert_int_not_equal(holding->slots, 0);
			assert_ptr_equal(process_holding(holding->process, device), holding);
		}
	}
	assert_int_equal(by_process, by_device);
	assert_int_equal(holdings, users);
}

static void both_ways_to_sum_agree_after_any_changes(void **state)
{
	struct world *world = *state;
	uint64_t seed = 88172645463325252ull;

	for (int i = 0; i < 3000; i++) {
		pid_t pid = (pid_t)(1 + unit_random(&seed) % 20);
		uint32_t index = (uint32_t)(unit_random(&seed) % 64);
		struct process *process = model_process_by_pid(&world->model, pid);
		struct device *device =
			world_device(world, index, unit_random(&seed) % 12, (uid_t)1000);

		if (process && unit_random(&seed) % 16 == 0)
			world_leave(world, process);
		else if (!process || unit_random(&seed) % 32 == 0)
			holder(world, pid, device, index, unit_random(&seed) % 1000);
		else
			world_hold(world, process, device, index);
		if (i % 50 == 0)
			assert_consistent(&world->model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_process_is_found_by_pid_and_by_serial),
		TEST(a_reused_pid_replaces_the_one_that_had_it),
		TEST(sums_are_over_processes_and_over_devices),
		TEST(two_indices_of_one_device_count_both),
		TEST(an_index_means_one_device_at_a_time),
		TEST(a_holding_that_comes_back_has_another_number),
		TEST(the_highest_index_is_an_index),
		TEST(holdings_are_in_the_order_of_device_numbers),
		TEST(what_a_process_had_allocated_stays_in_the_counters),
		TEST(the_peak_includes_what_was_there_when_a_process_left),
		TEST(many_that_end_at_once_do_not_take_the_square_of_their_number),
		TEST(a_peak_goes_up_with_reads_and_starts_again_at_what_is_in_use),
		TEST(a_peak_is_never_below_what_is_in_use),
		TEST(sums_stay_at_their_limit),
		TEST(only_the_kinds_that_are_asked_for_are_touched),
		TEST(holdings_of_one_source_are_read_in_one_call),
		TEST(both_ways_to_sum_agree_after_any_changes),
	};

	return RUN(tests);
}
