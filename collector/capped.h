/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of what others say, which must not go round: one that would stays at its limit. */
#ifndef CAPPED_H
#define CAPPED_H

#include <stdint.h>

static inline void add_capped(uint64_t *to, uint64_t value)
{
	if (__builtin_add_overflow(*to, value, to))
		*to = UINT64_MAX;
}

#endif
