/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that came from a client, which may be anything. */
#ifndef DESCRIPTOR_H
#define DESCRIPTOR_H

#include <stdbool.h>

/* Told by the link text in /proc: asking the descriptor itself might block. */
bool descriptor_is_eventfd(int fd);

/* Closes descriptors without waiting for it: close() of a file on a stopped FUSE server, or of a
 * socket that lingers, can take for ever. `fds` may hold -1. */
void descriptors_discard(const int *fds, int count);

#endif
