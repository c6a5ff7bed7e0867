/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that would change the tree: EPERM, for root too. Extended attributes, locks and the
 * like are left out of the table, and libfuse then says that they are not supported. */
#include "fs.h"
#include <errno.h>

static void refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 dev_t dev)
{
	(void)parent, (void)name, (void)mode, (void)dev;
	fuse_reply_err(req, EPERM);
}

static void refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			  struct fuse_file_info *info)
{
	(void)parent, (void)name, (void)mode, (void)info;
	fuse_reply_err(req, EPERM);
}

static void refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
			  const char *to_name, unsigned int flags)
{
	(void)parent, (void)name, (void)to, (void)to_name, (void)flags;
	fuse_reply_err(req, EPERM);
}

static void refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino, (void)parent, (void)name;
	fuse_reply_err(req, EPERM);
}

/* Python's open() asks whether the file is a terminal. */
static void refuse_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int command, void *arg,
			 struct fuse_file_info *info, unsigned int flags, const void *in,
			 size_t in_size, size_t out_size)
{
	(void)ino, (void)command, (void)arg, (void)info;
	(void)flags, (void)in, (void)in_size, (void)out_size;
	fuse_reply_err(req, ENOTTY);
}

void refuse_fill(struct fuse_lowlevel_ops *ops)
{
	ops->mknod = refuse_mknod;
	ops->create = refuse_create;
	ops->rename = refuse_rename;
	ops->link = refuse_link;
	ops->ioctl = refuse_ioctl;
}
