/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of our own hands: only they may change the tree, and only as they were told. */
#include "by_hand.h"
#include <errno.h>

bool is_by_births(fuse_req_t req)
{
	return hand_is(&fs_of(req)->births.hand, fuse_req_ctx(req)->pid);
}

bool is_by_hand(fuse_req_t req)
{
	return is_by_births(req) || hand_is(&fs_of(req)->news.writer, fuse_req_ctx(req)->pid);
}

/* For the hand what goes is still there. */
bool reply_dying_attr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st = {.st_ino = ino, .st_nlink = 1, .st_uid = fs_of(req)->model->owner};

	if (births_mode(fs_of(req), ino, &st.st_mode))
		return false;
	fuse_reply_attr(req, &st, 0);
	return true;
}

bool reply_dying(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param param = {0};
	mode_t mode;

	if (births_lookup(fs_of(req), parent, name, &param.ino, &mode))
		return false;
	param.attr.st_ino = param.ino;
	param.attr.st_mode = mode;
	param.attr.st_nlink = 1;
	param.attr.st_uid = fs_of(req)->model->owner;
	node_look(fs_of(req), param.ino);
	if (fuse_reply_entry(req, &param) == -ENOENT)
		node_forget(fs_of(req), param.ino, 1);
	return true;
}

/* mkdir() or symlink() by the hand: from now on it is there. */
static void ops_make(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct reader reader = fs_reader(req);
	struct fuse_entry_param param;
	struct spot spot;
	uint64_t ino;

	if (!is_by_births(req) || births_make(fs, parent, name, &ino) ||
	    tree_resolve(fs->model, ino, &spot)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	node_look(fs, ino);
	ops_entry_fill(fs, &spot, &reader, &param, true);
	if (fuse_reply_entry(req, &param) == -ENOENT)
		node_forget(fs, ino, 1);
}

static void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	ops_make(req, parent, name);
}

static void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target;
	ops_make(req, parent, name);
}

static void ops_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	bool fine = is_by_births(req) && !births_remove(fs_of(req), parent, name);

	fuse_reply_err(req, fine ? 0 : EPERM);
}

/* It writes a byte, which changes nothing but that watchers are told. */
void open_by_hand(fuse_req_t req, const struct spot *spot, struct fuse_file_info *info)
{
	if (!spot->entry || !spot->entry->tells) {
		fuse_reply_err(req, EPERM);
		return;
	}
	info->fh = 0;
	info->direct_io = 1;
	info->noflush = 1;
	fuse_reply_open(req, info);
}

void by_hand_fill(struct fuse_lowlevel_ops *ops)
{
	ops->mkdir = ops_mkdir;
	ops->symlink = ops_symlink;
	ops->rmdir = ops_remove;
	ops->unlink = ops_remove;
}
