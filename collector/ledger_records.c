/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a ledger's records and tags: with pread, because reading a hole through a mapping fills
 * it, and twice, because what is being written must not be shown. */
#include "ledger_view.h"
#include "plain.h"
#include <string.h>
#include <unistd.h>

#define TRIES 4

#define word_get(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)

static uint32_t chunks_used(const struct ledger_view *view)
{
	uint32_t chunks = word_get(&view->header->chunks_used);
	uint64_t limit = view->capacity / LEDGER_CHUNK_RECORDS;

	return chunks < limit ? chunks : (uint32_t)limit;
}

uint64_t ledger_view_records(const struct ledger_view *view)
{
	return (uint64_t)chunks_used(view) * LEDGER_CHUNK_RECORDS;
}

static bool read_at(const struct ledger_view *view, void *to, size_t size, uint64_t offset)
{
	return pread(view->fd, to, size, (off_t)offset) == (ssize_t)size;
}

static bool is_whole(const struct ledger_record *first, const struct ledger_record *second)
{
	return !(first->sequence & 1) && !memcmp(first, second, sizeof *first);
}

static bool is_sane(const struct ledger_record *record)
{
	return record->references && record->device < LEDGER_DEVICES && record->kind < KIND_COUNT &&
	       record->size <= LEDGER_MAX_BYTES;
}

/* A record that differs between two copies was being written: it gets a few more looks. */
static bool settle(const struct ledger_view *view, struct ledger_record *record, uint64_t offset)
{
	struct ledger_record again;

	for (int i = 0; i < TRIES; i++) {
		if (!read_at(view, &again, sizeof again, offset))
			return false;
		if (is_whole(record, &again))
			return true;
		*record = again;
	}
	return false;
}

int ledger_view_chunk(const struct ledger_view *view, uint32_t chunk, struct ledger_record *records)
{
	struct ledger_record again[LEDGER_CHUNK_RECORDS];
	uint64_t offset =
		LEDGER_OFFSET_RECORDS + (uint64_t)chunk * LEDGER_CHUNK_RECORDS * sizeof *records;
	struct ledger_chunk entry;
	int live = 0;

	if (chunk >= chunks_used(view))
		return -1;
	if (!read_at(view, &entry, sizeof entry, LEDGER_OFFSET_CHUNKS + chunk * sizeof entry))
		return 0;
	if (entry.used > LEDGER_CHUNK_RECORDS)
		entry.used = LEDGER_CHUNK_RECORDS;
	if (!read_at(view, records, entry.used * sizeof *records, offset) ||
	    !read_at(view, again, entry.used * sizeof *records, offset))
		return 0;
	for (uint32_t i = 0; i < entry.used; i++) {
		struct ledger_record *record = &records[i];

		if (!is_whole(record, &again[i])) {
			*record = again[i];
			if (!settle(view, record, offset + i * sizeof *record))
				continue;
		}
		if (is_sane(record))
			records[live++] = *record;
	}
	return live;
}

/* Names are written once, so those that were read stay as they are. */
static void tags_read(struct ledger_view *view, uint32_t count)
{
	if (!view->tags)
		view->tags = g_malloc0_n(LEDGER_TAGS, sizeof *view->tags);
	for (uint32_t i = view->tags_read; i < count; i++) {
		struct ledger_tag tag;

		if (!read_at(view, &tag, sizeof tag, LEDGER_OFFSET_TAGS + i * sizeof tag))
			memset(&tag, 0, sizeof tag);
		plain_text(view->tags[i], tag.name, sizeof view->tags[i], false);
	}
	view->tags_read = count;
}

const char *ledger_view_tag(struct ledger_view *view, uint32_t tag)
{
	uint32_t used = word_get(&view->header->tags_used);

	if (tag == LEDGER_TAG_OTHER)
		return "other";
	if (used > LEDGER_TAGS)
		used = LEDGER_TAGS;
	if (used > view->tags_read)
		tags_read(view, used);
	if (tag == LEDGER_TAG_NONE || tag >= view->tags_read || !*view->tags[tag])
		return NULL;
	return view->tags[tag];
}
