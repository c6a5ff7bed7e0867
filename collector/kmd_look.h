/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that looks at the driver's files, and what it saw. */
#ifndef KMD_LOOK_H
#define KMD_LOOK_H

#include "driver_tree.h"
#include "kmd.h"

/* What the driver showed at one moment. */
struct kmd_look {
	int error;      /* a negative errno: it could not be looked at, or there is nothing */
	int pids_error; /* likewise: who has this device open cannot be read */
	uint32_t pids_error_number;
	size_t count;
	struct driver_device devices[DRIVER_MAX_DEVICES];
	GArray *pids[DRIVER_MAX_DEVICES]; /* pid_t */
};

void kmd_look_begin(struct kmd *kmd);

/* Asks for a look, unless one is under way, and waits for it so long at most. NULL: it will be
 * there another time. The caller's. */
struct kmd_look *kmd_look_wait(struct kmd *kmd, gint64 wait_us);
void kmd_look_free(struct kmd_look *look);

/* Ends the thread; false if it hangs. */
bool kmd_look_end(struct kmd *kmd);

#endif
