/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A region of TT-Metal's counts the chips behind a gateway together with the gateway: its processes
 * and its total are sums over all of them, and a table beside has a sum for each chip. Which
 * process has how much on which chip is written nowhere. So each chip's sum is divided among the
 * processes in proportion to what they hold: the sums of chips and those of processes are exact,
 * and with one process so is everything.
 *
 * Processes that were killed stay in the chips' sums and in the total. They cannot be told apart
 * there: when the chips claim more than the living hold, each is taken to have the same share of
 * ghosts, and that is what nobody can be named for.
 */
#ifndef METAL_SPLIT_H
#define METAL_SPLIT_H

#include "metal_region.h"

/* Of one kind. */
struct metal_split {
	unsigned int processes;
	uint64_t held[METAL_SLOTS]; /* by each process; below 2^63 */
	unsigned int chips;         /* behind the gateway */
	uint64_t on_chip[METAL_CHIPS];
	uint64_t at_home; /* on the gateway itself, by the chips' table */
	uint64_t total;   /* by the region; 0 when it makes no sense */

	/* Results. */
	uint64_t home[METAL_SLOTS];               /* of each process on the gateway... */
	uint64_t share[METAL_CHIPS][METAL_SLOTS]; /* ...and on each chip behind it */
	uint64_t home_unattributed;
	uint64_t chip_unattributed[METAL_CHIPS];
};

void metal_split(struct metal_split *split);

#endif
