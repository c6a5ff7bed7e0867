/* SPDX-License-Identifier: Apache-2.0 */
/* A populated tree, and the ways into it. */
#ifndef TESTS_UNIT_FOREST_H
#define TESTS_UNIT_FOREST_H

#include "tree.h"
#include "world.h"

struct name {
	char text[32];
	uint64_t ino;
	mode_t type;
	uint64_t next;
};

struct names {
	GArray *list; /* struct name */
	guint room;
};

static inline bool names_add(void *data, const char *name, uint64_t ino, mode_t type, uint64_t next)
{
	struct names *names = data;
	struct name one = {.ino = ino, .type = type, .next = next};

	if (names->list->len == names->room)
		return false;
	assert_true(g_strlcpy(one.text, name, sizeof one.text) < sizeof one.text);
	g_array_append_val(names->list, one);
	return true;
}

static inline GArray *list_as(const struct model *model, const struct spot *dir,
			      struct reader *reader, uint64_t offset, guint room)
{
	struct names names = {g_array_new(FALSE, FALSE, sizeof(struct name)), room};

	tree_list(model, dir, reader, offset, names_add, &names);
	return names.list;
}

static inline GArray *list(const struct model *model, const struct spot *dir, uint64_t offset,
			   guint room)
{
	struct reader root = {.uid = 0};

	return list_as(model, dir, &root, offset, room);
}

static inline struct spot spot_at(const struct model *model, uint64_t ino)
{
	struct spot spot;

	assert_int_equal(tree_resolve(model, ino, &spot), 0);
	assert_int_equal(spot.ino, ino);
	return spot;
}

static inline uint64_t look(const struct model *model, const char *path)
{
	uint64_t ino = TREE_ROOT_INO;
	char **parts = g_strsplit(path, "/", -1);

	for (char **part = parts; ino && *part; part++) {
		struct spot dir = spot_at(model, ino);

		ino = tree_lookup(model, &dir, *part);
	}
	g_strfreev(parts);
	return ino;
}

/* Eight devices with all that can be known, of which processes 1 to 6 use some. */
static inline void populate(struct world *world)
{
	for (pid_t pid = 1; pid <= 6; pid++) {
		struct process *process = world_process(world, pid, 1000);

		for (uint32_t index = 0; index < (uint32_t)pid; index++) {
			struct identity identity = {.index = index,
						    .asic_id = 0xa0 + index,
						    .arch = "wormhole_b0",
						    .board = "n300",
						    .dram_total_bytes = 12,
						    .l1_total_bytes = 3};

			snprintf(identity.pci, sizeof identity.pci, "0000:%02x:00.0", index);
			world_hold(world, process,
				   model_device_get(&world->model, &world->source, &identity, 1000),
				   index);
		}
	}
	world_device(world, 40, 0, 1000);
}

#endif
