/* SPDX-License-Identifier: Apache-2.0 */
/* What a device's memory, or a process's, is used for: sums by tag, most first. */
#include "render.h"

#define TABLE_ROWS  4096  /* the last then is all that follows */
#define TALLY_LIMIT 16384 /* sums of one device, before the largest are chosen */

struct table {
	GString *out;
	bool has_device; /* a column for it */
};

static void write_line(const struct table *table, const char *tag, const char *device,
		       const char *kind, const char *bytes, const char *buffers)
{
	g_string_append_printf(table->out, "%-16s ", tag);
	if (table->has_device)
		g_string_append_printf(table->out, "%-6s ", device);
	g_string_append_printf(table->out, "%-8s %-14s %s\n", kind, bytes, buffers);
}

static void write_sums(const struct table *table, const struct tally_row *row, const char *tag,
		       const char *device, const char *kind)
{
	char bytes[24], buffers[24];

	g_snprintf(bytes, sizeof bytes, "%lu", row->bytes);
	g_snprintf(buffers, sizeof buffers, "%lu", row->buffers);
	write_line(table, tag, device, kind, bytes, buffers);
}

static void write_table(GString *out, const struct tally *tally, bool has_device)
{
	const struct table table = {.out = out, .has_device = has_device};
	GPtrArray *rows = tally_by_use(tally);
	guint shown = rows->len > TABLE_ROWS ? TABLE_ROWS - 1 : rows->len;
	struct tally_row rest = {.bytes = 0};

	write_line(&table, "tag", "device", "kind", "bytes", "buffers");
	for (guint i = 0; i < shown; i++) {
		const struct tally_row *row = rows->pdata[i];
		char device[16];

		g_snprintf(device, sizeof device, "%u", row->device);
		write_sums(&table, row, row->tag ? row->tag : "-", device,
			   kind_name((enum kind)row->kind));
	}
	for (guint i = shown; i < rows->len; i++) {
		const struct tally_row *row = rows->pdata[i];

		tally_row_add(&rest, row->bytes, row->buffers);
	}
	if (rest.buffers)
		write_sums(&table, &rest, TALLY_OTHER, "-", "-");
	g_ptr_array_free(rows, TRUE);
}

static void work_free(gpointer work)
{
	tally_fini(work);
	g_free(work);
}

static void take(void *work, const struct holding *holding, const struct survey *survey)
{
	if (!survey)
		return;
	for (guint i = 0; i < survey->tally.rows->len; i++) {
		const struct tally_row *row =
			&g_array_index(survey->tally.rows, struct tally_row, i);

		if (row->device == holding->device->number)
			tally_row_add(tally_row(work, row->tag, 0, (enum kind)row->kind),
				      row->bytes, row->buffers);
	}
}

bool render_device_tags(struct render *render)
{
	struct cursor *cursor = render->cursor;

	if (!cursor->work) {
		cursor->work = g_new(struct tally, 1);
		cursor->work_free = work_free;
		tally_init(cursor->work, TALLY_LIMIT);
	}
	if (!survey_tour(render->model, render->device, &cursor->tour, take, cursor->work)) {
		cursor->work_bytes = tally_bytes(cursor->work);
		return false;
	}
	write_table(render->out, cursor->work, false);
	cursor_clear(cursor);
	return true;
}

bool render_process_tags(struct render *render)
{
	struct survey_slice slice = {SURVEY_SLICE};
	const struct survey *survey =
		survey_get(render->model, render->process, &render->cursor->tour.waits_for, &slice);

	if (survey)
		write_table(render->out, &survey->tally, true);
	return survey;
}
