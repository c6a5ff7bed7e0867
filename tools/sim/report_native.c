/* SPDX-License-Identifier: Apache-2.0 */
/* An ordinary client of libttmem. */
#include "cards.h"
#include "options.h"
#include "report.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void native_start(void)
{
	int error = ttmem_start();

	if (error)
		errx(EXIT_FAILURE, "tracking cannot be started: %s", strerror(-error));
}

static void native_declare(unsigned device)
{
	const struct board *board = options.board;
	char pci[16];
	const struct ttmem_device info = {
		.size = sizeof(info),
		.asic_id = card_asic_id(device),
		.dram_total = board->dram_banks * board->dram_bank,
		.l1_total = board->cores * board->l1_bank,
		.pci = pci,
		.arch = board->arch,
		.board = board->name,
	};

	snprintf(pci, sizeof(pci), "0000:%02x:00.0", device + 1);
	int error = ttmem_declare_device(device, &info);
	if (error)
		errx(EXIT_FAILURE, "device %u: %s", device, strerror(-error));
}

static void native_alloc(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size,
			 const char *tag)
{
	ttmem_alloc(device, kind, address, size, tag);
}

static void native_free(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size)
{
	(void)size;
	ttmem_free(device, kind, address);
}

static void native_failed(unsigned device, enum ttmem_kind kind, uint64_t size, uint64_t largest)
{
	ttmem_alloc_failed(device, kind, size, largest);
}

/* The library must agree that everything is freed: a simulator is also a test of it. */
static uint64_t native_settle(void)
{
	struct ttmem_errors e = {0};
	struct ttmem_totals totals;
	uint64_t live = 0;

	for (int kind = 0; kind < TTMEM_KINDS; kind++) {
		ttmem_get_totals(TTMEM_ALL_DEVICES, (enum ttmem_kind)kind, &totals);
		live += totals.live_bytes;
	}
	ttmem_get_errors(&e);
	if (e.unknown_frees || e.size_mismatches || e.bad_arguments || e.reentered || e.untracked)
		errx(EXIT_FAILURE, "libttmem could not record every call");
	return live;
}

/* The ledger goes with the process. */
static void native_end(void)
{
}

const struct reporter report_native = {
	.start = native_start,
	.declare = native_declare,
	.alloc = native_alloc,
	.free = native_free,
	.failed = native_failed,
	.settle = native_settle,
	.end = native_end,
};
