/* SPDX-License-Identifier: Apache-2.0 */
/* How old a device's buffers are: for each kind what is younger than a second, of the rest what is
 * younger than ten, and so on. */
#include "render.h"

struct sums {
	uint64_t now_ns; /* of this slice */
	struct ages_sum columns[KIND_COUNT][AGES_COLUMNS];
};

static void take(void *work, const struct holding *holding, const struct survey *survey)
{
	struct sums *sums = work;

	for (int kind = 0; survey && kind < KIND_COUNT; kind++) {
		const struct survey_place *place =
			survey_place(survey, holding->device->number, (enum kind)kind);

		if (place)
			ages_read(&place->ages, sums->now_ns - MIN(survey->begun_ns, sums->now_ns),
				  sums->columns[kind]);
	}
}

static void write_table(GString *out, const struct sums *sums)
{
	static const char *const ages[AGES_COLUMNS] = {"1s", "10s", "1min", "10min", "1h", "older"};

	g_string_append_printf(out, "%-8s", "kind");
	for (int i = 0; i < AGES_COLUMNS; i++) {
		g_autofree char *title = g_strdup_printf("%s_bytes", ages[i]);

		g_string_append_printf(out, " %14s %5s_buffers", title, ages[i]);
	}
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		g_string_append_printf(out, "\n%-8s", kind_name((enum kind)kind));
		for (int i = 0; i < AGES_COLUMNS; i++)
			g_string_append_printf(out, " %14lu %13lu", sums->columns[kind][i].bytes,
					       sums->columns[kind][i].buffers);
	}
	g_string_append_c(out, '\n');
}

bool render_device_ages(struct render *render)
{
	struct cursor *cursor = render->cursor;
	struct sums *sums = cursor->work;

	if (!sums) {
		sums = cursor->work = g_new0(struct sums, 1);
		cursor->work_free = g_free;
		cursor->work_bytes = sizeof *sums;
	}
	sums->now_ns = render->model->now_ns();
	if (!survey_tour(render->model, render->device, &cursor->tour, take, sums))
		return false;
	write_table(render->out, sums);
	cursor_clear(cursor);
	return true;
}
