/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"
#include "records.h"
#include <errno.h>

#define FIRST_GROUPS 64 /* one page */

/* The record's number is written before its tag. */
static bool group_record_is(const struct group *group, uint32_t slot, const struct client *client,
			    struct key key)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return key_is(key, record_at(client, word_get(&group->records[slot])));
}

static bool group_has(const struct group *group, const struct client *client, struct key key)
{
	for (uint32_t i = 0; i < GROUP_SLOTS; i++)
		if (lane_get(group, i) == key_tag(key) && group_record_is(group, i, client, key))
			return true;
	return false;
}

bool ttmem__index_has(const struct index *index, const struct client *client, struct key key)
{
	uint32_t at = key_home(key, index->mask);

	for (uint32_t tried = 0; tried <= index->mask; tried++, at = (at + 1) & index->mask) {
		if (group_has(&index->groups[at], client, key))
			return true;
		if (!lane_get(&index->groups[at], PASSED))
			break;
	}
	return false;
}

static void fill(struct index *index, const struct client *client, const struct shard *shard)
{
	struct records records = ttmem__records_of(client, shard->number);
	const struct ledger_record *record;

	while ((record = ttmem__records_next(&records))) {
		struct key key = key_of(record);

		if (!(record->owner & RECORD_HAS_HANDLE))
			index_put(index, key, records.number);
	}
}

/* Makes the table larger, or the first one. With the shard taken, and client->search_lock or nobody
 * else who knows the shard. Returns false when the host has no memory: then the old one stays. */
bool ttmem__index_grow(const struct client *client, struct shard *shard)
{
	struct index old = shard->index;
	uint32_t groups = old.groups ? (old.mask + 1) * 2 : FIRST_GROUPS;
	size_t bytes = (size_t)groups * sizeof(struct group);
	struct index grown = {.mask = groups - 1, .room = (int32_t)(groups * GROUP_FILL)};
	int saved = errno;

	grown.groups = ttmem__private_table(bytes);
	errno = saved;
	if (!grown.groups)
		return false;
	if (old.groups)
		fill(&grown, client, shard);
	word_set(&shard->index.groups, grown.groups);
	word_set(&shard->index.mask, grown.mask);
	word_set(&shard->index.room, grown.room);
	if (old.groups)
		ttmem__private_free(old.groups, bytes / 2);
	errno = saved;
	return true;
}
