/* SPDX-License-Identifier: Apache-2.0 */
#include "entries.h"
#include <errno.h>

static bool has_arch(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return *dir->device->identity.arch;
}

static bool has_board(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return *dir->device->identity.board;
}

static bool has_asic_id(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return dir->device->identity.asic_id;
}

static bool has_pci(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return *dir->device->identity.pci;
}

static bool has_serial(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return *dir->device->identity.serial;
}

static bool has_firmware(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return *dir->device->identity.firmware;
}

static bool has_numa_node(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return dir->device->identity.has_numa_node;
}

/* A chip behind a gateway may be known by that alone. */
static bool has_place(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return dir->device->identity.asic_id || dir->device->identity.gateway_asic_id;
}

static bool has_capacity(const struct spot *dir, enum kind kind)
{
	return device_capacity(dir->device, kind);
}

static bool has_largest_free(const struct spot *dir, enum kind kind)
{
	return device_largest_free(dir->device, kind);
}

static bool has_any_capacity(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return device_capacity(dir->device, (enum kind)TTMEM_DRAM) ||
	       device_capacity(dir->device, (enum kind)TTMEM_L1);
}

/* What is unknown has no file: of an untracked process only who it is. */
static bool is_tracked(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return !process_is_untracked(dir->process);
}

static bool has_buffers(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return process_lists_buffers(dir->process);
}

static bool has_cgroup(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return dir->process->cgroup;
}

static bool is_tracked_here(const struct spot *dir, enum kind kind)
{
	const struct holding *holding = process_holding(dir->process, dir->device);

	(void)kind;
	return holding && holding->source->rank != SOURCE_KMD;
}

static bool has_history(const struct spot *dir, enum kind kind)
{
	(void)kind;
	return dir->device->model->history_seconds;
}

/* A rest comes when the writer writes in pieces: none of them is the number that is meant. */
static int write_high(struct device *device, enum kind kind, const struct writing *writing)
{
	return writing->is_rest ? -EINVAL
				: device_set_threshold(device, kind, writing->bytes, writing->size);
}

static int reset_peak(struct device *device, enum kind kind, const struct writing *writing)
{
	(void)writing;
	device_peak_reset(device, kind);
	return 0;
}

static const struct entry root_entries[] = {
	{.name = "version", .render = render_version},
	{.name = "status", .render = render_status, .shape = SHAPE_TABLE},
	{.name = "summary", .render = render_summary, .shape = SHAPE_TABLE, .is_private = true},
	{.name = "sources", .render = render_sources, .shape = SHAPE_TABLE},
	{.name = "events", .render = render_events, .shape = SHAPE_TABLE, .tells = true},
	{.name = "exited", .render = render_exited, .shape = SHAPE_TABLE, .is_private = true},
	{.name = "snapshot.json",
	 .render = render_snapshot,
	 .shape = SHAPE_TABLE,
	 .is_private = true},
	{.name = "users", .render = render_users, .shape = SHAPE_TABLE, .is_private = true},
	{.name = "cgroups", .render = render_cgroups, .shape = SHAPE_TABLE, .is_private = true},
	{.name = "commands", .render = render_commands, .shape = SHAPE_TABLE, .is_private = true},
};

static const struct entry metrics_entries[] = {
	{.name = "ttmem.prom", .render = render_metrics, .shape = SHAPE_TABLE, .is_sample = true},
	{.name = "ttmem_pids.prom",
	 .render = render_metrics_pids,
	 .shape = SHAPE_TABLE,
	 .mode = 0440,
	 .is_sample = true,
	 .for_group = true,
	 .is_private = true},
};

#define USED(prefix, which)                                                                       \
	{                                                                                         \
		.name = prefix "_used", .render = render_device_used, .kind = (enum kind)(which), \
		.tells = true                                                                     \
	}
#define HIGH(prefix, which)                                                                       \
	{                                                                                         \
		.name = prefix "_high", .render = render_device_high, .kind = (enum kind)(which), \
		.mode = 0644, .write = write_high                                                 \
	}
#define PEAK(prefix, which)                                                                       \
	{                                                                                         \
		.name = prefix "_peak", .render = render_device_peak, .kind = (enum kind)(which), \
		.mode = 0644, .write = reset_peak                                                 \
	}

static const struct entry device_entries[] = {
	{.name = "arch", .render = render_device_arch, .exists = has_arch},
	{.name = "board", .render = render_device_board, .exists = has_board},
	{.name = "asic_id", .render = render_device_asic_id, .exists = has_asic_id},
	{.name = "pci", .render = render_device_pci, .exists = has_pci},
	{.name = "remote", .render = render_device_remote, .exists = has_place},
	{.name = "serial", .render = render_device_serial, .exists = has_serial},
	{.name = "firmware", .render = render_device_firmware, .exists = has_firmware},
	{.name = "numa_node", .render = render_device_numa_node, .exists = has_numa_node},
	{.name = "capacity_source",
	 .render = render_device_capacity_source,
	 .exists = has_any_capacity},
	{.name = "dram_total",
	 .render = render_device_total,
	 .kind = (enum kind)TTMEM_DRAM,
	 .exists = has_capacity},
	{.name = "dram_free",
	 .render = render_device_free,
	 .kind = (enum kind)TTMEM_DRAM,
	 .exists = has_capacity},
	{.name = "dram_largest_free",
	 .render = render_device_largest_free,
	 .kind = (enum kind)TTMEM_DRAM,
	 .exists = has_largest_free},
	{.name = "l1_total",
	 .render = render_device_total,
	 .kind = (enum kind)TTMEM_L1,
	 .exists = has_capacity},
	USED("dram", TTMEM_DRAM),
	USED("l1", TTMEM_L1),
	USED("l1_small", TTMEM_L1_SMALL),
	USED("trace", TTMEM_TRACE),
	USED("cb", TTMEM_CB),
	USED("kernel", TTMEM_KERNEL),
	USED("system", TTMEM_SYSTEM),
	PEAK("dram", TTMEM_DRAM),
	PEAK("l1", TTMEM_L1),
	PEAK("l1_small", TTMEM_L1_SMALL),
	PEAK("trace", TTMEM_TRACE),
	PEAK("cb", TTMEM_CB),
	PEAK("kernel", TTMEM_KERNEL),
	PEAK("system", TTMEM_SYSTEM),
	{.name = "stat", .render = render_device_stat, .shape = SHAPE_TABLE},
	HIGH("dram", TTMEM_DRAM),
	HIGH("l1", TTMEM_L1),
	{.name = "events", .render = render_device_events, .shape = SHAPE_TABLE, .tells = true},
	{.name = "oom",
	 .render = render_device_oom,
	 .shape = SHAPE_TABLE,
	 .tells = true,
	 .is_private = true},
	{.name = "history",
	 .render = render_device_history,
	 .shape = SHAPE_TABLE,
	 .exists = has_history},
	{.name = "holders",
	 .render = render_device_holders,
	 .shape = SHAPE_TABLE,
	 .is_private = true},
	{.name = "tags", .render = render_device_tags, .shape = SHAPE_TABLE, .is_private = true},
	{.name = "ages", .render = render_device_ages, .shape = SHAPE_TABLE},
};

#define HELD(word, which, renderer, when, ...)                                                \
	{                                                                                     \
		.name = word, .render = renderer, .kind = (enum kind)(which), .exists = when, \
		__VA_ARGS__                                                                   \
	}
#define TOLD(word, which) HELD(word, which, render_process_used, is_tracked, .tells = true)

static const struct entry process_entries[] = {
	TOLD("dram", TTMEM_DRAM),
	TOLD("l1", TTMEM_L1),
	TOLD("l1_small", TTMEM_L1_SMALL),
	TOLD("trace", TTMEM_TRACE),
	TOLD("cb", TTMEM_CB),
	TOLD("kernel", TTMEM_KERNEL),
	TOLD("system", TTMEM_SYSTEM),
	{.name = "total", .render = render_process_total, .exists = is_tracked},
	{.name = "comm", .render = render_process_comm},
	{.name = "uid", .render = render_process_uid},
	{.name = "start_time", .render = render_process_start_time},
	{.name = "source", .render = render_process_source},
	{.name = "peak", .render = render_process_peak, .shape = SHAPE_TABLE, .exists = is_tracked},
	{.name = "stat", .render = render_process_stat, .shape = SHAPE_TABLE},
	{.name = "buffers",
	 .render = render_buffers,
	 .shape = SHAPE_TABLE,
	 .mode = 0400,
	 .exists = has_buffers},
	{.name = "tags",
	 .render = render_process_tags,
	 .shape = SHAPE_TABLE,
	 .exists = has_buffers},
	{.name = "cgroup", .render = render_process_cgroup, .exists = has_cgroup},
};

static const struct entry holding_entries[] = {
	HELD("dram", TTMEM_DRAM, render_holding_used, is_tracked_here),
	HELD("l1", TTMEM_L1, render_holding_used, is_tracked_here),
	HELD("l1_small", TTMEM_L1_SMALL, render_holding_used, is_tracked_here),
	HELD("trace", TTMEM_TRACE, render_holding_used, is_tracked_here),
	HELD("cb", TTMEM_CB, render_holding_used, is_tracked_here),
	HELD("kernel", TTMEM_KERNEL, render_holding_used, is_tracked_here),
	HELD("system", TTMEM_SYSTEM, render_holding_used, is_tracked_here),
	{.name = "source", .render = render_holding_source},
};

#define ENTRIES(list)                    \
	(struct entries)                 \
	{                                \
		list, G_N_ELEMENTS(list) \
	}

struct entries entries_of(enum place place)
{
	switch (place) {
	case PLACE_ROOT:
		return ENTRIES(root_entries);
	case PLACE_METRICS:
		return ENTRIES(metrics_entries);
	case PLACE_DEVICE:
		return ENTRIES(device_entries);
	case PLACE_PROCESS:
		return ENTRIES(process_entries);
	case PLACE_PROCESS_DEVICE:
		return ENTRIES(holding_entries);
	default:
		return (struct entries){0};
	}
}
