/* SPDX-License-Identifier: Apache-2.0 */
/* Ledgers made by hand, and views of them. */
#ifndef TESTS_UNIT_FORGED_H
#define TESTS_UNIT_FORGED_H

#include "ledger_view.h"
#include "peers/forge.h"
#include "unit.h"

/* A ledger that the test can change at will, and our view of it once it is open. */
struct forged {
	struct forgery by_hand;
	struct ledger_header *header;
	struct ledger_view view;
};

static inline void forged_make(struct forged *forged)
{
	forge_path = "/nowhere";
	memset(forged, 0, sizeof *forged);
	forged->by_hand = forge_ledger(FORGE_CAPACITY);
	forged->header = forged->by_hand.header;
}

static inline int forged_try(struct forged *forged, int seals, uid_t owner, const char **why)
{
	*why = NULL;
	forge_seal(&forged->by_hand, seals);
	return ledger_view_open(&forged->view, forged->by_hand.memfd, owner, why);
}

static inline void forged_open(struct forged *forged)
{
	const char *why;

	assert_int_equal(forged_try(forged, FORGE_SEALS, geteuid(), &why), 0);
	assert_null(why);
}

/* Without its descriptor, which the view has or the caller. */
static inline void forged_forget(struct forged *forged)
{
	munmap(forged->header, ledger_file_size(FORGE_CAPACITY));
	close(forged->by_hand.eventfd);
}

static inline int forged_setup(void **state)
{
	*state = g_new0(struct forged, 1);
	forged_make(*state);
	forged_open(*state);
	return 0;
}

static inline int forged_teardown(void **state)
{
	struct forged *forged = *state;

	ledger_view_close(&forged->view);
	forged_forget(forged);
	g_free(forged);
	return 0;
}

/* A claim about a view that is open. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, forged_setup, forged_teardown)

static inline void *forged_at(const struct forged *forged, uint64_t offset)
{
	return forge_at(&forged->by_hand, offset);
}

static inline struct ledger_cell *forged_cell(const struct forged *forged, uint32_t shard,
					      uint32_t device, int kind)
{
	struct ledger_shard *shards = forged_at(forged, LEDGER_OFFSET_COUNTERS);

	return &shards[shard].cells[device][kind];
}

static inline struct ledger_record *forged_records(const struct forged *forged)
{
	return forged_at(forged, LEDGER_OFFSET_RECORDS);
}

static inline struct ledger_chunk *forged_chunks(const struct forged *forged)
{
	return forged_at(forged, LEDGER_OFFSET_CHUNKS);
}

static inline bool fd_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

#endif
