/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a process, and of a process on one device. */
#include "plain.h"
#include "render.h"

static bool value(struct render *render, uint64_t number)
{
	text_number(render->out, number);
	return true;
}

bool render_process_used(struct render *render)
{
	struct amount amounts[KIND_COUNT];

	process_read(render->process, 1u << render->kind, amounts);
	return value(render, amounts[render->kind].used_bytes);
}

bool render_holding_used(struct render *render)
{
	struct holding *holding = process_holding(render->process, render->device);
	struct amount amounts[KIND_COUNT] = {0};

	if (holding)
		holding_read(holding, 1u << render->kind, amounts);
	return value(render, amounts[render->kind].used_bytes);
}

bool render_process_total(struct render *render)
{
	struct amount amounts[KIND_COUNT];

	process_read(render->process, KINDS_ALL, amounts);
	return value(render, amounts_used(amounts));
}

bool render_process_comm(struct render *render)
{
	char comm[16];

	process_refresh_comm(render->model, render->process);
	plain_text(comm, render->process->comm, sizeof comm, true);
	g_string_append_printf(render->out, "%s\n", comm);
	return true;
}

bool render_process_uid(struct render *render)
{
	return value(render, render->process->uid);
}

/* A process can have one device from one source and another from a second: the best first. */
bool render_process_source(struct render *render)
{
	const struct process *process = render->process;
	const char *between = "";

	for (unsigned int rank = 0; rank < SOURCE_COUNT; rank++) {
		bool counts = process_source(render->model, process)->rank == rank;

		for (guint i = 0; i < process->holdings->len; i++)
			counts |= ((struct holding *)process->holdings->pdata[i])->source->rank ==
				  rank;
		if (!counts)
			continue;
		g_string_append_printf(render->out, "%s%s", between,
				       render->model->by_rank[rank]->name);
		between = " ";
	}
	g_string_append_c(render->out, '\n');
	return true;
}

bool render_holding_source(struct render *render)
{
	struct holding *holding = process_holding(render->process, render->device);

	if (holding)
		g_string_append_printf(render->out, "%s\n", holding->source->name);
	return true;
}

bool render_process_start_time(struct render *render)
{
	text_time(render->out, render->process->start_ns);
	return true;
}

bool render_process_peak(struct render *render)
{
	struct amount amounts[KIND_COUNT];

	process_read(render->process, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		g_string_append_printf(render->out, "%s %lu\n", kind_name((enum kind)kind),
				       process_peak(render->model, render->process, (enum kind)kind,
						    amounts[kind].used_bytes));
	return true;
}

static void stat_holding(struct render *render, const struct holding *holding,
			 const struct amount amounts[KIND_COUNT])
{
	uint32_t number = holding->device->number;

	if (holding->source->rank == SOURCE_KMD) {
		g_string_append_printf(render->out, "device%u_untracked 1\n", number);
		return;
	}
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		const struct amount *amount = &amounts[kind];
		const char *name = kind_name((enum kind)kind);

		g_string_append_printf(render->out, "device%u_%s_used %lu\n", number, name,
				       amount->used_bytes);
		g_string_append_printf(render->out, "device%u_%s_buffers %lu\n", number, name,
				       amount->used_buffers);
		g_string_append_printf(render->out, "device%u_%s_peak %lu\n", number, name,
				       holding_peak(holding, (enum kind)kind, amount->used_bytes));
	}
}

static void stat_errors(struct render *render)
{
	struct recording_errors errors;
	GString *out = render->out;

	process_errors(render->model, render->process, &errors);
	g_string_append_printf(out, "unknown_frees %lu\n", errors.unknown_frees);
	g_string_append_printf(out, "size_mismatches %lu\n", errors.size_mismatches);
	g_string_append_printf(out, "bad_arguments %lu\n", errors.bad_arguments);
	g_string_append_printf(out, "reentered %lu\n", errors.reentered);
	g_string_append_printf(out, "untracked %lu\n", errors.untracked);
	g_string_append_printf(out, "unlisted %lu\n", errors.unlisted);
}

/* Each holding is read once, so that the sums at the top are those of the lines below. */
bool render_process_stat(struct render *render)
{
	GPtrArray *holdings = render->process->holdings;
	struct amount(*amounts)[KIND_COUNT] = g_malloc0_n(holdings->len + 1, sizeof *amounts);
	struct amount sum = {0};

	for (guint i = 0; i < holdings->len; i++) {
		holding_read(holdings->pdata[i], KINDS_ALL, amounts[i]);
		for (int kind = 0; kind < KIND_COUNT; kind++)
			amount_add(&sum, &amounts[i][kind]);
	}
	g_string_append_printf(render->out, "devices %u\n", holdings->len);
	g_string_append_printf(render->out, "total %lu\n", sum.used_bytes);
	g_string_append_printf(render->out, "buffers %lu\n", sum.used_buffers);
	for (guint i = 0; i < holdings->len; i++)
		stat_holding(render, holdings->pdata[i], amounts[i]);
	stat_errors(render);
	g_free(amounts);
	return true;
}
