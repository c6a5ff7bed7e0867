/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All numbers of one moment, for texts that are made in slices: names of processes are looked at
 * first, some in each slice, and then all holdings are read at once, each one time, so that sums
 * over devices and over processes agree. What is kept from slice to slice are copies, because
 * processes and devices come and go in between.
 */
#ifndef MOMENT_H
#define MOMENT_H

#include "oldest.h"
#include "plain.h"
#include "render.h"

struct moment_device {
	struct device *device;
	guint processes;
	struct amount amounts[KIND_COUNT];
	uint64_t peak_bytes[KIND_COUNT];
	uint64_t unattributed_bytes[KIND_COUNT];
	struct failure failures[KIND_COUNT];
};

/* What a process has on a device. */
struct moment_holding {
	uint32_t device;
	const struct source *source;
	unsigned int kinds; /* those of which it has or ever had something there */
	uint64_t used_bytes[KIND_COUNT];
	uint64_t used_buffers[KIND_COUNT];
	uint64_t peak_bytes[KIND_COUNT];
};

struct moment_process {
	pid_t pid;
	uid_t uid;
	char comm[16];
	uint64_t start_ns;
	const struct source *source;
	bool is_untracked;
	uint64_t peak_bytes[KIND_COUNT];
	guint first, count; /* its holdings */
};

/* What all processes of one name have on a device. */
struct moment_group {
	char label[PLAIN_UTF8_ROOM(16)];
	uint32_t device;
	unsigned int kinds;
	uint64_t used_bytes[KIND_COUNT];
};

struct moment {
	pid_t named;       /* names of processes up to this one were looked at */
	uint64_t time_ns;  /* of the numbers; 0: not taken yet */
	GArray *devices;   /* struct moment_device; empty but in the slice in which it was taken */
	GArray *processes; /* struct moment_process, by pid */
	GArray *holdings;  /* struct moment_holding, process by process */
	GArray *groups;    /* struct moment_group, if asked for */
	struct oldest oldest; /* if asked for */
	guint next;           /* the first that the text does not have yet */
	uint64_t rows;        /* for the text's renderer */
};

/* Called before moment_get() in each slice of a text that is to have the oldest buffers, which are
 * gathered before the numbers are taken, for that can take long. False: that was enough for this
 * slice. */
bool moment_gather_oldest(struct render *render);

/* Called first in each slice of a text. NULL: that was enough for this slice. The moment belongs to
 * the cursor. */
struct moment *moment_get(struct render *render);

/* The slice in which the numbers were taken is over. */
void moment_settle(struct render *render, struct moment *moment);

/* The text is complete if `is_complete`; then the moment goes. Returns it. */
bool moment_end(struct render *render, bool is_complete);

/* By name as it is written in a label, since names that cannot be told apart there are one. */
void moment_make_groups(struct moment *moment);

#endif
