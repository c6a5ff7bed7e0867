/* SPDX-License-Identifier: Apache-2.0 */
/* Processes and their holdings. Devices are in device.c. */
#include "model.h"
#include "model_internal.h"
#include "proc.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t model_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void process_free(gpointer data)
{
	struct process *process = data;

	g_ptr_array_free(process->holdings, TRUE);
	g_free(process);
}

void model_init(struct model *model)
{
	memset(model, 0, sizeof *model);
	model_devices_init(model);
	model->processes = g_tree_new_full(model_compare_numbers, NULL, NULL, process_free);
	model->process_by_serial = g_hash_table_new(g_int64_hash, g_int64_equal);
	model->sources = g_ptr_array_new();
	model->owner = geteuid();
	model->group = getegid();
	model->proc = "/proc";
	model->now_ns = model_now_ns;
	model->started_ns = model->now_ns();
}

void model_fini(struct model *model)
{
	g_hash_table_destroy(model->device_by_serial);
	g_hash_table_destroy(model->process_by_serial);
	g_tree_destroy(model->devices);
	g_tree_destroy(model->processes);
	g_ptr_array_free(model->sources, TRUE);
}

void model_add_source(struct model *model, struct source *source)
{
	g_ptr_array_add(model->sources, source);
}

void model_sync(struct model *model)
{
	for (guint i = 0; i < model->sources->len; i++) {
		struct source *source = model->sources->pdata[i];

		source->ops->sync(source);
	}
}

struct process *model_process(const struct model *model, uint64_t serial)
{
	return g_hash_table_lookup(model->process_by_serial, &serial);
}

struct process *model_process_by_pid(const struct model *model, pid_t pid)
{
	return g_tree_lookup(model->processes, GINT_TO_POINTER(pid));
}

struct process *model_process_add(struct model *model, struct source *source, void *source_data,
				  pid_t pid, uid_t uid, gid_t gid, uint64_t start_ticks)
{
	struct process *process = model_process_by_pid(model, pid);

	if (process)
		model_process_remove(model, process);
	process = g_new0(struct process, 1);
	process->serial = ++model->last_serial;
	process->pid = pid;
	process->uid = uid;
	process->gid = gid;
	process->source = source;
	process->source_data = source_data;
	process->start_ticks = start_ticks;
	process->start_ns = proc_ticks_to_epoch_ns(start_ticks);
	process->seen_ns = model->now_ns();
	process->holdings = g_ptr_array_new_with_free_func(g_free);
	process_refresh_comm(model, process);
	g_tree_insert(model->processes, GINT_TO_POINTER(pid), process);
	g_hash_table_insert(model->process_by_serial, &process->serial, process);
	return process;
}

#define BURST_NS  20000000u
#define BUDGET_NS 5000000u
#define SHARE     20
#define LONG_NS   1000000000u /* no read takes longer: the clock was set */

/* Whether there is time: a moment at once, and a part of all time in the long run. */
static bool may_note(struct model *model, uint64_t now)
{
	uint64_t earned = (now - model->end_noted_ns) / SHARE;

	model->end_spent_ns -= MIN(earned, model->end_spent_ns);
	model->end_noted_ns = now;
	return model->end_spent_ns < BUDGET_NS;
}

/* Before a process goes, so that the peak does not miss the moment. When many go at once the first
 * sees the highest sum, and to sum them all for each would take long. */
static void note_before_end(struct model *model, struct device *device)
{
	struct amount sums[KIND_COUNT];
	uint64_t now = model->now_ns();

	if (now - device->end_noted_ns < BURST_NS || !may_note(model, now))
		return;
	device->end_noted_ns = now;
	device_read(device, KINDS_ALL, sums);
	model->end_spent_ns += MIN(model->now_ns() - now, LONG_NS);
}

/* Keeps the device's counters from going down, and its peak from missing the process's own. */
static void holding_retire(struct model *model, struct holding *holding)
{
	struct amount amounts[KIND_COUNT];

	note_before_end(model, holding->device);
	device_note_own_peak(holding, KINDS_ALL);
	holding_read(holding, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		amounts[kind].used_bytes = 0;
		amounts[kind].used_buffers = 0;
		amount_add(&holding->device->gone[kind], &amounts[kind]);
	}
}

void model_process_remove(struct model *model, struct process *process)
{
	while (process->holdings->len) {
		struct holding *holding = process->holdings->pdata[process->holdings->len - 1];

		holding_retire(model, holding);
		model_let_go(holding);
	}
	g_hash_table_remove(model->process_by_serial, &process->serial);
	g_tree_remove(model->processes, GINT_TO_POINTER(process->pid));
}

/* The last of the device's users takes the place of the one that goes. */
void model_let_go(struct holding *holding)
{
	struct device *device = holding->device;
	struct holding *last = device->users->pdata[device->users->len - 1];

	last->place = holding->place;
	g_ptr_array_remove_index_fast(device->users, holding->place);
	g_tree_remove(device->holdings, GINT_TO_POINTER(holding->process->pid));
	g_ptr_array_remove(holding->process->holdings, holding);
}

struct holding *process_holding(const struct process *process, const struct device *device)
{
	for (guint i = 0; i < process->holdings->len; i++) {
		struct holding *holding = process->holdings->pdata[i];

		if (holding->device == device)
			return holding;
	}
	return NULL;
}

/* Ends the binding of an index to any other device; a holding without an index goes. */
static void index_release(struct process *process, const struct device *keep, uint64_t bit)
{
	for (guint i = process->holdings->len; i-- > 0;) {
		struct holding *holding = process->holdings->pdata[i];

		if (holding->device == keep || !(holding->slots & bit))
			continue;
		holding->slots &= ~bit;
		if (!holding->slots)
			model_let_go(holding);
	}
}

static gint holding_compare(gconstpointer a, gconstpointer b)
{
	const struct holding *const *left = a, *const *right = b;

	return (int)(*left)->device->number - (int)(*right)->device->number;
}

void model_hold(struct model *model, struct process *process, struct device *device, uint32_t index)
{
	struct holding *holding = process_holding(process, device);

	(void)model;
	index_release(process, device, 1ull << index);
	if (!holding) {
		holding = g_new0(struct holding, 1);
		holding->process = process;
		holding->device = device;
		holding->source = process->source;
		holding->source_data = process->source_data;
		holding->place = device->users->len;
		g_ptr_array_add(device->users, holding);
		g_ptr_array_add(process->holdings, holding);
		g_ptr_array_sort(process->holdings, holding_compare);
		g_tree_insert(device->holdings, GINT_TO_POINTER(process->pid), holding);
	}
	holding->slots |= 1ull << index;
}

static void add_capped(uint64_t *to, uint64_t value)
{
	if (__builtin_add_overflow(*to, value, to))
		*to = UINT64_MAX;
}

void amount_add(struct amount *to, const struct amount *from)
{
	add_capped(&to->used_bytes, from->used_bytes);
	add_capped(&to->used_buffers, from->used_buffers);
	add_capped(&to->allocated_bytes, from->allocated_bytes);
	add_capped(&to->allocated_buffers, from->allocated_buffers);
	add_capped(&to->failures, from->failures);
}

static void amounts_clear(struct amount amounts[KIND_COUNT], unsigned int kinds)
{
	for (; kinds; kinds &= kinds - 1)
		amounts[__builtin_ctz(kinds)] = (struct amount){0};
}

void holdings_add(struct holding *const *holdings, size_t count, unsigned int kinds,
		  struct amount amounts[KIND_COUNT])
{
	size_t end;

	for (size_t from = 0; from < count; from = end) {
		struct source *source = holdings[from]->source;

		for (end = from + 1; end < count && holdings[end]->source == source; end++)
			;
		source->ops->read(source, holdings + from, end - from, kinds, amounts);
	}
}

void holding_read(struct holding *holding, unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	amounts_clear(amounts, kinds);
	holdings_add(&holding, 1, kinds, amounts);
}

void process_read(const struct process *process, unsigned int kinds,
		  struct amount amounts[KIND_COUNT])
{
	amounts_clear(amounts, kinds);
	holdings_add((struct holding **)process->holdings->pdata, process->holdings->len, kinds,
		     amounts);
}

uint64_t holding_peak(const struct holding *holding, enum kind kind, uint64_t used_bytes)
{
	struct source *source = holding->process->source;
	uint64_t peak = source->ops->holding_peak(source, holding, kind);

	return peak > used_bytes ? peak : used_bytes;
}

uint64_t process_peak(const struct process *process, enum kind kind, uint64_t used_bytes)
{
	uint64_t peak = process->source->ops->peak(process->source, process, kind);

	return peak > used_bytes ? peak : used_bytes;
}

void process_refresh_comm(const struct model *model, struct process *process)
{
	char comm[16];

	proc_comm(model->proc, process->pid, comm);
	if (*comm)
		memcpy(process->comm, comm, sizeof comm);
}
