/* SPDX-License-Identifier: Apache-2.0 */
/* Tags: names that are written once and then known by number. */
#include "internal.h"
#include <errno.h>
#include <string.h>

#define NAME_MAX_BYTES (sizeof((struct ledger_tag *)0)->name - 1)
#define SLOT_MASK      (2 * LEDGER_TAGS - 1)

static uint32_t name_hash(const char *name)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < NAME_MAX_BYTES && name[i]; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return hash ^ hash >> 16;
}

static bool is_tag(const struct client *client, uint16_t id, const char *name)
{
	return strncmp(client->tags[id].name, name, NAME_MAX_BYTES) == 0;
}

/* Under client->lock; the name is complete before its number can be found. */
static uint16_t tag_add(struct client *client, uint16_t *slot, const char *name)
{
	struct ledger_header *header = client->header;
	uint32_t id = header->tags_used ? header->tags_used : LEDGER_TAG_OTHER + 1;

	if (id >= LEDGER_TAGS || ttmem__back(client, &client->tags[0], sizeof *client->tags) ||
	    ttmem__back(client, &client->tags[id], sizeof *client->tags))
		return LEDGER_TAG_OTHER;
	memcpy(client->tags[LEDGER_TAG_OTHER].name, "other", sizeof "other");
	memcpy(client->tags[id].name, name, strnlen(name, NAME_MAX_BYTES));
	__atomic_store_n(&header->tags_used, id + 1, __ATOMIC_RELEASE);
	__atomic_store_n(slot, (uint16_t)id, __ATOMIC_RELEASE);
	return (uint16_t)id;
}

/* The first empty slot, or the one that holds the name. The table is twice as large as the number
 * of tags, so there always is one. */
static uint16_t *slot_find(struct client *client, const char *name)
{
	uint32_t i = name_hash(name) & SLOT_MASK;

	for (;; i = (i + 1) & SLOT_MASK) {
		uint16_t id = __atomic_load_n(&client->tag_slots[i], __ATOMIC_ACQUIRE);

		if (!id || is_tag(client, id, name))
			return &client->tag_slots[i];
	}
}

/* The number of a name, LEDGER_TAG_OTHER when there is no room for a new one. */
uint16_t ttmem__tag(struct client *client, struct thread *thread, const char *name)
{
	uint16_t *slot, id;
	int saved = errno;

	if (!*name)
		return LEDGER_TAG_NONE;
	/* The name "other" may be on a page that is not backed. */
	if (thread->last_tag > LEDGER_TAG_OTHER && is_tag(client, thread->last_tag, name))
		return thread->last_tag;
	slot = slot_find(client, name);
	id = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	if (!id) {
		lock_take(&client->lock);
		slot = slot_find(client, name);
		id = *slot ? *slot : tag_add(client, slot, name);
		lock_give(&client->lock);
		errno = saved;
	}
	thread->last_tag = id;
	return id;
}
