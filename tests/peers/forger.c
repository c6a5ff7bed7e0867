/* SPDX-License-Identifier: Apache-2.0 */
/* Ledgers that must be refused: forger MODE SOCKET [ARGUMENT]. See forge.h for what it prints. */
#include "forge.h"

#include <dirent.h>
#include <sys/resource.h>

static int unsealed(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	return forge_offer(&f, 0);
}

static int can_shrink(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	int fd = forge_offer(&f, F_SEAL_GROW | F_SEAL_SEAL);
	if (ftruncate(f.memfd, 0) < 0)
		forge_die("ftruncate");
	return fd;
}

static int cannot_be_sealed(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.memfd = memfd_create(LEDGER_NAME, MFD_CLOEXEC);
	if (ftruncate(f.memfd, (off_t)f.header->file_size) < 0 ||
	    pwrite(f.memfd, f.header, sizeof(*f.header), 0) < 0)
		forge_die("memfd");
	return forge_offer(&f, 0);
}

static int ledger_magic(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->magic[7] = 0;
	return forge_offer(&f, FORGE_SEALS);
}

static int ledger_major(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->major = LEDGER_MAJOR + 1;
	return forge_offer(&f, FORGE_SEALS);
}

static int ledger_empty(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	if (ftruncate(f.memfd, 0) < 0)
		forge_die("ftruncate");
	return forge_offer(&f, FORGE_SEALS);
}

static int ledger_one_page(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	if (ftruncate(f.memfd, 4096) < 0)
		forge_die("ftruncate");
	return forge_offer(&f, FORGE_SEALS);
}

/* All tables but one byte short of the last record. */
static int ledger_short(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	if (ftruncate(f.memfd, (off_t)f.header->file_size - 1) < 0)
		forge_die("ftruncate");
	return forge_offer(&f, FORGE_SEALS);
}

static int ledger_huge(void) /* a terabyte, all of it a hole */
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->file_size = 1ull << 40;
	f.header->record_capacity = (f.header->file_size - LEDGER_OFFSET_RECORDS) / 64;
	if (ftruncate(f.memfd, (off_t)f.header->file_size) < 0)
		forge_die("ftruncate");
	return forge_offer(&f, FORGE_SEALS);
}

static int claims_more(void) /* a capacity whose size in bytes wraps round to the right one */
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->record_capacity += 1ull << 58;
	return forge_offer(&f, FORGE_SEALS);
}

static int offsets(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->offset_counters = UINT64_MAX - 4096;
	f.header->offset_records = 1ull << 63;
	return forge_offer(&f, FORGE_SEALS);
}

static int table_sizes(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->shards = f.header->devices = f.header->kinds = f.header->tags = UINT32_MAX;
	f.header->record_size = f.header->chunk_records = 0;
	return forge_offer(&f, FORGE_SEALS);
}

static int another_pid(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	f.header->pid = 1;
	return forge_offer(&f, FORGE_SEALS);
}

/* The ledger of the process ARGUMENT, taken from its descriptor table. */
static int stolen(void)
{
	char name[300], target[64];
	snprintf(name, sizeof(name), "/proc/%s/fd", forge_argument);
	DIR *table = opendir(name);
	struct dirent *entry;
	int fd = forge_connect();
	while (table && (entry = readdir(table))) {
		snprintf(name, sizeof(name), "/proc/%s/fd/%s", forge_argument, entry->d_name);
		ssize_t length = readlink(name, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = 0;
		if (strstr(target, "memfd:" LEDGER_NAME)) {
			int memfd = open(name, O_RDWR | O_CLOEXEC);
			closedir(table);
			forge_send_hello(fd, &memfd, 1);
			return fd;
		}
	}
	forge_die("no ledger there");
	return -1;
}

/* Thousands of good ledgers in one process that says no hello: for a collector that starts and
 * looks for such. ARGUMENT is how many. */
static int hoard(void)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < atoi(forge_argument); i++) {
		struct forgery f = {.capacity = LEDGER_CHUNK_RECORDS, .eventfd = -1};
		f.memfd = memfd_create(LEDGER_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (ftruncate(f.memfd, (off_t)ledger_file_size(f.capacity)) < 0)
			forge_die("memfd");
		f.header = mmap(NULL, sizeof(*f.header), PROT_READ | PROT_WRITE, MAP_SHARED,
				f.memfd, 0);
		if (f.header == MAP_FAILED)
			forge_die("mmap");
		forge_fill_header(&f);
		forge_seal(&f, FORGE_SEALS);
	}
	return -1;
}

static const struct forge_mode modes[] = {
	{"unsealed", unsealed, true},
	{"can_shrink", can_shrink, true},
	{"cannot_be_sealed", cannot_be_sealed, true},
	{"ledger_magic", ledger_magic, true},
	{"ledger_major", ledger_major, true},
	{"ledger_empty", ledger_empty, true},
	{"ledger_one_page", ledger_one_page, true},
	{"ledger_short", ledger_short, true},
	{"ledger_huge", ledger_huge, true},
	{"claims_more", claims_more, true},
	{"offsets", offsets, true},
	{"table_sizes", table_sizes, true},
	{"another_pid", another_pid, true},
	{"stolen", stolen, true},
	{"hoard", hoard, false},
};

int main(int argc, char **argv)
{
	return forge_main(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);
}
