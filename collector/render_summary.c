/* SPDX-License-Identifier: Apache-2.0 */
/* The table that a person wants first: devices, then processes by use. */
#include "plain.h"
#include "render.h"
#include <stdio.h>

static const char *known(const char *text)
{
	return *text ? text : "-";
}

/* Every holding is read once, for its process and for its device, so that the two halves of the
 * text agree. */
struct summary {
	GArray *rows;        /* struct summary_row */
	GHashTable *devices; /* struct device -> struct amount[KIND_COUNT] */
};

struct summary_row {
	struct process *process;
	struct amount amounts[KIND_COUNT];
	uint64_t total;
};

static struct amount *summary_of_device(const struct summary *summary, const struct device *device)
{
	struct amount *amounts = g_hash_table_lookup(summary->devices, device);

	if (!amounts) {
		amounts = g_new0(struct amount, KIND_COUNT);
		g_hash_table_insert(summary->devices, (gpointer)device, amounts);
	}
	return amounts;
}

static gboolean summary_collect(gpointer key, gpointer data, gpointer user)
{
	struct summary *summary = user;
	struct summary_row row = {.process = data};

	(void)key;
	for (guint i = 0; i < row.process->holdings->len; i++) {
		struct holding *holding = row.process->holdings->pdata[i];
		struct amount *device = summary_of_device(summary, holding->device);
		struct amount amounts[KIND_COUNT];

		holding_read(holding, KINDS_ALL, amounts);
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			amount_add(&row.amounts[kind], &amounts[kind]);
			amount_add(&device[kind], &amounts[kind]);
		}
	}
	row.total = amounts_used(row.amounts);
	g_array_append_val(summary->rows, row);
	return FALSE;
}

static gint summary_compare(gconstpointer a, gconstpointer b)
{
	const struct summary_row *left = a, *right = b;

	if (left->total != right->total)
		return left->total < right->total ? 1 : -1;
	return left->process->pid - right->process->pid;
}

static void summary_device(GString *out, struct device *device, const struct amount *amounts)
{
	uint64_t total = device_capacity(device, (enum kind)TTMEM_DRAM);
	char used[16], all[16] = "-", share[16] = "-", l1[16], cb[16], trace[16], name[32];

	device_note_sums(device, KINDS_ALL, amounts);
	if (total) {
		text_size(all, total);
		snprintf(share, sizeof share, "%.1f%%",
			 100.0 * (double)amounts[TTMEM_DRAM].used_bytes / (double)total);
	}
	snprintf(name, sizeof name, "device%u", device->number);
	g_string_append_printf(
		out, "%-10s %-8s %11s %11s %6s %11s %11s %11s %6d\n", name,
		known(device->identity.board), text_size(used, amounts[TTMEM_DRAM].used_bytes), all,
		share, text_size(l1, amounts[TTMEM_L1].used_bytes),
		text_size(cb, amounts[TTMEM_CB].used_bytes),
		text_size(trace, amounts[TTMEM_TRACE].used_bytes), g_tree_nnodes(device->holdings));
}

/* "0,1" or "0-3,6". */
static void device_list(char *text, size_t size, const struct process *process)
{
	size_t at = 0;

	*text = 0;
	for (guint i = 0; i < process->holdings->len && at + 24 < size; i++) {
		const struct holding *first = process->holdings->pdata[i];
		uint32_t from = first->device->number, to = from;

		while (i + 1 < process->holdings->len &&
		       ((struct holding *)process->holdings->pdata[i + 1])->device->number ==
			       to + 1) {
			to++;
			i++;
		}
		at += (size_t)snprintf(text + at, size - at, to > from ? "%s%u-%u" : "%s%u",
				       at ? "," : "", from, to);
	}
	if (!*text)
		g_strlcpy(text, "-", size);
}

/* It has devices open, and nobody knows what it holds there. */
static void summary_untracked(struct render *render, const struct process *process,
			      const char *devices, const char *comm)
{
	g_string_append_printf(render->out, "%-10d %-8u %11s %11s %11s %11s %11s  %-8s %s\n",
			       (int)process->pid, process->uid, "untracked", "-", "-", "-", "-",
			       devices, comm);
}

static void summary_process(struct render *render, const struct summary_row *row)
{
	char dram[16], l1[16], cb[16], trace[16], total[16], devices[64], comm[16];
	struct process *process = row->process;

	process_refresh_comm(render->model, process);
	plain_text(comm, process->comm, sizeof comm, true);
	device_list(devices, sizeof devices, process);
	if (process_is_untracked(process)) {
		summary_untracked(render, process, devices, comm);
		return;
	}
	g_string_append_printf(render->out, "%-10d %-8u %11s %11s %11s %11s %11s  %-8s %s\n",
			       (int)process->pid, process->uid, text_size(total, row->total),
			       text_size(dram, row->amounts[TTMEM_DRAM].used_bytes),
			       text_size(l1, row->amounts[TTMEM_L1].used_bytes),
			       text_size(cb, row->amounts[TTMEM_CB].used_bytes),
			       text_size(trace, row->amounts[TTMEM_TRACE].used_bytes), devices,
			       comm);
}

bool render_summary(struct render *render)
{
	struct summary summary = {
		.rows = g_array_new(FALSE, FALSE, sizeof(struct summary_row)),
		.devices = g_hash_table_new_full(NULL, NULL, NULL, g_free),
	};
	const struct model *model = render->model;
	GString *out = render->out;

	g_tree_foreach(model->processes, summary_collect, &summary);
	g_array_sort(summary.rows, summary_compare);
	g_string_append_printf(out, "%-10s %-8s %11s %11s %6s %11s %11s %11s %6s\n", "DEVICE",
			       "BOARD", "DRAM USED", "DRAM TOTAL", "USE", "L1", "CB", "TRACE",
			       "PROCS");
	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node))
		if (device_is_shown(g_tree_node_value(node)))
			summary_device(out, g_tree_node_value(node),
				       summary_of_device(&summary, g_tree_node_value(node)));
	g_string_append_printf(out, "\n%-10s %-8s %11s %11s %11s %11s %11s  %-8s %s\n", "PID",
			       "UID", "TOTAL", "DRAM", "L1", "CB", "TRACE", "DEVICES", "COMMAND");
	for (guint i = 0; i < summary.rows->len; i++)
		summary_process(render, &g_array_index(summary.rows, struct summary_row, i));
	g_array_free(summary.rows, TRUE);
	g_hash_table_destroy(summary.devices);
	return true;
}
