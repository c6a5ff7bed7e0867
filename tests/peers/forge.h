/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ledgers and hellos made by hand, for peers that do not keep to the rules. Nothing here uses
 * libttmem: what these functions write is what the collector gets.
 */
#ifndef FORGE_H
#define FORGE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"

#define FORGE_SEALS    (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define FORGE_CAPACITY 4096u
#define FORGE_DEVICE   7 /* the slot that forged ledgers use: nobody else's in the tests */
#define FORGE_WAIT_MS  3000

/* The command line: the collector's socket, and what some modes need besides. */
static const char *forge_path, *forge_argument;

struct forgery {
	int memfd;
	int eventfd;
	uint64_t capacity;
	struct ledger_header *header;
};

static inline void *forge_at(const struct forgery *f, uint64_t offset)
{
	return (char *)f->header + offset;
}

static inline void forge_die(const char *what)
{
	printf("broken: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(2);
}

static inline void forge_fill_header(const struct forgery *f)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct ledger_header header = {
		.magic = {'T', 'T', 'M', 'E', 'M', 'L', 'G', 'R'},
		.major = LEDGER_MAJOR,
		.minor = LEDGER_MINOR,
		.header_size = sizeof(header),
		.file_size = ledger_file_size(f->capacity),
		.pid = (uint32_t)getpid(),
		.eventfd = (uint32_t)f->eventfd,
		.start_time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
		.record_size = sizeof(struct ledger_record),
		.chunk_records = LEDGER_CHUNK_RECORDS,
		.record_capacity = f->capacity,
		.devices = LEDGER_DEVICES,
		.kinds = LEDGER_KINDS,
		.shards = LEDGER_SHARDS,
		.tags = LEDGER_TAGS,
		.offset_devices = LEDGER_OFFSET_DEVICES,
		.offset_process = LEDGER_OFFSET_PROCESS,
		.offset_tags = LEDGER_OFFSET_TAGS,
		.offset_chunks = LEDGER_OFFSET_CHUNKS,
		.offset_counters = LEDGER_OFFSET_COUNTERS,
		.offset_records = LEDGER_OFFSET_RECORDS,
		.state = LEDGER_LIVE,
		.socket_hash = ledger_socket_hash(forge_path),
		.shards_used = 1,
		.tags_used = 2,
		.chunks_used = 1,
		.device_generation = 1,
		.devices_used = 1ull << FORGE_DEVICE,
		.shard_devices = {1ull << FORGE_DEVICE},
	};
	*f->header = header;
}

/* One buffer of 4096 bytes of DRAM, in all the tables that a buffer is in. */
static inline void forge_fill_tables(const struct forgery *f)
{
	struct ledger_shard *shard = forge_at(f, LEDGER_OFFSET_COUNTERS);
	struct ledger_process_cell *process = forge_at(f, LEDGER_OFFSET_PROCESS);
	struct ledger_tag *tags = forge_at(f, LEDGER_OFFSET_TAGS);
	struct ledger_chunk *chunks = forge_at(f, LEDGER_OFFSET_CHUNKS);
	struct ledger_record *records = forge_at(f, LEDGER_OFFSET_RECORDS);
	shard->cells[FORGE_DEVICE][0].allocated_bytes = 4096;
	shard->cells[FORGE_DEVICE][0].allocated_buffers = 1;
	process[FORGE_DEVICE * LEDGER_KINDS].live_bytes = 4096;
	process[FORGE_DEVICE * LEDGER_KINDS].peak_bytes = 4096;
	process[LEDGER_ALL_DEVICES * LEDGER_KINDS] = process[FORGE_DEVICE * LEDGER_KINDS];
	strcpy(tags[LEDGER_TAG_OTHER].name, "other");
	chunks[0].used = 1;
	records[0] = (struct ledger_record){.sequence = 2,
					    .references = 1,
					    .address = 0x1000,
					    .size = 4096,
					    .time_ns = f->header->start_time_ns,
					    .thread = (uint32_t)getpid(),
					    .device = FORGE_DEVICE};
}

/* A ledger with nothing wrong but that it is not sealed yet. It stays mapped as a client's does. */
static inline struct forgery forge_ledger(uint64_t capacity)
{
	struct forgery f = {.capacity = capacity,
			    .eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	size_t size = ledger_file_size(capacity);
	f.memfd = memfd_create(LEDGER_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (f.memfd < 0 || ftruncate(f.memfd, (off_t)size) < 0)
		forge_die("memfd");
	f.header = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f.memfd, 0);
	if (f.header == MAP_FAILED)
		forge_die("mmap");
	forge_fill_header(&f);
	forge_fill_tables(&f);
	return f;
}

static inline void forge_seal(const struct forgery *f, int seals)
{
	if (seals && fcntl(f->memfd, F_ADD_SEALS, seals) < 0)
		forge_die("seals");
}

static inline struct ttmem_hello forge_hello(void)
{
	return (struct ttmem_hello){.magic = {'T', 'T', 'M', 'E', 'M', 'H', 'E', 'L'},
				    .major = LEDGER_MAJOR,
				    .minor = LEDGER_MINOR,
				    .size = sizeof(struct ttmem_hello)};
}

static inline int forge_try_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	strncpy(address.sun_path, forge_path, sizeof(address.sun_path) - 1);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static inline int forge_connect(void)
{
	int fd = forge_try_connect();
	if (fd < 0)
		forge_die("connect");
	return fd;
}

/* Returns what sendmsg(2) does. */
static inline ssize_t forge_send(int socket, const void *data, size_t size, const int *fds,
				 size_t count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))] = {0};
	struct iovec part = {(void *)(uintptr_t)data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (count) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static inline void forge_send_hello(int socket, const int *fds, size_t count)
{
	struct ttmem_hello hello = forge_hello();
	while (forge_send(socket, &hello, sizeof(hello), fds, count) < 0) {
		if (errno != ETOOMANYREFS) /* until others of this user have arrived */
			forge_die("sendmsg");
		usleep(1000);
	}
}

static inline void forge_send_ledger(int socket, const struct forgery *f)
{
	forge_send_hello(socket, (const int[]){f->memfd, f->eventfd}, 2);
}

/* Whether the collector hangs up on us. */
static inline bool forge_is_refused(int socket)
{
	struct pollfd wait = {.fd = socket, .events = POLLIN};
	char byte;
	if (poll(&wait, 1, FORGE_WAIT_MS) <= 0)
		return false;
	return recv(socket, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN;
}

static inline void forge_say(const char *word)
{
	puts(word);
	fflush(stdout);
}

/* Holds everything open until standard input ends. */
static inline void forge_stay(void)
{
	char byte;
	while (read(0, &byte, 1) > 0)
		;
}

static inline int forge_offer(const struct forgery *f, int seals)
{
	int fd = forge_connect();
	forge_seal(f, seals);
	forge_send_ledger(fd, f);
	return fd;
}

/* What a peer can do. `run` returns the connection on which it did it. */
struct forge_mode {
	const char *name;
	int (*run)(void);
	bool look; /* wait for what the collector does; else it is "kept" at once */
};

/* MODE SOCKET [ARGUMENT]: prints "refused" or "kept", then stays until standard input ends. */
static inline int forge_main(const struct forge_mode *modes, size_t count, int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; argc > 2 && i < count; i++) {
		if (strcmp(argv[1], modes[i].name))
			continue;
		forge_path = argv[2];
		forge_argument = argc > 3 ? argv[3] : "";
		int fd = modes[i].run();
		forge_say(modes[i].look && forge_is_refused(fd) ? "refused" : "kept");
		forge_stay();
		return 0;
	}
	return 64;
}

#endif
