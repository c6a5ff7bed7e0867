/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that are answered. */
#include "by_hand.h"
#include "fs.h"
#include <errno.h>
#include <string.h>

struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

void fs_sync(struct fs *fs, uint64_t ino)
{
	const struct scope scope = tree_scope(ino);

	model_sync(fs->model, &scope);
}

struct reader fs_reader(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct reader){.uid = ctx->uid, .gid = ctx->gid, .tid = ctx->pid};
}

/* What an inode number stands for, if the reader may see that it is there. The kernel asks by
 * number when somebody has it open, as it may have been passed on by one who may. */
static int resolve(fuse_req_t req, fuse_ino_t ino, struct reader *reader, struct spot *spot)
{
	struct fs *fs = fs_of(req);

	*reader = fs_reader(req);
	if (tree_resolve(fs->model, ino, spot))
		return -node_gone(fs, ino, reader);
	return access_shows(fs->model, spot, reader) ? 0 : -ENOENT;
}

static bool is_dir(const struct spot *spot)
{
	return !spot->entry && !spot->is_link;
}

/* splice is left out: one read(2) a request is cheaper for answers of this size. */
static void ops_init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	conn->want &= ~(unsigned int)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				      FUSE_CAP_SPLICE_MOVE);
}

/* What the hands are answered is not to be remembered: whoever sets a watch must ask us himself. */
void ops_entry_fill(struct fs *fs, const struct spot *spot, struct reader *reader,
		    struct fuse_entry_param *param, bool by_hand)
{
	memset(param, 0, sizeof *param);
	param->ino = spot->ino;
	param->entry_timeout = node_name_timeout(fs, spot);
	param->attr_timeout = by_hand ? 0 : node_attr_timeout(fs->model, spot);
	node_stat(fs, spot, reader, &param->attr);
}

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param param;
	struct reader reader;
	struct spot dir, spot;
	int error;

	if (is_by_births(req) && reply_dying(req, parent, name))
		return;

	fs_sync(fs, parent);
	error = resolve(req, parent, &reader, &dir);
	if (!error && (!is_dir(&dir) || access_find(fs->model, &dir, name, &reader, &spot) ||
		       (is_by_births(req) && births_hides(fs, spot.ino))))
		error = -ENOENT;
	if (error) {
		fuse_reply_err(req, -error);
		return;
	}
	node_look(fs, spot.ino);
	if (!is_by_hand(req)) {
		news_access(fs, &spot);
		/* Whether there is something in it is all that `[ -s oom ]` asks. */
		if (spot.entry && spot.entry->tells && spot.entry->shape == SHAPE_TABLE)
			news_hash_now(fs, &spot);
	}
	ops_entry_fill(fs, &spot, &reader, &param, is_by_hand(req));
	/* Or what the kernel remembers would lead the hand to this one. */
	if (!spot.entry && births_will_remove(fs, parent, name))
		param.entry_timeout = 0;
	if (fuse_reply_entry(req, &param) == -ENOENT)
		node_forget(fs, spot.ino, 1);
}

static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	node_forget(fs_of(req), ino, lookups);
	fuse_reply_none(req);
}

static void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		node_forget(fs_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, const struct spot *spot, struct reader *reader)
{
	struct stat st;

	node_stat(fs_of(req), spot, reader, &st);
	fuse_reply_attr(req, &st, is_by_hand(req) ? 0 : node_attr_timeout(fs_of(req)->model, spot));
}

/* Of a file, the reader needs a descriptor to get here, which whoever may open it can give him. */
static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fs *fs = fs_of(req);
	struct reader reader = fs_reader(req);
	struct spot spot;

	(void)info;
	if (!is_by_hand(req))
		fs_sync(fs, ino);
	if (tree_resolve(fs->model, ino, &spot)) {
		if (!is_by_births(req) || !reply_dying_attr(req, ino))
			fuse_reply_err(req, node_gone(fs, ino, &reader));
		return;
	}
	if (!spot.entry && !access_shows(fs->model, &spot, &reader)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (!is_by_hand(req)) {
		news_access(fs, &spot);
		/* The time of the last change is all that somebody may look at. */
		if (spot.entry && spot.entry->tells)
			news_hash_now(fs, &spot);
	}
	reply_attr(req, &spot, &reader);
}

/* `echo 1 > dram_peak` truncates first, which sysfs and procfs accept; nothing else is. */
static void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			struct fuse_file_info *info)
{
	struct reader reader;
	struct spot spot;
	int error = resolve(req, ino, &reader, &spot);

	(void)attr;
	(void)info;
	if (error)
		fuse_reply_err(req, -error);
	else if (!spot.entry || !spot.entry->write || to_set & ~(FUSE_SET_ATTR_SIZE))
		fuse_reply_err(req, EPERM);
	else
		reply_attr(req, &spot, &reader);
}

static void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct reader reader;
	char target[64];
	struct spot spot;
	int error;

	error = resolve(req, ino, &reader, &spot);
	if (!error)
		error = spot.is_link ? tree_link(fs->model, &spot, &reader, target, sizeof target)
				     : -EINVAL;
	if (error)
		fuse_reply_err(req, -error);
	else
		fuse_reply_readlink(req, target);
}

/* A directory's part that fits the reader's buffer. */
struct page {
	fuse_req_t req;
	char *bytes;
	size_t used, room;
};

static bool page_add(void *data, const char *name, uint64_t ino, mode_t type, uint64_t next)
{
	struct page *page = data;
	struct stat st = {.st_ino = ino, .st_mode = type};
	size_t size = fuse_add_direntry(page->req, page->bytes + page->used,
					page->room - page->used, name, &st, (off_t)next);

	if (size > page->room - page->used)
		return false;
	page->used += size;
	return true;
}

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct reader reader;
	struct spot dir;
	int error = resolve(req, ino, &reader, &dir);

	if (error)
		fuse_reply_err(req, -error);
	else if (!is_dir(&dir))
		fuse_reply_err(req, ENOTDIR);
	else
		listing_open(fs_of(req), req, ino, info);
}

static void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	listing_close(fs_of(req), ino, info);
	fuse_reply_err(req, 0);
}

#define PAGE_MAX (128u << 10) /* the kernel asks for less */

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			struct fuse_file_info *info)
{
	struct fs *fs = fs_of(req);
	struct page page = {.req = req, .room = size < PAGE_MAX ? size : PAGE_MAX};
	struct reader reader;
	struct spot dir;
	int error;

	(void)info;
	fs_sync(fs, ino);
	error = resolve(req, ino, &reader, &dir);
	if (error) {
		fuse_reply_err(req, -error);
		return;
	}
	if (!is_dir(&dir)) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	page.bytes = g_malloc(page.room);
	tree_list(fs->model, &dir, &reader, (uint64_t)offset, page_add, &page);
	fuse_reply_buf(req, page.bytes, page.used);
	g_free(page.bytes);
}

static void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct fs *fs = fs_of(req);
	struct reader reader;
	struct spot spot;
	int error;

	if (!is_by_hand(req) && !news_is_followed(fs, ino))
		fs_sync(fs, ino);
	error = resolve(req, ino, &reader, &spot);
	if (error)
		fuse_reply_err(req, -error);
	else if (is_by_hand(req))
		open_by_hand(req, &spot, info);
	else if (!spot.entry)
		fuse_reply_err(req, EISDIR);
	else if ((info->flags & O_ACCMODE) != O_RDONLY && !spot.entry->write)
		fuse_reply_err(req, EPERM);
	else {
		news_access(fs, &spot);
		file_open(fs, req, &spot, info);
	}
}

static void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	(void)ino;
	file_read(req, info, size, (uint64_t)offset);
}

static void ops_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
		      struct fuse_file_info *info)
{
	struct fs *fs = fs_of(req);
	const struct writing writing = {bytes, size, offset && !(info->flags & O_APPEND)};
	struct spot spot;
	int error;

	if (is_by_hand(req)) {
		fuse_reply_write(req, size);
		return;
	}
	model_sync(fs->model, NULL); /* first: a newcomer may take the device's place */
	if (tree_resolve(fs->model, ino, &spot)) {
		fuse_reply_err(req, ESRCH);
		return;
	}
	if (!spot.entry || !spot.entry->write) {
		fuse_reply_err(req, EPERM);
		return;
	}
	error = spot.entry->write(spot.device, spot.entry->kind, &writing);
	if (error)
		fuse_reply_err(req, -error);
	else
		fuse_reply_write(req, size);
}

static void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino;
	if (info->fh)
		file_release(info);
	fuse_reply_err(req, 0);
}

static void ops_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info,
		     struct fuse_pollhandle *handle)
{
	(void)ino;
	file_poll(req, info, handle);
}

/* Zeros, so that df and disk alerts leave the mount out. */
static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct statvfs none = {.f_namemax = 255, .f_bsize = 4096, .f_frsize = 4096};

	(void)ino;
	fuse_reply_statfs(req, &none);
}

void ops_fill(struct fuse_lowlevel_ops *ops)
{
	ops->init = ops_init;
	ops->lookup = ops_lookup;
	ops->forget = ops_forget;
	ops->forget_multi = ops_forget_multi;
	ops->getattr = ops_getattr;
	ops->setattr = ops_setattr;
	ops->readlink = ops_readlink;
	ops->opendir = ops_opendir;
	ops->readdir = ops_readdir;
	ops->releasedir = ops_releasedir;
	ops->open = ops_open;
	ops->read = ops_read;
	ops->write = ops_write;
	ops->release = ops_release;
	ops->poll = ops_poll;
	by_hand_fill(ops);
	ops->statfs = ops_statfs;
}
