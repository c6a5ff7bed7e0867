/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttmem-sim: a process that does to device memory what a model does, with no device.
 *
 * It is an ordinary client of libttmem: it loads weights layer by layer, then decodes, growing a
 * KV cache until the sequence ends. Addresses come from a first-fit allocator per device and kind,
 * so they are unique, get reused, and run out.
 */
#include "sim/options.h"
#include "sim/pool.h"
#include "ttmem.h"

#include <err.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define KIB        1024ull
#define DRAM_BANKS 12
#define DRAM_BANK  (1024 * 1024 * KIB)
#define L1_BANKS   64
#define L1_BANK    1499136
#define BANK_ALIGN 32

/* --- stopping and talking ------------------------------------------------------------------ */

/* SIGINT and SIGTERM stay blocked and are never read from here, so from the first one on the
 * descriptor is readable for every thread: a sleep that all of them wake from, and no handler. */
static int stop_fd;

static void catch_stop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	stop_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (stop_fd < 0)
		err(EXIT_FAILURE, "signalfd");
}

/* False when it is time to stop. */
static bool pass_time(uint64_t ms)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};

	return poll(&stop, 1, (int)ms) <= 0;
}

/* One call, because the workers share stdout, which main() makes line-buffered. */
#define say(format, ...)                                                              \
	do {                                                                          \
		if (!options.quiet)                                                   \
			printf("%s[%d]: " format "\n", options.model->name, getpid(), \
			       __VA_ARGS__);                                          \
	} while (0)

/* splitmix64: also makes a device's asic id, which every simulator must derive alike. */
static uint64_t scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint64_t draw(uint64_t *random, uint64_t from, uint64_t to)
{
	return from + scramble((*random)++) % (to - from + 1);
}

/* --- device memory ------------------------------------------------------------------------- */

/* Where each kind lives, in every bank of its memory. */
static const struct region {
	uint64_t base, limit;
	unsigned banks;
} regions[TTMEM_KINDS] = {
	[TTMEM_DRAM] = {1024 * KIB, DRAM_BANK - 32 * 1024 * KIB, DRAM_BANKS},
	[TTMEM_TRACE] = {DRAM_BANK - 32 * 1024 * KIB, DRAM_BANK, DRAM_BANKS},
	[TTMEM_KERNEL] = {16 * KIB, 104 * KIB, L1_BANKS},
	[TTMEM_CB] = {104 * KIB, 640 * KIB, L1_BANKS},
	[TTMEM_L1] = {640 * KIB, L1_BANK - 32 * KIB, L1_BANKS},
	[TTMEM_L1_SMALL] = {L1_BANK - 32 * KIB, L1_BANK, L1_BANKS},
};

static struct card {
	unsigned device;
	struct pool pools[TTMEM_KINDS];
} cards[TTMEM_MAX_DEVICES];

/* Owned by the worker that took it, until release(). */
struct buffer {
	struct block block;
	SLIST_ENTRY(buffer) held;
	struct card *card;
	enum ttmem_kind kind;
};

/* A thread that serves every stride-th card from the first one, each with ranks - 1 others. */
struct worker {
	pthread_t thread;
	unsigned first, stride;
	unsigned rank, ranks;
	uint64_t random;
	uint64_t steps, failures;
	SLIST_HEAD(, buffer) held; /* a stack: the newest first */
	uint64_t depth;
};

static bool take(struct worker *w, struct card *card, enum ttmem_kind kind, double kib,
		 const char *tag)
{
	const unsigned banks = regions[kind].banks;
	struct buffer *buffer = calloc(1, sizeof(*buffer));
	uint64_t largest;

	if (!buffer)
		err(EXIT_FAILURE, "no memory for a buffer's record");
	buffer->card = card;
	buffer->kind = kind;
	buffer->block.size = (uint64_t)ceil(kib * KIB * options.scale / banks / BANK_ALIGN);
	buffer->block.size *= BANK_ALIGN;
	const uint64_t bytes = buffer->block.size * banks;

	if (!pool_place(&card->pools[kind], &buffer->block, &largest)) {
		largest *= banks;
		ttmem_alloc_failed(card->device, kind, bytes, largest);
		w->failures++;
		free(buffer);
		return false;
	}
	ttmem_alloc(card->device, kind, buffer->block.address, bytes, tag);
	SLIST_INSERT_HEAD(&w->held, buffer, held);
	w->depth++;
	return true;
}

/* Takes the same on each of the worker's cards. False if one of them is full. */
static bool take_each(struct worker *w, enum ttmem_kind kind, double kib, const char *tag)
{
	bool taken = true;

	for (unsigned i = w->first; i < options.n_devices; i += w->stride)
		taken &= take(w, &cards[i], kind, kib, tag);
	return taken;
}

/* Frees what the worker took last, down to a depth that its stack had before. */
static void release(struct worker *w, uint64_t depth)
{
	for (; w->depth > depth; w->depth--) {
		struct buffer *last = SLIST_FIRST(&w->held);

		SLIST_REMOVE_HEAD(&w->held, held);
		/* Reported first: out of the pool, another worker can get the same address. */
		ttmem_free(last->card->device, last->kind, last->block.address);
		pool_remove(&last->card->pools[last->kind], &last->block);
		free(last);
	}
}

/* --- a model, run by workers ----------------------------------------------------------------- */

/* Tensors are divided over the cards, the layers of a card over its workers. */
static void load_tensor(struct worker *w, unsigned layer, unsigned kib)
{
	if (kib && layer % w->ranks == w->rank)
		take_each(w, TTMEM_DRAM, (double)kib / options.n_devices, "weights");
}

static bool load_weights(struct worker *w)
{
	const struct model *m = options.model;

	load_tensor(w, 0, m->embedding);
	for (unsigned layer = 0; layer < m->layers; layer++) {
		load_tensor(w, layer, m->qkv);
		load_tensor(w, layer, m->output);
		for (unsigned part = 0; part < MLP_PARTS; part++)
			load_tensor(w, layer, m->mlp);
		if (!pass_time(options.load_ms))
			return false;
	}
	load_tensor(w, m->layers - 1, m->head);
	return true;
}

/* Programs are compiled and the decode step is recorded before the first token. */
static void warm_up(struct worker *w)
{
	for (unsigned program = 0; program < PROGRAMS; program++)
		take_each(w, TTMEM_KERNEL, (double)PROGRAM_KIB / w->ranks, "kernel");
	take_each(w, TTMEM_L1_SMALL, (double)L1_SMALL_KIB / w->ranks, "l1_small");
	take_each(w, TTMEM_TRACE, (double)options.model->trace / w->ranks, "trace");
}

/* One operation of a step: its buffers in L1 are there only as long as it runs. */
static bool run_operation(struct worker *w, uint64_t ms)
{
	const uint64_t depth = w->depth;

	for (unsigned i = 0; i < BUFFERS_PER_OP; i++) {
		double part = (double)draw(&w->random, 50, 100) / 100 / w->ranks;

		take_each(w, TTMEM_CB, options.model->cb * part, "cb");
		take_each(w, TTMEM_L1, options.model->activation * part, "activations");
	}
	bool go_on = pass_time(ms);
	release(w, depth);
	return go_on;
}

static bool run_step(struct worker *w)
{
	if (options.steps && w->steps++ == options.steps)
		return false;
	return run_operation(w, options.step_ms / 2) &&
	       run_operation(w, options.step_ms - options.step_ms / 2);
}

/* Decodes until the sequence is as long as it gets, or the device is full. A model without a cache
 * never ends one. False when it is time to stop. */
static bool decode_sequence(struct worker *w)
{
	const uint64_t empty = w->depth;
	const uint64_t most = options.model->kv_pages;
	const uint64_t length = draw(&w->random, (most + 1) / 2, most);
	const double page_kib = (double)options.model->kv_page / options.n_devices / w->ranks;
	uint64_t pages = 0;

	/* A step before the first page: on a device that is full already this must not spin. */
	do {
		if (!run_step(w))
			return false;
	} while (!most || (pages++ < length && take_each(w, TTMEM_DRAM, page_kib, "kv_cache")));
	say("device %u: sequence ended after %" PRIu64 " pages, KV cache freed",
	    cards[w->first].device, pages - 1);
	release(w, empty);
	return true;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	const unsigned device = cards[w->first].device;

	if (load_weights(w)) {
		warm_up(w);
		say("device %u: %" PRIu64 " buffers loaded, %" PRIu64 " did not fit, decoding",
		    device, w->depth, w->failures);
		while (decode_sequence(w))
			;
	}
	if (!options.leak)
		release(w, 0);
	return NULL;
}

/* --- the process --------------------------------------------------------------------------- */

static void declare_card(struct card *card, unsigned index)
{
	char pci[16];
	const struct ttmem_device device = {
		.size = sizeof(device),
		.asic_id = scramble(index),
		.dram_total = DRAM_BANKS * DRAM_BANK,
		.l1_total = (uint64_t)L1_BANKS * L1_BANK,
		.pci = pci,
		.arch = "wormhole_b0",
		.board = "n300",
	};

	card->device = index;
	for (int kind = 0; kind < TTMEM_KINDS; kind++)
		pool_init(&card->pools[kind], regions[kind].base, regions[kind].limit);
	snprintf(pci, sizeof(pci), "0000:%02x:00.0", index + 1);
	int error = ttmem_declare_device(index, &device);
	if (error)
		errx(EXIT_FAILURE, "device %u: %s", index, strerror(-error));
}

static void start_worker(struct worker *w, unsigned index)
{
	const unsigned n = (unsigned)options.n_workers;

	w->first = index % options.n_devices;
	w->stride = n;
	w->rank = index / options.n_devices;
	w->ranks = (n - w->first + options.n_devices - 1) / options.n_devices;
	w->random = scramble(options.seed + scramble(index));
	int error = pthread_create(&w->thread, NULL, work, w);
	if (error)
		errx(EXIT_FAILURE, "thread %u: %s", index, strerror(error));
}

/* The library must agree that everything is freed: a simulator is also a test of it. */
static int settle(void)
{
	struct ttmem_errors e = {0};
	struct ttmem_totals totals;
	uint64_t live = 0;

	for (int kind = 0; kind < TTMEM_KINDS; kind++) {
		ttmem_get_totals(TTMEM_ALL_DEVICES, (enum ttmem_kind)kind, &totals);
		live += totals.live_bytes;
	}
	say("ended with %" PRIu64 " bytes allocated", live);
	ttmem_get_errors(&e);
	if (e.unknown_frees || e.size_mismatches || e.bad_arguments || e.reentered || e.untracked)
		errx(EXIT_FAILURE, "libttmem could not record every call");
	if (live && !options.leak)
		errx(EXIT_FAILURE, "libttmem counts %" PRIu64 " bytes after the last free", live);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct worker workers[MAX_WORKERS];

	parse_options(argc, argv);
	setlinebuf(stdout);
	prctl(PR_SET_NAME, options.model->name);
	catch_stop_signals();

	int error = ttmem_start();
	if (error)
		errx(EXIT_FAILURE, "tracking cannot be started: %s", strerror(-error));
	for (unsigned i = 0; i < options.n_devices; i++)
		declare_card(&cards[i], options.devices[i]);
	say("loading %u layers on %u device(s) with %" PRIu64 " thread(s)", options.model->layers,
	    options.n_devices, options.n_workers);
	for (unsigned i = 0; i < options.n_workers; i++)
		start_worker(&workers[i], i);
	for (unsigned i = 0; i < options.n_workers; i++)
		pthread_join(workers[i].thread, NULL);
	return settle();
}
