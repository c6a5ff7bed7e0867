/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What any table of live buffers must pay to free one of many: the entry that is found by the
 * address, and behind it the buffer's record, each where the caches do not have it. Two reads, the
 * second of which needs the first, of as much memory as the library's table and records take.
 *
 *   coldread [-s SLICES] LIVE
 */
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"

#define READS        20000
#define RECORD_BYTES 64
#define ENTRY_BYTES  8 /* of the table, for each live buffer */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* As the ledger's: of a memory file, in small pages. */
static char *records_of(size_t live)
{
	int fd = memfd_create("coldread", MFD_CLOEXEC);
	char *records = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)(live * RECORD_BYTES)) == 0)
		records =
			mmap(NULL, live * RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (records == MAP_FAILED)
		GIVE_UP(EXIT_FAILURE, "no memory file: %s", strerror(errno));
	return records;
}

/* Each entry leads to the record of another place of a random order, and that to the next entry. */
static void chain(uint64_t *entries, char *records, size_t live)
{
	uint32_t *order = must_alloc(live, sizeof(*order));
	uint64_t state = 88172645463325252u;

	for (size_t i = 0; i < live; i++)
		order[i] = (uint32_t)i;
	for (size_t i = live; i > 1; i--) {
		size_t j = next_random(&state) % i;
		uint32_t swapped = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swapped;
	}
	for (size_t i = 0; i < live; i++) {
		size_t entry = order[i], record = order[(i + live / 2) % live];
		uint64_t next = order[(i + 1) % live];

		entries[entry] = record;
		memcpy(records + record * RECORD_BYTES, &next, sizeof(next));
	}
	free(order);
}

static uint64_t follow(const uint64_t *entries, const char *records, uint64_t at)
{
	for (size_t i = 0; i < READS; i++) {
		const volatile uint64_t *entry = &entries[at];
		const volatile uint64_t *record =
			(const volatile uint64_t *)(const void *)(records + *entry * RECORD_BYTES);

		at = *record;
	}
	return at;
}

int main(int argc, char **argv)
{
	size_t slices = 40, live, at = 0;
	uint64_t *entries;
	double *ns;
	char *records;

	for (int option; (option = getopt(argc, argv, "s:")) != -1;) {
		if (option != 's')
			exit(2);
		slices = must_parse(optarg);
	}
	if (optind + 1 != argc || !slices)
		GIVE_UP(2, "usage: coldread [-s SLICES] LIVE");
	live = must_parse(argv[optind]);
	entries = mmap(NULL, live * ENTRY_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (entries == MAP_FAILED)
		GIVE_UP(EXIT_FAILURE, "no memory");
	madvise(entries, live * ENTRY_BYTES, MADV_HUGEPAGE);
	records = records_of(live);
	chain(entries, records, live);
	ns = must_alloc(slices, sizeof(*ns));
	at = follow(entries, records, at); /* warms up */
	for (size_t slice = 0; slice < slices; slice++) {
		uint64_t start = now_ns();

		at = follow(entries, records, at);
		ns[slice] = (double)(now_ns() - start) / READS;
	}
	printf("{\"reads_ns\": %.3f, \"end\": %zu}\n", median(ns, slices), at);
	free(ns);
	return 0;
}
