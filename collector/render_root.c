/* SPDX-License-Identifier: Apache-2.0 */
/* The files at the top: version, status, summary. */
#include "plain.h"
#include "render.h"
#include <stdio.h>

bool render_version(struct render *render)
{
	g_string_append(render->out, TTMEM_VERSION "\n");
	return true;
}

bool render_status(struct render *render)
{
	const struct model *model = render->model;
	uint64_t now = model->now_ns();
	uint64_t up = now > model->started_ns ? now - model->started_ns : 0;
	struct status status = {0};
	GString *out = render->out;

	render->status(&status, render->status_data);
	g_string_append_printf(out, "uptime_sec %lu.%03lu\n", up / 1000000000u,
			       up / 1000000u % 1000u);
	g_string_append_printf(out, "devices %d\n", g_tree_nnodes(model->devices));
	g_string_append_printf(out, "processes %d\n", g_tree_nnodes(model->processes));
	g_string_append_printf(out, "clients %lu\n", status.clients);
	g_string_append_printf(out, "silent_connections %lu\n", status.silent_connections);
	g_string_append_printf(out, "rejected_clients %lu\n", status.rejected_clients);
	g_string_append_printf(out, "rejected_devices %lu\n", model->refused_devices);
	g_string_append_printf(out, "open_files %lu\n", status.open_files);
	g_string_append_printf(out, "nodes %lu\n", status.nodes);
	g_string_append_printf(out, "text_bytes %lu\n", status.text_bytes);
	g_string_append_printf(out, "requests %lu\n", status.requests);
	return true;
}

static const char *known(const char *text)
{
	return *text ? text : "-";
}

static gboolean summary_device(gpointer key, gpointer data, gpointer user)
{
	struct render *render = user;
	struct device *device = data;
	struct amount amounts[KIND_COUNT];
	uint64_t total = device->identity.dram_total_bytes;
	char used[16], all[16] = "-", share[16] = "-", l1[16], cb[16], trace[16], name[32];

	(void)key;
	device_read(device, KINDS_ALL, amounts);
	if (total) {
		text_size(all, total);
		snprintf(share, sizeof share, "%.1f%%",
			 100.0 * (double)amounts[TTMEM_DRAM].used_bytes / (double)total);
	}
	snprintf(name, sizeof name, "device%u", device->number);
	g_string_append_printf(
	    render->out, "%-10s %-8s %11s %11s %6s %11s %11s %11s %6d\n", name,
	    known(device->identity.board), text_size(used, amounts[TTMEM_DRAM].used_bytes), all,
	    share, text_size(l1, amounts[TTMEM_L1].used_bytes),
	    text_size(cb, amounts[TTMEM_CB].used_bytes),
	    text_size(trace, amounts[TTMEM_TRACE].used_bytes), g_tree_nnodes(device->holdings));
	return FALSE;
}

/* A process and its sums, taken once: sorting must not see them change. */
struct summary_row {
	struct process *process;
	struct amount amounts[KIND_COUNT];
	uint64_t total;
};

static gboolean summary_collect(gpointer key, gpointer data, gpointer user)
{
	struct summary_row row = {.process = data};

	(void)key;
	process_read(row.process, KINDS_ALL, row.amounts);
	row.total = amounts_used(row.amounts);
	g_array_append_val((GArray *)user, row);
	return FALSE;
}

static gint summary_compare(gconstpointer a, gconstpointer b)
{
	const struct summary_row *left = a, *right = b;

	if (left->total != right->total)
		return left->total < right->total ? 1 : -1;
	return left->process->pid - right->process->pid;
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

static void summary_process(struct render *render, const struct summary_row *row)
{
	char dram[16], l1[16], cb[16], trace[16], total[16], devices[64], comm[16];
	struct process *process = row->process;

	process_refresh_comm(render->model, process);
	plain_text(comm, process->comm, sizeof comm, true);
	device_list(devices, sizeof devices, process);
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
	const struct model *model = render->model;
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct summary_row));
	GString *out = render->out;

	g_string_append_printf(out, "%-10s %-8s %11s %11s %6s %11s %11s %11s %6s\n", "DEVICE",
			       "BOARD", "DRAM USED", "DRAM TOTAL", "USE", "L1", "CB", "TRACE",
			       "PROCS");
	g_tree_foreach(model->devices, summary_device, render);
	g_tree_foreach(model->processes, summary_collect, rows);
	g_array_sort(rows, summary_compare);
	g_string_append_printf(out, "\n%-10s %-8s %11s %11s %11s %11s %11s  %-8s %s\n", "PID",
			       "UID", "TOTAL", "DRAM", "L1", "CB", "TRACE", "DEVICES", "COMMAND");
	for (guint i = 0; i < rows->len; i++)
		summary_process(render, &g_array_index(rows, struct summary_row, i));
	g_array_free(rows, TRUE);
	return true;
}
