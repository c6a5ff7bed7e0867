/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a device's memory, by use. The sums are those of the moment at which the text is
 * written; the oldest buffers, for which all must be looked at, were gathered before. */
#include "plain.h"
#include "render.h"

/* Of one process; in a table by its serial. */
struct oldest {
	uint64_t serial;
	uint64_t time_ns[KIND_COUNT]; /* since the epoch; UINT64_MAX: none was seen */
};

struct row {
	const struct process *process;
	enum kind kind;
	bool lists_buffers;
	uint64_t bytes;
	uint64_t buffers;
	uint64_t oldest_ns;
};

static void work_free(gpointer work)
{
	g_hash_table_destroy(work);
}

static void take(void *data, const struct holding *holding, const struct survey *survey)
{
	const struct render *render = data;
	struct oldest *oldest = g_new(struct oldest, 1);

	process_refresh_comm(render->model, holding->process);
	oldest->serial = holding->process->serial;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		const struct survey_place *place =
			survey ? survey_place(survey, holding->device->number, (enum kind)kind)
			       : NULL;

		oldest->time_ns[kind] = place ? place->oldest_ns : UINT64_MAX;
	}
	g_hash_table_replace(render->cursor->work, &oldest->serial, oldest);
}

/* Of a process that came since they were gathered nothing is known but its sums. */
static void add_rows(GArray *rows, struct holding *holding, const struct oldest *oldest)
{
	struct amount amounts[KIND_COUNT];

	holding_read(holding, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct row row = {
			.process = holding->process,
			.kind = (enum kind)kind,
			.lists_buffers = holding->source->ops->buffers,
			.bytes = amounts[kind].used_bytes,
			.buffers = amounts[kind].used_buffers,
			.oldest_ns = oldest ? oldest->time_ns[kind] : UINT64_MAX,
		};

		if (row.bytes || row.buffers)
			g_array_append_val(rows, row);
	}
}

static gint by_use(gconstpointer a, gconstpointer b)
{
	const struct row *left = a, *right = b;

	if (left->bytes != right->bytes)
		return left->bytes < right->bytes ? 1 : -1;
	if (left->process->pid != right->process->pid)
		return left->process->pid < right->process->pid ? -1 : 1;
	return (int)left->kind - (int)right->kind;
}

static void write_row(GString *out, const struct row *row, uint64_t now_ns)
{
	uint64_t age_ns = now_ns > row->oldest_ns ? now_ns - row->oldest_ns : 0;
	char comm[16], buffers[24] = "-", oldest[32] = "-";

	plain_text(comm, row->process->comm, sizeof comm, false);
	if (row->lists_buffers)
		g_snprintf(buffers, sizeof buffers, "%lu", row->buffers);
	if (row->oldest_ns != UINT64_MAX)
		g_snprintf(oldest, sizeof oldest, "%lu.%02lu", age_ns / 1000000000u,
			   age_ns / 10000000u % 100u);
	g_string_append_printf(out, "%-10d %-16s %-8u %-8s %-14lu %-9s %s\n",
			       (int)row->process->pid, *comm ? comm : "-", row->process->uid,
			       kind_name(row->kind), row->bytes, buffers, oldest);
}

static void write_table(struct render *render)
{
	GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct row));
	uint64_t now_ns = render->model->now_ns();

	for (GTreeNode *node = g_tree_node_first(render->device->holdings); node;
	     node = g_tree_node_next(node)) {
		struct holding *holding = g_tree_node_value(node);

		add_rows(rows, holding,
			 g_hash_table_lookup(render->cursor->work, &holding->process->serial));
	}
	g_array_sort(rows, by_use);
	g_string_append_printf(render->out, "%-10s %-16s %-8s %-8s %-14s %-9s %s\n", "pid", "comm",
			       "uid", "kind", "bytes", "buffers", "oldest_sec");
	for (guint i = 0; i < rows->len; i++)
		write_row(render->out, &g_array_index(rows, struct row, i), now_ns);
	g_array_free(rows, TRUE);
}

bool render_device_holders(struct render *render)
{
	struct cursor *cursor = render->cursor;

	if (!cursor->work) {
		cursor->work = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
		cursor->work_free = work_free;
	}
	if (!survey_tour(render->model, render->device, &cursor->tour, take, render)) {
		cursor->work_bytes = g_hash_table_size(cursor->work) * 2 * sizeof(struct oldest);
		return false;
	}
	write_table(render);
	cursor_clear(cursor);
	return true;
}
