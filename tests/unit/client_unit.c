/* SPDX-License-Identifier: Apache-2.0 */
/* Switching on and off, what the library leaves alone, and what it says of devices. */
#include "crew.h"
#include "own_ledger.h"
#include <fcntl.h>

static int fds_open(void)
{
	return fds_of("");
}

static void assert_is_off(void)
{
	struct ttmem_device device = {.size = sizeof device};
	struct ttmem_totals totals;
	struct ttmem_errors errors;
	int fds = fds_open();

	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	ttmem_free(0, TTMEM_DRAM, 1);
	ttmem_alloc_failed(0, TTMEM_DRAM, 1, 1);
	assert_int_equal(ttmem__gate, 0);
	memset(&totals, 1, sizeof totals);
	assert_int_equal(ttmem_get_totals(0, TTMEM_DRAM, &totals), -ENOTCONN);
	assert_int_equal(totals.live_bytes + totals.peak_bytes + totals.allocated_buffers, 0);
	assert_int_equal(ttmem_get_errors(&errors), -ENOTCONN);
	assert_int_equal(ttmem_declare_device(0, &device), -ENOTCONN);
	assert_int_equal(fds_open(), fds);
	assert_int_equal(ledgers_open(), 0);
}

static void assert_is_on(void)
{
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(ledgers_open(), 1);
	ttmem_free(0, TTMEM_DRAM, 1);
}

static void stays_off_when_nobody_asks(void)
{
	assert_is_off();
}

static void stays_off_when_the_first_call_only_asks(void)
{
	struct ttmem_totals totals;

	assert_int_equal(ttmem_get_totals(0, TTMEM_DRAM, &totals), -ENOTCONN);
	assert_int_equal(ttmem__gate, 0);
	assert_is_off();
}

static void starts_with_TTMEM_1(void)
{
	setenv("TTMEM", "1", 1);
	assert_is_on();
}

static void starts_with_the_older_variable(void)
{
	setenv("TT_ALLOC_TRACKING_ENABLED", "1", 1);
	assert_is_on();
}

static void an_empty_TTMEM_leaves_it_to_the_older_variable(void)
{
	setenv("TTMEM", "", 1);
	setenv("TT_ALLOC_TRACKING_ENABLED", "1", 1);
	assert_is_on();
}

static void other_values_of_the_older_variable_do_not_start(void)
{
	setenv("TT_ALLOC_TRACKING_ENABLED", "0", 1);
	assert_is_off();
}

static void TTMEM_0_wins_over_the_older_variable(void)
{
	setenv("TTMEM", "0", 1);
	setenv("TT_ALLOC_TRACKING_ENABLED", "1", 1);
	assert_is_off();
}

static void an_explicit_start_wins_over_TTMEM_0(void)
{
	setenv("TTMEM", "0", 1);
	assert_int_equal(ttmem_start(), 0);
	assert_is_on();
}

static void an_explicit_start_works_after_calls_that_found_it_off(void)
{
	assert_is_off();
	assert_int_equal(ttmem_start(), 0);
	assert_is_on();
}

static void a_second_start_changes_nothing(void)
{
	const struct ledger_header *header;
	uint64_t start;

	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(3, TTMEM_L1, 77, 5, NULL);
	header = ledger_map();
	start = header->start_time_ns;
	assert_int_equal(ttmem_start(), 0);
	assert_int_equal(ledgers_open(), 1);
	assert_int_equal(header->start_time_ns, start);
	assert_int_equal(totals_of(3, TTMEM_L1).live_bytes, 5);
}

static void start_or_call(struct crew *crew, unsigned int self)
{
	crew_meet(crew);
	if (self)
		ttmem_alloc(5, TTMEM_DRAM, 1, 1, NULL);
	else
		assert_int_equal(ttmem_start(), 0);
}

/* A call that finds that nobody asked must not switch off what another thread starts meanwhile. */
static void a_first_call_does_not_undo_a_start_beside_it(void)
{
	for (unsigned int i = 0; i < rounds(600); i++) {
		pid_t child = case_fork();

		if (child == 0) {
			struct crew crew;

			crew_run(&crew, 2, start_or_call);
			assert_int_not_equal(ttmem__gate, 0);
			assert_is_on();
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void the_header_says_how_the_file_is_laid_out(void)
{
	const struct ledger_header *header;
	struct stat st;

	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
	assert_memory_equal(header->magic, LEDGER_MAGIC, 8);
	assert_int_equal(header->state, LEDGER_LIVE);
	assert_int_equal(header->pid, getpid());
	assert_int_equal(header->record_capacity, 1 << 20);
	assert_int_equal(fstat(ledger_fd(), &st), 0);
	assert_int_equal(st.st_size, header->file_size);
	assert_int_equal(header->file_size, ledger_file_size(header->record_capacity));
	assert_int_equal(fcntl(ledger_fd(), F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl((int)header->eventfd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(ledger_fd(), F_GET_SEALS) & 7,
			 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
}

static void records_are_as_many_as_asked_for_within_bounds(void)
{
	static const struct {
		const char *asked;
		uint64_t got;
	} cases[] = {{"256", 256},      {"1", 256}, {"257", 512},
		     {"nonsense", 256}, {"", 256},  {"99999999", 16777216},
		     {"-1", 16777216}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pid_t child = case_fork();

		if (child == 0) {
			setenv("TTMEM_RECORDS", cases[i].asked, 1);
			assert_int_equal(ttmem_start(), 0);
			assert_int_equal(ledger_map()->record_capacity, cases[i].got);
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void the_first_call_keeps_errno(void)
{
	setenv("TTMEM", "1", 1);
	errno = 77;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, "tag");
	assert_int_equal(errno, 77);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 1);
}

static void a_first_call_that_finds_it_off_keeps_errno(void)
{
	errno = 77;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, "tag");
	assert_int_equal(errno, 77);
	assert_is_off();
}

static void every_call_keeps_errno(void)
{
	struct ttmem_device device = {.size = sizeof device};
	struct ttmem_totals totals;
	struct ttmem_errors errors;
	char tag[16];

	errno = 77;
	assert_int_equal(ttmem_start(), 0);
	for (uint64_t i = 0; i < 3000; i++) {
		snprintf(tag, sizeof tag, "%u", (unsigned int)i);
		ttmem_alloc((uint32_t)i % 65, (enum ttmem_kind)(i % 8), i, i, tag);
		assert_int_equal(errno, 77);
	}
	for (uint64_t i = 0; i < 3000; i++)
		ttmem_free((uint32_t)i % 66, (enum ttmem_kind)(i % 8), i);
	ttmem_alloc_failed(0, TTMEM_L1, 1, 1);
	assert_int_equal(errno, 77);
	assert_int_equal(ttmem_declare_device(1, &device), 0);
	assert_int_equal(ttmem_declare_device(99, &device), -EINVAL);
	assert_int_equal(ttmem_get_totals(0, TTMEM_L1, &totals), 0);
	assert_int_equal(ttmem_get_totals(64, TTMEM_L1, &totals), -EINVAL);
	assert_int_equal(ttmem_get_errors(&errors), 0);
	assert_int_equal(errno, 77);
}

static void a_declaration_keeps_what_an_earlier_one_said(void)
{
	struct ttmem_device first = {.size = sizeof first,
				     .asic_id = 5,
				     .dram_total = 6,
				     .pci = "0000:01:00.0",
				     .arch = "wormhole_b0"};
	struct ttmem_device second = {.size = sizeof second,
				      .is_remote = 1,
				      .l1_total = 7,
				      .arch = "a name that is too long"};
	const struct ledger_device *entry;
	const struct ledger_header *header;

	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
	entry = (const struct ledger_device *)ledger_at(header, LEDGER_OFFSET_DEVICES) + 63;
	assert_int_equal(ttmem_declare_device(63, &first), 0);
	assert_int_equal(header->device_generation, 1);
	assert_int_equal(ttmem_declare_device(63, &second), 0);
	assert_int_equal(header->device_generation, 2);
	assert_int_equal(header->devices_used, 1ull << 63);
	assert_int_equal(entry->sequence, 4);
	assert_int_equal(entry->asic_id, 5);
	assert_int_equal(entry->dram_total, 6);
	assert_int_equal(entry->l1_total, 7);
	assert_int_equal(entry->flags, LEDGER_DEVICE_REMOTE);
	assert_string_equal(entry->pci, "0000:01:00.0");
	assert_string_equal(entry->arch, "a name that is ");
	assert_string_equal(entry->board, "");
}

static void a_declaration_of_another_size_or_slot_is_refused(void)
{
	struct ttmem_device device = {.size = sizeof device - 1};

	assert_int_equal(ttmem_start(), 0);
	assert_int_equal(ttmem_declare_device(0, &device), -EINVAL);
	device.size = sizeof device;
	assert_int_equal(ttmem_declare_device(64, &device), -EINVAL);
	assert_int_equal(ttmem_declare_device(0, NULL), -EINVAL);
	assert_int_equal(ledger_map()->devices_used, 0);
}

static void the_version_is_that_of_the_release(void)
{
	assert_string_equal(ttmem_version(), TTMEM_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(stays_off_when_nobody_asks),
		isolated(stays_off_when_the_first_call_only_asks),
		isolated(starts_with_TTMEM_1),
		isolated(starts_with_the_older_variable),
		isolated(an_empty_TTMEM_leaves_it_to_the_older_variable),
		isolated(other_values_of_the_older_variable_do_not_start),
		isolated(TTMEM_0_wins_over_the_older_variable),
		isolated(an_explicit_start_wins_over_TTMEM_0),
		isolated(an_explicit_start_works_after_calls_that_found_it_off),
		isolated(a_second_start_changes_nothing),
		isolated(a_first_call_does_not_undo_a_start_beside_it),
		isolated(the_header_says_how_the_file_is_laid_out),
		isolated(records_are_as_many_as_asked_for_within_bounds),
		isolated(the_first_call_keeps_errno),
		isolated(a_first_call_that_finds_it_off_keeps_errno),
		isolated(every_call_keeps_errno),
		isolated(a_declaration_keeps_what_an_earlier_one_said),
		isolated(a_declaration_of_another_size_or_slot_is_refused),
		isolated(the_version_is_that_of_the_release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
