/* SPDX-License-Identifier: Apache-2.0 */
#include "entries.h"

static bool has_arch(const struct device *device, enum kind kind)
{
	(void)kind;
	return *device->identity.arch;
}

static bool has_board(const struct device *device, enum kind kind)
{
	(void)kind;
	return *device->identity.board;
}

static bool has_asic_id(const struct device *device, enum kind kind)
{
	(void)kind;
	return device->identity.asic_id;
}

static bool has_pci(const struct device *device, enum kind kind)
{
	(void)kind;
	return *device->identity.pci;
}

static bool has_capacity(const struct device *device, enum kind kind)
{
	return device_capacity(device, kind);
}

static int reset_peak(struct device *device, enum kind kind)
{
	device_peak_reset(device, kind);
	return 0;
}

static const struct entry root_entries[] = {
	{.name = "version", .render = render_version},
	{.name = "status", .render = render_status, .shape = SHAPE_TABLE},
	{.name = "summary", .render = render_summary, .shape = SHAPE_TABLE},
};

#define USED(prefix, which)                                                                      \
	{                                                                                        \
		.name = prefix "_used", .render = render_device_used, .kind = (enum kind)(which) \
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
	{.name = "remote", .render = render_device_remote, .exists = has_asic_id},
	{.name = "dram_total",
	 .render = render_device_total,
	 .kind = (enum kind)TTMEM_DRAM,
	 .exists = has_capacity},
	{.name = "dram_free",
	 .render = render_device_free,
	 .kind = (enum kind)TTMEM_DRAM,
	 .exists = has_capacity},
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
};

static const struct entry process_entries[] = {
	{.name = "dram", .render = render_process_used, .kind = (enum kind)TTMEM_DRAM},
	{.name = "l1", .render = render_process_used, .kind = (enum kind)TTMEM_L1},
	{.name = "l1_small", .render = render_process_used, .kind = (enum kind)TTMEM_L1_SMALL},
	{.name = "trace", .render = render_process_used, .kind = (enum kind)TTMEM_TRACE},
	{.name = "cb", .render = render_process_used, .kind = (enum kind)TTMEM_CB},
	{.name = "kernel", .render = render_process_used, .kind = (enum kind)TTMEM_KERNEL},
	{.name = "system", .render = render_process_used, .kind = (enum kind)TTMEM_SYSTEM},
	{.name = "total", .render = render_process_total},
	{.name = "comm", .render = render_process_comm},
	{.name = "uid", .render = render_process_uid},
	{.name = "start_time", .render = render_process_start_time},
	{.name = "peak", .render = render_process_peak, .shape = SHAPE_TABLE},
	{.name = "stat", .render = render_process_stat, .shape = SHAPE_TABLE},
	{.name = "buffers", .render = render_buffers, .shape = SHAPE_TABLE, .mode = 0400},
};

static const struct entry holding_entries[] = {
	{.name = "dram", .render = render_holding_used, .kind = (enum kind)TTMEM_DRAM},
	{.name = "l1", .render = render_holding_used, .kind = (enum kind)TTMEM_L1},
	{.name = "l1_small", .render = render_holding_used, .kind = (enum kind)TTMEM_L1_SMALL},
	{.name = "trace", .render = render_holding_used, .kind = (enum kind)TTMEM_TRACE},
	{.name = "cb", .render = render_holding_used, .kind = (enum kind)TTMEM_CB},
	{.name = "kernel", .render = render_holding_used, .kind = (enum kind)TTMEM_KERNEL},
	{.name = "system", .render = render_holding_used, .kind = (enum kind)TTMEM_SYSTEM},
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
