/* SPDX-License-Identifier: Apache-2.0 */
/* What the options of hidepid mean, and who is exempt. */
#include "groups.h"
#include "text.h"
#include <errno.h>

#define GROUP 7000u

static void a_mode_has_one_name(void **state)
{
	enum hidepid_mode mode = HIDEPID_OFF;

	(void)state;
	assert_int_equal(hidepid_parse_mode("invisible", &mode), 0);
	assert_int_equal(mode, HIDEPID_INVISIBLE);
	assert_int_equal(hidepid_parse_mode("noaccess", &mode), 0);
	assert_int_equal(mode, HIDEPID_NOACCESS);
	assert_int_equal(hidepid_parse_mode("off", &mode), 0);
	assert_int_equal(mode, HIDEPID_OFF);
	assert_int_equal(hidepid_parse_mode("", &mode), -EINVAL);
	assert_int_equal(hidepid_parse_mode("of", &mode), -EINVAL);
	assert_int_equal(hidepid_parse_mode("invisible ", &mode), -EINVAL);
	assert_int_equal(hidepid_parse_mode("2", &mode), -EINVAL);
}

static void a_group_is_named_or_numbered(void **state)
{
	static const char *const wrong[] = {"",    "-1",         "+7",         " 7",           "7 ",
					    "0x7", "4294967295", "4294967296", "no such group"};
	gid_t group = 1;

	(void)state;
	assert_int_equal(hidepid_parse_group("root", &group), 0);
	assert_int_equal(group, 0);
	assert_int_equal(hidepid_parse_group("7000", &group), 0);
	assert_int_equal(group, 7000);
	assert_int_equal(hidepid_parse_group("4294967294", &group), 0);
	assert_int_equal(group, 4294967294u);
	for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
		assert_int_equal(hidepid_parse_group(wrong[i], &group), -ENOENT);
}

static bool is_exempt(const struct model *model, uid_t uid, gid_t gid, pid_t tid)
{
	struct reader reader = {.uid = uid, .gid = gid, .tid = tid};

	return reader_is_exempt(model, &reader);
}

static void nobody_is_kept_out_when_it_is_off(void **state)
{
	struct world *world = *state;

	assert_true(is_exempt(&world->model, 1000, 100, GROUPS_TID));
	assert_true(is_exempt(&world->model, 1000, 100, 0));
}

static void root_the_owner_and_the_group_are_exempt(void **state)
{
	struct world *world = *state;
	struct model *model = &world->model;
	char *root = proc_with_groups("4 7000 24");

	model->proc = root;
	model->hidepid = (struct hidepid){HIDEPID_NOACCESS, true, GROUP};
	assert_true(is_exempt(model, 0, 100, 0));
	assert_true(is_exempt(model, WORLD_OWNER, 100, 0));
	assert_true(is_exempt(model, 1000, GROUP, 0));
	assert_true(is_exempt(model, 1000, 100, GROUPS_TID));
	assert_false(is_exempt(model, 1000, 100, GROUPS_TID + 1)); /* is not there */
	assert_false(is_exempt(model, 1000, 100, 0));              /* we do not see who it is */
	model->hidepid.group = 700;
	assert_false(is_exempt(model, 1000, 100, GROUPS_TID));
	model->hidepid = (struct hidepid){HIDEPID_INVISIBLE, false, 0};
	assert_true(is_exempt(model, 0, 100, 0));
	assert_true(is_exempt(model, WORLD_OWNER, 100, 0));
	assert_false(
		is_exempt(model, 1000, 0, GROUPS_TID)); /* there is no group, not even root's */
	unit_rmdir(root);
}

/* The number of a thread that has opened a file may be another's when it is read. */
static void groups_are_looked_up_once(void **state)
{
	struct world *world = *state;
	struct model *model = &world->model;
	struct reader member = {.uid = 1000, .gid = 100, .tid = GROUPS_TID}, stranger = member;
	char *root = proc_with_groups("7000"), *other = proc_with_groups("1");

	model->hidepid = (struct hidepid){HIDEPID_INVISIBLE, true, GROUP};
	model->proc = root;
	assert_true(reader_is_exempt(model, &member));
	model->proc = other;
	assert_true(reader_is_exempt(model, &member));
	assert_false(reader_is_exempt(model, &stranger));
	model->proc = root;
	assert_false(reader_is_exempt(model, &stranger));
	unit_rmdir(root);
	unit_rmdir(other);
}

/* The reader of world_text() is user 1000. A detail may have a path below /proc/<pid>. */
static void details_of_sources_are_for_those_who_see_all(void **state)
{
	struct world *world = *state;
	struct model *model = &world->model;
	const struct subject none = {0};
	char *all, *some;

	g_strlcpy(world->source.detail, "/proc/4711/root: broken", sizeof world->source.detail);
	all = world_text(world, render_sources, none, NULL);
	model->hidepid.mode = HIDEPID_NOACCESS;
	some = world_text(world, render_sources, none, NULL);
	assert_non_null(strstr(all, "4711"));
	assert_null(strstr(some, "4711"));
	assert_true(g_str_has_suffix(some, " -\n"));
	g_free(all);
	g_free(some);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_mode_has_one_name),
		TEST(a_group_is_named_or_numbered),
		TEST(nobody_is_kept_out_when_it_is_off),
		TEST(root_the_owner_and_the_group_are_exempt),
		TEST(groups_are_looked_up_once),
		TEST(details_of_sources_are_for_those_who_see_all),
	};

	return RUN(tests);
}
