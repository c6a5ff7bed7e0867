/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"
#include <errno.h>
#include <sys/mman.h>

#define INDEX_FIRST 512 /* slots: one page */

/* Doubles the table. Returns false when the host has no memory; the old one stays usable until the
 * last slot but one. */
bool ttmem__index_grow(struct index *index)
{
	uint32_t size = index->slots ? (index->mask + 1) * 2 : INDEX_FIRST;
	uint64_t *old = index->slots;
	uint32_t old_size = old ? index->mask + 1 : 0;
	int saved = errno;
	uint64_t *slots = size ? ttmem__private_pages(size * sizeof *slots) : NULL;

	errno = saved;
	if (!slots)
		return old && index->used < index->mask;
	*index = (struct index){.slots = slots, .mask = size - 1};
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i])
			index_put(index, slot_hash(old[i]), slot_record(old[i]));
	if (old)
		munmap(old, old_size * sizeof *old);
	errno = saved;
	return true;
}
