/* SPDX-License-Identifier: Apache-2.0 */
/* What makes TT-Metal's shared memory hard to read: crowds of processes, files that shrink. */
#ifndef TTMEM_SIM_METAL_FAULTS_H
#define TTMEM_SIM_METAL_FAULTS_H

#include "region.h"

/* As many processes as a file has slots. They do nothing, and end with this one. To be called
 * before there are threads. */
void crowd_start(void);
void crowd_fill(struct region *r); /* gives them the slots that are free */
void crowd_leave(struct region *r);
void crowd_end(void);

/* A thread that keeps cutting the files off and making them whole again. */
void shortener_start(struct region *regions, unsigned n);
void shortener_end(void);

#endif
