/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: the memory file in which a process keeps what it holds, and the collector's only
 * view of it. docs/ledger.md explains every byte; the asserts below and pahole guard the layout.
 *
 * Little-endian, fixed width, no pointers. Everything here is ABI: within a major version fields
 * are only added, in reserved space or at the end, with a new minor.
 */
#ifndef TTMEM_LEDGER_H
#define TTMEM_LEDGER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the ledger is little-endian, and so must be the machine"
#endif

#define LEDGER_MAGIC "TTMEMLGR"
#define LEDGER_MAJOR 1
#define LEDGER_MINOR 1
#define LEDGER_NAME  "ttmem-ledger" /* of the memory file, as /proc/<pid>/fd shows it */

#define LEDGER_DEVICES       64
#define LEDGER_ALL_DEVICES   LEDGER_DEVICES /* a row of the process table, after the devices' */
#define LEDGER_KINDS         8              /* seven in use; the eighth keeps rows aligned */
#define LEDGER_SHARDS        64
#define LEDGER_TAGS          1024
#define LEDGER_TAG_NONE      0
#define LEDGER_TAG_OTHER     1 /* the overflow: tags that no longer had room */
#define LEDGER_CHUNK_RECORDS 256
#define LEDGER_CHUNKS        65536 /* room in the directory; a ledger may hold fewer */
#define LEDGER_NO_EVENTFD    UINT32_MAX
#define LEDGER_MAX_BYTES     (1ull << 56) /* of one buffer, or of one cell: more is nonsense */

#define LEDGER_LIVE 1 /* struct ledger_header.state; other values are reserved */

/* struct ledger_device.flags */
#define LEDGER_DEVICE_REMOTE 1u

/* The first page. Each group that is written at another rate has cache lines of its own. */
struct ledger_header {
	/* Fixed before the ledger is handed out. */
	char magic[8];
	uint16_t major;
	uint16_t minor;
	uint32_t header_size;
	uint64_t file_size;
	uint32_t pid;     /* the owner's getpid(): its innermost number */
	uint32_t eventfd; /* descriptor number in the owner, or LEDGER_NO_EVENTFD */
	uint64_t start_time_ns;
	uint32_t record_size;
	uint32_t chunk_records;
	uint64_t record_capacity;
	uint32_t devices;
	uint32_t kinds;
	uint32_t shards;
	uint32_t tags;
	uint64_t offset_devices;
	uint64_t offset_process;
	uint64_t offset_tags;
	uint64_t offset_chunks;
	uint64_t offset_counters;
	uint64_t offset_records;
	uint64_t socket_hash; /* of the TTMEM_SOCKET that the process was given; 0: none */
	uint32_t state;
	uint32_t fenceless; /* since minor 1. 1: whoever arms makes the owner's fence, too */
	uint32_t reserved1[14];

	/* Written by the collector; alone on its line because every call looks at it. */
	uint32_t armed;
	uint32_t reserved2[15];

	/* How far each table is in use: the reader looks no further. */
	uint32_t shards_used;
	uint32_t tags_used;
	uint32_t chunks_used;
	uint32_t device_generation; /* goes up when a device is first used, or declared */
	uint64_t devices_used;      /* a bit for each slot that was used or declared */
	uint32_t several_shards;    /* 1 once a second shard exists: peaks come in batches */
	uint32_t reserved3;
	/* A bit for each device that the shard has counters for. With one shard a reader finds all
	 * it needs to know in this one line. */
	uint64_t shard_devices[LEDGER_SHARDS];
	uint32_t reserved4[8];

	/* What could not be recorded: see struct ttmem_errors. */
	uint64_t unknown_frees;
	uint64_t size_mismatches;
	uint64_t bad_arguments;
	uint64_t reentered;
	uint64_t untracked;
	uint64_t unlisted; /* live buffers that are in the sums but in no record */
	uint64_t reserved5[2];

	uint8_t reserved6[4096 - 896];
};

/* A device as its owner describes it; slot = the owner's device index. */
struct ledger_device {
	uint32_t sequence; /* odd while it is written */
	uint32_t flags;
	uint64_t asic_id;
	uint64_t dram_total;
	uint64_t l1_total;
	char pci[16];
	char arch[16];
	char board[16];
	uint8_t reserved[48];
};

/* Sums of one shard for one device and kind. The first four only go up; a reader takes `freed`
 * before `allocated` and so never sees more freed than allocated. The last three words belong to
 * the last failure. */
struct ledger_cell {
	uint64_t freed_bytes;
	uint64_t freed_buffers;
	uint64_t allocated_bytes;
	uint64_t allocated_buffers;
	uint32_t failures;
	uint32_t failure_sequence;   /* odd while what follows is written */
	uint64_t failed_bytes;       /* the last failed request */
	uint64_t largest_free_bytes; /* as reported with it; 0: not known */
	uint64_t failure_time_ns;
};

struct ledger_shard {
	struct ledger_cell cells[LEDGER_DEVICES][LEDGER_KINDS];
};

/* The whole process's live bytes of one device (or all) and kind, and their high-water mark. With
 * one shard both are exact; with several each shard adds its part in batches. */
struct ledger_process_cell {
	int64_t live_bytes;
	uint64_t peak_bytes;
};

struct ledger_tag {
	char name[48]; /* ends with a zero byte */
	uint8_t reserved[16];
};

/* One for each chunk of 256 records that is in use. */
struct ledger_chunk {
	uint16_t used; /* records 0 to used-1 have been in use, 0 to 256 */
	uint16_t shard;
};

/* One live buffer, or a place for one (references 0). */
struct ledger_record {
	uint32_t sequence;   /* odd while it is written */
	uint32_t references; /* 0: free */
	uint64_t address;
	uint64_t size;
	uint64_t time_ns; /* CLOCK_REALTIME_COARSE at the allocation */
	uint32_t thread;  /* the kernel's thread id of the allocating thread */
	uint16_t tag;
	uint8_t device;
	uint8_t kind;
	uint32_t next_free; /* the owner's; means nothing to a reader */
	uint32_t owner;     /* the same, since minor 1: the shard, and RECORD_HAS_HANDLE */
	uint64_t later;   /* the same: where the buffer is that was allocated some calls later... */
	uint64_t earlier; /* ...and some calls earlier */
};

#define LEDGER_OFFSET_DEVICES  0x1000ull
#define LEDGER_OFFSET_PROCESS  0x3000ull
#define LEDGER_OFFSET_TAGS     0x10000ull
#define LEDGER_OFFSET_CHUNKS   0x20000ull
#define LEDGER_OFFSET_COUNTERS 0x80000ull
#define LEDGER_OFFSET_RECORDS  0x280000ull

/* The one message from client to collector, with the memory file and (if there is one) the eventfd
 * attached in this order. */
#define HELLO_MAGIC "TTMEMHEL"
struct ttmem_hello {
	char magic[8];
	uint16_t major;
	uint16_t minor;
	uint32_t size; /* of this struct */
	uint32_t flags;
	uint32_t reserved;
};

static_assert(sizeof(struct ledger_header) == 4096, "ABI");
static_assert(offsetof(struct ledger_header, state) == 0x80, "ABI");
static_assert(offsetof(struct ledger_header, armed) == 0xc0, "ABI");
static_assert(offsetof(struct ledger_header, shards_used) == 0x100, "ABI");
static_assert(offsetof(struct ledger_header, unknown_frees) == 0x340, "ABI");
static_assert(offsetof(struct ledger_header, shard_devices) == 0x120, "ABI");
static_assert(sizeof(struct ledger_device) == 128, "ABI");
static_assert(sizeof(struct ledger_cell) == 64, "ABI");
static_assert(sizeof(struct ledger_shard) == 0x8000, "ABI");
static_assert(sizeof(struct ledger_process_cell) == 16, "ABI");
static_assert(sizeof(struct ledger_tag) == 64, "ABI");
static_assert(sizeof(struct ledger_chunk) == 4, "ABI");
static_assert(sizeof(struct ledger_record) == 64, "ABI");
static_assert(sizeof(struct ttmem_hello) == 24, "ABI");
static_assert(LEDGER_OFFSET_TAGS + LEDGER_TAGS * sizeof(struct ledger_tag) == LEDGER_OFFSET_CHUNKS,
	      "ABI");
static_assert(LEDGER_OFFSET_CHUNKS + LEDGER_CHUNKS * sizeof(struct ledger_chunk) <=
		      LEDGER_OFFSET_COUNTERS,
	      "ABI");
static_assert(LEDGER_OFFSET_COUNTERS + LEDGER_SHARDS * sizeof(struct ledger_shard) ==
		      LEDGER_OFFSET_RECORDS,
	      "ABI");
static_assert(LEDGER_OFFSET_PROCESS + (LEDGER_DEVICES + 1) * LEDGER_KINDS *
					      sizeof(struct ledger_process_cell) <=
		      LEDGER_OFFSET_TAGS,
	      "ABI");

/* FNV-1a, never 0. Tells a collector that finds a ledger whether it was meant for another. */
static inline uint64_t ledger_socket_hash(const char *path)
{
	uint64_t hash = 14695981039346656037ull;

	for (; *path; path++)
		hash = (hash ^ (uint8_t)*path) * 1099511628211ull;
	return hash ? hash : 1;
}

static inline uint64_t ledger_file_size(uint64_t record_capacity)
{
	return LEDGER_OFFSET_RECORDS + record_capacity * sizeof(struct ledger_record);
}

#endif
