/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a region means. */
#include "metal.h"
#include <string.h>

/* Board numbers have 64 bits, of which layout 1 keeps the lower 56. */
#define BOARD_BITS ((1ull << 56) - 1)

#define TOO_MANY "there are too many devices already"

/* Layout 1 names board and place, not the ASIC. That is a device of the driver if the board's
 * serial number is known and only one of the driver's devices can be meant. */
static const struct identity *identity_by_board(const struct metal_file *file)
{
	const struct identity *found = NULL;
	GTree *devices = file->metal->model->devices;

	for (GTreeNode *node = g_tree_node_first(devices); node; node = g_tree_node_next(node)) {
		const struct device *device = g_tree_node_value(node);
		const struct identity *identity = &device->identity;

		if (!*identity->serial ||
		    (g_ascii_strtoull(identity->serial, NULL, 16) & BOARD_BITS) != file->id >> 8)
			continue;
		if (found)
			return NULL;
		found = identity;
	}
	return file->id & 0xff ? NULL : found;
}

bool metal_bind_device(struct metal_file *file)
{
	struct identity identity = {.index = DEVICE_NO_INDEX, .asic_id = file->id};
	const struct identity *known = file->now.version == 1 ? identity_by_board(file) : NULL;

	if (file->device)
		return true;
	if (known) {
		identity.asic_id = known->asic_id;
		memcpy(identity.pci, known->pci, sizeof identity.pci);
	}
	file->device =
		model_device_get(file->metal->model, &file->metal->source, &identity, file->owner);
	if (!file->device)
		g_strlcpy(file->reason, TOO_MANY, sizeof file->reason);
	else if (!strcmp(file->reason, TOO_MANY))
		*file->reason = 0;
	file->metal->report = true;
	return file->device;
}

/* False if it has none. */
static bool processes_mark(const struct metal_file *file)
{
	uint64_t mark = ++file->metal->last_mark;
	bool any = false;

	for (int i = 0; i < METAL_SLOTS; i++)
		if (file->seats[i].owner) {
			file->seats[i].owner->mark = mark;
			any = true;
		}
	return any;
}

static bool has_marked(const struct metal_file *file)
{
	for (int i = 0; i < METAL_SLOTS; i++)
		if (file->seats[i].owner && file->seats[i].owner->mark == file->metal->last_mark)
			return true;
	return false;
}

/* Numbers of chips are a process's own. So a chip behind a gateway is a region's chip only if a
 * process that has both open (those of `file` are marked) numbers them alike. */
static struct device *chip_by_region(const struct metal_file *file, uint32_t id)
{
	for (guint i = 0; i < file->metal->files->len; i++) {
		const struct metal_file *other = file->metal->files->pdata[i];

		if (other != file && other->dir == file->dir && other->device != file->device &&
		    (uint32_t)other->now.logical_id == id && has_marked(other))
			return other->device;
	}
	return NULL;
}

static struct device *chip_of_its_own(const struct metal_file *file, uint32_t id)
{
	const struct identity identity = {
		.index = DEVICE_NO_INDEX,
		.gateway_asic_id =
			file->device->identity.asic_id ? file->device->identity.asic_id : file->id,
		.gateway_chip = id,
		.is_remote = true,
	};

	return model_device_get(file->metal->model, &file->metal->source, &identity, file->owner);
}

static bool is_used_by(const struct metal_file *file, const struct device *device)
{
	for (unsigned int i = 0; i < METAL_CHIPS; i++)
		if (file->chips[i] == device)
			return true;
	return file->device == device;
}

/* The device is no other region's: nobody knows of it by this source any more. */
static void device_release(struct metal *metal, struct device *device)
{
	for (guint i = 0; i < metal->files->len; i++)
		if (is_used_by(metal->files->pdata[i], device))
			return;
	model_device_forget(metal->model, &metal->source, device);
	for (guint i = 0; i < metal->files->len; i++) {
		struct metal_file *file = metal->files->pdata[i];

		file->is_stale |= !file->device; /* there may be room for it now */
	}
}

static void chip_set(struct metal_file *file, unsigned int place, struct device *device)
{
	struct device *before = file->chips[place];

	if (before == device)
		return;
	file->chips[place] = device;
	if (before)
		device_release(file->metal, before);
}

static bool is_remote(const struct metal_file *file, unsigned int place)
{
	return place < file->now.chip_count && file->now.chips[place].is_remote;
}

/* Once nobody is left to tell, what was known stays. */
void metal_bind_chips(struct metal_file *file)
{
	bool any = processes_mark(file);

	for (unsigned int i = 0; i < METAL_CHIPS; i++) {
		uint32_t id = file->now.chips[i].id;
		struct device *device = NULL;

		if (is_remote(file, i))
			device = any ? chip_by_region(file, id) : file->chips[i];
		if (is_remote(file, i) && !device)
			device = chip_of_its_own(file, id);
		chip_set(file, i, device);
	}
}

/* Whether a chip is another device by what is known of the other regions now. */
bool metal_chips_moved(const struct metal_file *file)
{
	bool moved = false;

	if (!file->now.chip_count || !processes_mark(file))
		return false;
	for (unsigned int i = 0; !moved && i < METAL_CHIPS; i++) {
		const struct device *is = file->chips[i], *should;

		if (!is || !is_remote(file, i))
			continue;
		should = chip_by_region(file, file->now.chips[i].id);
		moved = should ? should != is : !is->identity.gateway_asic_id;
	}
	return moved;
}

/* The file goes: its devices are perhaps not known to this source any more. */
void metal_unbind(struct metal_file *file)
{
	struct device *device = file->device;

	file->device = NULL;
	for (unsigned int i = 0; i < METAL_CHIPS; i++)
		chip_set(file, i, NULL);
	if (device)
		device_release(file->metal, device);
}
