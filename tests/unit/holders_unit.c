/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a device's memory by holder, by tag and by age, to the byte. */
#include "text.h"

#define SECOND 1000000000ull

#define HOLDERS_HEAD \
	"pid        comm             uid      kind     bytes          buffers   oldest_sec\n"
#define TAGS_HEAD         "tag              kind     bytes          buffers\n"
#define PROCESS_TAGS_HEAD "tag              device kind     bytes          buffers\n"
#define AGES_HEAD                                                                            \
	"kind           1s_bytes    1s_buffers      10s_bytes   10s_buffers     1min_bytes " \
	" 1min_buffers    10min_bytes 10min_buffers       1h_bytes    1h_buffers    "        \
	"older_bytes older_buffers\n"

/* A process that calls device 0 by this number, too, and device 1 likewise. */
static struct process *holder(struct world *world, pid_t pid, const char *comm)
{
	struct process *process = world_process(world, pid, 1000);

	g_strlcpy(process->comm, comm, sizeof process->comm);
	for (uint32_t i = 0; i < 2; i++)
		world_hold(world, process, world_device(world, i, 0xa0 + i, 1000), i);
	return process;
}

static struct device *device(struct world *world, uint32_t number)
{
	return model_device_numbered(&world->model, number);
}

/* The process's buffers, also in its sums. */
static void list(struct process *process, const struct buffer *buffers, size_t count)
{
	struct fake *fake = fake_of(process);

	fake->buffers = buffers;
	fake->buffer_count = count;
	for (size_t i = 0; i < count; i++) {
		struct amount *amount = &fake->amounts[buffers[i].device][buffers[i].kind];

		amount->used_bytes += buffers[i].size_bytes;
		amount->used_buffers++;
	}
}

#define AT(seconds_ago) (WORLD_NOW - (uint64_t)((seconds_ago) * (double)SECOND))
#define L1              ((enum kind)TTMEM_L1)

static const struct buffer buffers[] = {
	{.size_bytes = 100, .time_ns = AT(5), .device = 0, .tag = "weights"},
	{.size_bytes = 200, .time_ns = AT(75.5), .device = 0, .tag = "weights"},
	{.size_bytes = 50, .time_ns = AT(0.25), .device = 0},
	{.size_bytes = 7,
	 .time_ns = AT(700),
	 .device = 0,
	 .kind = (enum kind)TTMEM_L1,
	 .tag = "kv"},
	{.size_bytes = 900, .time_ns = AT(4000), .device = 1, .tag = "kv"},
};

static void holders_come_by_use_with_their_oldest_buffers(void **state)
{
	static const struct buffer other[] = {
		{.size_bytes = 7, .time_ns = AT(0), .kind = (enum kind)TTMEM_CB}};

	holder(*state, 9, "idle");
	list(holder(*state, 1234567, "llama"), buffers, G_N_ELEMENTS(buffers));
	list(holder(*state, 30, "other"), other, 1);
	assert_text(
		*state, render_device_holders, OF_DEVICE(device(*state, 0), 0),
		HOLDERS_HEAD
		"1234567    llama            1000     dram     350            3         75.50\n"
		"30         other            1000     cb       7              1         0.00\n"
		"1234567    llama            1000     l1       7              1         700.00\n");
	assert_text(
		*state, render_device_holders, OF_DEVICE(device(*state, 1), 0),
		HOLDERS_HEAD
		"1234567    llama            1000     dram     900            1         4000.00\n");
}

static void a_device_that_nobody_uses_has_headings_only(void **state)
{
	struct device *unused = world_device(*state, 0, 0xa, 1000);

	assert_text(*state, render_device_holders, OF_DEVICE(unused, 0), HOLDERS_HEAD);
	assert_text(*state, render_device_tags, OF_DEVICE(unused, 0), TAGS_HEAD);
}

static void hostile_names_stay_in_their_column(void **state)
{
	struct process *process = holder(*state, 1, "a b\n\x1b[1m \xff\\");

	world_set(process, 0, TTMEM_DRAM, 5, 1);
	world_set(holder(*state, 2, ""), 0, TTMEM_DRAM, 5, 1);
	assert_text(*state, render_device_holders, OF_DEVICE(device(*state, 0), 0),
		    HOLDERS_HEAD
		    "1          a?b??[1m???      1000     dram     5              1         -\n"
		    "2          -                1000     dram     5              1         -\n");
}

static void a_source_of_sums_only_has_no_buffers_to_count(void **state)
{
	struct world *world = *state;
	struct source_ops ops = world_ops;
	struct process *process = holder(world, 1, "metal");

	ops.buffers = NULL;
	world->source.ops = &ops;
	list(process, buffers, G_N_ELEMENTS(buffers));
	assert_text(world, render_device_holders, OF_DEVICE(device(world, 0), 0),
		    HOLDERS_HEAD
		    "1          metal            1000     dram     350            -         -\n"
		    "1          metal            1000     l1       7              -         -\n");
	assert_text(world, render_device_tags, OF_DEVICE(device(world, 0), 0), TAGS_HEAD);
}

static void tags_of_a_device_are_sums_over_processes(void **state)
{
	static const struct buffer more[] = {
		{.size_bytes = 1000, .device = 0, .tag = "kv"},
		{.size_bytes = 3, .device = 0, .kind = (enum kind)TTMEM_L1, .tag = "kv"},
	};

	list(holder(*state, 1, "a"), buffers, G_N_ELEMENTS(buffers));
	list(holder(*state, 2, "b"), more, G_N_ELEMENTS(more));
	assert_text(*state, render_device_tags, OF_DEVICE(device(*state, 0), 0),
		    TAGS_HEAD "kv               dram     1000           1\n"
			      "weights          dram     300            2\n"
			      "-                dram     50             1\n"
			      "kv               l1       10             2\n");
}

static void tags_of_a_process_are_over_its_devices(void **state)
{
	struct process *process = holder(*state, 1, "a");

	list(process, buffers, G_N_ELEMENTS(buffers));
	assert_text(*state, render_process_tags, OF_PROCESS(process, 0),
		    PROCESS_TAGS_HEAD "kv               1      dram     900            1\n"
				      "weights          0      dram     300            2\n"
				      "-                0      dram     50             1\n"
				      "kv               0      l1       7              1\n");
}

#define CROWD 5
#define EACH  1500u

static uint64_t column(const char *line, unsigned int number)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);
	unsigned int at = 0;

	for (char **word = words; *word; word++)
		if (**word && at++ == number)
			return g_ascii_strtoull(*word, NULL, 10);
	return 0;
}

/* More tags than a table shows: the last row has the rest of them, the smallest. */
static void a_table_of_tags_ends_with_the_others(void **state)
{
	struct buffer *many = g_new0(struct buffer, CROWD * EACH);
	GPtrArray *tags = g_ptr_array_new_with_free_func(g_free);
	uint64_t bytes = 0, count = 0;
	char *text, **lines;

	for (unsigned int i = 0; i < CROWD * EACH; i++) {
		g_ptr_array_add(tags, g_strdup_printf("tag-%u", i));
		many[i].tag = tags->pdata[i];
		many[i].size_bytes = i + 1;
	}
	for (pid_t i = 0; i < CROWD; i++)
		list(holder(*state, i + 1, "c"), many + (size_t)i * EACH, EACH);
	text = world_text(*state, render_device_tags, OF_DEVICE(device(*state, 0), 0), NULL);
	lines = g_strsplit(g_strchomp(text), "\n", -1);
	assert_int_equal(g_strv_length(lines), 1 + 4096);
	assert_true(g_str_has_prefix(lines[1], "tag-7499 "));
	assert_true(g_str_has_prefix(lines[4096], "other            -        "));
	for (int i = 1; lines[i]; i++) {
		bytes += column(lines[i], 2);
		count += column(lines[i], 3);
	}
	assert_int_equal(count, CROWD * EACH);
	assert_int_equal(bytes, CROWD * EACH * (CROWD * EACH + 1) / 2);
	g_strfreev(lines);
	g_free(text);
	g_free(many);
	g_ptr_array_free(tags, TRUE);
}

static void each_buffer_is_in_one_column_of_ages(void **state)
{
	char *text, **lines;

	list(holder(*state, 1, "a"), buffers, G_N_ELEMENTS(buffers));
	list(holder(*state, 2, "b"), buffers, G_N_ELEMENTS(buffers));
	text = world_text(*state, render_device_ages, OF_DEVICE(device(*state, 0), 0), NULL);
	assert_true(g_str_has_prefix(text, AGES_HEAD));
	lines = g_strsplit(text, "\n", -1);
	assert_int_equal(g_strv_length(lines), 1 + KIND_COUNT + 1);
	assert_string_equal(
		lines[1], "dram                100             2            200             2   "
			  "           0             0            400             2              0 "
			  "            0              0             0");
	assert_string_equal(
		lines[2], "l1                    0             0              0             0   "
			  "           0             0              0             0             14 "
			  "            2              0             0");
	g_strfreev(lines);
	g_free(text);
}

#define MANY (4 * SURVEY_SLICE)

static struct process *hoarder(struct world *world, pid_t pid)
{
	struct buffer *mine = g_new0(struct buffer, MANY);
	struct process *process = holder(world, pid, "many");

	g_ptr_array_add(world->fakes, mine);
	list(process, mine, MANY);
	return process;
}

static void long_tables_are_gathered_in_slices_and_written_at_once(void **state)
{
	static render_fn *const makes[] = {render_device_holders, render_device_tags,
					   render_device_ages};
	struct world *world = *state;

	hoarder(world, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(makes); i++) {
		unsigned int slices;
		char *text;

		world_now_ns += 2 * SECOND;
		text = world_text(world, makes[i], OF_DEVICE(device(world, 0), 0), &slices);
		assert_in_range(slices, 4, 6);
		assert_non_null(strstr(text, " 32768"));
		g_free(text);
	}
}

/* Between two slices one process ends, another allocates: the sums are those of the end. */
static void holders_have_the_sums_of_the_moment_of_writing(void **state)
{
	struct world *world = *state;
	struct process *ends = hoarder(world, 1), *grows = hoarder(world, 2);
	struct cursor cursor = {.rows = 0};
	struct render render = {.model = &world->model,
				.device = device(world, 0),
				.cursor = &cursor,
				.out = g_string_new(NULL)};

	for (int i = 0; i < 6; i++)
		assert_false(render_device_holders(&render));
	assert_int_equal(render.out->len, 0);
	world_leave(world, ends);
	world_set(grows, 0, TTMEM_L1, 77, 1);
	while (!render_device_holders(&render))
		;
	assert_null(strstr(render.out->str, "\n1  "));
	assert_non_null(strstr(render.out->str, "l1       77             1         -\n"));
	g_string_free(render.out, TRUE);
}

static void a_table_that_is_given_up_midway_leaves_nothing(void **state)
{
	static render_fn *const makes[] = {render_device_holders, render_device_tags,
					   render_device_ages};
	struct world *world = *state;

	hoarder(world, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(makes); i++) {
		struct cursor cursor = {.rows = 0};
		struct render render = {
			.model = &world->model, .device = device(world, 0), .cursor = &cursor};

		world_now_ns += 2 * SECOND;
		assert_false(makes[i](&render));
		assert_non_null(cursor.work);
		cursor_clear(&cursor);
		assert_null(cursor.work);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(holders_come_by_use_with_their_oldest_buffers),
		TEST(a_device_that_nobody_uses_has_headings_only),
		TEST(hostile_names_stay_in_their_column),
		TEST(a_source_of_sums_only_has_no_buffers_to_count),
		TEST(tags_of_a_device_are_sums_over_processes),
		TEST(tags_of_a_process_are_over_its_devices),
		TEST(a_table_of_tags_ends_with_the_others),
		TEST(each_buffer_is_in_one_column_of_ages),
		TEST(long_tables_are_gathered_in_slices_and_written_at_once),
		TEST(holders_have_the_sums_of_the_moment_of_writing),
		TEST(a_table_that_is_given_up_midway_leaves_nothing),
	};

	return RUN(tests);
}
