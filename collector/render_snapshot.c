/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything as one JSON document, described in docs/snapshot.schema.json. All numbers are of one
 * moment: they are read, and all but the processes is written, in one slice; then processes are
 * written from the copies, a line each.
 */
#include "json.h"
#include "moment.h"

#define VERSION          1 /* goes up when a program that reads the document could misread a newer one */
#define HOLDINGS_AT_ONCE 1024

static json_t *source_json(const struct model *model, const struct source *source)
{
	json_t *json = json_object();

	json_set_text(json, "name", source->name);
	json_set_text(json, "state", source_state_name(source));
	json_set_text(json, "detail", source->detail);
	json_set_number(json, "devices", source_devices(model, source->rank));
	json_set_number(json, "processes", source_processes(model, source->rank));
	if (source->last_update_ns)
		json_set_time(json, "last_update", source->last_update_ns);
	return json;
}

static json_t *sources_json(const struct model *model)
{
	json_t *json = json_array();

	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		if (model->by_rank[rank])
			json_array_append_new(json, source_json(model, model->by_rank[rank]));
	return json;
}

static void set_if_known(json_t *json, const char *key, const char *text)
{
	if (*text)
		json_set_text(json, key, text);
}

static void set_identity(json_t *json, const struct identity *identity)
{
	char asic_id[24];

	g_snprintf(asic_id, sizeof asic_id, "%016lx", identity->asic_id);
	set_if_known(json, "asic_id", identity->asic_id ? asic_id : "");
	set_if_known(json, "pci", identity->pci);
	set_if_known(json, "arch", identity->arch);
	set_if_known(json, "board", identity->board);
	set_if_known(json, "serial", identity->serial);
	set_if_known(json, "firmware", identity->firmware);
	if (identity->has_numa_node)
		json_object_set_new_nocheck(json, "numa_node", json_integer(identity->numa_node));
	if (identity->asic_id || identity->gateway_asic_id)
		json_object_set_new_nocheck(json, "remote", json_boolean(identity->is_remote));
}

static json_t *device_kind_json(const struct moment_device *device, enum kind kind)
{
	const struct amount *amount = &device->amounts[kind];
	uint64_t capacity = device_capacity(device->device, kind);
	json_t *json = json_object();

	if (capacity)
		json_set_number(json, "capacity_bytes", capacity);
	json_set_number(json, "used_bytes", amount->used_bytes);
	json_set_number(json, "peak_bytes", device->peak_bytes[kind]);
	json_set_number(json, "buffers", amount->used_buffers);
	json_set_number(json, "allocated_bytes", amount->allocated_bytes);
	json_set_number(json, "freed_bytes", amount_freed(amount));
	json_set_number(json, "failures", amount->failures);
	json_set_number(json, "unattributed_bytes", device->unattributed_bytes[kind]);
	if (device->failures[kind].largest_free_bytes)
		json_set_number(json, "largest_free_bytes",
				device->failures[kind].largest_free_bytes);
	return json;
}

static json_t *events_json(const struct device_events *events)
{
	json_t *json = json_object();

	json_set_number(json, "high", events->high);
	json_set_number(json, "oom", events->oom);
	return json;
}

/* Null is `max`. */
static json_t *thresholds_json(const struct device *device)
{
	static const enum kind kinds[] = {(enum kind)TTMEM_DRAM, (enum kind)TTMEM_L1};
	json_t *json = json_object();

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		const struct threshold *threshold = &device->thresholds[kinds[i]];
		json_t *one = json_object();

		if (threshold->is_set)
			json_set_number(one, "high", threshold->bytes);
		else
			json_object_set_new_nocheck(one, "high", json_null());
		json_set_number(one, "events", device->events.high_of[kinds[i]]);
		json_object_set_new_nocheck(json, kind_name(kinds[i]), one);
	}
	return json;
}

static json_t *device_json(const struct moment_device *device)
{
	json_t *json = json_object(), *kinds = json_object();
	bool known = false;

	json_set_number(json, "device", device->device->number);
	set_identity(json, &device->device->identity);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		known |= device_capacity(device->device, (enum kind)kind);
		json_object_set_new_nocheck(kinds, kind_name((enum kind)kind),
					    device_kind_json(device, (enum kind)kind));
	}
	if (known)
		json_set_text(json, "capacity_source",
			      device_capacity_is_from_table(device->device) ? "table" : "client");
	json_set_number(json, "processes", device->processes);
	json_object_set_new_nocheck(json, "events", events_json(&device->device->events));
	json_object_set_new_nocheck(json, "thresholds", thresholds_json(device->device));
	json_object_set_new_nocheck(json, "kinds", kinds);
	return json;
}

static json_t *devices_json(const struct moment *moment)
{
	json_t *json = json_array();

	for (guint i = 0; i < moment->devices->len; i++)
		json_array_append_new(json, device_json(&g_array_index(moment->devices,
								       struct moment_device, i)));
	return json;
}

static unsigned int kinds_above_zero(const uint64_t numbers[KIND_COUNT])
{
	unsigned int kinds = 0;

	for (int kind = 0; kind < KIND_COUNT; kind++)
		kinds |= (unsigned int)(numbers[kind] != 0) << kind;
	return kinds;
}

static json_t *exited_json(const struct model *model)
{
	json_t *json = json_array();

	for (GList *link = model->departed.head; link; link = link->next) {
		const struct departed *departed = link->data;
		json_t *one = json_object();

		json_set_number(one, "pid", (uint64_t)departed->pid);
		json_set_number(one, "uid", departed->uid);
		json_set_text(one, "comm", departed->comm);
		json_set_time(one, "start_time", departed->start_ns);
		json_set_time(one, "end_time", departed->end_ns);
		json_set_kinds(one, "peak_bytes", departed->peak_bytes,
			       kinds_above_zero(departed->peak_bytes));
		json_set_kinds(one, "leaked_bytes", departed->leaked_bytes,
			       kinds_above_zero(departed->leaked_bytes));
		json_array_append_new(json, one);
	}
	return json;
}

/* All but the processes, which are put in before the last bracket. */
static void write_head(struct render *render, const struct moment *moment)
{
	const struct model *model = render->model;
	json_t *json = json_object();

	json_set_number(json, "version", VERSION);
	json_set_time(json, "time", moment->time_ns);
	json_set_text(json, "release", TTMEM_VERSION);
	json_object_set_new_nocheck(json, "sources", sources_json(model));
	json_object_set_new_nocheck(json, "devices", devices_json(moment));
	json_object_set_new_nocheck(json, "exited", exited_json(model));
	json_set_number(json, "exited_processes", model->exited_processes);
	json_set_number(json, "leaked_bytes", model->leaked_bytes);
	json_write(render->out, json);
	g_string_truncate(render->out, render->out->len - 1);
	g_string_append(render->out, ",\"processes\":[");
}

static json_t *holding_json(const struct moment_holding *holding)
{
	json_t *json = json_object(), *all = json_object();
	unsigned int kinds;

	json_set_number(json, "device", holding->device);
	json_object_set_new_nocheck(json, "source", json_string_nocheck(holding->source->name));
	for (kinds = holding->kinds; kinds; kinds &= kinds - 1) {
		int kind = __builtin_ctz(kinds);
		json_t *one = json_object();

		json_set_number(one, "used_bytes", holding->used_bytes[kind]);
		json_set_number(one, "buffers", holding->used_buffers[kind]);
		json_set_number(one, "peak_bytes", holding->peak_bytes[kind]);
		json_object_set_new_nocheck(all, kind_name((enum kind)kind), one);
	}
	json_object_set_new_nocheck(json, "kinds", all);
	return json;
}

static json_t *process_json(const struct moment *moment, const struct moment_process *process)
{
	json_t *json = json_object(), *devices = json_array();

	json_set_number(json, "pid", (uint64_t)process->pid);
	json_set_number(json, "uid", process->uid);
	json_set_text(json, "comm", process->comm);
	json_set_time(json, "start_time", process->start_ns);
	json_set_text(json, "source", process->source->name);
	json_object_set_new_nocheck(json, "untracked", json_boolean(process->is_untracked));
	json_set_kinds(json, "peak_bytes", process->peak_bytes,
		       kinds_above_zero(process->peak_bytes));
	for (guint i = process->first; i < process->first + process->count; i++)
		json_array_append_new(
			devices,
			holding_json(&g_array_index(moment->holdings, struct moment_holding, i)));
	json_object_set_new_nocheck(json, "devices", devices);
	return json;
}

bool render_snapshot(struct render *render)
{
	struct moment *moment = moment_get(render);
	bool complete;

	if (!moment)
		return false;
	if (!render->cursor->begun) {
		write_head(render, moment);
		moment_settle(render, moment);
	}
	render->cursor->begun = true;
	for (guint made = 0; moment->next < moment->processes->len && made < HOLDINGS_AT_ONCE;) {
		const struct moment_process *process =
			&g_array_index(moment->processes, struct moment_process, moment->next);

		g_string_append(render->out, moment->next++ ? ",\n" : "\n");
		json_write(render->out, process_json(moment, process));
		made += 1 + process->count;
	}
	complete = moment->next == moment->processes->len;
	if (complete)
		g_string_append(render->out, "]}\n");
	return moment_end(render, complete);
}
