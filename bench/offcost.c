/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the calls cost when tracking is off: a pair of them against an empty loop, in alternating
 * slices. Run it with TTMEM=0.
 *
 *   -s N    slices (200)
 */
#include <unistd.h>

#include "measure.h"
#include "ttmem.h"

#define PAIRS 200000

static __attribute__((noinline)) void call_pairs(void)
{
	for (uint64_t i = 0; i < PAIRS; i++) {
		ttmem_alloc(0, TTMEM_DRAM, i, 4096, NULL);
		KEEP_LOOP();
		ttmem_free(0, TTMEM_DRAM, i);
		KEEP_LOOP();
	}
}

static __attribute__((noinline)) void call_nothing(void)
{
	for (uint64_t i = 0; i < PAIRS; i++) {
		KEEP_LOOP();
		KEEP_LOOP();
	}
}

static double time_per_turn(void (*loop)(void))
{
	uint64_t start = now_ns();

	loop();
	return (double)(now_ns() - start) / PAIRS;
}

static size_t parse_slices(int argc, char **argv)
{
	size_t slices = 200;

	for (int option; (option = getopt(argc, argv, "s:")) != -1;) {
		if (option != 's')
			exit(2);
		slices = must_parse(optarg);
	}
	return slices ? slices : 1;
}

/* The first call reads the environment, and only after it the gate says off. */
static void check_off(void)
{
	struct ttmem_totals totals;

	ttmem_alloc(0, TTMEM_DRAM, 1, 4096, NULL);
	if (ttmem_get_totals(0, TTMEM_DRAM, &totals) != -ENOTCONN)
		GIVE_UP(EXIT_FAILURE, "tracking is on");
}

int main(int argc, char **argv)
{
	size_t slices = parse_slices(argc, argv);
	double *pair = must_alloc(slices, sizeof(double));
	double *empty = must_alloc(slices, sizeof(double));
	double *added = must_alloc(slices, sizeof(double));

	check_off();
	for (size_t i = 0; i < slices; i++) {
		pair[i] = time_per_turn(call_pairs);
		empty[i] = time_per_turn(call_nothing);
		added[i] = pair[i] - empty[i];
	}
	printf("{\"pair_ns\": %.4f, \"empty_ns\": %.4f, \"added_ns\": %.4f}\n",
	       median(pair, slices), median(empty, slices), median(added, slices));
	free(pair);
	free(empty);
	free(added);
	return 0;
}
