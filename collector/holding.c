/* SPDX-License-Identifier: Apache-2.0 */
/* What processes have on devices: by whose word, and how much. */
#include "capped.h"
#include "model_internal.h"
#include "proc.h"
#include <string.h>

struct holding *process_holding(const struct process *process, const struct device *device)
{
	for (guint i = 0; i < process->holdings->len; i++) {
		struct holding *holding = process->holdings->pdata[i];

		if (holding->device == device)
			return holding;
	}
	return NULL;
}

struct holding *process_holding_numbered(const struct process *process, uint32_t number)
{
	for (guint i = 0; i < process->holdings->len; i++) {
		struct holding *holding = process->holdings->pdata[i];

		if (holding->number == number)
			return holding;
	}
	return NULL;
}

void holding_free(gpointer data)
{
	struct holding *holding = data;

	g_free(holding->earlier);
	g_free(holding);
}

/* What was allocated stays in the device's counters, which must not go down. */
static void holding_count_out(struct holding *holding, struct amount amounts[KIND_COUNT])
{
	device_note_own_peak(holding, KINDS_ALL);
	holding_read(holding, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct amount gone = amounts[kind];

		gone.used_bytes = gone.used_buffers = 0;
		amount_add(&holding->device->gone[kind], &gone);
	}
}

static struct source *best_claimant(const struct model *model, const struct holding *holding,
				    const struct source *except)
{
	for (int rank = 0; rank < SOURCE_COUNT; rank++)
		if (holding->claims[rank].data && rank != (int)except->rank)
			return model->by_rank[rank];
	return NULL;
}

static void holding_choose(struct holding *holding, struct source *source)
{
	bool is_other = source != holding->source;

	if (is_other)
		holding_forget_failures(holding);
	holding->source = source;
	holding->source_data = holding->claims[source->rank].data;
	holding->slots = holding->claims[source->rank].slots;
	for (int kind = 0; is_other && kind < KIND_COUNT; kind++)
		holding->old_peak_bytes[kind] = holding->restarted >> kind & 1
							? holding_own_peak(holding, (enum kind)kind)
							: 0;
}

/* A counter of the device, of which this much is carried. At its limit it stays there. */
static void carry(uint64_t *gone, uint64_t *carried, uint64_t before, uint64_t after)
{
	uint64_t all, now;

	if (__builtin_add_overflow(before, *carried, &all) || *gone == UINT64_MAX) {
		*gone = UINT64_MAX;
		return;
	}
	now = all > after ? all - after : 0;
	*gone -= *carried;
	if (__builtin_add_overflow(*gone, now, gone))
		*gone = UINT64_MAX;
	*carried = now;
}

/* Another source counts from now on. Both speak of the same buffers: the device's counters neither
 * go down, if the new one has seen fewer allocations, nor count any twice. The driver knows of
 * none, so what comes after it is counted as new. `amounts`: by the word of the old one. */
static void holding_hand_over(struct holding *holding, struct source *to,
			      struct amount amounts[KIND_COUNT])
{
	struct amount after[KIND_COUNT];
	struct earlier *earlier;

	holding_read(holding, KINDS_ALL, amounts);
	if (holding->source->rank == SOURCE_KMD) {
		holding_choose(holding, to);
		return;
	}
	if (!holding->earlier)
		holding->earlier = g_new0(struct earlier, 1);
	earlier = holding->earlier;
	device_note_own_peak(holding, KINDS_ALL);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		earlier->peak_bytes[kind] =
			holding_peak(holding, (enum kind)kind, amounts[kind].used_bytes);
	holding_choose(holding, to);
	holding_read(holding, KINDS_ALL, after);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct amount *gone = &holding->device->gone[kind];
		struct amount *carried = &earlier->carried[kind];

		carry(&gone->allocated_bytes, &carried->allocated_bytes,
		      amounts[kind].allocated_bytes, after[kind].allocated_bytes);
		carry(&gone->allocated_buffers, &carried->allocated_buffers,
		      amounts[kind].allocated_buffers, after[kind].allocated_buffers);
		carry(&gone->failures, &carried->failures, amounts[kind].failures,
		      after[kind].failures);
	}
	if (to->rank == SOURCE_KMD)
		memset(earlier->carried, 0, sizeof earlier->carried);
}

/* The last of the device's users takes the place of the one that goes. */
static void holding_end(const struct model *model, struct holding *holding)
{
	struct process *process = holding->process;
	struct device *device = holding->device;
	struct holding *last = device->users->pdata[device->users->len - 1];

	holding_forget_failures(holding);
	model_tell(model, HOLDING_GOES, process, device);
	if (device->users->len == 1 && !device->known_by)
		model_tell(model, DEVICE_GOES, NULL, device);
	last->place = holding->place;
	g_ptr_array_remove_index_fast(device->users, holding->place);
	g_tree_remove(device->holdings, GINT_TO_POINTER(process->pid));
	g_ptr_array_remove(process->holdings, holding);
	device_note_shown(device);
}

void holding_drop(struct model *model, struct source *source, struct holding *holding,
		  struct amount amounts[KIND_COUNT])
{
	struct source *best = best_claimant(model, holding, source);

	memset(amounts, 0, sizeof *amounts * KIND_COUNT);
	if (!best) {
		holding_count_out(holding, amounts);
		holding_end(model, holding);
		return;
	}
	if (holding->source == source)
		holding_hand_over(holding, best, amounts);
	holding->claims[source->rank] = (struct claim){0};
}

void model_let_go(struct model *model, struct source *source, struct holding *holding)
{
	struct amount amounts[KIND_COUNT];

	holding_drop(model, source, holding, amounts);
}

/* Ends the binding of an index to any other device; a claim without an index goes. Returns whether
 * there was one, whose failures were counted there. */
static bool index_release(struct model *model, struct source *source, struct process *process,
			  const struct device *keep, uint64_t bit)
{
	struct amount amounts[KIND_COUNT];
	bool had_one = false;

	for (guint i = process->holdings->len; i-- > 0;) {
		struct holding *holding = process->holdings->pdata[i];
		struct claim *claim = &holding->claims[source->rank];

		if (holding->device == keep || !(claim->slots & bit))
			continue;
		had_one |= holding->source == source;
		if (claim->slots == bit) {
			model_let_go(model, source, holding);
			continue;
		}
		holding_read(holding, KINDS_ALL, amounts);
		claim->slots &= ~bit;
		if (holding->source == source)
			holding->slots = claim->slots;
	}
	return had_one;
}

static gint holding_compare(gconstpointer a, gconstpointer b)
{
	const struct holding *const *left = a, *const *right = b;

	return (int)(*left)->device->number - (int)(*right)->device->number;
}

/* There are more numbers than devices. */
static uint32_t number_next(struct process *process)
{
	do
		process->last_holding = process->last_holding % MODEL_MAX_HOLDING + 1;
	while (process_holding_numbered(process, process->last_holding));
	return process->last_holding;
}

static struct holding *holding_new(struct process *process, struct device *device)
{
	struct holding *holding = g_new0(struct holding, 1);

	holding->process = process;
	holding->device = device;
	holding->number = number_next(process);
	holding->place = device->users->len;
	g_ptr_array_add(device->users, holding);
	g_ptr_array_add(process->holdings, holding);
	g_ptr_array_sort(process->holdings, holding_compare);
	g_tree_insert(device->holdings, GINT_TO_POINTER(process->pid), holding);
	device_note_shown(device);
	return holding;
}

struct holding *model_hold(struct model *model, struct source *source, struct process *process,
			   struct device *device, void *data, uint32_t index)
{
	struct holding *holding = process_holding(process, device);
	struct amount amounts[KIND_COUNT];
	uint64_t bit = index == DEVICE_NO_INDEX ? 0 : 1ull << index;
	bool has_moved = bit && index_release(model, source, process, device, bit);
	bool is_new = !holding, was_shown = device_is_shown(device);

	if (is_new)
		holding = holding_new(process, device);
	holding->claims[source->rank].data = data;
	holding->claims[source->rank].slots |= bit;
	if (holding->source && source->rank < holding->source->rank)
		holding_hand_over(holding, source, amounts);
	else if (!holding->source || source == holding->source)
		holding_choose(holding, source);
	if (has_moved && holding->source == source)
		holding_skip_failures(holding);
	if (!was_shown)
		model_tell(model, DEVICE_COMES, NULL, device);
	if (is_new)
		model_tell(model, HOLDING_COMES, process, device);
	return holding;
}

void amount_add(struct amount *to, const struct amount *from)
{
	add_capped(&to->used_bytes, from->used_bytes);
	add_capped(&to->used_buffers, from->used_buffers);
	add_capped(&to->allocated_bytes, from->allocated_bytes);
	add_capped(&to->allocated_buffers, from->allocated_buffers);
	add_capped(&to->failures, from->failures);
}

uint64_t amount_freed(const struct amount *amount)
{
	return amount->allocated_bytes > amount->used_bytes
		       ? amount->allocated_bytes - amount->used_bytes
		       : 0;
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

void holding_sums(struct holding *holding, unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	amounts_clear(amounts, kinds);
	holdings_add(&holding, 1, kinds, amounts);
}

void holding_read(struct holding *holding, unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	holding_sums(holding, kinds, amounts);
	holding_note_failures(holding, kinds, amounts);
}

void process_read(const struct process *process, unsigned int kinds,
		  struct amount amounts[KIND_COUNT])
{
	amounts_clear(amounts, kinds);
	holdings_add((struct holding **)process->holdings->pdata, process->holdings->len, kinds,
		     amounts);
	process_note_failures(process, kinds, amounts);
}

uint64_t holding_own_peak(const struct holding *holding, enum kind kind)
{
	struct source *source = holding->source;

	return source->ops->holding_peak ? source->ops->holding_peak(source, holding, kind) : 0;
}

uint64_t holding_peak(const struct holding *holding, enum kind kind, uint64_t used_bytes)
{
	uint64_t own = holding_own_peak(holding, kind);
	uint64_t before = holding->earlier ? holding->earlier->peak_bytes[kind] : 0;

	return MAX(used_bytes, MAX(own, before));
}

void holding_last_failure(const struct holding *holding, enum kind kind, struct failure *newest)
{
	struct source *source = holding->source;
	struct failure failure = {0};

	if (source->ops->failure)
		source->ops->failure(source, holding, kind, &failure);
	/* Their clock is coarse. Who came later has more likely failed later. */
	if (failure.largest_free_bytes && failure.time_ns >= newest->time_ns)
		*newest = failure;
}

uint64_t device_largest_free(const struct device *device, enum kind kind)
{
	struct failure newest = {0};

	for (guint i = 0; i < device->users->len; i++)
		holding_last_failure(device->users->pdata[i], kind, &newest);
	return newest.largest_free_bytes;
}
