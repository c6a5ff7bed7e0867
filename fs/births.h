/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and links that come and go, told to those who watch the directory they are in: a
 * second hand makes and removes them through the mount. For everybody else they come and go at
 * once; for the hand one that comes is not there before its mkdir() has reached us, or that would
 * fail and tell nobody, and one that goes is still there. The kernel asks us each time when a name
 * is about to be made, whatever it remembers of it.
 */
#ifndef BIRTHS_H
#define BIRTHS_H

#include "hand.h"
#include "tree.h"
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <glib.h>

#define BIRTHS_MAX 8192 /* under way; beyond that things come and go untold */

struct fs;

/* One name that comes or goes. */
struct birth {
	struct hand_job job;
	uint64_t ino, parent;
	uint64_t begun_ns;
	mode_t mode;
	char name[32];
};

struct births {
	struct hand hand;
	struct listing *listing; /* who has directories open, for which the hand waits */
	GQueue under_way;        /* struct birth, in the order of the hand's work */
	GHashTable *unborn;      /* ino -> struct birth: not there yet, for the hand alone */
	GHashTable *dying;       /* ino -> struct birth: there for the hand alone */
	uint64_t untold; /* came or went without an event although somebody may have watched */
};

void births_init(struct fs *fs);
bool births_fini(struct fs *fs);

void births_give_up(struct fs *fs, struct birth *birth); /* it comes or goes untold */

/* listing.c: directories that ordinary users have open */
void listing_init(struct fs *fs);
void listing_fini(struct fs *fs);
void listing_do(struct fs *fs, struct birth *birth);
void listing_done(struct fs *fs, uint64_t parent);
void listing_open(struct fs *fs, fuse_req_t req, uint64_t ino, const struct fuse_file_info *info);
void listing_close(struct fs *fs, uint64_t ino, const struct fuse_file_info *info);

/* By what the model says. */
void births_changed(struct fs *fs, enum model_change change, struct process *process,
		    struct device *device);

/* Whether an inode is not there yet, for the hand. */
bool births_hides(const struct fs *fs, uint64_t ino);

/* Whether the hand is still to remove something that had this name. */
bool births_will_remove(const struct fs *fs, uint64_t parent, const char *name);

/* What the hand's requests mean: 0 and the inode and its mode, or a negative errno. */
int births_lookup(const struct fs *fs, uint64_t parent, const char *name, uint64_t *ino,
		  mode_t *mode);
int births_mode(const struct fs *fs, uint64_t ino, mode_t *mode);
int births_make(struct fs *fs, uint64_t parent, const char *name, uint64_t *ino);
int births_remove(struct fs *fs, uint64_t parent, const char *name);

#endif
