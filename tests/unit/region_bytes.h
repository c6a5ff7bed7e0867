/* SPDX-License-Identifier: Apache-2.0 */
/* A file of TT-Metal's as its writers make it, in any layout. Offsets are written down here again,
 * and not taken from what is tested. */
#ifndef TESTS_UNIT_REGION_BYTES_H
#define TESTS_UNIT_REGION_BYTES_H

#include <stdint.h>
#include <string.h>

struct region_bytes {
	uint32_t version;
	size_t size;
	uint8_t at[9280];
};

static inline void put32(struct region_bytes *region, size_t offset, uint32_t value)
{
	memcpy(region->at + offset, &value, sizeof value);
}

static inline void put64(struct region_bytes *region, size_t offset, uint64_t value)
{
	memcpy(region->at + offset, &value, sizeof value);
}

/* Numbers: dram, l1, l1_small, trace, cb, and in layout 1 kernel. */
static inline unsigned int number_count(const struct region_bytes *region)
{
	return region->version == 1 ? 6 : 5;
}

static inline size_t chip_at(const struct region_bytes *region, unsigned int chip)
{
	return region->version == 1 ? 96 + 56 * chip : 88 + 48 * chip;
}

static inline size_t slot_at(const struct region_bytes *region, unsigned int slot)
{
	return region->version == 1 ? 992 + 128 * slot : 856 + 120 * slot;
}

static inline void put_total(struct region_bytes *region, unsigned int number, uint64_t bytes)
{
	put64(region, 48 + 8 * number, bytes);
}

static inline void put_chip(struct region_bytes *region, unsigned int chip, uint32_t id,
			    uint32_t is_remote)
{
	put32(region, chip_at(region, chip), id);
	put32(region, chip_at(region, chip) + 4, is_remote);
}

static inline void put_chip_bytes(struct region_bytes *region, unsigned int chip,
				  unsigned int number, uint64_t bytes)
{
	put64(region, chip_at(region, chip) + 8 + 8 * number, bytes);
}

static inline void put_slot(struct region_bytes *region, unsigned int slot, int32_t pid,
			    uint64_t updated_ns, const char *name)
{
	size_t at = slot_at(region, slot), times = at + 8 + 8 * number_count(region);

	put32(region, at, (uint32_t)pid);
	put64(region, times, updated_ns);
	memset(region->at + times + 8, 0, 64);
	memcpy(region->at + times + 8, name, strlen(name));
}

static inline void put_slot_bytes(struct region_bytes *region, unsigned int slot,
				  unsigned int number, uint64_t bytes)
{
	put64(region, slot_at(region, slot) + 8 + 8 * number, bytes);
}

/* One that is ready, with nobody in it. */
static inline void region_bytes_init(struct region_bytes *region, uint32_t version)
{
	memset(region, 0, sizeof *region);
	region->version = version;
	region->size = version == 1 ? 9280 : 8576;
	put32(region, 0, version);
	for (unsigned int chip = 0; version > 2 && chip < 16; chip++)
		put_chip(region, chip, UINT32_MAX, 0);
	if (version == 4)
		put32(region, 8536, 0x52454459);
}

#endif
