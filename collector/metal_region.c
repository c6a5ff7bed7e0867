/* SPDX-License-Identifier: Apache-2.0 */
#include "metal_region.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READY       0x52454459u
#define READY_AT    8536
#define WRAPPED     (UINT64_C(1) << 63)
#define CHIP_UNUSED UINT32_MAX

/* Where things are in a layout. */
struct layout {
	size_t size, chips, chip_size, slots, slot_size;
	unsigned int sums; /* how many, in the order below */
	uint32_t unused_chip;
};

static const struct layout layouts[] = {
	[1] = {METAL_SIZE_1, 96, 56, 992, 128, 6, 0},
	[2] = {METAL_SIZE, 88, 48, 856, 120, 5, 0},
	[3] = {METAL_SIZE, 88, 48, 856, 120, 5, CHIP_UNUSED},
	[4] = {METAL_SIZE, 88, 48, 856, 120, 5, CHIP_UNUSED},
};

static const int order[] = {TTMEM_DRAM,  TTMEM_L1, TTMEM_L1_SMALL,
			    TTMEM_TRACE, TTMEM_CB, TTMEM_KERNEL};

static uint32_t u32_at(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static uint64_t u64_at(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof value);
	return value;
}

static void sums_take(struct metal_sums *sums, const struct layout *layout, const uint8_t *at)
{
	memset(sums, 0, sizeof *sums);
	for (unsigned int i = 0; i < layout->sums; i++) {
		uint64_t value = u64_at(at + 8 * i);

		if (value < WRAPPED)
			sums->bytes[order[i]] = value;
		else
			sums->wrapped |= 1u << order[i];
	}
}

/* Before layout 3 the first chip has the number of an unused one. */
static bool is_first(const struct metal_sums *sums, const struct layout *layout)
{
	bool has_something = sums->wrapped;

	for (int kind = 0; kind < KIND_COUNT; kind++)
		has_something |= sums->bytes[kind] > 0;
	return has_something && !layout->unused_chip;
}

static void chips_take(struct metal_region *region, const struct layout *layout,
		       const uint8_t *bytes)
{
	region->chip_count = 0;
	for (unsigned int i = 0; i < METAL_CHIPS; i++) {
		const uint8_t *at = bytes + layout->chips + i * layout->chip_size;
		struct metal_chip *chip = &region->chips[region->chip_count];

		sums_take(&chip->sums, layout, at + 8);
		if (u32_at(at) == layout->unused_chip && !is_first(&chip->sums, layout))
			continue;
		chip->id = u32_at(at);
		chip->is_remote = u32_at(at + 4);
		region->chip_count++;
	}
}

static void slots_take(struct metal_region *region, const struct layout *layout,
		       const uint8_t *bytes)
{
	region->slot_count = 0;
	for (unsigned int i = 0; i < METAL_SLOTS; i++) {
		const uint8_t *at = bytes + layout->slots + i * layout->slot_size;
		struct metal_slot *slot = &region->slots[region->slot_count];
		int32_t pid = (int32_t)u32_at(at);

		if (pid <= 0)
			continue;
		slot->pid = pid;
		slot->place = i;
		sums_take(&slot->sums, layout, at + 8);
		slot->updated_ns = u64_at(at + 8 + 8 * layout->sums);
		memcpy(slot->name, at + 16 + 8 * layout->sums, METAL_NAME_BYTES);
		slot->name[METAL_NAME_BYTES - 1] = 0;
		region->slot_count++;
	}
}

bool metal_region_parse(struct metal_region *region, const uint8_t *bytes, size_t size,
			char *reason, size_t reason_size)
{
	const struct layout *layout;
	uint32_t version = size >= 4 ? u32_at(bytes) : 0;

	if (size >= 4 && (!version || version >= sizeof layouts / sizeof *layouts)) {
		snprintf(reason, reason_size,
			 version ? "unknown layout version %" PRIu32 : "not initialised yet",
			 version);
		return false;
	}
	layout = &layouts[version ? version : 4];
	if (size < layout->size) {
		snprintf(reason, reason_size, "only %zu of %zu bytes", size, layout->size);
		return false;
	}
	if (version == 4 && u32_at(bytes + READY_AT) != READY) {
		snprintf(reason, reason_size, "being initialised");
		return false;
	}
	region->version = version;
	region->updated_ns = u64_at(bytes + 8);
	region->board_serial = version == 1 ? u64_at(bytes + 24) : 0;
	region->asic_id = u64_at(bytes + 32);
	region->logical_id = (int32_t)u32_at(bytes + 40);
	sums_take(&region->total, layout, bytes + 48);
	chips_take(region, layout, bytes);
	slots_take(region, layout, bytes);
	return true;
}

bool metal_region_name(const char *name, uint64_t *id)
{
	char again[64];

	if (sscanf(name, "tt_device_%" SCNu64 "_memory", id) != 1)
		return false;
	snprintf(again, sizeof again, "tt_device_%" PRIu64 "_memory", *id);
	return !strcmp(name, again);
}
