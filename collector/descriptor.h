/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that came from a client may be anything, and closing one can take for ever: a file on
 * a FUSE server that has stopped, a TCP socket that lingers, or a connection in whose queue such
 * descriptors wait. So the loop never closes them itself.
 */
#ifndef DESCRIPTOR_H
#define DESCRIPTOR_H

#include <stdbool.h>

/* Told by the link text in /proc: asking the descriptor itself might block. */
bool descriptor_is_eventfd(int fd);

/* Closes them in threads of their own, some at a time. `fds` may hold -1. */
void descriptors_discard(const int *fds, int count);

/* How many are still open because those before them hang. */
unsigned int descriptors_pending(void);

/* Before the process ends: each one that is left gets a thread, which the end of the process
 * wakes. Were they still in the table then, the end itself would hang. */
void descriptors_abandon(void);

#endif
