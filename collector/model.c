/* SPDX-License-Identifier: Apache-2.0 */
/* The model as a whole, and its processes. Devices are in device.c, holdings in holding.c, comings
 * and goings in leave.c. */
#include "model_internal.h"
#include "proc.h"
#include "thread_clock.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t model_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void model_init(struct model *model)
{
	memset(model, 0, sizeof *model);
	model_devices_init(model);
	model->processes = g_tree_new_full(model_compare_numbers, NULL, NULL, process_free);
	model->process_by_serial = g_hash_table_new(g_int64_hash, g_int64_equal);
	model->sources = g_ptr_array_new();
	g_queue_init(&model->departed);
	g_queue_init(&model->surveyors);
	model->owner = geteuid();
	model->group = getegid();
	model->proc = "/proc";
	model->now_ns = model_now_ns;
	model->spent_ns = thread_clock_ns;
	model->started_ns = model->now_ns();
}

bool model_trusts(const struct model *model, uid_t uid)
{
	return uid == 0 || uid == model->owner;
}

void model_fini(struct model *model)
{
	g_hash_table_destroy(model->device_by_serial);
	g_hash_table_destroy(model->process_by_serial);
	g_tree_destroy(model->devices);
	g_tree_destroy(model->processes);
	g_ptr_array_free(model->sources, TRUE);
	g_queue_clear_full(&model->departed, g_free);
}

void model_add_source(struct model *model, struct source *source)
{
	g_ptr_array_add(model->sources, source);
	model->by_rank[source->rank] = source;
}

void model_sync(struct model *model, const struct scope *only)
{
	for (guint i = 0; i < model->sources->len; i++) {
		struct source *source = model->sources->pdata[i];

		source->ops->sync(source, only);
	}
}

void model_tell(const struct model *model, enum model_change change, struct process *process,
		struct device *device)
{
	if (model->changed)
		model->changed(change, process, device, model->news_data);
}

void model_ring(const struct model *model, struct process *process)
{
	if (model->rung)
		model->rung(process, model->news_data);
}

/* A process that only has devices open does not change but by coming and going. */
enum bell model_arm(const struct model *model, struct process *process)
{
	enum bell bell = BELL_RINGS;

	for (int rank = 0; rank < SOURCE_KMD; rank++) {
		struct source *source = model->by_rank[rank];

		if (process->joined[rank] &&
		    (!source->ops->arm || source->ops->arm(source, process) == BELL_POLL))
			bell = BELL_POLL;
	}
	return bell;
}

struct process *model_process(const struct model *model, uint64_t serial)
{
	return g_hash_table_lookup(model->process_by_serial, &serial);
}

struct process *model_process_by_pid(const struct model *model, pid_t pid)
{
	return g_tree_lookup(model->processes, GINT_TO_POINTER(pid));
}

struct source *process_source(const struct model *model, const struct process *process)
{
	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		if (process->joined[rank])
			return model->by_rank[rank];
	return NULL;
}

bool process_is_untracked(const struct process *process)
{
	for (int rank = 0; rank < SOURCE_KMD; rank++)
		if (process->joined[rank])
			return false;
	return true;
}

bool process_lists_buffers(const struct process *process)
{
	return process->joined[SOURCE_NATIVE] || process->joined[SOURCE_ALLOC_SERVER];
}

/* With several sources the sum can be above what any of them knows. */
uint64_t process_peak(const struct model *model, struct process *process, enum kind kind,
		      uint64_t used_bytes)
{
	uint64_t peak = MAX(used_bytes, process->peak_bytes[kind]);

	for (int rank = 0; rank < SOURCE_COUNT; rank++) {
		struct source *source = model->by_rank[rank];
		uint64_t own = process->joined[rank] && source->ops->peak
				       ? source->ops->peak(source, process, kind)
				       : 0;

		peak = MAX(peak, own);
	}
	process->peak_bytes[kind] = peak;
	return peak;
}

void process_errors(const struct model *model, const struct process *process,
		    struct recording_errors *errors)
{
	memset(errors, 0, sizeof *errors);
	for (int rank = 0; rank < SOURCE_COUNT; rank++) {
		struct source *source = model->by_rank[rank];

		if (process->joined[rank] && source->ops->errors)
			source->ops->errors(source, process, errors);
	}
}

size_t process_buffers(const struct model *model, const struct process *process,
		       struct buffer_cursor *cursor, struct buffer *rows, size_t room)
{
	while (cursor->rank < SOURCE_COUNT) {
		struct source *source = model->by_rank[cursor->rank];
		struct buffer_cursor own = {.next = cursor->next, .done = true};
		size_t count = 0;

		if (process->joined[cursor->rank] && source->ops->buffers) {
			own.done = false;
			count = source->ops->buffers(source, process, &own, rows, room);
		}
		cursor->rank += own.done;
		cursor->next = own.done ? 0 : own.next;
		if (count || !own.done)
			return count;
	}
	cursor->done = true;
	return 0;
}

uint64_t process_buffer_estimate(const struct model *model, const struct process *process)
{
	uint64_t sum = 0;

	for (int rank = 0; rank < SOURCE_COUNT; rank++) {
		struct source *source = model->by_rank[rank];

		if (process->joined[rank] && source->ops->buffer_estimate)
			sum += source->ops->buffer_estimate(source, process);
	}
	return sum;
}

void process_refresh_comm(const struct model *model, struct process *process)
{
	char comm[16];

	proc_comm(model->proc, process->pid, comm);
	if (*comm)
		memcpy(process->comm, comm, sizeof comm);
}

void process_refresh_cgroup(const struct model *model, struct process *process)
{
	char *path = proc_cgroup(model->proc, process->pid);

	if (!path)
		return;
	g_free(process->cgroup);
	process->cgroup = path;
}

#define REFRESH_SLICE 128 /* processes in one go: some 2 ms */

bool model_refresh_some(const struct model *model, process_refresh_fn *refresh, pid_t *last)
{
	GTreeNode *node = g_tree_upper_bound(model->processes, GINT_TO_POINTER(*last));

	for (int i = 0; node && i < REFRESH_SLICE; i++, node = g_tree_node_next(node)) {
		refresh(model, g_tree_node_value(node));
		*last = GPOINTER_TO_INT(g_tree_node_key(node));
	}
	return !node;
}
