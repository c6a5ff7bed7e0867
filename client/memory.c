/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a stranger's process can spare: the ledger's file and mapping, and private pages. */
#include "internal.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define PROCESS_BYTES ((LEDGER_DEVICES + 1) * LEDGER_KINDS * sizeof(struct ledger_process_cell))

#define OPEN_STEP (1u << 20) /* bytes of records that become touchable at once */

#define RECORDS_DEFAULT (1u << 20)
#define RECORDS_MIN     LEDGER_CHUNK_RECORDS
#define RECORDS_MAX     ((uint64_t)LEDGER_CHUNKS * LEDGER_CHUNK_RECORDS)

/* Whether the descriptor still is the ledger: the host may have closed it and opened something else
 * under its number. */
bool ttmem__memfd_is_ours(const struct client *client)
{
	struct stat st;

	return fstat(client->memfd, &st) == 0 && st.st_ino == client->memfd_inode &&
	       st.st_dev == client->memfd_device;
}

/* Before Linux 5.14. */
static int back_by_descriptor(const struct client *client, uint64_t offset, uint64_t bytes)
{
	int error, cancel;

	if (!ttmem__memfd_is_ours(client))
		return -EBADF;
	/* It is a cancellation point, and locks are held here. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	error = fallocate(client->memfd, 0, (off_t)offset, (off_t)bytes) ? -errno : 0;
	pthread_setcancelstate(cancel, NULL);
	return error;
}

/* Makes the records touchable as far as they come into use, a step at a time, and for this one the
 * next ones: of what cannot be touched, mlockall() fills nothing. */
static int open_records(const struct client *client, uintptr_t from, uintptr_t to)
{
	uintptr_t base = (uintptr_t)client->header, records = base + LEDGER_OFFSET_RECORDS;
	uintptr_t end = base + ledger_file_size(client->capacity);

	if (from < records)
		return 0;
	from -= (from - records) % OPEN_STEP;
	to += OPEN_STEP - 1 - (to - records + OPEN_STEP - 1) % OPEN_STEP;
	if (to > end)
		to = end;
	return mprotect((void *)from, to - from, PROT_READ | PROT_WRITE) ? -errno : 0;
}

/* Makes the kernel give the pages of a part of the ledger now, so that no memory is an error here
 * and not a SIGBUS at the first touch. Returns 0 or a negative errno. */
int ttmem__back(const struct client *client, const void *start, size_t bytes)
{
	const size_t page = 4096;
	uintptr_t from = (uintptr_t)start & ~(page - 1);
	uintptr_t to = ((uintptr_t)start + bytes + page - 1) & ~(page - 1);
	int error = open_records(client, from, to);

	if (error)
		return error;
	if (madvise((void *)from, to - from, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno == EINVAL || errno == EPERM || errno == ENOSYS)
		return back_by_descriptor(client, from - (uintptr_t)client->header, to - from);
	return -errno;
}

/* A host that runs without standard descriptors must not find the ledger at number 1. */
int ttmem__above_stdio(int fd)
{
	int moved;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(fd);
	return moved;
}

static int memfd_make(void)
{
	int fd = memfd_create(LEDGER_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(LEDGER_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return ttmem__above_stdio(fd);
}

/* Maps the file without letting mlockall() fill all of it: a mapping that cannot be touched is not
 * populated, and what MCL_FUTURE has locked is unlocked before it becomes touchable. */
static void *map_sparsely(int fd, size_t size)
{
	void *base = mmap(NULL, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (base == MAP_FAILED)
		return NULL;
	munlock(base, size);
	if (mprotect(base, LEDGER_OFFSET_RECORDS, PROT_READ | PROT_WRITE)) {
		munmap(base, size);
		return NULL;
	}
	madvise(base, size, MADV_DONTFORK);
	madvise(base, size, MADV_DONTDUMP);
	madvise(base, size, MADV_NOHUGEPAGE);
	return base;
}

/* ftruncate() beyond RLIMIT_FSIZE would kill the host with SIGXFSZ, so the limit is asked first. */
static int size_and_seal(int fd, uint64_t size)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < size)
		return -EFBIG;
	if (ftruncate(fd, (off_t)size) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	return 0;
}

/* So that it can be told from what the host may open under its number later. */
static void memfd_note(struct client *client, int fd)
{
	struct stat st;

	client->memfd = fd;
	if (fstat(fd, &st) == 0) {
		client->memfd_inode = st.st_ino;
		client->memfd_device = st.st_dev;
	}
}

static int ledger_try(struct client *client, uint64_t capacity)
{
	uint64_t size = ledger_file_size(capacity);
	int fd = memfd_make();
	void *base;
	int error;

	if (fd < 0)
		return -errno;
	error = size_and_seal(fd, size);
	if (error)
		goto err_close;
	base = map_sparsely(fd, size);
	if (!base) {
		error = -ENOMEM;
		goto err_close;
	}
	client->header = base;
	client->capacity = capacity;
	memfd_note(client, fd);
	error = ttmem__back(client, base, sizeof *client->header);
	if (!error)
		error = ttmem__back(client, (char *)base + LEDGER_OFFSET_PROCESS, PROCESS_BYTES);
	if (error)
		goto err_unmap;
	return 0;

err_unmap:
	munmap(base, size);
err_close:
	close(fd);
	return error;
}

static void header_fill(struct ledger_header *header, const struct client *client)
{
	const char *socket = secure_getenv("TTMEM_SOCKET");

	memcpy(header->magic, LEDGER_MAGIC, sizeof header->magic);
	header->major = LEDGER_MAJOR;
	header->minor = LEDGER_MINOR;
	header->header_size = sizeof *header;
	header->file_size = ledger_file_size(client->capacity);
	header->pid = (uint32_t)getpid();
	header->eventfd = client->eventfd < 0 ? LEDGER_NO_EVENTFD : (uint32_t)client->eventfd;
	header->start_time_ns = clock_ns(CLOCK_REALTIME);
	header->record_size = sizeof(struct ledger_record);
	header->chunk_records = LEDGER_CHUNK_RECORDS;
	header->record_capacity = client->capacity;
	header->devices = LEDGER_DEVICES;
	header->kinds = LEDGER_KINDS;
	header->shards = LEDGER_SHARDS;
	header->tags = LEDGER_TAGS;
	header->offset_devices = LEDGER_OFFSET_DEVICES;
	header->offset_process = LEDGER_OFFSET_PROCESS;
	header->offset_tags = LEDGER_OFFSET_TAGS;
	header->offset_chunks = LEDGER_OFFSET_CHUNKS;
	header->offset_counters = LEDGER_OFFSET_COUNTERS;
	header->offset_records = LEDGER_OFFSET_RECORDS;
	header->fenceless = client->fenceless;
	header->socket_hash = socket && *socket ? ledger_socket_hash(socket) : 0;
	__atomic_store_n(&header->state, LEDGER_LIVE, __ATOMIC_RELEASE);
}

static uint64_t records_wanted(void)
{
	const char *text = secure_getenv("TTMEM_RECORDS");
	uint64_t wanted = text ? strtoull(text, NULL, 10) : RECORDS_DEFAULT;

	if (wanted < RECORDS_MIN)
		wanted = RECORDS_MIN;
	if (wanted > RECORDS_MAX)
		wanted = RECORDS_MAX;
	return (wanted + LEDGER_CHUNK_RECORDS - 1) / LEDGER_CHUNK_RECORDS * LEDGER_CHUNK_RECORDS;
}

/* Makes the ledger, smaller where the host's limits do not allow the full size. */
int ttmem__ledger_create(struct client *client)
{
	uint64_t capacity = records_wanted();
	char *base;
	int error;

	while ((error = ledger_try(client, capacity)) && capacity > RECORDS_MIN)
		capacity = capacity / 2 / LEDGER_CHUNK_RECORDS * LEDGER_CHUNK_RECORDS;
	if (error)
		return error;
	base = (char *)client->header;
	client->process = (void *)(base + LEDGER_OFFSET_PROCESS);
	client->devices = (void *)(base + LEDGER_OFFSET_DEVICES);
	client->tags = (void *)(base + LEDGER_OFFSET_TAGS);
	client->chunks = (void *)(base + LEDGER_OFFSET_CHUNKS);
	client->records = (void *)(base + LEDGER_OFFSET_RECORDS);
	client->eventfd = ttmem__eventfd_make(client);
	header_fill(client->header, client);
	return 0;
}
