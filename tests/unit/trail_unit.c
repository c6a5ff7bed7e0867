/* SPDX-License-Identifier: Apache-2.0 */
/* The trails from a record to those that were allocated before and after it. That they make frees
 * faster is the bench's to show; here, that they lead where they should. */
#include "../../client/account.h"
#include "crew.h"
#include "own_ledger.h"

#define BUFFERS 100u

static struct ledger_record *record_of(uint64_t address)
{
	const struct client *client = ttmem__client;

	for (uint32_t i = 0; i < LEDGER_CHUNK_RECORDS; i++)
		if (client->records[i].references && client->records[i].address == address)
			return &client->records[i];
	fail_msg("no record has address %#llx", (unsigned long long)address);
	return NULL;
}

/* The record that a trail leads to, whose hash must be its key's. */
static const struct ledger_record *at(uint64_t trail)
{
	const struct ledger_record *record = &ttmem__client->records[trail & TRAIL_NUMBER];
	uint64_t hash;

	assert_true((trail & TRAIL_NUMBER) < ttmem__client->capacity);
	hash = key_of(record).hash;
	assert_int_equal(trail >> 23 & TRAIL_LOWEST, hash & TRAIL_LOWEST);
	assert_int_equal(trail & TRAIL_HIGHEST, hash & TRAIL_HIGHEST);
	return record;
}

static void assert_trails(const uint64_t *order, unsigned int count)
{
	for (unsigned int i = TRAIL; i + TRAIL < count; i++) {
		assert_int_equal(at(record_of(order[i])->later)->address, order[i + TRAIL]);
		assert_int_equal(at(record_of(order[i])->earlier)->address, order[i - TRAIL]);
	}
}

static void allocate(uint64_t address, const char *tag)
{
	ttmem_alloc(address % 3, TTMEM_L1, address, 32, tag);
}

static void a_record_leads_to_those_before_and_after_it(void)
{
	uint64_t order[BUFFERS];

	assert_int_equal(ttmem_start(), 0);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		order[i] = i * 37u % BUFFERS << 12;
		allocate(order[i], i % 2 ? "by the full way" : NULL);
	}
	assert_trails(order, BUFFERS);
}

/* Records are used again, in another order than that of the allocations. */
static void trails_are_laid_anew(void)
{
	uint64_t order[BUFFERS];

	a_record_leads_to_those_before_and_after_it();
	for (unsigned int i = 0; i < BUFFERS; i++)
		ttmem_free((i << 12) % 3, TTMEM_L1, i << 12);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		order[i] = i * 51u % BUFFERS << 20;
		allocate(order[i], NULL);
	}
	assert_trails(order, BUFFERS);
}

/* What a trail says may long be past: the record is free, or another's. */
static void a_trail_may_lead_to_nothing(void)
{
	struct ttmem_totals totals;

	assert_int_equal(ttmem_start(), 0);
	for (unsigned int i = 0; i < BUFFERS; i++)
		allocate(i << 12, NULL);
	for (unsigned int i = 0; i < BUFFERS; i++) {
		struct ledger_record *record = record_of(i << 12);

		record->later = i % 2 ? UINT64_MAX : 0x123456789abcdef0u * i;
		record->earlier = ~record->later;
	}
	for (unsigned int i = 0; i < BUFFERS; i++)
		ttmem_free((i << 12) % 3, TTMEM_L1, i << 12);
	assert_int_equal(ttmem_get_totals(TTMEM_ALL_DEVICES, TTMEM_L1, &totals), 0);
	assert_int_equal(totals.live_buffers, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_record_leads_to_those_before_and_after_it),
		isolated(trails_are_laid_anew),
		isolated(a_trail_may_lead_to_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
