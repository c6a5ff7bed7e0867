/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a card by its name. From Tenstorrent's published specifications; core counts
 * differ between firmware bundles, so a capacity from here is marked as such. */
#ifndef CARDS_H
#define CARDS_H

#include <stdint.h>

struct card {
	const char *name; /* "n300", as the driver's tt_card_type and as clients say it */
	const char *arch; /* "wormhole_b0", "blackhole" */
	unsigned int asics;
	unsigned int dram_channels; /* of each ASIC */
	uint64_t dram_channel_bytes;
	uint64_t l1_core_bytes;
	unsigned int cores; /* Tensix cores of each ASIC */
};

/* NULL for a name that is not known. */
const struct card *card_find(const char *name);

uint64_t card_dram_bytes(const struct card *card); /* of one ASIC */
uint64_t card_l1_bytes(const struct card *card);   /* likewise */

/* The number that the older allocation protocol has for an architecture: 0 invalid, 1 Grayskull, 2
 * Wormhole_B0, 3 Blackhole, 4 Quasar. By the name in `arch`, any case. */
uint32_t card_arch_number(const char *arch);

#endif
