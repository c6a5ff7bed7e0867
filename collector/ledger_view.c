/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a ledger and reading its header, devices and sums. Records are in ledger_records.c. */
#include "ledger_view.h"
#include "plain.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define TRIES        8
#define ARMED_BYTES  4096 /* from the start: the page with the armed word */

#define word_get(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)

static size_t bytes_for_shards(uint32_t shards)
{
	return LEDGER_OFFSET_COUNTERS + shards * sizeof(struct ledger_shard);
}

/* 0 is in a header that is being written. */
static bool header_is_of_another_major(const struct ledger_header *header)
{
	return !memcmp(header->magic, LEDGER_MAGIC, sizeof header->magic) && header->major &&
	       header->major != LEDGER_MAJOR;
}

static const char *header_fault(const struct ledger_header *header, uint64_t size)
{
	if (memcmp(header->magic, LEDGER_MAGIC, sizeof header->magic))
		return "it is not a ledger (wrong magic)";
	if (header->major != LEDGER_MAJOR)
		return "its format has another major version; upgrade the older side";
	if (header->state != LEDGER_LIVE)
		return "it is not complete";
	if (header->header_size != sizeof *header ||
	    header->record_size != sizeof(struct ledger_record) ||
	    header->chunk_records != LEDGER_CHUNK_RECORDS || header->devices != LEDGER_DEVICES ||
	    header->kinds != LEDGER_KINDS || header->shards != LEDGER_SHARDS ||
	    header->tags != LEDGER_TAGS || header->offset_devices != LEDGER_OFFSET_DEVICES ||
	    header->offset_process != LEDGER_OFFSET_PROCESS ||
	    header->offset_tags != LEDGER_OFFSET_TAGS ||
	    header->offset_chunks != LEDGER_OFFSET_CHUNKS ||
	    header->offset_counters != LEDGER_OFFSET_COUNTERS ||
	    header->offset_records != LEDGER_OFFSET_RECORDS)
		return "its layout is not that of its version";
	if (!header->record_capacity || header->record_capacity % LEDGER_CHUNK_RECORDS ||
	    header->record_capacity > (uint64_t)LEDGER_CHUNKS * LEDGER_CHUNK_RECORDS)
		return "its capacity cannot be";
	if (header->file_size != size || size != ledger_file_size(header->record_capacity))
		return "its size is not what it says";
	return NULL;
}

/* Nothing here can block: these calls look at the inode of a file in memory. */
static const char *file_fault(int fd, uid_t owner, struct stat *st)
{
	struct statfs fs;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return "it is not a memory file";
	if ((seals & SEALS_NEEDED) != SEALS_NEEDED)
		return "it is not sealed against changes of its size";
	if (fstat(fd, st) || fstatfs(fd, &fs) || !S_ISREG(st->st_mode) || fs.f_type != TMPFS_MAGIC)
		return "it is not a plain memory file";
	if (st->st_uid != owner)
		return "it belongs to another user";
	if ((uint64_t)st->st_size < LEDGER_OFFSET_RECORDS)
		return "it is too short";
	return NULL;
}

int ledger_view_open(struct ledger_view *view, int fd, uid_t owner, const char **why)
{
	struct ledger_header header;
	struct stat st;
	void *base;

	memset(view, 0, sizeof *view);
	*why = file_fault(fd, owner, &st);
	if (*why)
		return -EPERM;
	if (pread(fd, &header, sizeof header, 0) != sizeof header) {
		*why = "it cannot be read";
		return -EIO;
	}
	*why = header_fault(&header, (uint64_t)st.st_size);
	if (*why)
		return header_is_of_another_major(&header) ? -EPROTONOSUPPORT : -EPROTO;
	base = mmap(NULL, bytes_for_shards(1), PROT_READ, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED) {
		*why = "there is no room to map it";
		return -errno;
	}
	view->fd = fd;
	view->file_device = st.st_dev;
	view->inode = st.st_ino;
	view->capacity = header.record_capacity;
	view->header = base;
	view->mapped_bytes = bytes_for_shards(1);
	view->mapped_shards = 1;
	return 0;
}

/* The one page that is mapped for writing; the word is its owner's to spoil. By way of the file it
 * could not be written: write(2) waits for the inode's lock, which whoever writes the ledger from a
 * page of his own making holds for as long as he likes. NULL: the descriptor or a seal forbids it,
 * or there is no room. */
static uint32_t *armed_word(struct ledger_view *view)
{
	void *page;

	if (!view->armed) {
		page = mmap(NULL, ARMED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, view->fd, 0);
		if (page == MAP_FAILED)
			return NULL;
		view->armed = (uint32_t *)((char *)page + offsetof(struct ledger_header, armed));
	}
	return view->armed;
}

static void armed_unmap(struct ledger_view *view)
{
	if (view->armed)
		munmap((char *)view->armed - offsetof(struct ledger_header, armed), ARMED_BYTES);
}

/*
 * Why nobody who sleeps misses a change. We empty the bell, arm, fence, read the counters, and
 * sleep until the bell can be read. A thread of the owner's changes a counter, fences, and looks at
 * `armed`; if it is set it exchanges it with 0, and rings if that returned 1. Both fences are
 * sequentially consistent, so one is before the other:
 * - theirs before ours: our read sees the change;
 * - ours before theirs: their look sees that we have armed, or that a thread has cleared it since.
 *   Whoever clears it rings; we wake, arm and read again, and the same is true of that arming.
 * A `fenceless` owner has no fence of its own between the change and its look. Then the kernel
 * makes one in each of its threads that runs (ledger_view_fence_owners()), after we have armed and
 * before we read: what a thread did before it we read, and it looks after it at what comes later.
 *
 * So a change that the last read before a sleep does not show rings, or another has. Of all threads
 * that see one arming, one exchange returns 1: it rings once, or EAGAIN says that the bell is full,
 * which wakes us as well. The bell must be emptied before it is armed: between arming and sleeping
 * that would take away a ring that was meant for the sleep.
 *
 * A ring says "look", not what has changed. So one that comes late, after we have armed again or
 * disarmed, costs a look too many and nothing else. But as long as its thread stands still between
 * the exchange and the ring, nobody rings in its place: who must not wait for that looks again by
 * himself now and then.
 */
bool ledger_view_arm(struct ledger_view *view, bool on)
{
	uint32_t *word = armed_word(view);

	if (!word)
		return false;
	__atomic_store_n(word, on, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return true;
}

bool ledger_view_is_fenceless(const struct ledger_view *view)
{
	return __atomic_load_n(&view->header->fenceless, __ATOMIC_RELAXED);
}

bool ledger_view_fence_owners(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

void ledger_view_abandon(struct ledger_view *view)
{
	armed_unmap(view);
	munmap((void *)view->header, view->mapped_bytes);
	g_free(view->tags);
	memset(view, 0, sizeof *view);
}

void ledger_view_close(struct ledger_view *view)
{
	int fd = view->fd;

	ledger_view_abandon(view);
	close(fd);
}

pid_t ledger_view_pid(const struct ledger_view *view)
{
	return (pid_t)word_get(&view->header->pid);
}

int ledger_view_eventfd(const struct ledger_view *view)
{
	return (int)word_get(&view->header->eventfd);
}

uint64_t ledger_view_socket_hash(const struct ledger_view *view)
{
	return word_get(&view->header->socket_hash);
}

uint64_t ledger_view_devices(const struct ledger_view *view)
{
	return word_get(&view->header->devices_used);
}

uint32_t ledger_view_generation(const struct ledger_view *view)
{
	return word_get(&view->header->device_generation);
}

static const struct ledger_device *device_table(const struct ledger_view *view)
{
	return (const void *)((const char *)view->header + LEDGER_OFFSET_DEVICES);
}

/* A copy from between two equal, even sequence words. */
static bool device_copy(const struct ledger_device *from, struct ledger_device *to)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t sequence = word_get(&from->sequence);

		if (sequence & 1)
			continue;
		memcpy(to, from, sizeof *to);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (word_get(&from->sequence) == sequence)
			return true;
	}
	return false;
}

static uint64_t capacity_plain(uint64_t bytes)
{
	return bytes <= LEDGER_MAX_BYTES ? bytes : 0;
}

bool ledger_view_identity(const struct ledger_view *view, uint32_t index, struct identity *identity)
{
	struct ledger_device device;

	if (!device_copy(&device_table(view)[index], &device))
		return false;
	memset(identity, 0, sizeof *identity);
	identity->index = index;
	identity->asic_id = device.asic_id;
	identity->is_remote = device.flags & LEDGER_DEVICE_REMOTE;
	identity->dram_total_bytes = capacity_plain(device.dram_total);
	identity->l1_total_bytes = capacity_plain(device.l1_total);
	plain_pci(identity->pci, device.pci, sizeof device.pci);
	plain_word(identity->arch, device.arch, sizeof device.arch);
	plain_word(identity->board, device.board, sizeof device.board);
	return true;
}

/* More shards are mapped when the ledger says that there are more; a mapping that fails leaves the
 * rest out until the next time. */
static uint32_t shards_mapped(struct ledger_view *view)
{
	uint32_t shards = word_get(&view->header->shards_used);
	void *base;

	if (shards > LEDGER_SHARDS)
		shards = LEDGER_SHARDS;
	if (shards > view->mapped_shards) {
		base = mremap((void *)view->header, view->mapped_bytes, bytes_for_shards(shards),
			      MREMAP_MAYMOVE);
		if (base == MAP_FAILED)
			return view->mapped_shards;
		view->header = base;
		view->mapped_bytes = bytes_for_shards(shards);
		view->mapped_shards = shards;
	}
	return shards;
}

/* Freed is taken first, so an honest ledger never shows more freed than allocated; one that does,
 * or that claims more than there can be, counts as nothing or as the most. */
static uint64_t difference(uint64_t allocated, uint64_t freed, uint64_t most)
{
	uint64_t rest = allocated > freed ? allocated - freed : 0;

	return rest < most ? rest : most;
}

/* We may sleep between the two words, while any number of buffers come and go: all of these would
 * count as live. So a look during which something was freed is taken again, a few times. */
static void cell_read(const struct ledger_cell *cell, struct amount *amount)
{
	uint64_t freed_bytes, freed_buffers;
	struct amount part = {0};

	for (int i = 0; i < TRIES; i++) {
		freed_buffers = word_get(&cell->freed_buffers);
		freed_bytes = word_get(&cell->freed_bytes);
		part.allocated_bytes = word_get(&cell->allocated_bytes);
		part.allocated_buffers = word_get(&cell->allocated_buffers);
		part.failures = word_get(&cell->failures);
		if (word_get(&cell->freed_buffers) == freed_buffers)
			break;
	}
	part.used_bytes = difference(part.allocated_bytes, freed_bytes, LEDGER_MAX_BYTES);
	part.used_buffers = difference(part.allocated_buffers, freed_buffers, LEDGER_MAX_BYTES);
	amount_add(amount, &part);
}

void ledger_view_amounts(struct ledger_view *view, uint64_t slots, unsigned int kinds,
			 struct amount amounts[KIND_COUNT])
{
	uint32_t count = shards_mapped(view);
	const struct ledger_shard *shards =
		(const void *)((const char *)view->header + LEDGER_OFFSET_COUNTERS);

	for (uint32_t i = 0; i < count; i++) {
		/* A page that its owner never touched is a hole; reading it would fill it. */
		uint64_t devices = word_get(&view->header->shard_devices[i]) & slots;

		for (; devices; devices &= devices - 1) {
			const struct ledger_cell *row = shards[i].cells[__builtin_ctzll(devices)];

			for (unsigned int rest = kinds; rest; rest &= rest - 1)
				cell_read(&row[__builtin_ctz(rest)], &amounts[__builtin_ctz(rest)]);
		}
	}
}

/* As device_copy(). */
static bool failure_copy(const struct ledger_cell *cell, struct failure *failure)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t sequence = word_get(&cell->failure_sequence);

		failure->requested_bytes = word_get(&cell->failed_bytes);
		failure->largest_free_bytes = word_get(&cell->largest_free_bytes);
		failure->time_ns = word_get(&cell->failure_time_ns);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(sequence & 1) && word_get(&cell->failure_sequence) == sequence)
			return true;
	}
	return false;
}

void ledger_view_failure(struct ledger_view *view, uint64_t slots, enum kind kind,
			 struct failure *failure)
{
	uint32_t count = shards_mapped(view);
	const struct ledger_shard *shards =
		(const void *)((const char *)view->header + LEDGER_OFFSET_COUNTERS);

	memset(failure, 0, sizeof *failure);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t devices = word_get(&view->header->shard_devices[i]) & slots;

		for (; devices; devices &= devices - 1) {
			struct failure own;

			if (failure_copy(&shards[i].cells[__builtin_ctzll(devices)][kind], &own) &&
			    own.time_ns > failure->time_ns)
				*failure = own;
		}
	}
}

uint64_t ledger_view_peak(const struct ledger_view *view, uint32_t row, enum kind kind)
{
	const struct ledger_process_cell(*process)[LEDGER_KINDS] =
		(const void *)((const char *)view->header + LEDGER_OFFSET_PROCESS);
	uint64_t peak = word_get(&process[row][kind].peak_bytes);

	return peak < LEDGER_MAX_BYTES ? peak : LEDGER_MAX_BYTES;
}

void ledger_view_errors(const struct ledger_view *view, struct recording_errors *errors)
{
	const struct ledger_header *header = view->header;

	errors->unknown_frees = word_get(&header->unknown_frees);
	errors->size_mismatches = word_get(&header->size_mismatches);
	errors->bad_arguments = word_get(&header->bad_arguments);
	errors->reentered = word_get(&header->reentered);
	errors->untracked = word_get(&header->untracked);
	errors->unlisted = word_get(&header->unlisted);
}
