/* SPDX-License-Identifier: Apache-2.0 */
/* What is followed, for whose sake, and who is asked to ring for it. */
#include "entries.h"
#include "fs.h"
#include "numbers.h"
#include <string.h>

static uint64_t serial_of(uint64_t ino)
{
	return ino >> 24;
}

/* --- who is wanted --------------------------------------------------------------------------- */

/* A watch could have been set until then; the last look at all of them may have been before. */
bool news_is_unsettled(const struct news *news, uint64_t accessed_ns)
{
	return accessed_ns && news->settled_ns < accessed_ns + WINDOW_NS;
}

static uint64_t dir_accessed(const struct news *news, uint64_t ino)
{
	const uint64_t *accessed = g_hash_table_lookup(news->dirs, &ino);

	return accessed ? *accessed : 0;
}

bool news_dir_wanted(const struct fs *fs, uint64_t ino)
{
	const struct news *news = &fs->news;

	return news_is_unsettled(news, dir_accessed(news, ino)) ||
	       g_hash_table_contains(news->watched, &ino);
}

bool news_below_wanted(const struct fs *fs, uint64_t ino)
{
	return news_dir_wanted(fs, ino) || g_hash_table_contains(fs->news.watched_dirs, &ino);
}

bool follow_is_watched(const struct fs *fs, const struct follow *follow)
{
	return news_is_unsettled(&fs->news, follow->accessed_ns) ||
	       g_hash_table_contains(fs->news.watched, &follow->ino) ||
	       news_dir_wanted(fs, tree_parent(follow->ino));
}

bool follow_is_wanted(const struct fs *fs, const struct follow *follow)
{
	return follow->pollers.length || follow_is_watched(fs, follow);
}

GPtrArray *follows_of(const struct news *news, uint64_t serial)
{
	return g_hash_table_lookup(news->by_serial, &serial);
}

/* Files that no device or process has change with any of them, and their directory is touched with
 * every path: all are asked to ring only for a watch that is known, or a poller. */
static bool wants_all(const struct news *news)
{
	const uint64_t root = TREE_ROOT_INO;
	GPtrArray *follows = follows_of(news, 0);

	for (guint i = 0; follows && i < follows->len; i++) {
		const struct follow *follow = follows->pdata[i];

		if (follow->pollers.length || g_hash_table_contains(news->watched, &follow->ino))
			return true;
	}
	return follows && g_hash_table_contains(news->watched, &root);
}

bool follow_process_wanted(const struct news *news, const struct process *process)
{
	if (follows_of(news, process->serial) || wants_all(news))
		return true;
	for (guint i = 0; i < process->holdings->len; i++) {
		const struct holding *holding = process->holdings->pdata[i];

		if (follows_of(news, holding->device->serial))
			return true;
	}
	return false;
}

/* --- asking to be told ----------------------------------------------------------------------- */

void follow_arm(struct news *news, const struct model *model, struct process *process)
{
	if (model_arm(model, process) == BELL_POLL)
		numbers_add(news->polled, process->serial);
}

static void arm_all(struct fs *fs)
{
	for (GTreeNode *node = g_tree_node_first(fs->model->processes); node;
	     node = g_tree_node_next(node))
		follow_arm(&fs->news, fs->model, g_tree_node_value(node));
}

/* Those whose changes can be seen in the files of this device or process. */
static void arm_for(struct fs *fs, const struct spot *spot)
{
	if (spot->process) {
		follow_arm(&fs->news, fs->model, spot->process);
		return;
	}
	for (guint i = 0; spot->device && i < spot->device->users->len; i++) {
		struct holding *holding = spot->device->users->pdata[i];

		follow_arm(&fs->news, fs->model, holding->process);
	}
	if (!spot->device && wants_all(&fs->news))
		arm_all(fs);
}

/* --- following ------------------------------------------------------------------------------- */

void follow_free(gpointer data)
{
	g_free(data);
}

void follow_drop(struct fs *fs, struct follow *follow)
{
	struct news *news = &fs->news;
	uint64_t serial = serial_of(follow->ino);
	GPtrArray *follows = follows_of(news, serial);

	if (follow->is_dirty && !g_queue_remove(&news->dirty, follow))
		g_queue_remove(&news->late, follow);
	while (!g_queue_is_empty(&follow->pollers))
		file_poll_end(g_queue_pop_head_link(&follow->pollers)->data);
	g_ptr_array_remove_fast(follows, follow);
	if (!follows->len)
		g_hash_table_remove(news->by_serial, &serial);
	g_hash_table_remove(news->follows, &follow->ino);
}

/* Whoever is behind it was asked to ring before: so nothing that comes now is missed. */
static struct follow *follow_get(struct fs *fs, const struct spot *spot)
{
	struct news *news = &fs->news;
	struct follow *follow = g_hash_table_lookup(news->follows, &spot->ino);
	uint64_t serial = serial_of(spot->ino);
	GPtrArray *follows;

	if (follow)
		return follow;
	follow = g_new0(struct follow, 1);
	follow->ino = spot->ino;
	g_queue_init(&follow->pollers);
	g_hash_table_insert(news->follows, &follow->ino, follow);
	follows = follows_of(news, serial);
	if (!follows) {
		follows = g_ptr_array_new();
		g_hash_table_insert(news->by_serial, g_memdup2(&serial, sizeof serial), follows);
	}
	g_ptr_array_add(follows, follow);
	follow->hash = news_hash_now(fs, spot);
	news_pulse_within(fs, SWEEP_NS);
	return follow;
}

static void access_file(struct fs *fs, const struct spot *spot, uint64_t now)
{
	struct follow *follow = g_hash_table_lookup(fs->news.follows, &spot->ino);

	if (!follow) {
		arm_for(fs, spot);
		follow = follow_get(fs, spot);
	}
	follow->accessed_ns = now;
}

static void follow_entries(struct fs *fs, const struct spot *dir, bool are_new)
{
	struct entries entries = entries_of(dir->place);
	bool is_armed = false;

	for (size_t i = 0; i < entries.count; i++) {
		const struct entry *entry = &entries.list[i];
		struct follow *follow;
		struct spot spot;
		uint64_t ino = entry->tells ? tree_lookup(fs->model, dir, entry->name) : 0;

		if (!ino || g_hash_table_contains(fs->news.follows, &ino) ||
		    tree_resolve(fs->model, ino, &spot))
			continue;
		if (!is_armed)
			arm_for(fs, &spot);
		is_armed = true;
		follow = follow_get(fs, &spot);
		if (are_new) {
			follow->hash = 0;
			news_mark(fs, follow);
		}
	}
}

/* Of a directory that is watched: that they are there is news. */
void follow_new_entries(struct fs *fs, const struct spot *dir)
{
	follow_entries(fs, dir, true);
}

/* Of a directory that is touched again and again nothing is to be done but to note when. */
static void access_dir(struct fs *fs, const struct spot *spot, uint64_t now)
{
	struct news *news = &fs->news;
	uint64_t *accessed = g_hash_table_lookup(news->dirs, &spot->ino);
	bool was_wanted = accessed && news_dir_wanted(fs, spot->ino);

	if (!accessed) {
		accessed = g_new(uint64_t, 1);
		g_hash_table_insert(news->dirs, g_memdup2(&spot->ino, sizeof spot->ino), accessed);
	}
	*accessed = now;
	if (!was_wanted)
		follow_entries(fs, spot, false);
	news_pulse_within(fs, SWEEP_NS);
}

bool news_is_followed(const struct fs *fs, uint64_t ino)
{
	return g_hash_table_contains(fs->news.follows, &ino) ||
	       g_hash_table_contains(fs->news.dirs, &ino);
}

void news_access(struct fs *fs, const struct spot *spot)
{
	if (!fs->news.is_open)
		return;
	if (spot->entry && spot->entry->tells)
		access_file(fs, spot, uv_hrtime());
	else if (!spot->entry && !spot->is_link)
		access_dir(fs, spot, uv_hrtime());
}

bool news_poll_is_news(struct fs *fs, const struct spot *spot, uint64_t hash)
{
	if (fs->news.is_open)
		access_file(fs, spot, uv_hrtime());
	return news_hash_now(fs, spot) != hash;
}

void news_poll_add(GList *link, uint64_t ino, struct fs *fs)
{
	struct follow *follow;
	struct spot spot;

	if (!fs->news.is_open || tree_resolve(fs->model, ino, &spot))
		return;
	follow = follow_get(fs, &spot);
	g_queue_push_tail_link(&follow->pollers, link);
	if (spot.device || spot.process)
		return;
	arm_for(fs, &spot); /* which was not done for somebody who only reads */
	news_mark(fs, follow);
}

void news_poll_remove(GList *link, uint64_t ino, struct fs *fs)
{
	struct follow *follow = g_hash_table_lookup(fs->news.follows, &ino);

	if (follow && (link->prev || link->next || follow->pollers.head == link))
		g_queue_unlink(&follow->pollers, link);
}
