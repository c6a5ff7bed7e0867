/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ledgers of a library that is newer than the collector: newer MODE SOCKET. They hold one buffer of
 * 4096 bytes. A newer minor has something in each field that is reserved today, and a longer hello.
 */
#include "forge.h"

#define FILL(field) memset(&(field), 0xa5, sizeof(field))

static struct forgery newer_minor(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);
	struct ledger_device *device = forge_at(&f, LEDGER_OFFSET_DEVICES);
	struct ledger_tag *tags = forge_at(&f, LEDGER_OFFSET_TAGS);
	struct ledger_record *records = forge_at(&f, LEDGER_OFFSET_RECORDS);

	f.header->minor = LEDGER_MINOR + 1;
	FILL(f.header->reserved1);
	FILL(f.header->reserved2);
	FILL(f.header->reserved3);
	FILL(f.header->reserved4);
	FILL(f.header->reserved5);
	FILL(f.header->reserved6);
	strcpy(device[FORGE_DEVICE].board, "n300");
	FILL(device[FORGE_DEVICE].reserved);
	device[FORGE_DEVICE].flags = ~LEDGER_DEVICE_REMOTE;
	strcpy(tags[2].name, "weights");
	FILL(tags[2].reserved);
	f.header->tags_used = 3;
	records[0].tag = 2;
	FILL(records[0].owner);
	FILL(records[0].later);
	FILL(records[0].earlier);
	forge_seal(&f, FORGE_SEALS);
	return f;
}

static int hello_minor(void)
{
	struct {
		struct ttmem_hello hello;
		char more[40];
	} longer = {.hello = forge_hello()};
	struct forgery f = newer_minor();
	int fd = forge_connect();

	FILL(longer.more);
	longer.hello.minor = LEDGER_MINOR + 1;
	longer.hello.size = sizeof(longer);
	longer.hello.flags = longer.hello.reserved = UINT32_MAX;
	if (forge_send(fd, &longer, sizeof(longer), (const int[]){f.memfd, f.eventfd}, 2) < 0)
		forge_die("sendmsg");
	return fd;
}

/* Says no hello, and is found. */
static int found_minor(void)
{
	newer_minor();
	return -1;
}

static struct forgery newer_major(void)
{
	struct forgery f = forge_ledger(FORGE_CAPACITY);

	f.header->major = LEDGER_MAJOR + 1;
	forge_seal(&f, FORGE_SEALS);
	return f;
}

static int hello_major(void)
{
	struct ttmem_hello hello = forge_hello();
	struct forgery f = newer_major();
	int fd = forge_connect();

	hello.major = LEDGER_MAJOR + 1;
	if (forge_send(fd, &hello, sizeof(hello), &f.memfd, 1) < 0)
		forge_die("sendmsg");
	return fd;
}

static int found_major(void)
{
	newer_major();
	return -1;
}

static const struct forge_mode modes[] = {
	{"hello_minor", hello_minor, false},
	{"found_minor", found_minor, false},
	{"hello_major", hello_major, true},
	{"found_major", found_major, false},
};

int main(int argc, char **argv)
{
	return forge_main(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);
}
