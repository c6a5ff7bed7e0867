/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon mounts and listens: whether it can, what a dead one has left there, and locks
 * against another. */
#ifndef PLACES_H
#define PLACES_H

#include "lockfile.h"
#include "options.h"
#include <stdbool.h>

struct places {
	const struct options *options;
	struct lockfile socket_lock;
	struct lockfile mount_lock;
	bool made_mount; /* directories that we made and remove again */
	bool made_socket_dir;
};

/* Logs what is wrong and what to do, and returns EXIT_CONFIG. */
int config_fault(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Returns 0, or EXIT_CONFIG after a message. Whatever it returns, places_give_back() follows. */
int places_take(struct places *places, const struct options *options);
void places_give_back(struct places *places);

#endif
