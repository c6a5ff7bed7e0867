/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices the kernel driver has and who has them open, from trees of our own making. */
#include "driver_forest.h"
#include <errno.h>
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

static void devices_are_listed_in_their_order(void **state)
{
	uint32_t numbers[DRIVER_MAX_DEVICES];
	ino_t inodes[DRIVER_MAX_DEVICES];

	(void)state;
	assert_int_equal(driver_list(forest.sysfs, numbers, inodes, DRIVER_MAX_DEVICES), 0);
	driver_forest_add(&forest, 10);
	driver_forest_add(&forest, 255);
	driver_forest_add(&forest, 0);
	driver_forest_add(&forest, 2);
	assert_int_equal(driver_list(forest.sysfs, numbers, inodes, DRIVER_MAX_DEVICES), 4);
	assert_int_equal(numbers[0], 0);
	assert_int_equal(numbers[1], 2);
	assert_int_equal(numbers[2], 10);
	assert_int_equal(numbers[3], 255);
	for (int i = 0; i < 4; i++)
		assert_true(inodes[i] == driver_forest_read(&forest, numbers[i]).inode);
	numbers[2] = 99;
	assert_int_equal(driver_list(forest.sysfs, numbers, inodes, 2), 2);
	assert_int_equal(numbers[1], 2);
	assert_int_equal(numbers[2], 99);
	assert_int_equal(driver_list(forest.sysfs, numbers, inodes, 0), 0);
}

static void other_entries_are_no_devices(void **state)
{
	static const char *const names[] = {
		"tenstorrent!007",
		"tenstorrent!-1",
		"tenstorrent!999999",
		"tenstorrent!256",
		"tenstorrent!",
		"tenstorrent!00",
		"tenstorrent!+1",
		"tenstorrent! 1",
		"tenstorrent!1 ",
		"tenstorrent!1\n",
		"tenstorrent!0x1",
		"tenstorrent!1a",
		"tenstorrent",
		"xtenstorrent!1",
		"Tenstorrent!1",
		"1",
		"tenstorrent_1",
		"tenstorrent!4294967296",
		"power",
	};
	uint32_t numbers[4];
	ino_t inodes[4];

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		char *path = g_build_filename(forest.sysfs, names[i], NULL);

		assert_int_equal(mkdir(path, 0700), 0);
		g_free(path);
	}
	driver_forest_write(driver_forest_path(&forest, 3, NULL), "", 0);
	driver_forest_link("../nowhere", driver_forest_path(&forest, 4, NULL));
	driver_forest_link("tenstorrent!6", driver_forest_path(&forest, 6, NULL));
	assert_int_equal(driver_list(forest.sysfs, numbers, inodes, 4), 0);
}

static void a_class_directory_that_is_not_there_is_an_error(void **state)
{
	char *path = g_build_filename(forest.root, "class", NULL);
	uint32_t number;
	ino_t inode;

	(void)state;
	assert_int_equal(driver_list(path, &number, &inode, 1), -ENOENT);
	driver_forest_write(g_strdup(path), "", 0);
	assert_int_equal(driver_list(path, &number, &inode, 1), -ENOTDIR);
	g_free(path);
}

static void a_reset_is_seen_by_the_inode(void **state)
{
	uint32_t number;
	ino_t before, after;

	(void)state;
	driver_forest_add(&forest, 1);
	assert_int_equal(driver_list(forest.sysfs, &number, &before, 1), 1);
	driver_forest_reload(&forest, 1);
	assert_int_equal(driver_list(forest.sysfs, &number, &after, 1), 1);
	assert_true(before != after);
	assert_true(driver_forest_read(&forest, 1).inode == after);
	assert_string_equal(driver_forest_read(&forest, 1).board, "n300");
}

static void a_device_that_has_gone_is_empty(void **state)
{
	struct driver_device device, nothing = {.number = 3, .numa_node = -1};
	uint32_t number;
	ino_t inode;

	(void)state;
	driver_forest_add(&forest, 3);
	assert_int_equal(driver_list(forest.sysfs, &number, &inode, 1), 1);
	driver_forest_remove(&forest, 3);
	device = driver_forest_read(&forest, number);
	assert_memory_equal(&device, &nothing, sizeof device);
}

static void a_plain_directory_is_a_device_too(void **state)
{
	char *path = driver_forest_path(&forest, 5, NULL), *device_path;
	struct driver_device device;
	uint32_t number;
	ino_t inode;

	(void)state;
	device_path = g_build_filename(path, "device", NULL);
	assert_int_equal(g_mkdir_with_parents(device_path, 0700), 0);
	driver_forest_put(&forest, 5, "tt_card_type", "p100a\n");
	driver_forest_put(&forest, 5, "device/numa_node", "0\n");
	assert_int_equal(driver_list(forest.sysfs, &number, &inode, 1), 1);
	device = driver_forest_read(&forest, number);
	assert_string_equal(device.board, "p100a");
	assert_string_equal(device.pci, "");
	assert_int_equal(device.numa_node, 0);
	assert_true(device.inode == inode);
	g_free(device_path);
	g_free(path);
}

static void assert_pids(const char *text, const char *want)
{
	GString *got = g_string_new(NULL);
	pid_t pids[8];
	int count;

	driver_forest_pids(&forest, 0, text);
	count = driver_pids(forest.procfs, 0, pids, G_N_ELEMENTS(pids));
	assert_true(count >= 0);
	for (int i = 0; i < count; i++)
		g_string_append_printf(got, i ? " %d" : "%d", pids[i]);
	assert_string_equal(got->str, want);
	g_string_free(got, TRUE);
}

static void pids_are_different_and_ascending(void **state)
{
	(void)state;
	driver_forest_add(&forest, 0);
	assert_pids("", "");
	assert_pids("12\n", "12");
	assert_pids("12\n7\n12\n4194304\n7\n7\n12\n", "7 12 4194304");
	assert_pids("3\n2\n1", "1 2 3");
	assert_pids("2147483647\n", "2147483647");
	assert_pids("9\n8\n7\n6\n5\n4\n3\n2\n1\n", "1 2 3 4 5 6 7 8");
}

static void what_is_no_pid_is_passed_over(void **state)
{
	pid_t pids[2];

	(void)state;
	driver_forest_add(&forest, 0);
	assert_pids("0\n0\n5\n0\n", "5");
	assert_pids("\n\n5\n\n6\n\n", "5 6");
	assert_pids("-1\n-5\n+6\n 7\n8 \n9\r\n0x10\n11x\n12 13\n14\n", "14");
	assert_pids("2147483648\n4294967297\n18446744073709551617\n5\n", "5");
	assert_pids("\x1b[31m\nroot\n\xff\n6\n", "6");
	driver_forest_write(driver_forest_pids_path(&forest, 0), "1\0002\n\0\n3\n0\n", 11);
	assert_int_equal(driver_pids(forest.procfs, 0, pids, 2), 1);
	assert_int_equal(pids[0], 3);
}

static void a_list_that_is_not_there_is_an_error(void **state)
{
	char *path = driver_forest_pids_path(&forest, 0);
	pid_t pid;
	int fifo;

	(void)state;
	assert_int_equal(driver_pids(forest.procfs, 0, &pid, 1), -ENOENT);
	driver_forest_add(&forest, 0);
	assert_int_equal(g_remove(path), 0);
	assert_int_equal(driver_pids(forest.procfs, 0, &pid, 1), -ENOENT);
	fifo = make_fifo(path);
	assert_int_equal(driver_pids(forest.procfs, 0, &pid, 1), -EINVAL);
	close(fifo);
	assert_int_equal(g_remove(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(driver_pids(forest.procfs, 0, &pid, 1), -EINVAL);
	g_free(path);
}

static void of_too_many_pids_the_lowest_are_kept(void **state)
{
	static pid_t pids[2 * DRIVER_MAX_PIDS];
	GString *text = g_string_new(NULL);

	(void)state;
	driver_forest_add(&forest, 0);
	for (int pid = 2 * DRIVER_MAX_PIDS; pid > 0; pid--)
		g_string_append_printf(text, "%d\n%d\n", pid, pid);
	driver_forest_pids(&forest, 0, text->str);
	assert_int_equal(driver_pids(forest.procfs, 0, pids, G_N_ELEMENTS(pids)), DRIVER_MAX_PIDS);
	for (int i = 0; i < DRIVER_MAX_PIDS; i++)
		assert_int_equal(pids[i], i + 1);
	g_string_free(text, TRUE);
}

/* Lines of 7 bytes, so that the limit falls inside of one. */
static void a_list_beyond_the_limit_ends_with_a_whole_number(void **state)
{
	GString *text = g_string_new(NULL);
	pid_t pids[4];

	(void)state;
	driver_forest_add(&forest, 0);
	while (text->len < 2 * MIB)
		g_string_append(text, "123456\n");
	g_string_append(text, "7\n");
	driver_forest_pids(&forest, 0, text->str);
	assert_int_equal(driver_pids(forest.procfs, 0, pids, 4), 1);
	assert_int_equal(pids[0], 123456);
	memset(text->str, '1', text->len);
	driver_forest_pids(&forest, 0, text->str);
	assert_int_equal(driver_pids(forest.procfs, 0, pids, 4), 0);
	g_string_free(text, TRUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(devices_are_listed_in_their_order),
		TEST(other_entries_are_no_devices),
		TEST(a_class_directory_that_is_not_there_is_an_error),
		TEST(a_reset_is_seen_by_the_inode),
		TEST(a_plain_directory_is_a_device_too),
		TEST(a_device_that_has_gone_is_empty),
		TEST(pids_are_different_and_ascending),
		TEST(what_is_no_pid_is_passed_over),
		TEST(a_list_that_is_not_there_is_an_error),
		TEST(of_too_many_pids_the_lowest_are_kept),
		TEST(a_list_beyond_the_limit_ends_with_a_whole_number),
	};

	return RUN(tests);
}
