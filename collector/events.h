/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the model notes as it happens, beside the sums: counted events, thresholds, the last failed
 * request of a device, and its use of the last minutes.
 *
 * There is no other moment to notice anything than a look at the sums: somebody's read, the end of
 * a process, or a tick. Ticks are wanted only while there is a history or a threshold.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include "source.h"
#include <sys/types.h>

struct model;

/* None of them goes down. */
struct events {
	uint64_t process_start;
	uint64_t process_exit;
	uint64_t high;
	uint64_t oom;
	uint64_t leaked; /* processes that left and had not freed everything */
	uint64_t device_add;
	uint64_t device_remove;
};

struct device_events {
	uint64_t high;
	uint64_t oom;
	uint64_t high_of[KIND_COUNT]; /* the same as `high`, by kind */
};

struct threshold {
	bool is_set; /* else it is `max` */
	bool is_over;
	uint64_t bytes;
};

#define OOM_HOLDERS   10
#define OOM_TAGS      3
#define OOM_TAG_BYTES 48          /* as in a ledger; a longer one is cut */
#define OOM_TAGS_NS   5000000000u /* what was found out so long ago is still worth telling */

struct oom_tag {
	char name[OOM_TAG_BYTES]; /* "-": what has no tag */
	uint64_t bytes;
};

/* What is said of memory is said of the kind that was asked for. */
struct oom_holder {
	pid_t pid;
	uid_t uid;
	char comm[16];
	uint64_t used_bytes;
	unsigned int tag_count;        /* 0: they could not be had at once */
	struct oom_tag tags[OOM_TAGS]; /* the largest, most first */
};

/* The last request of a device that failed, and who held what when we saw that it had. */
struct oom {
	uint64_t seen_ns;
	struct failure failure;
	struct oom_holder process; /* whose request it was */
	enum kind kind;
	uint64_t count;   /* failures of this process and kind since the look before */
	bool has_holders; /* there was time to look for what follows */
	uint64_t used_bytes;
	unsigned int holder_count;
	struct oom_holder holders[OOM_HOLDERS]; /* those who hold most first */
};

struct history_row {
	uint64_t time_ns; /* since the epoch */
	uint64_t used_bytes[KIND_COUNT];
};

/* A ring: the oldest row is at `next` once it is full. */
struct history {
	uint32_t room, count, next;
	struct history_row rows[];
};

/* threshold.c: `text` is a number of bytes or "max", with any white space around it. Returns 0, or
 * -EINVAL and nothing has changed. */
int device_set_threshold(struct device *device, enum kind kind, const char *text, size_t size);
void device_drop_thresholds(struct device *device);

/* The device was summed. */
void device_check_thresholds(struct device *device, unsigned int kinds,
			     const struct amount *amounts);

/* oom.c: the sums of a holding, device or process were taken, which show whether requests have
 * failed since the last time. */
void holding_note_failures(struct holding *holding, unsigned int kinds,
			   const struct amount *amounts);
void device_note_failures(struct device *device, unsigned int kinds, const struct amount *amounts);
void process_note_failures(const struct process *process, unsigned int kinds,
			   const struct amount *amounts);

/* What the holding's source counted so far is none of the next one's, or was seen elsewhere. */
void holding_forget_failures(struct holding *holding);
void holding_skip_failures(struct holding *holding);

/* history.c: a row of the device's history, not twice in one second. */
void device_history_add(struct device *device, const struct amount amounts[KIND_COUNT]);
void device_history_drop(struct device *device);

/* The number of the oldest row that is not too old, and the row of a number; NULL: there are no
 * more. */
uint32_t device_history_first(const struct device *device);
const struct history_row *device_history_row(const struct device *device, uint32_t number);

/* tick.c: once a second while model_wants_ticks(). */
bool model_wants_ticks(const struct model *model);
void model_tick(struct model *model);

/* Looks at the sums, so that what is noted is up to date. */
void device_look(struct device *device);
void model_look(struct model *model);

/* The device was shown or hidden, perhaps. */
void device_note_shown(struct device *device);

#endif
