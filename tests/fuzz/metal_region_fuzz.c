/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What any process can leave in a file of TT-Metal's. The same bytes must give the same numbers,
 * within their bounds, whatever was there before and whatever follows behind the layout's end.
 */
#include "metal_region.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool claim)
{
	if (!claim)
		abort();
}

static void check_sums(const struct metal_sums *sums, bool has_kernel)
{
	unsigned int known = 1u << TTMEM_DRAM | 1u << TTMEM_L1 | 1u << TTMEM_L1_SMALL |
			     1u << TTMEM_TRACE | 1u << TTMEM_CB;

	known |= has_kernel ? 1u << TTMEM_KERNEL : 0;
	require(!(sums->wrapped & ~known));
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		require(sums->bytes[kind] <= INT64_MAX);
		if (sums->wrapped >> kind & 1 || !(known >> kind & 1))
			require(!sums->bytes[kind]);
	}
}

static void check(const struct metal_region *region)
{
	bool first = region->version == 1;

	require(region->version >= 1 && region->version <= 4);
	require(first || !region->board_serial);
	require(region->chip_count <= METAL_CHIPS && region->slot_count <= METAL_SLOTS);
	check_sums(&region->total, first);
	for (unsigned int i = 0; i < region->chip_count; i++)
		check_sums(&region->chips[i].sums, first);
	for (unsigned int i = 0; i < region->slot_count; i++) {
		const struct metal_slot *slot = &region->slots[i];

		check_sums(&slot->sums, first);
		require(slot->pid > 0 && slot->place < METAL_SLOTS);
		require(!i || slot->place > region->slots[i - 1].place);
		require(memchr(slot->name, 0, sizeof slot->name));
	}
}

static bool is_same_chip(const struct metal_chip *a, const struct metal_chip *b)
{
	return a->id == b->id && a->is_remote == b->is_remote &&
	       !memcmp(&a->sums, &b->sums, sizeof a->sums);
}

static bool is_same_slot(const struct metal_slot *a, const struct metal_slot *b)
{
	return a->pid == b->pid && a->place == b->place && a->updated_ns == b->updated_ns &&
	       !memcmp(a->name, b->name, sizeof a->name) &&
	       !memcmp(&a->sums, &b->sums, sizeof a->sums);
}

static bool is_same(const struct metal_region *a, const struct metal_region *b)
{
	bool same = a->version == b->version && a->updated_ns == b->updated_ns &&
		    a->board_serial == b->board_serial && a->asic_id == b->asic_id &&
		    a->logical_id == b->logical_id && a->chip_count == b->chip_count &&
		    a->slot_count == b->slot_count &&
		    !memcmp(&a->total, &b->total, sizeof a->total);

	for (unsigned int i = 0; same && i < a->chip_count; i++)
		same = is_same_chip(&a->chips[i], &b->chips[i]);
	for (unsigned int i = 0; same && i < a->slot_count; i++)
		same = is_same_slot(&a->slots[i], &b->slots[i]);
	return same;
}

/* Over bytes that are all `before`, which stay when it is refused. */
static bool parse(struct metal_region *region, int before, const uint8_t *bytes, size_t size)
{
	char reason[96];

	memset(region, before, sizeof *region);
	memset(reason, 'x', sizeof reason);
	if (metal_region_parse(region, bytes, size, reason, sizeof reason)) {
		check(region);
		return true;
	}
	require(*reason && memchr(reason, 0, sizeof reason));
	for (size_t i = 0; i < sizeof *region; i++)
		require(((const uint8_t *)region)[i] == (uint8_t)before);
	return false;
}

static void try_name(const uint8_t *bytes, size_t size)
{
	char name[96], again[96];
	uint64_t id = 0;

	size = size < sizeof name ? size : sizeof name - 1;
	if (size)
		memcpy(name, bytes, size);
	name[size] = 0;
	if (!metal_region_name(name, &id))
		return;
	snprintf(again, sizeof again, "tt_device_%llu_memory", (unsigned long long)id);
	require(!strcmp(name, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct metal_region region, other;
	bool fine = parse(&region, 0, bytes, size);

	require(parse(&other, 0xa5, bytes, size) == fine);
	if (fine) {
		size_t end = region.version == 1 ? METAL_SIZE_1 : METAL_SIZE;

		require(size >= end);
		require(is_same(&region, &other));
		require(parse(&other, 0, bytes, end) && is_same(&region, &other));
		require(!parse(&other, 0, bytes, end - 1));
	}
	try_name(bytes, size);
	return 0;
}
