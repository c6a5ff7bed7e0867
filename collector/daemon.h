/* SPDX-License-Identifier: Apache-2.0 */
/* The parts put together: places taken, loop run, everything given back. */
#ifndef DAEMON_H
#define DAEMON_H

#include "options.h"

/* Runs until a signal ends it. Calls `ready` once the mount and the socket are there. Returns the
 * exit status; a message has been logged if it is not 0. */
int daemon_run(const struct options *options, void (*ready)(void *data), void *data);

#endif
