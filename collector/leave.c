/* SPDX-License-Identifier: Apache-2.0 */
/* How processes come and go. */
#include "capped.h"
#include "model_internal.h"
#include "proc.h"
#include "survey.h"
#include <string.h>

void process_free(gpointer data)
{
	struct process *process = data;

	surveyor_free(process->surveyor);
	g_ptr_array_free(process->holdings, TRUE);
	g_free(process->cgroup);
	g_free(process);
}

static struct process *process_new(struct model *model, pid_t pid, uid_t uid, gid_t gid,
				   uint64_t start_ticks)
{
	struct process *process = g_new0(struct process, 1);

	process->serial = ++model->last_serial;
	process->pid = pid;
	process->uid = uid;
	process->gid = gid;
	process->start_ticks = start_ticks;
	process->start_ns = proc_ticks_to_epoch_ns(start_ticks);
	process->seen_ns = model->now_ns();
	process->holdings = g_ptr_array_new_with_free_func(holding_free);
	process_refresh_comm(model, process);
	process_refresh_cgroup(model, process);
	g_tree_insert(model->processes, GINT_TO_POINTER(pid), process);
	g_hash_table_insert(model->process_by_serial, &process->serial, process);
	return process;
}

static void process_remove(struct model *model, struct process *process)
{
	if (process->life)
		model->unwatch_life(process, model->life_data);
	g_hash_table_remove(model->process_by_serial, &process->serial);
	g_tree_remove(model->processes, GINT_TO_POINTER(process->pid));
}

static bool is_joined(const struct process *process)
{
	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		if (process->joined[rank])
			return true;
	return false;
}

/* A ledger's process is watched by the server, with the descriptor that its connection gave. */
static bool is_watched(struct model *model, const struct source *source, struct process *process)
{
	if (source->rank == SOURCE_NATIVE || process->life || !model->watch_life)
		return true;
	return model->watch_life(process, model->life_data);
}

struct process *model_join(struct model *model, struct source *source, void *data, pid_t pid,
			   uid_t uid, gid_t gid, uint64_t start_ticks)
{
	struct process *process = model_process_by_pid(model, pid);
	bool is_new;

	if (process && process->start_ticks != start_ticks) {
		model_end(model, process);
		process = NULL;
	}
	if (!process)
		process = process_new(model, pid, uid, gid, start_ticks);
	if (!is_watched(model, source, process)) {
		if (!is_joined(process))
			process_remove(model, process);
		return NULL;
	}
	is_new = !is_joined(process);
	process->joined[source->rank] = data;
	model->events.process_start += is_new;
	process->was_tracked |= source->rank != SOURCE_KMD;
	source->last_update_ns = model->now_ns();
	if (is_new)
		model_tell(model, PROCESS_COMES, process, NULL);
	return process;
}

#define BURST_NS  20000000u
#define BUDGET_NS 5000000u
#define SHARE     20

bool budget_left(struct budget *budget, uint64_t now)
{
	uint64_t earned = (now - budget->noted_ns) / SHARE;

	budget->spent_ns -= MIN(earned, budget->spent_ns);
	budget->noted_ns = now;
	return budget->spent_ns < BUDGET_NS;
}

void budget_spend(struct budget *budget, uint64_t spent_ns)
{
	budget->spent_ns += spent_ns;
}

/* Before a process goes, so that the peak does not miss the moment. When many go at once the first
 * sees the highest sum, and to sum them all for each would take long. */
static void note_before_end(struct model *model, struct device *device)
{
	struct amount sums[KIND_COUNT];
	uint64_t now = model->now_ns(), before;

	if (now - device->end_noted_ns < BURST_NS || !budget_left(&model->end_budget, now))
		return;
	device->end_noted_ns = now;
	before = model->spent_ns();
	device_read(device, KINDS_ALL, sums);
	budget_spend(&model->end_budget, model->spent_ns() - before);
}

/* No source but the driver has a word on it when this one has gone. */
static bool is_last_word(const struct holding *holding, const struct source *source)
{
	for (int rank = 0; rank < SOURCE_KMD; rank++)
		if (rank != (int)source->rank && holding->claims[rank].data)
			return false;
	return true;
}

static bool has_leaked(const struct process *process)
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (process->leaked_bytes[kind])
			return true;
	return false;
}

/* Counters must not go down, not even by going round. */
static void count_departed(struct model *model, const struct process *process)
{
	model->exited_processes++;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		add_capped(&model->leaked_bytes, process->leaked_bytes[kind]);
}

static void depart(struct model *model, const struct process *process)
{
	struct departed *departed;

	model->events.process_exit++;
	model->events.leaked += has_leaked(process);

	if (!process->was_tracked)
		return;
	count_departed(model, process);
	if (model->departed.length >= MODEL_EXITS)
		g_free(g_queue_pop_head(&model->departed));
	departed = g_new0(struct departed, 1);
	departed->pid = process->pid;
	departed->uid = process->uid;
	memcpy(departed->comm, process->comm, sizeof departed->comm);
	departed->start_ns = process->start_ns;
	departed->end_ns = model->now_ns();
	departed->ending = process->ending;
	if (!departed->ending.how)
		proc_ending(model->proc, process->pid, process->start_ticks, &departed->ending);
	memcpy(departed->peak_bytes, process->peak_bytes, sizeof departed->peak_bytes);
	memcpy(departed->leaked_bytes, process->leaked_bytes, sizeof departed->leaked_bytes);
	g_queue_push_tail(&model->departed, departed);
}

/* Ends the source's claim. What it counted for is noted as not freed, unless another's word on it
 * is still to come. */
static void claim_end(struct model *model, struct source *source, struct holding *holding,
		      struct amount sums[KIND_COUNT])
{
	struct process *process = holding->process;
	bool leaked = is_last_word(holding, source);
	struct amount amounts[KIND_COUNT];

	if (holding->source == source)
		note_before_end(model, holding->device);
	holding_drop(model, source, holding, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		amount_add(&sums[kind], &amounts[kind]);
		if (leaked)
			process->leaked_bytes[kind] += amounts[kind].used_bytes;
	}
}

void model_leave(struct model *model, struct source *source, struct process *process)
{
	struct amount sums[KIND_COUNT] = {0};

	for (guint i = process->holdings->len; i-- > 0;) {
		struct holding *holding = process->holdings->pdata[i];

		if (holding->claims[source->rank].data)
			claim_end(model, source, holding, sums);
	}
	for (int kind = 0; kind < KIND_COUNT; kind++)
		process_peak(model, process, (enum kind)kind, sums[kind].used_bytes);
	process->joined[source->rank] = NULL;
	if (is_joined(process)) {
		model_ring(model, process);
		return;
	}
	model_tell(model, PROCESS_GOES, process, NULL);
	depart(model, process);
	process_remove(model, process);
}

/* The best goes last: what it says was held is what was not freed. */
void model_end(struct model *model, struct process *process)
{
	uint64_t serial = process->serial;

	for (int rank = SOURCE_COUNT; rank-- > 0;) {
		struct source *source = model->by_rank[rank];

		process = model_process(model, serial);
		if (!process)
			return;
		if (process->joined[rank])
			source->ops->ended(source, process);
	}
}
