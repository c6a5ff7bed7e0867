/* SPDX-License-Identifier: Apache-2.0 */
/* A shared object that allocates: built with the library, and with the archive inside. */
#include "ttmem.h"

int plugin_start(void);
void plugin_alloc(uint64_t address, uint64_t size);
void plugin_free(uint64_t address);
uint64_t plugin_live(void);

int plugin_start(void)
{
	return ttmem_start();
}

void plugin_alloc(uint64_t address, uint64_t size)
{
	ttmem_alloc(0, TTMEM_DRAM, address, size, "plugin");
}

void plugin_free(uint64_t address)
{
	ttmem_free(0, TTMEM_DRAM, address);
}

uint64_t plugin_live(void)
{
	struct ttmem_totals totals;

	return ttmem_get_totals(0, TTMEM_DRAM, &totals) ? UINT64_MAX : totals.live_bytes;
}

/* Frees what the host left behind, as the destructors of an allocator do. */
__attribute__((destructor)) static void unloaded(void)
{
	ttmem_free(0, TTMEM_DRAM, 0xdead);
}
