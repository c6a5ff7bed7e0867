/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"
#include "access.h"
#include "entries.h"
#include "proc.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum file {
	FILE_SELF = 1, /* the directory itself */
	/* below the root */
	FILE_BY_ASIC = 2,
	FILE_BY_PCI = 3,
	FILE_PIDS = 4,
	FILE_PIDS_SELF = 5,
	FILE_METRICS = 6,
	/* of a device */
	FILE_DEVICE_PIDS = 2,
	FILE_ASIC_LINK = 3,
	FILE_PCI_LINK = 4,
	/* of a process and a device */
	FILE_PID_LINK = 2,
	/* entries */
	FILE_FIRST = 16,
};

/* Directories at the top whose files are in tables of their own. */
enum extra { EXTRA_ROOT, EXTRA_METRICS };

static uint64_t ino_make(uint64_t serial, uint32_t extra, uint32_t file)
{
	return serial << 24 | (uint64_t)extra << 12 | file;
}

static uint32_t ino_file(uint64_t ino)
{
	return ino & 0xfff;
}

static int set_entry(struct spot *spot, enum place place, uint32_t file)
{
	struct entries entries = entries_of(place);

	if (file < FILE_FIRST || file - FILE_FIRST >= entries.count)
		return -ENOENT;
	spot->place = place;
	spot->entry = &entries.list[file - FILE_FIRST];
	return !spot->entry->exists || spot->entry->exists(spot, spot->entry->kind) ? 0 : -ENOENT;
}

static int set_place(struct spot *spot, enum place place, bool is_link)
{
	spot->place = place;
	spot->is_link = is_link;
	return 0;
}

static int resolve_root(struct spot *spot, uint32_t file)
{
	switch (file) {
	case FILE_SELF:
		return set_place(spot, PLACE_ROOT, false);
	case FILE_BY_ASIC:
		return set_place(spot, PLACE_BY_ASIC, false);
	case FILE_BY_PCI:
		return set_place(spot, PLACE_BY_PCI, false);
	case FILE_PIDS:
		return set_place(spot, PLACE_PIDS, false);
	case FILE_PIDS_SELF:
		return set_place(spot, PLACE_PIDS, true);
	case FILE_METRICS:
		return set_place(spot, PLACE_METRICS, false);
	default:
		return set_entry(spot, PLACE_ROOT, file);
	}
}

static int resolve_device(struct spot *spot, uint32_t file)
{
	switch (file) {
	case FILE_SELF:
		return set_place(spot, PLACE_DEVICE, false);
	case FILE_DEVICE_PIDS:
		return set_place(spot, PLACE_DEVICE_PIDS, false);
	case FILE_ASIC_LINK:
		return set_place(spot, PLACE_BY_ASIC, true);
	case FILE_PCI_LINK:
		return set_place(spot, PLACE_BY_PCI, true);
	default:
		return set_entry(spot, PLACE_DEVICE, file);
	}
}

static int resolve_process(struct spot *spot, uint32_t extra, uint32_t file)
{
	const struct holding *holding;

	if (!extra)
		return file == FILE_SELF ? set_place(spot, PLACE_PROCESS, false)
					 : set_entry(spot, PLACE_PROCESS, file);
	holding = process_holding_numbered(spot->process, extra);
	if (!holding)
		return -ENOENT;
	spot->device = holding->device;
	if (file == FILE_SELF)
		return set_place(spot, PLACE_PROCESS_DEVICE, false);
	if (file == FILE_PID_LINK)
		return set_place(spot, PLACE_DEVICE_PIDS, true);
	return set_entry(spot, PLACE_PROCESS_DEVICE, file);
}

int tree_resolve(const struct model *model, uint64_t ino, struct spot *spot)
{
	uint64_t serial = ino >> 24;
	uint32_t extra = ino >> 12 & 0xfff, file = ino_file(ino);

	*spot = (struct spot){.ino = ino};
	if (!serial)
		return extra == EXTRA_METRICS ? set_entry(spot, PLACE_METRICS, file)
					      : resolve_root(spot, file);
	spot->device = model_device(model, serial);
	if (spot->device)
		return device_is_shown(spot->device) ? resolve_device(spot, file) : -ENOENT;
	spot->process = model_process(model, serial);
	if (spot->process)
		return resolve_process(spot, extra, file);
	return -ENOENT;
}

struct scope tree_scope(uint64_t ino)
{
	return (struct scope){.serial = ino >> 24, .is_list = ino == tree_dir_pids()};
}

/* Of a process and a device; 0: it has nothing there. */
static uint64_t holding_ino(const struct process *process, const struct device *device,
			    uint32_t file)
{
	const struct holding *holding = process_holding(process, device);

	return holding ? ino_make(process->serial, holding->number, file) : 0;
}

static uint64_t entry_ino(const struct spot *dir, size_t place)
{
	uint64_t first = dir->place == PLACE_METRICS ? ino_make(0, EXTRA_METRICS, FILE_FIRST)
						     : dir->ino - FILE_SELF + FILE_FIRST;

	return first + place;
}

static uint64_t lookup_entry(const struct spot *dir, const char *name)
{
	struct entries entries = entries_of(dir->place);

	for (size_t i = 0; i < entries.count; i++) {
		const struct entry *entry = &entries.list[i];

		if (!strcmp(entry->name, name) &&
		    (!entry->exists || entry->exists(dir, entry->kind)))
			return entry_ino(dir, i);
	}
	return 0;
}

/* A decimal number as we would write it; -1 for "007", "+7", "7x" and the like. */
static long number_of(const char *text)
{
	char *end;
	long number;

	if (!g_ascii_isdigit(*text) || (*text == '0' && text[1]) || strlen(text) > 9)
		return -1;
	number = strtol(text, &end, 10);
	return *end ? -1 : number;
}

static struct device *device_named(const struct model *model, const char *name)
{
	long number = strncmp(name, "device", 6) ? -1 : number_of(name + 6);

	struct device *device = number < 0 ? NULL : model_device_numbered(model, (uint32_t)number);

	return device && device_is_shown(device) ? device : NULL;
}

static bool names_asic(const struct device *device, char *text, size_t size)
{
	snprintf(text, size, "%016lx", device->identity.asic_id);
	return device->identity.asic_id;
}

static bool names_pci(const struct device *device, char *text, size_t size)
{
	g_strlcpy(text, device->identity.pci, size);
	return *text;
}

/* A name that several claim is the driver's device's, else the first one's. */
static uint64_t lookup_by_name(const struct model *model, const struct spot *dir, const char *name)
{
	bool asic = dir->place == PLACE_BY_ASIC;
	const struct device *found = NULL;
	char text[32] = "";

	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node)) {
		const struct device *device = g_tree_node_value(node);

		if (device_is_shown(device) &&
		    (asic ? names_asic : names_pci)(device, text, sizeof text) &&
		    !strcmp(text, name) && (!found || device->known_by >> SOURCE_KMD & 1))
			found = device;
	}
	return found ? ino_make(found->serial, 0, asic ? FILE_ASIC_LINK : FILE_PCI_LINK) : 0;
}

static uint64_t lookup_root(const struct model *model, const char *name)
{
	const struct device *device = device_named(model, name);

	if (device)
		return ino_make(device->serial, 0, FILE_SELF);
	if (!strcmp(name, "pids"))
		return ino_make(0, 0, FILE_PIDS);
	if (!strcmp(name, "metrics"))
		return ino_make(0, 0, FILE_METRICS);
	if (!strcmp(name, "by-asic"))
		return ino_make(0, 0, FILE_BY_ASIC);
	if (!strcmp(name, "by-pci"))
		return ino_make(0, 0, FILE_BY_PCI);
	return 0;
}

static uint64_t lookup_pid(const struct model *model, const struct spot *dir, const char *name)
{
	long number = number_of(name);
	const struct process *process =
		number < 1 ? NULL : model_process_by_pid(model, (pid_t)number);

	if (!process)
		return 0;
	if (dir->place == PLACE_PIDS)
		return ino_make(process->serial, 0, FILE_SELF);
	return holding_ino(process, dir->device, FILE_PID_LINK);
}

uint64_t tree_lookup(const struct model *model, const struct spot *dir, const char *name)
{
	uint64_t ino = lookup_entry(dir, name);
	struct device *device;

	if (ino)
		return ino;
	switch (dir->place) {
	case PLACE_ROOT:
		return lookup_root(model, name);
	case PLACE_BY_ASIC:
	case PLACE_BY_PCI:
		return lookup_by_name(model, dir, name);
	case PLACE_PIDS:
		if (!strcmp(name, "self"))
			return ino_make(0, 0, FILE_PIDS_SELF);
		return lookup_pid(model, dir, name);
	case PLACE_DEVICE_PIDS:
		return lookup_pid(model, dir, name);
	case PLACE_DEVICE:
		return strcmp(name, "pids") ? 0
					    : ino_make(dir->device->serial, 0, FILE_DEVICE_PIDS);
	case PLACE_PROCESS:
		device = device_named(model, name);
		return device ? holding_ino(dir->process, device, FILE_SELF) : 0;
	default:
		return 0;
	}
}

bool tree_entry(const struct spot *dir, size_t n, struct spot *spot)
{
	struct entries entries = entries_of(dir->place);

	if (n >= entries.count)
		return false;
	*spot = *dir;
	spot->entry = &entries.list[n];
	spot->ino = entry_ino(dir, n);
	return true;
}

uint64_t tree_parent(uint64_t ino)
{
	uint64_t serial = ino >> 24;

	if (ino_file(ino) == FILE_SELF)
		return serial && ino >> 12 & 0xfff ? ino_make(serial, 0, FILE_SELF) : TREE_ROOT_INO;
	return ino - ino_file(ino) + FILE_SELF;
}

uint64_t tree_top(uint64_t ino)
{
	return ino >> 24 ? ino_make(ino >> 24, 0, FILE_SELF) : 0;
}

uint64_t tree_dir_pids(void)
{
	return ino_make(0, 0, FILE_PIDS);
}

uint64_t tree_dir_by_asic(void)
{
	return ino_make(0, 0, FILE_BY_ASIC);
}

uint64_t tree_dir_by_pci(void)
{
	return ino_make(0, 0, FILE_BY_PCI);
}

uint64_t tree_dir_device_pids(const struct device *device)
{
	return ino_make(device->serial, 0, FILE_DEVICE_PIDS);
}

uint64_t tree_dir_process(const struct process *process)
{
	return ino_make(process->serial, 0, FILE_SELF);
}

int tree_link(const struct model *model, const struct spot *link, const struct reader *reader,
	      char *target, size_t size)
{
	pid_t pid;
	int error;

	switch (link->place) {
	case PLACE_BY_ASIC:
	case PLACE_BY_PCI:
		snprintf(target, size, "../device%u", link->device->number);
		return 0;
	case PLACE_DEVICE_PIDS:
		snprintf(target, size, "../../pids/%d", (int)link->process->pid);
		return 0;
	default:
		if (reader->tid <= 0)
			return -ENOENT;
		error = proc_thread_group(model->proc, reader->tid, &pid);
		if (error)
			return error == -EPROTO ? -ENOENT : error;
		snprintf(target, size, "%d", (int)pid);
		return 0;
	}
}

static mode_t full_mode(const struct spot *spot)
{
	if (spot->is_link)
		return S_IFLNK | 0777;
	if (!spot->entry)
		return S_IFDIR | 0555;
	return S_IFREG | (spot->entry->mode ? spot->entry->mode : 0444);
}

mode_t tree_mode(const struct model *model, const struct spot *spot)
{
	return access_mode(model, spot, full_mode(spot));
}

bool tree_is_volatile(const struct spot *spot)
{
	if (spot->is_link)
		return true;
	return !spot->entry &&
	       (spot->place == PLACE_PROCESS || spot->place == PLACE_PROCESS_DEVICE);
}
