/* SPDX-License-Identifier: Apache-2.0 */
#include "render.h"
#include <stdio.h>
#include <string.h>

const char *text_size(char text[16], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	/* 1023.95 would be shown as 1024.0. */
	for (; value >= 1023.95 && unit + 1 < G_N_ELEMENTS(units); unit++)
		value /= 1024;
	snprintf(text, 16, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

void text_number(GString *out, uint64_t number)
{
	char text[24];
	size_t at = sizeof text;

	text[--at] = '\n';
	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	g_string_append_len(out, text + at, (gssize)(sizeof text - at));
}

void text_time(GString *out, uint64_t ns)
{
	g_string_append_printf(out, "%lu.%03lu\n", ns / 1000000000u, ns / 1000000u % 1000u);
}

void cursor_clear(struct cursor *cursor)
{
	if (cursor->work)
		cursor->work_free(cursor->work);
	memset(cursor, 0, sizeof *cursor);
}

uint64_t amounts_used(const struct amount amounts[KIND_COUNT])
{
	struct amount sum = {0};

	for (int kind = 0; kind < KIND_COUNT; kind++)
		amount_add(&sum, &amounts[kind]);
	return sum.used_bytes;
}

uint64_t amounts_buffers(const struct amount amounts[KIND_COUNT])
{
	struct amount sum = {0};

	for (int kind = 0; kind < KIND_COUNT; kind++)
		amount_add(&sum, &amounts[kind]);
	return sum.used_buffers;
}
