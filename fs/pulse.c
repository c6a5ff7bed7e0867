/* SPDX-License-Identifier: Apache-2.0 */
/* When things are looked at: at once, at the pulse, or at the sweep. */
#include "fs.h"
#include "numbers.h"
#include <string.h>

static void on_run(uv_idle_t *run);
static void on_pulse(uv_timer_t *pulse);

void news_pulse_within(struct fs *fs, uint64_t ns)
{
	uint64_t ms = (ns + 999999) / 1000000;

	if (!uv_is_active((uv_handle_t *)&fs->news.pulse) ||
	    uv_timer_get_due_in(&fs->news.pulse) > ms)
		uv_timer_start(&fs->news.pulse, on_pulse, ms, 0);
}

void news_mark(struct fs *fs, struct follow *follow)
{
	if (follow->is_dirty)
		return;
	follow->is_dirty = true;
	g_queue_push_tail(&fs->news.dirty, follow);
	uv_idle_start(&fs->news.run, on_run);
}

static void news_touch(struct fs *fs, uint64_t serial)
{
	GPtrArray *follows = follows_of(&fs->news, serial);

	for (guint i = 0; follows && i < follows->len; i++)
		news_mark(fs, follows->pdata[i]);
}

static void news_touch_process(struct fs *fs, const struct process *process)
{
	news_touch(fs, 0);
	news_touch(fs, process->serial);
	for (guint i = 0; i < process->holdings->len; i++) {
		const struct holding *holding = process->holdings->pdata[i];

		news_touch(fs, holding->device->serial);
	}
}

/* Files of a process that was not tracked come to be there when it is. */
static void news_grow(struct fs *fs, uint64_t dir)
{
	if (!news_dir_wanted(fs, dir))
		return;
	numbers_add(fs->news.grown, dir);
	uv_idle_start(&fs->news.run, on_run);
}

void news_rung(struct fs *fs, struct process *process)
{
	struct news *news = &fs->news;
	uint64_t now = uv_hrtime();

	news_grow(fs, tree_dir_process(process));
	if (!g_hash_table_size(news->follows) || !follow_process_wanted(news, process))
		return;
	news_touch_process(fs, process);
	if (g_hash_table_contains(news->resting, &process->serial))
		return;
	g_hash_table_insert(news->resting, g_memdup2(&process->serial, sizeof now),
			    g_memdup2(&now, sizeof now));
	news_pulse_within(fs, news->interval_ns);
}

void news_changed(struct fs *fs, enum model_change change, struct process *process,
		  struct device *device)
{
	struct news *news = &fs->news;

	news_touch(fs, 0);
	if (device)
		news_touch(fs, device->serial);
	if (!process)
		return;
	news_touch(fs, process->serial);
	if ((change == PROCESS_COMES || change == HOLDING_COMES) &&
	    follow_process_wanted(news, process))
		follow_arm(news, fs->model, process);
}

/* --- at once ------------------------------------------------------------------------------------
 */

#define COMPARE_MOST 512 /* in one turn of the loop */

static void follow_grown(struct fs *fs)
{
	GHashTableIter iter;
	struct spot spot;
	gpointer dir;

	g_hash_table_iter_init(&iter, fs->news.grown);
	while (g_hash_table_iter_next(&iter, &dir, NULL)) {
		if (!tree_resolve(fs->model, *(uint64_t *)dir, &spot))
			follow_new_entries(fs, &spot);
		g_hash_table_iter_remove(&iter);
	}
}

static void on_run(uv_idle_t *run)
{
	struct fs *fs = run->data;
	struct follow *follow;

	model_sync(fs->model, NULL);
	follow_grown(fs);
	for (int i = 0; i < COMPARE_MOST && (follow = g_queue_pop_head(&fs->news.dirty)); i++)
		tell_if_changed(fs, follow);
	if (g_queue_is_empty(&fs->news.dirty))
		uv_idle_stop(run);
}

/* --- the pulse ------------------------------------------------------------------------------- */

static void wake_late(struct fs *fs)
{
	struct follow *follow;

	while ((follow = g_queue_pop_head(&fs->news.late))) {
		follow->is_dirty = false;
		news_mark(fs, follow);
	}
}

/* Those who rang are asked again after a while, because ringing costs them. */
static void end_rests(struct fs *fs, uint64_t now)
{
	struct news *news = &fs->news;
	GHashTableIter iter;
	gpointer serial, rang;

	g_hash_table_iter_init(&iter, news->resting);
	while (g_hash_table_iter_next(&iter, &serial, &rang)) {
		struct process *process = model_process(fs->model, *(uint64_t *)serial);

		if (process && now - *(uint64_t *)rang + SLACK_NS < news->interval_ns)
			continue;
		g_hash_table_iter_remove(&iter);
		if (!process || !follow_process_wanted(news, process))
			continue;
		follow_arm(news, fs->model, process);
		news_touch_process(fs, process);
	}
}

static bool is_mute(const struct fs *fs, enum source_rank rank)
{
	const struct source *source = fs->model->by_rank[rank];

	return source && !source->ops->arm && source->state != SOURCE_DOWN;
}

static void poll_sources(struct fs *fs, uint64_t now)
{
	fs->news.polled_ns = now;
	model_sync(fs->model, NULL);
	for (GTreeNode *node = g_tree_node_first(fs->model->processes); node;
	     node = g_tree_node_next(node)) {
		struct process *process = g_tree_node_value(node);

		if (process->joined[SOURCE_TT_METAL] ||
		    g_hash_table_contains(fs->news.polled, &process->serial))
			news_touch_process(fs, process);
	}
}

static void drop_unwanted(struct fs *fs)
{
	GList *all = g_hash_table_get_values(fs->news.follows);
	GHashTableIter iter;
	gpointer ino, accessed;
	struct spot spot;

	for (GList *link = all; link; link = link->next)
		if (!follow_is_wanted(fs, link->data))
			follow_drop(fs, link->data);
	g_list_free(all);
	g_hash_table_iter_init(&iter, fs->news.dirs);
	while (g_hash_table_iter_next(&iter, &ino, &accessed))
		if (!news_is_unsettled(&fs->news, *(uint64_t *)accessed) ||
		    tree_resolve(fs->model, *(uint64_t *)ino, &spot))
			g_hash_table_iter_remove(&iter);
}

/* A ringer that was stopped between taking the word back and ringing would be silent for ever. */
static void sweep(struct fs *fs, uint64_t now)
{
	GHashTableIter iter;
	gpointer follow;

	fs->news.swept_ns = now;
	drop_unwanted(fs);
	g_hash_table_remove_all(fs->news.polled);
	fs->news.polls = is_mute(fs, SOURCE_TT_METAL) || is_mute(fs, SOURCE_KMD);
	for (GTreeNode *node = g_tree_node_first(fs->model->processes); node;
	     node = g_tree_node_next(node))
		if (follow_process_wanted(&fs->news, g_tree_node_value(node)))
			follow_arm(&fs->news, fs->model, g_tree_node_value(node));
	g_hash_table_iter_init(&iter, fs->news.follows);
	while (g_hash_table_iter_next(&iter, NULL, &follow))
		news_mark(fs, follow);
}

static void pulse_again(struct fs *fs)
{
	const struct news *news = &fs->news;

	if (!g_hash_table_size(news->follows) && !g_hash_table_size(news->dirs)) {
		g_hash_table_remove_all(news->resting);
		return; /* nobody watches: nothing is done until somebody touches a file */
	}
	if (g_hash_table_size(news->resting) || news->late.length)
		news_pulse_within(fs, news->interval_ns);
	if (news->polls || g_hash_table_size(news->polled))
		news_pulse_within(fs, POLL_NS);
	news_pulse_within(fs, SWEEP_NS);
}

static void on_pulse(uv_timer_t *pulse)
{
	struct fs *fs = pulse->data;
	struct news *news = &fs->news;
	uint64_t now = uv_hrtime();

	wake_late(fs);
	end_rests(fs, now);
	if ((news->polls || g_hash_table_size(news->polled)) && now - news->polled_ns >= POLL_NS)
		poll_sources(fs, now);
	if (now - news->swept_ns >= SWEEP_NS)
		sweep(fs, now);
	look_if_due(fs, now);
	pulse_again(fs);
}

/* --- beginning and end ----------------------------------------------------------------------- */

void news_init(struct fs *fs)
{
	struct news *news = &fs->news;

	news->follows = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, follow_free);
	news->by_serial = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
						(GDestroyNotify)g_ptr_array_unref);
	news->dirs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	news->resting = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	news->watched = numbers_new();
	news->watched_dirs = numbers_new();
	news->polled = numbers_new();
	news->grown = numbers_new();
	news->text = g_string_new(NULL);
	news->interval_ns = INTERVAL_MS * UINT64_C(1000000);
	uv_idle_init(fs->loop, &news->run);
	uv_timer_init(fs->loop, &news->pulse);
	news->run.data = news->pulse.data = fs;
	hand_init(&news->writer, fs->loop, "writer", news->device, fs);
	news->is_open = true;
}

void news_close(struct fs *fs)
{
	fs->news.is_open = false;
	uv_close((uv_handle_t *)&fs->news.run, NULL);
	uv_close((uv_handle_t *)&fs->news.pulse, NULL);
}

/* Open files go first: they are in the follows. */
void news_fini(struct fs *fs)
{
	struct news *news = &fs->news;

	g_hash_table_destroy(news->follows);
	g_hash_table_destroy(news->by_serial);
	g_hash_table_destroy(news->dirs);
	g_hash_table_destroy(news->resting);
	g_hash_table_destroy(news->watched);
	g_hash_table_destroy(news->watched_dirs);
	g_hash_table_destroy(news->polled);
	g_hash_table_destroy(news->grown);
	g_queue_clear(&news->dirty);
	g_queue_clear(&news->late);
	g_string_free(news->text, TRUE);
}
