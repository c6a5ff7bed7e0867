/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one process holds by the events that it sent to the allocation server: its live buffers, and
 * the sums over these for each device and kind. Every event is seen, so sums and peaks are exact.
 * Knows nothing of sockets.
 *
 * A buffer is named by its device, its number and the class of the events that report it: ALLOC and
 * FREE, CB_ALLOC and CB_FREE, KERNEL_LOAD and KERNEL_UNLOAD number theirs each for themselves. The
 * kind of what is freed is that which was allocated, whatever the FREE says.
 *
 * The same buffer again is one more reference to it, and no more bytes; the newest size and kind
 * count. A FREE of a buffer that its device does not have is taken for the lowest device that has
 * it, because there are clients that always say device 0.
 *
 * An allocation that cannot be listed (see ALLOC_TABLE_MAX and struct alloc_quota) is not counted
 * in the sums either, but in errors.untracked: a FREE says no size, so the sums could never be
 * right again. Its FREE then is one of the unknown.
 */
#ifndef ALLOC_RECORDS_H
#define ALLOC_RECORDS_H

#include "alloc_stream.h"
#include "alloc_table.h"
#include "source.h"

#define ALLOC_DEVICES  (ALLOC_DEVICE_MAX + 1)
#define ALLOC_SIZE_MAX INT64_MAX /* bytes, of a buffer and of a sum */

enum alloc_class { ALLOC_OF_BUFFER, ALLOC_OF_CB, ALLOC_OF_KERNEL, ALLOC_CLASSES };

/* Live buffers of several processes that must not be too many together. */
struct alloc_quota {
	uint64_t used, limit;
};

struct alloc_sums {
	struct amount amounts[KIND_COUNT];
	uint64_t peak_bytes[KIND_COUNT];
};

struct alloc_records {
	struct alloc_table table;
	struct alloc_quota *quota;
	struct alloc_sums *devices[ALLOC_DEVICES]; /* NULL: nothing was allocated there yet */
	uint64_t known;                            /* a bit for each that is not NULL */
	uint32_t live[ALLOC_CLASSES][ALLOC_DEVICES];
	uint64_t used_bytes[KIND_COUNT]; /* over all devices */
	uint64_t peak_bytes[KIND_COUNT]; /* likewise */
	struct recording_errors errors;
};

/* `quota` is the caller's and stays. */
void alloc_records_init(struct alloc_records *records, struct alloc_quota *quota);
void alloc_records_fini(struct alloc_records *records);

/* ALLOC, FREE, CB_ALLOC, CB_FREE, KERNEL_LOAD or KERNEL_UNLOAD, which came at `time_ns`. */
void alloc_records_event(struct alloc_records *records, const struct alloc_message *message,
			 uint64_t time_ns);

/* Up to `room` next buffers of a walk; done is set when there are no more. `device` in a row is
 * what the process calls it. */
size_t alloc_records_rows(const struct alloc_records *records, struct buffer_cursor *cursor,
			  struct buffer *rows, size_t room);

#endif
