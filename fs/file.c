/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open file description and its text. The text is of one moment: made at the open (of a table,
 * whose length fstat(2) must know; of a value at the first read) and again at each read from offset
 * 0, never in between. A long text is made in slices, one per turn of the loop, and the requests
 * that wait for it are answered when it is there. One of more than WALK_ROWS rows is a walk: its
 * rows are made as the reader advances, and those far behind are dropped.
 */
#include "fs.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

#define WALK_ROWS          65536
#define WINDOW             (1u << 20)  /* bytes of a walk that are kept behind the reader */
#define USER_TEXT_BYTES    (64u << 20) /* of all the files one user has open... */
#define USER_FILES         16384       /* ...and how many those may be; not for root or the owner */
#define TRUSTED_TEXT_BYTES (1u << 30)
#define SPARE_FILES        32
#define SPARE_BYTES        4096

/* A request that waits: for the open, or for a part of the text. */
struct request {
	fuse_req_t req;
	uint64_t offset;
	size_t size;
	bool begun; /* it has been seen whether the text must be made anew */
};

/* What one user's open files take here. */
struct reader_share {
	uid_t uid;
	uint64_t files;
	uint64_t bytes;
};

struct file {
	GList link; /* in fs.files, or in fs.spare when it is closed */
	struct fs *fs;
	uint64_t ino;
	struct reader reader;
	struct reader_share *share;
	struct fuse_file_info info;
	fuse_req_t opening; /* NULL once the open was answered */
	GString *text;
	uint64_t base;  /* offset of the text's first byte */
	size_t counted; /* bytes of it, and of what its renderer keeps, that are in the shares */
	struct cursor cursor;
	GQueue waiting;               /* struct request */
	bool queued;                  /* in fs.making */
	bool started, complete;       /* there is a part of the text, or all of it */
	uint64_t read_hash;           /* of the text that was last read from its start; 0: none */
	struct fuse_pollhandle *poll; /* somebody waits in poll(2); NULL: nobody does */
	GList poll_link;              /* among all who wait for its file, if they are told */
	int error;                    /* the text cannot be made: a negative errno */
};

static struct reader_share *share_of(struct fs *fs, uid_t uid)
{
	struct reader_share *share = g_hash_table_lookup(fs->readers, GUINT_TO_POINTER(uid));

	if (!share) {
		share = g_new0(struct reader_share, 1);
		share->uid = uid;
		g_hash_table_insert(fs->readers, GUINT_TO_POINTER(uid), share);
	}
	return share;
}

/* Files come and go with every read, so some are kept with the room for their text. */
static struct file *file_new(struct fs *fs)
{
	struct file *file = fs->spare.length ? g_queue_pop_head_link(&fs->spare)->data : NULL;
	GString *text = file ? file->text : g_string_sized_new(64);

	if (!file)
		file = g_new(struct file, 1);
	*file = (struct file){.fs = fs, .text = text};
	file->link.data = file->poll_link.data = file;
	g_queue_init(&file->waiting);
	g_queue_push_tail_link(&fs->files, &file->link);
	return file;
}

static void file_destroy(struct file *file)
{
	g_string_free(file->text, TRUE);
	g_free(file);
}

static bool is_trusted(const struct file *file)
{
	return model_trusts(file->fs->model, file->reader.uid);
}

/* Brings the shares up to date with all that it takes; false if that is too much. */
static bool file_count(struct file *file)
{
	struct reader_share *share = file->share;
	uint64_t limit = is_trusted(file) ? TRUSTED_TEXT_BYTES : USER_TEXT_BYTES;
	size_t bytes = file->text->len + file->cursor.work_bytes;

	share->bytes += bytes - file->counted;
	file->fs->text_bytes += bytes - file->counted;
	file->counted = bytes;
	return share->bytes <= limit;
}

static bool is_walk(const struct file *file)
{
	return file->cursor.rows > WALK_ROWS;
}

static uint64_t file_end(const struct file *file)
{
	return file->base + file->text->len;
}

/* Makes the next part of the text. */
static void file_make(struct file *file)
{
	struct fs *fs = file->fs;
	struct spot spot;
	struct render render = {
		.model = fs->model,
		.reader = &file->reader,
		.status = fs->status,
		.status_data = fs->status_data,
		.cursor = &file->cursor,
		.out = file->text,
	};

	if (!file->started)
		fs_sync(fs, file->ino);
	file->started = true;
	file->error = tree_resolve(fs->model, file->ino, &spot) ? -ESRCH : 0;
	if (file->error)
		return;
	render.device = spot.device;
	render.process = spot.process;
	render.kind = spot.entry->kind;
	file->complete = spot.entry->render(&render);
	if (!file_count(file))
		file->error = -EMFILE;
	else if (file->complete) {
		node_text(fs, file->ino, access_is_whole(fs->model, &spot, &file->reader),
			  file->text, file_end(file));
		file->read_hash = news_seen(fs, &spot, &file->reader, file->text);
	}
}

static void file_restart(struct file *file)
{
	g_string_truncate(file->text, 0);
	cursor_clear(&file->cursor);
	file_count(file);
	file->base = 0;
	file->started = file->complete = false;
	file->error = 0;
}

/* What the reader has left behind is dropped, but of walks only: a shorter text stays whole. */
static void file_trim(struct file *file, uint64_t offset)
{
	size_t behind = (size_t)(offset - file->base);

	if (!is_walk(file) || behind <= WINDOW)
		return;
	g_string_erase(file->text, 0, (gssize)behind);
	file->base = offset;
	file_count(file);
}

static void file_free(struct file *file)
{
	struct fs *fs = file->fs;

	if (file->poll) {
		news_poll_remove(&file->poll_link, file->ino, fs);
		file_poll_end(file);
	}
	file_restart(file);
	if (!--file->share->files)
		g_hash_table_remove(fs->readers, GUINT_TO_POINTER(file->share->uid));
	if (file->queued)
		g_queue_remove(&fs->making, file);
	g_queue_clear_full(&file->waiting, g_free);
	g_queue_unlink(&fs->files, &file->link);
	if (fs->spare.length < SPARE_FILES && file->text->allocated_len <= SPARE_BYTES)
		g_queue_push_head_link(&fs->spare, &file->link);
	else
		file_destroy(file);
}

/* fuse_reply_open() says -ENOENT when the opener was interrupted: then no release will come. */
static bool answer_open(struct file *file)
{
	fuse_req_t req = file->opening;

	file->opening = NULL;
	if (file->error)
		fuse_reply_err(req, -file->error);
	if (file->error || fuse_reply_open(req, &file->info) == -ENOENT) {
		file_free(file);
		return false;
	}
	return true;
}

static void answer_read(struct file *file, const struct request *request)
{
	uint64_t end = file_end(file);
	size_t from, size;

	if (file->error) {
		fuse_reply_err(request->req, -file->error);
		return;
	}
	from = (size_t)(request->offset - file->base);
	size = request->offset < end ? (size_t)(end - request->offset) : 0;
	if (size > request->size)
		size = request->size;
	fuse_reply_buf(request->req, size ? file->text->str + from : NULL, size);
	if (size)
		file_trim(file, request->offset);
}

/* A text of one moment is ready when it is complete, a walk when it reaches far enough. */
static bool is_ready(const struct file *file, uint64_t end)
{
	return file->error || file->complete ||
	       (file->started && is_walk(file) && file_end(file) >= end);
}

static void file_later(struct file *file)
{
	if (file->queued)
		return;
	file->queued = true;
	g_queue_push_tail(&file->fs->making, file);
	uv_idle_start(&file->fs->idle, file_on_idle); /* does nothing if it runs */
}

/* Answers the request if its text is there, making at most one slice of it in this turn. A read
 * from offset 0, or from before what is kept, makes the text anew. */
static bool request_try(struct file *file, struct request *request, bool *sliced)
{
	uint64_t end = request->offset + request->size;

	if (!request->begun &&
	    (request->offset == 0 ? file->started : request->offset < file->base))
		file_restart(file);
	request->begun = true;
	if (!is_ready(file, end) && !*sliced) {
		*sliced = true;
		file_make(file);
	}
	if (!is_ready(file, end))
		return false;
	answer_read(file, request);
	return true;
}

/* The table's text for the open, if it is there after one more slice. False when the file is to be
 * left alone: it goes on later, or is gone. */
static bool opening_try(struct file *file)
{
	file_make(file);
	if (is_ready(file, 0))
		return answer_open(file);
	file_later(file);
	return false;
}

static void file_serve(struct file *file)
{
	struct request *request;
	bool sliced = file->opening;

	if (file->opening && !opening_try(file))
		return;
	while ((request = g_queue_peek_head(&file->waiting))) {
		if (!request_try(file, request, &sliced)) {
			file_later(file);
			return;
		}
		g_free(g_queue_pop_head(&file->waiting));
	}
}

/* One slice for the text that has waited longest. */
void file_on_idle(uv_idle_t *idle)
{
	struct fs *fs = idle->data;
	struct file *file = g_queue_pop_head(&fs->making);

	if (file) {
		file->queued = false;
		file_serve(file);
	}
	if (g_queue_is_empty(&fs->making))
		uv_idle_stop(idle);
}

void file_open(struct fs *fs, fuse_req_t req, const struct spot *spot,
	       const struct fuse_file_info *info)
{
	struct file *file = file_new(fs);

	file->ino = spot->ino;
	file->reader = fs_reader(req);
	access_is_whole(fs->model, spot, &file->reader); /* now: it is kept there */
	file->share = share_of(fs, file->reader.uid);
	file->info = *info;
	file->info.fh = (uintptr_t)file;
	file->info.direct_io = 1;
	file->info.noflush = 1;
	file->opening = req;
	if (++file->share->files > USER_FILES && !is_trusted(file))
		file->error = -EMFILE;
	if (file->error || spot->entry->shape == SHAPE_VALUE ||
	    (info->flags & O_ACCMODE) == O_WRONLY)
		answer_open(file);
	else
		file_serve(file);
}

void file_read(fuse_req_t req, struct fuse_file_info *info, size_t size, uint64_t offset)
{
	struct file *file = (struct file *)(uintptr_t)info->fh;
	struct request request = {.req = req, .offset = offset, .size = size};
	bool sliced = false;

	if (g_queue_is_empty(&file->waiting) && request_try(file, &request, &sliced))
		return;
	g_queue_push_tail(&file->waiting, g_memdup2(&request, sizeof request));
	file_later(file);
}

void file_release(struct fuse_file_info *info)
{
	file_free((struct file *)(uintptr_t)info->fh);
}

void file_poll_end(struct file *file)
{
	fuse_pollhandle_destroy(file->poll);
	file->poll = NULL;
}

void file_poll_wake(struct file *file)
{
	fuse_lowlevel_notify_poll(file->poll);
	file_poll_end(file);
}

/* As sysfs: POLLPRI and POLLERR until the newest text was read from its start. There is one handle
 * for an open file; a new one takes the old one's place. */
void file_poll(fuse_req_t req, struct fuse_file_info *info, struct fuse_pollhandle *handle)
{
	struct file *file = (struct file *)(uintptr_t)info->fh;
	struct fs *fs = file->fs;
	struct spot spot;
	bool tells, is_new;

	fs_sync(fs, file->ino);
	tells = !tree_resolve(fs->model, file->ino, &spot) && spot.entry->tells;
	is_new = tells && news_poll_is_news(fs, &spot, file->read_hash);
	if (handle && tells && !is_new) {
		if (file->poll)
			file_poll_end(file);
		else
			news_poll_add(&file->poll_link, file->ino, fs);
		file->poll = handle;
	} else if (handle) {
		fuse_pollhandle_destroy(handle);
	}
	fuse_reply_poll(req, POLLIN | POLLRDNORM | (is_new ? POLLPRI | POLLERR : 0));
}

void file_end_all(struct fs *fs)
{
	GList *link, *next;

	for (link = fs->files.head; link; link = next) {
		struct file *file = link->data;
		struct request *request;

		next = link->next;
		if (file->opening)
			fuse_reply_err(file->opening, EIO);
		while ((request = g_queue_pop_head(&file->waiting))) {
			fuse_reply_err(request->req, EIO);
			g_free(request);
		}
		file_free(file);
	}
	while ((link = g_queue_pop_head_link(&fs->spare)))
		file_destroy(link->data);
}
