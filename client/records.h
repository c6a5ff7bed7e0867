/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over the live records of a shard, or of all, in the order in which they lie in memory. */
#ifndef TTMEM_RECORDS_H
#define TTMEM_RECORDS_H

#include "internal.h"

#define RECORDS_OF_ALL UINT32_MAX

struct records {
	const struct client *client;
	uint32_t shard;
	uint32_t listed; /* chunks of the ledger */
	uint32_t chunk;  /* those of the ledger first, then those in private memory */
	uint32_t next;   /* in the chunk */
	uint32_t used;   /* of the chunk; 0: it is not the shard's */
	uint32_t number; /* of the record that was given last */
};

struct records ttmem__records_of(const struct client *client, uint32_t shard);

/* NULL: there are no more. Without the shard taken a record may be written or freed meanwhile. */
const struct ledger_record *ttmem__records_next(struct records *records);

#endif
