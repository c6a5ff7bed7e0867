/* SPDX-License-Identifier: Apache-2.0 */
/* Watches for the end of the processes that no connection of ours watches: a pidfd for each. */
#ifndef LIVES_H
#define LIVES_H

#include "model.h"
#include <uv.h>

#define LIVES_MAX 4096

struct lives {
	uv_loop_t *loop;
	struct model *model;
	unsigned int count;
	unsigned int max; /* LIVES_MAX, or what the descriptors allow */
	bool failing;     /* a process could not be watched, and that was logged */
};

/* From now on the model asks here. */
void lives_init(struct lives *lives, uv_loop_t *loop, struct model *model);

/* The model asks no more. Those who are watched go with their processes. */
void lives_close(struct lives *lives);

#endif
