/* SPDX-License-Identifier: Apache-2.0 */
/* An unmodified TT-Metal process: it keeps its sums in files that all of them share. */
#include "metal_faults.h"
#include "options.h"
#include "region.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct region regions[TTMEM_MAX_DEVICES];
static unsigned n_regions, n_declared;

/* Where a device's bytes are counted. A remote chip is in the region of its gateway. */
static struct place {
	struct region *region;
	unsigned chip;
	uint64_t held[TTMEM_KINDS]; /* what the region has of this process; atomic */
} places[TTMEM_MAX_DEVICES];

static void metal_start(void)
{
	if (options.fault == FAULT_CROWD)
		crowd_start();
}

static struct region *attach(unsigned device, unsigned logical_id)
{
	const bool oldest = options.layout == 1;
	const struct region_identity identity = {
		.logical_id = logical_id,
		.board = oldest ? card_serial(options.board, device) : 0,
		.asic = oldest ? 0 : card_asic_id(device),
	};
	struct region *r = &regions[n_regions++];
	char name[16] = "";

	region_open(r, &identity);
	if (options.fault == FAULT_TORN)
		return r;
	if (options.fault == FAULT_CROWD)
		crowd_fill(r);
	prctl(PR_GET_NAME, name);
	region_add32(r, REGION_REFERENCES, 1);
	r->slot = region_claim(r, getpid(), name);
	return r;
}

static void metal_declare(unsigned device)
{
	const unsigned index = n_declared++;
	struct place *place = &places[device];

	if (options.gateway && index)
		*place = (struct place){.region = &regions[0], .chip = index};
	else
		place->region = attach(device, index);
	if (options.fault != FAULT_TORN)
		region_add_chip(place->region, place->chip);
	if (options.fault == FAULT_TRUNCATE && n_declared == options.n_devices)
		shortener_start(regions, n_regions);
}

/* Whether the region has a field for it, and can be written to. */
static bool find_column(const struct place *place, enum ttmem_kind kind, unsigned *column)
{
	int found = region_column(place->region, kind);

	*column = (unsigned)found;
	return found >= 0 && options.fault != FAULT_TORN;
}

/* The bytes are taken from the sums by adding their negative. */
static void move_sums(struct place *place, unsigned column, uint64_t delta)
{
	struct region *r = place->region;

	region_add64(r, region_total(r, column), delta);
	region_add64(r, region_chip_bytes(r, place->chip, column), delta);
}

static void move_bytes(unsigned device, enum ttmem_kind kind, uint64_t delta)
{
	struct place *place = &places[device];
	struct region *r = place->region;
	unsigned column;

	if (!find_column(place, kind, &column))
		return;
	__atomic_fetch_add(&place->held[kind], delta, __ATOMIC_RELAXED);
	move_sums(place, column, delta);
	if (r->slot >= 0)
		region_add64(r, region_slot_bytes(r, r->slot, column), delta);
	region_stamp(r, r->slot);
}

static void metal_alloc(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size,
			const char *tag)
{
	(void)address;
	(void)tag;
	move_bytes(device, kind, size);
}

static void metal_free(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size)
{
	struct place *place = &places[device];
	unsigned column;

	(void)address;
	move_bytes(device, kind, -size);
	if (options.fault == FAULT_WRAP && find_column(place, kind, &column))
		region_add64(place->region, region_total(place->region, column), -size);
}

static void metal_failed(unsigned device, enum ttmem_kind kind, uint64_t size, uint64_t largest)
{
	(void)device;
	(void)kind;
	(void)size;
	(void)largest;
}

static uint64_t metal_settle(void)
{
	uint64_t live = 0;

	for (unsigned i = 0; i < options.n_devices; i++)
		for (int kind = 0; kind < TTMEM_KINDS; kind++)
			live += __atomic_load_n(&places[options.devices[i]].held[kind],
						__ATOMIC_RELAXED);
	return live;
}

/* What was never freed leaves the sums with the process. */
static void take_back(struct place *place)
{
	unsigned column;

	for (int kind = 0; kind < TTMEM_KINDS; kind++)
		if (find_column(place, (enum ttmem_kind)kind, &column))
			move_sums(place, column, -place->held[kind]);
}

static void detach(struct region *r)
{
	if (options.fault == FAULT_CROWD)
		crowd_leave(r);
	if (r->slot >= 0)
		region_release(r, r->slot);
	if (options.fault != FAULT_TORN)
		region_add32(r, REGION_REFERENCES, UINT32_MAX);
	region_close(r);
}

static void metal_end(void)
{
	if (options.fault == FAULT_GHOST) {
		fflush(NULL);
		_exit(EXIT_SUCCESS);
	}
	if (options.fault == FAULT_TRUNCATE)
		shortener_end();
	for (unsigned i = 0; i < options.n_devices; i++)
		take_back(&places[options.devices[i]]);
	for (unsigned i = 0; i < n_regions; i++)
		detach(&regions[i]);
	if (options.fault == FAULT_CROWD)
		crowd_end();
}

const struct reporter report_metal = {
	.start = metal_start,
	.declare = metal_declare,
	.alloc = metal_alloc,
	.free = metal_free,
	.failed = metal_failed,
	.settle = metal_settle,
	.end = metal_end,
};
