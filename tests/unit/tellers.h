/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real model with a source of each rank, of which each says what the test wants: `tells` that a
 * process has so much on a device. The clock stands still; nobody watches for ends.
 */
#ifndef TESTS_UNIT_TELLERS_H
#define TESTS_UNIT_TELLERS_H

#include "model.h"
#include "unit.h"

/* What one source says of a process on a device; owned by the tellers. */
struct word {
	struct amount amounts[KIND_COUNT];
	uint64_t peaks[KIND_COUNT];
};

struct teller {
	struct source source;
	struct tellers *all;
	uint64_t peaks[KIND_COUNT]; /* of every process, over its devices */
};

struct tellers {
	struct model model;
	struct teller tellers[SOURCE_COUNT];
	GPtrArray *words;
};

static uint64_t tellers_now_ns = 1700000000123456789u;

static inline uint64_t tellers_clock(void)
{
	return tellers_now_ns;
}

static inline void teller_sync(struct source *source, const struct scope *only)
{
	(void)source;
	(void)only;
}

static inline void teller_ended(struct source *source, struct process *process)
{
	model_leave(&((struct teller *)source)->all->model, source, process);
}

static inline void teller_read(struct source *source, struct holding *const *holdings, size_t count,
			       unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	for (size_t i = 0; i < count; i++) {
		const struct word *word = holdings[i]->source_data;

		assert_ptr_equal(holdings[i]->source, source);
		assert_ptr_equal(holdings[i]->claims[source->rank].data, word);
		for (int kind = 0; kind < KIND_COUNT; kind++)
			if (kinds >> kind & 1 && source->rank != SOURCE_KMD)
				amount_add(&amounts[kind], &word->amounts[kind]);
	}
}

static inline uint64_t teller_holding_peak(struct source *source, const struct holding *holding,
					   enum kind kind)
{
	const struct word *word = holding->claims[source->rank].data;

	return word->peaks[kind];
}

static inline uint64_t teller_peak(struct source *source, const struct process *process,
				   enum kind kind)
{
	assert_non_null(process->joined[source->rank]);
	return ((struct teller *)source)->peaks[kind];
}

static const struct source_ops teller_ops = {
	.sync = teller_sync,
	.ended = teller_ended,
	.read = teller_read,
	.holding_peak = teller_holding_peak,
	.peak = teller_peak,
};

static const struct source_ops driver_ops = {
	.sync = teller_sync,
	.ended = teller_ended,
	.read = teller_read,
};

static inline int tellers_setup(void **state)
{
	static const char *const names[] = {"native", "tt-metal", "alloc-server", "kmd"};
	struct tellers *tellers = g_new0(struct tellers, 1);

	model_init(&tellers->model);
	tellers->model.now_ns = tellers->model.spent_ns = tellers_clock;
	tellers->model.proc = "/nonexistent";
	tellers->words = g_ptr_array_new_with_free_func(g_free);
	for (int rank = 0; rank < SOURCE_COUNT; rank++) {
		tellers->tellers[rank].all = tellers;
		tellers->tellers[rank].source = (struct source){
			.name = names[rank],
			.ops = rank == SOURCE_KMD ? &driver_ops : &teller_ops,
			.rank = (enum source_rank)rank,
			.state = SOURCE_UP,
		};
		model_add_source(&tellers->model, &tellers->tellers[rank].source);
	}
	*state = tellers;
	return 0;
}

static inline int tellers_teardown(void **state)
{
	struct tellers *tellers = *state;

	model_fini(&tellers->model);
	g_ptr_array_free(tellers->words, TRUE);
	g_free(tellers);
	return 0;
}

#define TELLERS_TEST(name) cmocka_unit_test_setup_teardown(name, tellers_setup, tellers_teardown)

static inline struct source *source_of(struct tellers *tellers, int rank)
{
	return &tellers->tellers[rank].source;
}

static inline struct device *driver_lists(struct tellers *tellers, uint32_t number,
					  uint64_t asic_id, const char *pci)
{
	struct identity identity = {.index = number, .asic_id = asic_id};

	g_strlcpy(identity.pci, pci, sizeof identity.pci);
	return model_device_of_driver(&tellers->model, source_of(tellers, SOURCE_KMD), &identity);
}

static inline struct device *names(struct tellers *tellers, int rank, struct identity identity)
{
	return model_device_get(&tellers->model, source_of(tellers, rank), &identity, 1000);
}

/* The process, which the source joins if it has not. */
static inline struct process *joins(struct tellers *tellers, int rank, pid_t pid)
{
	struct process *process = model_process_by_pid(&tellers->model, pid);

	if (process && process->joined[rank])
		return process;
	return model_join(&tellers->model, source_of(tellers, rank), source_of(tellers, rank), pid,
			  1000, 100, 1);
}

/* The source says that the process has so much DRAM, all that it has ever allocated, and that it
 * has had as much as `peak`. */
static inline struct word *tells_peak(struct tellers *tellers, int rank, pid_t pid,
				      struct device *device, uint64_t bytes, uint64_t peak)
{
	struct process *process = joins(tellers, rank, pid);
	struct word *word = g_new0(struct word, 1);

	g_ptr_array_add(tellers->words, word);
	word->amounts[TTMEM_DRAM] = (struct amount){bytes, 1, bytes, 1, 0};
	word->peaks[TTMEM_DRAM] = peak;
	model_hold(&tellers->model, source_of(tellers, rank), process, device, word,
		   DEVICE_NO_INDEX);
	return word;
}

static inline struct word *tells(struct tellers *tellers, int rank, pid_t pid,
				 struct device *device, uint64_t bytes)
{
	return tells_peak(tellers, rank, pid, device, bytes, bytes);
}

static inline void leaves(struct tellers *tellers, int rank, pid_t pid)
{
	model_leave(&tellers->model, source_of(tellers, rank),
		    model_process_by_pid(&tellers->model, pid));
}

static inline struct amount dram_of(struct device *device)
{
	struct amount amounts[KIND_COUNT];

	device_read(device, 1u << TTMEM_DRAM, amounts);
	return amounts[TTMEM_DRAM];
}

static inline uint64_t dram_of_process(const struct process *process)
{
	struct amount amounts[KIND_COUNT];

	process_read(process, 1u << TTMEM_DRAM, amounts);
	return amounts[TTMEM_DRAM].used_bytes;
}

#endif
