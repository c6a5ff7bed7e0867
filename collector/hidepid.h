/* SPDX-License-Identifier: Apache-2.0 */
/* Hiding processes from other users, as procfs does with its option of this name. */
#ifndef HIDEPID_H
#define HIDEPID_H

#include <stdbool.h>
#include <sys/types.h>

enum hidepid_mode {
	HIDEPID_OFF,
	HIDEPID_NOACCESS,  /* others see that a process is there and whose it is, and no more */
	HIDEPID_INVISIBLE, /* others do not see that it is there */
};

struct hidepid {
	enum hidepid_mode mode;
	bool has_group; /* there is a group from whose members nothing is hidden... */
	gid_t group;    /* ...and this is it */
};

/* "off", "noaccess" or "invisible". Returns 0 or -EINVAL. */
int hidepid_parse_mode(const char *name, enum hidepid_mode *mode);

/* A group's name, or its number. Returns 0, or -ENOENT when there is no such group. */
int hidepid_parse_group(const char *name, gid_t *group);

#endif
