/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads on few addresses, against a count of who holds what. */
#include "crew.h"
#include "own_ledger.h"

#define ADDRESSES 512
#define THREADS   6
#define HANDED    16
#define PAUSES    20

/* Each thread's references, read by the test while all stand still. */
static uint32_t held[THREADS][ADDRESSES];
/* References on their way from one thread to another, which frees them: number + 1. */
static uint32_t handed[HANDED];
static uint64_t unknown; /* frees of what was never allocated */
static unsigned int steps, pauses;
static uint32_t most; /* references that a thread holds at once */
/* How an address follows from its number, and the devices and kinds in use. */
static uint64_t stride;
static unsigned int devices, kinds;

static uint32_t device_of(uint32_t n)
{
	return n % devices;
}

static enum ttmem_kind kind_of(uint32_t n)
{
	return (enum ttmem_kind)(n / devices % kinds);
}

static uint64_t size_of(uint32_t n)
{
	return (n + 1) * 64;
}

static void release(uint32_t n)
{
	ttmem_free(device_of(n), kind_of(n), n * stride);
}

static void refer(unsigned int self, uint32_t n)
{
	ttmem_alloc(device_of(n), kind_of(n), n * stride, size_of(n), "storm");
	held[self][n]++;
}

/* Frees a reference of our own, or leaves it to another thread and frees what lay there. */
static void let_go(unsigned int self, uint32_t n, bool hand_over)
{
	uint32_t left = n + 1;

	held[self][n]--;
	if (hand_over)
		left = __atomic_exchange_n(&handed[n % HANDED], left, __ATOMIC_ACQ_REL);
	if (left)
		release(left - 1);
}

static void step(unsigned int self, uint64_t *state, uint32_t *total)
{
	uint64_t dice = next_random(state);
	uint32_t n = (uint32_t)(dice >> 8) % ADDRESSES;

	if (dice % 64 == 0) {
		ttmem_free(device_of(n), kind_of(n), ~(uint64_t)n);
		__atomic_fetch_add(&unknown, 1, __ATOMIC_RELAXED);
	} else if (*total < most && (held[self][n] == 0 || dice % 8 == 1)) {
		refer(self, n);
		++*total;
	} else if (*total) {
		while (!held[self][n])
			n = (n + 1) % ADDRESSES;
		let_go(self, n, dice % 8 == 2);
		--*total;
	}
}

static void rage(struct crew *crew, unsigned int self)
{
	uint64_t state = 0x9e3779b97f4a7c15ull * (self + 1);
	uint32_t total = 0;

	for (unsigned int pause = 0; pause < pauses; pause++) {
		for (unsigned int i = 0; i < steps; i++)
			step(self, &state, &total);
		crew_pause(crew);
	}
	for (uint32_t n = 0; n < ADDRESSES; n++)
		while (held[self][n])
			let_go(self, n, false);
}

/* While all stand still, each address that somebody holds has one record with all references. */
static void compare(const struct ledger_header *header)
{
	uint32_t live = 0;

	for (uint32_t n = 0; n < ADDRESSES; n++) {
		const struct ledger_record *record =
			ledger_find(header, device_of(n), kind_of(n), n * stride);
		uint32_t references = handed[n % HANDED] == n + 1;

		for (int i = 0; i < THREADS; i++)
			references += held[i][n];
		live += references != 0;
		assert_int_equal(record ? record->references : 0, references);
		if (record)
			assert_int_equal(record->size, size_of(n));
	}
	assert_int_equal(ledger_live(header), live);
	assert_records_are_sums(header);
	assert_int_equal(errors_now().unknown_frees, unknown);
	assert_int_equal(errors_now().size_mismatches, 0);
}

static void storm(void)
{
	struct crew crew;
	struct ledger_header *header;

	pauses = rounds(PAUSES);
	steps = rounds(20000);
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
	crew_begin(&crew, THREADS, rage);
	for (unsigned int i = 0; i < pauses; i++) {
		crew_halt(&crew);
		compare(header);
		crew_resume(&crew);
	}
	crew_end(&crew);
	for (uint32_t i = 0; i < HANDED; handed[i++] = 0)
		if (handed[i])
			release(handed[i] - 1);
	compare(header);
	assert_all_is_freed(header);
}

static void a_storm_on_one_device_ends_at_zero(void)
{
	stride = 4096;
	devices = kinds = 1;
	most = ADDRESSES;
	storm();
}

static void a_storm_on_all_devices_and_kinds_ends_at_zero(void)
{
	stride = 1ull << 30;
	devices = 64;
	kinds = TTMEM_KINDS;
	most = ADDRESSES / 4;
	storm();
}

/* Little is live and most searches are in vain, so the directory is made anew all the time. */
static void a_storm_that_holds_little_ends_at_zero(void)
{
	stride = 4096;
	devices = kinds = 1;
	most = 2;
	storm();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_storm_on_one_device_ends_at_zero),
		isolated(a_storm_on_all_devices_and_kinds_ends_at_zero),
		isolated(a_storm_that_holds_little_ends_at_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
