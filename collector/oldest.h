/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the oldest live buffer of each device and kind was allocated, for programs that ask all the
 * time: each time it looks at so many records in all and at no more, whatever processes there are.
 */
#ifndef OLDEST_H
#define OLDEST_H

#include "survey.h"

/* Some quarter of a second of work, in slices: a scraper comes every few seconds, and waits. */
#define OLDEST_RECORDS (1u << 21)

struct oldest {
	GArray *devices;  /* struct oldest_device, by number */
	uint64_t records; /* that are still to be looked at */
	struct survey_tour tour;
	bool is_done;
};

void oldest_init(struct oldest *oldest);
void oldest_fini(struct oldest *oldest);

/* Does up to a slice of work; true at the end. */
bool oldest_gather(struct oldest *oldest, struct model *model);

/* Since the epoch; 0: there is no buffer, or some process has too many to look at. */
uint64_t oldest_ns(const struct oldest *oldest, uint32_t device, enum kind kind);

#endif
