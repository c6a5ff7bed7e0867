/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON document: it can be read back, whatever the processes are called and hold. */
#include "text.h"
#include <jansson.h>

static struct process *holder(struct world *world, pid_t pid, struct device *device, uint32_t index)
{
	struct process *process = world_process(world, pid, 1000);

	strcpy(process->comm, "worker");
	world_hold(world, process, device, index);
	return process;
}

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		fail_msg("%s at %d in %s", error.text, error.position, text);
	return json;
}

static json_t *snapshot(struct world *world)
{
	char *text = world_text(world, render_snapshot, NOTHING, NULL);
	json_t *json = parse(text);

	g_free(text);
	return json;
}

/* A value by its path: "devices 0 kinds dram used_bytes". NULL if there is none. */
static json_t *at(json_t *json, const char *path)
{
	char **words = g_strsplit(path, " ", -1);

	for (char **word = words; *word; word++)
		json = json_is_array(json)
			       ? json_array_get(json, (size_t)g_ascii_strtoull(*word, NULL, 10))
			       : json_object_get(json, *word);
	g_strfreev(words);
	return json;
}

static void assert_number(json_t *json, const char *path, int64_t want)
{
	assert_true(json_is_integer(at(json, path)));
	assert_int_equal(json_integer_value(at(json, path)), want);
}

static void assert_string(json_t *json, const char *path, const char *want)
{
	assert_true(json_is_string(at(json, path)));
	assert_string_equal(json_string_value(at(json, path)), want);
}

static void without_devices_there_are_empty_lists(void **state)
{
	assert_text(*state, render_snapshot, NOTHING,
		    "{\"version\":1,\"time\":1700000000.123,\"release\":\"" TTMEM_VERSION "\","
		    "\"sources\":[{\"name\":\"fake\",\"state\":\"up\",\"detail\":\"\","
		    "\"devices\":0,\"processes\":0}],\"devices\":[],\"exited\":[],"
		    "\"exited_processes\":0,\"leaked_bytes\":0,\"processes\":[]}\n");
}

static void a_device_has_all_that_is_known_of_it(void **state)
{
	struct world *world = *state;
	const struct identity identity = {.index = 2,
					  .asic_id = 0x1a2b3c,
					  .pci = "0000:01:00.0",
					  .arch = "wormhole_b0",
					  .board = "n300",
					  .serial = "0100",
					  .firmware = "80.1",
					  .has_numa_node = true,
					  .numa_node = -1,
					  .is_remote = true,
					  .dram_total_bytes = 1000,
					  .l1_total_bytes = 300};
	struct device *device = model_device_get(&world->model, &world->source, &identity, 1000);
	struct process *process = holder(world, 1, device, 0);
	json_t *json;

	world_set(process, 0, TTMEM_DRAM, 400, 2);
	fake_of(process)->amounts[0][TTMEM_DRAM].allocated_bytes = 700;
	fake_of(process)->amounts[0][TTMEM_DRAM].failures = 3;
	fake_of(process)->failures[0][TTMEM_DRAM] =
		(struct failure){.time_ns = WORLD_NOW, .largest_free_bytes = 77};
	json = snapshot(world);
	assert_number(json, "devices 0 device", 2);
	assert_string(json, "devices 0 asic_id", "00000000001a2b3c");
	assert_string(json, "devices 0 pci", "0000:01:00.0");
	assert_string(json, "devices 0 arch", "wormhole_b0");
	assert_string(json, "devices 0 board", "n300");
	assert_string(json, "devices 0 serial", "0100");
	assert_string(json, "devices 0 firmware", "80.1");
	assert_string(json, "devices 0 capacity_source", "client");
	assert_number(json, "devices 0 numa_node", -1);
	assert_true(json_is_true(at(json, "devices 0 remote")));
	assert_number(json, "devices 0 processes", 1);
	assert_number(json, "devices 0 kinds dram capacity_bytes", 1000);
	assert_number(json, "devices 0 kinds dram used_bytes", 400);
	assert_number(json, "devices 0 kinds dram peak_bytes", 400);
	assert_number(json, "devices 0 kinds dram buffers", 2);
	assert_number(json, "devices 0 kinds dram allocated_bytes", 700);
	assert_number(json, "devices 0 kinds dram freed_bytes", 300);
	assert_number(json, "devices 0 kinds dram failures", 3);
	assert_number(json, "devices 0 kinds dram unattributed_bytes", 0);
	assert_number(json, "devices 0 kinds dram largest_free_bytes", 77);
	assert_number(json, "devices 0 events high", 0);
	assert_number(json, "devices 0 events oom", 3);
	assert_int_equal(json_object_size(at(json, "devices 0 kinds")), KIND_COUNT);
	json_decref(json);
}

static void what_is_not_known_of_a_device_has_no_key(void **state)
{
	struct world *world = *state;
	json_t *json;

	holder(world, 1, world_device(world, 0, 0, 1000), 0);
	json = snapshot(world);
	assert_int_equal(json_object_size(at(json, "devices 0")), 5);
	assert_null(at(json, "devices 0 asic_id"));
	assert_null(at(json, "devices 0 remote"));
	assert_null(at(json, "devices 0 kinds dram capacity_bytes"));
	assert_null(at(json, "devices 0 kinds dram largest_free_bytes"));
	json_decref(json);
}

static void thresholds_are_null_until_they_are_set(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0, 1000);
	json_t *json;

	world_set(holder(world, 1, device, 0), 0, TTMEM_L1, 11, 1);
	device_set_threshold(device, (enum kind)TTMEM_L1, "10", 2);
	json = snapshot(world);
	assert_true(json_is_null(at(json, "devices 0 thresholds dram high")));
	assert_number(json, "devices 0 thresholds dram events", 0);
	assert_number(json, "devices 0 thresholds l1 high", 10);
	assert_number(json, "devices 0 thresholds l1 events", 1);
	assert_int_equal(json_object_size(at(json, "devices 0 thresholds")), 2);
	assert_number(json, "devices 0 events high", 1);
	json_decref(json);
	device_set_threshold(device, (enum kind)TTMEM_L1, "18446744073709551615", 20);
	json = snapshot(world);
	assert_number(json, "devices 0 thresholds l1 high", INT64_MAX);
	json_decref(json);
}

static void a_process_has_what_it_holds_where(void **state)
{
	struct world *world = *state;
	struct process *process = holder(world, 7, world_device(world, 0, 0xa, 1000), 0);
	json_t *json;

	world_hold(world, process, world_device(world, 1, 0xb, 1000), 1);
	world_set(process, 0, TTMEM_DRAM, 100, 1);
	world_set(process, 1, TTMEM_DRAM, 20, 2);
	fake_of(process)->holding_peaks[1][TTMEM_DRAM] = 50;
	fake_of(process)->peaks[TTMEM_L1] = 9;
	process->start_ns = 1700000000123456789u;
	json = snapshot(world);
	assert_number(json, "processes 0 pid", 7);
	assert_number(json, "processes 0 uid", 1000);
	assert_string(json, "processes 0 comm", "worker");
	assert_string(json, "processes 0 source", "fake");
	assert_true(json_real_value(at(json, "processes 0 start_time")) == 1700000000.123);
	assert_true(json_is_false(at(json, "processes 0 untracked")));
	assert_number(json, "processes 0 peak_bytes dram", 120);
	assert_number(json, "processes 0 peak_bytes l1", 9);
	assert_number(json, "processes 0 devices 0 device", 0);
	assert_number(json, "processes 0 devices 0 kinds dram used_bytes", 100);
	assert_number(json, "processes 0 devices 1 device", 1);
	assert_string(json, "processes 0 devices 1 source", "fake");
	assert_number(json, "processes 0 devices 1 kinds dram used_bytes", 20);
	assert_number(json, "processes 0 devices 1 kinds dram buffers", 2);
	assert_number(json, "processes 0 devices 1 kinds dram peak_bytes", 50);
	assert_null(at(json, "processes 0 devices 0 kinds cb")); /* it never had any */
	json_decref(json);
}

static void numbers_are_exact_up_to_the_largest_integer(void **state)
{
	static const uint64_t numbers[] = {(1ull << 53) + 1, INT64_MAX - 1, INT64_MAX};
	struct world *world = *state;
	struct process *process = holder(world, 1, world_device(world, 0, 0, 1000), 0);
	json_t *json;

	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		world_set(process, 0, TTMEM_CB, numbers[i], 1);
		json = snapshot(world);
		assert_number(json, "devices 0 kinds cb used_bytes", (int64_t)numbers[i]);
		assert_number(json, "processes 0 devices 0 kinds cb used_bytes",
			      (int64_t)numbers[i]);
		json_decref(json);
	}
	world_set(process, 0, TTMEM_CB, UINT64_MAX, 1);
	json = snapshot(world);
	assert_number(json, "devices 0 kinds cb used_bytes", INT64_MAX); /* stays there */
	json_decref(json);
}

static void assert_name(struct world *world, struct process *process, const char *comm,
			const char *want)
{
	char *text;
	json_t *json;

	g_strlcpy(process->comm, comm, sizeof process->comm);
	text = world_text(world, render_snapshot, NOTHING, NULL);
	for (const char *c = text; *c; c++)
		assert_true(*c == '\n' || g_ascii_isprint(*c));
	json = parse(text);
	assert_string(json, "processes 0 comm", want);
	json_decref(json);
	g_free(text);
}

static void any_name_can_be_read_back(void **state)
{
	static const char *const same[] = {"\"",
					   "\\",
					   "\"}],{\"",
					   "\n\r\t\b\f\x01\x1f\x7f",
					   "\x7f\x7f",
					   "</script>",
					   "caf\xc3\xa9",
					   "\xf0\x9f\x98\x80",
					   "\xe2\x80\xa8\xe2\x80\xae",
					   "\\u0041",
					   "\\\x7f\\",
					   " ",
					   ""};
	struct process *process = holder(*state, 1, world_device(*state, 0, 0, 1000), 0);

	for (size_t i = 0; i < G_N_ELEMENTS(same); i++)
		assert_name(*state, process, same[i], same[i]);
	assert_name(*state, process, "\xff\"\xc3", "\xef\xbf\xbd\"\xef\xbf\xbd");
	assert_name(*state, process, "aaaaaaaaaaaaaa\xc3\xa9", "aaaaaaaaaaaaaa\xef\xbf\xbd");
}

static void who_left_is_there_with_what_was_not_freed(void **state)
{
	struct world *world = *state;
	struct device *device = world_device(world, 0, 0, 1000);
	json_t *json;

	for (pid_t pid = 1; pid <= MODEL_EXITS + 10; pid++) {
		struct process *process = holder(world, pid, device, 0);

		strcpy(process->comm, "\"\n\xff");
		world_set(process, 0, TTMEM_L1, (uint64_t)pid, 1);
		world_leave(world, process);
	}
	json = snapshot(world);
	assert_int_equal(json_array_size(at(json, "exited")), MODEL_EXITS);
	assert_number(json, "exited 255 pid", MODEL_EXITS + 10);
	assert_string(json, "exited 255 comm", "\"\n\xef\xbf\xbd");
	assert_number(json, "exited 255 leaked_bytes l1", MODEL_EXITS + 10);
	assert_number(json, "exited 255 peak_bytes l1", MODEL_EXITS + 10);
	assert_null(at(json, "exited 255 peak_bytes dram"));
	assert_number(json, "exited_processes", MODEL_EXITS + 10);
	assert_number(json, "leaked_bytes", 266 * 267 / 2);
	json_decref(json);
}

static void populate(struct world *world, pid_t count)
{
	for (pid_t pid = 1; pid <= count; pid++) {
		struct process *process = holder(world, pid, world_device(world, 0, 0xa, 1000), 0);

		world_hold(world, process, world_device(world, 1, 0xb, 1000), 1);
		for (int kind = 0; kind < KIND_COUNT; kind++)
			world_set(process, pid % 2, kind, (uint64_t)pid << kind, 1);
	}
}

/* Sums over processes are those of the devices, in a text that took several slices and during which
 * everything changed. */
static void assert_sums_agree(json_t *json)
{
	json_int_t sums[2][KIND_COUNT] = {0};
	size_t i, k;
	json_t *process, *holding;

	json_array_foreach(json_object_get(json, "processes"), i, process)
		json_array_foreach(json_object_get(process, "devices"), k,
				   holding) for (int kind = 0; kind < KIND_COUNT; kind++)
	{
		json_t *one = json_object_get(json_object_get(holding, "kinds"),
					      kind_name((enum kind)kind));

		sums[k][kind] += json_integer_value(json_object_get(one, "used_bytes"));
	}
	for (k = 0; k < 2; k++)
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			char *path = g_strdup_printf("devices %zu kinds %s used_bytes", k,
						     kind_name((enum kind)kind));

			assert_number(json, path, sums[k][kind]);
			g_free(path);
		}
}

#define MANY 3000

static void a_long_document_is_made_in_slices_and_of_one_moment(void **state)
{
	struct world *world = *state;
	struct cursor cursor = {.rows = 0};
	struct render render = {
		.model = &world->model, .cursor = &cursor, .out = g_string_new(NULL)};
	unsigned int calls = 1;
	json_t *json;

	populate(world, MANY);
	while (!render.out->len)
		assert_false(render_snapshot(&render)); /* it looks at names */
	for (; !render_snapshot(&render); calls++) {
		assert_true(cursor.work_bytes > 0);
		world_set(model_process_by_pid(&world->model, MANY), 0, TTMEM_DRAM, calls, 1);
		world_leave(world, model_process_by_pid(&world->model, (pid_t)calls));
		world_leave(world, model_process_by_pid(&world->model, MANY - (pid_t)calls));
	}
	assert_true(calls > 5);
	assert_null(cursor.work);
	assert_int_equal(cursor.work_bytes, 0);
	json = parse(render.out->str);
	assert_int_equal(json_array_size(at(json, "processes")), MANY);
	assert_sums_agree(json);
	json_decref(json);
	g_string_free(render.out, TRUE);
}

/* The sanitizers see what would be left. */
static void a_document_can_be_given_up_at_any_slice(void **state)
{
	struct world *world = *state;

	populate(world, MANY);
	for (int given = 0; given < 10; given++) {
		struct cursor cursor = {.rows = 0};
		struct render render = {
			.model = &world->model, .cursor = &cursor, .out = g_string_new(NULL)};

		for (int i = 0; i < given; i++)
			assert_false(render_snapshot(&render));
		cursor_clear(&cursor);
		assert_null(cursor.work);
		g_string_free(render.out, TRUE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_devices_there_are_empty_lists),
		TEST(a_device_has_all_that_is_known_of_it),
		TEST(what_is_not_known_of_a_device_has_no_key),
		TEST(thresholds_are_null_until_they_are_set),
		TEST(a_process_has_what_it_holds_where),
		TEST(numbers_are_exact_up_to_the_largest_integer),
		TEST(any_name_can_be_read_back),
		TEST(who_left_is_there_with_what_was_not_freed),
		TEST(a_long_document_is_made_in_slices_and_of_one_moment),
		TEST(a_document_can_be_given_up_at_any_slice),
	};

	return RUN(tests);
}
