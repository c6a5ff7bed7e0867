/* SPDX-License-Identifier: Apache-2.0 */
/* Surveys of all buffers of a process: right, in slices, shared, kept for a while, bounded. */
#include "survey.h"
#include "world.h"

#define SECOND  1000000000ull
#define MILLION 1000000u
#define DEVICES 3u
#define TAGS    20u

static struct source_ops ops; /* the world's, counting */
static uint64_t looked_at;    /* records that the source was asked for */

static size_t counting_buffers(struct source *source, const struct process *process,
			       struct buffer_cursor *cursor, struct buffer *rows, size_t room)
{
	looked_at += room;
	return world_buffers(source, process, cursor, rows, room);
}

static int setup(void **state)
{
	struct world *world;

	world_setup(state);
	world = *state;
	ops = world_ops;
	ops.buffers = counting_buffers;
	world->source.ops = &ops;
	looked_at = 0;
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

/* A process on some devices, with so many equal buffers, which are the caller's to change. */
static struct process *holder(struct world *world, pid_t pid, size_t count, struct buffer **buffers)
{
	struct process *process = world_process(world, pid, 1000);
	struct buffer *mine = g_new0(struct buffer, count + 1);

	for (uint32_t i = 0; i < DEVICES; i++)
		world_hold(world, process, world_device(world, i, 0xa0 + i, 1000), i);
	for (size_t i = 0; i < count; i++)
		mine[i] = (struct buffer){.size_bytes = 10, .time_ns = WORLD_NOW, .tag = "t"};
	g_ptr_array_add(world->fakes, mine);
	fake_of(process)->buffers = mine;
	fake_of(process)->buffer_count = count;
	if (buffers)
		*buffers = mine;
	return process;
}

/* One slice's worth. */
static const struct survey *get(struct world *world, struct process *process, uint64_t *waits_for)
{
	struct survey_slice slice = {SURVEY_SLICE};

	return survey_get(&world->model, process, waits_for, &slice);
}

static const struct survey *get_all(struct world *world, struct process *process)
{
	const struct survey *survey;
	uint64_t waits_for = 0;

	while (!(survey = get(world, process, &waits_for)))
		;
	return survey;
}

static uint64_t buffers_in(const struct survey *survey)
{
	uint64_t sum = 0;

	for (guint i = 0; i < survey->tally.rows->len; i++)
		sum += g_array_index(survey->tally.rows, struct tally_row, i).buffers;
	return sum;
}

struct plain {
	uint64_t bytes[TAGS][DEVICES][KIND_COUNT];
	uint64_t oldest[DEVICES][KIND_COUNT];
	uint64_t column[DEVICES][KIND_COUNT][AGES_COLUMNS];
};

static void plain_count(struct plain *plain, struct buffer *buffer, unsigned int tag)
{
	static const uint64_t limits[] = {1, 10, 60, 600, 3600};
	uint64_t *oldest = &plain->oldest[buffer->device][buffer->kind];
	uint64_t age = WORLD_NOW - buffer->time_ns;
	unsigned int column = 0;

	while (column < G_N_ELEMENTS(limits) && age >= limits[column] * SECOND)
		column++;
	plain->bytes[tag][buffer->device][buffer->kind] += buffer->size_bytes;
	plain->column[buffer->device][buffer->kind][column] += buffer->size_bytes;
	if (!*oldest || buffer->time_ns < *oldest)
		*oldest = buffer->time_ns;
}

static void random_buffers(struct plain *plain, struct buffer *buffers, size_t count)
{
	static char names[TAGS][16];
	uint64_t dice = 7;

	for (size_t i = 0; i < count; i++) {
		unsigned int tag = unit_random(&dice) % TAGS;

		snprintf(names[tag], sizeof names[tag], "%u", tag);
		buffers[i] = (struct buffer){
			.size_bytes = unit_random(&dice) % 4096,
			.time_ns = WORLD_NOW -
				   unit_random(&dice) % (SECOND << unit_random(&dice) % 14),
			.device = unit_random(&dice) % DEVICES,
			.kind = unit_random(&dice) % KIND_COUNT,
			.tag = tag ? names[tag] : NULL,
		};
		plain_count(plain, &buffers[i], tag);
	}
}

static void a_survey_is_what_a_plain_count_says(void **state)
{
	static struct plain plain;
	struct buffer *buffers;
	struct process *process = holder(*state, 1, 50000, &buffers);
	const struct survey *survey;

	random_buffers(&plain, buffers, 50000);
	survey = get_all(*state, process);
	assert_int_equal(buffers_in(survey), 50000);
	for (guint i = 0; i < survey->tally.rows->len; i++) {
		const struct tally_row *row =
			&g_array_index(survey->tally.rows, struct tally_row, i);

		assert_int_equal(
			row->bytes,
			plain.bytes[row->tag ? atoi(row->tag) : 0][row->device][row->kind]);
	}
	for (uint32_t device = 0; device < DEVICES; device++)
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			const struct survey_place *place = survey_place(survey, device, kind);
			struct ages_sum columns[AGES_COLUMNS] = {0};

			assert_int_equal(place->oldest_ns, plain.oldest[device][kind]);
			ages_read(&place->ages, 0, columns);
			for (int i = 0; i < AGES_COLUMNS; i++)
				assert_int_equal(columns[i].bytes, plain.column[device][kind][i]);
		}
	assert_null(survey_place(survey, DEVICES, 0));
}

static void a_million_records_are_looked_at_in_slices(void **state)
{
	struct process *process = holder(*state, 1, MILLION, NULL);
	const struct survey *survey = NULL;
	uint64_t waits_for = 0, before;
	unsigned int slices = 0;

	while (!survey) {
		before = looked_at;
		survey = get(*state, process, &waits_for);
		assert_in_range(looked_at - before, 1, SURVEY_SLICE + 512);
		slices++;
	}
	assert_in_range(slices, MILLION / SURVEY_SLICE, MILLION / SURVEY_SLICE + 2);
	assert_int_equal(buffers_in(survey), MILLION);
}

static void two_who_ask_share_the_walk(void **state)
{
	struct process *process = holder(*state, 1, 10 * SURVEY_SLICE, NULL);
	uint64_t one = 0, two = 0;

	while (!get(*state, process, &one) && !get(*state, process, &two))
		;
	assert_non_null(get(*state, process, &one));
	assert_non_null(get(*state, process, &two));
	assert_in_range(looked_at, 10 * SURVEY_SLICE, 10 * SURVEY_SLICE + 2 * 512);
}

static void a_survey_is_good_for_a_second(void **state)
{
	struct process *process = holder(*state, 1, SURVEY_FEW + 1, NULL);
	const struct survey *first = get_all(*state, process);
	uint64_t number = first->number;

	world_now_ns += SURVEY_GOOD_NS - 1;
	assert_int_equal(get_all(*state, process)->number, number);
	world_now_ns++;
	assert_int_not_equal(get_all(*state, process)->number, number);
}

static void few_buffers_are_always_looked_at_anew(void **state)
{
	struct process *process = holder(*state, 1, SURVEY_FEW, NULL);

	assert_int_equal(buffers_in(get_all(*state, process)), SURVEY_FEW);
	fake_of(process)->buffer_count = 3;
	assert_int_equal(buffers_in(get_all(*state, process)), 3);
	fake_of(process)->buffer_count = 0;
	assert_int_equal(buffers_in(get_all(*state, process)), 0);
}

static void a_clock_that_is_set_back_makes_no_survey_good_for_long(void **state)
{
	struct process *process = holder(*state, 1, SURVEY_FEW + 1, NULL);
	uint64_t number = get_all(*state, process)->number;

	world_now_ns -= 3600 * SECOND;
	assert_int_not_equal(get_all(*state, process)->number, number);
}

static void who_waits_gets_the_survey_however_long_it_took(void **state)
{
	struct process *process = holder(*state, 1, 4 * SURVEY_SLICE, NULL);
	uint64_t patient = 0, other = 0;

	assert_null(get(*state, process, &patient));
	while (!get(*state, process, &other))
		world_now_ns += 5 * SECOND;
	looked_at = 0;
	assert_non_null(get(*state, process, &patient));
	assert_int_equal(looked_at, 0);
	assert_null(get(*state, process, &other));
}

static void tags_of_a_process_are_bounded(void **state)
{
	struct buffer *buffers;
	struct process *process = holder(*state, 1, 20000, &buffers);
	const struct survey *survey;
	GPtrArray *tags = g_ptr_array_new_with_free_func(g_free);

	for (unsigned int i = 0; i < 20000; i++) {
		g_ptr_array_add(tags, g_strdup_printf("tag-%u", i));
		buffers[i].tag = tags->pdata[i];
		buffers[i].kind = i % KIND_COUNT;
	}
	survey = get_all(*state, process);
	assert_int_equal(survey->tally.rows->len, SURVEY_TAGS + KIND_COUNT);
	assert_int_equal(buffers_in(survey), 20000);
	g_ptr_array_free(tags, TRUE); /* nothing of them is kept */
	assert_string_equal(g_array_index(survey->tally.rows, struct tally_row, 0).tag, "tag-0");
}

static guint surveyors(struct world *world)
{
	return world->model.surveyors.length;
}

static void what_nobody_asks_for_is_given_up(void **state)
{
	struct world *world = *state;
	struct process *one = holder(world, 1, 5, NULL), *two = holder(world, 2, 5, NULL);

	get_all(world, one);
	world_now_ns += SURVEY_KEEP_NS;
	get_all(world, two);
	assert_int_equal(surveyors(world), 2);
	world_now_ns++;
	get_all(world, two);
	assert_int_equal(surveyors(world), 1);
	assert_null(one->surveyor);
	get_all(world, one);
	assert_int_equal(surveyors(world), 2);
}

static void surveys_go_with_their_process(void **state)
{
	struct world *world = *state;
	struct process *done = holder(world, 1, 5, NULL);
	struct process *midway = holder(world, 2, 3 * SURVEY_SLICE, NULL);
	uint64_t waits_for = 0;

	get_all(world, done);
	assert_null(get(world, midway, &waits_for));
	world_leave(world, midway);
	world_leave(world, done);
	assert_int_equal(surveyors(world), 0);
}

static void note_pid(void *pids, const struct holding *holding, const struct survey *survey)
{
	assert_int_equal(buffers_in(survey), holding->process->pid == 2 ? 3 * SURVEY_SLICE : 5);
	g_string_append_printf(pids, "%d ", (int)holding->process->pid);
}

static void a_tour_comes_to_every_process_in_slices(void **state)
{
	struct world *world = *state;
	struct survey_tour tour = {0};
	GString *pids = g_string_new(NULL);
	struct device *device;
	unsigned int slices = 1;

	holder(world, 3, 5, NULL);
	holder(world, 1, 5, NULL);
	holder(world, 2, 3 * SURVEY_SLICE, NULL);
	device = model_device_numbered(&world->model, 0);
	while (!survey_tour(&world->model, device, &tour, note_pid, pids))
		slices++;
	assert_string_equal(pids->str, "1 2 3 ");
	assert_in_range(slices, 4, 5);
	g_string_free(pids, TRUE);
}

static void a_tour_goes_on_behind_a_process_that_ends_midway(void **state)
{
	struct world *world = *state;
	struct survey_tour tour = {0};
	GString *pids = g_string_new(NULL);
	struct process *ends;
	struct device *device;

	holder(world, 1, 5, NULL);
	ends = holder(world, 2, 3 * SURVEY_SLICE, NULL);
	holder(world, 3, 5, NULL);
	device = model_device_numbered(&world->model, 0);
	assert_false(survey_tour(&world->model, device, &tour, note_pid, pids));
	assert_false(survey_tour(&world->model, device, &tour, note_pid, pids));
	world_leave(world, ends);
	assert_true(survey_tour(&world->model, device, &tour, note_pid, pids));
	assert_string_equal(pids->str, "1 3 ");
	g_string_free(pids, TRUE);
}

static void a_tour_of_a_thousand_processes_pauses(void **state)
{
	struct world *world = *state;
	struct survey_tour tour = {0};
	GString *pids = g_string_new(NULL);
	unsigned int slices = 1;
	uint64_t before = 0;

	for (pid_t pid = 10; pid < 1010; pid++)
		holder(world, pid, 5, NULL);
	while (!survey_tour(&world->model, model_device_numbered(&world->model, 0), &tour, note_pid,
			    pids)) {
		assert_in_range(looked_at - before, 1, SURVEY_SLICE + 512);
		before = looked_at;
		slices++;
	}
	assert_in_range(slices, 1000 * 512 / SURVEY_SLICE, 1000);
	g_string_free(pids, TRUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_survey_is_what_a_plain_count_says),
		CASE(a_million_records_are_looked_at_in_slices),
		CASE(two_who_ask_share_the_walk),
		CASE(a_survey_is_good_for_a_second),
		CASE(few_buffers_are_always_looked_at_anew),
		CASE(a_clock_that_is_set_back_makes_no_survey_good_for_long),
		CASE(who_waits_gets_the_survey_however_long_it_took),
		CASE(tags_of_a_process_are_bounded),
		CASE(what_nobody_asks_for_is_given_up),
		CASE(surveys_go_with_their_process),
		CASE(a_tour_comes_to_every_process_in_slices),
		CASE(a_tour_goes_on_behind_a_process_that_ends_midway),
		CASE(a_tour_of_a_thousand_processes_pauses),
	};

	return RUN(tests);
}
