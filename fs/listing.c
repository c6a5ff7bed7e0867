/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While somebody lists a directory he holds its lock, and he can hold it for ever: the page that
 * the kernel copies names to may be one that nobody fills. The hand that would make a name there
 * would wait for him, and behind the hand everybody who looks a name up, so that no file below
 * could be read any more. So the hand leaves a directory alone while an ordinary user has it open,
 * and he gets it opened when the hand is done there. What waits for a second comes and goes untold.
 */
#include "births.h"
#include "fs.h"
#include "numbers.h"
#include <errno.h>

#define WAIT_MS 1000

/* An opendir() that waits for the hand. */
struct opening {
	fuse_req_t req;
	uint64_t ino;
	struct fuse_file_info info;
};

struct listing {
	GHashTable *open;    /* ino -> how often ordinary users have it open */
	GHashTable *at_work; /* ino -> how many births there the hand has been given */
	GQueue held;         /* struct birth */
	GQueue openings;     /* struct opening */
	uv_timer_t timer;    /* while some are held */
};

static guint number_of(GHashTable *table, uint64_t ino)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(table, &ino));
}

/* Returns the new number. */
static guint count(GHashTable *table, uint64_t ino, int change)
{
	guint number = number_of(table, ino) + (guint)change;

	if (number)
		g_hash_table_replace(table, g_memdup2(&ino, sizeof ino), GUINT_TO_POINTER(number));
	else
		g_hash_table_remove(table, &ino);
	return number;
}

static void start(struct fs *fs, struct birth *birth)
{
	count(fs->births.listing->at_work, birth->parent, 1);
	hand_do(&fs->births.hand, &birth->job);
}

/* The oldest are at its head. */
static void on_timer(uv_timer_t *timer)
{
	struct fs *fs = timer->data;
	struct listing *listing = fs->births.listing;
	uint64_t now = uv_hrtime();
	struct birth *birth;

	while ((birth = g_queue_peek_head(&listing->held))) {
		uint64_t waited_ms = (now - birth->begun_ns) / 1000000;

		if (waited_ms < WAIT_MS) {
			uv_timer_start(timer, on_timer, WAIT_MS - waited_ms, 0);
			return;
		}
		births_give_up(fs, g_queue_pop_head(&listing->held));
	}
}

void listing_do(struct fs *fs, struct birth *birth)
{
	struct listing *listing = fs->births.listing;

	if (!number_of(listing->open, birth->parent)) {
		start(fs, birth);
		return;
	}
	g_queue_push_tail(&listing->held, birth);
	if (!uv_is_active((uv_handle_t *)&listing->timer))
		uv_timer_start(&listing->timer, on_timer, WAIT_MS, 0);
}

static void release_held(struct fs *fs, uint64_t parent)
{
	struct listing *listing = fs->births.listing;
	GList *link, *next;

	for (link = listing->held.head; link; link = next) {
		struct birth *birth = link->data;

		next = link->next;
		if (birth->parent != parent)
			continue;
		g_queue_delete_link(&listing->held, link);
		start(fs, birth);
	}
}

static void answer(struct fs *fs, struct opening *opening)
{
	count(fs->births.listing->open, opening->ino, 1);
	opening->info.fh = 1; /* so that its end is counted, too */
	if (fuse_reply_open(opening->req, &opening->info) == -ENOENT)
		listing_close(fs, opening->ino, &opening->info);
}

void listing_done(struct fs *fs, uint64_t parent)
{
	struct listing *listing = fs->births.listing;
	GList *link, *next;

	if (count(listing->at_work, parent, -1))
		return;
	for (link = listing->openings.head; link; link = next) {
		struct opening *opening = link->data;

		next = link->next;
		if (opening->ino != parent)
			continue;
		g_queue_delete_link(&listing->openings, link);
		answer(fs, opening);
		g_free(opening);
	}
}

void listing_open(struct fs *fs, fuse_req_t req, uint64_t ino, const struct fuse_file_info *info)
{
	struct opening opening = {.req = req, .ino = ino, .info = *info};

	if (model_trusts(fs->model, fuse_req_ctx(req)->uid)) {
		opening.info.fh = 0;
		fuse_reply_open(req, &opening.info);
	} else if (number_of(fs->births.listing->at_work, ino)) {
		g_queue_push_tail(&fs->births.listing->openings,
				  g_memdup2(&opening, sizeof opening));
	} else {
		answer(fs, &opening);
	}
}

void listing_close(struct fs *fs, uint64_t ino, const struct fuse_file_info *info)
{
	if (info->fh && !count(fs->births.listing->open, ino, -1))
		release_held(fs, ino);
}

void listing_init(struct fs *fs)
{
	struct listing *listing = fs->births.listing = g_new0(struct listing, 1);

	listing->open = numbers_new();
	listing->at_work = numbers_new();
	g_queue_init(&listing->held);
	g_queue_init(&listing->openings);
	uv_timer_init(fs->loop, &listing->timer);
	listing->timer.data = fs;
}

static void on_closed(uv_handle_t *handle)
{
	g_free(handle->data);
}

/* The mount is gone: nobody is told any more. */
void listing_fini(struct fs *fs)
{
	struct listing *listing = fs->births.listing;
	struct opening *opening;

	while (!g_queue_is_empty(&listing->held))
		births_give_up(fs, g_queue_pop_head(&listing->held));
	while ((opening = g_queue_pop_head(&listing->openings))) {
		fuse_reply_err(opening->req, EIO);
		g_free(opening);
	}
	g_hash_table_destroy(listing->open);
	g_hash_table_destroy(listing->at_work);
	listing->timer.data = listing;
	uv_close((uv_handle_t *)&listing->timer, on_closed);
}
