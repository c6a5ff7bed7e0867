/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken for a ledger, and what a ledger that lies comes to. Records are in
 * ledger_records_unit.c. */
#include "forged.h"
#include <sys/stat.h>

#define NO_OWNER 12345

static void assert_refused(int fd, const char *want)
{
	struct ledger_view view;
	const char *why = NULL;

	assert_true(fd >= 0);
	assert_true(ledger_view_open(&view, fd, geteuid(), &why) < 0);
	assert_non_null(why);
	assert_non_null(strstr(why, want));
	assert_true(fd_is_open(fd));
	close(fd);
}

static void refuses_what_is_not_a_memory_file(void **state)
{
	char *dir = unit_mkdir(), *path = g_build_filename(dir, "file", NULL);
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_refused(pipes[0], "not a memory file");
	assert_refused(pipes[1], "not a memory file");
	assert_refused(eventfd(0, EFD_CLOEXEC), "not a memory file");
	assert_refused(open("/dev/zero", O_RDWR | O_CLOEXEC), "not a memory file");
	assert_refused(open(dir, O_PATH | O_CLOEXEC), "not a memory file");
	assert_refused(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), "it is not");
	g_free(path);
	unit_rmdir(dir);
}

static void refuses_a_file_of_a_tmpfs_that_can_shrink(void **state)
{
	char path[] = "/dev/shm/ttmem-unit-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		skip();
	unlink(path);
	assert_int_equal(ftruncate(fd, (off_t)ledger_file_size(FORGE_CAPACITY)), 0);
	assert_refused(fd, "it is not");
}

static void refuses_huge_pages(void **state)
{
	int fd = memfd_create(LEDGER_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

	(void)state;
	if (fd < 0 || ftruncate(fd, 64 << 20) || fcntl(fd, F_ADD_SEALS, FORGE_SEALS))
		skip();
	assert_refused(fd, "not a plain memory file");
}

static void refuses_a_descriptor_that_cannot_be_read(void **state)
{
	struct forged forged;
	char path[64];

	(void)state;
	forged_make(&forged);
	forge_seal(&forged.by_hand, FORGE_SEALS);
	snprintf(path, sizeof path, "/proc/self/fd/%d", forged.by_hand.memfd);
	assert_refused(open(path, O_WRONLY | O_CLOEXEC), "cannot be read");
	close(forged.by_hand.memfd);
	forged_forget(&forged);
}

static void assert_forgery_refused(struct forged *forged, int seals, uid_t owner, const char *want)
{
	const char *why;

	assert_true(forged_try(forged, seals, owner, &why) < 0);
	assert_non_null(why);
	assert_non_null(strstr(why, want));
	assert_true(fd_is_open(forged->by_hand.memfd));
	close(forged->by_hand.memfd);
	forged_forget(forged);
}

static void refuses_a_ledger_that_is_not_fully_sealed(void **state)
{
	struct forged forged;

	(void)state;
	for (int seals = 0; seals < 8; seals++) {
		int set = (seals & 1 ? F_SEAL_SHRINK : 0) | (seals & 2 ? F_SEAL_GROW : 0) |
			  (seals & 4 ? F_SEAL_SEAL : 0);

		if (set == FORGE_SEALS)
			continue;
		forged_make(&forged);
		assert_forgery_refused(&forged, set, geteuid(), "not sealed");
	}
}

static void refuses_the_ledger_of_another_user(void **state)
{
	struct forged forged;

	(void)state;
	forged_make(&forged);
	assert_forgery_refused(&forged, FORGE_SEALS, geteuid() + NO_OWNER, "another user");
	if (geteuid())
		return;
	forged_make(&forged);
	assert_int_equal(fchown(forged.by_hand.memfd, NO_OWNER, (gid_t)-1), 0);
	assert_forgery_refused(&forged, FORGE_SEALS, geteuid(), "another user");
}

#define FIELD(name) offsetof(struct ledger_header, name), sizeof(((struct ledger_header *)0)->name)

static void refuses_a_header_with_any_wrong_field(void **state)
{
	static const struct {
		size_t offset, size;
		uint64_t value;
		const char *why;
	} faults[] = {
		{FIELD(magic), 0, "magic"},
		{FIELD(major), LEDGER_MAJOR + 1, "major"},
		{FIELD(major), 0, "major"},
		{FIELD(state), 0, "not complete"},
		{FIELD(state), 2, "not complete"},
		{FIELD(header_size), 4095, "layout"},
		{FIELD(record_size), 63, "layout"},
		{FIELD(chunk_records), 0, "layout"},
		{FIELD(devices), 65, "layout"},
		{FIELD(kinds), 7, "layout"},
		{FIELD(shards), UINT32_MAX, "layout"},
		{FIELD(tags), 1 << 20, "layout"},
		{FIELD(offset_devices), 0, "layout"},
		{FIELD(offset_process), UINT64_MAX, "layout"},
		{FIELD(offset_tags), 1ull << 63, "layout"},
		{FIELD(offset_chunks), 1, "layout"},
		{FIELD(offset_counters), LEDGER_OFFSET_RECORDS, "layout"},
		{FIELD(offset_records), LEDGER_OFFSET_COUNTERS, "layout"},
		{FIELD(record_capacity), 0, "capacity"},
		{FIELD(record_capacity), FORGE_CAPACITY + 1, "capacity"},
		{FIELD(record_capacity), 1ull << 60, "capacity"},
		{FIELD(record_capacity), (1ull << 24) + 256, "capacity"},
		{FIELD(record_capacity), FORGE_CAPACITY * 2, "size"},
		{FIELD(record_capacity), FORGE_CAPACITY / 2, "size"},
		{FIELD(file_size), 0, "size"},
		{FIELD(file_size), UINT64_MAX, "size"},
	};
	struct forged forged;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
		forged_make(&forged);
		memcpy((char *)forged.header + faults[i].offset, &faults[i].value, faults[i].size);
		assert_forgery_refused(&forged, FORGE_SEALS, geteuid(), faults[i].why);
	}
}

static void refuses_a_file_of_another_length(void **state)
{
	static const off_t lengths[] = {0,
					1,
					4095,
					4096,
					LEDGER_OFFSET_RECORDS - 1,
					LEDGER_OFFSET_RECORDS,
					LEDGER_OFFSET_RECORDS + 64};
	struct forged forged;

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
		forged_make(&forged);
		assert_int_equal(ftruncate(forged.by_hand.memfd, lengths[i]), 0);
		assert_forgery_refused(&forged, FORGE_SEALS, geteuid(), "it");
	}
}

static void takes_a_newer_minor_and_further_seals(void **state)
{
	struct forged forged;
	const char *why;

	(void)state;
	forged_make(&forged);
	forged.header->minor = 77;
	assert_int_equal(forged_try(&forged, F_SEAL_FUTURE_WRITE | FORGE_SEALS, geteuid(), &why),
			 0);
	ledger_view_close(&forged.view);
	assert_false(fd_is_open(forged.by_hand.memfd));
	forged_forget(&forged);
}

static void gives_the_descriptor_back_when_abandoned(void **state)
{
	struct forged forged;

	(void)state;
	forged_make(&forged);
	forged_open(&forged);
	ledger_view_abandon(&forged.view);
	assert_true(fd_is_open(forged.by_hand.memfd));
	close(forged.by_hand.memfd);
	forged_forget(&forged);
}

static void what_was_checked_stays_checked(void **state)
{
	struct forged *forged = *state;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];
	struct amount amounts[KIND_COUNT] = {0};
	struct identity identity;

	memset(forged->header, 0xff, sizeof *forged->header);
	assert_true(ledger_view_records(&forged->view) == FORGE_CAPACITY);
	ledger_view_amounts(&forged->view, UINT64_MAX, KINDS_ALL, amounts);
	ledger_view_tag(&forged->view, 1023);
	ledger_view_identity(&forged->view, 63, &identity);
	for (uint32_t chunk = 0; chunk < FORGE_CAPACITY / LEDGER_CHUNK_RECORDS; chunk++)
		assert_in_range(ledger_view_chunk(&forged->view, chunk, rows), 0,
				LEDGER_CHUNK_RECORDS);
	assert_int_equal(
		ledger_view_chunk(&forged->view, FORGE_CAPACITY / LEDGER_CHUNK_RECORDS, rows), -1);
	assert_int_equal(ledger_view_chunk(&forged->view, UINT32_MAX, rows), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_not_a_memory_file),
		cmocka_unit_test(refuses_a_file_of_a_tmpfs_that_can_shrink),
		cmocka_unit_test(refuses_huge_pages),
		cmocka_unit_test(refuses_a_descriptor_that_cannot_be_read),
		cmocka_unit_test(refuses_a_ledger_that_is_not_fully_sealed),
		cmocka_unit_test(refuses_the_ledger_of_another_user),
		cmocka_unit_test(refuses_a_header_with_any_wrong_field),
		cmocka_unit_test(refuses_a_file_of_another_length),
		cmocka_unit_test(takes_a_newer_minor_and_further_seals),
		cmocka_unit_test(gives_the_descriptor_back_when_abandoned),
		TEST(what_was_checked_stays_checked),
	};

	return RUN(tests);
}
