/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from /proc, from one of our own making. */
#include "proc.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#define PID 42

/* The root, and the directory of PID in it. */
static char *root, *dir;

static int setup(void **state)
{
	(void)state;
	root = unit_mkdir();
	dir = g_strdup_printf("%s/%d", root, PID);
	return g_mkdir_with_parents(dir, 0700);
}

static int teardown(void **state)
{
	(void)state;
	unit_rmdir(root);
	g_free(dir);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void put(const char *name, const char *text)
{
	char *path = g_build_filename(dir, name, NULL);

	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	g_free(path);
}

#define FIELDS_3_TO_21 " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18"

static void assert_exiting(const char *stat, bool want)
{
	put("stat", stat);
	assert_int_equal(proc_is_exiting(root, PID), want);
}

static void field_9_says_that_it_is_about_to_end(void **state)
{
	(void)state;
	assert_exiting("42 (cat) S 1 2 3 4 5 4194304 7 8 9 10\n", false);
	assert_exiting("42 (cat) S 1 2 3 4 5 4194308 7 8 9 10\n", true);
	assert_exiting("42 (c) Z 1 2 3 4 5 4 (a)t) S 1 2 3 4 5 0 7 8\n", false);
	assert_exiting("42 (cat) S 1", true); /* of no use: taken for gone */
	assert_true(proc_is_exiting(root, 43));
	assert_false(proc_is_exiting("/proc", getpid()));
}

static void assert_ticks(const char *stat, int error, uint64_t want)
{
	uint64_t ticks = 0;

	put("stat", stat);
	assert_int_equal(proc_start_ticks(root, PID, &ticks), error);
	if (!error)
		assert_true(ticks == want);
}

static void the_start_is_field_22(void **state)
{
	(void)state;
	assert_ticks("42 (cat)" FIELDS_3_TO_21 " 123456 99 98 97\n", 0, 123456);
	assert_ticks("42 (cat)" FIELDS_3_TO_21 " 18446744073709551615 99\n", 0, UINT64_MAX);
	assert_ticks("42 (cat)" FIELDS_3_TO_21 " 7", 0, 7);
}

static void a_name_may_hold_anything(void **state)
{
	(void)state;
	assert_ticks("42 (a b) c)" FIELDS_3_TO_21 " 7 9\n", 0, 7);
	assert_ticks("42 () S 1 1 1 ()" FIELDS_3_TO_21 " 7 9\n", 0, 7);
	assert_ticks("42 (\n)\n(" FIELDS_3_TO_21 ")" FIELDS_3_TO_21 " 7 9\n", 0, 7);
	assert_ticks("42 (()" FIELDS_3_TO_21 " 7 9\n", 0, 7);
}

static void a_stat_that_is_cut_short_has_no_start(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"42",
		"42 (cat",
		"42 (cat)",
		"42 (cat) ",
		"42 (cat) S 1 2 3\n",
		"42 (cat)" FIELDS_3_TO_21,
		"42 (cat)" FIELDS_3_TO_21 " ",
		"42 (cat)" FIELDS_3_TO_21 " x",
	};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		assert_ticks(texts[i], -EPROTO, 0);
}

static void threads_of_the_kernel_and_zombies_are_no_programs(void **state)
{
	(void)state;
	put("stat", "42 (cat) S 1 42 42 34816 42 4194304 1 2 3 4 5 6 7 8 9 10 1 0 123\n");
	assert_true(proc_is_program(root, PID));
	put("stat", "42 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 25\n");
	assert_false(proc_is_program(root, PID));
	put("stat", "42 (a) S) Z 1 42 42 34816 42 4194304 1 2 3 4 5 6 7 8 9 10 1 0 123\n");
	assert_false(proc_is_program(root, PID));
	put("stat", "42 (cat) Z 1 42 42 34816 42 4194304 1 2 3 4 5 6 7 8 9 10 2 0 123\n");
	assert_true(proc_is_program(root, PID));
	put("stat", "42 (cut) S 1");
	assert_false(proc_is_program(root, PID));
	assert_false(proc_is_program(root, 43));
}

static void a_process_that_is_gone_has_nothing(void **state)
{
	char comm[16] = "before";
	uint64_t ticks;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	(void)state;
	assert_int_equal(proc_start_ticks(root, 43, &ticks), -ENOENT);
	assert_int_equal(proc_thread_group(root, 43, &pid), -ENOENT);
	assert_int_equal(proc_innermost_pid(root, 43, &pid), -ENOENT);
	assert_int_equal(proc_ids(root, 43, &uid, &gid), -ENOENT);
	assert_false(proc_maps_inode(root, 43, 1));
	proc_comm(root, 43, comm);
	assert_string_equal(comm, "");
}

static void assert_comm(const char *text, const char *want)
{
	char comm[16];

	memset(comm, 'x', sizeof comm);
	put("comm", text);
	proc_comm(root, PID, comm);
	assert_string_equal(comm, want);
}

static void a_comm_is_a_line_of_any_bytes(void **state)
{
	(void)state;
	assert_comm("cat\n", "cat");
	assert_comm("two words\n", "two words");
	assert_comm("a\nb\n", "a\nb");
	assert_comm("a\n\n", "a\n");
	assert_comm("no newline", "no newline");
	assert_comm("\n", "");
	assert_comm("", "");
	assert_comm("fifteen_letters\n", "fifteen_letters");
	assert_comm("\x1b[31m\xff\n", "\x1b[31m\xff");
}

static void a_comm_is_no_longer_than_there_is_room_for(void **state)
{
	char *text = g_strnfill(4000, 'a');

	(void)state;
	assert_comm("kworker/u4:3-events_unbound\n", "kworker/u4:3-ev");
	assert_comm(text, "aaaaaaaaaaaaaaa");
	g_free(text);
}

static void assert_inner(const char *status, int error, pid_t want)
{
	pid_t inner = 0;

	put("status", status);
	assert_int_equal(proc_innermost_pid(root, PID, &inner), error);
	if (!error)
		assert_int_equal(inner, want);
}

static void the_innermost_pid_is_the_last(void **state)
{
	(void)state;
	assert_inner("Name:\tcat\nPid:\t42\nNSpid:\t42\nNSpgid:\t7\n", 0, 42);
	assert_inner("Name:\tcat\nPid:\t42\nNSpid:\t42\t17\t3\nNSpgid:\t42\t17\t4\n", 0, 3);
	assert_inner("Name:\tcat\nNSpid:\t4194304", 0, 4194304);
}

static void a_thread_names_its_process(void **state)
{
	pid_t pid;

	(void)state;
	put("status", "Name:\tcat\nUmask:\t0022\nTgid:\t41\nNgid:\t0\nPid:\t42\n");
	assert_int_equal(proc_thread_group(root, PID, &pid), 0);
	assert_int_equal(pid, 41);
}

/* The kernel writes a newline in a name as \n, so that only a line of its own begins with a key. */
static void a_name_cannot_forge_a_line(void **state)
{
	(void)state;
	assert_inner("Name:\tNSpid:\t1\nPid:\t42\nNSpid:\t42\t3\n", 0, 3);
	assert_inner("Name:\t\\nNSpid:\t1\nPid:\t42\nNSpid:\t42\t3\n", 0, 3);
	assert_inner("Name:\tx\nPid:\t42\nXNSpid:\t9\n", -EPROTO, 0);
}

static void a_number_that_is_none_is_refused(void **state)
{
	static const char *const texts[] = {"",
					    "Name:\tcat\n",
					    "Name:\tcat\nNSpid:",
					    "Name:\tcat\nNSpid:\t",
					    "Name:\tcat\nNSpid:\tx\n",
					    "Name:\tcat\nNSpid:\t0\n",
					    "Name:\tcat\nNSpid:\t-7\n",
					    "Name:\tcat\nNSpid:\nPid:\t7\n"};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		assert_inner(texts[i], -EPROTO, 0);
}

/* The line of groups comes before, and can be long: a user may be in 65536 of them. */
static void the_innermost_pid_is_found_behind_many_groups(void **state)
{
	GString *status = g_string_new("Name:\tcat\nTgid:\t42\nGroups:\t");

	(void)state;
	for (int i = 0; i < 65536; i++)
		g_string_append_printf(status, "%d ", 1000000000 + i);
	g_string_append(status, "\nNStgid:\t42\t3\nNSpid:\t42\t3\nNSpgid:\t42\t4\n");
	assert_inner(status->str, 0, 3);
	g_string_free(status, TRUE);
}

static void a_thread_is_in_the_groups_of_its_list(void **state)
{
	(void)state;
	put("status",
	    "Name:\tGroups:\\t9\nGid:\t8\t8\t8\t8\nGroups:\t4 24 4294967294 \nPid:\t42\n");
	assert_true(proc_in_group(root, PID, 4));
	assert_true(proc_in_group(root, PID, 24));
	assert_true(proc_in_group(root, PID, 4294967294u));
	assert_false(proc_in_group(root, PID, 2));
	assert_false(proc_in_group(root, PID, 8));
	assert_false(proc_in_group(root, PID, 9));
	assert_false(proc_in_group(root, PID, 42));
	assert_false(proc_in_group(root, PID, 0));
	put("status", "Name:\tcat\nGroups:\t \nPid:\t42\n");
	assert_false(proc_in_group(root, PID, 0));
	assert_false(proc_in_group(root, PID + 1, 4));
	assert_false(proc_in_group(root, 0, 4)); /* of another pid namespace */
}

static void the_ids_are_the_effective_ones(void **state)
{
	uid_t uid;
	gid_t gid;

	(void)state;
	put("status", "Name:\tcat\nUid:\t1\t2\t3\t4\nGid:\t5\t4294967294\t7\t8\n");
	assert_int_equal(proc_ids(root, PID, &uid, &gid), 0);
	assert_int_equal(uid, 2);
	assert_int_equal(gid, 4294967294u);
	put("status", "Name:\tcat\nUid:\t1\t2\t3\t4\n");
	assert_int_equal(proc_ids(root, PID, &uid, &gid), -EPROTO);
}

static void assert_cgroup(const char *text, const char *want)
{
	char *path;

	put("cgroup", text);
	path = proc_cgroup(root, PID);
	assert_int_equal(g_strcmp0(path, want), 0);
	free(path);
}

static void the_cgroup_is_of_the_unified_hierarchy_or_the_first_controller(void **state)
{
	(void)state;
	assert_cgroup("0::/user.slice/a:b c\n", "/user.slice/a:b c");
	assert_cgroup("0::/\n", "/");
	assert_cgroup("9:name=systemd:/init\n8:pids:/one\n4:memory:/two\n", "/one");
	assert_cgroup("8:cpu,cpuacct:/one\n4:memory:/two\n", "/one");
	assert_cgroup("8:pids:/one\n1:name=systemd:/init\n0::/unified\n", "/unified");
	assert_cgroup("10:pids:/one\n", "/one");
	assert_cgroup("0::/gone (deleted)", "/gone (deleted)");
}

static void what_is_no_cgroup_is_not_known(void **state)
{
	static const char *const bad[] = {
		"", "\n", "0", "0::", "0::\n", "0:", "::", "x\n0::y\n", "1:name=systemd:/init\n"};

	(void)state;
	assert_null(proc_cgroup(root, PID));
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		assert_cgroup(bad[i], NULL);
}

static void a_cgroup_may_be_as_long_as_a_path(void **state)
{
	GString *text = g_string_new("8:pids:/first\n0::");

	(void)state;
	for (int i = 0; i < 20; i++)
		g_string_append_printf(text, "/%0200d", i);
	assert_cgroup(text->str, text->str + strlen("8:pids:/first\n0::"));
	g_string_free(text, TRUE);
}

static void an_inode_is_found_among_the_mappings(void **state)
{
	(void)state;
	put("maps", "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon\n"
		    "00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n"
		    "7f00-7f01 rw-s 00000000 00:01 2053 /memfd:ttmem-ledger (deleted)\n"
		    "7f02-7f03 rw-s 00000000 00:01 77 /a file with spaces 99\n");
	assert_true(proc_maps_inode(root, PID, 2053));
	assert_true(proc_maps_inode(root, PID, 173521));
	assert_true(proc_maps_inode(root, PID, 77));
	assert_false(proc_maps_inode(root, PID, 99));
	assert_false(proc_maps_inode(root, PID, 205));
}

static bool becomes_gone(int memory)
{
	for (int i = 0; i < 50000 && !proc_memory_is_gone(memory); i++)
		g_usleep(200);
	return proc_memory_is_gone(memory);
}

/* The process is the same after it. */
static void an_address_space_goes_with_an_exec(void **state)
{
	int go[2], memory, own;
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		char byte;

		close(go[1]);
		if (read(go[0], &byte, 1) == 0)
			execl("/bin/sleep", "sleep", "600", NULL);
		_exit(1);
	}
	memory = proc_memory_open("/proc", child);
	own = proc_memory_open("/proc", getpid());
	assert_true(memory >= 0 && own >= 0);
	assert_false(proc_memory_is_gone(memory));
	close(go[1]);
	assert_true(becomes_gone(memory));
	close(memory);
	memory = proc_memory_open("/proc", child);
	assert_false(proc_memory_is_gone(memory));
	kill(child, SIGKILL);
	assert_true(becomes_gone(memory));
	waitpid(child, NULL, 0);
	assert_false(proc_memory_is_gone(own));
	close(memory);
	close(own);
	close(go[0]);
	assert_int_equal(proc_memory_open("/proc", child), -1);
	assert_false(proc_memory_is_gone(-1));
}

static void our_own_start_is_before_now_and_never_wanders(void **state)
{
	uint64_t ticks = 0, again = 0;

	(void)state;
	assert_int_equal(proc_start_ticks("/proc", getpid(), &ticks), 0);
	assert_int_equal(proc_start_ticks("/proc", getpid(), &again), 0);
	assert_true(ticks == again && ticks);
	assert_true(proc_ticks_to_epoch_ns(ticks) == proc_ticks_to_epoch_ns(again));
	assert_true(proc_ticks_to_epoch_ns(ticks) <= (uint64_t)g_get_real_time() * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_start_is_field_22),
		TEST(field_9_says_that_it_is_about_to_end),
		TEST(a_name_may_hold_anything),
		TEST(a_stat_that_is_cut_short_has_no_start),
		TEST(threads_of_the_kernel_and_zombies_are_no_programs),
		TEST(a_process_that_is_gone_has_nothing),
		TEST(a_comm_is_a_line_of_any_bytes),
		TEST(a_comm_is_no_longer_than_there_is_room_for),
		TEST(the_innermost_pid_is_the_last),
		TEST(a_thread_names_its_process),
		TEST(a_name_cannot_forge_a_line),
		TEST(a_number_that_is_none_is_refused),
		TEST(the_innermost_pid_is_found_behind_many_groups),
		TEST(a_thread_is_in_the_groups_of_its_list),
		TEST(the_ids_are_the_effective_ones),
		TEST(the_cgroup_is_of_the_unified_hierarchy_or_the_first_controller),
		TEST(what_is_no_cgroup_is_not_known),
		TEST(a_cgroup_may_be_as_long_as_a_path),
		TEST(an_inode_is_found_among_the_mappings),
		TEST(an_address_space_goes_with_an_exec),
		TEST(our_own_start_is_before_now_and_never_wanders),
	};

	return RUN(tests);
}
