/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in Prometheus' text format 0.0.4: one HELP and one TYPE for each family, its samples
 * together, no times (a scraper refuses a file that has any), and no family that is empty.
 */
#include "moment.h"

struct family {
	const char *name; /* without "ttmem_" */
	const char *type;
	const char *help;
};

/* Samples of one family. */
struct writer {
	GString *out;
	const struct family *family;
	bool begun;
};

static void begin(struct writer *writer)
{
	const struct family *family = writer->family;

	if (!writer->begun)
		g_string_append_printf(writer->out, "# HELP ttmem_%s %s\n# TYPE ttmem_%s %s\n",
				       family->name, family->help, family->name, family->type);
	writer->begun = true;
}

/* Labels are as in "{device=\"0\"}", or empty. */
static void G_GNUC_PRINTF(2, 0)
	name_sample(struct writer *writer, const char *labels, va_list arguments)
{
	begin(writer);
	g_string_append_printf(writer->out, "ttmem_%s", writer->family->name);
	g_string_append_vprintf(writer->out, labels, arguments);
	g_string_append_c(writer->out, ' ');
}

static void G_GNUC_PRINTF(3, 4)
	sample(struct writer *writer, uint64_t value, const char *labels, ...)
{
	va_list arguments;

	va_start(arguments, labels);
	name_sample(writer, labels, arguments);
	va_end(arguments);
	text_number(writer->out, value);
}

static void G_GNUC_PRINTF(3, 4)
	sample_time(struct writer *writer, uint64_t ns, const char *labels, ...)
{
	va_list arguments;

	va_start(arguments, labels);
	name_sample(writer, labels, arguments);
	va_end(arguments);
	text_time(writer->out, ns);
}

typedef bool value_fn(const struct moment_device *device, enum kind kind, uint64_t *value);

static bool capacity(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device_capacity(device->device, kind);
	return *value;
}

static bool used(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->amounts[kind].used_bytes;
	return true;
}

static bool peak(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->peak_bytes[kind];
	return true;
}

static bool largest_free(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->failures[kind].largest_free_bytes;
	return *value;
}

static bool unattributed(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->unattributed_bytes[kind];
	return true;
}

static bool buffers(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->amounts[kind].used_buffers;
	return true;
}

static bool allocated(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->amounts[kind].allocated_bytes;
	return true;
}

static bool freed(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = amount_freed(&device->amounts[kind]);
	return true;
}

static bool failures(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->amounts[kind].failures;
	return true;
}

static bool threshold_events(const struct moment_device *device, enum kind kind, uint64_t *value)
{
	*value = device->device->events.high_of[kind];
	return kind == (enum kind)TTMEM_DRAM || kind == (enum kind)TTMEM_L1;
}

/* Those with a sample for each device and kind. A new one is a line here and a function above. */
static const struct {
	struct family family;
	value_fn *value; /* false: not known */
} device_families[] = {
	{{"device_memory_capacity_bytes", "gauge", "Memory that can be allocated on the device."},
	 capacity},
	{{"device_memory_used_bytes", "gauge", "Memory that processes hold on the device."}, used},
	{{"device_memory_peak_bytes", "gauge",
	  "Highest use that was seen since the peak was last started afresh."},
	 peak},
	{{"device_memory_largest_free_bytes", "gauge",
	  "Largest free block at the newest failed request of a process that is still there."},
	 largest_free},
	{{"device_memory_unattributed_bytes", "gauge",
	  "What the totals of TT-Metal claim beyond what living processes hold."},
	 unattributed},
	{{"device_buffers", "gauge", "Live buffers on the device, where single ones are known."},
	 buffers},
	{{"device_allocated_bytes_total", "counter", "Memory that was allocated on the device."},
	 allocated},
	{{"device_freed_bytes_total", "counter",
	  "Memory that was freed on the device, also by the end of a process."},
	 freed},
	{{"device_allocation_failures_total", "counter",
	  "Requests for memory of the device that failed."},
	 failures},
	{{"device_threshold_events_total", "counter",
	  "How often the use went above the device's threshold, of kinds that can have one."},
	 threshold_events},
};

static const struct moment_device *device_at(const struct moment *moment, guint i)
{
	return &g_array_index(moment->devices, struct moment_device, i);
}

static void write_device_family(GString *out, const struct moment *moment,
				const struct family *family, value_fn *value)
{
	struct writer writer = {out, family, false};
	uint64_t number;

	for (guint i = 0; i < moment->devices->len; i++)
		for (int kind = 0; kind < KIND_COUNT; kind++)
			if (value(device_at(moment, i), (enum kind)kind, &number))
				sample(&writer, number, "{device=\"%u\",kind=\"%s\"}",
				       device_at(moment, i)->device->number,
				       kind_name((enum kind)kind));
}

static void write_oldest(GString *out, const struct moment *moment)
{
	static const struct family family = {
		"device_oldest_buffer_timestamp_seconds", "gauge",
		"When the oldest live buffer was allocated, where all are known and not too many "
		"to look at; seconds since the epoch."};
	struct writer writer = {out, &family, false};

	for (guint i = 0; i < moment->devices->len; i++)
		for (int kind = 0; kind < KIND_COUNT; kind++) {
			uint32_t device = device_at(moment, i)->device->number;
			uint64_t ns = oldest_ns(&moment->oldest, device, (enum kind)kind);

			if (ns)
				sample_time(&writer, ns, "{device=\"%u\",kind=\"%s\"}", device,
					    kind_name((enum kind)kind));
		}
}

static void add_label(GString *labels, const char *name, const char *value)
{
	if (*value)
		g_string_append_printf(labels, ",%s=\"%s\"", name, value);
}

/* All of them are plain words: nothing is to be escaped. What is not known has no label. */
static void write_device_info(struct writer *writer, const struct device *device)
{
	g_autoptr(GString) labels = g_string_new(NULL);
	const struct identity *identity = &device->identity;

	if (identity->asic_id)
		g_string_append_printf(labels, ",asic_id=\"%016lx\"", identity->asic_id);
	add_label(labels, "pci", identity->pci);
	add_label(labels, "arch", identity->arch);
	add_label(labels, "board", identity->board);
	if (identity->asic_id || identity->gateway_asic_id)
		add_label(labels, "remote", identity->is_remote ? "1" : "0");
	sample(writer, 1, "{device=\"%u\"%s}", device->number, labels->str);
}

static void write_devices(GString *out, const struct moment *moment)
{
	static const struct family info = {"device_info", "gauge", "What a device is; always 1."};
	static const struct family processes = {
		"device_processes", "gauge",
		"Processes that hold memory of the device or have it open."};
	struct writer writer = {out, &info, false};

	for (guint i = 0; i < moment->devices->len; i++)
		write_device_info(&writer, device_at(moment, i)->device);
	for (guint i = 0; i < G_N_ELEMENTS(device_families); i++)
		write_device_family(out, moment, &device_families[i].family,
				    device_families[i].value);
	write_oldest(out, moment);
	writer = (struct writer){out, &processes, false};
	for (guint i = 0; i < moment->devices->len; i++)
		sample(&writer, device_at(moment, i)->processes, "{device=\"%u\"}",
		       device_at(moment, i)->device->number);
}

static void write_number(GString *out, const struct family *family, uint64_t value)
{
	sample(&(struct writer){out, family, false}, value, "%s", ""); /* no labels */
}

static void write_sources(GString *out, const struct model *model)
{
	static const struct family up = {
		"source_up", "gauge",
		"1 if all is well with this source of numbers; 0 if it is down or a part of it "
		"cannot be used."};
	static const struct family updated = {
		"last_update_timestamp_seconds", "gauge",
		"When this source of numbers last reported something new; seconds since the "
		"epoch."};
	struct writer writer = {out, &up, false};

	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		if (model->by_rank[rank])
			sample(&writer, model->by_rank[rank]->state == SOURCE_UP, "{source=\"%s\"}",
			       model->by_rank[rank]->name);
	writer = (struct writer){out, &updated, false};
	for (int rank = 0; rank < SOURCE_COUNT; rank++) {
		const struct source *source = model->by_rank[rank];

		if (source && source->last_update_ns)
			sample_time(&writer, source->last_update_ns, "{source=\"%s\"}",
				    source->name);
	}
}

static void write_totals(GString *out, const struct model *model)
{
	static const struct family build = {"build_info", "gauge",
					    "The release of ttmemd; always 1."};
	static const struct family exited = {"exited_processes_total", "counter",
					     "Processes with memory of a device that have ended."};
	static const struct family leaked = {
		"leaked_bytes_total", "counter",
		"Memory that processes had not freed when they ended."};

	sample(&(struct writer){out, &build, false}, 1, "{version=\"%s\"}", TTMEM_VERSION);
	write_number(out, &exited, model->exited_processes);
	write_number(out, &leaked, model->leaked_bytes);
	write_sources(out, model);
}

bool render_metrics(struct render *render)
{
	static const struct family family = {
		"group_memory_used_bytes", "gauge",
		"Memory that all processes of one name hold on the device."};
	struct writer writer = {render->out, &family, false};
	struct moment *moment;

	if (!moment_gather_oldest(render) || !(moment = moment_get(render)))
		return false;
	if (!render->cursor->begun) {
		write_totals(render->out, render->model);
		write_devices(render->out, moment);
		if (reader_sees_all(render))
			moment_make_groups(moment);
		moment_settle(render, moment);
	}
	render->cursor->begun = true;
	writer.begun = moment->next;
	for (guint rows = 0; moment->next < moment->groups->len && rows < RENDER_SLICE_ROWS;) {
		const struct moment_group *group =
			&g_array_index(moment->groups, struct moment_group, moment->next++);

		for (unsigned int kinds = group->kinds; kinds; kinds &= kinds - 1, rows++)
			sample(&writer, group->used_bytes[__builtin_ctz(kinds)],
			       "{device=\"%u\",kind=\"%s\",comm=\"%s\"}", group->device,
			       kind_name((enum kind)__builtin_ctz(kinds)), group->label);
	}
	return moment_end(render, moment->next == moment->groups->len);
}

/* Returns how many samples that are. */
static guint write_process(struct writer *writer, const struct moment *moment,
			   const struct moment_process *process)
{
	char comm[PLAIN_UTF8_ROOM(sizeof process->comm)];
	guint rows = 0;

	plain_label(comm, process->comm, sizeof process->comm);
	for (guint i = process->first; i < process->first + process->count; i++) {
		const struct moment_holding *holding =
			&g_array_index(moment->holdings, struct moment_holding, i);

		for (unsigned int kinds = holding->kinds; kinds; kinds &= kinds - 1, rows++)
			sample(writer, holding->used_bytes[__builtin_ctz(kinds)],
			       "{device=\"%u\",kind=\"%s\",pid=\"%d\",comm=\"%s\"}",
			       holding->device, kind_name((enum kind)__builtin_ctz(kinds)),
			       (int)process->pid, comm);
	}
	return rows;
}

bool render_metrics_pids(struct render *render)
{
	static const struct family family = {"process_memory_used_bytes", "gauge",
					     "Memory that a process holds on the device."};
	struct moment *moment = moment_get(render);
	struct writer writer = {render->out, &family, false};

	if (!moment)
		return false;
	if (!render->cursor->begun) {
		g_string_append(render->out, "# Use by process. Where names will do, ttmem.prom "
					     "has less for a scraper to keep.\n");
		moment_settle(render, moment);
	}
	render->cursor->begun = true;
	writer.begun = moment->rows;
	for (guint rows = 0; moment->next < moment->processes->len && rows < RENDER_SLICE_ROWS;)
		rows += write_process(
			&writer, moment,
			&g_array_index(moment->processes, struct moment_process, moment->next++));
	moment->rows |= writer.begun;
	return moment_end(render, moment->next == moment->processes->len);
}
