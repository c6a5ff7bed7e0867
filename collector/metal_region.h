/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of TT-Metal's own shared memory, /dev/shm/tt_device_<id>_memory, made into numbers.
 * Pure: bytes in, numbers out; whatever the bytes are, nothing outside them is touched.
 *
 * Layouts 1 to 4, as TT-Metal's writers have them (all little-endian). From layout 2 on:
 *
 *   0 u32 version; 8 u64 last update, ns; 24 u64 board serial; 32 u64 ASIC id; 40 i32 logical id;
 *   48 5 x u64 totals: dram, l1, l1_small, trace, cb
 *   88 + 48 i   chip:    u32 id, u32 is remote, 5 x u64
 *   856 + 120 i process: i32 pid (0 free, -1 being released), pad, 5 x u64, u64 last update, name
 *   8536 u32 in layout 4: 0x52454459 when it may be read
 *
 * Layout 1 has a sixth number, kernel, everywhere: chips at 96 + 56 i, processes at 992 + 128 i.
 */
#ifndef METAL_REGION_H
#define METAL_REGION_H

#include "kind.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METAL_CHIPS      16
#define METAL_SLOTS      64
#define METAL_SIZE       8576 /* from layout 2 on */
#define METAL_SIZE_1     9280 /* layout 1 */
#define METAL_BYTES_MAX  METAL_SIZE_1
#define METAL_NAME_BYTES 64

/* Sums by kind. A sum of 2^63 or more has been counted down below zero by its writers, which take
 * no lock: its bit is set in `wrapped`, and it is 0 here. */
struct metal_sums {
	uint64_t bytes[KIND_COUNT];
	unsigned int wrapped;
};

struct metal_chip {
	uint32_t id; /* TT-Metal's logical number */
	bool is_remote;
	struct metal_sums sums;
};

struct metal_slot {
	int32_t pid;         /* above 0; as getpid() had it in the process's own namespace */
	unsigned int place;  /* 0 to 63: which slot of the file it is */
	uint64_t updated_ns; /* as written: since the epoch, or since boot by older writers */
	char name[METAL_NAME_BYTES]; /* any bytes; the last is zero */
	struct metal_sums sums;
};

struct metal_region {
	uint32_t version;
	uint64_t updated_ns;
	uint64_t board_serial; /* layout 1 only, else 0 */
	uint64_t asic_id;      /* in layout 1: the place of the ASIC on its board */
	int32_t logical_id;    /* of the process that wrote it last; never a key */
	struct metal_sums total;
	unsigned int chip_count; /* those in use */
	struct metal_chip chips[METAL_CHIPS];
	unsigned int slot_count; /* those in use */
	struct metal_slot slots[METAL_SLOTS];
};

/* Returns false, and says why in `reason`, when these bytes are no region that can be read (now).
 */
bool metal_region_parse(struct metal_region *region, const uint8_t *bytes, size_t size,
			char *reason, size_t reason_size);

/* The <id> of "tt_device_<id>_memory"; false for any other name. */
bool metal_region_name(const char *name, uint64_t *id);

#endif
