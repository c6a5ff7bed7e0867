/* SPDX-License-Identifier: Apache-2.0 */
/* Who has the devices of the driver open. */
#include "kmd_stage.h"

static void pids_belong_to_the_device_that_has_the_number_now(void **state)
{
	struct stage *stage = *state;
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	begin(stage);
	driver_forest_reload(&stage->forest, 0);
	driver_forest_put(&stage->forest, 0, "tt_asic_id", "0123456789abcdff\n");
	opens(stage, 0, "%d\n", pid);
	look(stage);
	assert_null(numbered(stage, 0));
	assert_non_null(process_holding(process(stage, pid), numbered(stage, 1)));
	assert_int_equal(process(stage, pid)->holdings->len, 1);
}

static void who_has_a_device_open_is_there_and_untracked(void **state)
{
	struct stage *stage = *state;
	pid_t one = child(stage, 0), two = child(stage, 1);

	driver_forest_add(&stage->forest, 0);
	driver_forest_add(&stage->forest, 1);
	opens(stage, 0, "%d\n%d\n%d\n0\nx\n-5\n%d\n", one, two, one, one);
	opens(stage, 1, "%d\n", two);
	begin(stage);
	assert_int_equal(g_tree_nnodes(stage->model.processes), 2);
	assert_int_equal(process(stage, one)->holdings->len, 1);
	assert_int_equal(process(stage, two)->holdings->len, 2);
	assert_true(process_is_untracked(process(stage, one)));
	assert_int_equal(numbered(stage, 0)->users->len, 2);
	assert_int_equal(process(stage, one)->uid, getuid());
}

static void it_goes_when_it_closes_the_last(void **state)
{
	struct stage *stage = *state;
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	driver_forest_add(&stage->forest, 1);
	opens(stage, 0, "%d\n", pid);
	opens(stage, 1, "%d\n%d\n", pid, pid);
	begin(stage);
	look(stage);
	assert_int_equal(stage->opened, 1);
	opens(stage, 0, "%s", "");
	look(stage);
	assert_int_equal(process(stage, pid)->holdings->len, 1);
	assert_int_equal(stage->closed, 0);
	opens(stage, 1, "%s", "");
	look(stage);
	assert_null(process(stage, pid));
	assert_int_equal(stage->closed, 1);
	assert_int_equal(stage->last_closed, pid);
	assert_int_equal(numbered(stage, 1)->users->len, 0);
	assert_int_equal(stage->model.departed.length, 0);
}

static void a_device_that_goes_takes_its_untracked_users_along(void **state)
{
	struct stage *stage = *state;
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%d\n", pid);
	begin(stage);
	driver_forest_remove(&stage->forest, 0);
	look(stage);
	assert_null(process(stage, pid));
	assert_null(numbered(stage, 0));
	assert_int_equal(stage->closed, 1);
}

static void who_is_not_there_any_more_is_passed_over(void **state)
{
	struct stage *stage = *state;
	pid_t pid = child(stage, 0);

	child_end(stage, 0);
	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%d\n%d\n", pid, INT32_MAX);
	begin(stage);
	look(stage);
	assert_int_equal(g_tree_nnodes(stage->model.processes), 0);
	assert_int_equal(stage->opened, 0);
}

static void the_model_may_end_a_process_that_has_a_device_open(void **state)
{
	struct stage *stage = *state;
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%d\n", pid);
	begin(stage);
	model_end(&stage->model, process(stage, pid));
	assert_null(process(stage, pid));
	assert_int_equal(stage->closed, 1);
	child_end(stage, 0);
	look(stage);
	assert_null(process(stage, pid));
	assert_int_equal(g_hash_table_size(stage->kmd.openers), 0);
}

static void an_untracked_process_is_reported_again_now_and_then(void **state)
{
	struct stage *stage = *state;
	pid_t pid = child(stage, 0);

	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%d\n", pid);
	begin(stage);
	for (int i = 0; i < 25; i++)
		look(stage);
	assert_int_equal(stage->opened, 5); /* in 50 looks */
	process(stage, pid)->joined[SOURCE_ALLOC_SERVER] = stage;
	stage->opened = 0;
	for (int i = 0; i < 10; i++)
		look(stage);
	assert_int_equal(stage->opened, 0);
	process(stage, pid)->joined[SOURCE_ALLOC_SERVER] = NULL;
}

static void of_thousands_that_have_it_open_none_is_lost(void **state)
{
	struct stage *stage = *state;
	GString *text = g_string_new(NULL);
	pid_t pids[CHILDREN];

	for (int n = 0; n < CHILDREN; n++)
		pids[n] = child(stage, n);
	for (int i = 0; i < 20000; i++)
		g_string_append_printf(text, "%d\n", pids[i % CHILDREN]);
	driver_forest_add(&stage->forest, 0);
	opens(stage, 0, "%s", text->str);
	begin(stage);
	look(stage);
	assert_int_equal(numbered(stage, 0)->users->len, CHILDREN);
	g_string_free(text, TRUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KMD_TEST(pids_belong_to_the_device_that_has_the_number_now),
		KMD_TEST(who_has_a_device_open_is_there_and_untracked),
		KMD_TEST(it_goes_when_it_closes_the_last),
		KMD_TEST(a_device_that_goes_takes_its_untracked_users_along),
		KMD_TEST(who_is_not_there_any_more_is_passed_over),
		KMD_TEST(the_model_may_end_a_process_that_has_a_device_open),
		KMD_TEST(an_untracked_process_is_reported_again_now_and_then),
		KMD_TEST(of_thousands_that_have_it_open_none_is_lost),
	};

	return RUN(tests);
}
