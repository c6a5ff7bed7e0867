/* SPDX-License-Identifier: Apache-2.0 */
/* What a test sees of its own process's ledger: the file, through a mapping of its own. */
#ifndef TESTS_UNIT_OWN_LEDGER_H
#define TESTS_UNIT_OWN_LEDGER_H

#include "fds.h"
#include "isolated.h"
#include "ledger.h"
#include "ttmem.h"
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

static inline int ledgers_open(void)
{
	return fds_of("/memfd:" LEDGER_NAME);
}

static inline int ledger_fd(void)
{
	int fd = fd_of("/memfd:" LEDGER_NAME, 0);

	assert_true(fd >= 0);
	return fd;
}

/* The memory that the ledger takes, in bytes. */
static inline uint64_t ledger_resident(void)
{
	struct stat st;

	assert_int_equal(fstat(ledger_fd(), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Stays mapped for the life of the claim. */
static inline struct ledger_header *ledger_map(void)
{
	int fd = ledger_fd();
	struct stat st;
	void *base;

	assert_int_equal(fstat(fd, &st), 0);
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(base != MAP_FAILED);
	return base;
}

static inline const void *ledger_at(const struct ledger_header *header, uint64_t offset)
{
	return (const char *)header + offset;
}

static inline const struct ledger_record *ledger_record(const struct ledger_header *header,
							uint32_t number)
{
	return (const struct ledger_record *)ledger_at(header, LEDGER_OFFSET_RECORDS) + number;
}

static inline const struct ledger_chunk *ledger_chunk(const struct ledger_header *header,
						      uint32_t number)
{
	return (const struct ledger_chunk *)ledger_at(header, LEDGER_OFFSET_CHUNKS) + number;
}

static inline const struct ledger_cell *ledger_cell(const struct ledger_header *header,
						    uint32_t shard, uint32_t device, uint32_t kind)
{
	const struct ledger_shard *shards = ledger_at(header, LEDGER_OFFSET_COUNTERS);

	return &shards[shard].cells[device][kind];
}

/* The name that a record's tag stands for. */
static inline const char *ledger_tag(const struct ledger_header *header, uint32_t number)
{
	const struct ledger_tag *tags = ledger_at(header, LEDGER_OFFSET_TAGS);

	return tags[number].name;
}

/* The next live record at or above `from`, and its number; NULL behind the last. */
static inline const struct ledger_record *ledger_next(const struct ledger_header *header,
						      uint32_t *from)
{
	for (uint32_t end = header->chunks_used * LEDGER_CHUNK_RECORDS; *from < end; ++*from) {
		const struct ledger_chunk *chunk =
			ledger_chunk(header, *from / LEDGER_CHUNK_RECORDS);

		if (*from % LEDGER_CHUNK_RECORDS < chunk->used &&
		    ledger_record(header, *from)->references)
			return ledger_record(header, *from);
	}
	return NULL;
}

/* The live record of a buffer, of which there must be no other; NULL: it is not live. */
static inline const struct ledger_record *
ledger_find(const struct ledger_header *header, uint32_t device, uint32_t kind, uint64_t address)
{
	const struct ledger_record *found = NULL, *record;

	for (uint32_t i = 0; (record = ledger_next(header, &i)); i++) {
		if (record->device != device || record->kind != kind || record->address != address)
			continue;
		assert_null(found);
		found = record;
	}
	return found;
}

static inline uint32_t ledger_live(const struct ledger_header *header)
{
	uint32_t count = 0;

	for (uint32_t i = 0; ledger_next(header, &i); i++)
		count++;
	return count;
}

static inline struct ttmem_totals totals_of(uint32_t device, enum ttmem_kind kind)
{
	struct ttmem_totals totals;

	assert_int_equal(ttmem_get_totals(device, kind, &totals), 0);
	return totals;
}

static inline struct ttmem_errors errors_now(void)
{
	struct ttmem_errors errors;

	assert_int_equal(ttmem_get_errors(&errors), 0);
	return errors;
}

/* At a quiet moment the records and what is unlisted add up to the sums. */
static inline void assert_records_are_sums(const struct ledger_header *header)
{
	uint64_t bytes[LEDGER_DEVICES][TTMEM_KINDS] = {0},
		 buffers[LEDGER_DEVICES][TTMEM_KINDS] = {0};
	const struct ledger_record *record;

	assert_int_equal(header->unlisted, 0);
	for (uint32_t i = 0; (record = ledger_next(header, &i)); i++) {
		assert_false(record->sequence & 1);
		assert_true(record->device < LEDGER_DEVICES && record->kind < TTMEM_KINDS);
		bytes[record->device][record->kind] += record->size;
		buffers[record->device][record->kind]++;
	}
	for (uint32_t device = 0; device < LEDGER_DEVICES; device++) {
		for (int kind = 0; kind < TTMEM_KINDS; kind++) {
			struct ttmem_totals totals = totals_of(device, (enum ttmem_kind)kind);

			assert_int_equal(totals.live_bytes, bytes[device][kind]);
			assert_int_equal(totals.live_buffers, buffers[device][kind]);
		}
	}
}

/* Nothing is live, in the sums or in a record. */
static inline void assert_all_is_freed(const struct ledger_header *header)
{
	assert_int_equal(ledger_live(header), 0);
	assert_records_are_sums(header);
}

#endif
