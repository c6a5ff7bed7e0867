/* SPDX-License-Identifier: Apache-2.0 */
/* The files at the top: version and status. */
#include "render.h"

bool render_version(struct render *render)
{
	g_string_append(render->out, TTMEM_VERSION "\n");
	return true;
}

static guint devices_shown(const struct model *model)
{
	guint count = 0;

	for (GTreeNode *node = g_tree_node_first(model->devices); node;
	     node = g_tree_node_next(node))
		count += device_is_shown(g_tree_node_value(node));
	return count;
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
	g_string_append_printf(out, "devices %u\n", devices_shown(model));
	g_string_append_printf(out, "processes %d\n", g_tree_nnodes(model->processes));
	g_string_append_printf(out, "clients %lu\n", status.clients);
	g_string_append_printf(out, "silent_connections %lu\n", status.silent_connections);
	g_string_append_printf(out, "rejected_clients %lu\n", status.rejected_clients);
	g_string_append_printf(out, "rejected_devices %lu\n", model->refused_devices);
	g_string_append_printf(out, "alloc_server_connections %lu\n", status.alloc_connections);
	g_string_append_printf(out, "alloc_server_messages %lu\n", status.alloc_messages);
	g_string_append_printf(out, "alloc_server_garbage_bytes %lu\n", status.alloc_garbage_bytes);
	g_string_append_printf(out, "alloc_server_lost_events %lu\n", status.alloc_lost_events);
	g_string_append_printf(out, "alloc_server_lost_answers %lu\n", status.alloc_lost_answers);
	g_string_append_printf(out, "alloc_server_rejected %lu\n", status.alloc_rejected);
	g_string_append_printf(out, "doorbells %lu\n", status.doorbells);
	g_string_append_printf(out, "notifications %lu\n", status.notifications);
	g_string_append_printf(out, "untold_changes %lu\n", status.untold);
	g_string_append_printf(out, "followed_files %lu\n", status.followed);
	g_string_append_printf(out, "open_files %lu\n", status.open_files);
	g_string_append_printf(out, "nodes %lu\n", status.nodes);
	g_string_append_printf(out, "text_bytes %lu\n", status.text_bytes);
	g_string_append_printf(out, "requests %lu\n", status.requests);
	g_string_append_printf(out, "requests_awaited %lu\n", status.awaited);
	g_string_append_printf(out, "requests_awaited_in_vain %lu\n", status.awaited_in_vain);
	return true;
}
