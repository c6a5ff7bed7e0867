/* SPDX-License-Identifier: Apache-2.0 */
/* Use by user, by cgroup and by command. Names are read again first, some at a time; the sums of
 * all processes are then of one moment. A process that is untracked counts nowhere. */
#include "plain.h"
#include "render.h"
#include <string.h>

/* One process, or several that are alike. */
struct group {
	uint64_t number; /* orders groups before their names do */
	char *name;
	guint processes;
	struct amount amounts[KIND_COUNT];
	uint64_t total;
};

struct grouping {
	const char *title;
	int width;
	process_refresh_fn *refresh; /* NULL: no need */
	void (*name)(const struct process *process, struct group *group);
};

static gint by_name(gconstpointer a, gconstpointer b)
{
	const struct group *left = a, *right = b;

	if (left->number != right->number)
		return left->number < right->number ? -1 : 1;
	return g_strcmp0(left->name, right->name);
}

static gint by_use(gconstpointer a, gconstpointer b)
{
	const struct group *left = a, *right = b;

	if (left->total != right->total)
		return left->total < right->total ? 1 : -1;
	return by_name(a, b);
}

static void group_clear(gpointer data)
{
	struct group *group = data;

	g_free(group->name);
}

static GArray *groups_new(void)
{
	GArray *groups = g_array_new(FALSE, FALSE, sizeof(struct group));

	g_array_set_clear_func(groups, group_clear);
	return groups;
}

static GArray *each_process(const struct render *render, const struct grouping *by)
{
	GArray *groups = groups_new();

	for (GTreeNode *node = g_tree_node_first(render->model->processes); node;
	     node = g_tree_node_next(node)) {
		const struct process *process = g_tree_node_value(node);
		struct group group = {.processes = 1};

		if (process_is_untracked(process))
			continue;
		by->name(process, &group);
		process_read(process, KINDS_ALL, group.amounts);
		group.total = amounts_used(group.amounts);
		g_array_append_val(groups, group);
	}
	return groups;
}

static void group_add(struct group *to, const struct group *from)
{
	to->processes += from->processes;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		amount_add(&to->amounts[kind], &from->amounts[kind]);
	to->total = amounts_used(to->amounts);
}

/* Those that are alike are neighbours once they are in order. */
static GArray *merge(GArray *each)
{
	GArray *groups = groups_new();

	g_array_sort(each, by_name);
	for (guint i = 0; i < each->len; i++) {
		struct group *from = &g_array_index(each, struct group, i);
		struct group *last =
			groups->len ? &g_array_index(groups, struct group, groups->len - 1) : NULL;

		if (last && !by_name(last, from)) {
			group_add(last, from);
			continue;
		}
		g_array_append_val(groups, *from);
		from->name = NULL;
	}
	g_array_sort(groups, by_use);
	g_array_free(each, TRUE);
	return groups;
}

static void write_table(GString *out, const struct grouping *by, const GArray *groups)
{
	g_string_append_printf(out, "%-*s %9s %14s", by->width, by->title, "processes", "total");
	for (int kind = 0; kind < KIND_COUNT; kind++)
		g_string_append_printf(out, " %14s", kind_name((enum kind)kind));
	g_string_append_c(out, '\n');
	for (guint i = 0; i < groups->len; i++) {
		const struct group *group = &g_array_index(groups, struct group, i);

		g_string_append_printf(out, "%-*s %9u %14lu", by->width, group->name,
				       group->processes, group->total);
		for (int kind = 0; kind < KIND_COUNT; kind++)
			g_string_append_printf(out, " %14lu", group->amounts[kind].used_bytes);
		g_string_append_c(out, '\n');
	}
}

static bool grouped(struct render *render, const struct grouping *by)
{
	GArray *groups;

	if (by->refresh &&
	    !model_refresh_some(render->model, by->refresh, &render->cursor->tour.last))
		return false;
	groups = merge(each_process(render, by));
	write_table(render->out, by, groups);
	g_array_free(groups, TRUE);
	return true;
}

/* What has no name, or none that is known, is "-". */
static char *plain_name(const char *name, bool spaces)
{
	size_t size = name ? strlen(name) + 1 : 0;
	char *plain = size > 1 ? g_malloc(size) : g_strdup("-");

	if (size > 1)
		plain_text(plain, name, size, spaces);
	return plain;
}

static void name_user(const struct process *process, struct group *group)
{
	group->number = process->uid;
	group->name = g_strdup_printf("%u", process->uid);
}

static void name_cgroup(const struct process *process, struct group *group)
{
	group->name = plain_name(process->cgroup, false);
}

static void name_command(const struct process *process, struct group *group)
{
	group->name = plain_name(process->comm, false);
}

bool render_users(struct render *render)
{
	static const struct grouping by = {"uid", 10, NULL, name_user};

	return grouped(render, &by);
}

bool render_cgroups(struct render *render)
{
	static const struct grouping by = {"cgroup", 40, process_refresh_cgroup, name_cgroup};

	return grouped(render, &by);
}

bool render_commands(struct render *render)
{
	static const struct grouping by = {"comm", 16, process_refresh_comm, name_command};

	return grouped(render, &by);
}

bool render_process_cgroup(struct render *render)
{
	char *name;

	process_refresh_cgroup(render->model, render->process);
	name = plain_name(render->process->cgroup, true);
	g_string_append_printf(render->out, "%s\n", name);
	g_free(name);
	return true;
}
