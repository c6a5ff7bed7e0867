/* SPDX-License-Identifier: Apache-2.0 */
#include "metal_faults.h"

#include "cards.h"
#include "options.h"

#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD_BYTES 4096ull /* of DRAM, for each process */
#define SHORT_MS    2
#define WHOLE_MS    3

/* --- a crowd ---------------------------------------------------------------------------------- */

static pid_t crowd[REGION_SLOTS];

static _Noreturn void idle(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it ended before the line above */
		_exit(EXIT_SUCCESS);
	for (;;)
		pause();
}

void crowd_start(void)
{
	const pid_t parent = getpid();

	for (int i = 0; i < REGION_SLOTS; i++) {
		crowd[i] = fork();
		if (crowd[i] < 0)
			err(EXIT_FAILURE, "fork");
		if (!crowd[i])
			idle(parent);
	}
}

static void move_bytes(struct region *r, int slot, uint64_t bytes)
{
	region_add64(r, region_total(r, 0), bytes);
	region_add64(r, region_chip_bytes(r, 0, 0), bytes);
	region_add64(r, region_slot_bytes(r, slot, 0), bytes);
	region_stamp(r, slot);
}

void crowd_fill(struct region *r)
{
	for (int i = 0; i < REGION_SLOTS; i++) {
		int slot = region_claim(r, crowd[i], options.model->name);

		if (slot < 0)
			return;
		region_add32(r, REGION_REFERENCES, 1);
		move_bytes(r, slot, CROWD_BYTES);
	}
}

void crowd_leave(struct region *r)
{
	for (int slot = 0; slot < REGION_SLOTS; slot++)
		for (int i = 0; i < REGION_SLOTS; i++)
			if (region_pid(r, slot) == crowd[i]) {
				move_bytes(r, slot, -CROWD_BYTES);
				region_release(r, slot);
				region_add32(r, REGION_REFERENCES, UINT32_MAX);
			}
}

void crowd_end(void)
{
	for (int i = 0; i < REGION_SLOTS; i++) {
		kill(crowd[i], SIGKILL);
		waitpid(crowd[i], NULL, 0);
	}
}

/* --- files that shrink ------------------------------------------------------------------------ */

static struct {
	pthread_t thread;
	struct region *regions;
	unsigned n;
	bool stop; /* atomic */
} shortener;

static void *shorten(void *arg)
{
	uint64_t random = scramble(options.seed);

	while (!__atomic_load_n(&shortener.stop, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < shortener.n; i++) {
			struct region *r = &shortener.regions[i];

			region_shorten(r, scramble(random++) % r->layout->size);
		}
		poll(NULL, 0, SHORT_MS);
		for (unsigned i = 0; i < shortener.n; i++)
			region_restore(&shortener.regions[i]);
		poll(NULL, 0, WHOLE_MS);
	}
	return arg;
}

void shortener_start(struct region *regions, unsigned n)
{
	shortener.regions = regions;
	shortener.n = n;
	int error = pthread_create(&shortener.thread, NULL, shorten, NULL);
	if (error)
		errx(EXIT_FAILURE, "a thread: %s", strerror(error));
}

void shortener_end(void)
{
	__atomic_store_n(&shortener.stop, true, __ATOMIC_RELEASE);
	pthread_join(shortener.thread, NULL);
}
