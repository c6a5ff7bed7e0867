/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of the files of devices and processes, to the byte. The tables are in table_unit.c. */
#include "text.h"

static struct device *named_device(struct world *world)
{
	const struct identity identity = {.index = 2,
					  .asic_id = 0x1a2b3c,
					  .pci = "0000:01:00.0",
					  .arch = "wormhole_b0",
					  .board = "n300",
					  .is_remote = true,
					  .dram_total_bytes = 1000,
					  .l1_total_bytes = 300};

	return model_device_get(&world->model, &world->source, &identity, 1000);
}

static struct process *holder(struct world *world, pid_t pid, struct device *device, uint32_t index)
{
	struct process *process = world_process(world, pid, 1000);

	world_hold(world, process, device, index);
	return process;
}

static void version_is_that_of_the_daemon(void **state)
{
	assert_text(*state, render_version, NOTHING, TTMEM_VERSION "\n");
}

static void status_has_what_the_daemon_counts(void **state)
{
	struct world *world = *state;

	world_now_ns = WORLD_NOW + 61005999999;
	world->model.refused_devices = 11;
	holder(world, 1, world_device(world, 0, 0xa, 1000), 0);
	world_device(world, 1, 0xb, 1000);
	assert_text(world, render_status, NOTHING,
		    "uptime_sec 61.005\n"
		    "devices 2\n"
		    "processes 1\n"
		    "clients 3\n"
		    "silent_connections 5\n"
		    "rejected_clients 4\n"
		    "rejected_devices 11\n"
		    "alloc_server_connections 12\n"
		    "alloc_server_messages 13\n"
		    "alloc_server_garbage_bytes 14\n"
		    "alloc_server_lost_events 15\n"
		    "alloc_server_lost_answers 16\n"
		    "alloc_server_rejected 17\n"
		    "doorbells 18\n"
		    "notifications 19\n"
		    "untold_changes 20\n"
		    "followed_files 21\n"
		    "open_files 7\n"
		    "nodes 8\n"
		    "text_bytes 9\n"
		    "requests 6\n"
		    "requests_awaited 0\n"
		    "requests_awaited_in_vain 0\n");
}

static void uptime_is_never_negative(void **state)
{
	char *text;

	world_now_ns = WORLD_NOW - 1000000000u; /* the clock was set back */
	text = world_text(*state, render_status, NOTHING, NULL);
	assert_true(g_str_has_prefix(text, "uptime_sec 0.000\n"));
	g_free(text);
}

static void what_is_known_of_a_device_is_a_line_each(void **state)
{
	struct device *device = named_device(*state);

	assert_text(*state, render_device_arch, OF_DEVICE(device, 0), "wormhole_b0\n");
	assert_text(*state, render_device_board, OF_DEVICE(device, 0), "n300\n");
	assert_text(*state, render_device_pci, OF_DEVICE(device, 0), "0000:01:00.0\n");
	assert_text(*state, render_device_asic_id, OF_DEVICE(device, 0), "00000000001a2b3c\n");
	assert_text(*state, render_device_remote, OF_DEVICE(device, 0), "1\n");
	assert_text(*state, render_device_total, OF_DEVICE(device, TTMEM_DRAM), "1000\n");
	assert_text(*state, render_device_total, OF_DEVICE(device, TTMEM_L1), "300\n");
}

static void used_free_and_peak_are_one_number_each(void **state)
{
	struct device *device = named_device(*state);
	struct process *process = holder(*state, 1, device, 0);

	world_set(process, 0, TTMEM_DRAM, 400, 1);
	assert_text(*state, render_device_used, OF_DEVICE(device, TTMEM_DRAM), "400\n");
	assert_text(*state, render_device_free, OF_DEVICE(device, TTMEM_DRAM), "600\n");
	world_set(process, 0, TTMEM_DRAM, 1200, 1);
	assert_text(*state, render_device_free, OF_DEVICE(device, TTMEM_DRAM), "0\n");
	world_set(process, 0, TTMEM_DRAM, 0, 0);
	assert_text(*state, render_device_used, OF_DEVICE(device, TTMEM_DRAM), "0\n");
	assert_text(*state, render_device_peak, OF_DEVICE(device, TTMEM_DRAM), "1200\n");
}

static void a_number_may_be_the_largest_there_is(void **state)
{
	struct device *device = named_device(*state);

	world_set(holder(*state, 1, device, 0), 0, TTMEM_CB, UINT64_MAX, 1);
	assert_text(*state, render_device_used, OF_DEVICE(device, TTMEM_CB),
		    "18446744073709551615\n");
}

static void a_peak_is_fresh_without_another_read(void **state)
{
	struct device *device = named_device(*state);

	world_set(holder(*state, 1, device, 0), 0, TTMEM_CB, 77, 1);
	assert_text(*state, render_device_peak, OF_DEVICE(device, TTMEM_CB), "77\n");
}

static void stat_of_a_device_adds_up(void **state)
{
	struct device *device = named_device(*state);
	struct process *process = holder(*state, 1, device, 0);

	for (int kind = 0; kind < KIND_COUNT; kind++)
		world_set(process, 0, kind, 100u << kind, 1u + (unsigned int)kind);
	fake_of(process)->amounts[0][TTMEM_L1].failures = 9;
	holder(*state, 2, device, 5);
	assert_text(
		*state, render_device_stat, OF_DEVICE(device, 0),
		"processes 2\n"
		"used 12700\n"
		"buffers 28\n"
		"dram_used 100\ndram_buffers 1\ndram_peak 100\ndram_total 1000\ndram_free 900\n"
		"dram_unattributed 0\ndram_allocated_total 100\ndram_failures_total 0\n"
		"l1_used 200\nl1_buffers 2\nl1_peak 200\nl1_total 300\nl1_free 100\n"
		"l1_unattributed 0\nl1_allocated_total 200\nl1_failures_total 9\n"
		"system_used 400\nsystem_buffers 3\nsystem_peak 400\n"
		"system_unattributed 0\nsystem_allocated_total 400\nsystem_failures_total 0\n"
		"l1_small_used 800\nl1_small_buffers 4\nl1_small_peak 800\n"
		"l1_small_unattributed 0\nl1_small_allocated_total 800\nl1_small_failures_total 0\n"
		"trace_used 1600\ntrace_buffers 5\ntrace_peak 1600\n"
		"trace_unattributed 0\ntrace_allocated_total 1600\ntrace_failures_total 0\n"
		"cb_used 3200\ncb_buffers 6\ncb_peak 3200\n"
		"cb_unattributed 0\ncb_allocated_total 3200\ncb_failures_total 0\n"
		"kernel_used 6400\nkernel_buffers 7\nkernel_peak 6400\n"
		"kernel_unattributed 0\nkernel_allocated_total 6400\nkernel_failures_total 0\n");
}

static void values_of_a_process_are_sums_over_devices(void **state)
{
	struct world *world = *state;
	struct device *one = named_device(world), *two = world_device(world, 7, 0xb, 1000);
	struct process *process = holder(world, 1, one, 0);
	struct subject on_two = {.device = two, .process = process, .kind = TTMEM_DRAM};

	world_hold(world, process, two, 1);
	world_set(process, 0, TTMEM_DRAM, 100, 1);
	world_set(process, 1, TTMEM_DRAM, 11, 1);
	world_set(process, 1, TTMEM_L1, 3, 1);
	assert_text(world, render_process_used, OF_PROCESS(process, TTMEM_DRAM), "111\n");
	assert_text(world, render_process_used, OF_PROCESS(process, TTMEM_CB), "0\n");
	assert_text(world, render_process_total, OF_PROCESS(process, 0), "114\n");
	assert_text(world, render_holding_used, on_two, "11\n");
}

static void a_device_that_a_process_has_left_shows_nothing_of_it(void **state)
{
	struct world *world = *state;
	struct process *process = holder(world, 1, named_device(world), 0);
	struct subject subject = {.device = world_device(world, 7, 0xb, 1000), .process = process};

	assert_text(world, render_holding_used, subject, "0\n");
}

static void who_a_process_is_comes_in_plain_text(void **state)
{
	struct process *process = world_process(*state, 1, 4294967294u);

	process->start_ns = 1700000000123456789u;
	memcpy(process->comm, "pt main \n\x1b[31m\xff", 16);
	assert_text(*state, render_process_uid, OF_PROCESS(process, 0), "4294967294\n");
	assert_text(*state, render_process_start_time, OF_PROCESS(process, 0), "1700000000.123\n");
	assert_text(*state, render_process_comm, OF_PROCESS(process, 0), "pt main ??[31m?\n");
	process->start_ns = 1000000;
	assert_text(*state, render_process_start_time, OF_PROCESS(process, 0), "0.001\n");
}

static void the_name_of_a_process_is_read_again(void **state)
{
	struct world *world = *state;
	char *root = unit_mkdir(), *dir = g_build_filename(root, "7", NULL);
	char *file = g_build_filename(dir, "comm", NULL);
	struct process *process = world_process(world, 7, 1000);

	world->model.proc = root;
	strcpy(process->comm, "before");
	assert_text(world, render_process_comm, OF_PROCESS(process, 0), "before\n");
	assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
	assert_true(g_file_set_contents(file, "after\n", -1, NULL));
	assert_text(world, render_process_comm, OF_PROCESS(process, 0), "after\n");
	g_free(file);
	g_free(dir);
	unit_rmdir(root);
}

static void peaks_of_a_process_are_a_line_for_each_kind(void **state)
{
	struct process *process = holder(*state, 1, named_device(*state), 0);

	world_set(process, 0, TTMEM_DRAM, 100, 1);
	fake_of(process)->peaks[TTMEM_DRAM] =
		90; /* the library lags behind: see ttmem_get_totals() */
	fake_of(process)->peaks[TTMEM_L1] = 5;
	assert_text(*state, render_process_peak, OF_PROCESS(process, 0),
		    "dram 100\nl1 5\nsystem 0\nl1_small 0\ntrace 0\ncb 0\nkernel 0\n");
}

static void stat_of_a_process_with_no_device_has_its_errors(void **state)
{
	struct process *process = world_process(*state, 1, 1000);

	fake_of(process)->errors = (struct recording_errors){1, 2, 3, 4, 5, 6};
	assert_text(*state, render_process_stat, OF_PROCESS(process, 0),
		    "devices 0\ntotal 0\nbuffers 0\n"
		    "unknown_frees 1\nsize_mismatches 2\nbad_arguments 3\n"
		    "reentered 4\nuntracked 5\nunlisted 6\n");
}

static void stat_of_a_process_adds_up(void **state)
{
	struct world *world = *state;
	struct process *process = holder(world, 1, named_device(world), 3);
	uint64_t sums[2] = {0}, total = 0, buffers = 0;
	char *text, **lines;

	world_hold(world, process, world_device(world, 7, 0xb, 1000), 1);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		world_set(process, 3, kind, 10u + (unsigned int)kind, 2);
		world_set(process, 1, kind, 1000u << kind, 1);
	}
	fake_of(process)->holding_peaks[3][TTMEM_DRAM] = 50;
	text = world_text(world, render_process_stat, OF_PROCESS(process, 0), NULL);
	assert_non_null(strstr(text, "devices 2\n"));
	assert_non_null(strstr(text, "device2_dram_used 10\ndevice2_dram_buffers 2\n"
				     "device2_dram_peak 50\ndevice2_l1_used 11\n"));
	assert_non_null(strstr(text, "device7_kernel_peak 64000\nunknown_frees 0\n"));
	lines = g_strsplit(text, "\n", -1);
	assert_int_equal(g_strv_length(lines), 3 + 2 * KIND_COUNT * 3 + 6 + 1);
	for (char **line = lines; *line; line++) {
		char *space = strchr(*line, ' ');
		uint64_t number = space ? g_ascii_strtoull(space, NULL, 10) : 0;

		if (g_str_has_prefix(*line, "total "))
			total = number;
		else if (g_str_has_prefix(*line, "buffers "))
			buffers = number;
		else if (strstr(*line, "_used "))
			sums[0] += number;
		else if (strstr(*line, "_buffers "))
			sums[1] += number;
	}
	assert_int_equal(total, sums[0]);
	assert_int_equal(buffers, sums[1]);
	assert_int_equal(buffers, 3 * KIND_COUNT);
	g_strfreev(lines);
	g_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(version_is_that_of_the_daemon),
		TEST(status_has_what_the_daemon_counts),
		TEST(uptime_is_never_negative),
		TEST(what_is_known_of_a_device_is_a_line_each),
		TEST(used_free_and_peak_are_one_number_each),
		TEST(a_number_may_be_the_largest_there_is),
		TEST(a_peak_is_fresh_without_another_read),
		TEST(stat_of_a_device_adds_up),
		TEST(values_of_a_process_are_sums_over_devices),
		TEST(a_device_that_a_process_has_left_shows_nothing_of_it),
		TEST(who_a_process_is_comes_in_plain_text),
		TEST(the_name_of_a_process_is_read_again),
		TEST(peaks_of_a_process_are_a_line_for_each_kind),
		TEST(stat_of_a_process_with_no_device_has_its_errors),
		TEST(stat_of_a_process_adds_up),
	};

	return RUN(tests);
}
