/* SPDX-License-Identifier: Apache-2.0 */
/* ttmem_report(): the table, and what becomes of it. */
#include "own_ledger.h"
#include "report_text.h"
#include <fcntl.h>

static int into[2];

static int report(void)
{
	int error;
	ssize_t got;

	errno = 77;
	error = ttmem_report(into[1]);
	assert_int_equal(errno, 77);
	fcntl(into[0], F_SETFL, O_NONBLOCK);
	got = read(into[0], text, sizeof text - 1);
	text[got > 0 ? got : 0] = 0;
	return error;
}

static void a_report_shows_what_is_live_and_what_went_wrong(void)
{
	char tag[16];

	assert_int_equal(pipe(into), 0);
	assert_int_equal(report(), -ENOTCONN);
	assert_int_equal(ttmem_start(), 0);
	assert_int_equal(report(), 0);
	assert_line("nothing is live: all that was allocated was freed");
	ttmem_alloc(0, TTMEM_DRAM, 1, 1 << 20, "weights");
	ttmem_alloc(7, TTMEM_L1, 1, 512, NULL);
	ttmem_alloc(0, TTMEM_DRAM, 3, 1536, "a\tb\033[2J");
	ttmem_free(1, TTMEM_DRAM, 3);
	ttmem_alloc(0, TTMEM_DRAM, 3, 1, NULL);
	ttmem_free(64, TTMEM_DRAM, 3);
	assert_int_equal(report(), 0);
	assert_line("live, by tag");
	assert_line("a?b?[2J 0 dram 1.50 KiB 1");
	assert_line("frees of buffers that were not live: 1");
	assert_line("allocations of a live address with another size: 1");
	assert_line("calls with a device or kind out of range: 1");
	for (uint64_t i = 0; i < 100; i++) {
		snprintf(tag, sizeof tag, "%u", (unsigned int)i);
		ttmem_alloc(5, TTMEM_KERNEL, i, 1 + i, tag);
	}
	assert_int_equal(report(), 0);
	assert_line("99 5 kernel 100 B 1");
	assert_line("and 63 smaller ones");
}

static void a_report_that_nobody_can_read_is_an_error(void)
{
	sigset_t pipes, pending;

	assert_int_equal(ttmem_start(), 0);
	assert_int_equal(ttmem_report(-1), -EBADF);
	assert_int_equal(ttmem_report(open("/dev/full", O_WRONLY)), -ENOSPC);
	assert_int_equal(pipe(into), 0);
	close(into[0]);
	assert_int_equal(ttmem_report(into[1]), -EPIPE);
	sigemptyset(&pipes);
	sigaddset(&pipes, SIGPIPE);
	assert_int_equal(sigprocmask(SIG_BLOCK, &pipes, NULL), 0);
	assert_int_equal(ttmem_report(into[1]), -EPIPE);
	sigpending(&pending);
	assert_false(sigismember(&pending, SIGPIPE));
	raise(SIGPIPE); /* the host's own stays */
	assert_int_equal(ttmem_report(into[1]), -EPIPE);
	sigpending(&pending);
	assert_true(sigismember(&pending, SIGPIPE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_report_shows_what_is_live_and_what_went_wrong),
		isolated(a_report_that_nobody_can_read_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
