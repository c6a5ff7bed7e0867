/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A storm of allocations: storm THREADS DEVICES SEED. Several threads allocate and free at random
 * from one table, so that buffers are often freed by another thread than the one that allocated
 * them. Lines on standard input steer it, each answered when it has been obeyed:
 *   hold   all threads stand still; prints "DEVICE KIND BYTES BUFFERS ALLOCATED FAILURES" for
 *          each pair in use, as ttmem_get_totals() has them, then "held"
 *   go     on again: "going"
 * It begins with "going", and ends with its input.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ttmem.h"

#define SLOTS       4096
#define THREADS_MAX 16
#define ASIC        0x57000 /* id of device 0 */

/* A slot is a place for one buffer: its number is the address, device and kind follow from it.
 * Whoever makes it BUSY has it alone until he says what has become of it. */
enum { EMPTY, BUSY, TAKEN };
static _Atomic int slots[SLOTS];
static uint32_t devices = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Atomic int hold;
static int holding, threads;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void stand_still(void)
{
	pthread_mutex_lock(&lock);
	holding++;
	pthread_cond_broadcast(&changed);
	while (hold)
		pthread_cond_wait(&changed, &lock);
	holding--;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void change_one(uint64_t *state)
{
	static const char *const tags[] = {"weights", "kv_cache", "activations", NULL};
	uint64_t dice = next_random(state);
	uint32_t slot = (uint32_t)(dice % SLOTS), device = slot % devices;
	enum ttmem_kind kind = (enum ttmem_kind)(slot / devices % TTMEM_KINDS);
	uint64_t address = (uint64_t)(slot + 1) << 20;
	int found = atomic_exchange(&slots[slot], BUSY);
	if (found == EMPTY) {
		ttmem_alloc(device, kind, address, (dice >> 16) % 65536, tags[(dice >> 40) % 4]);
		if ((dice >> 44) % 64 == 0)
			ttmem_alloc_failed(device, kind, (dice >> 16) % 65536, 4096);
		atomic_store(&slots[slot], TAKEN);
	} else if (found == TAKEN) {
		ttmem_free(device, kind, address);
		atomic_store(&slots[slot], EMPTY);
	}
}

static void *thread_main(void *seed)
{
	uint64_t state = (uint64_t)(uintptr_t)seed * 0x9e3779b97f4a7c15ull + 1;
	for (;;) {
		if (atomic_load_explicit(&hold, memory_order_relaxed))
			stand_still();
		change_one(&state);
	}
	return NULL;
}

static void print_totals(void)
{
	struct ttmem_totals t;
	for (uint32_t device = 0; device < devices; device++) {
		for (int kind = 0; kind < TTMEM_KINDS; kind++) {
			ttmem_get_totals(device, (enum ttmem_kind)kind, &t);
			printf("%u %d %llu %llu %llu %llu\n", device, kind,
			       (unsigned long long)t.live_bytes, (unsigned long long)t.live_buffers,
			       (unsigned long long)t.allocated_bytes,
			       (unsigned long long)t.failures);
		}
	}
}

static void set_hold(int wanted)
{
	pthread_mutex_lock(&lock);
	hold = wanted;
	pthread_cond_broadcast(&changed);
	while (holding != (wanted ? threads : 0))
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
	char line[64];
	pthread_t thread;
	if (argc != 4 || atoi(argv[1]) > THREADS_MAX || ttmem_start() < 0)
		return 64;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (nice(10) < 0) /* the reader is to see many moments of it */
		return 1;
	devices = (uint32_t)atoi(argv[2]);
	for (uint32_t i = 0; i < devices; i++) {
		struct ttmem_device device = {.size = sizeof(device), .asic_id = ASIC + i};
		ttmem_declare_device(i, &device);
	}
	for (int wanted = atoi(argv[1]); threads < wanted; threads++) {
		uintptr_t seed = (uintptr_t)(atoi(argv[3]) * THREADS_MAX + threads);
		if (pthread_create(&thread, NULL, thread_main, (void *)seed))
			return 1;
	}
	puts("going");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		int wanted = !strcmp(line, "hold\n");
		set_hold(wanted);
		if (wanted)
			print_totals();
		puts(wanted ? "held" : "going");
		fflush(stdout);
	}
	return 0;
}
