/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_table.h"
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define FIRST         128  /* places: one page */
#define REACH         4096 /* places that are moved to make room: never by chance */
#define BYTES(places) ((size_t)(places) * sizeof(struct alloc_record))

_Static_assert(sizeof(struct alloc_record) == 32, "two in a cache line");

/* Of an odd number: each round doubles the bits that are right. */
static uint64_t invert(uint64_t odd)
{
	uint64_t inverse = odd;

	for (int i = 0; i < 5; i++)
		inverse *= 2 - odd * inverse;
	return inverse;
}

void alloc_table_init(struct alloc_table *table)
{
	uint64_t keys[3];

	memset(table, 0, sizeof *table);
	if (getrandom(keys, sizeof keys, GRND_NONBLOCK) != sizeof keys)
		for (int i = 0; i < 3; i++)
			keys[i] = (uint64_t)g_random_int() << 32 | g_random_int();
	for (int i = 0; i < 2; i++) {
		table->factor[i] = keys[i] | 1;
		table->inverse[i] = invert(table->factor[i]);
	}
	table->step = keys[2] | 1;
}

void alloc_table_fini(struct alloc_table *table)
{
	if (table->records)
		munmap(table->records, BYTES(table->places));
}

static uint64_t hash_of(const struct alloc_table *table, uint8_t space, uint64_t buffer)
{
	uint64_t hash = (buffer + space * table->step) * table->factor[0];

	return (hash ^ hash >> 32) * table->factor[1];
}

uint64_t alloc_table_buffer(const struct alloc_table *table, const struct alloc_record *record)
{
	uint64_t hash = record->hash * table->inverse[1];

	return (hash ^ hash >> 32) * table->inverse[0] - record->space * table->step;
}

/* By the highest bits, so that homes follow each other as hashes do. */
static uint32_t home_of(uint32_t homes, uint64_t hash)
{
	return (uint32_t)((unsigned __int128)hash * homes >> 64);
}

static struct alloc_record *last_of(const struct alloc_table *table)
{
	return table->records + table->places - 1;
}

/* The first place from its home on that is free or has this hash or a higher one. */
static struct alloc_record *seek(const struct alloc_table *table, uint64_t hash)
{
	struct alloc_record *at = table->records + home_of(table->homes, hash);

	while (at->references && at->hash < hash)
		at++;
	return at;
}

struct alloc_record *alloc_table_find(const struct alloc_table *table, uint8_t space,
				      uint64_t buffer)
{
	uint64_t hash = hash_of(table, space, buffer);
	struct alloc_record *at;

	if (!table->used)
		return NULL;
	for (at = seek(table, hash); at->references && at->hash == hash; at++)
		if (at->space == space)
			return at;
	return NULL;
}

/* The records keep their order, so this is one pass through both. */
static bool copy_records(struct alloc_table *to, const struct alloc_table *from)
{
	struct alloc_record *next = to->records, *home;

	for (uint32_t i = 0; i < from->places; i++) {
		if (!from->records[i].references)
			continue;
		home = to->records + home_of(to->homes, from->records[i].hash);
		if (next < home)
			next = home;
		if (next == last_of(to))
			return false;
		*next++ = from->records[i];
	}
	return true;
}

/* False when the host has no memory: nothing has changed then. */
static bool resize(struct alloc_table *table, uint32_t places)
{
	struct alloc_table new = *table;

	new.records = mmap(NULL, BYTES(places), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	if (new.records == MAP_FAILED)
		return false;
	new.places = places;
	new.homes = places - MIN(places / 8, REACH);
	if (!copy_records(&new, table)) {
		munmap(new.records, BYTES(places));
		return false;
	}
	alloc_table_fini(table);
	*table = new;
	return true;
}

/* Up to three quarters full. Beyond that it is used on when the host has no memory. */
static bool has_room(struct alloc_table *table)
{
	if (table->used >= ALLOC_TABLE_MAX)
		return false;
	if (table->used < table->homes / 4 * 3)
		return true;
	return resize(table, table->places ? table->places * 2 : FIRST) ||
	       (table->places && table->used < table->homes);
}

struct alloc_record *alloc_table_add(struct alloc_table *table, uint8_t space, uint64_t buffer)
{
	uint64_t hash = hash_of(table, space, buffer);
	struct alloc_record *at, *end;

	if (!has_room(table))
		return NULL;
	at = end = seek(table, hash);
	while (end->references)
		end++;
	if (end == last_of(table) || end - at > REACH)
		return NULL;
	memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
	*at = (struct alloc_record){.hash = hash, .space = space, .references = 1};
	table->used++;
	return at;
}

/* Those behind it that are not at home move up. */
void alloc_table_remove(struct alloc_table *table, struct alloc_record *record)
{
	struct alloc_record *end = record + 1;

	while (end->references && end - table->records > home_of(table->homes, end->hash))
		end++;
	memmove(record, record + 1, (size_t)(end - record - 1) * sizeof *record);
	end[-1].references = 0;
	table->used--;
	if (table->places > FIRST && table->used < table->places / 8)
		resize(table, table->places / 2);
}

static const struct alloc_record *first_from(const struct alloc_table *table,
					     const struct alloc_record *at)
{
	for (; at <= last_of(table); at++)
		if (at->references)
			return at;
	return NULL;
}

/* Behind a free place all are at their homes or after them, and so higher. */
const struct alloc_record *alloc_table_from(const struct alloc_table *table, uint64_t hash)
{
	return table->used ? first_from(table, seek(table, hash)) : NULL;
}

const struct alloc_record *alloc_table_after(const struct alloc_table *table,
					     const struct alloc_record *record)
{
	return first_from(table, record + 1);
}
