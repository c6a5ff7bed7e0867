/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory a device has: by a process's word, or by its card's name. */
#include "cards.h"
#include "model.h"

/* Neither a client nor the table knows how much trace or circular buffers may take. */
static uint64_t capacity_said(const struct device *device, enum kind kind)
{
	return kind == (enum kind)TTMEM_DRAM ? device->identity.dram_total_bytes
	       : kind == (enum kind)TTMEM_L1 ? device->identity.l1_total_bytes
					     : 0;
}

static uint64_t capacity_listed(const struct device *device, enum kind kind)
{
	const struct card *card = card_find(device->identity.board);

	if (!card)
		return 0;
	return kind == (enum kind)TTMEM_DRAM ? card_dram_bytes(card)
	       : kind == (enum kind)TTMEM_L1 ? card_l1_bytes(card)
					     : 0;
}

uint64_t device_capacity(const struct device *device, enum kind kind)
{
	uint64_t said = capacity_said(device, kind);

	return said ? said : capacity_listed(device, kind);
}

bool device_capacity_is_from_table(const struct device *device)
{
	enum kind dram = (enum kind)TTMEM_DRAM, l1 = (enum kind)TTMEM_L1;

	return (!capacity_said(device, dram) && capacity_listed(device, dram)) ||
	       (!capacity_said(device, l1) && capacity_listed(device, l1));
}
