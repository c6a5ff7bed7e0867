/* SPDX-License-Identifier: Apache-2.0 */
#include "oldest.h"

/* All zeros: nothing was seen there. */
struct oldest_device {
	uint64_t time_ns[KIND_COUNT]; /* since the epoch */
	unsigned int unknown;         /* a bit for each kind of which not all buffers were seen */
};

void oldest_init(struct oldest *oldest)
{
	*oldest = (struct oldest){
		.devices = g_array_new(FALSE, TRUE, sizeof(struct oldest_device)),
		.records = OLDEST_RECORDS,
	};
}

void oldest_fini(struct oldest *oldest)
{
	g_array_free(oldest->devices, TRUE);
}

static struct oldest_device *device_at(struct oldest *oldest, uint32_t number)
{
	if (number >= oldest->devices->len)
		g_array_set_size(oldest->devices, number + 1);
	return &g_array_index(oldest->devices, struct oldest_device, number);
}

static void take(struct oldest *oldest, const struct survey *survey)
{
	for (guint i = 0; i < survey->places->len; i++) {
		const struct survey_place *place =
			&g_array_index(survey->places, struct survey_place, i);
		uint64_t *time = &device_at(oldest, place->device)->time_ns[place->kind];

		if (!*time || place->oldest_ns < *time)
			*time = place->oldest_ns;
	}
}

/* What is the oldest of those that were seen may not be the oldest: better to say nothing. */
static void leave_out(struct oldest *oldest, const struct process *process)
{
	for (guint i = 0; i < process->holdings->len; i++) {
		struct holding *holding = process->holdings->pdata[i];
		struct amount amounts[KIND_COUNT];

		if (!holding->source->ops->buffers)
			continue;
		holding_read(holding, KINDS_ALL, amounts);
		for (int kind = 0; kind < KIND_COUNT; kind++)
			if (amounts[kind].used_buffers)
				device_at(oldest, holding->device->number)->unknown |= 1u << kind;
	}
}

/* Whether this process's records can be looked at, too. Once it is so, it stays so. */
static bool can_afford(struct oldest *oldest, const struct model *model,
		       const struct process *process)
{
	uint64_t records;

	if (oldest->tour.waits_for)
		return true;
	records = process_buffer_estimate(model, process);
	if (records > oldest->records)
		return false;
	oldest->records -= records;
	return true;
}

/* False: the slice is used up. Of a process that cannot be afforded, what others have found will do
 * if it is still there: no survey is begun. */
static bool visit(struct oldest *oldest, struct model *model, struct process *process,
		  struct survey_slice *slice)
{
	const struct survey *survey;

	if (!process_lists_buffers(process))
		return true;
	if (can_afford(oldest, model, process)) {
		survey = survey_get(model, process, &oldest->tour.waits_for, slice);
		if (!survey)
			return false;
	} else {
		survey = survey_recent(model, process, SURVEY_KEEP_NS);
	}
	if (survey)
		take(oldest, survey);
	else
		leave_out(oldest, process);
	return true;
}

bool oldest_gather(struct oldest *oldest, struct model *model)
{
	struct survey_slice slice = {SURVEY_SLICE};
	struct survey_tour *tour = &oldest->tour;
	GTreeNode *node;

	while (!oldest->is_done &&
	       (node = g_tree_upper_bound(model->processes, GINT_TO_POINTER(tour->last)))) {
		struct process *process = g_tree_node_value(node);

		if (slice.left <= 0 || !visit(oldest, model, process, &slice))
			return false;
		slice.left -= SURVEY_PROCESS;
		*tour = (struct survey_tour){.last = process->pid};
	}
	oldest->is_done = true;
	return true;
}

uint64_t oldest_ns(const struct oldest *oldest, uint32_t device, enum kind kind)
{
	const struct oldest_device *one;

	if (device >= oldest->devices->len)
		return 0;
	one = &g_array_index(oldest->devices, struct oldest_device, device);
	return one->unknown >> kind & 1 ? 0 : one->time_ns[kind];
}
