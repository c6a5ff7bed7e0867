/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a directory can be mounted on, told without touching what a dead daemon left there. */
#ifndef MOUNTPOINT_H
#define MOUNTPOINT_H

#include <stdbool.h>

/* The type of the file system that is mounted there, to be freed; NULL if none is. */
char *mountpoint_type(const char *path);

/* Unmounts what a dead ttmemd left at the path. The caller holds the lock that shows that it is
 * dead. Returns 0, -EBUSY if something else is mounted there, or why it cannot be unmounted. */
int mountpoint_clear(const char *path);

/* Why the directory cannot be mounted on, as the end of a sentence, or NULL. */
const char *mountpoint_fault(const char *path);

/* Why FUSE cannot be used, or NULL. */
const char *mountpoint_fuse_fault(void);

#endif
