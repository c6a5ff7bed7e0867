/* SPDX-License-Identifier: Apache-2.0 */
/* Thresholds: what is a number, and what counts as crossing one. */
#include "text.h"
#include <errno.h>

#define DRAM ((enum kind)TTMEM_DRAM)
#define L1   ((enum kind)TTMEM_L1)

/* A device of which one process holds 100 bytes of DRAM, as its device 0. */
static struct device *used_device(struct world *world)
{
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = world_process(world, 1, 1000);

	world_hold(world, process, device, 0);
	world_set(process, 0, TTMEM_DRAM, 100, 1);
	return device;
}

static void use(struct world *world, int kind, uint64_t bytes)
{
	world_set(model_process_by_pid(&world->model, 1), 0, kind, bytes, 1);
	model_look(&world->model);
}

static int set(struct device *device, enum kind kind, const char *text)
{
	return device_set_threshold(device, kind, text, strlen(text));
}

static void assert_high(const struct device *device, enum kind kind, const char *want)
{
	struct world *world = (struct world *)device->model; /* its first member */

	assert_text(world, render_device_high, OF_DEVICE((struct device *)device, kind), want);
}

static void a_threshold_is_max_until_it_is_set(void **state)
{
	struct device *device = used_device(*state);

	assert_high(device, DRAM, "max\n");
	assert_high(device, L1, "max\n");
	assert_false(model_wants_ticks(device->model));
}

static void a_number_is_read_back_with_any_white_space_left_out(void **state)
{
	static const char *const texts[][2] = {
		{"5", "5\n"},
		{"5\n", "5\n"},
		{" \t 5 \r\n\n", "5\n"},
		{"+5\n", "5\n"},
		{"0", "0\n"},
		{"007\n", "7\n"},
		{"max", "max\n"},
		{"\nmax\n", "max\n"},
		{"18446744073709551615\n", "18446744073709551615\n"},
	};
	struct device *device = used_device(*state);

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		assert_int_equal(set(device, L1, texts[i][0]), 0);
		assert_high(device, L1, texts[i][1]);
	}
	assert_int_equal(device_set_threshold(device, L1, "12\0x", 4), 0); /* as sysfs does */
	assert_high(device, L1, "12\n");
}

static void what_is_no_number_changes_nothing(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		" ",
		"-1",
		"-0",
		"0x10",
		"5 5",
		"5x",
		"x",
		"5.0",
		"1e3",
		"max5",
		"ma",
		"maxx",
		"Max",
		"5K",
		"++5",
		"+",
		"+max",
		"5,0",
		"max max",
		"18446744073709551616",
		"99999999999999999999999999",
		"\xff",
	};
	struct device *device = used_device(*state);

	assert_int_equal(set(device, DRAM, "1234"), 0);
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		assert_int_equal(set(device, DRAM, texts[i]), -EINVAL);
		assert_high(device, DRAM, "1234\n");
	}
	assert_int_equal(device_set_threshold(device, DRAM, "\0005", 2), -EINVAL);
	assert_int_equal(device->model->thresholds, 1);
}

static void a_long_text_is_refused_unread(void **state)
{
	struct device *device = used_device(*state);
	char *text = g_strnfill(100000, ' ');

	text[0] = '5';
	assert_int_equal(set(device, DRAM, text), -EINVAL);
	assert_high(device, DRAM, "max\n");
	g_free(text);
}

static void crossing_it_upwards_counts_once_until_the_use_is_no_longer_above(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);

	set(device, DRAM, "1000");
	use(world, TTMEM_DRAM, 999);
	use(world, TTMEM_DRAM, 1000);
	assert_int_equal(device->events.high, 0);
	use(world, TTMEM_DRAM, 1001);
	use(world, TTMEM_DRAM, 5000);
	use(world, TTMEM_DRAM, 1001);
	assert_int_equal(device->events.high, 1);
	use(world, TTMEM_DRAM, 1000);
	assert_int_equal(device->events.high, 1);
	use(world, TTMEM_DRAM, 1001);
	assert_int_equal(device->events.high, 2);
	assert_int_equal(device->events.high_of[DRAM], 2);
	assert_int_equal(device->events.high_of[L1], 0);
	assert_int_equal(world->model.events.high, 2);
}

static void a_threshold_below_the_present_use_is_crossed_now(void **state)
{
	struct device *device = used_device(*state);

	set(device, DRAM, "100");
	assert_int_equal(device->events.high, 0);
	set(device, DRAM, "99");
	assert_int_equal(device->events.high, 1);
	set(device, DRAM, "99");
	set(device, DRAM, "50");
	assert_int_equal(device->events.high, 1);
	set(device, DRAM, "200");
	set(device, DRAM, "50");
	assert_int_equal(device->events.high, 2);
	set(device, DRAM, "max");
	set(device, DRAM, "0");
	assert_int_equal(device->events.high, 3);
}

static void the_highest_number_and_max_are_never_crossed(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);

	set(device, DRAM, "18446744073709551615");
	use(world, TTMEM_DRAM, UINT64_MAX);
	set(device, DRAM, "max");
	use(world, TTMEM_DRAM, UINT64_MAX);
	assert_int_equal(device->events.high, 0);
}

static void each_kind_and_each_device_has_its_own(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);
	struct device *other = world_device(world, 1, 0xb, 1000);

	set(device, DRAM, "1000");
	set(device, L1, "10");
	set(other, DRAM, "1");
	use(world, TTMEM_L1, 11);
	assert_int_equal(device->events.high, 1);
	use(world, TTMEM_DRAM, 1001);
	use(world, TTMEM_TRACE, 1u << 30);
	assert_int_equal(device->events.high, 2);
	assert_int_equal(device->events.high_of[DRAM], 1);
	assert_int_equal(device->events.high_of[L1], 1);
	assert_int_equal(other->events.high, 0);
	assert_int_equal(world->model.events.high, 2);
	assert_int_equal(world->model.thresholds, 3);
}

static void the_sum_of_all_processes_crosses_it(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);
	struct process *second = world_process(world, 2, 1000);

	set(device, DRAM, "150");
	world_hold(world, second, device, 7);
	world_set(second, 7, TTMEM_DRAM, 51, 1);
	model_look(&world->model);
	assert_int_equal(device->events.high, 1);
	world_leave(world, second);
	model_look(&world->model);
	world_set(model_process_by_pid(&world->model, 1), 0, TTMEM_DRAM, 151, 1);
	model_look(&world->model);
	assert_int_equal(device->events.high, 2);
}

static void one_summary_is_one_look(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);
	char *text;

	set(device, DRAM, "100");
	world_set(model_process_by_pid(&world->model, 1), 0, TTMEM_DRAM, 101, 1);
	text = world_text(world, render_summary, NOTHING, NULL);
	assert_int_equal(device->events.high, 1);
	g_free(text);
}

static void count_call(void *data)
{
	++*(unsigned int *)data;
}

static void ticks_are_wanted_while_a_threshold_is_set(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);
	unsigned int calls = 0;

	world->model.ticks_changed = count_call;
	world->model.ticks_data = &calls;
	set(device, DRAM, "5");
	set(device, L1, "5");
	set(device, DRAM, "6");
	assert_true(model_wants_ticks(&world->model));
	set(device, DRAM, "max");
	assert_true(model_wants_ticks(&world->model));
	set(device, L1, "max");
	set(device, L1, "max");
	assert_false(model_wants_ticks(&world->model));
	assert_int_equal(calls, 6);
	world->model.ticks_changed = NULL;
}

static void a_tick_notices_what_nobody_reads(void **state)
{
	struct world *world = *state;
	struct device *device = used_device(world);

	set(device, DRAM, "100");
	world_set(model_process_by_pid(&world->model, 1), 0, TTMEM_DRAM, 7000, 1);
	model_tick(&world->model);
	world_set(model_process_by_pid(&world->model, 1), 0, TTMEM_DRAM, 1, 1);
	model_tick(&world->model);
	assert_int_equal(device->events.high, 1);
	assert_int_equal(device->peak_bytes[TTMEM_DRAM], 7000);
}

/* As many as the user may make: then his oldest that nobody uses makes room. */
static void a_device_that_is_forgotten_takes_its_thresholds_along(void **state)
{
	struct world *world = *state;
	struct device *first = world_device(world, 0, 1, 1000);

	set(first, DRAM, "5");
	for (uint64_t asic = 2; asic <= MODEL_MAX_DEVICES_PER_USER + 1; asic++) {
		world_now_ns++;
		world_device(world, 0, asic, 1000);
	}
	assert_int_equal(world->model.thresholds, 0);
	assert_int_equal(world->model.events.device_add, MODEL_MAX_DEVICES_PER_USER + 1);
	assert_int_equal(world->model.events.device_remove, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_threshold_is_max_until_it_is_set),
		TEST(a_number_is_read_back_with_any_white_space_left_out),
		TEST(what_is_no_number_changes_nothing),
		TEST(a_long_text_is_refused_unread),
		TEST(crossing_it_upwards_counts_once_until_the_use_is_no_longer_above),
		TEST(a_threshold_below_the_present_use_is_crossed_now),
		TEST(the_highest_number_and_max_are_never_crossed),
		TEST(each_kind_and_each_device_has_its_own),
		TEST(the_sum_of_all_processes_crosses_it),
		TEST(one_summary_is_one_look),
		TEST(ticks_are_wanted_while_a_threshold_is_set),
		TEST(a_tick_notices_what_nobody_reads),
		TEST(a_device_that_is_forgotten_takes_its_thresholds_along),
	};

	return RUN(tests);
}
