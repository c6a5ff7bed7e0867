/* SPDX-License-Identifier: Apache-2.0 */
/* From what an inode number stands for to where it is. */
#include "tree.h"
#include <stdio.h>

static int dir_path(const struct spot *spot, char *path, size_t size)
{
	switch (spot->place) {
	case PLACE_BY_ASIC:
		return snprintf(path, size, "by-asic");
	case PLACE_BY_PCI:
		return snprintf(path, size, "by-pci");
	case PLACE_METRICS:
		return snprintf(path, size, "metrics");
	case PLACE_PIDS:
		return snprintf(path, size, "pids");
	case PLACE_DEVICE:
		return snprintf(path, size, "device%u", spot->device->number);
	case PLACE_DEVICE_PIDS:
		return snprintf(path, size, "device%u/pids", spot->device->number);
	case PLACE_PROCESS:
		return snprintf(path, size, "pids/%d", (int)spot->process->pid);
	case PLACE_PROCESS_DEVICE:
		return snprintf(path, size, "pids/%d/device%u", (int)spot->process->pid,
				spot->device->number);
	default:
		return snprintf(path, size, "%s", "");
	}
}

static void link_name(const struct spot *link, char *name, size_t size)
{
	switch (link->place) {
	case PLACE_BY_ASIC:
		snprintf(name, size, "%016lx", link->device->identity.asic_id);
		break;
	case PLACE_BY_PCI:
		snprintf(name, size, "%s", link->device->identity.pci);
		break;
	case PLACE_DEVICE_PIDS:
		snprintf(name, size, "%d", (int)link->process->pid);
		break;
	default:
		snprintf(name, size, "self");
		break;
	}
}

void tree_path(const struct spot *spot, char *path, size_t size)
{
	size_t length = (size_t)dir_path(spot, path, size);
	char name[32] = "";

	if (spot->is_link)
		link_name(spot, name, sizeof name);
	if ((spot->entry || spot->is_link) && length < size)
		snprintf(path + length, size - length, "%s%s", length ? "/" : "",
			 spot->entry ? spot->entry->name : name);
}
