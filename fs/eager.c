/* SPDX-License-Identifier: Apache-2.0 */
#include "eager.h"
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MIN 8    /* blocks */
#define PATIENCE_MAX 1024 /* so that what loses costs a thousandth */
#define SETTLING     8 /* the first of a block, while the kernel moves the reader to where it likes */

void eager_init(struct eager *eager, uint64_t budget_us, unsigned int processors)
{
	memset(eager, 0, sizeof *eager);
	eager->budget_ns = processors > 1 ? budget_us * 1000 : 0;
	eager->patience = eager->patience_next = PATIENCE_MIN;
}

uint64_t eager_until(const struct eager *eager, uint64_t now_ns)
{
	uint64_t end = eager->answered_ns + eager->budget_ns;

	return eager->way == EAGER_TRY && now_ns < end ? end : 0;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The median, because a reader may do something else in between. */
static uint64_t block_cost(struct eager *eager)
{
	uint32_t *samples = eager->samples_ns + SETTLING;
	size_t count = EAGER_BLOCK - SETTLING;

	qsort(samples, count, sizeof *samples, compare);
	return samples[count / 2];
}

static enum eager_way other(enum eager_way way)
{
	return way == EAGER_SLEEP ? EAGER_TRY : EAGER_SLEEP;
}

/* Trying takes a processor for the time, so it must be clearly better. */
static enum eager_way better(const struct eager *eager)
{
	return eager->cost_ns[EAGER_TRY] < eager->cost_ns[EAGER_SLEEP] / 4 * 3 ? EAGER_TRY
									       : EAGER_SLEEP;
}

static void settle(struct eager *eager, enum eager_way best, unsigned int patience)
{
	eager->way = eager->best = best;
	eager->patience = eager->patience_next = patience < PATIENCE_MAX ? patience : PATIENCE_MAX;
}

/* The other way is tried again after a while, which gets longer as long as it loses. */
static void block_end(struct eager *eager)
{
	enum eager_way used = eager->way, best;

	eager->taken = 0;
	eager->cost_ns[used] = block_cost(eager);
	eager->is_known[used] = true;
	if (!eager->is_known[other(used)]) {
		eager->way = other(used);
		return;
	}
	best = better(eager);
	if (best != eager->best)
		settle(eager, best, PATIENCE_MIN);
	else if (used != best)
		settle(eager, best, eager->patience_next * 2);
	else if (--eager->patience == 0)
		eager->way = other(best);
}

void eager_request(struct eager *eager, uint64_t now_ns)
{
	uint64_t turnaround = now_ns - eager->answered_ns;

	/* One that comes later says nothing about either way: its reader did something else. */
	if (!eager->budget_ns || !eager->answered_ns || turnaround > eager->budget_ns)
		return;
	eager->hits += eager->way == EAGER_TRY;
	eager->samples_ns[eager->taken++] = (uint32_t)turnaround;
	if (eager->taken == EAGER_BLOCK)
		block_end(eager);
}

void eager_answered(struct eager *eager, uint64_t now_ns)
{
	eager->answered_ns = now_ns;
}

/* Who reads now and then has no use for it. A block of them counts as lost. */
void eager_missed(struct eager *eager)
{
	eager->misses++;
	eager->samples_ns[eager->taken++] = (uint32_t)eager->budget_ns;
	if (eager->taken == EAGER_BLOCK)
		block_end(eager);
}
