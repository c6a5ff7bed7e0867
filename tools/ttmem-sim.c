/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttmem-sim: a process that does to device memory what a model does, with no device.
 *
 * It loads weights layer by layer, then decodes, growing a KV cache until the sequence ends.
 * Addresses come from a first-fit allocator per device and kind, so they are unique, get reused,
 * and run out. It tells what it holds as an ordinary client of libttmem or in a foreign format.
 */
#include "sim/cards.h"
#include "sim/options.h"
#include "sim/pool.h"
#include "sim/report.h"
#include "sim/tree.h"
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
#define BANK_ALIGN 32

static const struct reporter *reporter;

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

static uint64_t draw(uint64_t *random, uint64_t from, uint64_t to)
{
	return from + scramble((*random)++) % (to - from + 1);
}

/* --- device memory ------------------------------------------------------------------------- */

/* Where each kind lives, in every bank of its memory. An address is of one kind only, because the
 * allocation server's protocol has one name space for all. */
static struct zone {
	uint64_t base, limit;
	unsigned banks;
} zones[TTMEM_KINDS];

static void lay_out_zones(const struct board *b)
{
	const uint64_t trace = b->dram_bank - 32 * 1024 * KIB, small = b->l1_bank - 32 * KIB;

	zones[TTMEM_DRAM] = (struct zone){2 * 1024 * KIB, trace, b->dram_banks};
	zones[TTMEM_TRACE] = (struct zone){trace, b->dram_bank, b->dram_banks};
	zones[TTMEM_KERNEL] = (struct zone){16 * KIB, 104 * KIB, b->cores};
	zones[TTMEM_CB] = (struct zone){104 * KIB, 640 * KIB, b->cores};
	zones[TTMEM_L1] = (struct zone){640 * KIB, small, b->cores};
	zones[TTMEM_L1_SMALL] = (struct zone){small, b->l1_bank, b->cores};
}

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
	const unsigned banks = zones[kind].banks;
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
		reporter->failed(card->device, kind, bytes, largest);
		w->failures++;
		free(buffer);
		return false;
	}
	reporter->alloc(card->device, kind, buffer->block.address, bytes, tag);
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
		reporter->free(last->card->device, last->kind, last->block.address,
			       last->block.size * zones[last->kind].banks);
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
	if (go_on || !options.leak)
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

static void set_up_card(struct card *card, unsigned device)
{
	card->device = device;
	for (int kind = 0; kind < TTMEM_KINDS; kind++)
		pool_init(&card->pools[kind], zones[kind].base, zones[kind].limit);
	reporter->declare(device);
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

/* The device files are closed: also when the process ends because of an error. */
static void let_go(void)
{
	static bool done;

	if (!done)
		tree_leave(options.hold, options.devices, options.n_devices);
	done = true;
}

static void hold_devices(void)
{
	tree_hold(options.hold, options.devices, options.n_devices);
	atexit(let_go);
}

static void begin(void)
{
	static const struct reporter *const reporters[] = {
		[AS_NATIVE] = &report_native,
		[AS_METAL] = &report_metal,
		[AS_SERVER] = &report_server,
	};

	reporter = reporters[options.as];
	lay_out_zones(options.board);
	if (options.hold)
		hold_devices();
	reporter->start();
	for (unsigned i = 0; i < options.n_devices; i++)
		set_up_card(&cards[i], options.devices[i]);
}

static void end(void)
{
	const uint64_t live = reporter->settle();

	say("ended with %" PRIu64 " bytes allocated", live);
	if (live && !options.leak)
		errx(EXIT_FAILURE, "%" PRIu64 " bytes are counted after the last free", live);
	if (options.hold)
		let_go();
	reporter->end();
}

int main(int argc, char **argv)
{
	static struct worker workers[MAX_WORKERS];

	parse_options(argc, argv);
	setlinebuf(stdout);
	prctl(PR_SET_NAME, options.model->name);
	catch_stop_signals();
	begin();
	say("loading %u layers on %u device(s) with %" PRIu64 " thread(s)", options.model->layers,
	    options.n_devices, options.n_workers);
	for (unsigned i = 0; i < options.n_workers; i++)
		start_worker(&workers[i], i);
	for (unsigned i = 0; i < options.n_workers; i++)
		pthread_join(workers[i].thread, NULL);
	end();
	return EXIT_SUCCESS;
}
