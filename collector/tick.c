/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at all sums when nobody reads them, and when somebody reads what they have shown. */
#include "model.h"

void device_look(struct device *device)
{
	struct amount amounts[KIND_COUNT];

	device_read(device, KINDS_ALL, amounts);
}

void model_look(struct model *model)
{
	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node))
		device_look(g_tree_node_value(node));
}

bool model_wants_ticks(const struct model *model)
{
	return model->history_seconds || model->thresholds;
}

/* The driver has no numbers, and to ask it takes a thread, and so more than one wake-up. */
static void sync_who_count(struct model *model)
{
	for (guint i = 0; i < model->sources->len; i++) {
		struct source *source = model->sources->pdata[i];

		if (source->rank != SOURCE_KMD)
			source->ops->sync(source, NULL);
	}
}

void model_tick(struct model *model)
{
	sync_who_count(model);
	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node)) {
		struct device *device = g_tree_node_value(node);
		struct amount amounts[KIND_COUNT];

		device_read(device, KINDS_ALL, amounts);
		if (model->history_seconds && device_is_shown(device))
			device_history_add(device, amounts);
	}
}

/* The history of a device that goes goes with it. */
void device_note_shown(struct device *device)
{
	struct events *events = &device->model->events;

	if (device_is_shown(device) == device->was_shown)
		return;
	device->was_shown = !device->was_shown;
	if (device->was_shown) {
		events->device_add++;
	} else {
		events->device_remove++;
		device_history_drop(device);
	}
}
