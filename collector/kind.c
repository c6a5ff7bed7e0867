/* SPDX-License-Identifier: Apache-2.0 */
#include "kind.h"

const char *kind_name(enum kind kind)
{
	static const char *const names[KIND_COUNT] = {
		[TTMEM_DRAM] = "dram",         [TTMEM_L1] = "l1",       [TTMEM_SYSTEM] = "system",
		[TTMEM_L1_SMALL] = "l1_small", [TTMEM_TRACE] = "trace", [TTMEM_CB] = "cb",
		[TTMEM_KERNEL] = "kernel",
	};

	return names[kind];
}
