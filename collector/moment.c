/* SPDX-License-Identifier: Apache-2.0 */
#include "moment.h"
#include "capped.h"
#include "model_internal.h"
#include <string.h>

static void moment_free(void *data)
{
	struct moment *moment = data;

	g_array_free(moment->devices, TRUE);
	g_array_free(moment->processes, TRUE);
	g_array_free(moment->holdings, TRUE);
	g_array_free(moment->groups, TRUE);
	oldest_fini(&moment->oldest);
	g_free(moment);
}

static struct moment *moment_new(void)
{
	struct moment *moment = g_new0(struct moment, 1);

	moment->devices = g_array_new(FALSE, TRUE, sizeof(struct moment_device));
	moment->processes = g_array_new(FALSE, TRUE, sizeof(struct moment_process));
	moment->holdings = g_array_new(FALSE, TRUE, sizeof(struct moment_holding));
	moment->groups = g_array_new(FALSE, TRUE, sizeof(struct moment_group));
	oldest_init(&moment->oldest);
	return moment;
}

static void take_device(const struct model *model, struct moment *moment, struct device *device,
			GHashTable *places)
{
	struct moment_device one = {.device = device, .processes = device->users->len};

	memcpy(one.amounts, device->gone, sizeof one.amounts);
	device_unattributed(model, device, one.unattributed_bytes);
	g_hash_table_insert(places, device, GUINT_TO_POINTER(moment->devices->len));
	g_array_append_val(moment->devices, one);
}

static void take_holding(struct moment *moment, struct holding *holding,
			 struct moment_device *device, struct amount sums[KIND_COUNT])
{
	struct moment_holding one = {.device = holding->device->number, .source = holding->source};
	struct amount amounts[KIND_COUNT];

	holding_read(holding, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		const struct amount *amount = &amounts[kind];

		one.used_bytes[kind] = amount->used_bytes;
		one.used_buffers[kind] = amount->used_buffers;
		one.peak_bytes[kind] = holding_peak(holding, (enum kind)kind, amount->used_bytes);
		device_note_peak_of(holding, (enum kind)kind,
				    holding_own_peak(holding, (enum kind)kind));
		if (one.peak_bytes[kind] || amount->allocated_bytes || amount->used_buffers)
			one.kinds |= 1u << kind;
		if (amount->failures)
			holding_last_failure(holding, (enum kind)kind, &device->failures[kind]);
		amount_add(&device->amounts[kind], amount);
		amount_add(&sums[kind], amount);
	}
	g_array_append_val(moment->holdings, one);
}

static void take_process(const struct model *model, struct moment *moment, struct process *process,
			 GHashTable *places)
{
	struct moment_process one = {.pid = process->pid,
				     .uid = process->uid,
				     .start_ns = process->start_ns,
				     .source = process_source(model, process),
				     .is_untracked = process_is_untracked(process),
				     .first = moment->holdings->len,
				     .count = process->holdings->len};
	struct amount sums[KIND_COUNT] = {0};

	memcpy(one.comm, process->comm, sizeof one.comm);
	for (guint i = 0; i < process->holdings->len; i++) {
		struct holding *holding = process->holdings->pdata[i];
		guint place = GPOINTER_TO_UINT(g_hash_table_lookup(places, holding->device));

		take_holding(moment, holding,
			     &g_array_index(moment->devices, struct moment_device, place), sums);
	}
	for (int kind = 0; kind < KIND_COUNT; kind++)
		one.peak_bytes[kind] =
			process_peak(model, process, (enum kind)kind, sums[kind].used_bytes);
	g_array_append_val(moment->processes, one);
}

/* As device_peak(), but without asking each holding again. */
static void take_peaks(struct moment_device *device)
{
	device_note_sums(device->device, KINDS_ALL, device->amounts);
	memcpy(device->peak_bytes, device->device->peak_bytes, sizeof device->peak_bytes);
}

static void take_all(const struct model *model, struct moment *moment)
{
	GHashTable *places = g_hash_table_new(NULL, NULL);
	GTreeNode *node;

	moment->time_ns = model->now_ns();
	for (node = g_tree_node_first(model->devices); node; node = g_tree_node_next(node))
		if (device_is_shown(g_tree_node_value(node)))
			take_device(model, moment, g_tree_node_value(node), places);
	for (node = g_tree_node_first(model->processes); node; node = g_tree_node_next(node))
		take_process(model, moment, g_tree_node_value(node), places);
	for (guint i = 0; i < moment->devices->len; i++)
		take_peaks(&g_array_index(moment->devices, struct moment_device, i));
	g_hash_table_destroy(places);
}

static struct moment *moment_of(struct cursor *cursor)
{
	if (!cursor->work) {
		cursor->work = moment_new();
		cursor->work_free = moment_free;
	}
	return cursor->work;
}

bool moment_gather_oldest(struct render *render)
{
	return oldest_gather(&moment_of(render->cursor)->oldest, render->model);
}

struct moment *moment_get(struct render *render)
{
	struct moment *moment = moment_of(render->cursor);

	if (!moment->time_ns) {
		if (!model_refresh_some(render->model, process_refresh_comm, &moment->named))
			return NULL;
		take_all(render->model, moment);
	}
	return moment;
}

static size_t array_bytes(GArray *array)
{
	return (size_t)array->len * g_array_get_element_size(array);
}

void moment_settle(struct render *render, struct moment *moment)
{
	g_array_set_size(moment->devices, 0);
	render->cursor->work_bytes = sizeof *moment + array_bytes(moment->processes) +
				     array_bytes(moment->holdings) + array_bytes(moment->groups);
}

bool moment_end(struct render *render, bool is_complete)
{
	if (is_complete)
		cursor_clear(render->cursor);
	return is_complete;
}

/* The group of this label and device; made if there is none. `places` has numbers from 1. */
static struct moment_group *group_of(struct moment *moment, GHashTable *places, const char *label,
				     uint32_t device)
{
	struct moment_group one = {.device = device};
	char name[sizeof one.label + 16];
	guint place;

	g_snprintf(name, sizeof name, "%u %s", device, label);
	place = GPOINTER_TO_UINT(g_hash_table_lookup(places, name));
	if (!place) {
		g_strlcpy(one.label, label, sizeof one.label);
		g_array_append_val(moment->groups, one);
		place = moment->groups->len;
		g_hash_table_insert(places, g_strdup(name), GUINT_TO_POINTER(place));
	}
	return &g_array_index(moment->groups, struct moment_group, place - 1);
}

static void group_add(struct moment_group *group, const struct moment_holding *holding)
{
	group->kinds |= holding->kinds;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		add_capped(&group->used_bytes[kind], holding->used_bytes[kind]);
}

void moment_make_groups(struct moment *moment)
{
	GHashTable *places = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (guint i = 0; i < moment->processes->len; i++) {
		const struct moment_process *process =
			&g_array_index(moment->processes, struct moment_process, i);
		char label[PLAIN_UTF8_ROOM(sizeof process->comm)];

		plain_label(label, process->comm, sizeof process->comm);
		for (guint k = process->first; k < process->first + process->count; k++) {
			const struct moment_holding *holding =
				&g_array_index(moment->holdings, struct moment_holding, k);

			if (holding->kinds)
				group_add(group_of(moment, places, label, holding->device),
					  holding);
		}
	}
	g_hash_table_destroy(places);
}
