/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ledgers that look right when they are handed out and then lie: liar MODE SOCKET. Prints "kept",
 * goes on lying, and ends with its standard input. Whatever they hold, they may change no other
 * process's numbers and not hold the collector up.
 */
#include "forge.h"

static struct forgery ledger;
static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static struct ledger_cell *cell(int shard, int device, int kind)
{
	struct ledger_shard *shards = forge_at(&ledger, LEDGER_OFFSET_COUNTERS);
	return &shards[shard].cells[device][kind];
}

/* Does nothing, until there is no more standard input. */
static bool goes_on(void)
{
	struct pollfd wait = {.fd = 0, .events = POLLIN};
	return poll(&wait, 1, 0) == 0;
}

static void scribble_over(uint64_t from, uint64_t to)
{
	while (goes_on())
		for (int i = 0; i < 100000; i++)
			*(uint64_t *)forge_at(&ledger,
					      (from + next_random() % (to - from)) & ~7ull) =
				next_random() >> (next_random() % 64);
}

static void scribble(void)
{
	scribble_over(0, ledger.header->file_size);
}

static void scribble_header(void)
{
	scribble_over(0, sizeof(struct ledger_header));
}

/* The header stays as it is, so that everything below is looked at. */
static void scribble_tables(void)
{
	uint64_t size = ledger.header->file_size;
	ledger.header->shards_used = LEDGER_SHARDS;
	ledger.header->tags_used = LEDGER_TAGS;
	ledger.header->chunks_used = FORGE_CAPACITY / LEDGER_CHUNK_RECORDS;
	ledger.header->devices_used = UINT64_MAX << FORGE_DEVICE;
	memset(ledger.header->shard_devices, 0xff, sizeof(ledger.header->shard_devices));
	scribble_over(LEDGER_OFFSET_DEVICES, size);
}

/* Zeros appear where there was something: seals do not prevent it. */
static void holes(void)
{
	uint64_t size = ledger.header->file_size;
	while (goes_on()) {
		for (uint64_t at = 0; at < size; at += 4096)
			fallocate(ledger.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)at, 4096);
		forge_fill_header(&ledger);
		forge_fill_tables(&ledger);
	}
}

static void shards_used(void)
{
	ledger.header->shards_used = UINT32_MAX;
}

static void chunks_used(void)
{
	ledger.header->chunks_used = UINT32_MAX;
}

/* Every chunk claims more records than it has room for, and a shard that does not exist. */
static void chunk_fill(void)
{
	struct ledger_chunk *chunks = forge_at(&ledger, LEDGER_OFFSET_CHUNKS);
	ledger.header->chunks_used = FORGE_CAPACITY / LEDGER_CHUNK_RECORDS;
	for (uint32_t i = 0; i < ledger.header->chunks_used; i++)
		chunks[i] = (struct ledger_chunk){.used = UINT16_MAX, .shard = UINT16_MAX};
}

static void counters(void)
{
	struct ledger_process_cell *process = forge_at(&ledger, LEDGER_OFFSET_PROCESS);
	ledger.header->shards_used = LEDGER_SHARDS;
	for (int shard = 0; shard < LEDGER_SHARDS; shard++) {
		ledger.header->shard_devices[shard] = 1ull << FORGE_DEVICE;
		for (int kind = 0; kind < LEDGER_KINDS; kind++)
			memset(cell(shard, FORGE_DEVICE, kind), 0xff - kind, 64);
	}
	for (int kind = 0; kind < LEDGER_KINDS; kind++)
		process[FORGE_DEVICE * LEDGER_KINDS + kind] =
			(struct ledger_process_cell){INT64_MIN, UINT64_MAX};
}

/* More freed than allocated. */
static void negative(void)
{
	cell(0, FORGE_DEVICE, 0)->freed_bytes = 1ull << 40;
	cell(0, FORGE_DEVICE, 0)->freed_buffers = 1ull << 40;
}

static void tags(void)
{
	struct ledger_tag *names = forge_at(&ledger, LEDGER_OFFSET_TAGS);
	struct ledger_record *records = forge_at(&ledger, LEDGER_OFFSET_RECORDS);
	struct ledger_chunk *chunks = forge_at(&ledger, LEDGER_OFFSET_CHUNKS);
	static const char *const odd[] = {"",
					  " ",
					  "a b",
					  "\n",
					  "\t0\n0 ",
					  "\033[2J",
					  "\"",
					  "\\",
					  "%s%n",
					  "\xe2\x80\xa8x",
					  "\xe2\x80\xaey",
					  "\xc3\xa9",
					  "#x"};
	ledger.header->tags_used = UINT32_MAX;
	chunks[0].used = LEDGER_CHUNK_RECORDS;
	for (size_t i = 2; i < LEDGER_TAGS; i++) {
		memset(&names[i], 'A', sizeof(names[i])); /* no terminator */
		if (i < 2 + sizeof(odd) / sizeof(odd[0]))
			strcpy(names[i].name, odd[i - 2]);
	}
	for (int i = 0; i < LEDGER_CHUNK_RECORDS; i++) {
		records[i] = records[0];
		records[i].address = (uint64_t)i;
		records[i].tag = (uint16_t)(i < 200 ? i : UINT16_MAX - i);
	}
}

/* What a device is called ends up in names of files and links. */
static void identity(void)
{
	static const char *const odd[] = {
		"../../../etc", "/",       ".",        "..",    "",   "a/b",  "\n",
		"x\ny z 1",     "\x1b]0;", "\xff\xfe", "\"}],", "%n", "pids", "0000:01:00.0"};
	struct ledger_device *devices = forge_at(&ledger, LEDGER_OFFSET_DEVICES);
	int count = (int)(sizeof(odd) / sizeof(odd[0]));
	for (int i = 0; i < count; i++) {
		struct ledger_device *device = &devices[FORGE_DEVICE + i];
		*device =
			(struct ledger_device){.sequence = 2, .asic_id = 0xbad0000u + (uint64_t)i};
		strncpy(device->pci, odd[i], sizeof(device->pci));
		strncpy(device->arch, odd[i], sizeof(device->arch));
		memset(device->board, odd[i][0] ? odd[i][0] : 'B', sizeof(device->board));
		ledger.header->devices_used |= 1ull << (FORGE_DEVICE + i);
	}
	ledger.header->device_generation++;
}

/* Another device at every look: how many does the collector keep? */
static void identities(void)
{
	struct ledger_device *devices = forge_at(&ledger, LEDGER_OFFSET_DEVICES);
	ledger.header->devices_used = UINT64_MAX << FORGE_DEVICE;
	ledger.header->shard_devices[0] = UINT64_MAX << FORGE_DEVICE;
	while (goes_on()) {
		for (int i = 0; i < LEDGER_DEVICES; i++) {
			devices[i].asic_id = next_random();
			snprintf(devices[i].pci, sizeof(devices[i].pci), "%04x:%02x:00.0",
				 (unsigned)(next_random() & 0xffff),
				 (unsigned)(next_random() & 0xff));
			cell(0, i, 0)->allocated_bytes = 1;
			__atomic_store_n(&devices[i].sequence, devices[i].sequence + 2,
					 __ATOMIC_RELEASE);
		}
		ledger.header->device_generation++;
		usleep(1000);
	}
}

/* Every record and device is for ever being written. */
static void sequences(void)
{
	struct ledger_device *devices = forge_at(&ledger, LEDGER_OFFSET_DEVICES);
	struct ledger_record *records = forge_at(&ledger, LEDGER_OFFSET_RECORDS);
	struct ledger_chunk *chunks = forge_at(&ledger, LEDGER_OFFSET_CHUNKS);
	ledger.header->devices_used = UINT64_MAX << FORGE_DEVICE;
	ledger.header->chunks_used = FORGE_CAPACITY / LEDGER_CHUNK_RECORDS;
	for (uint32_t i = 0; i < ledger.header->chunks_used; i++)
		chunks[i].used = LEDGER_CHUNK_RECORDS;
	for (uint32_t i = 0; i < FORGE_CAPACITY; i++) {
		records[i] = records[0];
		records[i].sequence = i % 2 ? 1 : UINT32_MAX;
	}
	for (int i = 0; i < LEDGER_DEVICES; i++)
		devices[i].sequence = 1;
	ledger.header->device_generation++;
}

static void records(void)
{
	struct ledger_record *all = forge_at(&ledger, LEDGER_OFFSET_RECORDS);
	struct ledger_chunk *chunks = forge_at(&ledger, LEDGER_OFFSET_CHUNKS);
	chunks[0].used = LEDGER_CHUNK_RECORDS;
	for (int i = 0; i < LEDGER_CHUNK_RECORDS; i++) {
		all[i] = all[0];
		all[i].device = (uint8_t)i;
		all[i].kind = (uint8_t)(i * 37);
		all[i].size = i % 2 ? UINT64_MAX : 0;
		all[i].address = UINT64_MAX - (uint64_t)i;
		all[i].time_ns = i % 3 ? UINT64_MAX >> (i % 64) : 0;
		all[i].references = i % 5 ? UINT32_MAX : 1;
		all[i].thread = UINT32_MAX;
	}
}

/* Sixteen million records, none of them backed by memory: a gigabyte to look through. */
static void vast(void)
{
	struct ledger_chunk *chunks = forge_at(&ledger, LEDGER_OFFSET_CHUNKS);
	for (int i = 0; i < LEDGER_CHUNKS; i++)
		chunks[i].used = LEDGER_CHUNK_RECORDS;
	ledger.header->chunks_used = LEDGER_CHUNKS;
}

/* Closed and open again, as fast as it goes. */
static void closed(void)
{
	while (goes_on())
		for (int i = 0; i < 100000; i++)
			__atomic_store_n(&ledger.header->state, (uint32_t)i % 4, __ATOMIC_RELAXED);
}

/* The doorbell rings all the time. */
static void doorbell(void)
{
	uint64_t one = 1;
	while (goes_on())
		for (int i = 0; i < 1000; i++)
			if (write(ledger.eventfd, &one, sizeof(one)) < 0)
				break;
}

static const struct {
	const char *name;
	void (*lie)(void);
	bool first; /* before it is handed out: the collector looks only once, or only then */
} modes[] = {
	{"scribble", scribble, false},
	{"scribble_header", scribble_header, false},
	{"scribble_tables", scribble_tables, false},
	{"holes", holes, false},
	{"shards_used", shards_used, true},
	{"chunks_used", chunks_used, true},
	{"chunk_fill", chunk_fill, true},
	{"counters", counters, true},
	{"negative", negative, false},
	{"tags", tags, true},
	{"identity", identity, true},
	{"identities", identities, false},
	{"sequences", sequences, true},
	{"records", records, true},
	{"vast", vast, true},
	{"closed", closed, false},
	{"doorbell", doorbell, false},
};

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; argc > 2 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[1], modes[i].name))
			continue;
		forge_path = argv[2];
		ledger = forge_ledger(modes[i].lie == vast
					      ? (uint64_t)LEDGER_CHUNKS * LEDGER_CHUNK_RECORDS
					      : FORGE_CAPACITY);
		if (modes[i].first)
			modes[i].lie();
		forge_offer(&ledger, FORGE_SEALS);
		forge_say("kept");
		if (!modes[i].first)
			modes[i].lie();
		forge_stay();
		return 0;
	}
	return 64;
}
