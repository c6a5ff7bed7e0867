/* SPDX-License-Identifier: Apache-2.0 */
/* A device's use of the last minutes: a row a second, in a ring. */
#include "model.h"

#define SECOND_NS 1000000000u

static struct history *history_new(uint32_t room)
{
	struct history *history = g_malloc0(sizeof *history + (size_t)room * sizeof *history->rows);

	history->room = room;
	return history;
}

static struct history_row *row_at(struct history *history, uint32_t number)
{
	uint32_t oldest = history->count < history->room ? 0 : history->next;

	return &history->rows[(oldest + number) % history->room];
}

static uint64_t last_second(struct history *history)
{
	return history->count ? row_at(history, history->count - 1)->time_ns / SECOND_NS : 0;
}

void device_history_add(struct device *device, const struct amount amounts[KIND_COUNT])
{
	uint64_t now = device->model->now_ns();
	struct history *history = device->history;
	struct history_row *row;

	if (!history)
		history = device->history = history_new(device->model->history_seconds);
	if (last_second(history) == now / SECOND_NS)
		return;
	row = &history->rows[history->next];
	row->time_ns = now;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		row->used_bytes[kind] = amounts[kind].used_bytes;
	history->next = (history->next + 1) % history->room;
	history->count += history->count < history->room;
}

void device_history_drop(struct device *device)
{
	g_free(device->history);
	device->history = NULL;
}

/* While the machine slept no rows were made, and those from before may be old. */
uint32_t device_history_first(const struct device *device)
{
	struct history *history = device->history;
	uint64_t now = device->model->now_ns(), reach;
	uint32_t number = 0;

	if (!history)
		return 0;
	reach = (uint64_t)history->room * SECOND_NS;
	while (number < history->count && row_at(history, number)->time_ns + reach < now)
		number++;
	return number;
}

const struct history_row *device_history_row(const struct device *device, uint32_t number)
{
	struct history *history = device->history;

	return history && number < history->count ? row_at(history, number) : NULL;
}
