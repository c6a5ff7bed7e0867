/* SPDX-License-Identifier: Apache-2.0 */
/* The history of a device, by a clock that the test sets; and events of what comes and goes. */
#include "text.h"

#define SECOND_NS 1000000000ull

static struct device *device_of(struct world *world, uint32_t seconds)
{
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = world_process(world, 1, 1000);

	world->model.history_seconds = seconds;
	world_hold(world, process, device, 0);
	return device;
}

static void tick(struct world *world, uint64_t bytes)
{
	struct process *process = model_process_by_pid(&world->model, 1);

	if (process)
		world_set(process, 0, TTMEM_DRAM, bytes, 1);
	model_tick(&world->model);
	world_now_ns += SECOND_NS;
}

/* The DRAM in its rows, oldest first: "1 2 3". */
static void assert_history(const struct device *device, const char *want)
{
	uint32_t number = device_history_first(device);
	GString *found = g_string_new(NULL);
	const struct history_row *row;

	for (; (row = device_history_row(device, number)); number++)
		g_string_append_printf(found, "%s%lu", found->len ? " " : "",
				       row->used_bytes[TTMEM_DRAM]);
	assert_string_equal(found->str, want);
	g_string_free(found, TRUE);
}

static void each_tick_is_a_row(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 900);

	assert_history(device, "");
	tick(world, 1);
	tick(world, 2);
	tick(world, 3);
	assert_history(device, "1 2 3");
}

static void the_oldest_rows_make_room(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 4);

	for (uint64_t i = 1; i <= 4; i++)
		tick(world, i);
	assert_history(device, "1 2 3 4");
	for (uint64_t i = 5; i <= 11; i++)
		tick(world, i);
	assert_history(device, "8 9 10 11");
}

static void a_history_of_one_second_has_one_row(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 1);

	tick(world, 1);
	tick(world, 2);
	assert_history(device, "2");
}

static void ticks_in_one_second_are_one_row(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 900);

	model_tick(&world->model);
	world_now_ns = WORLD_NOW / SECOND_NS * SECOND_NS + SECOND_NS - 1;
	model_tick(&world->model);
	assert_history(device, "0");
	world_now_ns++;
	model_tick(&world->model);
	assert_history(device, "0 0");
}

static void seconds_of_sleep_are_absent(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 900);

	tick(world, 1);
	world_now_ns += 600 * SECOND_NS;
	tick(world, 2);
	assert_history(device, "1 2");
	world_now_ns += 400 * SECOND_NS;
	tick(world, 3);
	assert_history(device, "2 3");
	world_now_ns += 36000 * SECOND_NS;
	assert_history(device, "");
	tick(world, 4);
	assert_history(device, "4");
}

static void a_clock_that_is_set_back_goes_on(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 3);

	tick(world, 1);
	world_now_ns -= 3600 * SECOND_NS;
	for (uint64_t i = 2; i <= 4; i++)
		tick(world, i);
	assert_history(device, "2 3 4");
}

static void without_history_ticks_leave_no_rows(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 0);

	assert_false(model_wants_ticks(&world->model));
	tick(world, 1);
	assert_history(device, "");
	assert_null(device->history);
	world->model.history_seconds = 1;
	assert_true(model_wants_ticks(&world->model));
}

static void a_hidden_device_drops_its_history(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 900);

	tick(world, 1);
	world_leave(world, model_process_by_pid(&world->model, 1));
	tick(world, 0);
	assert_history(device, "1 0");
	model_device_forget(&world->model, &world->source, device);
	assert_null(device->history);
	tick(world, 0);
	assert_null(device->history);
	assert_ptr_equal(world_device(world, 0, 0xa, 1000), device);
	assert_history(device, "");
	tick(world, 0);
	assert_history(device, "0");
}

static void the_table_has_a_column_for_each_kind(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 900);
	struct process *process = model_process_by_pid(&world->model, 1);

	for (int kind = 0; kind < KIND_COUNT; kind++)
		world_set(process, 0, kind, (uint64_t)kind + 1, 1);
	model_tick(&world->model);
	assert_text(world, render_device_history, OF_DEVICE(device, 0),
		    "time           dram         l1           system       l1_small     "
		    "trace        cb           kernel\n"
		    "1700000000.123 1            2            3            4            "
		    "5            6            7\n");
}

static void what_comes_and_goes_counts_once(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 0);
	struct process *process = world_process(world, 2, 1000);

	world_device(world, 0, 0xa, 1000);
	world_hold(world, process, device, 5);
	world_set(process, 5, TTMEM_DRAM, 10, 1);
	world_process(world, 3, 1000);
	world_process(world, 3, 1000); /* another of the same number */
	world_leave(world, process);
	world_leave(world, model_process_by_pid(&world->model, 1));
	model_device_forget(&world->model, &world->source, device);
	model_device_forget(&world->model, &world->source, device);
	world_device(world, 0, 0xa, 1000);
	assert_text(world, render_events, NOTHING,
		    "process_start 4\n"
		    "process_exit 3\n"
		    "high 0\n"
		    "oom 0\n"
		    "leaked 1\n"
		    "device_add 2\n"
		    "device_remove 1\n");
}

static void a_device_in_use_is_removed_when_its_last_user_goes(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 0);

	model_device_forget(&world->model, &world->source, device);
	assert_int_equal(world->model.events.device_remove, 0);
	world_leave(world, model_process_by_pid(&world->model, 1));
	assert_int_equal(world->model.events.device_remove, 1);
}

static void events_are_looked_for_when_they_are_read(void **state)
{
	struct world *world = *state;
	struct device *device = device_of(world, 0);

	device_set_threshold(device, (enum kind)TTMEM_DRAM, "10", 2);
	world_set(model_process_by_pid(&world->model, 1), 0, TTMEM_DRAM, 11, 1);
	fake_of(model_process_by_pid(&world->model, 1))->amounts[0][TTMEM_L1].failures = 3;
	assert_text(world, render_device_events, OF_DEVICE(device, 0), "high 1\noom 3\n");
}

static void depart_as(struct world *world, pid_t pid, int how, int number)
{
	struct process *process = world_process(world, pid, 1000);

	process->start_ns = WORLD_NOW - 90 * SECOND_NS;
	process->ending.how = how;
	process->ending.number = number;
	world_leave(world, process);
}

static void the_table_of_exits_says_how_long_and_how(void **state)
{
	struct world *world = *state;
	char *text, **lines;

	depart_as(world, 1, ENDING_EXIT, 3);
	depart_as(world, 2, ENDING_SIGNAL, 9);
	depart_as(world, 3, ENDING_DETACHED, 0);
	depart_as(world, 4, ENDING_UNKNOWN, 0);
	text = world_text(world, render_exited, NOTHING, NULL);
	lines = g_strsplit(text, "\n", -1);
	assert_non_null(strstr(lines[0], " end             lifetime_sec how       dram_peak"));
	assert_non_null(strstr(lines[1], ".123  90           exit:3    0"));
	assert_non_null(strstr(lines[2], ".123  90           signal:9  0"));
	assert_non_null(strstr(lines[3], ".123  90           detached  0"));
	assert_non_null(strstr(lines[4], ".123  90           -         0"));
	g_strfreev(lines);
	g_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_tick_is_a_row),
		TEST(the_oldest_rows_make_room),
		TEST(a_history_of_one_second_has_one_row),
		TEST(ticks_in_one_second_are_one_row),
		TEST(seconds_of_sleep_are_absent),
		TEST(a_clock_that_is_set_back_goes_on),
		TEST(without_history_ticks_leave_no_rows),
		TEST(a_hidden_device_drops_its_history),
		TEST(the_table_has_a_column_for_each_kind),
		TEST(what_comes_and_goes_counts_once),
		TEST(a_device_in_use_is_removed_when_its_last_user_goes),
		TEST(events_are_looked_for_when_they_are_read),
		TEST(the_table_of_exits_says_how_long_and_how),
	};

	return RUN(tests);
}
