/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of use by user, by cgroup and by command, to the byte. */
#include "text.h"

#define SUMS                                                                            \
	" processes          total           dram             l1         system       " \
	"l1_small          trace             cb         kernel\n"
#define USERS_HEAD    "uid       " SUMS
#define CGROUPS_HEAD  "cgroup                                  " SUMS
#define COMMANDS_HEAD "comm            " SUMS

static struct process *holder(struct world *world, pid_t pid, uid_t uid, uint64_t bytes)
{
	struct process *process = world_process(world, pid, uid);

	world_hold(world, process, world_device(world, 0, 0xa, uid), 0);
	world_set(process, 0, TTMEM_DRAM, bytes, 1);
	return process;
}

static void nobody_is_the_headings(void **state)
{
	assert_text(*state, render_users, NOTHING, USERS_HEAD);
	assert_text(*state, render_cgroups, NOTHING, CGROUPS_HEAD);
	assert_text(*state, render_commands, NOTHING, COMMANDS_HEAD);
}

static void users_come_by_use_with_all_their_processes(void **state)
{
	struct process *both = holder(*state, 2, 1000, 5);

	holder(*state, 1, 65534, 1);
	holder(*state, 3, 1000, 10);
	holder(*state, 4, 9, 1);
	world_hold(*state, both, world_device(*state, 1, 0xb, 1000), 1);
	world_set(both, 1, TTMEM_KERNEL, 100, 1);
	assert_text(*state, render_users, NOTHING,
		    USERS_HEAD
		    "1000               2            115             15              0            "
		    "  0              0              0              0            100\n"
		    "9                  1              1              1              0            "
		    "  0              0              0              0              0\n"
		    "65534              1              1              1              0            "
		    "  0              0              0              0              0\n");
}

static void cgroups_are_by_path_and_those_not_known_one_row(void **state)
{
	holder(*state, 1, 1, 1)->cgroup = g_strdup("/user.slice/a b");
	holder(*state, 2, 2, 4)->cgroup = g_strdup("/user.slice");
	holder(*state, 3, 3, 3)->cgroup = g_strdup("/user.slice/a b");
	holder(*state, 4, 4, 1);
	holder(*state, 5, 5, 1);
	assert_text(*state, render_cgroups, NOTHING,
		    CGROUPS_HEAD
		    "/user.slice                                      1              4            "
		    "  4              0              0              0              0             "
		    " 0              0\n"
		    "/user.slice/a?b                                  2              4            "
		    "  4              0              0              0              0             "
		    " 0              0\n"
		    "-                                                2              2            "
		    "  2              0              0              0              0             "
		    " 0              0\n");
}

static void commands_are_by_name_whosever_they_are(void **state)
{
	strcpy(holder(*state, 1, 1, 1)->comm, "a\nb c\x1b\xff");
	strcpy(holder(*state, 2, 2, 1)->comm, "a?b?c??");
	assert_text(*state, render_commands, NOTHING,
		    COMMANDS_HEAD
		    "a?b?c??                  2              2              2              0       "
		    "       0              0              0              0              0\n");
}

static void an_untracked_process_counts_nowhere(void **state)
{
	struct world *world = *state;
	struct process *process = holder(world, 1, 1, 1);

	process->joined[SOURCE_KMD] = process->joined[SOURCE_NATIVE];
	process->joined[SOURCE_NATIVE] = NULL;
	assert_text(world, render_users, NOTHING, USERS_HEAD);
	process->joined[SOURCE_NATIVE] = process->joined[SOURCE_KMD];
	process->joined[SOURCE_KMD] = NULL;
}

static void sums_stay_at_their_limit(void **state)
{
	char *text;

	holder(*state, 1, 1, UINT64_MAX);
	holder(*state, 2, 1, UINT64_MAX);
	text = world_text(*state, render_users, NOTHING, NULL);
	assert_non_null(
		strstr(text, "\n1                  2 18446744073709551615 18446744073709551615 "));
	g_free(text);
}

/* /proc of the test's own making. */
static void names_are_read_again(void **state)
{
	struct world *world = *state;
	char *root = unit_mkdir(), *text;

	holder(world, 7, 1, 1);
	world->model.proc = root;
	unit_put_proc(root, 7, "comm", "renamed\n");
	unit_put_proc(root, 7, "cgroup", "0::/moved\n");
	text = world_text(world, render_commands, NOTHING, NULL);
	assert_non_null(strstr(text, "\nrenamed "));
	g_free(text);
	text = world_text(world, render_cgroups, NOTHING, NULL);
	assert_non_null(strstr(text, "\n/moved "));
	g_free(text);
	unit_rmdir(root);
}

static void the_cgroup_of_a_process_is_a_line_of_plain_text(void **state)
{
	struct world *world = *state;
	char *root = unit_mkdir();
	struct process *process = world_process(world, 7, 1000);

	world->model.proc = root;
	unit_put_proc(root, 7, "cgroup", "0::/user.slice/a b\x1b[m\n");
	assert_text(world, render_process_cgroup, OF_PROCESS(process, 0), "/user.slice/a b?[m\n");
	unit_rmdir(root);
	world->model.proc = "/nonexistent";
	assert_text(world, render_process_cgroup, OF_PROCESS(process, 0), "/user.slice/a b?[m\n");
}

static void a_thousand_names_are_read_in_slices(void **state)
{
	unsigned int slices;
	char *text;

	for (pid_t pid = 1; pid <= 1000; pid++)
		holder(*state, pid, 1, 3);
	text = world_text(*state, render_commands, NOTHING, &slices);
	assert_in_range(slices, 4, 100);
	assert_non_null(
		strstr(text, "\n-                     1000           3000           3000 "));
	g_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_is_the_headings),
		TEST(users_come_by_use_with_all_their_processes),
		TEST(cgroups_are_by_path_and_those_not_known_one_row),
		TEST(commands_are_by_name_whosever_they_are),
		TEST(an_untracked_process_counts_nowhere),
		TEST(sums_stay_at_their_limit),
		TEST(names_are_read_again),
		TEST(the_cgroup_of_a_process_is_a_line_of_plain_text),
		TEST(a_thousand_names_are_read_in_slices),
	};

	return RUN(tests);
}
