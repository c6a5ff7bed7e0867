/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_answer.h"
#include "cards.h"
#include <endian.h>
#include <string.h>

/* Where numbers are in a form. Those of the shortest are in all. */
struct layout {
	unsigned int cb, totals, info; /* offsets; 0: the form has no such */
};

static struct layout layout_of(unsigned int form)
{
	if (form >= 128)
		return (struct layout){.cb = 72, .totals = 88, .info = 104};
	if (form >= 112)
		return (struct layout){.totals = 72, .info = 88};
	return (struct layout){0};
}

static void put32(uint8_t *answer, unsigned int at, uint32_t value)
{
	value = htole32(value);
	memcpy(answer + at, &value, sizeof value);
}

static void put64(uint8_t *answer, unsigned int at, uint64_t value)
{
	value = htole64(value);
	memcpy(answer + at, &value, sizeof value);
}

static struct device *device_asked(const struct model *model, int32_t number)
{
	struct device *device = number < 0 ? NULL : model_device_numbered(model, (uint32_t)number);

	return device && device_is_shown(device) ? device : NULL;
}

/* As the asker will count: from 0, passing over those that are not available. */
static uint32_t devices_to_ask_for(const struct model *model)
{
	uint32_t count = 0;

	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node)) {
		const struct device *device = g_tree_node_value(node);

		if (device_is_shown(device) && device->number <= ALLOC_DEVICE_MAX)
			count = device->number + 1;
	}
	return count;
}

static void put_use(uint8_t *answer, const struct layout *layout, struct device *device)
{
	struct amount amounts[KIND_COUNT];

	device_read(device, KINDS_ALL, amounts);
	put64(answer, 40, amounts[TTMEM_DRAM].used_bytes);
	put64(answer, 48, amounts[TTMEM_L1].used_bytes);
	put64(answer, 56, amounts[TTMEM_L1_SMALL].used_bytes);
	put64(answer, 64, amounts[TTMEM_TRACE].used_bytes);
	if (!layout->cb)
		return;
	put64(answer, layout->cb, amounts[TTMEM_CB].used_bytes);
	put64(answer, layout->cb + 8, amounts[TTMEM_KERNEL].used_bytes);
}

static void put_info(uint8_t *answer, const struct layout *layout, const struct device *device)
{
	const struct card *card = card_find(device->identity.board);
	uint64_t dram = device_capacity(device, (enum kind)TTMEM_DRAM);

	put64(answer, layout->totals, dram);
	put64(answer, layout->totals + 8, device_capacity(device, (enum kind)TTMEM_L1));
	put32(answer, layout->info, card_arch_number(device->identity.arch));
	if (card) {
		uint64_t channel = dram / card->dram_channels;

		put32(answer, layout->info + 4, card->dram_channels);
		put32(answer, layout->info + 8, (uint32_t)MIN(channel, UINT32_MAX));
		put32(answer, layout->info + 12, (uint32_t)card->l1_core_bytes);
	}
	put32(answer, layout->info + 16, 1); /* it is available */
}

void alloc_answer(struct model *model, const struct alloc_question *question,
		  uint8_t answer[ALLOC_FORM_MAX])
{
	struct device *device = device_asked(model, question->device);
	struct layout layout = layout_of(question->form);
	bool is_info = question->type == ALLOC_DEVICE_INFO_QUERY;

	memset(answer, 0, ALLOC_FORM_MAX);
	answer[0] = is_info ? ALLOC_DEVICE_INFO_RESPONSE : ALLOC_RESPONSE;
	put32(answer, 4, (uint32_t)question->device);
	if (device && !is_info)
		put_use(answer, &layout, device);
	if (device && is_info && layout.info)
		put_info(answer, &layout, device);
	if (is_info && layout.info)
		put32(answer, layout.info + 20, devices_to_ask_for(model));
}
