/* SPDX-License-Identifier: Apache-2.0 */
/* The tables: the summary for people, and the buffers of a process, which can be many. */
#include "text.h"

#define DEVICES_HEAD                                                                               \
	"DEVICE     BOARD      DRAM USED  DRAM TOTAL    USE          L1          CB       TRACE  " \
	"PROCS\n"
#define PROCESSES_HEAD                                                                        \
	"\nPID        UID            TOTAL        DRAM          L1          CB       TRACE  " \
	"DEVICES  COMMAND\n"
#define BUFFERS_HEAD \
	"device kind     address            size            age_sec tag              thread\n"

static struct process *holder(struct world *world, pid_t pid, struct device *device, uint32_t index)
{
	struct process *process = world_process(world, pid, 1000);

	strcpy(process->comm, "worker");
	world_hold(world, process, device, index);
	return process;
}

static void sizes_are_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} sizes[] = {
		{0, "0 B"},
		{1, "1 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{1024 * 1024 - 1, "1.0 MiB"}, /* not 1024.0 KiB */
		{1023 * 1024 + 900, "1023.9 KiB"},
		{3ull << 29, "1.5 GiB"},
		{12ull << 30, "12.0 GiB"},
		{5ull << 40, "5.0 TiB"},
		{1ull << 56, "64.0 PiB"},
		{UINT64_MAX, "16.0 EiB"},
	};
	char text[16];

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
		assert_string_equal(text_size(text, sizes[i].bytes), sizes[i].want);
}

static void an_empty_summary_is_its_headings(void **state)
{
	assert_text(*state, render_summary, NOTHING, DEVICES_HEAD PROCESSES_HEAD);
}

static void the_summary_has_devices_and_then_processes_by_use(void **state)
{
	struct world *world = *state;
	const struct identity n300 = {
		.asic_id = 0xa, .board = "n300", .dram_total_bytes = 12ull << 30};
	struct device *device = model_device_get(&world->model, &world->source, &n300, 1000);
	struct process *small = holder(world, 42, device, 0);
	struct process *large = holder(world, 4194304, device, 0);
	struct process *none = world_process(world, 7, 65534);

	world_device(world, 10, 0, 1000);
	world_set(small, 0, TTMEM_DRAM, 3ull << 29, 1);
	world_set(large, 0, TTMEM_DRAM, 9ull << 30, 1);
	world_set(large, 0, TTMEM_L1, 1536, 1);
	world_set(large, 0, TTMEM_CB, 10, 1);
	world_set(large, 0, TTMEM_TRACE, 1 << 20, 1);
	world_set(large, 0, TTMEM_KERNEL, 5, 1);
	strcpy(none->comm, "idle one");
	assert_text(world, render_summary, NOTHING,
		    DEVICES_HEAD "device0    n300        10.5 GiB    12.0 GiB  87.5%     1.5 KiB   "
				 "     10 B     1.0 MiB      2\n"
				 "device10   -                0 B           -      -         0 B   "
				 "      0 B         0 B      0\n" PROCESSES_HEAD
				 "4194304    1000         9.0 GiB     9.0 GiB     1.5 KiB        "
				 "10 B     1.0 MiB  0        worker\n"
				 "42         1000         1.5 GiB     1.5 GiB         0 B         "
				 "0 B         0 B  0        worker\n"
				 "7          65534            0 B         0 B         0 B         "
				 "0 B         0 B  -        idle one\n");
	assert_int_equal(device->peak_bytes[TTMEM_DRAM], 21ull << 29);
}

static void processes_of_equal_use_come_by_pid(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	char *text, *at[3];

	for (pid_t pid = 30; pid > 0; pid -= 10)
		world_set(holder(world, pid, device, 0), 0, TTMEM_DRAM, 5, 1);
	text = world_text(world, render_summary, NOTHING, NULL);
	for (int i = 0; i < 3; i++) {
		char line[16];

		snprintf(line, sizeof line, "\n%d ", 10 * (i + 1));
		at[i] = strstr(text, line);
		assert_non_null(at[i]);
	}
	assert_true(at[0] < at[1] && at[1] < at[2]);
	g_free(text);
}

#define DEVICES_COLUMN 81

static void assert_device_list(struct world *world, const uint32_t *numbers, size_t count,
			       const char *want)
{
	struct process *process = world_process(world, 1, 1000);
	char *text, *row;

	for (size_t i = 0; i < count; i++)
		world_hold(world, process, world_device(world, numbers[i], 0, 1000), numbers[i]);
	text = world_text(world, render_summary, NOTHING, NULL);
	row = strstr(text, "\n1  ");
	assert_non_null(row);
	row += 1 + DEVICES_COLUMN;
	row[strcspn(row, " ")] = 0;
	assert_string_equal(row, want);
	g_free(text);
}

static void devices_are_listed_as_ranges(void **state)
{
	static const uint32_t one[] = {3}, two[] = {0, 1}, gaps[] = {0, 1, 2, 5},
			      both[] = {0, 2, 3, 4, 7, 60, 61, 63};

	assert_device_list(*state, one, 1, "3");
	assert_device_list(*state, two, 2, "0-1");
	assert_device_list(*state, gaps, 4, "0-2,5");
	assert_device_list(*state, both, 8, "0,2-4,7,60-61,63");
}

static void names_cannot_break_the_table(void **state)
{
	static const char *const names[] = {"a\nb",       "\x1b[2J\x1b]0;x\a", "\xff\xfe\xc3",
					    "\t\v\f\r\b", "\xe2\x80\xae!",     "tab\there\x7f"};
	struct world *world = *state;

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		struct process *process = world_process(world, 1, 1000);
		unsigned int lines = 0;
		char *text;

		strncpy(process->comm, names[i], sizeof process->comm - 1);
		text = world_text(world, render_summary, NOTHING, NULL);
		assert_true(g_utf8_validate(text, -1, NULL));
		for (const char *at = text; *at; at++) {
			assert_true(*at == '\n' || !g_ascii_iscntrl(*at));
			lines += *at == '\n';
		}
		assert_null(strstr(text, "\xe2\x80\xae"));
		assert_int_equal(lines, 4);
		g_free(text);
	}
}

#define CROWD 2000

static void all_hold(struct world *world, uint64_t bytes)
{
	for (pid_t pid = 1; pid <= CROWD; pid++) {
		struct process *process = model_process_by_pid(&world->model, pid);

		if (process)
			world_set(process, 0, TTMEM_DRAM, bytes, 1);
	}
}

static unsigned int count_of(const char *text, const char *what)
{
	unsigned int count = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		count++;
	return count;
}

/* Each time the loop has gone on, everybody holds more and somebody has left. */
static void a_long_summary_is_made_in_slices_and_of_one_moment(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0xa, 1000);
	struct reader reader = {.uid = 1000};
	struct cursor cursor = {.rows = 0};
	struct render render = {.model = &world->model,
				.reader = &reader,
				.cursor = &cursor,
				.out = g_string_new(NULL)};
	unsigned int calls = 0, here = 0;
	uint64_t bytes = 0, shown = 0;
	char size[16], line[64];
	bool is_done;

	for (pid_t pid = 1; pid <= CROWD; pid++)
		holder(world, pid, device, 0);
	do {
		uint64_t read = world->holdings_read;

		all_hold(world, ++bytes);
		is_done = render_summary(&render);
		calls++;
		if (world->holdings_read != read) {
			assert_int_equal(shown, 0); /* all at once */
			shown = bytes;
			here = device->users->len;
			assert_int_equal(world->holdings_read - read, here);
		}
		assert_true(is_done || !shown || cursor.work_bytes > here * sizeof(uint64_t));
		world_leave(world, model_process_by_pid(&world->model, (pid_t)(CROWD - calls)));
	} while (!is_done);
	assert_in_range(calls, CROWD / 128 + 2, CROWD / 64);
	assert_null(cursor.work);
	snprintf(line, sizeof line, "1000     %11s ", text_size(size, shown));
	assert_int_equal(count_of(render.out->str, line), here);
	snprintf(line, sizeof line, "device0    -        %11s ", text_size(size, shown * here));
	assert_int_equal(count_of(render.out->str, line), 1);
	g_string_free(render.out, TRUE);
}

static void no_buffers_are_a_heading(void **state)
{
	struct process *process = world_process(*state, 1, 1000);

	assert_text(*state, render_buffers, OF_PROCESS(process, 0), BUFFERS_HEAD);
}

static void a_buffer_is_a_row(void **state)
{
	static const struct buffer buffers[] = {
		{.address = 0x1000,
		 .size_bytes = 4096,
		 .time_ns = WORLD_NOW - 12345678901,
		 .thread = 77,
		 .device = 3,
		 .kind = (enum kind)TTMEM_L1_SMALL,
		 .tag = "weights"},
		{.address = UINT64_MAX,
		 .size_bytes = 1ull << 56,
		 .time_ns = WORLD_NOW + 1000000000,
		 .thread = UINT32_MAX,
		 .device = 511,
		 .kind = (enum kind)TTMEM_DRAM},
	};
	struct process *process = world_process(*state, 1, 1000);

	fake_of(process)->buffers = buffers;
	fake_of(process)->buffer_count = 2;
	assert_text(
		*state, render_buffers, OF_PROCESS(process, 0),
		BUFFERS_HEAD
		"3      l1_small 0x1000             4096             12.34 weights          77\n"
		"511    dram     0xffffffffffffffff 72057594037927936      0.00 -                "
		"4294967295\n");
}

static void many_buffers_come_in_slices_and_each_once(void **state)
{
	const size_t count = 5000;
	struct buffer *buffers = g_new0(struct buffer, count);
	struct process *process = world_process(*state, 1, 1000);
	unsigned int slices;
	char *text, **lines;

	for (size_t i = 0; i < count; i++)
		buffers[i].address = i;
	fake_of(process)->buffers = buffers;
	fake_of(process)->buffer_count = count;
	text = world_text(*state, render_buffers, OF_PROCESS(process, 0), &slices);
	assert_int_equal(slices, (count + RENDER_SLICE_ROWS - 1) / RENDER_SLICE_ROWS);
	lines = g_strsplit(text, "\n", -1);
	assert_int_equal(g_strv_length(lines), count + 2);
	for (size_t i = 0; i < count; i++) {
		char *address = strstr(lines[i + 1], " 0x");

		assert_non_null(address);
		assert_int_equal(g_ascii_strtoull(address + 3, NULL, 16), i);
	}
	g_strfreev(lines);
	g_free(text);
	g_free(buffers);
}

static void what_the_list_leaves_out_is_said_at_its_end(void **state)
{
	static const struct buffer buffer = {.address = 1, .time_ns = WORLD_NOW};
	struct process *process = world_process(*state, 1, 1000);
	char *text;

	fake_of(process)->buffers = &buffer;
	fake_of(process)->buffer_count = 1;
	fake_of(process)->errors.unlisted = 17;
	text = world_text(*state, render_buffers, OF_PROCESS(process, 0), NULL);
	assert_true(g_str_has_suffix(text, " 0\n# truncated: 17 more buffers are not listed\n"));
	g_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sizes_are_for_people),
		TEST(an_empty_summary_is_its_headings),
		TEST(the_summary_has_devices_and_then_processes_by_use),
		TEST(processes_of_equal_use_come_by_pid),
		TEST(devices_are_listed_as_ranges),
		TEST(names_cannot_break_the_table),
		TEST(a_long_summary_is_made_in_slices_and_of_one_moment),
		TEST(no_buffers_are_a_heading),
		TEST(a_buffer_is_a_row),
		TEST(many_buffers_come_in_slices_and_each_once),
		TEST(what_the_list_leaves_out_is_said_at_its_end),
	};

	return RUN(tests);
}
