/* SPDX-License-Identifier: Apache-2.0 */
/* TTMEM_REPORT. What happens at the end of a process is seen from outside: this program runs
 * itself, as one of the programs below. */
#include "own_ledger.h"
#include "report_text.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#define STATUS 3 /* of a program that did what it should */

/* --- the programs ------------------------------------------------------------------------------
 */

static void hold_and_free(void)
{
	ttmem_alloc(0, TTMEM_DRAM, 1, 1 << 20, "weights");
	ttmem_alloc(0, TTMEM_DRAM, 2, 1 << 20, "weights");
	ttmem_alloc(7, TTMEM_L1, 1, 512, NULL);
	ttmem_free(0, TTMEM_DRAM, 2);
	ttmem_alloc_failed(7, TTMEM_TRACE, 1, 0);
}

static int program_holds(void)
{
	hold_and_free();
	return STATUS;
}

static void free_the_rest(void)
{
	ttmem_free(0, TTMEM_DRAM, 1);
	ttmem_free(7, TTMEM_L1, 1);
}

static int program_frees_at_exit(void)
{
	hold_and_free();
	atexit(free_the_rest);
	return STATUS;
}

static int program_does_not_call(void)
{
	return STATUS;
}

static int program_forks(void)
{
	pid_t child;

	hold_and_free();
	child = fork();
	if (child == 0) {
		ttmem_alloc(9, TTMEM_CB, 1, 64, "child");
		exit(0);
	}
	waitpid(child, NULL, 0);
	return STATUS;
}

static int program_forks_a_child_that_does_not_call(void)
{
	pid_t child;

	hold_and_free();
	child = fork();
	if (child == 0)
		exit(0);
	waitpid(child, NULL, 0);
	return STATUS;
}

static int program_leaves_at_once(void)
{
	hold_and_free();
	_exit(STATUS);
}

static int program_forgets_its_environment(void)
{
	hold_and_free();
	clearenv();
	return STATUS;
}

static int program_keeps_errno(void)
{
	errno = 77;
	ttmem_alloc(0, TTMEM_DRAM, 1, 1, NULL);
	return errno == 77 ? STATUS : 1;
}

static int program_finds_it_off(void)
{
	struct ttmem_totals totals;

	hold_and_free();
	return ttmem_get_totals(0, TTMEM_DRAM, &totals) == -ENOTCONN ? STATUS : 1;
}

/* Until its standard input ends. */
static int program_stays(void)
{
	char byte;

	hold_and_free();
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return STATUS;
}

/* All that is left is the thread that reports. */
static int program_ends_its_threads(void)
{
	hold_and_free();
	atexit(free_the_rest);
	pthread_exit(NULL);
}

/* The other one, with all signals blocked. */
static int program_looks_at_the_thread(void)
{
	char path[300], line[128] = "";
	unsigned long long blocked = 0;
	struct dirent *entry = NULL;
	FILE *file;
	DIR *tasks;

	hold_and_free();
	tasks = opendir("/proc/self/task");
	while (tasks && (entry = readdir(tasks)) && atoi(entry->d_name) <= getpid())
		;
	if (!entry)
		return 2;
	snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
	file = fopen(path, "r");
	while (file && !blocked && fgets(line, sizeof line, file))
		sscanf(line, "SigBlk: %llx", &blocked);
	if (file)
		fclose(file);
	closedir(tasks);
	return blocked >> (SIGTERM - 1) & blocked >> (SIGPROF - 1) & 1 ? STATUS : 1;
}

/* Which gets number 2, because there was no stderr. */
static int program_opens_a_file(void)
{
	hold_and_free();
	return open(getenv("DATA"), O_WRONLY) == STDERR_FILENO ? STATUS : 1;
}

static int (*const programs[])(void) = {
	program_holds,

	program_frees_at_exit,
	program_does_not_call,
	program_forks,
	program_forks_a_child_that_does_not_call,
	program_leaves_at_once,
	program_forgets_its_environment,
	program_keeps_errno,
	program_finds_it_off,
	program_stays,
	program_ends_its_threads,
	program_looks_at_the_thread,
	program_opens_a_file,
};

/* --- running them ------------------------------------------------------------------------------
 */

static int reading, telling;

/* Starts a program with TTMEM_REPORT set so, and an end of its stderr at `reading` if somebody is
 * to read it. */
static pid_t begin(int (*program)(void), const char *report, bool read_it)
{
	int out[2], in[2];
	char number[16];
	pid_t child;
	int i = 0;

	assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(in, O_CLOEXEC), 0);
	reading = read_it ? out[0] : -1;
	if (!read_it)
		close(out[0]);
	telling = in[1];
	while (programs[i] != program)
		i++;
	snprintf(number, sizeof number, "%d", i);
	child = case_fork();
	if (child == 0) {
		setenv("TTMEM_REPORT", report, 1);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDERR_FILENO);
		if (program == program_opens_a_file)
			close(STDERR_FILENO);
		execl("/proc/self/exe", "report_exit_unit", number, NULL);
		_exit(127);
	}
	close(out[1]);
	close(in[0]);
	return child;
}

static void end(pid_t child, int status)
{
	size_t length = strlen(text);
	ssize_t got;

	close(telling);
	while ((got = read(reading, text + length, sizeof text - 1 - length)) > 0)
		length += (size_t)got;
	text[length] = 0;
	close(reading);
	assert_int_equal(case_wait(child), status);
}

static void run(int (*program)(void), const char *report)
{
	text[0] = 0;
	end(begin(program, report, true), STATUS);
}

static void at_exit_there_is_a_table(void)
{
	run(program_holds, "exit");
	assert_int_equal(count_of("ttmem: device memory of pid "), 1);
	assert_non_null(strstr(text, " at exit\n"));
	assert_line("device kind peak live buffers allocations failures");
	assert_line("0 dram 2.00 MiB 1.00 MiB 1 2 0");
	assert_line("7 l1 512 B 512 B 1 1 0");
	assert_line("7 trace 0 B 0 B 0 0 1");
	assert_line("never freed, by tag");
	assert_line("weights 0 dram 1.00 MiB 1");
	assert_line("- 7 l1 512 B 1");
}

static void what_is_freed_at_exit_is_freed(void)
{
	run(program_frees_at_exit, "exit");
	assert_line("0 dram 2.00 MiB 0 B 0 2 0");
	assert_line("nothing is live: all that was allocated was freed");
}

static void who_never_called_or_leaves_at_once_reports_nothing(void)
{
	run(program_does_not_call, "exit");
	assert_string_equal(text, "");
	run(program_leaves_at_once, "exit");
	assert_string_equal(text, "");
}

static void a_forked_child_reports_its_own(void)
{
	run(program_forks, "exit");
	assert_int_equal(count_of("ttmem: device memory of pid "), 2);
	assert_line("child 9 cb 64 B 1");
	assert_line("9 cb 64 B 64 B 1 1 0");
	assert_int_equal(count_of("weights"), 1);
	run(program_forks_a_child_that_does_not_call, "exit");
	assert_int_equal(count_of("ttmem: device memory of pid "), 1);
}

/* It is read once, at the start. */
static void the_environment_may_be_gone_by_then(void)
{
	run(program_forgets_its_environment, "exit");
	assert_int_equal(count_of("ttmem: device memory of pid "), 1);
}

static void a_value_that_is_nonsense_is_told_once(void)
{
	static const char *const values[] = {"yes", "100x", "-5", " 100", "1e3"};

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		char told[64];

		snprintf(told, sizeof told, "libttmem: TTMEM_REPORT=%s is neither ", values[i]);
		run(program_keeps_errno, values[i]);
		assert_int_equal(count_of(told), 1);
		assert_int_equal(count_of("libttmem"), 1);
		assert_line("0 dram 1 B 1 B 1 1 0");
	}
}

static void TTMEM_0_wins(void)
{
	setenv("TTMEM", "0", 1);
	run(program_finds_it_off, "exit");
	assert_string_equal(text, "");
	run(program_finds_it_off, "100");
	assert_string_equal(text, "");
}

static void no_value_and_0_ask_for_nothing(void)
{
	run(program_finds_it_off, "");
	run(program_finds_it_off, "0");
	assert_string_equal(text, "");
	setenv("TTMEM", "1", 1);
	run(program_holds, "0");
	assert_string_equal(text, "");
}

/* Whether a table, a line or a complaint is written: nobody is killed for it. */
static void a_stderr_that_nobody_reads_ends_nothing(void)
{
	static const char *const values[] = {"exit", "nonsense", "100"};
	const struct timespec some = {.tv_nsec = 150000000};

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		pid_t child = begin(program_stays, values[i], false);

		if (i == 2)
			nanosleep(&some, NULL);
		close(telling);
		assert_int_equal(case_wait(child), STATUS);
	}
}

static void a_file_that_is_no_stderr_is_left_alone(void)
{
	char name[] = P_tmpdir "/ttmem-unit-XXXXXX";
	int file = mkstemp(name);
	struct stat st;

	assert_true(file >= 0);
	setenv("DATA", name, 1);
	run(program_opens_a_file, "exit");
	unlink(name);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void lines_come_while_it_runs_and_the_table_at_exit(void)
{
	pid_t child = begin(program_stays, "100", true);
	size_t length = 0;
	ssize_t got;

	text[0] = 0;
	while (count_of("\n") < 3) {
		got = read(reading, text + length, sizeof text - 1 - length);
		assert_true(got > 0);
		text[length += (size_t)got] = 0;
	}
	assert_int_equal(count_of(" s; device 0 dram 1.00 MiB; device 7 l1 512 B trace 0 B\n"), 3);
	assert_int_equal(count_of("ttmem: device memory"), 0);
	end(child, STATUS);
	assert_int_equal(count_of("ttmem: device memory"), 1);
}

static void a_process_ends_with_the_hosts_last_thread(void)
{
	if (UNDER_TSAN)
		case_skip("the tool has a thread of its own");
	text[0] = 0;
	end(begin(program_ends_its_threads, "100", true), 0);
	assert_line("nothing is live: all that was allocated was freed");
}

static void no_signal_is_delivered_to_the_thread_that_reports(void)
{
	run(program_looks_at_the_thread, "60000");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		isolated(at_exit_there_is_a_table),
		isolated(what_is_freed_at_exit_is_freed),
		isolated(who_never_called_or_leaves_at_once_reports_nothing),
		isolated(a_forked_child_reports_its_own),
		isolated(the_environment_may_be_gone_by_then),
		isolated(a_value_that_is_nonsense_is_told_once),
		isolated(TTMEM_0_wins),
		isolated(no_value_and_0_ask_for_nothing),
		isolated(a_stderr_that_nobody_reads_ends_nothing),
		isolated(a_file_that_is_no_stderr_is_left_alone),
		isolated(lines_come_while_it_runs_and_the_table_at_exit),
		isolated(a_process_ends_with_the_hosts_last_thread),
		isolated(no_signal_is_delivered_to_the_thread_that_reports),
	};

	if (argc == 2)
		return programs[atoi(argv[1])]();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
