/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another process's ledger, read as the work of an enemy: everything is checked before it is
 * mapped, every word is copied once, and the copy is checked before it is used. Its owner can make
 * its own numbers wrong and nothing else.
 */
#ifndef LEDGER_VIEW_H
#define LEDGER_VIEW_H

#include "ledger.h"
#include "model.h"
#include <glib.h>

struct ledger_view {
	/* What every read needs comes first, in one cache line. */
	const struct ledger_header *header;
	uint32_t mapped_shards;
	uint32_t seen_generation; /* of the device table, as last bound; 0: never */
	size_t mapped_bytes;
	int fd;          /* owned */
	uint32_t *armed; /* mapped for writing when it was first needed; NULL: not yet */
	dev_t file_device;
	ino_t inode;
	uint64_t capacity; /* of records, as checked */
	char (*tags)[48];  /* printable copies, numbered as in the ledger */
	uint32_t tags_read;
};

/* Checks the descriptor and maps the header. On success the view owns it, else the caller still
 * does. Returns 0, or a negative errno with *why set to a reason for the log: -EPROTONOSUPPORT for
 * a ledger of another major version. */
int ledger_view_open(struct ledger_view *view, int fd, uid_t owner, const char **why);
void ledger_view_close(struct ledger_view *view);

/* Closes all but the descriptor, which goes back to the caller. */
void ledger_view_abandon(struct ledger_view *view);

/* The owner's pid, as the owner has it. */
pid_t ledger_view_pid(const struct ledger_view *view);

/* The descriptor number of the owner's doorbell, -1 for none. */
int ledger_view_eventfd(const struct ledger_view *view);

/* Asks the owner to ring at its next change, or takes that back. Whoever reads the ledger after
 * this (and after ledger_view_fence_owners(), if it is fenceless) sees a change, or will be rung:
 * see docs/ledger.md. False if it cannot be asked. */
bool ledger_view_arm(struct ledger_view *view, bool on);
bool ledger_view_is_fenceless(const struct ledger_view *view);

/* Makes the fence of all fenceless owners. False: the kernel does not let us. */
bool ledger_view_fence_owners(void);

/* See ledger_socket_hash(). */
uint64_t ledger_view_socket_hash(const struct ledger_view *view);

uint64_t ledger_view_devices(const struct ledger_view *view);
uint32_t ledger_view_generation(const struct ledger_view *view);

/* What the owner says of a device; text that is not plain is left out. False while it is being
 * written: try again later. */
bool ledger_view_identity(const struct ledger_view *view, uint32_t index,
			  struct identity *identity);

/* Adds the sums of all shards for the device indices in `slots`. */
void ledger_view_amounts(struct ledger_view *view, uint64_t slots, unsigned int kinds,
			 struct amount amounts[KIND_COUNT]);

/* The last failed request of the device indices in `slots`; all zeros if there is none, or it is
 * being written. */
void ledger_view_failure(struct ledger_view *view, uint64_t slots, enum kind kind,
			 struct failure *failure);

/* Begin to fetch what a read will need. `view` is the first member of its owner, so that a pointer
 * to that will do, and nothing else is touched. */
static inline void ledger_view_fetch(const struct ledger_view *view)
{
	__builtin_prefetch(&view->header->shards_used);
}

static inline void ledger_view_fetch_cells(const struct ledger_view *view, uint64_t slots,
					   unsigned int kinds)
{
	const struct ledger_shard *first =
		(const void *)((const char *)view->header + LEDGER_OFFSET_COUNTERS);

	if (slots)
		__builtin_prefetch(&first->cells[__builtin_ctzll(slots)][__builtin_ctz(kinds)]);
}

/* Row LEDGER_ALL_DEVICES, or a device index. */
uint64_t ledger_view_peak(const struct ledger_view *view, uint32_t row, enum kind kind);

void ledger_view_errors(const struct ledger_view *view, struct recording_errors *errors);

/* How many records may be live at the most, as far as the ledger says. */
uint64_t ledger_view_records(const struct ledger_view *view);

/* Copies the live records of chunk `chunk` that are not being written just now; returns how many,
 * or -1 behind the last chunk. `records` has room for LEDGER_CHUNK_RECORDS. */
int ledger_view_chunk(const struct ledger_view *view, uint32_t chunk,
		      struct ledger_record *records);

/* A printable name, or NULL for none. Valid as long as the view. */
const char *ledger_view_tag(struct ledger_view *view, uint32_t tag);

#endif
