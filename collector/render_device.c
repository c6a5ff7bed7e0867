/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a device. */
#include "render.h"

static bool line(struct render *render, const char *text)
{
	g_string_append_printf(render->out, "%s\n", text);
	return true;
}

static bool value(struct render *render, uint64_t number)
{
	text_number(render->out, number);
	return true;
}

bool render_device_arch(struct render *render)
{
	return line(render, render->device->identity.arch);
}

bool render_device_board(struct render *render)
{
	return line(render, render->device->identity.board);
}

bool render_device_pci(struct render *render)
{
	return line(render, render->device->identity.pci);
}

bool render_device_asic_id(struct render *render)
{
	g_string_append_printf(render->out, "%016lx\n", render->device->identity.asic_id);
	return true;
}

bool render_device_remote(struct render *render)
{
	return value(render, render->device->identity.is_remote);
}

bool render_device_total(struct render *render)
{
	return value(render, device_capacity(render->device, render->kind));
}

bool render_device_serial(struct render *render)
{
	return line(render, render->device->identity.serial);
}

bool render_device_firmware(struct render *render)
{
	return line(render, render->device->identity.firmware);
}

bool render_device_numa_node(struct render *render)
{
	g_string_append_printf(render->out, "%d\n", render->device->identity.numa_node);
	return true;
}

bool render_device_capacity_source(struct render *render)
{
	return line(render, device_capacity_is_from_table(render->device) ? "table" : "client");
}

static uint64_t used_now(struct render *render)
{
	struct amount amounts[KIND_COUNT];

	device_read(render->device, 1u << render->kind, amounts);
	return amounts[render->kind].used_bytes;
}

static uint64_t rest(uint64_t total, uint64_t used)
{
	return total > used ? total - used : 0;
}

bool render_device_free(struct render *render)
{
	return value(render, rest(device_capacity(render->device, render->kind), used_now(render)));
}

/* Who said it may have gone since the file was found: then there is nothing to say. */
bool render_device_largest_free(struct render *render)
{
	uint64_t bytes = device_largest_free(render->device, render->kind);

	return bytes ? value(render, bytes) : true;
}

bool render_device_used(struct render *render)
{
	return value(render, used_now(render));
}

bool render_device_peak(struct render *render)
{
	used_now(render);
	return value(render, device_peak(render->device, render->kind));
}

static void stat_kind(struct render *render, enum kind kind, const struct amount *amount,
		      uint64_t unattributed)
{
	uint64_t total = device_capacity(render->device, kind);
	const char *name = kind_name(kind);
	GString *out = render->out;

	g_string_append_printf(out, "%s_used %lu\n", name, amount->used_bytes);
	g_string_append_printf(out, "%s_buffers %lu\n", name, amount->used_buffers);
	g_string_append_printf(out, "%s_peak %lu\n", name, device_peak(render->device, kind));
	if (total) {
		g_string_append_printf(out, "%s_total %lu\n", name, total);
		g_string_append_printf(out, "%s_free %lu\n", name, rest(total, amount->used_bytes));
	}
	g_string_append_printf(out, "%s_unattributed %lu\n", name, unattributed);
	g_string_append_printf(out, "%s_allocated_total %lu\n", name, amount->allocated_bytes);
	g_string_append_printf(out, "%s_failures_total %lu\n", name, amount->failures);
}

bool render_device_stat(struct render *render)
{
	struct amount amounts[KIND_COUNT];
	uint64_t unattributed[KIND_COUNT];

	device_read(render->device, KINDS_ALL, amounts);
	device_unattributed(render->model, render->device, unattributed);
	g_string_append_printf(render->out, "processes %d\n",
			       g_tree_nnodes(render->device->holdings));
	g_string_append_printf(render->out, "used %lu\n", amounts_used(amounts));
	g_string_append_printf(render->out, "buffers %lu\n", amounts_buffers(amounts));
	for (int kind = 0; kind < KIND_COUNT; kind++)
		stat_kind(render, (enum kind)kind, &amounts[kind], unattributed[kind]);
	return true;
}
