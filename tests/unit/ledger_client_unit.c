/* SPDX-License-Identifier: Apache-2.0 */
/* The reader and the library agree, while the library writes and when it is quiet. The client
 * starts once: the claims build on each other. */
#include "ledger_view.h"
#include "unit.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#define WRITERS 4
#define SLOTS   512 /* addresses of each writer */
#define ROUNDS  300

static struct ledger_view view;
static bool writers_end;

/* The client's own descriptor, which the view cannot have. */
static int ledger_fd(void)
{
	char path[64], link[64];

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t length;

		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		length = readlink(path, link, sizeof link);
		if (length > 0 &&
		    !memcmp(link, "/memfd:" LEDGER_NAME " (", strlen(LEDGER_NAME) + 9))
			return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	}
	return -1;
}

static void takes_what_the_library_makes(void **state)
{
	const char *why;

	(void)state;
	setenv("TTMEM_SOCKET", "/nonexistent", 1);
	assert_int_equal(ttmem_start(), 0);
	assert_int_equal(ledger_view_open(&view, ledger_fd(), geteuid(), &why), 0);
	assert_int_equal(ledger_view_pid(&view), getpid());
	assert_int_equal(ledger_view_devices(&view), 0);
	assert_int_equal(ledger_view_records(&view), 0);
}

static void reads_what_the_library_wrote(void **state)
{
	const struct ttmem_device device = {.size = sizeof device,
					    .asic_id = 0xabc,
					    .dram_total = 1000,
					    .pci = "0000:01:00.0",
					    .board = "n150"};
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];
	struct amount amounts[KIND_COUNT] = {0};
	uint32_t generation = ledger_view_generation(&view);
	struct identity identity;

	(void)state;
	assert_int_equal(ttmem_declare_device(5, &device), 0);
	ttmem_alloc(5, TTMEM_L1, 0x1000, 77, "weights");
	assert_int_not_equal(ledger_view_generation(&view), generation);
	assert_int_equal(ledger_view_devices(&view), 1 << 5);
	assert_true(ledger_view_identity(&view, 5, &identity));
	assert_int_equal(identity.asic_id, 0xabc);
	assert_string_equal(identity.board, "n150");
	ledger_view_amounts(&view, 1 << 5, KINDS_ALL, amounts);
	assert_int_equal(amounts[TTMEM_L1].used_bytes, 77);
	assert_int_equal(amounts[TTMEM_L1].used_buffers, 1);
	assert_int_equal(ledger_view_peak(&view, 5, (enum kind)TTMEM_L1), 77);
	assert_int_equal(ledger_view_chunk(&view, 0, rows), 1);
	assert_int_equal(rows[0].address, 0x1000);
	assert_int_equal(rows[0].size, 77);
	assert_int_equal(rows[0].thread, gettid());
	assert_string_equal(ledger_view_tag(&view, rows[0].tag), "weights");
	ttmem_free(5, TTMEM_L1, 0x1000);
	assert_int_equal(ledger_view_chunk(&view, 0, rows), 0);
}

static void counts_what_could_not_be_recorded(void **state)
{
	struct recording_errors errors;

	(void)state;
	ttmem_free(5, TTMEM_L1, 0x99);
	ttmem_alloc(64, TTMEM_L1, 0x99, 1, NULL);
	ttmem_alloc_failed(5, TTMEM_L1, 1, 1);
	ledger_view_errors(&view, &errors);
	assert_int_equal(errors.unknown_frees, 1);
	assert_int_equal(errors.bad_arguments, 1);
	assert_int_equal(errors.unlisted, 0);
}

/* All that the library is told of a buffer follows from its address. */
static void buffer_change(uint64_t number, bool live)
{
	uint32_t device = (uint32_t)(number % LEDGER_DEVICES);
	enum ttmem_kind kind = (enum ttmem_kind)(number % TTMEM_KINDS);
	char tag[16];

	snprintf(tag, sizeof tag, "tag%u", (unsigned int)(number % 100));
	if (live)
		ttmem_alloc(device, kind, number << 8, number * 3 + 1, tag);
	else
		ttmem_free(device, kind, number << 8);
}

static void assert_whole(const struct ledger_record *record)
{
	uint64_t number = record->address >> 8;
	char tag[16];

	snprintf(tag, sizeof tag, "tag%u", (unsigned int)(number % 100));
	assert_int_equal(record->size, number * 3 + 1);
	assert_int_equal(record->device, number % LEDGER_DEVICES);
	assert_int_equal(record->kind, number % TTMEM_KINDS);
	assert_string_equal(ledger_view_tag(&view, record->tag), tag);
}

static void *writer_run(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15ull + 1;
	bool live[SLOTS] = {false};

	while (!__atomic_load_n(&writers_end, __ATOMIC_RELAXED)) {
		uint64_t slot = unit_random(&seed) % SLOTS;

		live[slot] = !live[slot];
		buffer_change((uintptr_t)arg * SLOTS + slot, live[slot]);
	}
	return NULL;
}

/* Freed is read before allocated: no moment shows more than there can be. */
static void read_meanwhile(uint64_t last[KIND_COUNT])
{
	const uint64_t most = (WRITERS + 1) * SLOTS;
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];
	struct amount amounts[KIND_COUNT] = {0};
	int live;

	ledger_view_amounts(&view, UINT64_MAX, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		assert_true(amounts[kind].used_bytes <= amounts[kind].allocated_bytes);
		assert_true(amounts[kind].allocated_buffers >= last[kind]);
		last[kind] = amounts[kind].allocated_buffers;
	}
	for (uint32_t chunk = 0; (live = ledger_view_chunk(&view, chunk, rows)) >= 0; chunk++)
		for (int i = 0; i < live; i++) {
			assert_true(rows[i].address >> 8 < most);
			assert_whole(&rows[i]);
		}
}

static void assert_agreement(void)
{
	struct amount amounts[KIND_COUNT] = {0}, listed[KIND_COUNT] = {0};
	struct ledger_record rows[LEDGER_CHUNK_RECORDS];
	struct ttmem_totals totals;
	int live;

	ledger_view_amounts(&view, UINT64_MAX, KINDS_ALL, amounts);
	for (uint32_t chunk = 0; (live = ledger_view_chunk(&view, chunk, rows)) >= 0; chunk++)
		for (int i = 0; i < live; i++) {
			listed[rows[i].kind].used_bytes += rows[i].size;
			listed[rows[i].kind].used_buffers++;
		}
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		assert_int_equal(
			ttmem_get_totals(TTMEM_ALL_DEVICES, (enum ttmem_kind)kind, &totals), 0);
		assert_int_equal(amounts[kind].used_bytes, totals.live_bytes);
		assert_int_equal(amounts[kind].used_buffers, totals.live_buffers);
		assert_int_equal(amounts[kind].allocated_bytes, totals.allocated_bytes);
		assert_int_equal(amounts[kind].failures, totals.failures);
		assert_int_equal(listed[kind].used_bytes, totals.live_bytes);
		assert_int_equal(listed[kind].used_buffers, totals.live_buffers);
	}
}

static void agrees_with_the_library_when_it_is_quiet_and_never_shows_half_a_row(void **state)
{
	uint64_t last[KIND_COUNT] = {0};
	pthread_t writers[WRITERS];

	(void)state;
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, writer_run, (void *)(i + 1)), 0);
	for (int i = 0; i < ROUNDS; i++)
		read_meanwhile(last);
	__atomic_store_n(&writers_end, true, __ATOMIC_RELAXED);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	assert_agreement();
}

/* A child has the descriptor and not the ledger: it stays its parent's. */
static void a_forked_child_changes_nothing_of_its_parents(void **state)
{
	struct ledger_view inherited;
	const char *why;
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		int fd = ledger_fd();
		bool fine = !ledger_view_open(&inherited, fd, geteuid(), &why) &&
			    ledger_view_pid(&inherited) == getppid();

		ttmem_alloc(0, TTMEM_DRAM, 1ull << 60, 1, NULL);
		_exit(fine ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_agreement();
	ledger_view_close(&view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_the_library_makes),
		cmocka_unit_test(reads_what_the_library_wrote),
		cmocka_unit_test(counts_what_could_not_be_recorded),
		cmocka_unit_test(
			agrees_with_the_library_when_it_is_quiet_and_never_shows_half_a_row),
		cmocka_unit_test(a_forked_child_changes_nothing_of_its_parents),
	};

	return RUN(tests);
}
