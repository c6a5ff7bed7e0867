/* SPDX-License-Identifier: Apache-2.0 */
#include "region.h"

#include "options.h"
#include "report.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS    5
#define WAIT_TIMES 1000
#define NAME_BYTES 64
#define PAGE_ROOM  12288 /* whole pages for the largest layout */

static const struct layout layouts[] = {
	{9280, 6, 48, 96, 56, 992, 128, 0},
	{8576, 5, 48, 88, 48, 856, 120, 0},
	{8576, 5, 48, 88, 48, 856, 120, UINT32_MAX},
	{8576, 5, 48, 88, 48, 856, 120, UINT32_MAX},
};

/* --- where things are ------------------------------------------------------------------------ */

int region_column(const struct region *r, enum ttmem_kind kind)
{
	static const int columns[TTMEM_KINDS] = {
		[TTMEM_DRAM] = 0, [TTMEM_L1] = 1,     [TTMEM_L1_SMALL] = 2, [TTMEM_TRACE] = 3,
		[TTMEM_CB] = 4,   [TTMEM_KERNEL] = 5, [TTMEM_SYSTEM] = -1,
	};
	int column = columns[kind];

	return column < (int)r->layout->columns ? column : -1;
}

size_t region_total(const struct region *r, unsigned column)
{
	return r->layout->totals + 8 * column;
}

size_t region_chip(const struct region *r, unsigned chip)
{
	return r->layout->chips + r->layout->chip_stride * chip;
}

size_t region_chip_bytes(const struct region *r, unsigned chip, unsigned column)
{
	return region_chip(r, chip) + 8 + 8 * column;
}

size_t region_slot(const struct region *r, int slot)
{
	return r->layout->slots + r->layout->slot_stride * (unsigned)slot;
}

size_t region_slot_bytes(const struct region *r, int slot, unsigned column)
{
	return region_slot(r, slot) + 8 + 8 * column;
}

/* --- changing it ------------------------------------------------------------------------------ */

static void *at(const struct region *r, size_t offset)
{
	return r->base + offset;
}

static void change(struct region *r)
{
	if (r->shadow)
		pthread_mutex_lock(&r->lock);
}

static void changed(struct region *r, size_t offset, size_t size)
{
	if (!r->shadow)
		return;
	if (pwrite(r->fd, at(r, offset), size, (off_t)offset) < 0)
		err(EXIT_FAILURE, "a file in %s cannot be written", options.shm);
	pthread_mutex_unlock(&r->lock);
}

void region_add64(struct region *r, size_t offset, uint64_t delta)
{
	change(r);
	__atomic_fetch_add((uint64_t *)at(r, offset), delta, __ATOMIC_RELAXED);
	changed(r, offset, sizeof(delta));
}

void region_add32(struct region *r, size_t offset, uint32_t delta)
{
	change(r);
	__atomic_fetch_add((uint32_t *)at(r, offset), delta, __ATOMIC_RELAXED);
	changed(r, offset, sizeof(delta));
}

void region_store64(struct region *r, size_t offset, uint64_t value)
{
	change(r);
	__atomic_store_n((uint64_t *)at(r, offset), value, __ATOMIC_RELEASE);
	changed(r, offset, sizeof(value));
}

void region_store32(struct region *r, size_t offset, uint32_t value)
{
	change(r);
	__atomic_store_n((uint32_t *)at(r, offset), value, __ATOMIC_RELEASE);
	changed(r, offset, sizeof(value));
}

uint64_t region_time(void)
{
	return nanoseconds(options.clock_boot ? CLOCK_MONOTONIC : CLOCK_REALTIME);
}

void region_stamp(struct region *r, int slot)
{
	const uint64_t now = region_time();

	if (slot >= 0)
		region_store64(r, region_slot_bytes(r, slot, r->layout->columns), now);
	region_store64(r, REGION_UPDATED, now);
}

void region_shorten(struct region *r, size_t length)
{
	pthread_mutex_lock(&r->lock);
	if (ftruncate(r->fd, (off_t)length))
		err(EXIT_FAILURE, "a file in %s cannot be shortened", options.shm);
	pthread_mutex_unlock(&r->lock);
}

void region_restore(struct region *r)
{
	change(r);
	changed(r, 0, r->layout->size);
}

/* --- slots and chips -------------------------------------------------------------------------- */

pid_t region_pid(const struct region *r, int slot)
{
	return __atomic_load_n((int32_t *)at(r, region_slot(r, slot)), __ATOMIC_RELAXED);
}

static bool take_slot(struct region *r, size_t offset, int32_t pid)
{
	int32_t nobody = 0;

	change(r);
	bool taken = __atomic_compare_exchange_n((int32_t *)at(r, offset), &nobody, pid, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	changed(r, offset, sizeof(pid));
	return taken;
}

int region_claim(struct region *r, pid_t pid, const char *name)
{
	const size_t name_offset = 8 + 8 * r->layout->columns + 8;
	char padded[NAME_BYTES] = "";

	strncpy(padded, name, sizeof(padded) - 1);
	for (int slot = 0; slot < REGION_SLOTS; slot++) {
		const size_t offset = region_slot(r, slot);

		if (!take_slot(r, offset, pid))
			continue;
		change(r);
		memcpy(at(r, offset + name_offset), padded, sizeof(padded));
		changed(r, offset + name_offset, sizeof(padded));
		region_add32(r, REGION_ACTIVE, 1);
		region_stamp(r, slot);
		return slot;
	}
	return -1;
}

void region_release(struct region *r, int slot)
{
	const size_t offset = region_slot(r, slot), size = r->layout->slot_stride;

	region_store32(r, offset, UINT32_MAX); /* -1: neither free nor anybody's */
	change(r);
	memset(at(r, offset + 8), 0, size - 8);
	changed(r, offset + 8, size - 8);
	region_store32(r, offset, 0);
	region_add32(r, REGION_ACTIVE, UINT32_MAX);
	region_stamp(r, -1);
}

void region_add_chip(struct region *r, unsigned chip)
{
	region_store32(r, region_chip(r, chip) + 4, chip > 0);
	region_store32(r, region_chip(r, chip), chip);
}

/* --- making and joining ----------------------------------------------------------------------- */

static void map(struct region *r)
{
	if (r->shadow) {
		r->base = calloc(1, PAGE_ROOM);
		if (!r->base)
			err(EXIT_FAILURE, "no memory for a copy of a file in %s", options.shm);
		return;
	}
	void *pages = mmap(NULL, r->layout->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (pages == MAP_FAILED)
		err(EXIT_FAILURE, "a file in %s cannot be mapped", options.shm);
	r->base = pages;
}

static void store_raw(struct region *r, size_t offset, const void *value, size_t size)
{
	change(r);
	memcpy(at(r, offset), value, size);
	changed(r, offset, size);
}

/* As a maker leaves it that never comes to its last line. */
static void tear(struct region *r)
{
	const size_t half = r->layout->slots / 2,
		     end = r->layout->slots + 20 * r->layout->slot_stride;

	change(r);
	memset(at(r, half), 0xa5, end - half);
	changed(r, half, end - half);
}

static void initialise(struct region *r, const struct region_identity *identity)
{
	if (fchmod(r->fd, 0666) || ftruncate(r->fd, r->layout->size))
		err(EXIT_FAILURE, "a file in %s cannot be made", options.shm);
	map(r);
	if (options.layout == 4)
		region_store32(r, REGION_INIT_STATE, REGION_MAKING);
	region_store64(r, REGION_UPDATED, region_time());
	store_raw(r, REGION_BOARD, &identity->board, sizeof(identity->board));
	store_raw(r, REGION_ASIC, &identity->asic, sizeof(identity->asic));
	region_store32(r, REGION_LOGICAL_ID, identity->logical_id);
	for (unsigned chip = 0; chip < REGION_CHIPS; chip++)
		region_store32(r, region_chip(r, chip), r->layout->no_chip);
	if (options.fault == FAULT_TORN)
		tear(r);
	region_store32(r, REGION_VERSION, (uint32_t)options.layout);
	if (options.layout == 4 && options.fault != FAULT_TORN)
		region_store32(r, REGION_INIT_STATE, REGION_READY);
}

static uint32_t read_word(const struct region *r, size_t offset)
{
	uint32_t value = 0;

	return pread(r->fd, &value, sizeof(value), (off_t)offset) == sizeof(value) ? value : 0;
}

/* Its maker may be between two steps: the version, in layout 4 the init state, comes last. */
static bool is_ready(const struct region *r)
{
	const uint32_t version = read_word(r, REGION_VERSION);
	struct stat status;

	if (version && version != options.layout)
		return true; /* for join() to complain of */
	if (!version || fstat(r->fd, &status) || status.st_size < (off_t)r->layout->size)
		return false;
	return options.layout != 4 || read_word(r, REGION_INIT_STATE) == REGION_READY;
}

static void join(struct region *r, const char *path)
{
	for (int i = 0; !is_ready(r); i++) {
		if (i == WAIT_TIMES)
			errx(EXIT_FAILURE, "%s was begun and not finished: remove it", path);
		poll(NULL, 0, WAIT_MS);
	}
	const uint32_t version = read_word(r, REGION_VERSION);
	if (version != options.layout)
		errx(EXIT_FAILURE, "%s has layout %u: remove it, or give --layout %u", path,
		     version, version);
	map(r);
	if (r->shadow && pread(r->fd, r->base, r->layout->size, 0) != (ssize_t)r->layout->size)
		err(EXIT_FAILURE, "%s cannot be read", path);
}

void region_open(struct region *r, const struct region_identity *identity)
{
	const uint64_t id =
		options.layout == 1 ? identity->board << 8 | identity->asic : identity->asic;
	char path[PATH_MAX];

	*r = (struct region){.layout = &layouts[options.layout - 1], .slot = -1};
	r->shadow = options.fault == FAULT_TRUNCATE;
	pthread_mutex_init(&r->lock, NULL);
	snprintf(path, sizeof(path), "%s/tt_device_%" PRIu64 "_memory", options.shm, id);
	r->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (r->fd >= 0) {
		initialise(r, identity);
		return;
	}
	if (errno == EEXIST && options.fault == FAULT_TORN)
		errx(EXIT_FAILURE, "%s is there: remove it, --fault torn makes a new one", path);
	if (errno == EEXIST)
		r->fd = open(path, O_RDWR | O_CLOEXEC);
	if (r->fd < 0)
		err(EXIT_FAILURE, "%s cannot be made: give a directory with --shm", path);
	join(r, path);
}

void region_close(struct region *r)
{
	if (r->shadow)
		free(r->base);
	else
		munmap(r->base, r->layout->size);
	close(r->fd);
}
