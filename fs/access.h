/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is hidden from whom, with hidepid. The kernel enforces mode bits; what they cannot say is
 * decided here: that a name is not there for one reader while it is for another.
 */
#ifndef ACCESS_H
#define ACCESS_H

#include "tree.h"

/* A directory's or file's mode and group, of which hidepid takes away. */
mode_t access_mode(const struct model *model, const struct spot *spot, mode_t mode);
gid_t access_group(const struct model *model, const struct spot *spot);

/* False if the spot is not there for this reader. */
bool access_shows(const struct model *model, const struct spot *spot, struct reader *reader);

/* A name in a directory, as this reader finds it. Returns 0 or -ENOENT. */
int access_find(const struct model *model, const struct spot *dir, const char *name,
		struct reader *reader, struct spot *spot);

/* True if the answer for one reader may not serve another: the kernel must not keep it. */
bool access_differs(const struct model *model, const struct spot *spot);

/* Whether this reader gets the whole text of the file, and not only what everybody may see. Asked
 * first when the file is opened: later, the thread's number may be another's. */
bool access_is_whole(const struct model *model, const struct spot *spot, struct reader *reader);

#endif
