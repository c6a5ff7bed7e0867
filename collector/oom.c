/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that failed: each counts once, and the last one of a device is reported.
 *
 * A process counts its own; that the count has grown shows in the sums, whoever reads them. The
 * sum over a device says that there is something new, and only then its holdings are read one by
 * one to find out whose it is.
 */
#include "model_internal.h"
#include "survey.h"
#include <string.h>

/* The last of the failures that a look has found. */
struct finding {
	struct holding *holding;
	enum kind kind;
	uint64_t count;
	struct failure failure;
};

static uint64_t count_new(struct holding *holding, int kind, uint64_t failures)
{
	uint64_t seen = holding->failures_seen[kind];

	holding->failures_seen[kind] = failures;
	holding->device->failures_seen[kind] += failures - seen;
	return failures > seen ? failures - seen : 0;
}

static void failure_ask(struct holding *holding, enum kind kind, struct failure *failure)
{
	struct source *source = holding->source;

	memset(failure, 0, sizeof *failure);
	if (source->ops->failure)
		source->ops->failure(source, holding, kind, failure);
}

/* It was a predecessor's to tell: the process was there before us. While the clock stands before
 * our start, because it was set back, that cannot be known. */
static bool is_old(const struct model *model, const struct failure *failure)
{
	return failure->time_ns && failure->time_ns < model->started_ns &&
	       model->now_ns() >= model->started_ns;
}

static void holding_find(struct holding *holding, unsigned int kinds, const struct amount *amounts,
			 struct finding *last)
{
	struct model *model = holding->device->model;

	for (; kinds; kinds &= kinds - 1) {
		int kind = __builtin_ctz(kinds);
		uint64_t count = count_new(holding, kind, amounts[kind].failures);
		struct failure failure;

		if (!count)
			continue;
		failure_ask(holding, (enum kind)kind, &failure);
		if (is_old(model, &failure))
			continue;
		holding->device->events.oom += count;
		model->events.oom += count;
		if (!last->holding || failure.time_ns >= last->failure.time_ns)
			*last = (struct finding){holding, (enum kind)kind, count, failure};
	}
}

static void describe(struct holding *holding, uint64_t used_bytes, struct oom_holder *holder)
{
	struct process *process = holding->process;

	process_refresh_comm(holding->device->model, process);
	holder->pid = process->pid;
	holder->uid = process->uid;
	holder->used_bytes = used_bytes;
	memcpy(holder->comm, process->comm, sizeof holder->comm);
}

struct rank {
	struct holding *holding;
	uint64_t used_bytes;
};

static void rank_insert(struct rank *ranks, unsigned int *count, const struct rank *rank)
{
	unsigned int at = *count;

	while (at && ranks[at - 1].used_bytes < rank->used_bytes)
		at--;
	if (at == OOM_HOLDERS)
		return;
	*count = MIN(*count + 1, OOM_HOLDERS);
	memmove(&ranks[at + 1], &ranks[at], (*count - at - 1) * sizeof *ranks);
	ranks[at] = *rank;
}

static void tag_insert(struct oom_holder *holder, const struct tally_row *row)
{
	unsigned int at = holder->tag_count;
	struct oom_tag tag = {.bytes = row->bytes};

	g_strlcpy(tag.name, row->tag ? row->tag : "-", sizeof tag.name);
	while (at && holder->tags[at - 1].bytes < tag.bytes)
		at--;
	if (at == OOM_TAGS)
		return;
	holder->tag_count = MIN(holder->tag_count + 1, OOM_TAGS);
	memmove(&holder->tags[at + 1], &holder->tags[at],
		(holder->tag_count - at - 1) * sizeof *holder->tags);
	holder->tags[at] = tag;
}

/* We are called from within all kinds of reads, which are not to wait. */
static void add_tags(struct oom_holder *holder, const struct holding *from, enum kind kind)
{
	struct survey *own;
	const struct survey *survey =
		survey_at_once(from->device->model, from->process, OOM_TAGS_NS, &own);

	for (guint i = 0; survey && i < survey->tally.rows->len; i++) {
		const struct tally_row *row =
			&g_array_index(survey->tally.rows, struct tally_row, i);

		if (row->device == from->device->number && row->kind == kind && row->bytes)
			tag_insert(holder, row);
	}
	survey_free(own);
}

static void oom_add_holders(struct oom *oom, const struct device *device)
{
	struct rank ranks[OOM_HOLDERS];
	unsigned int count = 0;

	for (guint i = 0; i < device->users->len; i++) {
		struct amount amounts[KIND_COUNT];
		struct rank rank = {.holding = device->users->pdata[i]};

		holding_sums(rank.holding, 1u << oom->kind, amounts);
		rank.used_bytes = amounts[oom->kind].used_bytes;
		oom->used_bytes += MIN(rank.used_bytes, UINT64_MAX - oom->used_bytes);
		if (rank.used_bytes)
			rank_insert(ranks, &count, &rank);
	}
	for (unsigned int i = 0; i < count; i++) {
		describe(ranks[i].holding, ranks[i].used_bytes, &oom->holders[i]);
		add_tags(&oom->holders[i], ranks[i].holding, oom->kind);
	}
	oom->holder_count = count;
	oom->has_holders = true;
}

/* Where a process fails without end, the holders are left out after a while, so that others' reads
 * go on. */
static void oom_report(const struct finding *finding)
{
	struct device *device = finding->holding->device;
	struct model *model = device->model;
	uint64_t now = model->now_ns(), before = model->spent_ns();
	struct amount amounts[KIND_COUNT];
	struct oom *oom = g_new0(struct oom, 1);

	oom->seen_ns = now;
	oom->failure = finding->failure;
	oom->kind = finding->kind;
	oom->count = finding->count;
	holding_sums(finding->holding, 1u << oom->kind, amounts);
	describe(finding->holding, amounts[oom->kind].used_bytes, &oom->process);
	if (budget_left(&model->oom_budget, now))
		oom_add_holders(oom, device);
	g_free(device->oom);
	device->oom = oom;
	budget_spend(&model->oom_budget, model->spent_ns() - before);
}

void holding_note_failures(struct holding *holding, unsigned int kinds,
			   const struct amount *amounts)
{
	struct finding last = {0};

	holding_find(holding, kinds, amounts, &last);
	if (last.holding)
		oom_report(&last);
}

/* Kinds of which the count has changed. One that goes down is a forger's, and hides no other's. */
static unsigned int changed(const struct device *device, unsigned int kinds,
			    const struct amount *amounts)
{
	unsigned int found = 0;

	for (; kinds; kinds &= kinds - 1) {
		int kind = __builtin_ctz(kinds);
		uint64_t failures = amounts[kind].failures - device->gone[kind].failures;

		if (failures != device->failures_seen[kind])
			found |= 1u << kind;
	}
	return found;
}

void device_note_failures(struct device *device, unsigned int kinds, const struct amount *amounts)
{
	unsigned int found = changed(device, kinds, amounts);
	struct model *model = device->model;
	struct finding last = {0};
	uint64_t before, search_ns;

	if (!found || !budget_left(&model->oom_budget, model->now_ns()))
		return;
	before = model->spent_ns();
	for (guint i = 0; i < device->users->len; i++) {
		struct amount own[KIND_COUNT];

		holding_sums(device->users->pdata[i], found, own);
		holding_find(device->users->pdata[i], found, own, &last);
	}
	search_ns = model->spent_ns() - before;
	if (last.holding)
		oom_report(&last);
	budget_spend(&model->oom_budget, search_ns);
}

static bool process_has_new(const struct process *process, unsigned int kinds,
			    const struct amount *amounts)
{
	for (; kinds; kinds &= kinds - 1) {
		int kind = __builtin_ctz(kinds);
		uint64_t seen = 0;

		for (guint i = 0; i < process->holdings->len; i++)
			seen += ((struct holding *)process->holdings->pdata[i])
					->failures_seen[kind];
		if (seen != amounts[kind].failures)
			return true;
	}
	return false;
}

void process_note_failures(const struct process *process, unsigned int kinds,
			   const struct amount *amounts)
{
	if (!process_has_new(process, kinds, amounts))
		return;
	for (guint i = 0; i < process->holdings->len; i++) {
		struct amount own[KIND_COUNT];

		holding_read(process->holdings->pdata[i], kinds, own);
	}
}

void holding_forget_failures(struct holding *holding)
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		count_new(holding, kind, 0);
}

void holding_skip_failures(struct holding *holding)
{
	struct amount amounts[KIND_COUNT];

	holding_sums(holding, KINDS_ALL, amounts);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		count_new(holding, kind, amounts[kind].failures);
}
