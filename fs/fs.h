/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount: FUSE's low-level API in the libuv loop. Everything here runs in the loop's thread and
 * each request is answered exactly once, at once or, when its text takes long to make, later.
 */
#ifndef FS_H
#define FS_H

#include "access.h"
#include "births.h"
#include "eager.h"
#include "news.h"
#include "tree.h"
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <uv.h>

/* What the newest text of a file was like. */
struct last_text {
	uint64_t changed_ns; /* when it first was as it is */
	uint64_t size;
	uint64_t hash;
	bool is_known;
};

/* What the kernel knows of, and what the texts of a file were like. Made at a lookup, gone with the
 * last forget. Owned by fs.nodes. */
struct node {
	uint64_t ino;
	uint64_t lookups;
	uint32_t number;        /* of a device's directory, for when it has gone... */
	bool is_kept;           /* ...and the kernel was told to remember its name */
	struct last_text parts; /* what is shown to those who do not see everything... */
	struct last_text whole; /* ...and to the others: a length tells something, too */
};

struct fs {
	struct model *model;
	uv_loop_t *loop;
	struct fuse_session *session;
	struct fuse_buf buf;
	uv_poll_t poll;
	uv_idle_t idle;      /* runs while `making` is not empty */
	GHashTable *nodes;   /* ino -> struct node */
	GHashTable *readers; /* uid -> struct reader_share */
	GQueue making;       /* struct file: texts to go on with */
	GQueue files;        /* struct file: all that are open */
	GQueue spare;        /* struct file: to be used again */
	uint64_t text_bytes;
	uint64_t requests;
	struct eager eager;
	char *path;          /* of the mount */
	gid_t metrics_group; /* who may read the metrics by process */
	bool is_stuck;       /* a thread that works on it hangs: all of this must stay */
	struct news news;
	struct births births;
	void (*status)(struct status *status, void *data);
	void *status_data;
	void (*unmounted)(void *data); /* somebody else has unmounted us */
	void *unmounted_data;
};

/* How long to keep trying for the next request where that pays, see eager.h; 0: never. */
void fs_be_eager(struct fs *fs, uint64_t budget_us);

/* Mounts at the directory. Returns 0 or a negative errno; libfuse has logged why. */
int fs_init(struct fs *fs, uv_loop_t *loop, struct model *model, const char *mountpoint);

/* Unmounts, and closes the handles; the loop must run once more. */
void fs_close(struct fs *fs);
void fs_fini(struct fs *fs);

/* Fills in what the mount knows of `status`. */
void fs_status(const struct fs *fs, struct status *status);

struct fs *fs_of(fuse_req_t req);

/* Brings the sources up to date for what an inode shows. Before all that looks at sums: a failed
 * request that is seen is reported with those who are known by then. */
void fs_sync(struct fs *fs, uint64_t ino);
struct reader fs_reader(fuse_req_t req);

/* node.c */
struct node *node_look(struct fs *fs, uint64_t ino);
struct node *node_find(const struct fs *fs, uint64_t ino);
void node_forget(struct fs *fs, uint64_t ino, uint64_t lookups);
/* What to answer of an inode that stands for nothing any more, a positive errno. */
int node_gone(struct fs *fs, uint64_t ino, struct reader *reader);
void node_text(struct fs *fs, uint64_t ino, bool is_whole, const GString *text, uint64_t size);
void node_stat(const struct fs *fs, const struct spot *spot, struct reader *reader,
	       struct stat *st);
double node_name_timeout(const struct fs *fs, const struct spot *spot);
double node_attr_timeout(const struct model *model, const struct spot *spot);

/* file.c: the life of an open file description */
void file_open(struct fs *fs, fuse_req_t req, const struct spot *spot,
	       const struct fuse_file_info *info);
void file_read(fuse_req_t req, struct fuse_file_info *info, size_t size, uint64_t offset);
void file_release(struct fuse_file_info *info);
void file_end_all(struct fs *fs); /* when the mount is gone: no release will come */
/* poll(2) on it; takes the handle. Wakes who waits, or lets him go. */
void file_poll(fuse_req_t req, struct fuse_file_info *info, struct fuse_pollhandle *handle);
void file_poll_wake(struct file *file);
void file_poll_end(struct file *file);
void file_on_idle(uv_idle_t *idle);

/* ops.c: what is answered; refuse.c: what nobody may do */
void ops_fill(struct fuse_lowlevel_ops *ops);
void refuse_fill(struct fuse_lowlevel_ops *ops);

#endif
