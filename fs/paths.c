/* SPDX-License-Identifier: Apache-2.0 */
/* From what an inode number stands for to where it is. */
#include "tree.h"
#include <stdio.h>

static void dir_path(const struct spot *spot, char *path, size_t size)
{
	switch (spot->place) {
	case PLACE_BY_ASIC:
		snprintf(path, size, "by-asic");
		break;
	case PLACE_BY_PCI:
		snprintf(path, size, "by-pci");
		break;
	case PLACE_METRICS:
		snprintf(path, size, "metrics");
		break;
	case PLACE_PIDS:
		snprintf(path, size, "pids");
		break;
	case PLACE_DEVICE:
		snprintf(path, size, "device%u", spot->device->number);
		break;
	case PLACE_DEVICE_PIDS:
		snprintf(path, size, "device%u/pids", spot->device->number);
		break;
	case PLACE_PROCESS:
		snprintf(path, size, "pids/%d", (int)spot->process->pid);
		break;
	case PLACE_PROCESS_DEVICE:
		snprintf(path, size, "pids/%d/device%u", (int)spot->process->pid,
			 spot->device->number);
		break;
	default:
		*path = 0;
		break;
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

char *tree_path(const struct spot *spot, const char *root)
{
	char dir[64], name[32] = "";

	dir_path(spot, dir, sizeof dir);
	if (spot->is_link)
		link_name(spot, name, sizeof name);
	return g_build_filename(root, dir, spot->entry ? spot->entry->name : name, NULL);
}
