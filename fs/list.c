/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a directory: first the fixed names, then the numbered ones from where the reader is. */
#include "access.h"
#include "entries.h"
#include <stdio.h>
#include <string.h>

/* In listings names with numbers come behind the fixed ones: offset = NUMBERED + number + 1. */
#define NUMBERED (1ull << 32)

struct listing {
	const struct model *model;
	const struct spot *dir;
	struct reader *reader;
	uint64_t offset;
	tree_add *add;
	void *data;
};

/* Through access_find(), so that a listing and a lookup cannot disagree: if two devices say that
 * they have the same PCI address, the name is that of one. */
static bool list_name(const struct listing *listing, const char *name, uint64_t next,
		      const struct device *only)
{
	struct spot spot;

	if (access_find(listing->model, listing->dir, name, listing->reader, &spot) ||
	    (only && spot.device != only))
		return true;
	return listing->add(listing->data, name, spot.ino,
			    tree_mode(listing->model, &spot) & S_IFMT, next);
}

static bool list_fixed(const struct listing *listing)
{
	static const char *const root[] = {"by-asic", "by-pci", "metrics", "pids", NULL};
	static const char *const device[] = {"pids", NULL};
	static const char *const pids[] = {"self", NULL};
	static const char *const none[] = {NULL};
	enum place place = listing->dir->place;
	const char *const *more = place == PLACE_ROOT     ? root
				  : place == PLACE_DEVICE ? device
				  : place == PLACE_PIDS   ? pids
							  : none;
	struct entries entries = entries_of(place);
	uint64_t at = 2; /* behind "." and ".." */

	for (size_t i = 0; i < entries.count; i++)
		if (++at > listing->offset && !list_name(listing, entries.list[i].name, at, NULL))
			return false;
	for (; *more; more++)
		if (++at > listing->offset && !list_name(listing, *more, at, NULL))
			return false;
	return true;
}

static bool list_dots(const struct listing *listing)
{
	uint64_t ino = listing->dir->ino;

	if (listing->offset < 1 && !listing->add(listing->data, ".", ino, S_IFDIR, 1))
		return false;
	return listing->offset >= 2 || listing->add(listing->data, "..", TREE_ROOT_INO, S_IFDIR, 2);
}

/* The name of a device or process in this directory; false if it has none there. */
static bool number_name(const struct listing *listing, const struct device *device, uint32_t number,
			char *name, size_t size)
{
	switch (listing->dir->place) {
	case PLACE_ROOT:
	case PLACE_PROCESS:
		snprintf(name, size, "device%u", number);
		return true;
	case PLACE_BY_ASIC:
		snprintf(name, size, "%016lx", device->identity.asic_id);
		return device->identity.asic_id;
	case PLACE_BY_PCI:
		snprintf(name, size, "%s", device->identity.pci);
		return *device->identity.pci;
	default:
		snprintf(name, size, "%u", number);
		return true;
	}
}

static GTree *numbered(const struct listing *listing)
{
	switch (listing->dir->place) {
	case PLACE_ROOT:
	case PLACE_PROCESS:
	case PLACE_BY_ASIC:
	case PLACE_BY_PCI:
		return listing->model->devices;
	case PLACE_PIDS:
		return listing->model->processes;
	case PLACE_DEVICE_PIDS:
		return listing->dir->device->holdings;
	default:
		return NULL;
	}
}

static void list_numbered(const struct listing *listing)
{
	bool links = listing->dir->place == PLACE_BY_ASIC || listing->dir->place == PLACE_BY_PCI;
	GTree *tree = numbered(listing);
	GTreeNode *node = NULL;
	char name[32];

	if (tree && listing->offset > NUMBERED)
		node = g_tree_upper_bound(tree, GUINT_TO_POINTER(listing->offset - NUMBERED - 1));
	else if (tree)
		node = g_tree_node_first(tree);
	for (; node; node = g_tree_node_next(node)) {
		uint32_t number = GPOINTER_TO_UINT(g_tree_node_key(node));

		if (number_name(listing, g_tree_node_value(node), number, name, sizeof name) &&
		    !list_name(listing, name, NUMBERED + number + 1,
			       links ? g_tree_node_value(node) : NULL))
			return;
	}
}

void tree_list(const struct model *model, const struct spot *dir, struct reader *reader,
	       uint64_t offset, tree_add *add, void *data)
{
	struct listing listing = {model, dir, reader, offset, add, data};

	if (list_dots(&listing) && list_fixed(&listing))
		list_numbered(&listing);
}
