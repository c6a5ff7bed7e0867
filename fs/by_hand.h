/* SPDX-License-Identifier: Apache-2.0 */
/* What our own hands ask, by the number of their thread; see hand.h. */
#ifndef BY_HAND_H
#define BY_HAND_H

#include "fs.h"

bool is_by_births(fuse_req_t req);
bool is_by_hand(fuse_req_t req);

/* For the hand that removes it, what goes is still there. Return whether they answered. */
bool reply_dying_attr(fuse_req_t req, fuse_ino_t ino);
bool reply_dying(fuse_req_t req, fuse_ino_t parent, const char *name);

void open_by_hand(fuse_req_t req, const struct spot *spot, struct fuse_file_info *info);
void by_hand_fill(struct fuse_lowlevel_ops *ops);

/* ops.c */
void ops_entry_fill(struct fs *fs, const struct spot *spot, struct reader *reader,
		    struct fuse_entry_param *param, bool by_hand);

#endif
