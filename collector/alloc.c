/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc.h"
#include "proc.h"
#include <string.h>

static void alloc_sync(struct source *source, const struct scope *only)
{
	struct alloc *alloc = (struct alloc *)source;

	(void)only; /* one look at all sockets costs no more */
	if (alloc->drain)
		alloc->drain(alloc->server);
}

static struct alloc_process *process_of(const struct process *process)
{
	return process->joined[SOURCE_ALLOC_SERVER];
}

static void alloc_ended(struct source *source, struct process *process)
{
	struct alloc *alloc = (struct alloc *)source;

	alloc->end(process_of(process), alloc->server);
}

static void alloc_read(struct source *source, struct holding *const *holdings, size_t count,
		       unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	(void)source;
	for (size_t i = 0; i < count; i++) {
		const struct alloc_process *process = holdings[i]->source_data;

		for (uint64_t slots = holdings[i]->slots; slots; slots &= slots - 1) {
			const struct alloc_sums *sums =
				process->records.devices[__builtin_ctzll(slots)];

			for (unsigned int left = kinds; left; left &= left - 1)
				amount_add(&amounts[__builtin_ctz(left)],
					   &sums->amounts[__builtin_ctz(left)]);
		}
	}
}

/* Exact for a holding of one device number, as nearly all are. */
static uint64_t alloc_holding_peak(struct source *source, const struct holding *holding,
				   enum kind kind)
{
	const struct claim *claim = &holding->claims[source->rank];
	const struct alloc_process *process = claim->data;
	uint64_t sum = 0;

	for (uint64_t slots = claim->slots; slots; slots &= slots - 1)
		sum += process->records.devices[__builtin_ctzll(slots)]->peak_bytes[kind];
	return sum;
}

static uint64_t alloc_peak(struct source *source, const struct process *process, enum kind kind)
{
	(void)source;
	return process_of(process)->records.peak_bytes[kind];
}

static void alloc_errors(struct source *source, const struct process *process,
			 struct recording_errors *errors)
{
	const struct recording_errors *own = &process_of(process)->records.errors;

	(void)source;
	errors->unknown_frees += own->unknown_frees;
	errors->size_mismatches += own->size_mismatches;
	errors->bad_arguments += own->bad_arguments;
	errors->untracked += own->untracked;
}

static uint64_t alloc_buffer_estimate(struct source *source, const struct process *process)
{
	(void)source;
	return process_of(process)->records.table.used;
}

/* The device that a number means where this source counts; else UINT32_MAX. */
static uint32_t device_number(const struct process *process, uint32_t number)
{
	for (guint i = 0; i < process->holdings->len; i++) {
		const struct holding *holding = process->holdings->pdata[i];

		if (holding->claims[SOURCE_ALLOC_SERVER].slots >> number & 1)
			return holding->source->rank == SOURCE_ALLOC_SERVER
				       ? holding->device->number
				       : UINT32_MAX;
	}
	return UINT32_MAX;
}

static size_t alloc_buffers(struct source *source, const struct process *process,
			    struct buffer_cursor *cursor, struct buffer *rows, size_t room)
{
	size_t found = alloc_records_rows(&process_of(process)->records, cursor, rows, room);
	size_t count = 0;

	(void)source;
	for (size_t i = 0; i < found; i++) {
		uint32_t device = device_number(process, rows[i].device);

		if (device == UINT32_MAX)
			continue;
		rows[count] = rows[i];
		rows[count++].device = device;
	}
	return count;
}

/* Its events come by themselves. */
static enum bell alloc_arm(struct source *source, struct process *process)
{
	(void)source;
	(void)process;
	return BELL_RINGS;
}

static const struct source_ops alloc_ops = {
	.sync = alloc_sync,
	.ended = alloc_ended,
	.read = alloc_read,
	.arm = alloc_arm,
	.holding_peak = alloc_holding_peak,
	.peak = alloc_peak,
	.errors = alloc_errors,
	.buffer_estimate = alloc_buffer_estimate,
	.buffers = alloc_buffers,
};

void alloc_init(struct alloc *alloc, struct model *model)
{
	memset(alloc, 0, sizeof *alloc);
	alloc->source.name = "alloc-server";
	alloc->source.ops = &alloc_ops;
	alloc->source.rank = SOURCE_ALLOC_SERVER;
	alloc->source.state = SOURCE_DOWN;
	g_strlcpy(alloc->source.detail, "not asked for: start ttmemd with --alloc-server",
		  sizeof alloc->source.detail);
	alloc->model = model;
	alloc->shares = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	model_add_source(model, &alloc->source);
}

void alloc_fini(struct alloc *alloc)
{
	g_hash_table_destroy(alloc->shares);
}

static struct alloc_share *share_get(struct alloc *alloc, uid_t uid)
{
	struct alloc_share *share = g_hash_table_lookup(alloc->shares, GUINT_TO_POINTER(uid));
	bool is_trusted = model_trusts(alloc->model, uid);

	if (!share) {
		share = g_new0(struct alloc_share, 1);
		share->uid = uid;
		share->quota.limit = is_trusted ? ALLOC_BUFFERS_TRUSTED : ALLOC_BUFFERS_PER_USER;
		g_hash_table_insert(alloc->shares, GUINT_TO_POINTER(uid), share);
	}
	share->processes++;
	return share;
}

static void share_put(struct alloc *alloc, struct alloc_share *share)
{
	if (!--share->processes)
		g_hash_table_remove(alloc->shares, GUINT_TO_POINTER(share->uid));
}

/* The number may be another process's by now, which may be in the model already. */
static bool is_alive(const struct alloc *alloc, pid_t pid, uint64_t start_ticks)
{
	uint64_t now;

	return proc_start_ticks(alloc->model->proc, pid, &now) == 0 && now == start_ticks;
}

static void process_release(struct alloc *alloc, struct alloc_process *process)
{
	alloc_records_fini(&process->records);
	share_put(alloc, process->share);
	g_free(process);
}

struct alloc_process *alloc_process_get(struct alloc *alloc, pid_t pid, uid_t uid, gid_t gid,
					uint64_t start_ticks)
{
	struct process *known = model_process_by_pid(alloc->model, pid);
	struct alloc_process *process;

	if (known && known->start_ticks == start_ticks && process_of(known)) {
		process_of(known)->connections++;
		return process_of(known);
	}
	if (!is_alive(alloc, pid, start_ticks))
		return NULL;
	process = g_new0(struct alloc_process, 1);
	process->connections = 1;
	process->share = share_get(alloc, uid);
	alloc_records_init(&process->records, &process->share->quota);
	process->process =
		model_join(alloc->model, &alloc->source, process, pid, uid, gid, start_ticks);
	if (process->process)
		return process;
	process_release(alloc, process);
	return NULL;
}

void alloc_process_put(struct alloc *alloc, struct alloc_process *process)
{
	if (--process->connections)
		return;
	model_leave(alloc->model, &alloc->source, process->process);
	process_release(alloc, process);
}

/* A device that the model has no room for stays unbound: it counts as refused there, and what the
 * process has on it is not shown. */
void alloc_process_settle(struct alloc *alloc, struct alloc_process *process)
{
	uint64_t fresh = process->records.known & ~process->bound;

	process->bound |= fresh;
	for (; fresh; fresh &= fresh - 1) {
		struct identity identity = {.index = (uint32_t)__builtin_ctzll(fresh)};
		struct device *device = model_device_get(alloc->model, &alloc->source, &identity,
							 process->process->uid);

		if (device)
			model_hold(alloc->model, &alloc->source, process->process, device, process,
				   identity.index);
	}
}
