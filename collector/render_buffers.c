/* SPDX-License-Identifier: Apache-2.0 */
/* The table of live buffers, which can have a million rows. */
#include "render.h"

#define BATCH 512

static void row(GString *out, const struct buffer *buffer, uint64_t now_ns)
{
	uint64_t age_ms = now_ns > buffer->time_ns ? (now_ns - buffer->time_ns) / 1000000u : 0;

	g_string_append_printf(out, "%-6u %-8s 0x%-16lx %-12lu %6lu.%02lu %-16s %u\n",
			       buffer->device, kind_name(buffer->kind), buffer->address,
			       buffer->size_bytes, age_ms / 1000u, age_ms % 1000u / 10u,
			       buffer->tag ? buffer->tag : "-", buffer->thread);
}

/* Buffers that are in the sums but not in the list, because the ledger had no record left. */
static void unlisted(struct render *render)
{
	struct recording_errors errors;

	process_errors(render->model, render->process, &errors);
	if (errors.unlisted)
		g_string_append_printf(render->out,
				       "# truncated: %lu more buffers are not listed\n",
				       errors.unlisted);
}

bool render_buffers(struct render *render)
{
	struct cursor *cursor = render->cursor;
	uint64_t now_ns = render->model->now_ns();
	struct buffer rows[BATCH];
	uint64_t made = 0;

	if (!cursor->begun)
		g_string_append(render->out, "device kind     address            size            "
					     "age_sec tag              thread\n");
	cursor->begun = true;
	while (!cursor->buffers.done && made < RENDER_SLICE_ROWS) {
		size_t count = process_buffers(render->model, render->process, &cursor->buffers,
					       rows, BATCH);

		for (size_t i = 0; i < count; i++)
			row(render->out, &rows[i], now_ns);
		cursor->rows += count;
		made += BATCH; /* looking at free places is work, too */
	}
	if (cursor->buffers.done)
		unlisted(render);
	return cursor->buffers.done;
}
