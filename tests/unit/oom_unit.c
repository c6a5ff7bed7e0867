/* SPDX-License-Identifier: Apache-2.0 */
/* Failed requests: each counts once whoever looks, and the last of a device is reported. */
#include "text.h"

#define SECOND_NS 1000000000ull

/* A process that calls the device 0 and holds this much of its DRAM. */
static struct process *holder(struct world *world, pid_t pid, struct device *device, uint64_t bytes)
{
	struct process *process = world_process(world, pid, 1000 + (uid_t)pid);

	world_hold(world, process, device, 0);
	world_set(process, 0, TTMEM_DRAM, bytes, 1);
	return process;
}

static void request_fails(struct process *process, int kind, uint64_t requested_bytes,
			  uint64_t time_ns)
{
	fake_of(process)->amounts[0][kind].failures++;
	fake_of(process)->failures[0][kind] = (struct failure){
		.requested_bytes = requested_bytes,
		.largest_free_bytes = requested_bytes / 2,
		.time_ns = time_ns,
	};
}

static void assert_ooms(struct device *device, uint64_t count)
{
	assert_int_equal(device->events.oom, count);
}

static void before_any_failure_there_is_no_report(void **state)
{
	struct device *device = world_device(*state, 0, 0xa, 1000);

	holder(*state, 1, device, 100);
	device_look(device);
	assert_null(device->oom);
	assert_ooms(device, 0);
}

static void a_failure_counts_once_however_often_it_is_looked_at(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 100);
	struct amount amounts[KIND_COUNT];

	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	for (int i = 0; i < 3; i++) {
		device_look(device);
		model_tick(&world->model);
		process_read(process, KINDS_ALL, amounts);
		holding_read(process_holding(process, device), KINDS_ALL, amounts);
		device_used(device, TTMEM_DRAM);
	}
	assert_ooms(device, 1);
	assert_int_equal(world->model.events.oom, 1);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_ooms(device, 3);
	assert_int_equal(device->oom->count, 2);
}

static void any_read_of_the_holding_shows_it(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 100);
	struct amount amounts[KIND_COUNT];

	request_fails(process, TTMEM_DRAM, 1, WORLD_NOW);
	process_read(process, 1u << TTMEM_DRAM, amounts);
	assert_ooms(device, 1);
	request_fails(process, TTMEM_DRAM, 2, WORLD_NOW);
	holding_read(process_holding(process, device), 1u << TTMEM_DRAM, amounts);
	assert_ooms(device, 2);
	request_fails(process, TTMEM_DRAM, 3, WORLD_NOW);
	device_used(device, TTMEM_DRAM);
	assert_ooms(device, 3);
	request_fails(process, TTMEM_DRAM, 4, WORLD_NOW);
	device_used(device, TTMEM_L1);
	assert_ooms(device, 3);
	world_leave(world, process);
	assert_ooms(device, 4);
	assert_int_equal(device->oom->failure.requested_bytes, 4);
}

static void a_process_that_is_gone_is_not_counted_again(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 100);

	holder(world, 2, device, 10);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	world_leave(world, process);
	device_look(device);
	process = holder(world, 1, device, 1);
	device_look(device);
	assert_ooms(device, 1);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_ooms(device, 2);
}

static void failures_of_several_kinds_and_processes_all_count(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *first = holder(world, 1, device, 100);
	struct process *second = holder(world, 2, device, 200);

	request_fails(first, TTMEM_DRAM, 1, WORLD_NOW + 1);
	request_fails(second, TTMEM_L1, 2, WORLD_NOW + 3);
	request_fails(second, TTMEM_TRACE, 3, WORLD_NOW + 2);
	device_look(device);
	assert_ooms(device, 3);
	assert_int_equal(device->oom->process.pid, 2);
	assert_int_equal(device->oom->kind, TTMEM_L1);
}

static void a_count_that_goes_down_hides_no_others_failure(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *forger = holder(world, 1, device, 100);
	struct process *honest = holder(world, 2, device, 100);

	fake_of(forger)->amounts[0][TTMEM_DRAM].failures = 1000;
	device_look(device);
	assert_ooms(device, 1000);
	fake_of(forger)->amounts[0][TTMEM_DRAM].failures = 0;
	request_fails(honest, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	device_look(device);
	assert_ooms(device, 1001);
	assert_int_equal(device->oom->process.pid, 2);
}

static void failures_from_before_our_start_are_not_told_again(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 100);

	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW - SECOND_NS);
	device_look(device);
	assert_ooms(device, 0);
	assert_null(device->oom);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW + SECOND_NS);
	device_look(device);
	assert_ooms(device, 1);
}

static void failures_count_after_the_clock_was_set_back(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 100);

	world_now_ns = WORLD_NOW - 3600 * SECOND_NS;
	request_fails(process, TTMEM_DRAM, 5000, world_now_ns - 1);
	device_look(device);
	assert_ooms(device, 1);
}

static void an_index_that_changes_its_device_brings_no_failure_twice(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0, 1000);
	struct process *process = holder(world, 1, device, 100);
	struct device *named = world_device(world, 1, 0xb, 1000);

	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	world_hold(world, process, named, 0);
	device_look(named);
	assert_ooms(device, 1);
	assert_ooms(named, 0);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(named);
	assert_ooms(named, 1);
	assert_int_equal(world->model.events.oom, 2);
}

static void a_source_that_says_no_more_than_a_count_is_reported_without_the_request(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 100);

	fake_of(process)->amounts[0][TTMEM_L1].failures = 2;
	world_now_ns = WORLD_NOW + 2 * SECOND_NS;
	device_look(device);
	assert_text(world, render_device_oom, OF_DEVICE(device, 0),
		    "seen 1700000002.123\n"
		    "pid 1\n"
		    "comm -\n"
		    "uid 1001\n"
		    "kind l1\n"
		    "failures 2\n"
		    "process_used 0\n"
		    "used 0\n");
}

static void the_report_has_the_request_the_use_and_the_ten_who_held_most(void **state)
{
	struct world *world = *state;
	struct identity identity = {.asic_id = 0xa, .dram_total_bytes = 10000};
	struct device *device = model_device_get(&world->model, &world->source, &identity, 0);

	for (pid_t pid = 1; pid <= 12; pid++)
		g_strlcpy(holder(world, pid, device, (uint64_t)(pid * 7 % 13 * 10))->comm,
			  pid == 2 ? "a \x1b name" : "model", 16);
	holder(world, 13, device, 0);
	request_fails(model_process_by_pid(&world->model, 5), TTMEM_DRAM, 9999, WORLD_NOW);
	world_now_ns = WORLD_NOW + SECOND_NS;
	device_look(device);
	world_now_ns += 100 * SECOND_NS;
	world_leave(world, model_process_by_pid(&world->model, 11));
	assert_text(world, render_device_oom, OF_DEVICE(device, 0),
		    "time 1700000000.123\n"
		    "seen 1700000001.123\n"
		    "pid 5\n"
		    "comm model\n"
		    "uid 1005\n"
		    "kind dram\n"
		    "requested 9999\n"
		    "failures 1\n"
		    "process_used 90\n"
		    "used 780\n"
		    "free 9220\n"
		    "largest_free 4999\n"
		    "holder_1 11 1011 120 model\n"
		    "holder_2 9 1009 110 model\n"
		    "holder_3 7 1007 100 model\n"
		    "holder_4 5 1005 90 model\n"
		    "holder_5 3 1003 80 model\n"
		    "holder_6 1 1001 70 model\n"
		    "holder_7 12 1012 60 model\n"
		    "holder_8 10 1010 50 model\n"
		    "holder_9 8 1008 40 model\n"
		    "holder_10 6 1006 30 model\n");
}

/* The last line of the report: "" if that is not about tags. */
static char *tags_of_report(struct world *world, struct device *device)
{
	char *text = world_text(world, render_device_oom, OF_DEVICE(device, 0), NULL);
	char *tags = strstr(text, "\nholder_1_tags ");

	tags = g_strdup(tags ? tags + 1 : "");
	g_free(text);
	return tags;
}

static void assert_tags(struct world *world, struct device *device, const char *want)
{
	char *tags = tags_of_report(world, device);

	assert_string_equal(tags, want);
	g_free(tags);
}

#define DRAM ((enum kind)TTMEM_DRAM)

static void the_largest_tags_of_a_holder_are_those_of_this_device_and_kind(void **state)
{
	static const struct buffer buffers[] = {
		{.size_bytes = 20, .kind = DRAM, .tag = "weights"},
		{.size_bytes = 45, .kind = DRAM, .tag = "kv_cache"},
		{.size_bytes = 30, .kind = DRAM, .tag = "weights"},
		{.size_bytes = 9, .kind = DRAM, .tag = "small"},
		{.size_bytes = 46, .kind = DRAM, .tag = "a=b"},
		{.size_bytes = 10, .kind = DRAM},
		{.size_bytes = 999, .kind = (enum kind)TTMEM_L1, .tag = "other kind"},
		{.size_bytes = 999, .kind = DRAM, .tag = "other device", .device = 1},
	};
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 160);

	world_hold(world, process, world_device(world, 1, 0xb, 1000), 1);
	fake_of(process)->buffers = buffers;
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_tags(world, device, "");
	fake_of(process)->buffer_count = 1;
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_tags(world, device, "holder_1_tags weights=20\n");
	fake_of(process)->buffer_count = G_N_ELEMENTS(buffers);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_tags(world, device, "holder_1_tags weights=50 a=b=46 kv_cache=45\n");
	fake_of(process)->buffers += 5;
	fake_of(process)->buffer_count -= 5;
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_tags(world, device, "holder_1_tags -=10\n");
}

static void of_a_process_of_many_buffers_only_what_was_just_found_is_told(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 160);
	struct buffer *buffers = g_new0(struct buffer, SURVEY_FEW + 1);
	struct survey_slice slice = {SURVEY_SLICE};
	const struct survey *survey;
	uint64_t waits_for = 0;

	g_ptr_array_add(world->fakes, buffers);
	for (int i = 0; i <= SURVEY_FEW; i++)
		buffers[i] = (struct buffer){.size_bytes = 2, .kind = DRAM, .tag = "t"};
	fake_of(process)->buffers = buffers;
	fake_of(process)->buffer_count = SURVEY_FEW + 1;
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_tags(world, device, "");
	assert_null(process->surveyor); /* none was begun */
	survey = survey_get(&world->model, process, &waits_for, &slice);
	world_now_ns += OOM_TAGS_NS;
	request_fails(process, TTMEM_DRAM, 5000, world_now_ns);
	device_look(device);
	assert_tags(world, device, "holder_1_tags t=4098\n");
	assert_int_equal(survey->tally.rows->len, 1); /* who uses one keeps it */
	world_now_ns++;
	request_fails(process, TTMEM_DRAM, 5000, world_now_ns);
	device_look(device);
	assert_tags(world, device, "");
}

/* As in a table that is being made: a read shows the failure while a survey is in use. */
static void a_report_leaves_the_surveys_of_others_alone(void **state)
{
	static const struct buffer buffer = {.size_bytes = 7, .kind = DRAM, .tag = "t"};
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *process = holder(world, 1, device, 7);
	struct survey_slice slice = {SURVEY_SLICE};
	const struct survey *survey;
	uint64_t waits_for = 0;

	fake_of(process)->buffers = &buffer;
	fake_of(process)->buffer_count = 1;
	survey = survey_get(&world->model, process, &waits_for, &slice);
	request_fails(process, TTMEM_DRAM, 5000, WORLD_NOW);
	device_look(device);
	assert_int_equal(survey->tally.rows->len, 1);
	assert_tags(world, device, "holder_1_tags t=7\n");
	world_leave(world, process);
	assert_tags(world, device, "holder_1_tags t=7\n");
}

static void the_largest_free_block_is_the_newest_that_was_said(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct process *first = holder(world, 1, device, 100);
	struct process *second = holder(world, 2, device, 100);
	struct subject dram = OF_DEVICE(device, TTMEM_DRAM);

	assert_text(world, render_device_largest_free, dram, "");
	request_fails(first, TTMEM_DRAM, 200, WORLD_NOW + 2);
	request_fails(second, TTMEM_DRAM, 300, WORLD_NOW + 1);
	request_fails(second, TTMEM_L1, 500, WORLD_NOW + 3);
	assert_text(world, render_device_largest_free, dram, "100\n");
	request_fails(second, TTMEM_DRAM, 400, WORLD_NOW + 4);
	assert_text(world, render_device_largest_free, dram, "200\n");
	fake_of(second)->failures[0][TTMEM_DRAM].largest_free_bytes = 0; /* it does not say */
	assert_text(world, render_device_largest_free, dram, "100\n");
	world_leave(world, first);
	assert_text(world, render_device_largest_free, dram, "");
}

/* With each look there is a new one, as somebody reads in a loop: a look that needs no report costs
 * one read of each holding, one that does needs three. */
static void failing_without_end_does_not_slow_the_readers_down(void **state)
{
	const uint64_t holders = 100, looks = 1000;
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);

	for (pid_t pid = 1; pid <= (pid_t)holders; pid++)
		holder(world, pid, device, 1);
	world->read_takes_ns = 10000;
	world->holdings_read = 0;
	for (uint64_t i = 0; i < looks; i++) {
		request_fails(model_process_by_pid(&world->model, 1), TTMEM_DRAM, i, world_now_ns);
		device_look(device);
	}
	assert_true(world->holdings_read < holders * looks * 12 / 10);
	world_now_ns += 10 * SECOND_NS;
	device_look(device);
	assert_ooms(device, looks);
	assert_int_equal(device->oom->failure.requested_bytes, looks - 1);
	assert_true(device->oom->has_holders);
}

static void what_a_failure_costs_counts_once(void **state)
{
	const uint64_t holders = 10, read_ns = 10000;
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	uint64_t began;

	for (pid_t pid = 1; pid <= (pid_t)holders; pid++)
		holder(world, pid, device, 1);
	device_look(device);
	request_fails(model_process_by_pid(&world->model, 1), TTMEM_DRAM, 1, world_now_ns);
	world->read_takes_ns = read_ns;
	began = world_now_ns;
	device_look(device);
	assert_true(device->oom->has_holders);
	assert_int_equal(world->model.oom_budget.spent_ns,
			 world_now_ns - began - holders * read_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(before_any_failure_there_is_no_report),
		TEST(a_failure_counts_once_however_often_it_is_looked_at),
		TEST(any_read_of_the_holding_shows_it),
		TEST(a_process_that_is_gone_is_not_counted_again),
		TEST(failures_of_several_kinds_and_processes_all_count),
		TEST(a_count_that_goes_down_hides_no_others_failure),
		TEST(failures_from_before_our_start_are_not_told_again),
		TEST(failures_count_after_the_clock_was_set_back),
		TEST(an_index_that_changes_its_device_brings_no_failure_twice),
		TEST(a_source_that_says_no_more_than_a_count_is_reported_without_the_request),
		TEST(the_report_has_the_request_the_use_and_the_ten_who_held_most),
		TEST(the_largest_tags_of_a_holder_are_those_of_this_device_and_kind),
		TEST(of_a_process_of_many_buffers_only_what_was_just_found_is_told),
		TEST(a_report_leaves_the_surveys_of_others_alone),
		TEST(the_largest_free_block_is_the_newest_that_was_said),
		TEST(failing_without_end_does_not_slow_the_readers_down),
		TEST(what_a_failure_costs_counts_once),
	};

	return RUN(tests);
}
