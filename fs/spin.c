/* SPDX-License-Identifier: Apache-2.0 */
#include "spin.h"

void spin_init(struct spin *spin, uint64_t limit_ns)
{
	*spin = (struct spin){.limit_ns = limit_ns};
}

void spin_begin(struct spin *spin, uint64_t now_ns)
{
	spin->began_ns = spin->last_ns = now_ns;
}

bool spin_goes_on(struct spin *spin, uint64_t now_ns)
{
	uint64_t step = now_ns - spin->last_ns;

	if (!spin->on || now_ns < spin->rest_until_ns)
		return false;
	spin->last_ns = now_ns;
	if (step > SPIN_PREEMPT_NS) {
		spin->rest_until_ns = now_ns + SPIN_REST_NS;
		return false;
	}
	if (now_ns - spin->began_ns < spin->limit_ns)
		return true;
	spin->on = ++spin->misses < SPIN_MISSES;
	return false;
}

void spin_paid(struct spin *spin)
{
	spin->misses = 0;
}

void spin_woken(struct spin *spin, uint64_t now_ns)
{
	if (spin->limit_ns && spin->began_ns && now_ns - spin->began_ns < spin->limit_ns) {
		spin->on = true;
		spin->misses = 0;
	}
}
