/* SPDX-License-Identifier: Apache-2.0 */
#include "cards.h"
#include <glib.h>

/* Of each DRAM channel and of each core. */
#define WORMHOLE_DRAM  UINT64_C(1073741824)
#define WORMHOLE_L1    UINT64_C(1499136)
#define BLACKHOLE_DRAM UINT64_C(4278190080)
#define BLACKHOLE_L1   UINT64_C(1572864)

static const struct card cards[] = {
	{"n150", "wormhole_b0", 1, 12, WORMHOLE_DRAM, WORMHOLE_L1, 72},
	{"n300", "wormhole_b0", 2, 12, WORMHOLE_DRAM, WORMHOLE_L1, 64},
	{"p100", "blackhole", 1, 7, BLACKHOLE_DRAM, BLACKHOLE_L1, 120},
	{"p100a", "blackhole", 1, 7, BLACKHOLE_DRAM, BLACKHOLE_L1, 120},
	{"p150", "blackhole", 1, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 140},
	{"p150a", "blackhole", 1, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 140},
	{"p150b", "blackhole", 1, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 140},
	{"p150c", "blackhole", 1, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 140},
	{"p300", "blackhole", 2, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 120},
	{"p300a", "blackhole", 2, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 120},
	{"p300b", "blackhole", 2, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 120},
	{"p300c", "blackhole", 2, 8, BLACKHOLE_DRAM, BLACKHOLE_L1, 120},
};

/* By their numbers. */
static const char *const archs[] = {NULL, "grayskull", "wormhole_b0", "blackhole", "quasar"};

const struct card *card_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(cards); i++)
		if (!g_ascii_strcasecmp(name, cards[i].name))
			return &cards[i];
	return NULL;
}

uint64_t card_dram_bytes(const struct card *card)
{
	return card->dram_channels * card->dram_channel_bytes;
}

uint64_t card_l1_bytes(const struct card *card)
{
	return card->cores * card->l1_core_bytes;
}

uint32_t card_arch_number(const char *arch)
{
	for (uint32_t i = 1; i < G_N_ELEMENTS(archs); i++)
		if (!g_ascii_strcasecmp(arch, archs[i]))
			return i;
	return 0;
}
