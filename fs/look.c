/* SPDX-License-Identifier: Apache-2.0 */
/* The look at all watches there are, in a thread and seldom, which ends the following of files. */
#include "errand.h"
#include "fs.h"
#include "numbers.h"
#include "thread_clock.h"
#include "watchers.h"

#define LOOK_AGAIN_NS 1000000000u /* between two looks... */
#define LOOK_SHARE    50          /* ...which take a fiftieth of a CPU at most */
#define RECHECK_NS    5000000000u /* of watches that are known */

struct look {
	uint32_t device;
	GHashTable *inodes;
	bool is_complete;
	uint64_t began_ns, ended_ns;
	uint64_t cost_ns; /* of a CPU: on a busy machine it takes longer, and costs no more */
};

static void look_run(void *data)
{
	struct look *look = data;
	uint64_t before = thread_clock_ns();

	look->is_complete = watchers_find("/proc", look->device, look->inodes);
	look->ended_ns = uv_hrtime();
	look->cost_ns = thread_clock_ns() - before;
}

static void note_dirs(struct news *news)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_remove_all(news->watched_dirs);
	g_hash_table_iter_init(&iter, news->watched);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		uint64_t ino = *(uint64_t *)key;

		while (ino != TREE_ROOT_INO) {
			ino = tree_parent(ino);
			numbers_add(news->watched_dirs, ino);
		}
	}
}

/* Where watches can be hidden from us nobody is ever known not to watch. */
static void look_done(void *data, void *owner)
{
	struct look *look = data;
	struct fs *fs = owner;

	if (fs && fs->news.is_open) {
		struct news *news = &fs->news;

		news->is_looking = false;
		news->looked_ns = look->ended_ns;
		news->look_took_ns = look->cost_ns;
		g_hash_table_destroy(news->watched);
		news->watched = g_steal_pointer(&look->inodes);
		note_dirs(news);
		if (look->is_complete && news->sees_all)
			news->settled_ns = look->began_ns;
		fs->news.swept_ns = 0; /* the pulse drops what nobody watches */
		news_pulse_within(fs, 0);
	} else if (fs) {
		fs->news.is_looking = false;
	}
	if (look->inodes)
		g_hash_table_destroy(look->inodes);
	g_free(look);
}

/* Somebody could have set a watch since the last look, and has had the time to. */
static bool is_open_question(const struct news *news, uint64_t accessed_ns, uint64_t now)
{
	return news_is_unsettled(news, accessed_ns) && now >= accessed_ns + WINDOW_NS;
}

static bool has_open_question(const struct news *news, uint64_t now)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, news->dirs);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (is_open_question(news, *(uint64_t *)value, now))
			return true;
	g_hash_table_iter_init(&iter, news->follows);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (is_open_question(news, ((struct follow *)value)->accessed_ns, now))
			return true;
	return false;
}

void look_if_due(struct fs *fs, uint64_t now)
{
	struct news *news = &fs->news;
	uint64_t rest = MAX(LOOK_AGAIN_NS, news->look_took_ns * LOOK_SHARE);
	bool is_old = g_hash_table_size(news->watched) && now - news->looked_ns >= RECHECK_NS;
	struct look *look;

	if (news->is_looking || !news->errands || (news->looked_ns && now - news->looked_ns < rest))
		return;
	if (!is_old && !has_open_question(news, now))
		return;
	look = g_new0(struct look, 1);
	look->device = news->device;
	look->inodes = numbers_new();
	look->began_ns = now;
	news->is_looking = errand_begin(news->errands, 0, look_run, look_done, look, fs) != NULL;
}
