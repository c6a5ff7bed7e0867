/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums by tag, device and kind, of which there can be no more than a limit: what comes with a new
 * tag then is summed as the tag "other", which is also what the library calls the tags beyond its
 * own limit. Tags come from anyone, so the hash is keyed: nobody can choose tags that meet in it.
 */
#ifndef TALLY_H
#define TALLY_H

#include "kind.h"
#include <glib.h>
#include <stdint.h>

#define TALLY_OTHER "other"

/* Sums stay at their limit. */
struct tally_row {
	const char *tag; /* the tally's; NULL: none */
	uint64_t bytes;
	uint64_t buffers;
	uint64_t hash;
	uint32_t device;
	uint16_t place; /* the owner's to use; 0 in a new row */
	uint8_t kind;
};

struct tally {
	GArray *rows;    /* struct tally_row, in the order in which they came */
	uint32_t *index; /* a power of two of places: number of the row + 1, or 0 */
	uint32_t places;
	guint limit; /* rows, but for those of "other" */
	GStringChunk *tags;
};

void tally_init(struct tally *tally, guint limit);
void tally_fini(struct tally *tally);

/* The row for this tag, or that for the others. Good until the next call. */
struct tally_row *tally_row(struct tally *tally, const char *tag, uint32_t device, enum kind kind);
void tally_row_add(struct tally_row *row, uint64_t bytes, uint64_t buffers);

/* About what it takes. */
size_t tally_bytes(const struct tally *tally);

/* The rows (const struct tally_row *) by bytes, most first; then by tag, device and kind. To be
 * freed, and good until the next tally_row(). */
GPtrArray *tally_by_use(const struct tally *tally);

#endif
