/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cards that are not there: what boards have, and how a device is named. Every program that
 * pretends to see device N must derive the same identity for it.
 */
#ifndef TTMEM_SIM_CARDS_H
#define TTMEM_SIM_CARDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Core counts are those of the current firmware bundles. The product is in bits 36 to 55 of a
 * board's serial number. */
struct board {
	const char *name, *arch;
	unsigned asics; /* each with memory of its own, as follows */
	unsigned dram_banks;
	uint64_t dram_bank;
	unsigned cores;
	uint64_t l1_bank; /* of each core */
	unsigned pci_device, product, aiclk;
};

#define WORMHOLE(asics, cores, product) \
	"wormhole_b0", asics, 12, 1073741824, cores, 1499136, 0x401e, product, 1000
#define BLACKHOLE(asics, channels, cores, product) \
	"blackhole", asics, channels, 4278190080, cores, 1572864, 0xb140, product, 1350

#define BOARD_NAMES "n150, n300, p100, p100a, p150, p150a, p150b, p150c, p300, p300a, p300b, p300c"

static const struct board boards[] = {
	{"n300", WORMHOLE(2, 64, 0x14)},       {"n150", WORMHOLE(1, 72, 0x18)},
	{"p100", BLACKHOLE(1, 7, 120, 0x36)},  {"p100a", BLACKHOLE(1, 7, 120, 0x43)},
	{"p150", BLACKHOLE(1, 8, 140, 0x40)},  {"p150a", BLACKHOLE(1, 8, 140, 0x40)},
	{"p150b", BLACKHOLE(1, 8, 140, 0x41)}, {"p150c", BLACKHOLE(1, 8, 140, 0x42)},
	{"p300", BLACKHOLE(2, 8, 120, 0x44)},  {"p300a", BLACKHOLE(2, 8, 120, 0x45)},
	{"p300b", BLACKHOLE(2, 8, 120, 0x44)}, {"p300c", BLACKHOLE(2, 8, 120, 0x46)},
};

static inline const struct board *board_find(const char *name)
{
	for (size_t i = 0; i < sizeof(boards) / sizeof(boards[0]); i++)
		if (!strcmp(boards[i].name, name))
			return &boards[i];
	return NULL;
}

/* splitmix64 */
static inline uint64_t scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline uint64_t card_asic_id(unsigned device)
{
	return scramble(device);
}

static inline uint64_t card_serial(const struct board *board, unsigned device)
{
	return 0x0100000511700001 + ((uint64_t)board->product << 36) + device;
}

#endif
