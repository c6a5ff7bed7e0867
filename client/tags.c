/* SPDX-License-Identifier: Apache-2.0 */
/* What the process holds by tag, read back from its records. */
#include "records.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS 1000

struct sum {
	uint64_t bytes;
	uint64_t buffers;
};

/* One for each tag, device and kind: 8 MiB, of which only what is used takes memory. */
struct sums {
	struct sum of[LEDGER_TAGS][LEDGER_DEVICES][LEDGER_KINDS];
};

/* The parts of a record that are wanted here, from one moment. False: it is free, or its thread
 * stands still while it writes it: we may be what keeps it from going on. */
static bool record_copy(const struct ledger_record *record, struct ledger_record *copy)
{
	for (int i = 0; i < LOOKS; i++) {
		uint32_t sequence = __atomic_load_n(&record->sequence, __ATOMIC_ACQUIRE);

		copy->references = word_get(&record->references);
		copy->size = word_get(&record->size);
		copy->tag = word_get(&record->tag);
		copy->device = word_get(&record->device);
		copy->kind = word_get(&record->kind);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(sequence & 1) && word_get(&record->sequence) == sequence)
			return copy->references;
	}
	return false;
}

static void sums_fill(struct sums *sums, const struct client *client)
{
	struct records records = ttmem__records_of(client, RECORDS_OF_ALL);
	const struct ledger_record *record;
	struct ledger_record copy;

	while ((record = ttmem__records_next(&records))) {
		struct sum *sum;

		if (!record_copy(record, &copy) || copy.tag >= LEDGER_TAGS ||
		    copy.device >= LEDGER_DEVICES || copy.kind >= LEDGER_KINDS)
			continue;
		sum = &sums->of[copy.tag][copy.device][copy.kind];
		sum->bytes += copy.size;
		sum->buffers++;
	}
}

/* Puts a row where it belongs, if it belongs among the first `room`. */
static void row_insert(struct ttmem_tag_totals *rows, size_t room, size_t count,
		       const struct ttmem_tag_totals *row)
{
	size_t at = count < room ? count : room;

	if (at == room && (!room || rows[room - 1].live_bytes >= row->live_bytes))
		return;
	if (at == room)
		at--;
	for (; at && rows[at - 1].live_bytes < row->live_bytes; at--)
		rows[at] = rows[at - 1];
	rows[at] = *row;
}

/* "other" may stand on a page that is not backed, and be in use when no name is. */
static void name_copy(char *to, const struct client *client, uint32_t tag)
{
	if (tag == LEDGER_TAG_OTHER)
		memcpy(to, "other", sizeof "other");
	else if (tag != LEDGER_TAG_NONE)
		memcpy(to, client->tags[tag].name, TTMEM_TAG_MAX);
}

static size_t rows_fill(struct ttmem_tag_totals *rows, size_t room, const struct client *client,
			const struct sums *sums)
{
	uint32_t tags = __atomic_load_n(&client->header->tags_used, __ATOMIC_ACQUIRE);
	uint64_t devices = __atomic_load_n(&client->header->devices_used, __ATOMIC_ACQUIRE);
	size_t count = 0;

	if (tags <= LEDGER_TAG_OTHER)
		tags = LEDGER_TAG_OTHER + 1;
	for (uint32_t tag = 0; tag < tags; tag++)
		for (uint64_t left = devices; left; left &= left - 1)
			for (uint32_t kind = 0; kind < TTMEM_KINDS; kind++) {
				uint32_t device = (uint32_t)__builtin_ctzll(left);
				const struct sum *sum = &sums->of[tag][device][kind];
				struct ttmem_tag_totals row = {.device = device, .kind = kind};

				if (!sum->buffers)
					continue;
				row.live_bytes = sum->bytes;
				row.live_buffers = sum->buffers;
				name_copy(row.tag, client, tag);
				row_insert(rows, room, count++, &row);
			}
	return count;
}

int ttmem_get_tags(struct ttmem_tag_totals *rows, size_t *count)
{
	const struct client *client;
	size_t room;
	struct sums *sums;
	int saved = errno;

	if (!count || (!rows && *count))
		return -EINVAL;
	room = *count;
	*count = 0;
	client = ttmem__client_ready();
	if (!client)
		return -ENOTCONN;
	sums = ttmem__private_pages(sizeof *sums);
	errno = saved;
	if (!sums)
		return -ENOMEM;
	sums_fill(sums, client);
	*count = rows_fill(rows, room, client, sums);
	ttmem__private_free(sums, sizeof *sums);
	return *count > room ? -ENOSPC : 0;
}
