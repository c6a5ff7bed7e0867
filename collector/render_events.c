/* SPDX-License-Identifier: Apache-2.0 */
/* What was noted as it happened: events, thresholds, the last failed request, and the history. */
#include "plain.h"
#include "render.h"

bool render_events(struct render *render)
{
	const struct events *events = &render->model->events;
	GString *out = render->out;

	model_look(render->model);
	g_string_append_printf(out, "process_start %lu\n", events->process_start);
	g_string_append_printf(out, "process_exit %lu\n", events->process_exit);
	g_string_append_printf(out, "high %lu\n", events->high);
	g_string_append_printf(out, "oom %lu\n", events->oom);
	g_string_append_printf(out, "leaked %lu\n", events->leaked);
	g_string_append_printf(out, "device_add %lu\n", events->device_add);
	g_string_append_printf(out, "device_remove %lu\n", events->device_remove);
	return true;
}

bool render_device_events(struct render *render)
{
	const struct device_events *events = &render->device->events;

	device_look(render->device);
	g_string_append_printf(render->out, "high %lu\n", events->high);
	g_string_append_printf(render->out, "oom %lu\n", events->oom);
	return true;
}

bool render_device_high(struct render *render)
{
	const struct threshold *threshold = &render->device->thresholds[render->kind];

	if (threshold->is_set)
		text_number(render->out, threshold->bytes);
	else
		g_string_append(render->out, "max\n");
	return true;
}

static void key_time(GString *out, const char *key, uint64_t ns)
{
	g_string_append_printf(out, "%s ", key);
	text_time(out, ns);
}

static void key_known(GString *out, const char *key, uint64_t bytes)
{
	if (bytes)
		g_string_append_printf(out, "%s %lu\n", key, bytes);
}

/* The name comes last: it can hold spaces. */
static void oom_holder(GString *out, unsigned int number, const struct oom_holder *holder)
{
	char comm[16];

	plain_text(comm, holder->comm, sizeof comm, true);
	g_string_append_printf(out, "holder_%u %d %u %lu %s\n", number, (int)holder->pid,
			       holder->uid, holder->used_bytes, *comm ? comm : "-");
	if (!holder->tag_count)
		return;
	g_string_append_printf(out, "holder_%u_tags", number);
	for (unsigned int i = 0; i < holder->tag_count; i++)
		g_string_append_printf(out, " %s=%lu", holder->tags[i].name, holder->tags[i].bytes);
	g_string_append_c(out, '\n');
}

static void oom_request(GString *out, const struct oom *oom)
{
	char comm[16];

	plain_text(comm, oom->process.comm, sizeof comm, true);
	if (oom->failure.time_ns)
		key_time(out, "time", oom->failure.time_ns);
	key_time(out, "seen", oom->seen_ns);
	g_string_append_printf(out, "pid %d\n", (int)oom->process.pid);
	g_string_append_printf(out, "comm %s\n", *comm ? comm : "-");
	g_string_append_printf(out, "uid %u\n", oom->process.uid);
	g_string_append_printf(out, "kind %s\n", kind_name(oom->kind));
	if (oom->failure.time_ns)
		g_string_append_printf(out, "requested %lu\n", oom->failure.requested_bytes);
	g_string_append_printf(out, "failures %lu\n", oom->count);
}

bool render_device_oom(struct render *render)
{
	const struct oom *oom;
	GString *out = render->out;
	uint64_t total;

	device_look(render->device); /* a failed request shows when somebody looks */
	oom = render->device->oom;
	if (!oom)
		return true;
	total = device_capacity(render->device, oom->kind);
	oom_request(out, oom);
	g_string_append_printf(out, "process_used %lu\n", oom->process.used_bytes);
	if (oom->has_holders)
		g_string_append_printf(out, "used %lu\n", oom->used_bytes);
	if (oom->has_holders && total)
		g_string_append_printf(out, "free %lu\n",
				       total > oom->used_bytes ? total - oom->used_bytes : 0);
	key_known(out, "largest_free", oom->failure.largest_free_bytes);
	for (unsigned int i = 0; i < oom->holder_count; i++)
		oom_holder(out, i + 1, &oom->holders[i]);
	return true;
}

#define LAST (KIND_COUNT - 1)

bool render_device_history(struct render *render)
{
	uint32_t number = device_history_first(render->device);
	const struct history_row *row;
	GString *out = render->out;

	g_string_append_printf(out, "%-14s", "time");
	for (int kind = 0; kind < KIND_COUNT; kind++)
		g_string_append_printf(out, kind == LAST ? " %s\n" : " %-12s",
				       kind_name((enum kind)kind));
	for (; (row = device_history_row(render->device, number)); number++) {
		g_string_append_printf(out, "%lu.%03lu", row->time_ns / 1000000000u,
				       row->time_ns / 1000000u % 1000u);
		for (int kind = 0; kind < KIND_COUNT; kind++)
			g_string_append_printf(out, kind == LAST ? " %lu\n" : " %-12lu",
					       row->used_bytes[kind]);
	}
	return true;
}
