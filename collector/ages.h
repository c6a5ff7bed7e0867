/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much is how old: a histogram that is made at one moment and still right when it is read a
 * little later. It is coarse, but for the last second before each limit, in which a buffer may pass
 * it until then: there it has cells of a quarter of a second, by which a reading may be off.
 */
#ifndef AGES_H
#define AGES_H

#include <stdint.h>

/* Younger than 1 s, 10 s, 1 min, 10 min, 1 h; older. */
#define AGES_LIMITS  5
#define AGES_COLUMNS (AGES_LIMITS + 1)

#define AGES_LATER_NS   1000000000u /* readings up to so much later are right */
#define AGES_QUANTUM_NS 250000000u
#define AGES_FINE       (AGES_LATER_NS / AGES_QUANTUM_NS)
#define AGES_CELLS      (AGES_LIMITS * (AGES_FINE + 1) + 1)

/* Sums stay at their limit. */
struct ages_sum {
	uint64_t bytes;
	uint64_t buffers;
};

/* For each limit what comes before its last second, then that in quarters; then what is older. All
 * zeros is empty. */
struct ages {
	struct ages_sum cells[AGES_CELLS];
};

void ages_sum_add(struct ages_sum *to, uint64_t bytes, uint64_t buffers);

/* A buffer that was allocated at `time_ns`, seen at `now_ns`. */
void ages_add(struct ages *ages, uint64_t time_ns, uint64_t now_ns, uint64_t bytes);

/* Adds what it says `later_ns` after the moment at which it was made. */
void ages_read(const struct ages *ages, uint64_t later_ns, struct ages_sum columns[AGES_COLUMNS]);

#endif
