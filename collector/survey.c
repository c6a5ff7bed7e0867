/* SPDX-License-Identifier: Apache-2.0 */
#include "survey.h"

#define BATCH 512 /* records of one call */

/* A process's finished survey and the one under way; owned by the process. */
struct surveyor {
	GList link; /* in model.surveyors, those asked lately first */
	struct model *model;
	struct process *process;
	uint64_t asked_ns;
	struct survey *done; /* NULL: none yet */
	struct survey *next; /* NULL: none under way */
	struct buffer_cursor cursor;
};

static struct survey *survey_new(struct model *model)
{
	struct survey *survey = g_new0(struct survey, 1);

	survey->number = ++model->surveys;
	survey->begun_ns = model->now_ns();
	tally_init(&survey->tally, SURVEY_TAGS);
	survey->places = g_array_new(FALSE, TRUE, sizeof(struct survey_place));
	return survey;
}

void survey_free(struct survey *survey)
{
	if (!survey)
		return;
	tally_fini(&survey->tally);
	g_array_free(survey->places, TRUE);
	g_free(survey);
}

void surveyor_free(struct surveyor *surveyor)
{
	if (!surveyor)
		return;
	g_queue_unlink(&surveyor->model->surveyors, &surveyor->link);
	surveyor->process->surveyor = NULL;
	survey_free(surveyor->done);
	survey_free(surveyor->next);
	g_free(surveyor);
}

/* What nobody has asked for lately is given up when somebody asks for something. */
static void drop_old(struct model *model, uint64_t now)
{
	struct surveyor *last;

	while ((last = g_queue_peek_tail(&model->surveyors)) &&
	       now - last->asked_ns > SURVEY_KEEP_NS)
		surveyor_free(last);
}

static struct surveyor *surveyor_of(struct model *model, struct process *process)
{
	struct surveyor *surveyor = process->surveyor;

	if (!surveyor) {
		surveyor = process->surveyor = g_new0(struct surveyor, 1);
		surveyor->model = model;
		surveyor->process = process;
		surveyor->link.data = surveyor;
	} else {
		g_queue_unlink(&model->surveyors, &surveyor->link);
	}
	g_queue_push_head_link(&model->surveyors, &surveyor->link);
	surveyor->asked_ns = model->now_ns();
	drop_old(model, surveyor->asked_ns);
	return surveyor;
}

static guint place_number(const struct survey *survey, uint32_t device, enum kind kind)
{
	guint i = 0;

	while (i < survey->places->len) {
		const struct survey_place *place =
			&g_array_index(survey->places, struct survey_place, i);

		if (place->device == device && place->kind == kind)
			break;
		i++;
	}
	return i;
}

const struct survey_place *survey_place(const struct survey *survey, uint32_t device,
					enum kind kind)
{
	guint number = place_number(survey, device, kind);

	return number < survey->places->len
		       ? &g_array_index(survey->places, struct survey_place, number)
		       : NULL;
}

/* Of a row that is new: the next of its kind find it there. */
static void row_place(struct survey *survey, struct tally_row *row)
{
	guint number = place_number(survey, row->device, (enum kind)row->kind);

	if (number == survey->places->len) {
		struct survey_place place = {.device = row->device,
					     .kind = (enum kind)row->kind,
					     .oldest_ns = UINT64_MAX};

		g_array_append_val(survey->places, place);
	}
	row->place = (uint16_t)number;
}

static void count(struct survey *survey, const struct buffer *buffer)
{
	struct tally_row *row =
		tally_row(&survey->tally, buffer->tag, buffer->device, buffer->kind);
	struct survey_place *place;

	if (!row->buffers)
		row_place(survey, row);
	tally_row_add(row, buffer->size_bytes, 1);
	place = &g_array_index(survey->places, struct survey_place, row->place);
	ages_add(&place->ages, buffer->time_ns, survey->begun_ns, buffer->size_bytes);
	place->oldest_ns = MIN(place->oldest_ns, buffer->time_ns);
}

/* Free places are work, too: what counts is how many could have been. True at the end. */
static bool walk(const struct model *model, const struct process *process, struct survey *survey,
		 struct buffer_cursor *cursor, struct survey_slice *slice)
{
	struct buffer rows[BATCH];

	while (!cursor->done && slice->left > 0) {
		size_t found = process_buffers(model, process, cursor, rows, BATCH);

		for (size_t i = 0; i < found; i++)
			count(survey, &rows[i]);
		slice->left -= BATCH;
	}
	return cursor->done;
}

static bool go_on(struct model *model, struct process *process, struct survey_slice *slice)
{
	struct surveyor *surveyor = process->surveyor;

	if (!walk(model, process, surveyor->next, &surveyor->cursor, slice))
		return false;
	survey_free(surveyor->done);
	surveyor->done = surveyor->next;
	surveyor->next = NULL;
	return true;
}

/* One that somebody has waited for is good for him, however long it took. */
static bool is_good(struct model *model, const struct process *process, uint64_t waits_for)
{
	const struct survey *done = process->surveyor->done;
	uint64_t now = model->now_ns();

	if (!done)
		return false;
	if (waits_for && done->number >= waits_for)
		return true;
	return now >= done->begun_ns && now - done->begun_ns < SURVEY_GOOD_NS &&
	       process_buffer_estimate(model, process) > SURVEY_FEW;
}

const struct survey *survey_recent(const struct model *model, const struct process *process,
				   uint64_t age_ns)
{
	const struct survey *done = process->surveyor ? process->surveyor->done : NULL;
	uint64_t now = model->now_ns();

	return done && now >= done->begun_ns && now - done->begun_ns <= age_ns ? done : NULL;
}

const struct survey *survey_at_once(struct model *model, const struct process *process,
				    uint64_t age_ns, struct survey **own)
{
	struct survey_slice slice = {SURVEY_SLICE};
	struct buffer_cursor cursor = {0};

	*own = NULL;
	if (process_buffer_estimate(model, process) > SURVEY_FEW)
		return survey_recent(model, process, age_ns);
	*own = survey_new(model);
	if (walk(model, process, *own, &cursor, &slice))
		return *own;
	survey_free(*own); /* it has grown since */
	*own = NULL;
	return survey_recent(model, process, age_ns);
}

const struct survey *survey_get(struct model *model, struct process *process, uint64_t *waits_for,
				struct survey_slice *slice)
{
	struct surveyor *surveyor = surveyor_of(model, process);

	if (!is_good(model, process, *waits_for)) {
		if (!surveyor->next) {
			surveyor->next = survey_new(model);
			surveyor->cursor = (struct buffer_cursor){0};
		}
		*waits_for = surveyor->next->number;
		if (!go_on(model, process, slice))
			return NULL;
	}
	*waits_for = 0;
	return surveyor->done;
}

bool survey_tour(struct model *model, const struct device *device, struct survey_tour *tour,
		 survey_take *take, void *data)
{
	struct survey_slice slice = {SURVEY_SLICE};
	GTreeNode *node;

	while ((node = g_tree_upper_bound(device->holdings, GINT_TO_POINTER(tour->last)))) {
		struct holding *holding = g_tree_node_value(node);
		const struct survey *survey = NULL;

		if (slice.left <= 0)
			return false;
		if (holding->source->ops->buffers) {
			survey = survey_get(model, holding->process, &tour->waits_for, &slice);
			if (!survey)
				return false;
			slice.left -= survey->tally.rows->len;
		}
		slice.left -= SURVEY_PROCESS;
		take(data, holding, survey);
		tour->last = holding->process->pid;
		tour->waits_for = 0;
	}
	return true;
}
