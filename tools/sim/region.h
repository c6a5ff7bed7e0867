/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in which TT-Metal processes keep a chip's memory use together, in one of its layouts.
 * Everything is found by its offset. A field is changed atomically, the file as a whole is not.
 */
#ifndef TTMEM_SIM_REGION_H
#define TTMEM_SIM_REGION_H

#include "ttmem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REGION_CHIPS 16
#define REGION_SLOTS 64

struct layout {
	uint32_t size;
	unsigned columns; /* dram, l1, l1_small, trace, cb, and in layout 1 kernel */
	uint32_t totals;  /* offsets, and the distance from one chip or slot to the next */
	uint32_t chips, chip_stride;
	uint32_t slots, slot_stride;
	uint32_t no_chip; /* id of an unused one */
};

enum {
	REGION_VERSION = 0,
	REGION_ACTIVE = 4,
	REGION_UPDATED = 8,
	REGION_REFERENCES = 16,
	REGION_BOARD = 24,
	REGION_ASIC = 32,
	REGION_LOGICAL_ID = 40,
	REGION_INIT_STATE = 8536, /* layout 4 */
};

#define REGION_MAKING 1
#define REGION_READY  0x52454459

struct region {
	int fd;
	unsigned char *base; /* the shared pages, or for a shadow a copy of our own */
	bool shadow;         /* every change is written to the file: it may be short */
	pthread_mutex_t lock;
	const struct layout *layout;
	int slot; /* of this process, or -1 */
};

/* What a new file says of its device. */
struct region_identity {
	unsigned logical_id;
	uint64_t board, asic; /* in layout 1 the latter is the place on the board */
};

/* Makes options.shm/tt_device_<id>_memory, or joins the processes that have it. */
void region_open(struct region *r, const struct region_identity *identity);
void region_close(struct region *r);

/* Offsets of fields. A column is -1 for what the layout has no field for. */
int region_column(const struct region *r, enum ttmem_kind kind);
size_t region_total(const struct region *r, unsigned column);
size_t region_chip(const struct region *r, unsigned chip);
size_t region_chip_bytes(const struct region *r, unsigned chip, unsigned column);
size_t region_slot(const struct region *r, int slot);
size_t region_slot_bytes(const struct region *r, int slot, unsigned column);

void region_add64(struct region *r, size_t offset, uint64_t delta);
void region_add32(struct region *r, size_t offset, uint32_t delta);
void region_store64(struct region *r, size_t offset, uint64_t value);
void region_store32(struct region *r, size_t offset, uint32_t value);

/* For a shadow: cuts the file off, and writes all of it again. */
void region_shorten(struct region *r, size_t length);
void region_restore(struct region *r);

/* In layouts 1 and 2 old releases took the time since boot. */
uint64_t region_time(void);
void region_stamp(struct region *r, int slot);

/* The first free slot, then with pid and name, or -1. */
int region_claim(struct region *r, pid_t pid, const char *name);
pid_t region_pid(const struct region *r, int slot);
void region_release(struct region *r, int slot);
void region_add_chip(struct region *r, unsigned chip);

#endif
