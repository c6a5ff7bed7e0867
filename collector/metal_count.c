/* SPDX-License-Identifier: Apache-2.0 */
/* What the living processes of a region hold. */
#include "metal.h"
#include "metal_split.h"
#include <string.h>

/* A file whose name is gone counts for those who have not come to the new one. */
static bool is_superseded(const struct metal_file *file, const struct metal_process *owner)
{
	struct metal_file *newer = file->is_gone ? metal_file_named(file->dir, file->id) : NULL;

	for (int i = 0; newer && i < METAL_SLOTS; i++)
		if (newer->seats[i].owner == owner)
			return true;
	return false;
}

struct living {
	unsigned int count;
	const struct metal_slot *slots[METAL_SLOTS];
	struct metal_process *owners[METAL_SLOTS];
};

/* In two rounds, because finding one owner can be the end of another. */
static void living_find(struct metal_file *file, struct living *living)
{
	struct metal_region *now = &file->now;
	bool in_use[METAL_SLOTS] = {false};

	for (unsigned int i = 0; i < now->slot_count; i++) {
		metal_owner(file, &now->slots[i]);
		in_use[now->slots[i].place] = true;
	}
	for (int place = 0; place < METAL_SLOTS; place++)
		if (!in_use[place])
			file->seats[place] = (struct metal_seat){0};
	living->count = 0;
	for (unsigned int i = 0; i < now->slot_count; i++) {
		struct metal_process *owner = file->seats[now->slots[i].place].owner;

		if (!owner || is_superseded(file, owner))
			continue;
		living->slots[living->count] = &now->slots[i];
		living->owners[living->count++] = owner;
	}
}

/* A part of each living slot on the gateway, and on each chip behind it where it has something. */
struct making {
	struct metal_file *file;
	const struct living *living;
	uint64_t (
		*bytes)[METAL_CHIPS + 1][KIND_COUNT]; /* of each living slot; the gateway is last */
};

static void make_kind(const struct making *making, int kind)
{
	struct metal_file *file = making->file;
	const struct living *living = making->living;
	unsigned int places[METAL_CHIPS] = {0};
	struct metal_split split = {.processes = living->count,
				    .total = file->now.total.bytes[kind]};

	for (unsigned int i = 0; i < living->count; i++)
		split.held[i] = living->slots[i]->sums.bytes[kind];
	for (unsigned int i = 0; i < file->now.chip_count; i++) {
		uint64_t bytes = file->now.chips[i].sums.bytes[kind];

		if (file->chips[i]) {
			places[split.chips] = i;
			split.on_chip[split.chips++] = bytes;
		} else {
			split.at_home += bytes;
		}
	}
	metal_split(&split);
	file->home_unattributed[kind] = split.home_unattributed;
	for (unsigned int i = 0; i < living->count; i++)
		making->bytes[i][METAL_CHIPS][kind] = split.home[i];
	for (unsigned int chip = 0; chip < split.chips; chip++) {
		file->chip_unattributed[places[chip]][kind] = split.chip_unattributed[chip];
		for (unsigned int i = 0; i < living->count; i++)
			making->bytes[i][places[chip]][kind] = split.share[chip][i];
	}
}

static bool is_anything(const uint64_t bytes[KIND_COUNT])
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (bytes[kind])
			return true;
	return false;
}

static void part_add(struct metal_file *file, GArray *parts, struct metal_process *owner,
		     struct device *device, const uint64_t bytes[KIND_COUNT])
{
	struct metal_part part = {.share = metal_share_get(file->metal, owner, device)};

	for (int kind = 0; kind < KIND_COUNT; kind++) {
		part.bytes[kind] = bytes[kind];
		part.share->used[kind] += bytes[kind];
	}
	part.share->parts++;
	g_array_append_val(parts, part);
}

static GArray *parts_make(struct metal_file *file, const struct living *living)
{
	GArray *parts = g_array_new(FALSE, FALSE, sizeof(struct metal_part));
	struct making making = {.file = file, .living = living};

	making.bytes = g_malloc0_n(living->count + 1, sizeof *making.bytes);
	memset(file->chip_unattributed, 0, sizeof file->chip_unattributed);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		make_kind(&making, kind);
	for (unsigned int i = 0; i < living->count; i++) {
		part_add(file, parts, living->owners[i], file->device,
			 making.bytes[i][METAL_CHIPS]);
		for (unsigned int chip = 0; chip < METAL_CHIPS; chip++)
			if (file->chips[chip] && is_anything(making.bytes[i][chip]))
				part_add(file, parts, living->owners[i], file->chips[chip],
					 making.bytes[i][chip]);
	}
	g_free(making.bytes);
	return parts;
}

static void settle(const GArray *parts)
{
	for (guint i = 0; i < parts->len; i++)
		metal_process_settle(g_array_index(parts, struct metal_part, i).share->owner);
}

/* New parts come before the old ones go, so that a process that stays keeps its holdings. */
void metal_parts_replace(struct metal_file *file, GArray *parts)
{
	GArray *old = file->parts;

	file->parts = parts;
	for (guint i = 0; i < old->len; i++) {
		struct metal_part *part = &g_array_index(old, struct metal_part, i);

		for (int kind = 0; kind < KIND_COUNT; kind++)
			part->share->used[kind] -= part->bytes[kind];
	}
	settle(old);
	settle(parts);
	for (guint i = 0; i < old->len; i++)
		metal_share_put(file->metal, g_array_index(old, struct metal_part, i).share);
	g_array_free(old, TRUE);
}

void metal_count(struct metal_file *file)
{
	struct living living;

	if (!metal_bind_device(file))
		return;
	living_find(file, &living);
	metal_bind_chips(file);
	metal_parts_replace(file, parts_make(file, &living));
	file->metal->counted = true;
	file->metal->source.last_update_ns = file->metal->model->now_ns();
}
