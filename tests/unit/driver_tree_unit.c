/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel driver says of a device, from trees of our own making. */
#include "driver_forest.h"
#include <sys/stat.h>

#define MIB (1 << 20)

static struct driver_forest forest;
static guint descriptors;

static int setup(void **state)
{
	(void)state;
	driver_forest_init(&forest);
	descriptors = open_descriptors();
	alarm(60); /* whatever blocks, fails */
	return 0;
}

static int teardown(void **state)
{
	guint left = open_descriptors() - descriptors;

	(void)state;
	alarm(0);
	driver_forest_fini(&forest);
	assert_int_equal(left, 0);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Device 0 with one attribute of this text. */
static struct driver_device read_with(const char *name, const char *text)
{
	driver_forest_put(&forest, 0, name, text);
	return driver_forest_read(&forest, 0);
}

static void remove_attribute(const char *name)
{
	char *path = driver_forest_path(&forest, 0, name);

	assert_int_equal(g_remove(path), 0);
	g_free(path);
}

static void assert_nothing(const struct driver_device *device)
{
	assert_string_equal(device->board, "");
	assert_string_equal(device->serial, "");
	assert_string_equal(device->firmware, "");
	assert_true(device->asic_id == 0);
	assert_int_equal(device->numa_node, -1);
}

static const char *const attributes[] = {"tt_card_type", "tt_serial", "tt_fw_bundle_ver",
					 "tt_asic_id", "device/numa_node"};

static void reads_all_of_a_complete_device(void **state)
{
	struct driver_device device;

	(void)state;
	driver_forest_add(&forest, 0);
	driver_forest_add(&forest, 31);
	device = driver_forest_read(&forest, 31);
	assert_string_equal(device.board, "n300");
	assert_string_equal(device.serial, "010001451170801d");
	assert_string_equal(device.firmware, "18.12.1.0");
	assert_string_equal(device.pci, "0000:20:00.0");
	assert_true(device.asic_id == DRIVER_FOREST_ASIC_ID + 31);
	assert_int_equal(device.numa_node, 1);
	assert_true(device.inode != 0);
}

static void a_missing_attribute_leaves_the_others(void **state)
{
	struct driver_device device;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
		driver_forest_add(&forest, 0);
		remove_attribute(attributes[i]);
		device = driver_forest_read(&forest, 0);
		assert_string_equal(device.board, i == 0 ? "" : "n300");
		assert_string_equal(device.serial, i == 1 ? "" : "010001451170801d");
		assert_string_equal(device.firmware, i == 2 ? "" : "18.12.1.0");
		assert_true(device.asic_id == (i == 3 ? 0 : DRIVER_FOREST_ASIC_ID));
		assert_int_equal(device.numa_node, i == 4 ? -1 : 1);
		assert_string_equal(device.pci, "0000:01:00.0");
		driver_forest_remove(&forest, 0);
	}
}

static void a_device_without_a_link_has_no_address_and_no_node(void **state)
{
	struct driver_device device;

	(void)state;
	driver_forest_add(&forest, 0);
	remove_attribute("device");
	device = driver_forest_read(&forest, 0);
	assert_string_equal(device.pci, "");
	assert_int_equal(device.numa_node, -1);
	assert_string_equal(device.board, "n300");
}

static void hostile_text_is_not_taken(void **state)
{
	static const char *const texts[] = {"",        "\n",       "\n\n",        "n300\n\n",
					    "n300\nx", "n300\r\n", "two words",   " n300",
					    "n300 ",   "\x1b[31m", "caf\xc3\xa9", "\xff",
					    "../../x", "n300\tx",  "{\"a\":1}\n", "%s%n",
					    "a\\b",    "x\x7f",    "\x01\n",      "n300,x=1"};
	struct driver_device device;

	(void)state;
	driver_forest_add(&forest, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		for (size_t k = 0; k < G_N_ELEMENTS(attributes); k++)
			driver_forest_put(&forest, 0, attributes[k], texts[i]);
		device = driver_forest_read(&forest, 0);
		assert_nothing(&device);
	}
}

static void long_or_binary_files_are_not_taken(void **state)
{
	char *bytes = g_strnfill(MIB, '0');
	struct driver_device device;

	(void)state;
	driver_forest_add(&forest, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
		driver_forest_write(driver_forest_path(&forest, 0, attributes[i]), bytes, MIB);
	device = driver_forest_read(&forest, 0);
	assert_string_equal(device.firmware, "");
	assert_true(device.asic_id == 0);
	assert_int_equal(device.numa_node, -1);
	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
		driver_forest_write(driver_forest_path(&forest, 0, attributes[i]), "1\0002\n", 4);
	device = driver_forest_read(&forest, 0);
	assert_nothing(&device);
	g_free(bytes);
}

static void what_is_no_file_is_not_opened(void **state)
{
	char *path, *elsewhere = g_build_filename(forest.root, "elsewhere", NULL);
	struct driver_device device;
	int fifos[G_N_ELEMENTS(attributes)];

	(void)state;
	driver_forest_add(&forest, 0);
	driver_forest_write(g_strdup(elsewhere), "1\n", 2);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
			remove_attribute(attributes[i]);
			path = driver_forest_path(&forest, 0, attributes[i]);
			if (round == 0)
				fifos[i] = make_fifo(path);
			else if (round == 1)
				assert_int_equal(mkdir(path, 0700), 0);
			else
				assert_int_equal(symlink(elsewhere, path), 0);
			g_free(path);
		}
		device = driver_forest_read(&forest, 0);
		assert_nothing(&device);
		assert_string_equal(device.pci, "0000:01:00.0");
	}
	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
		close(fifos[i]);
	g_free(elsewhere);
}

static void a_word_that_does_not_fit_is_not_cut(void **state)
{
	(void)state;
	driver_forest_add(&forest, 0);
	assert_string_equal(read_with("tt_card_type", "galaxy-blackhole\n").board,
			    "galaxy-blackhole");
	assert_string_equal(read_with("tt_card_type", "p150a").board, "p150a");
	assert_string_equal(read_with("tt_card_type", "a23456789012345678901234\n").board, "");
	assert_string_equal(read_with("tt_fw_bundle_ver", "80.18.3.0-rc1\n").firmware,
			    "80.18.3.0-rc1");
	assert_string_equal(
		read_with("tt_fw_bundle_ver", "1.345678901234567890123456789012\n").firmware, "");
	assert_string_equal(read_with("tt_serial", "0XABCDEF0123456789abcdef0\n").serial,
			    "abcdef0123456789abcdef0");
	assert_string_equal(read_with("tt_serial", "abcdef0123456789abcdef01\n").serial, "");
	assert_string_equal(read_with("tt_serial", "0x\n").serial, "");
}

/* For "unknown" would stand in the way of what a client knows. */
static void a_card_that_the_driver_does_not_know_has_no_name(void **state)
{
	(void)state;
	driver_forest_add(&forest, 0);
	assert_string_equal(read_with("tt_card_type", "unknown\n").board, "");
}

static void an_asic_id_is_hex_of_64_bits(void **state)
{
	static const struct {
		const char *text;
		uint64_t id;
	} cases[] = {
		{"1A", 0x1a},
		{"0x1a\n", 0x1a},
		{"0XFFFFFFFFFFFFFFFE\n", UINT64_MAX - 1},
		{"00000000000000000000000000000001\n", 1},
		{"ffffffffffffffff\n", 0}, /* of a chip that is gone */
		{"0000000000000000\n", 0},
		{"10000000000000000\n", 0},
		{"99999999999999999999999999999999999999999\n", 0},
		{"+1", 0},
		{"-1", 0},
		{" 1", 0},
		{"1 ", 0},
		{"0x", 0},
		{"0x0x1", 0},
		{"0x-1", 0},
		{"0x 1", 0},
		{"12g", 0},
	};

	(void)state;
	driver_forest_add(&forest, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		assert_true(read_with("tt_asic_id", cases[i].text).asic_id == cases[i].id);
}

static void a_numa_node_is_a_number_or_none(void **state)
{
	static const char *const none[] = {"-1\n",
					   "-2",
					   "+1",
					   "1 ",
					   "0x1",
					   "2147483648",
					   "18446744073709551616",
					   "99999999999999999999999999"};

	(void)state;
	driver_forest_add(&forest, 0);
	assert_int_equal(read_with("device/numa_node", "0\n").numa_node, 0);
	assert_int_equal(read_with("device/numa_node", "7").numa_node, 7);
	assert_int_equal(read_with("device/numa_node", "2147483647\n").numa_node, INT_MAX);
	for (size_t i = 0; i < G_N_ELEMENTS(none); i++)
		assert_int_equal(read_with("device/numa_node", none[i]).numa_node, -1);
}

static void assert_address(const char *target, const char *want)
{
	remove_attribute("device");
	driver_forest_link(target, driver_forest_path(&forest, 0, "device"));
	assert_string_equal(driver_forest_read(&forest, 0).pci, want);
}

static void the_address_is_the_end_of_the_link(void **state)
{
	char *slashes = g_strnfill(4000, '/');
	char *far = g_strconcat(slashes, "0000:01:00.0", NULL);

	(void)state;
	driver_forest_add(&forest, 0);
	assert_address("../../../0000:01:00.0", "0000:01:00.0");
	assert_address("0000:AB:1F.7", "0000:ab:1f.7");
	assert_address("/nowhere/0000:02:00.0", "0000:02:00.0");
	assert_address(far, "0000:01:00.0");
	assert_address("0000:01:00.0/", "");
	assert_address("0000:01:00.0/..", "");
	assert_address("x/0000:01:00.0\n", "");
	assert_address("../../platform", "");
	assert_address(slashes, "");
	g_free(far);
	g_free(slashes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reads_all_of_a_complete_device),
		TEST(a_missing_attribute_leaves_the_others),
		TEST(a_device_without_a_link_has_no_address_and_no_node),
		TEST(hostile_text_is_not_taken),
		TEST(long_or_binary_files_are_not_taken),
		TEST(what_is_no_file_is_not_opened),
		TEST(a_word_that_does_not_fit_is_not_cut),
		TEST(a_card_that_the_driver_does_not_know_has_no_name),
		TEST(an_asic_id_is_hex_of_64_bits),
		TEST(a_numa_node_is_a_number_or_none),
		TEST(the_address_is_the_end_of_the_link),
	};

	return RUN(tests);
}
