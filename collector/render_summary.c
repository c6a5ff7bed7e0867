/* SPDX-License-Identifier: Apache-2.0 */
/* The table that a person wants first: devices, then processes by use. */
#include "plain.h"
#include "render.h"
#include <stdio.h>

static const char *known(const char *text)
{
	return *text ? text : "-";
}

#define ROWS_AT_ONCE 512 /* some 1 ms */

/* Names are looked at first, some in each slice. Then every holding is read once, for its process
 * and for its device, so that the two halves of the text agree; and what is to be written of each
 * process is a copy, because processes come and go until it is. */
struct summary {
	GArray *rows; /* struct summary_row, by use */
	guint next;   /* the first that is not written */
};

struct summary_row {
	pid_t pid;
	uid_t uid;
	char comm[16];    /* printable */
	char devices[64]; /* "0-3,6" */
	bool is_untracked;
	uint64_t used_bytes[KIND_COUNT];
	uint64_t total;
};

static void summary_free(void *data)
{
	struct summary *summary = data;

	g_array_free(summary->rows, TRUE);
	g_free(summary);
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

static struct amount *sums_of(GHashTable *devices, const struct device *device)
{
	struct amount *sums = g_hash_table_lookup(devices, device);

	if (!sums) {
		sums = g_new0(struct amount, KIND_COUNT);
		g_hash_table_insert(devices, (gpointer)device, sums);
	}
	return sums;
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

static gint by_use(gconstpointer a, gconstpointer b)
{
	const struct summary_row *left = a, *right = b;

	if (left->total != right->total)
		return left->total < right->total ? 1 : -1;
	return left->pid - right->pid;
}

static void take_process(GArray *rows, GHashTable *devices, const struct process *process)
{
	struct summary_row row = {.pid = process->pid,
				  .uid = process->uid,
				  .is_untracked = process_is_untracked(process)};
	struct amount sums[KIND_COUNT] = {0};

	for (guint i = 0; i < process->holdings->len; i++) {
		struct holding *holding = process->holdings->pdata[i];
		struct amount *device = sums_of(devices, holding->device);
		struct amount amounts[KIND_COUNT];

		holding_read(holding, KINDS_ALL, amounts);
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			amount_add(&sums[kind], &amounts[kind]);
			amount_add(&device[kind], &amounts[kind]);
		}
	}
	for (int kind = 0; kind < KIND_COUNT; kind++)
		row.used_bytes[kind] = sums[kind].used_bytes;
	row.total = amounts_used(sums);
	plain_text(row.comm, process->comm, sizeof row.comm, true);
	device_list(row.devices, sizeof row.devices, process);
	g_array_append_val(rows, row);
}

/* The numbers of one moment. What there is to write of devices is written at once. */
static struct summary *summary_take(struct render *render)
{
	GHashTable *devices = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	struct summary *summary = g_new0(struct summary, 1);
	const struct model *model = render->model;
	GTreeNode *node;

	summary->rows = g_array_new(FALSE, FALSE, sizeof(struct summary_row));
	for (node = g_tree_node_first(model->processes); node; node = g_tree_node_next(node))
		take_process(summary->rows, devices, g_tree_node_value(node));
	g_array_sort(summary->rows, by_use);
	g_string_append_printf(render->out, "%-10s %-8s %11s %11s %6s %11s %11s %11s %6s\n",
			       "DEVICE", "BOARD", "DRAM USED", "DRAM TOTAL", "USE", "L1", "CB",
			       "TRACE", "PROCS");
	for (node = g_tree_node_first(model->devices); node; node = g_tree_node_next(node))
		if (device_is_shown(g_tree_node_value(node)))
			summary_device(render->out, g_tree_node_value(node),
				       sums_of(devices, g_tree_node_value(node)));
	g_string_append_printf(render->out, "\n%-10s %-8s %11s %11s %11s %11s %11s  %-8s %s\n",
			       "PID", "UID", "TOTAL", "DRAM", "L1", "CB", "TRACE", "DEVICES",
			       "COMMAND");
	g_hash_table_destroy(devices);
	return summary;
}

/* One that is untracked has devices open, and nobody knows what it holds there. */
static void summary_process(GString *out, const struct summary_row *row)
{
	char dram[16], l1[16], cb[16], trace[16], total[16];

	if (row->is_untracked) {
		g_string_append_printf(out, "%-10d %-8u %11s %11s %11s %11s %11s  %-8s %s\n",
				       (int)row->pid, row->uid, "untracked", "-", "-", "-", "-",
				       row->devices, row->comm);
		return;
	}
	g_string_append_printf(
		out, "%-10d %-8u %11s %11s %11s %11s %11s  %-8s %s\n", (int)row->pid, row->uid,
		text_size(total, row->total), text_size(dram, row->used_bytes[TTMEM_DRAM]),
		text_size(l1, row->used_bytes[TTMEM_L1]), text_size(cb, row->used_bytes[TTMEM_CB]),
		text_size(trace, row->used_bytes[TTMEM_TRACE]), row->devices, row->comm);
}

bool render_summary(struct render *render)
{
	struct cursor *cursor = render->cursor;
	struct summary *summary = cursor->work;

	if (!summary) {
		if (!model_refresh_some(render->model, process_refresh_comm, &cursor->tour.last))
			return false;
		cursor->work = summary = summary_take(render);
		cursor->work_free = summary_free;
		cursor->work_bytes = summary->rows->len * sizeof(struct summary_row);
	}
	for (guint i = 0; i < ROWS_AT_ONCE && summary->next < summary->rows->len; i++)
		summary_process(render->out,
				&g_array_index(summary->rows, struct summary_row, summary->next++));
	if (summary->next < summary->rows->len)
		return false;
	cursor_clear(cursor);
	return true;
}
