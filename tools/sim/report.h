/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the simulated process tells what it holds: one implementation for each format that ttmemd
 * reads. They share nothing with ttmemd, so that a mistake in one does not hide in the other.
 */
#ifndef TTMEM_SIM_REPORT_H
#define TTMEM_SIM_REPORT_H

#include "ttmem.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Called in this order: start, declare for each device, then the events from any thread; when
 * there are no more, settle and end. What goes wrong ends the process with a message. */
struct reporter {
	void (*start)(void);
	void (*declare)(unsigned device);
	void (*alloc)(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size,
		      const char *tag);
	void (*free)(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size);
	void (*failed)(unsigned device, enum ttmem_kind kind, uint64_t size, uint64_t largest);
	uint64_t (*settle)(void); /* the bytes that are reported and not freed */
	void (*end)(void);
};

extern const struct reporter report_native, report_metal, report_server;

static inline uint64_t nanoseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif
