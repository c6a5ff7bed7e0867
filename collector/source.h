/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What feeds the model: ledgers now, other writers' formats later, each behind the same few calls.
 * A source owns what it needs to read a process (mappings, descriptors); the model owns processes,
 * devices and holdings, and asks the source for numbers when somebody reads.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include "kind.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct holding;
struct process;

/* The sums of one process on one device and kind at one moment. `used` is allocated - freed. */
struct amount {
	uint64_t used_bytes;
	uint64_t used_buffers;
	uint64_t allocated_bytes;
	uint64_t allocated_buffers;
	uint64_t failures;
};

/* One live buffer. */
struct buffer {
	uint64_t address;
	uint64_t size_bytes;
	uint64_t time_ns; /* since the epoch */
	uint32_t thread;
	uint32_t device; /* number of the device, as in deviceN */
	enum kind kind;
	const char *tag; /* printable, the source's; NULL: none */
};

/* Where a walk over the buffers of a process stands; all zeros is the start. */
struct buffer_cursor {
	uint64_t next;
	bool done;
};

/* What could not be recorded inside the process. */
struct recording_errors {
	uint64_t unknown_frees;
	uint64_t size_mismatches;
	uint64_t bad_arguments;
	uint64_t reentered;
	uint64_t untracked;
	uint64_t unlisted;
};

enum source_state { SOURCE_DOWN, SOURCE_UP, SOURCE_ERROR };

struct source {
	const char *name;
	const struct source_ops *ops;
	enum source_state state;
	char detail[128]; /* why it is not up */
};

struct source_ops {
	/* Brings the set of processes and devices up to date: whoever reads next sees all that
	 * happened before this call. */
	void (*sync)(struct source *source);

	/* Adds the sums of these holdings, all this source's, as they are now, for the kinds whose
	 * bit is set; other elements are not touched. Many at once, because a device can have
	 * thousands and each costs a few cache misses that can overlap. */
	void (*read)(struct source *source, struct holding *const *holdings, size_t count,
		     unsigned int kinds, struct amount amounts[KIND_COUNT]);

	/* The highest sum of one kind on one device, as the process's own library saw it. */
	uint64_t (*holding_peak)(struct source *source, const struct holding *holding,
				 enum kind kind);

	/* The highest sum over devices of one kind, as the process's own library saw it. */
	uint64_t (*peak)(struct source *source, const struct process *process, enum kind kind);

	void (*errors)(struct source *source, const struct process *process,
		       struct recording_errors *errors);

	/* About how many rows a walk would have. */
	uint64_t (*buffer_estimate)(struct source *source, const struct process *process);

	/* Up to `room` next rows; returns how many. Each row is of one moment; cursor->done is set
	 * when there are no more. */
	size_t (*buffers)(struct source *source, const struct process *process,
			  struct buffer_cursor *cursor, struct buffer *rows, size_t room);
};

#endif
