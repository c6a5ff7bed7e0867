/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What feeds the model: ledgers, TT-Metal's own shared memory, the older socket protocol and the
 * driver, each behind the same few calls. A source owns what it needs to read a process (mappings,
 * descriptors); the model owns processes, devices and holdings, and asks the source for numbers
 * when somebody reads.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include "kind.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct holding;
struct process;

/* Where several report the same process on the same device, the first of these counts. */
enum source_rank {
	SOURCE_NATIVE,
	SOURCE_TT_METAL,
	SOURCE_ALLOC_SERVER,
	SOURCE_KMD, /* knows only that the device is open */
	SOURCE_COUNT,
};

/* The sums of one process on one device and kind at one moment. `used` is allocated - freed. */
struct amount {
	uint64_t used_bytes;
	uint64_t used_buffers;
	uint64_t allocated_bytes;
	uint64_t allocated_buffers;
	uint64_t failures;
};

/* The last request that failed, as its process says. */
struct failure {
	uint64_t requested_bytes;
	uint64_t largest_free_bytes; /* 0: not known */
	uint64_t time_ns;            /* since the epoch; 0: nothing is known of it */
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
	uint64_t next;     /* the source's */
	unsigned int rank; /* which source it is */
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

#define SOURCE_DETAIL_BYTES 256

struct source {
	const char *name;
	const struct source_ops *ops;
	enum source_rank rank;
	enum source_state state;
	char detail[SOURCE_DETAIL_BYTES]; /* why it is not up, or what is wrong with a part of it */
	uint64_t last_update_ns; /* since the epoch: when something was last reported; 0: never */
};

/* How a source tells of the next change of a process. */
enum bell {
	BELL_RINGS, /* it calls model->rung */
	BELL_POLL,  /* it does not: read it again now and then */
};

/* What a reader asks for, so that no more is looked at than he can see. */
struct scope {
	uint64_t serial; /* of the device or process whose files he reads; 0: none's */
	bool is_list;    /* which processes there are, and nothing of what they hold */
};

/* Those from `arm` on may be NULL. */
struct source_ops {
	/* Brings the set of processes and devices up to date: whoever reads next sees all that
	 * happened before this call. With `only`, a reader who asks for no more; else NULL. */
	void (*sync)(struct source *source, const struct scope *only);

	/* The process has ended, or its number is another's now: lets go of it, which ends with
	 * model_leave(). */
	void (*ended)(struct source *source, struct process *process);

	/* Adds the sums of these holdings, in all of which this source counts, as they are now, for
	 * the kinds whose bit is set; other elements are not touched. Many at once, because a
	 * device can have thousands and each costs a few cache misses that can overlap. */
	void (*read)(struct source *source, struct holding *const *holdings, size_t count,
		     unsigned int kinds, struct amount amounts[KIND_COUNT]);

	/* Asks to be told of the process's next change, once. What is read after this call shows a
	 * change, or it will be told. NULL: BELL_POLL. */
	enum bell (*arm)(struct source *source, struct process *process);

	/* The highest sum of one kind on one device, as the source knows it. */
	uint64_t (*holding_peak)(struct source *source, const struct holding *holding,
				 enum kind kind);

	/* The highest sum over devices of one kind, as the source knows it. */
	uint64_t (*peak)(struct source *source, const struct process *process, enum kind kind);

	void (*errors)(struct source *source, const struct process *process,
		       struct recording_errors *errors);

	/* About how many rows a walk would have. */
	uint64_t (*buffer_estimate)(struct source *source, const struct process *process);

	/* Up to `room` next rows of holdings in which this source counts; returns how many. Each
	 * row is of one moment; cursor->done is set when there are no more. */
	size_t (*buffers)(struct source *source, const struct process *process,
			  struct buffer_cursor *cursor, struct buffer *rows, size_t room);

	/* The last failed request of one kind on one device; all zeros if it is not known. */
	void (*failure)(struct source *source, const struct holding *holding, enum kind kind,
			struct failure *failure);

	/* Adds what the device's own totals claim beyond what its processes hold. */
	void (*unattributed)(struct source *source, const struct device *device,
			     uint64_t bytes[KIND_COUNT]);
};

#endif
