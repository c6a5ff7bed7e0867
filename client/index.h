/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from (device, kind, address) to a record. Open addressing with linear probing and
 * deletion by shifting back, so there are no tombstones; a slot holds 32 bits of the hash, which
 * is enough to find its home again without touching the record.
 */
#ifndef TTMEM_INDEX_H
#define TTMEM_INDEX_H

#include "internal.h"

#define INDEX_NONE UINT32_MAX

struct key {
	uint64_t address;
	uint32_t hash;
	uint8_t device;
	uint8_t kind;
};

static inline struct key key_make(uint32_t device, uint32_t kind, uint64_t address)
{
	uint64_t x = address ^ ((uint64_t)(device << 3 | kind) << 52);

	/* Addresses are multiples of large powers of two: fold, spread by the golden ratio, fold.
	 */
	x ^= x >> 29;
	x *= 0x9e3779b97f4a7c15ull;
	x ^= x >> 32;
	return (struct key){address, (uint32_t)x, (uint8_t)device, (uint8_t)kind};
}

static inline uint32_t slot_hash(uint64_t slot)
{
	return (uint32_t)(slot >> 32);
}

static inline uint32_t slot_record(uint64_t slot)
{
	return (uint32_t)slot - 1;
}

/* The slot number, or INDEX_NONE. */
static inline uint32_t index_find(const struct index *index, const struct client *client,
				  const struct key *key)
{
	for (uint32_t i = key->hash & index->mask;; i = (i + 1) & index->mask) {
		uint64_t slot = index->slots[i];
		const struct ledger_record *record;

		if (!slot)
			return INDEX_NONE;
		if (slot_hash(slot) != key->hash)
			continue;
		record = record_at(client, slot_record(slot));
		if (likely(record->address == key->address && record->device == key->device &&
			   record->kind == key->kind))
			return i;
	}
}

/* True when there is room for one more, growing if need be. */
static inline bool index_reserve(struct index *index)
{
	if (likely(index->used < index->mask - index->mask / 4))
		return true;
	return ttmem__index_grow(index);
}

static inline void index_put(struct index *index, uint32_t hash, uint32_t record)
{
	uint32_t i = hash & index->mask;

	while (index->slots[i])
		i = (i + 1) & index->mask;
	index->slots[i] = (uint64_t)hash << 32 | (record + 1);
	index->used++;
}

/* Empties slot i and moves up those behind it that may not stay beyond the gap. */
static inline void index_remove(struct index *index, uint32_t i)
{
	uint32_t gap = i;

	for (;;) {
		uint64_t slot;
		uint32_t home;

		i = (i + 1) & index->mask;
		slot = index->slots[i];
		if (!slot)
			break;
		home = slot_hash(slot) & index->mask;
		if (((i - home) & index->mask) < ((i - gap) & index->mask))
			continue;
		index->slots[gap] = slot;
		gap = i;
	}
	index->slots[gap] = 0;
	index->used--;
}

#endif
