/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live buffers of one process that reports them one by one: a hash table of fixed records. It
 * is ours and no library's, because ten million events a second pass through it at best: an entry
 * and its removal take 30 ns here, 100 ns in a GHashTable of records from malloc (10,000 buffers),
 * and the memory is given back to the kernel when the buffers go.
 *
 * The records are in the order of their hashes, each at its home or close behind it (linear
 * probing). So a walk goes on at the hash where it stopped, whatever has changed since, growing and
 * shrinking included: it lists each buffer that was there all the time exactly once. The hash is a
 * secret permutation of what names a buffer, which therefore is not stored, and nobody can choose
 * buffers that meet in one place.
 */
#ifndef ALLOC_TABLE_H
#define ALLOC_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ALLOC_TABLE_MAX 1048576 /* records; then it takes 64 MiB */

/* A buffer with references, or a place that is free. */
struct alloc_record {
	uint64_t hash;
	uint64_t size_bytes;
	uint64_t time_ns;
	uint32_t references; /* 0: free */
	uint8_t space;       /* where the buffer's number is valid: 0 to ALLOC_SPACES - 1 */
	uint8_t kind;
	uint8_t tag;
	uint8_t pad;
};

#define ALLOC_SPACES 192

/* All zeros but for the keys is an empty table without memory. */
struct alloc_table {
	struct alloc_record *records; /* `places` of them, mapped; the last is always free */
	uint32_t places;
	uint32_t homes; /* places that are some record's home: the first so many */
	uint32_t used;
	uint64_t factor[2], inverse[2], step; /* the keys of the hash */
};

void alloc_table_init(struct alloc_table *table);
void alloc_table_fini(struct alloc_table *table);

/* All pointers to records are good until the next record is added or removed. */

/* NULL if it is not there. */
struct alloc_record *alloc_table_find(const struct alloc_table *table, uint8_t space,
				      uint64_t buffer);

/* Adds a buffer that is not there, with one reference; size, time, kind and tag are the caller's to
 * fill in. NULL when the table is full or the host has no memory. */
struct alloc_record *alloc_table_add(struct alloc_table *table, uint8_t space, uint64_t buffer);

void alloc_table_remove(struct alloc_table *table, struct alloc_record *record);

/* What the record's buffer is called. */
uint64_t alloc_table_buffer(const struct alloc_table *table, const struct alloc_record *record);

/* The first record that has this hash or a higher one; NULL: there is none. */
const struct alloc_record *alloc_table_from(const struct alloc_table *table, uint64_t hash);

/* The one that follows; NULL: it was the last. */
const struct alloc_record *alloc_table_after(const struct alloc_table *table,
					     const struct alloc_record *record);

#endif
