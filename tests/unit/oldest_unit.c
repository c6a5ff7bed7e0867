/* SPDX-License-Identifier: Apache-2.0 */
/* The oldest buffer of each device and kind: right or not said, in slices, and at a bounded price.
 */
#include "oldest.h"
#include "world.h"

#define DRAM ((enum kind)TTMEM_DRAM)
#define L1   ((enum kind)TTMEM_L1)
#define MANY 100000u

static struct source_ops ops; /* the world's, counting, with processes that seem large */
static uint64_t looked_at;    /* records that the source was asked for */
static uint64_t claimed;      /* how many each process seems to have; 0: as many as it has */

static size_t counting_buffers(struct source *source, const struct process *process,
			       struct buffer_cursor *cursor, struct buffer *rows, size_t room)
{
	looked_at += room;
	return world_buffers(source, process, cursor, rows, room);
}

static uint64_t claimed_estimate(struct source *source, const struct process *process)
{
	return claimed ? claimed : world_estimate(source, process);
}

static int setup(void **state)
{
	struct world *world;

	world_setup(state);
	world = *state;
	ops = world_ops;
	ops.buffers = counting_buffers;
	ops.buffer_estimate = claimed_estimate;
	world->source.ops = &ops;
	looked_at = claimed = 0;
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

/* A process with buffers on two devices, of these numbers. */
static struct process *holder(struct world *world, pid_t pid, const struct buffer *buffers,
			      size_t count)
{
	struct process *process = world_process(world, pid, 1000);

	for (uint32_t i = 0; i < 2; i++)
		world_hold(world, process, world_device(world, i, 0xa0 + i, 1000), i);
	fake_of(process)->buffers = buffers;
	fake_of(process)->buffer_count = count;
	for (size_t i = 0; i < count; i++)
		fake_of(process)->amounts[buffers[i].device][buffers[i].kind].used_buffers++;
	return process;
}

static struct oldest gather(struct world *world)
{
	struct oldest oldest;

	oldest_init(&oldest);
	while (!oldest_gather(&oldest, &world->model))
		;
	return oldest;
}

static void assert_oldest(struct world *world, uint32_t device, enum kind kind, uint64_t want)
{
	struct oldest oldest = gather(world);

	assert_int_equal(oldest_ns(&oldest, device, kind), want);
	oldest_fini(&oldest);
}

static const struct buffer first_buffers[] = {
	{.time_ns = 500, .kind = DRAM},
	{.time_ns = 300, .kind = DRAM},
	{.time_ns = 900, .kind = DRAM, .device = 1},
};
static const struct buffer second_buffers[] = {
	{.time_ns = 400, .kind = DRAM},
	{.time_ns = 200, .kind = L1},
	{.time_ns = 800, .kind = DRAM, .device = 1},
};

#define BUFFERS(list) list, G_N_ELEMENTS(list)

static void it_is_the_oldest_of_all_processes(void **state)
{
	holder(*state, 1, BUFFERS(first_buffers));
	holder(*state, 2, BUFFERS(second_buffers));
	assert_oldest(*state, 0, DRAM, 300);
	assert_oldest(*state, 0, L1, 200);
	assert_oldest(*state, 1, DRAM, 800);
}

static void without_buffers_there_is_none(void **state)
{
	assert_oldest(*state, 0, DRAM, 0);
	holder(*state, 1, NULL, 0);
	assert_oldest(*state, 0, DRAM, 0);
	assert_oldest(*state, 1000, DRAM, 0);
}

static void a_process_that_is_gone_counts_no_more(void **state)
{
	struct process *first = holder(*state, 1, BUFFERS(first_buffers));

	holder(*state, 2, BUFFERS(second_buffers));
	assert_oldest(*state, 0, DRAM, 300);
	world_leave(*state, first);
	assert_oldest(*state, 0, DRAM, 400);
}

static void where_a_process_has_too_many_nothing_is_said_rather_than_a_wrong_thing(void **state)
{
	struct world *world = *state;

	holder(world, 1, BUFFERS(first_buffers));
	claimed = OLDEST_RECORDS / 2 + 1; /* of both; the second does not fit */
	holder(world, 2, second_buffers, 2);
	assert_oldest(world, 0, DRAM, 0);
	assert_oldest(world, 0, L1, 0);
	assert_oldest(world, 1, DRAM, 900); /* it has nothing there */
}

static void of_a_process_with_too_many_a_survey_of_others_counts_while_it_is_kept(void **state)
{
	struct world *world = *state;
	struct process *process = holder(world, 1, BUFFERS(first_buffers));
	struct survey_slice slice = {SURVEY_SLICE};
	uint64_t waits_for = 0;

	claimed = OLDEST_RECORDS + 1;
	assert_oldest(world, 0, DRAM, 0);
	assert_non_null(survey_get(&world->model, process, &waits_for, &slice));
	looked_at = 0;
	world_now_ns += SURVEY_KEEP_NS;
	assert_oldest(world, 0, DRAM, 300);
	world_now_ns++;
	assert_oldest(world, 0, DRAM, 0);
	assert_int_equal(looked_at, 0);
}

static void it_looks_at_no_more_records_than_it_may(void **state)
{
	struct world *world = *state;
	struct buffer *buffers = g_new0(struct buffer, MANY);
	struct oldest oldest;

	g_ptr_array_add(world->fakes, buffers);
	claimed = OLDEST_RECORDS / 3;
	for (pid_t pid = 1; pid <= 10; pid++)
		holder(world, pid, buffers, MANY);
	oldest = gather(world);
	oldest_fini(&oldest);
	assert_in_range(looked_at, 3 * MANY, 3 * (MANY + 1000));
}

static void no_slice_is_long_and_who_leaves_between_two_does_no_harm(void **state)
{
	struct world *world = *state;
	struct buffer *buffers = g_new0(struct buffer, MANY);
	struct oldest oldest;
	unsigned int slices = 0;

	for (unsigned int i = 0; i < MANY; i++)
		buffers[i].time_ns = 1000;
	g_ptr_array_add(world->fakes, buffers);
	holder(world, 1, BUFFERS(first_buffers));
	for (pid_t pid = 2; pid <= 4; pid++)
		holder(world, pid, buffers, MANY);
	holder(world, 5, BUFFERS(second_buffers));
	oldest_init(&oldest);
	for (uint64_t before = 0; !oldest_gather(&oldest, &world->model); before = looked_at) {
		assert_true(looked_at - before < 2 * SURVEY_SLICE);
		if (++slices == 3)
			world_leave(world, model_process_by_pid(&world->model, 2));
	}
	assert_true(slices >= 2 * MANY / SURVEY_SLICE);
	assert_int_equal(oldest_ns(&oldest, 0, DRAM), 300);
	assert_int_equal(oldest_ns(&oldest, 0, L1), 200);
	oldest_fini(&oldest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(it_is_the_oldest_of_all_processes),
		CASE(without_buffers_there_is_none),
		CASE(a_process_that_is_gone_counts_no_more),
		CASE(where_a_process_has_too_many_nothing_is_said_rather_than_a_wrong_thing),
		CASE(of_a_process_with_too_many_a_survey_of_others_counts_while_it_is_kept),
		CASE(it_looks_at_no_more_records_than_it_may),
		CASE(no_slice_is_long_and_who_leaves_between_two_does_no_harm),
	};

	return RUN(tests);
}
