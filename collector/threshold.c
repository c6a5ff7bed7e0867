/* SPDX-License-Identifier: Apache-2.0 */
/* Thresholds of a device's use: crossing one upwards is an event. */
#include "model.h"
#include <errno.h>
#include <string.h>

#define TEXT_MAX 4096

static void ticks_changed(const struct model *model)
{
	if (model->ticks_changed)
		model->ticks_changed(model->ticks_data);
}

/* As sysfs reads a number, in decimal only: what follows a zero byte is not looked at. */
static int number_parse(const char *text, size_t size, uint64_t *number)
{
	*number = 0;
	if (size && *text == '+') {
		text++;
		size--;
	}
	if (!size)
		return -EINVAL;
	for (size_t i = 0; i < size; i++)
		if (!g_ascii_isdigit(text[i]) || __builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, (uint64_t)(text[i] - '0'), number))
			return -EINVAL;
	return 0;
}

static int threshold_parse(const char *text, size_t size, struct threshold *threshold)
{
	if (size > TEXT_MAX)
		return -EINVAL;
	size = strnlen(text, size);
	while (size && g_ascii_isspace(*text)) {
		text++;
		size--;
	}
	while (size && g_ascii_isspace(text[size - 1]))
		size--;
	threshold->is_set = size != 3 || memcmp(text, "max", 3) != 0;
	return threshold->is_set ? number_parse(text, size, &threshold->bytes) : 0;
}

/* Whether the use was above before is kept: to write the same again is no new event, and a
 * threshold that is set below the present use is crossed now. */
int device_set_threshold(struct device *device, enum kind kind, const char *text, size_t size)
{
	struct threshold *threshold = &device->thresholds[kind];
	struct threshold next = {.is_over = threshold->is_over};
	struct amount amounts[KIND_COUNT];
	int error = threshold_parse(text, size, &next);

	if (error)
		return error;
	device->model->thresholds += next.is_set;
	device->model->thresholds -= threshold->is_set;
	*threshold = next;
	ticks_changed(device->model);
	device_read(device, 1u << kind, amounts);
	return 0;
}

void device_drop_thresholds(struct device *device)
{
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		device->model->thresholds -= device->thresholds[kind].is_set;
		device->thresholds[kind] = (struct threshold){0};
	}
	ticks_changed(device->model);
}

void device_check_thresholds(struct device *device, unsigned int kinds,
			     const struct amount *amounts)
{
	for (; kinds; kinds &= kinds - 1) {
		int kind = __builtin_ctz(kinds);
		struct threshold *threshold = &device->thresholds[kind];
		bool is_over = threshold->is_set && amounts[kind].used_bytes > threshold->bytes;

		if (is_over && !threshold->is_over) {
			device->events.high++;
			device->events.high_of[kind]++;
			device->model->events.high++;
		}
		threshold->is_over = is_over;
	}
}
