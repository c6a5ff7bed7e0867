/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices the driver has, as they come, go and hang. */
#include "kmd_stage.h"
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/resource.h>

static void devices_are_there_from_the_start(void **state)
{
	struct stage *stage = *state;
	const struct identity *identity;

	driver_forest_add(&stage->forest, 0);
	driver_forest_add(&stage->forest, 7);
	begin(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
	assert_int_equal(g_tree_nnodes(stage->model.devices), 2);
	identity = &numbered(stage, 7)->identity;
	assert_true(identity->asic_id == DRIVER_FOREST_ASIC_ID + 7);
	assert_string_equal(identity->pci, "0000:08:00.0");
	assert_string_equal(identity->board, "n300");
	assert_string_equal(identity->arch, "wormhole_b0");
	assert_string_equal(identity->serial, "010001451170801d");
	assert_string_equal(identity->firmware, "18.12.1.0");
	assert_true(identity->has_numa_node && identity->numa_node == 1);
	assert_false(identity->is_remote);
	assert_int_equal(stage->model.driver_numbers, 8);
}

static void a_board_that_is_not_known_has_no_architecture_or_capacity(void **state)
{
	struct stage *stage = *state;

	driver_forest_add(&stage->forest, 0);
	driver_forest_put(&stage->forest, 0, "tt_card_type", "x900\n");
	begin(stage);
	assert_string_equal(numbered(stage, 0)->identity.board, "x900");
	assert_string_equal(numbered(stage, 0)->identity.arch, "");
	assert_int_equal(device_capacity(numbered(stage, 0), (enum kind)TTMEM_DRAM), 0);
	assert_false(device_capacity_is_from_table(numbered(stage, 0)));
}

static void without_a_driver_it_says_so(void **state)
{
	struct stage *stage = *state;

	stage->forest.sysfs[strlen(stage->forest.sysfs) - 1] = 'x';
	begin(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_DOWN);
	assert_non_null(strstr(stage->kmd.source.detail, "no driver: "));
	assert_non_null(strstr(stage->kmd.source.detail, stage->forest.sysfs));
	assert_non_null(strstr(stage->kmd.source.detail, "No such file"));
	assert_int_equal(stage->kmd.source.last_update_ns, 0);
}

static void a_driver_that_is_loaded_later_is_found(void **state)
{
	struct stage *stage = *state;
	char *away = g_strdup_printf("%s/away", stage->forest.root);

	driver_forest_add(&stage->forest, 0);
	assert_int_equal(g_rename(stage->forest.sysfs, away), 0);
	begin(stage);
	assert_null(numbered(stage, 0));
	assert_int_equal(g_rename(away, stage->forest.sysfs), 0);
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
	assert_string_equal(stage->kmd.source.detail, "");
	assert_non_null(numbered(stage, 0));
	assert_int_equal(g_rename(stage->forest.sysfs, away), 0);
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_DOWN);
	assert_null(numbered(stage, 0));
	g_free(away);
}

/* As for want of descriptors: it is no word on which devices there are. */
static void what_cannot_be_looked_at_stays_as_it_was(void **state)
{
	struct stage *stage = *state;
	char *away = g_strdup_printf("%s/away", stage->forest.root);
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%d\n", pid);
	begin(stage);
	assert_int_equal(g_rename(stage->forest.sysfs, away), 0);
	assert_int_equal(symlink(stage->forest.sysfs, stage->forest.sysfs), 0);
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_ERROR);
	assert_non_null(strstr(stage->kmd.source.detail, "symbolic links"));
	assert_non_null(numbered(stage, 0));
	assert_non_null(process(stage, pid));
	assert_int_equal(g_unlink(stage->forest.sysfs), 0);
	assert_int_equal(g_rename(away, stage->forest.sysfs), 0);
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
	g_free(away);
}

/* With this many descriptors left at each look. */
static void a_want_of_descriptors_takes_nothing_away(void **state)
{
	struct stage *stage = *state;
	struct rlimit limit, low;
	pid_t pid = child(stage, 0);

	getrlimit(RLIMIT_NOFILE, &limit);
	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%d\n", pid);
	begin(stage);
	for (int left = 0; left < 6; left++) {
		int next = dup(0);

		close(next);
		/* All attributes are read again. */
		driver_forest_reload(&stage->forest, 0);
		opens(stage, 0, "%d\n", pid);
		low = (struct rlimit){(rlim_t)(next + left), limit.rlim_max};
		setrlimit(RLIMIT_NOFILE, &low);
		look(stage);
		setrlimit(RLIMIT_NOFILE, &limit);
		assert_non_null(numbered(stage, 0));
		assert_string_equal(numbered(stage, 0)->identity.board, "n300");
		assert_non_null(process(stage, pid));
	}
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
}

static void pids_that_cannot_be_read_are_an_error(void **state)
{
	struct stage *stage = *state;
	char *path = driver_forest_pids_path(&stage->forest, 1);
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	driver_forest_add(&stage->forest, 1);
	opens(stage, 0, "%d\n", pid);
	assert_int_equal(unlink(path), 0);
	begin(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_ERROR);
	assert_non_null(strstr(stage->kmd.source.detail, path));
	assert_non_null(process(stage, pid));
	assert_non_null(numbered(stage, 1));
	opens(stage, 1, "%d\n", pid);
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
	assert_int_equal(process(stage, pid)->holdings->len, 2);
	g_free(path);
}

static void nothing_is_read_while_nobody_asks_or_shortly_after(void **state)
{
	struct stage *stage = *state;
	uint64_t round;

	driver_forest_add(&stage->forest, 0);
	begin(stage);
	look(stage);
	round = stage->kmd.round;
	for (int i = 0; i < 10; i++) {
		now_ns += KMD_AGAIN_NS / 11;
		model_sync(&stage->model, NULL);
	}
	assert_int_equal(stage->kmd.round, round);
	now_ns -= 3600u * UINT64_C(1000000000); /* the clock was set */
	look(stage);
}

static void devices_come_and_go(void **state)
{
	struct stage *stage = *state;
	uint64_t updated, serial;

	driver_forest_add(&stage->forest, 0);
	begin(stage);
	updated = stage->kmd.source.last_update_ns;
	serial = numbered(stage, 0)->serial;
	driver_forest_add(&stage->forest, 1);
	look(stage);
	assert_non_null(numbered(stage, 1));
	assert_true(stage->kmd.source.last_update_ns > updated);
	driver_forest_remove(&stage->forest, 0);
	look(stage);
	assert_null(numbered(stage, 0));
	assert_non_null(numbered(stage, 1));
	driver_forest_add(&stage->forest, 0);
	look(stage);
	assert_non_null(numbered(stage, 0));
	assert_int_not_equal(numbered(stage, 0)->serial, serial);
	updated = stage->kmd.source.last_update_ns;
	look(stage);
	assert_int_equal(stage->kmd.source.last_update_ns, updated);
}

static void a_hot_reset_changes_nothing(void **state)
{
	struct stage *stage = *state;
	uint64_t serial;

	driver_forest_add(&stage->forest, 0);
	begin(stage);
	serial = numbered(stage, 0)->serial;
	driver_forest_reload(&stage->forest, 0);
	driver_forest_put(&stage->forest, 0, "tt_asic_id", "ffffffffffffffff\n");
	driver_forest_put(&stage->forest, 0, "tt_fw_bundle_ver", "19.0.0.0\n");
	look(stage);
	assert_int_equal(numbered(stage, 0)->serial, serial);
	assert_true(numbered(stage, 0)->identity.asic_id == DRIVER_FOREST_ASIC_ID);
	assert_string_equal(numbered(stage, 0)->identity.firmware, "19.0.0.0");
	driver_forest_put(&stage->forest, 0, "tt_asic_id", "0123456789abcd00\n");
	look(stage);
	assert_int_equal(numbered(stage, 0)->serial, serial);
	assert_int_equal(g_tree_nnodes(stage->model.devices), 1);
}

static void after_a_reload_every_device_has_its_number(void **state)
{
	struct stage *stage = *state;

	for (uint32_t n = 0; n < 4; n++)
		driver_forest_add(&stage->forest, n);
	begin(stage);
	for (uint32_t n = 0; n < 4; n++)
		driver_forest_remove(&stage->forest, n);
	look(stage);
	for (uint32_t n = 0; n < 4; n++)
		assert_null(numbered(stage, n));
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
	for (uint32_t n = 0; n < 4; n++) {
		driver_forest_add(&stage->forest, n);
		/* The bus was walked the other way round. */
		opens(stage, n, "%s", "");
	}
	driver_forest_put(&stage->forest, 0, "tt_asic_id", "0123456789abcd03\n");
	driver_forest_put(&stage->forest, 3, "tt_asic_id", "0123456789abcd00\n");
	look(stage);
	for (uint32_t n = 0; n < 4; n++)
		assert_true(numbered(stage, n)->identity.asic_id == DRIVER_FOREST_ASIC_ID + n);
	assert_string_equal(numbered(stage, 3)->identity.pci, "0000:01:00.0");
	assert_int_equal(g_tree_nnodes(stage->model.devices), 4);
}

/* A file system whose server answers the first request, which is for it alone, and no other. */
static int mount_deaf(const char *path)
{
	struct {
		struct fuse_out_header header;
		struct fuse_init_out init;
	} answer = {.header.len = sizeof answer, .init = {.major = 7, .minor = 31}};
	static _Alignas(struct fuse_in_header) char request[1 << 17];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[64];

	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (fd >= 0 && mount("deaf", path, "fuse.deaf", MS_NOSUID | MS_NODEV, options)) {
		close(fd);
		return -1;
	}
	if (fd < 0)
		return -1;
	assert_true(read(fd, request, sizeof request) > 0);
	answer.header.unique = ((const struct fuse_in_header *)request)->unique;
	assert_int_equal(write(fd, &answer, sizeof answer), sizeof answer);
	return fd;
}

/* Until a look waits there. The one before may have been under way. */
static void sync_until_asked(struct stage *stage, int fd)
{
	struct pollfd asked = {.fd = fd, .events = POLLIN};

	do {
		now_ns += KMD_AGAIN_NS;
		model_sync(&stage->model, NULL);
	} while (!poll(&asked, 1, 1));
}

static void a_driver_that_does_not_answer_holds_up_nobody(void **state)
{
	struct stage *stage = *state;
	struct device *device;
	int fd;

	driver_forest_add(&stage->forest, 0);
	begin(stage);
	look(stage);
	device = numbered(stage, 0);
	fd = mount_deaf(stage->forest.sysfs);
	if (fd < 0)
		skip();
	sync_until_asked(stage, fd);
	for (int i = 0; i < 30; i++) {
		now_ns += KMD_AGAIN_NS;
		model_sync(&stage->model, NULL);
	}
	assert_int_equal(stage->kmd.source.state, SOURCE_ERROR);
	assert_non_null(strstr(stage->kmd.source.detail, "does not answer"));
	assert_true(device_is_shown(device));
	assert_int_equal(umount2(stage->forest.sysfs, MNT_FORCE | MNT_DETACH), 0);
	close(fd);
	look(stage);
	assert_int_equal(stage->kmd.source.state, SOURCE_UP);
	assert_string_equal(stage->kmd.source.detail, "");
}

static void the_end_does_not_wait_for_a_driver_that_does_not_answer(void **state)
{
	struct stage *stage = *state;
	int fd;

	driver_forest_add(&stage->forest, 0);
	begin(stage);
	fd = mount_deaf(stage->forest.sysfs);
	if (fd < 0)
		skip();
	sync_until_asked(stage, fd);
	stage->hangs = stage->begun = !kmd_fini(&stage->kmd);
	assert_int_equal(umount2(stage->forest.sysfs, MNT_FORCE | MNT_DETACH), 0);
	close(fd);
	assert_true(stage->hangs);
	stage->hangs = false; /* not any more: teardown ends it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KMD_TEST(devices_are_there_from_the_start),
		KMD_TEST(a_board_that_is_not_known_has_no_architecture_or_capacity),
		KMD_TEST(without_a_driver_it_says_so),
		KMD_TEST(a_driver_that_is_loaded_later_is_found),
		KMD_TEST(what_cannot_be_looked_at_stays_as_it_was),
		KMD_TEST(a_want_of_descriptors_takes_nothing_away),
		KMD_TEST(pids_that_cannot_be_read_are_an_error),
		KMD_TEST(nothing_is_read_while_nobody_asks_or_shortly_after),
		KMD_TEST(devices_come_and_go),
		KMD_TEST(a_hot_reset_changes_nothing),
		KMD_TEST(after_a_reload_every_device_has_its_number),
		KMD_TEST(a_driver_that_does_not_answer_holds_up_nobody),
		KMD_TEST(the_end_does_not_wait_for_a_driver_that_does_not_answer),
	};

	return RUN(tests);
}
