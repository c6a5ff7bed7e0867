/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing what may have changed with what was told, and telling. */
#include "fs.h"
#include <string.h>

uint64_t news_hash(const GString *text)
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

	for (gsize i = 0; i < text->len; i++)
		hash = (hash ^ (uint8_t)text->str[i]) * 0x100000001b3u;
	return hash | 1; /* 0: no text */
}

/* As root sees it: events do not depend on who reads. */
uint64_t news_hash_now(struct fs *fs, const struct spot *spot)
{
	struct reader reader = {0};
	struct cursor cursor = {0};
	struct render render = {
		.model = fs->model,
		.reader = &reader,
		.status = fs->status,
		.status_data = fs->status_data,
		.cursor = &cursor,
		.device = spot->device,
		.process = spot->process,
		.kind = spot->entry->kind,
		.out = g_string_truncate(fs->news.text, 0),
	};

	if (!spot->entry->render(&render))
		return 0;
	node_text(fs, spot->ino, true, render.out, render.out->len);
	return news_hash(render.out);
}

/* Who has seen a change before it was told is to be told of the next one even if that takes the
 * text back to what was told last. */
uint64_t news_seen(struct fs *fs, const struct spot *spot, struct reader *reader,
		   const GString *text)
{
	struct follow *follow = g_hash_table_lookup(fs->news.follows, &spot->ino);
	uint64_t hash = news_hash(text);

	if (follow && follow->hash != hash && access_is_whole(fs->model, spot, reader))
		follow->hash = 0;
	return hash;
}

/* --- telling --------------------------------------------------------------------------------- */

struct tell {
	struct hand_job job;
	uint64_t ino;
};

static void on_told(struct hand_job *job, void *data)
{
	struct fs *fs = data;
	struct tell *tell = (struct tell *)job;
	struct follow *follow = g_hash_table_lookup(fs->news.follows, &tell->ino);

	if (follow) {
		follow->is_telling = false;
		if (follow->is_dirty)
			news_pulse_within(fs, 0);
	}
	g_free(tell->job.path);
	g_free(tell);
}

static void tell_watchers(struct fs *fs, struct follow *follow, const struct spot *spot)
{
	struct tell *tell = g_new0(struct tell, 1);

	tell->ino = follow->ino;
	tell->job.work = HAND_WRITE;
	tell->job.done = on_told;
	tell->job.path = tree_path(spot, fs->path);
	follow->is_telling = true;
	fs->news.notifications++;
	hand_do(&fs->news.writer, &tell->job);
}

static void tell_pollers(struct fs *fs, struct follow *follow)
{
	while (!g_queue_is_empty(&follow->pollers)) {
		file_poll_wake(g_queue_pop_head_link(&follow->pollers)->data);
		fs->news.notifications++;
	}
}

static void wait_for_pulse(struct fs *fs, struct follow *follow, uint64_t now)
{
	uint64_t since = now - follow->told_ns;

	g_queue_push_tail(&fs->news.late, follow);
	if (!follow->is_telling)
		news_pulse_within(fs, fs->news.interval_ns - MIN(since, fs->news.interval_ns));
}

/* Its text is made and compared, unless its last event was raised a moment ago. */
void tell_if_changed(struct fs *fs, struct follow *follow)
{
	uint64_t now = uv_hrtime(), hash;
	struct spot spot;

	if (tree_resolve(fs->model, follow->ino, &spot)) {
		follow->is_dirty = false;
		follow_drop(fs, follow);
		return;
	}
	if (follow->is_telling || now - follow->told_ns + SLACK_NS < fs->news.interval_ns) {
		wait_for_pulse(fs, follow, now);
		return;
	}
	follow->is_dirty = false;
	hash = news_hash_now(fs, &spot);
	if (!hash || hash == follow->hash)
		return;
	follow->hash = hash;
	follow->told_ns = now;
	tell_pollers(fs, follow);
	if (follow_is_watched(fs, follow))
		tell_watchers(fs, follow, &spot);
}
