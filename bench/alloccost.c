/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pair of ttmem_free() and ttmem_alloc() costs in steady state, against two bare atomic
 * adds. Both are measured in alternating slices, so that a clock that changes its rate, or a
 * neighbour that comes and goes, changes both.
 *
 *   -l N    live buffers in all (1000)         -t N    threads (1)
 *   -i      interleave the threads' addresses; otherwise each has a range of its own
 *   -m      allocate another address than the one just freed
 *   -g TAG  allocate with this tag             -s N    slices (40)
 *   -H      free by handle                     -r      free in no order, not the oldest first
 *   -b      free all of them, the newest first, and allocate all again, in each slice
 */
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "measure.h"
#include "ttmem.h"
#include "window.h"

#define MAX_THREADS 64
#define PAIRS       20000 /* in a slice: some milliseconds, far above what the clock costs */
#define ADDS        100000

struct setup {
	size_t live;
	size_t threads;
	size_t slices;
	bool interleaved;
	bool moving;
	bool handles;
	bool anyhow;
	bool backwards;
	const char *tag;
};

struct worker {
	const struct setup *setup;
	pthread_barrier_t *together;
	size_t number;
	struct window window;
	uint64_t random;
	double *pair_ns; /* one for each slice */
	double *adds_ns;
	uint64_t words[2] __attribute__((aligned(64))); /* no other thread's on their line */
};

static struct setup parse(int argc, char **argv)
{
	struct setup s = {.live = 1000, .threads = 1, .slices = 40};

	for (int option; (option = getopt(argc, argv, "l:t:s:g:imHrb")) != -1;) {
		switch (option) {
		case 'l':
			s.live = must_parse(optarg);
			break;
		case 't':
			s.threads = must_parse(optarg);
			break;
		case 's':
			s.slices = must_parse(optarg);
			break;
		case 'g':
			s.tag = optarg;
			break;
		case 'i':
			s.interleaved = true;
			break;
		case 'm':
			s.moving = true;
			break;
		case 'r':
			s.anyhow = true;
			break;
		case 'b':
			s.backwards = true;
			break;
		case 'H':
			s.handles = true;
			break;
		default:
			exit(2);
		}
	}
	if (!s.threads || s.threads > MAX_THREADS || !s.slices || s.live < s.threads ||
	    ((s.anyhow || s.backwards) && (s.moving || s.handles)))
		GIVE_UP(2, "these numbers make no sense");
	return s;
}

/* The window moves over an eighth more addresses than are live, so that "another address" is
 * nearly always one that was freed long ago. */
static void lay_out(struct worker *w)
{
	const struct setup *s = w->setup;
	size_t live = s->live / s->threads;
	size_t ring_size = s->moving ? live + live / 8 + 1 : live;

	w->window.live = live;
	w->window.ring_size = ring_size;
	w->window.tag = s->tag;
	w->window.handles = s->handles ? must_alloc(ring_size, sizeof(ttmem_handle)) : NULL;
	w->window.step = BUFFER_BYTES * (s->interleaved ? s->threads : 1);
	w->window.first = BUFFER_BYTES * w->number * (s->interleaved ? 1 : ring_size);
	w->random = w->number + 1;
	window_init(&w->window, w->number + 1);
	w->pair_ns = must_alloc(s->slices, sizeof(double));
	w->adds_ns = must_alloc(s->slices, sizeof(double));
}

static void add_twice(uint64_t *words, size_t times)
{
	for (size_t i = 0; i < times; i++) {
		__atomic_fetch_add(&words[0], 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&words[1], 1, __ATOMIC_RELAXED);
	}
}

static void churn(struct worker *w, size_t pairs)
{
	if (w->setup->backwards)
		window_clear_and_fill(&w->window);
	else if (w->setup->anyhow)
		window_churn_anyhow(&w->window, pairs, &w->random);
	else
		window_churn(&w->window, pairs);
}

static void measure_slice(struct worker *w, size_t slice)
{
	size_t pairs = w->setup->backwards ? w->window.live : PAIRS;
	uint64_t start;

	pthread_barrier_wait(w->together);
	start = now_ns();
	churn(w, pairs);
	w->pair_ns[slice] = (double)(now_ns() - start) / (double)pairs;

	pthread_barrier_wait(w->together);
	start = now_ns();
	add_twice(w->words, ADDS);
	w->adds_ns[slice] = (double)(now_ns() - start) / ADDS;
}

static void *work(void *argument)
{
	struct worker *w = argument;

	if (w->setup->threads > 1 && pin_to_nth_cpu((unsigned)w->number))
		GIVE_UP(EXIT_SKIPPED, "fewer CPUs than threads");
	window_fill(&w->window, w->number + 1000);
	/* Until each buffer has been freed once: from then on nothing changes any more. */
	churn(w, w->window.live);
	measure_slice(w, 0); /* warms up, and is overwritten */
	for (size_t slice = 0; slice < w->setup->slices; slice++)
		measure_slice(w, slice);
	return NULL;
}

static void run_together(struct worker *workers, size_t threads)
{
	pthread_t ids[MAX_THREADS];

	for (size_t i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, work, &workers[i]))
			GIVE_UP(EXIT_FAILURE, "cannot start a thread");
	for (size_t i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
}

/* A library that lost track is fast and worthless. */
static void check_sums(const struct setup *s)
{
	uint64_t expected = s->live / s->threads * s->threads;
	struct ttmem_totals totals;
	struct ttmem_errors errors, none = {0};

	if (ttmem_get_totals(0, TTMEM_DRAM, &totals) || ttmem_get_errors(&errors))
		GIVE_UP(EXIT_FAILURE, "tracking went off");
	if (totals.live_buffers != expected || totals.live_bytes != expected * BUFFER_BYTES)
		GIVE_UP(EXIT_FAILURE, "%llu buffers live, %llu expected",
			(unsigned long long)totals.live_buffers, (unsigned long long)expected);
	if (memcmp(&errors, &none, sizeof(none)))
		GIVE_UP(EXIT_FAILURE, "the library counted errors");
}

static double mean_over_workers(const double *values, size_t threads)
{
	double sum = 0;

	for (size_t i = 0; i < threads; i++)
		sum += values[i];
	return sum / (double)threads;
}

static void print_result(struct worker *workers, const struct setup *s)
{
	double *pair = must_alloc(s->slices, sizeof(double));
	double *adds = must_alloc(s->slices, sizeof(double));
	double *ratio = must_alloc(s->slices, sizeof(double));
	double values[MAX_THREADS];

	for (size_t slice = 0; slice < s->slices; slice++) {
		for (size_t i = 0; i < s->threads; i++)
			values[i] = workers[i].pair_ns[slice];
		pair[slice] = mean_over_workers(values, s->threads);
		for (size_t i = 0; i < s->threads; i++)
			values[i] = workers[i].adds_ns[slice];
		adds[slice] = mean_over_workers(values, s->threads);
		ratio[slice] = pair[slice] / adds[slice];
	}
	printf("{\"pair_ns\": %.3f, \"pair_p90_ns\": %.3f, \"adds_ns\": %.3f, \"ratio\": %.3f}\n",
	       median(pair, s->slices), percentile(pair, s->slices, 90), median(adds, s->slices),
	       median(ratio, s->slices));
	free(pair);
	free(adds);
	free(ratio);
}

int main(int argc, char **argv)
{
	struct setup s = parse(argc, argv);
	static struct worker workers[MAX_THREADS];
	pthread_barrier_t together;
	int failed = ttmem_start();

	if (failed)
		GIVE_UP(EXIT_FAILURE, "ttmem_start: %s", strerror(-failed));
	pthread_barrier_init(&together, NULL, (unsigned)s.threads);
	for (size_t i = 0; i < s.threads; i++) {
		workers[i].setup = &s;
		workers[i].together = &together;
		workers[i].number = i;
		lay_out(&workers[i]);
	}
	run_together(workers, s.threads);
	check_sums(&s);
	print_result(workers, &s);
	for (size_t i = 0; i < s.threads; i++) {
		window_fini(&workers[i].window);
		free(workers[i].pair_ns);
		free(workers[i].adds_ns);
	}
	pthread_barrier_destroy(&together);
	return 0;
}
