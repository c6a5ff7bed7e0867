/* SPDX-License-Identifier: Apache-2.0 */
#include "ages.h"
#include "capped.h"

#define SECOND 1000000000ull

static const uint64_t limits[AGES_LIMITS] = {SECOND, 10 * SECOND, 60 * SECOND, 600 * SECOND,
					     3600 * SECOND};

void ages_sum_add(struct ages_sum *to, uint64_t bytes, uint64_t buffers)
{
	add_capped(&to->bytes, bytes);
	add_capped(&to->buffers, buffers);
}

/* Below the first limit all but what is yet to be allocated is in its last second. */
static unsigned int cell_of(uint64_t age_ns)
{
	for (unsigned int i = 0; i < AGES_LIMITS; i++) {
		uint64_t fine = limits[i] - AGES_LATER_NS;

		if (age_ns < fine)
			return i * (AGES_FINE + 1);
		if (age_ns < limits[i])
			return i * (AGES_FINE + 1) + 1 +
			       (unsigned int)((age_ns - fine) / AGES_QUANTUM_NS);
	}
	return AGES_CELLS - 1;
}

void ages_add(struct ages *ages, uint64_t time_ns, uint64_t now_ns, uint64_t bytes)
{
	/* While buffers are counted new ones come; the clock may also have been set back. */
	unsigned int cell = time_ns > now_ns ? 0 : cell_of(now_ns - time_ns);

	ages_sum_add(&ages->cells[cell], bytes, 1);
}

/* The column of the youngest of a cell's buffers. */
static unsigned int column_of(unsigned int cell, uint64_t later_ns)
{
	unsigned int limit = cell / (AGES_FINE + 1), part = cell % (AGES_FINE + 1), column = 0;
	uint64_t age = limit ? limits[limit - 1] : 0;

	if (!cell)
		return 0;
	if (part)
		age = limits[limit] - AGES_LATER_NS + (part - 1) * AGES_QUANTUM_NS;
	while (column < AGES_LIMITS && age + later_ns >= limits[column])
		column++;
	return column;
}

void ages_read(const struct ages *ages, uint64_t later_ns, struct ages_sum columns[AGES_COLUMNS])
{
	for (unsigned int cell = 0; cell < AGES_CELLS; cell++) {
		const struct ages_sum *sum = &ages->cells[cell];

		if (sum->buffers)
			ages_sum_add(&columns[column_of(cell, later_ns)], sum->bytes, sum->buffers);
	}
}
