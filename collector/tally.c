/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"
#include "capped.h"
#include <stdbool.h>
#include <string.h>

#define PLACES_FIRST 32u

void tally_init(struct tally *tally, guint limit)
{
	*tally = (struct tally){
		.rows = g_array_new(FALSE, FALSE, sizeof(struct tally_row)),
		.index = g_new0(uint32_t, PLACES_FIRST),
		.places = PLACES_FIRST,
		.limit = limit,
		.tags = g_string_chunk_new(256),
	};
}

void tally_fini(struct tally *tally)
{
	g_array_free(tally->rows, TRUE);
	g_free(tally->index);
	g_string_chunk_free(tally->tags);
}

static uint64_t secret(void)
{
	static uint64_t factor;

	while (!factor)
		factor = (uint64_t)g_random_int() << 32 | g_random_int() | 1;
	return factor;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * secret();
	return hash ^ hash >> 32;
}

static uint64_t hash_of(const char *tag, uint32_t device, enum kind kind)
{
	uint64_t hash = mix(secret(), (uint64_t)device << 8 | kind);
	size_t length = tag ? strlen(tag) + 1 : 0; /* "" is not none */

	for (size_t i = 0; i < length; i += sizeof hash) {
		uint64_t word = 0;

		memcpy(&word, tag + i, MIN(sizeof word, length - i));
		hash = mix(hash, word);
	}
	return mix(hash, length);
}

static struct tally_row *row_at(const struct tally *tally, guint number)
{
	return &g_array_index(tally->rows, struct tally_row, number);
}

static bool is_for(const struct tally_row *row, uint64_t hash, const char *tag, uint32_t device,
		   enum kind kind)
{
	return row->hash == hash && row->device == device && row->kind == kind &&
	       !g_strcmp0(row->tag, tag);
}

/* The place of this key, or the free one where it would be. */
static uint32_t *seek(const struct tally *tally, uint64_t hash, const char *tag, uint32_t device,
		      enum kind kind)
{
	uint32_t at = (uint32_t)hash & (tally->places - 1);

	while (tally->index[at] &&
	       !is_for(row_at(tally, tally->index[at] - 1), hash, tag, device, kind))
		at = (at + 1) & (tally->places - 1);
	return &tally->index[at];
}

/* At most half of the places are taken. */
static void grow(struct tally *tally)
{
	if (tally->rows->len < tally->places / 2)
		return;
	g_free(tally->index);
	tally->places *= 2;
	tally->index = g_new0(uint32_t, tally->places);
	for (guint i = 0; i < tally->rows->len; i++) {
		uint32_t at = (uint32_t)row_at(tally, i)->hash & (tally->places - 1);

		while (tally->index[at])
			at = (at + 1) & (tally->places - 1);
		tally->index[at] = i + 1;
	}
}

struct tally_row *tally_row(struct tally *tally, const char *tag, uint32_t device, enum kind kind)
{
	uint64_t hash = hash_of(tag, device, kind);
	uint32_t *place = seek(tally, hash, tag, device, kind);
	struct tally_row row = {.hash = hash, .device = device, .kind = (uint8_t)kind};

	if (*place)
		return row_at(tally, *place - 1);
	if (tally->rows->len >= tally->limit && g_strcmp0(tag, TALLY_OTHER))
		return tally_row(tally, TALLY_OTHER, device, kind);
	if (tag)
		row.tag = g_string_chunk_insert(tally->tags, tag);
	g_array_append_val(tally->rows, row);
	*place = tally->rows->len;
	grow(tally);
	return row_at(tally, tally->rows->len - 1);
}

void tally_row_add(struct tally_row *row, uint64_t bytes, uint64_t buffers)
{
	add_capped(&row->bytes, bytes);
	add_capped(&row->buffers, buffers);
}

size_t tally_bytes(const struct tally *tally)
{
	return tally->places * sizeof *tally->index +
	       tally->rows->len * (sizeof(struct tally_row) + sizeof(char[48]));
}

static gint by_use(gconstpointer a, gconstpointer b)
{
	const struct tally_row *left = *(const struct tally_row *const *)a;
	const struct tally_row *right = *(const struct tally_row *const *)b;
	int tags;

	if (left->bytes != right->bytes)
		return left->bytes < right->bytes ? 1 : -1;
	tags = g_strcmp0(left->tag, right->tag);
	if (tags)
		return tags;
	if (left->device != right->device)
		return left->device < right->device ? -1 : 1;
	return left->kind - right->kind;
}

GPtrArray *tally_by_use(const struct tally *tally)
{
	GPtrArray *rows = g_ptr_array_sized_new(tally->rows->len);

	for (guint i = 0; i < tally->rows->len; i++)
		g_ptr_array_add(rows, row_at(tally, i));
	g_ptr_array_sort(rows, by_use);
	return rows;
}
