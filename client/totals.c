/* SPDX-License-Identifier: Apache-2.0 */
/* What a process can read back of itself, with no collector. */
#include "internal.h"
#include <errno.h>
#include <string.h>

#define LOOKS 8

struct sums {
	uint64_t freed_buffers, freed_bytes, allocated_bytes, allocated_buffers;
};

/* `freed` is taken before `allocated`, so a free in between makes nothing negative. Returns how
 * many there were in between: they count as live. */
static uint64_t cell_look(const struct ledger_cell *cell, struct sums *sums)
{
	sums->freed_buffers = __atomic_load_n(&cell->freed_buffers, __ATOMIC_ACQUIRE);
	sums->freed_bytes = __atomic_load_n(&cell->freed_bytes, __ATOMIC_ACQUIRE);
	sums->allocated_bytes = __atomic_load_n(&cell->allocated_bytes, __ATOMIC_ACQUIRE);
	sums->allocated_buffers = __atomic_load_n(&cell->allocated_buffers, __ATOMIC_ACQUIRE);
	return word_get(&cell->freed_buffers) - sums->freed_buffers;
}

/* A thread that sleeps in the middle of a look may miss any number of frees, so the best of a few
 * looks is taken. */
static void cell_add(struct ttmem_totals *totals, const struct ledger_cell *cell)
{
	struct sums sums, best = {0};
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < LOOKS && least; i++) {
		uint64_t missed = cell_look(cell, &sums);

		if (missed < least) {
			least = missed;
			best = sums;
		}
	}
	totals->live_bytes += best.allocated_bytes - best.freed_bytes;
	totals->live_buffers += best.allocated_buffers - best.freed_buffers;
	totals->allocated_bytes += best.allocated_bytes;
	totals->allocated_buffers += best.allocated_buffers;
	totals->failures += word_get(&cell->failures);
}

static void device_add(struct ttmem_totals *totals, const struct client *client, uint32_t device,
		       enum ttmem_kind kind)
{
	const struct ledger_header *header = client->header;
	const struct ledger_shard *shards =
		(const void *)((const char *)header + LEDGER_OFFSET_COUNTERS);
	uint32_t count = __atomic_load_n(&header->shards_used, __ATOMIC_ACQUIRE);

	for (uint32_t i = 0; i < count; i++)
		if (__atomic_load_n(&header->shard_devices[i], __ATOMIC_ACQUIRE) >> device & 1)
			cell_add(totals, &shards[i].cells[device][kind]);
}

int ttmem_get_totals(uint32_t device, enum ttmem_kind kind, struct ttmem_totals *totals)
{
	uint32_t row = device == TTMEM_ALL_DEVICES ? LEDGER_ALL_DEVICES : device;
	const struct client *client;
	uint64_t peak;

	if ((device >= LEDGER_DEVICES && device != TTMEM_ALL_DEVICES) ||
	    (unsigned int)kind >= TTMEM_KINDS || !totals)
		return -EINVAL;
	memset(totals, 0, sizeof *totals);
	client = ttmem__client_ready();
	if (!client)
		return -ENOTCONN;
	for (uint32_t i = 0; i < LEDGER_DEVICES; i++)
		if (i == row || row == LEDGER_ALL_DEVICES)
			device_add(totals, client, i, kind);
	peak = word_get(&client->process[ROW(row, kind)].peak_bytes);
	totals->peak_bytes = peak > totals->live_bytes ? peak : totals->live_bytes;
	return 0;
}

int ttmem_get_errors(struct ttmem_errors *errors)
{
	const struct client *client = ttmem__client_ready();
	const struct ledger_header *header;

	if (!client)
		return -ENOTCONN;
	header = client->header;
	errors->unknown_frees = word_get(&header->unknown_frees);
	errors->size_mismatches = word_get(&header->size_mismatches);
	errors->bad_arguments = word_get(&header->bad_arguments);
	errors->reentered = word_get(&header->reentered);
	errors->untracked = word_get(&header->untracked);
	return 0;
}
