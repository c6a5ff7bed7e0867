/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way from (device, kind, address) to a record: a hash table of groups, each a cache line with
 * room for ten buffers. A search reads its home group, and nearly always no other; it goes on to
 * the next only if a buffer was passed on for want of room. Entries stay where they are until the
 * table grows, so another thread can look into it (index_has) while its owner works, and a removal
 * leaves no trace.
 */
#ifndef TTMEM_INDEX_H
#define TTMEM_INDEX_H

#include "internal.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#define GROUP_SLOTS 10u
#define SLOTS_MASK  ((1u << GROUP_SLOTS) - 1)
#define GROUP_FILL  7u /* entries for each group, on average, at most */

/*
 * Three words of four lanes, 16 bits each: lanes 0 to 9 hold 15 bits of an entry's hash, and 1, or
 * 0 where there is no entry; lane 10 counts the entries that had no room here, and stays at
 * LANE_MAX. Words are read whole, and nearly always written whole: a wider load than the last store
 * to its bytes would wait until all stores before it have left the processor.
 */
struct group {
	uint64_t words[3];
	uint32_t records[GROUP_SLOTS];
} __attribute__((aligned(64)));

static_assert(sizeof(struct group) == 64, "a cache line");

typedef uint16_t __attribute__((may_alias)) uint16_t_alias;

#define LANE_MAX    0xffffull
#define PASSED      10u
#define PASSED_BITS (LANE_MAX << PASSED % 4 * 16)

static inline uint16_t lane_get(const struct group *group, uint32_t lane)
{
	return (uint16_t)(word_get(&group->words[lane / 4]) >> lane % 4 * 16);
}

static inline void lane_set(struct group *group, uint32_t lane, uint64_t value)
{
	uint64_t *word = &group->words[lane / 4];
	uint32_t shift = lane % 4 * 16;
	uint64_t rest = *word & ~(LANE_MAX << shift);

	__atomic_store_n(word, rest | value << shift, __ATOMIC_RELEASE);
}

/* The same with one store, for a group that is not read again at once. */
static inline void lane_put(struct group *group, uint32_t lane, uint16_t value)
{
	__atomic_store_n((uint16_t_alias *)group->words + lane, value, __ATOMIC_RELEASE);
}

/* From 0 to the value, or back. */
static inline void lane_flip(struct group *group, uint32_t lane, uint64_t value)
{
	uint64_t *word = &group->words[lane / 4];

	__atomic_store_n(word, *word ^ value << lane % 4 * 16, __ATOMIC_RELEASE);
}

struct key {
	uint64_t address;
	uint64_t hash;
	uint64_t row;
	uint16_t place; /* the record's device and kind, as they lie in memory */
};

/* Without its hash: for a buffer that is in no index. */
static inline struct key key_bare(uint32_t device, uint32_t kind, uint64_t address)
{
	return (struct key){.address = address,
			    .row = ROW((uint64_t)device, kind),
			    .place = (uint16_t)(device | kind << 8)};
}

static inline struct key key_make(uint32_t device, uint32_t kind, uint64_t address)
{
	/* Addresses are multiples of large powers of two: fold, spread by the golden ratio, fold.
	 * The same addresses are in use on all devices: each has an offset that is spread as well.
	 */
	struct key key = key_bare(device, kind, address);
	uint64_t x =
		(address ^ address >> 29) * 0x9e3779b97f4a7c15ull + key.row * 0xd6e8feb86659fd93ull;

	key.hash = x ^ x >> 32;
	return key;
}

static hot const uint16_t_alias *record_place(const struct ledger_record *record)
{
	return (const uint16_t_alias *)&record->device;
}

static inline struct key key_of(const struct ledger_record *record)
{
	return key_make(record->device, record->kind, record->address);
}

static inline uint32_t key_home(struct key key, uint32_t mask)
{
	return (uint32_t)key.hash & mask;
}

static inline uint16_t key_tag(struct key key)
{
	return (uint16_t)(key.hash >> 48 | 1);
}

/* A bit for each slot with that tag. */
static hot uint32_t group_match(const struct group *group, uint16_t tag)
{
#ifdef __SSE2__
	const __m128i *words = (const __m128i *)group->words;
	__m128i wanted = _mm_set1_epi16((short)tag);
	__m128i low = _mm_unpacklo_epi64(_mm_loadl_epi64(words),
					 _mm_loadl_epi64((const __m128i *)&group->words[1]));
	__m128i high = _mm_loadl_epi64(words + 1);

	low = _mm_cmpeq_epi16(low, wanted);
	high = _mm_cmpeq_epi16(high, wanted);
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high)) & SLOTS_MASK;
#else
	uint32_t match = 0;

	for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++)
		match |= (uint32_t)(lane_get(group, slot) == tag) << slot;
	return match;
#endif
}

static inline bool group_passed(const struct group *group)
{
	return group->words[PASSED / 4] & PASSED_BITS;
}

static inline void group_pass(struct group *group, int change)
{
	uint16_t passed = lane_get(group, PASSED);

	if (passed != LANE_MAX)
		lane_set(group, PASSED, (uint16_t)(passed + change));
}

/* Whether the record is the key's. It may be written meanwhile when another thread looks. */
static inline bool key_is(struct key key, const struct ledger_record *record)
{
	return word_get(&record->address) == key.address &&
	       word_get(record_place(record)) == key.place;
}

/* An entry that was found. */
struct place {
	struct group *group; /* NULL: there is none */
	struct ledger_record *record;
	uint32_t slot;
	uint32_t number; /* of the record */
};

static hot struct place index_find(const struct index *index, const struct client *client,
				   struct key key)
{
	uint32_t at = key_home(key, index->mask);

	for (uint32_t tried = 0; tried <= index->mask; tried++, at = (at + 1) & index->mask) {
		struct group *group = &index->groups[at];

		for (uint32_t match = group_match(group, key_tag(key)); match; match &= match - 1) {
			uint32_t slot = (uint32_t)__builtin_ctz(match);
			uint32_t number = group->records[slot];
			struct ledger_record *record = record_at(client, number);

			if (likely(key_is(key, record)))
				return (struct place){group, record, slot, number};
		}
		if (likely(!group_passed(group)))
			break;
	}
	return (struct place){0};
}

/* The same for a thread that has not taken the shard, but holds client.search_lock, so that the
 * table stays: whether the key was there. A yes may be gone by now, or never have been, if a record
 * was written meanwhile. A key that was inserted before and not removed is found for certain. */
bool ttmem__index_has(const struct index *index, const struct client *client, struct key key);

static inline bool index_has_room(const struct index *index)
{
	return index->room > 0;
}

static inline uint32_t index_used(const struct index *index)
{
	return (uint32_t)((int32_t)((index->mask + 1) * GROUP_FILL) - index->room);
}

/* For when the host has no memory for a larger table. */
static inline bool index_is_full(const struct index *index)
{
	return index->room <=
	       (int32_t)(index->mask + 1) * ((int32_t)GROUP_FILL - (int32_t)GROUP_SLOTS);
}

/* It must not be full. */
static hot void index_put(struct index *index, struct key key, uint32_t record)
{
	uint32_t at = key_home(key, index->mask);
	struct group *group = &index->groups[at];
	uint32_t slot, empty;

	while (unlikely(!(empty = group_match(group, 0)))) {
		group_pass(group, 1);
		at = (at + 1) & index->mask;
		group = &index->groups[at];
	}
	slot = (uint32_t)__builtin_ctz(empty);
	word_set(&group->records[slot], record);
	lane_flip(group, slot, key_tag(key));
	index->room--;
}

static hot void index_remove(struct index *index, struct key key, struct place place)
{
	uint32_t at = key_home(key, index->mask);

	lane_flip(place.group, place.slot, key_tag(key));
	index->room++;
	for (; unlikely(&index->groups[at] != place.group); at = (at + 1) & index->mask)
		group_pass(&index->groups[at], -1);
}

#endif
