/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of sources and of processes that have left. */
#include "capped.h"
#include "plain.h"
#include "render.h"

const char *source_state_name(const struct source *source)
{
	static const char *const states[] = {
		[SOURCE_DOWN] = "down",
		[SOURCE_UP] = "up",
		[SOURCE_ERROR] = "error",
	};

	return states[source->state];
}

guint source_devices(const struct model *model, enum source_rank rank)
{
	guint count = 0;

	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node))
		count += ((struct device *)g_tree_node_value(node))->known_by >> rank & 1;
	return count;
}

guint source_processes(const struct model *model, enum source_rank rank)
{
	guint count = 0;

	for (GTreeNode *node = g_tree_node_first(model->processes); node;
	     node = g_tree_node_next(node))
		count += ((struct process *)g_tree_node_value(node))->joined[rank] != NULL;
	return count;
}

static const char *moment(char text[32], uint64_t ns)
{
	if (!ns)
		return "-";
	g_snprintf(text, 32, "%lu.%03lu", ns / 1000000000u, ns / 1000000u % 1000u);
	return text;
}

bool render_sources(struct render *render)
{
	const struct model *model = render->model;

	g_string_append(render->out,
			"source       state devices processes last_update     detail\n");
	for (int rank = 0; rank < SOURCE_COUNT; rank++) {
		const struct source *source = model->by_rank[rank];
		char updated[32], detail[SOURCE_DETAIL_BYTES];

		if (!source)
			continue;
		/* A detail can name a file below /proc/<pid>/root. */
		plain_text(detail, reader_sees_all(render) ? source->detail : "", sizeof detail,
			   true);
		g_string_append_printf(
			render->out, "%-12s %-5s %-7u %-9u %-15s %s\n", source->name,
			source_state_name(source), source_devices(model, (enum source_rank)rank),
			source_processes(model, (enum source_rank)rank),
			moment(updated, source->last_update_ns), *detail ? detail : "-");
	}
	return true;
}

static uint64_t sum(const uint64_t bytes[KIND_COUNT])
{
	uint64_t all = 0;

	for (int kind = 0; kind < KIND_COUNT; kind++)
		add_capped(&all, bytes[kind]);
	return all;
}

static const char *ending_text(char text[24], const struct ending *ending)
{
	switch (ending->how) {
	case ENDING_EXIT:
		g_snprintf(text, 24, "exit:%d", ending->number);
		return text;
	case ENDING_SIGNAL:
		g_snprintf(text, 24, "signal:%d", ending->number);
		return text;
	case ENDING_DETACHED:
		return "detached";
	default:
		return "-";
	}
}

static uint64_t lifetime_sec(const struct departed *departed)
{
	return departed->end_ns > departed->start_ns
		       ? (departed->end_ns - departed->start_ns) / 1000000000u
		       : 0;
}

static void exited_row(GString *out, const struct departed *departed)
{
	char comm[16], from[32], to[32], how[24];

	plain_text(comm, departed->comm, sizeof comm, false);
	g_string_append_printf(out, "%-10d %-16s %-8u %-15s %-15s %-12lu %-9s", (int)departed->pid,
			       *comm ? comm : "-", departed->uid, moment(from, departed->start_ns),
			       moment(to, departed->end_ns), lifetime_sec(departed),
			       ending_text(how, &departed->ending));
	for (int kind = 0; kind < KIND_COUNT; kind++)
		g_string_append_printf(out, " %-12lu", departed->peak_bytes[kind]);
	g_string_append_printf(out, " %lu\n", sum(departed->leaked_bytes));
}

/* The last to leave at the end. */
bool render_exited(struct render *render)
{
	GString *out = render->out;

	g_string_append_printf(out, "%-10s %-16s %-8s %-15s %-15s %-12s %-9s", "pid", "comm", "uid",
			       "start", "end", "lifetime_sec", "how");
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		g_autofree char *title = g_strdup_printf("%s_peak", kind_name((enum kind)kind));

		g_string_append_printf(out, " %-12s", title);
	}
	g_string_append(out, " leaked\n");
	for (GList *link = render->model->departed.head; link; link = link->next)
		exited_row(out, link->data);
	return true;
}
