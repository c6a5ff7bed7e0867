/* SPDX-License-Identifier: Apache-2.0 */
/* The texts for Prometheus: whatever the processes are called and do, in the form that it reads. */
#include "text.h"

static struct process *holder(struct world *world, pid_t pid, struct device *device, uint32_t index)
{
	struct process *process = world_process(world, pid, 1000);

	strcpy(process->comm, "worker");
	world_hold(world, process, device, index);
	return process;
}

static char *metrics(struct world *world)
{
	return world_text(world, render_metrics, NOTHING, NULL);
}

static void assert_has(struct world *world, const char *line)
{
	char *text = metrics(world), *want = g_strdup_printf("\n%s\n", line);

	if (!strstr(text, want))
		fail_msg("no \"%s\" in:\n%s", line, text);
	g_free(want);
	g_free(text);
}

static void assert_has_not(struct world *world, const char *word)
{
	char *text = metrics(world);

	assert_null(strstr(text, word));
	g_free(text);
}

static void without_devices_there_is_the_daemon_itself(void **state)
{
	assert_text(*state, render_metrics, NOTHING,
		    "# HELP ttmem_build_info The release of ttmemd; always 1.\n"
		    "# TYPE ttmem_build_info gauge\n"
		    "ttmem_build_info{version=\"" TTMEM_VERSION "\"} 1\n"
		    "# HELP ttmem_exited_processes_total "
		    "Processes with memory of a device that have ended.\n"
		    "# TYPE ttmem_exited_processes_total counter\n"
		    "ttmem_exited_processes_total 0\n"
		    "# HELP ttmem_leaked_bytes_total "
		    "Memory that processes had not freed when they ended.\n"
		    "# TYPE ttmem_leaked_bytes_total counter\n"
		    "ttmem_leaked_bytes_total 0\n"
		    "# HELP ttmem_source_up 1 if all is well with this source of numbers; "
		    "0 if it is down or a part of it cannot be used.\n"
		    "# TYPE ttmem_source_up gauge\n"
		    "ttmem_source_up{source=\"fake\"} 1\n");
}

static void a_device_has_a_sample_in_each_family(void **state)
{
	struct world *world = *state;
	const struct identity identity = {.index = 2,
					  .asic_id = 0x1a2b3c,
					  .pci = "0000:01:00.0",
					  .arch = "wormhole_b0",
					  .board = "n300",
					  .dram_total_bytes = 1000};
	struct device *device = model_device_get(&world->model, &world->source, &identity, 1000);
	struct process *process = holder(world, 1, device, 0);

	world_set(process, 0, TTMEM_DRAM, 400, 2);
	fake_of(process)->amounts[0][TTMEM_DRAM].allocated_bytes = 700;
	fake_of(process)->amounts[0][TTMEM_DRAM].failures = 3;
	fake_of(process)->failures[0][TTMEM_DRAM] =
		(struct failure){.time_ns = 5, .largest_free_bytes = 77};
	fake_of(process)->holding_peaks[0][TTMEM_DRAM] = 600;
	assert_has(world, "ttmem_device_info{device=\"2\",asic_id=\"00000000001a2b3c\","
			  "pci=\"0000:01:00.0\",arch=\"wormhole_b0\",board=\"n300\","
			  "remote=\"0\"} 1");
	assert_has(world, "ttmem_device_memory_capacity_bytes{device=\"2\",kind=\"dram\"} 1000");
	assert_has(world, "ttmem_device_memory_used_bytes{device=\"2\",kind=\"dram\"} 400");
	assert_has(world, "ttmem_device_memory_used_bytes{device=\"2\",kind=\"l1\"} 0");
	assert_has(world, "ttmem_device_memory_peak_bytes{device=\"2\",kind=\"dram\"} 600");
	assert_has(world, "ttmem_device_memory_largest_free_bytes{device=\"2\",kind=\"dram\"} 77");
	assert_has(world, "ttmem_device_memory_unattributed_bytes{device=\"2\",kind=\"cb\"} 0");
	assert_has(world, "ttmem_device_buffers{device=\"2\",kind=\"dram\"} 2");
	assert_has(world, "ttmem_device_allocated_bytes_total{device=\"2\",kind=\"dram\"} 700");
	assert_has(world, "ttmem_device_freed_bytes_total{device=\"2\",kind=\"dram\"} 300");
	assert_has(world, "ttmem_device_allocation_failures_total{device=\"2\",kind=\"dram\"} 3");
	assert_has(world, "ttmem_device_processes{device=\"2\"} 1");
	assert_has(world, "ttmem_group_memory_used_bytes{device=\"2\",kind=\"dram\","
			  "comm=\"worker\"} 400");
}

static void crossed_thresholds_count_by_kind(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0, 1000);
	struct process *process = holder(world, 1, device, 0);

	assert_has(world, "ttmem_device_threshold_events_total{device=\"0\",kind=\"dram\"} 0");
	assert_has_not(world, "threshold_events_total{device=\"0\",kind=\"cb\"}");
	device_set_threshold(device, (enum kind)TTMEM_L1, "10", 2);
	world_set(process, 0, TTMEM_L1, 11, 1);
	assert_has(world, "ttmem_device_threshold_events_total{device=\"0\",kind=\"l1\"} 1");
	assert_has(world, "ttmem_device_threshold_events_total{device=\"0\",kind=\"dram\"} 0");
	device_set_threshold(device, (enum kind)TTMEM_L1, "max", 3);
	assert_has(world, "ttmem_device_threshold_events_total{device=\"0\",kind=\"l1\"} 1");
}

static void the_oldest_buffer_is_told_by_device_and_kind(void **state)
{
	static const struct buffer buffers[] = {
		{.time_ns = WORLD_NOW, .kind = (enum kind)TTMEM_DRAM},
		{.time_ns = WORLD_NOW - 7000000000u, .kind = (enum kind)TTMEM_DRAM},
		{.time_ns = WORLD_NOW - 1000000000u, .kind = (enum kind)TTMEM_CB},
	};
	struct world *world = *state;
	struct process *process = holder(world, 1, world_device(world, 0, 0, 1000), 0);

	assert_has_not(world, "oldest_buffer");
	fake_of(process)->buffers = buffers;
	fake_of(process)->buffer_count = G_N_ELEMENTS(buffers);
	assert_has(world, "ttmem_device_oldest_buffer_timestamp_seconds"
			  "{device=\"0\",kind=\"dram\"} 1699999993.123");
	assert_has(world, "ttmem_device_oldest_buffer_timestamp_seconds"
			  "{device=\"0\",kind=\"cb\"} 1699999999.123");
	assert_has_not(world, "oldest_buffer_timestamp_seconds{device=\"0\",kind=\"l1\"}");
}

static void what_is_not_known_is_left_out(void **state)
{
	struct world *world = *state;

	holder(world, 1, world_device(world, 0, 0, 1000), 0);
	assert_has(world, "ttmem_device_info{device=\"0\"} 1");
	assert_has_not(world, "capacity");
	assert_has_not(world, "largest_free");
	assert_has_not(world, "ttmem_group_"); /* it has never had anything */
}

/* One HELP and one TYPE, then samples of this family and of no other, and never again. */
static void assert_families(const char *text)
{
	GHashTable *seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	char **lines = g_strsplit(text, "\n", -1);
	guint i = g_str_has_prefix(text, "# Use by process.") ? 1 : 0;

	while (*lines[i]) {
		char **help = g_strsplit(lines[i], " ", 4),
		     **type = g_strsplit(lines[i + 1], " ", 4);
		guint samples = 0;

		assert_string_equal(help[1], "HELP");
		assert_string_equal(type[1], "TYPE");
		assert_string_equal(type[2], help[2]);
		assert_true(g_hash_table_add(seen, g_strdup(help[2])));
		for (i += 2; g_str_has_prefix(lines[i], help[2]); i++, samples++)
			assert_non_null(strchr(" {", lines[i][strlen(help[2])]));
		assert_true(samples > 0);
		g_strfreev(help);
		g_strfreev(type);
	}
	assert_null(lines[i + 1]);
	g_strfreev(lines);
	g_hash_table_destroy(seen);
}

static void populate(struct world *world, pid_t count)
{
	for (pid_t pid = 1; pid <= count; pid++) {
		struct process *process = world_process(world, pid, 1000);

		snprintf(process->comm, sizeof process->comm, "worker%d", (int)pid);
		for (uint32_t index = 0; index < 2; index++) {
			world_hold(world, process, world_device(world, index, 0, 1000), index);
			world_set(process, index, TTMEM_DRAM, (uint64_t)pid, 1);
			world_set(process, index, TTMEM_L1, 1, 1);
		}
	}
}

static void samples_of_a_family_are_together_behind_one_help_and_one_type(void **state)
{
	char *text;

	populate(*state, 20);
	text = metrics(*state);
	assert_families(text);
	g_free(text);
	text = world_text(*state, render_metrics_pids, NOTHING, NULL);
	assert_families(text);
	g_free(text);
}

static void names_are_escaped(void **state)
{
	struct world *world = *state;
	struct process *process = holder(world, 1, world_device(world, 0, 0, 1000), 0);

	world_set(process, 0, TTMEM_DRAM, 1, 1);
	strcpy(process->comm, "\"}\\\n\x1b\xff x\xc3");
	assert_has(world, "ttmem_group_memory_used_bytes{device=\"0\",kind=\"dram\","
			  "comm=\"\\\"}\\\\\\n\xef\xbf\xbd\xef\xbf\xbd x\xef\xbf\xbd\"} 1");
	assert_text(world, render_metrics_pids, NOTHING,
		    "# Use by process. Where names will do, ttmem.prom has less for a scraper to "
		    "keep.\n"
		    "# HELP ttmem_process_memory_used_bytes Memory that a process holds on the "
		    "device.\n"
		    "# TYPE ttmem_process_memory_used_bytes gauge\n"
		    "ttmem_process_memory_used_bytes{device=\"0\",kind=\"dram\",pid=\"1\","
		    "comm=\"\\\"}\\\\\\n\xef\xbf\xbd\xef\xbf\xbd x\xef\xbf\xbd\"} 1\n");
}

static void names_that_cannot_be_told_apart_are_one_sample(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0, 1000);

	for (pid_t pid = 1; pid <= 3; pid++) {
		struct process *process = holder(world, pid, device, 0);

		world_set(process, 0, TTMEM_DRAM, 1ull << pid, 1);
		memcpy(process->comm, pid == 1 ? "a\x01" : "a\x02", 3);
	}
	assert_has(world, "ttmem_group_memory_used_bytes{device=\"0\",kind=\"dram\","
			  "comm=\"a\xef\xbf\xbd\"} 14");
}

static void counters_stay_when_processes_leave(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0, 1000);
	struct process *process = holder(world, 1, device, 0);

	world_set(process, 0, TTMEM_DRAM, 400, 2);
	world_set(process, 0, TTMEM_CB, UINT64_MAX - 300, 2);
	fake_of(process)->amounts[0][TTMEM_DRAM].failures = 3;
	world_leave(world, process);
	assert_has(world, "ttmem_device_memory_used_bytes{device=\"0\",kind=\"dram\"} 0");
	assert_has(world, "ttmem_device_allocated_bytes_total{device=\"0\",kind=\"dram\"} 400");
	assert_has(world, "ttmem_device_freed_bytes_total{device=\"0\",kind=\"dram\"} 400");
	assert_has(world, "ttmem_device_allocation_failures_total{device=\"0\",kind=\"dram\"} 3");
	assert_has(world, "ttmem_exited_processes_total 1");
	assert_has(world, "ttmem_leaked_bytes_total 18446744073709551615"); /* at its limit */
	for (pid_t pid = 2; pid <= MODEL_EXITS + 10; pid++)
		world_leave(world, holder(world, pid, device, 0));
	assert_has(world, "ttmem_exited_processes_total 266"); /* more than are remembered */
}

static void a_source_that_is_not_well_is_not_up(void **state)
{
	struct world *world = *state;

	world->source.state = SOURCE_ERROR;
	world->source.last_update_ns = 1700000000123456789u;
	assert_has(world, "ttmem_source_up{source=\"fake\"} 0");
	assert_has(world, "ttmem_last_update_timestamp_seconds{source=\"fake\"} 1700000000.123");
}

#define MANY 3000

struct slices {
	struct cursor cursor;
	struct render render;
};

static void slices_begin(struct slices *slices, struct world *world)
{
	memset(slices, 0, sizeof *slices);
	slices->render.model = &world->model;
	slices->render.cursor = &slices->cursor;
	slices->render.out = g_string_new(NULL);
}

static void a_long_text_is_made_in_slices_and_of_one_moment(void **state)
{
	static render_fn *const makers[] = {render_metrics, render_metrics_pids};
	struct world *world = *state;
	struct slices slices;

	populate(world, MANY);
	for (size_t i = 0; i < G_N_ELEMENTS(makers); i++) {
		char *whole = world_text(world, makers[i], NOTHING, NULL);
		unsigned int calls = 1;

		slices_begin(&slices, world);
		while (!slices.render.out->len)
			assert_false(makers[i](&slices.render)); /* it looks at names */
		for (; !makers[i](&slices.render); calls++) {
			struct process *process =
				model_process_by_pid(&world->model, MANY - (pid_t)calls);

			world_set(process, 0, TTMEM_DRAM, 1000000, 1); /* too late */
			world_leave(world,
				    model_process_by_pid(&world->model, (pid_t)(10 * calls + i)));
		}
		assert_true(calls > 3);
		assert_string_equal(slices.render.out->str, whole);
		assert_null(slices.cursor.work);
		assert_families(whole);
		g_string_free(slices.render.out, TRUE);
		g_free(whole);
	}
}

/* The sanitizers see what would be left. */
static void a_text_can_be_given_up_at_any_slice(void **state)
{
	struct world *world = *state;
	struct slices slices;

	populate(world, MANY);
	for (int given = 0; given < 8; given++) {
		slices_begin(&slices, world);
		for (int i = 0; i < given; i++)
			assert_false(render_metrics(&slices.render));
		assert_int_equal(slices.cursor.work != NULL, given > 0);
		cursor_clear(&slices.cursor);
		assert_null(slices.cursor.work);
		g_string_free(slices.render.out, TRUE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_devices_there_is_the_daemon_itself),
		TEST(a_device_has_a_sample_in_each_family),
		TEST(crossed_thresholds_count_by_kind),
		TEST(the_oldest_buffer_is_told_by_device_and_kind),
		TEST(what_is_not_known_is_left_out),
		TEST(samples_of_a_family_are_together_behind_one_help_and_one_type),
		TEST(names_are_escaped),
		TEST(names_that_cannot_be_told_apart_are_one_sample),
		TEST(counters_stay_when_processes_leave),
		TEST(a_source_that_is_not_well_is_not_up),
		TEST(a_long_text_is_made_in_slices_and_of_one_moment),
		TEST(a_text_can_be_given_up_at_any_slice),
	};

	return RUN(tests);
}
