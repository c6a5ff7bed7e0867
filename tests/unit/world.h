/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model to play with: its clock stands still, its /proc is empty, its daemon belongs to user 500,
 * and its source says what the test wants.
 */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include "model.h"
#include "unit.h"

#define WORLD_OWNER 500u
#define WORLD_NOW   1700000000123456789ull

/* What a process has, by its own device index. */
struct fake {
	struct amount amounts[64][KIND_COUNT];
	uint64_t holding_peaks[64][KIND_COUNT];
	uint64_t peaks[KIND_COUNT];
	struct failure failures[64][KIND_COUNT];
	struct recording_errors errors;
	const struct buffer *buffers;
	size_t buffer_count;
};

struct world {
	struct model model;
	struct source source;
	GPtrArray *fakes;
	void (*on_sync)(struct world *world); /* NULL: nothing happens */
	unsigned int looks;                   /* at processes, as far as somebody asked for them */
	unsigned int reads;                   /* calls of the source's read()... */
	uint64_t holdings_read;               /* ...how many it was asked for in all... */
	uint64_t read_takes_ns;               /* ...and how long each takes, by the clock here */
};

static uint64_t world_now_ns = WORLD_NOW;

static inline uint64_t world_clock(void)
{
	return world_now_ns;
}

static inline struct world *world_of(struct source *source)
{
	return (struct world *)((char *)source - offsetof(struct world, source));
}

static inline struct fake *fake_of(const struct process *process)
{
	return process->joined[SOURCE_NATIVE];
}

static inline void world_sync(struct source *source, const struct scope *only)
{
	struct world *world = world_of(source);

	if (only && model_process(&world->model, only->serial))
		world->looks++;
	else if (!only || !only->is_list)
		world->looks += world->fakes->len;
	if (world->on_sync)
		world->on_sync(world);
}

static inline void world_read(struct source *source, struct holding *const *holdings, size_t count,
			      unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	world_of(source)->reads++;
	world_of(source)->holdings_read += count;
	world_now_ns += count * world_of(source)->read_takes_ns;
	for (size_t i = 0; i < count; i++) {
		struct fake *fake = holdings[i]->source_data;

		for (int slot = 0; slot < 64; slot++)
			for (int kind = 0; kind < KIND_COUNT; kind++)
				if (holdings[i]->slots >> slot & 1 && kinds >> kind & 1)
					amount_add(&amounts[kind], &fake->amounts[slot][kind]);
	}
}

static inline uint64_t world_holding_peak(struct source *source, const struct holding *holding,
					  enum kind kind)
{
	(void)source;
	return fake_of(holding->process)->holding_peaks[__builtin_ctzll(holding->slots)][kind];
}

static inline uint64_t world_peak(struct source *source, const struct process *process,
				  enum kind kind)
{
	(void)source;
	return fake_of(process)->peaks[kind];
}

static inline void world_errors(struct source *source, const struct process *process,
				struct recording_errors *errors)
{
	(void)source;
	*errors = fake_of(process)->errors;
}

static inline uint64_t world_estimate(struct source *source, const struct process *process)
{
	(void)source;
	return fake_of(process)->buffer_count;
}

static inline size_t world_buffers(struct source *source, const struct process *process,
				   struct buffer_cursor *cursor, struct buffer *rows, size_t room)
{
	struct fake *fake = fake_of(process);
	size_t count = 0;

	(void)source;
	while (count < room && cursor->next < fake->buffer_count)
		rows[count++] = fake->buffers[cursor->next++];
	cursor->done = cursor->next == fake->buffer_count;
	return count;
}

static inline void world_failure(struct source *source, const struct holding *holding,
				 enum kind kind, struct failure *failure)
{
	(void)source;
	*failure = fake_of(holding->process)->failures[__builtin_ctzll(holding->slots)][kind];
}

static inline void world_ended(struct source *source, struct process *process)
{
	model_leave(&world_of(source)->model, source, process);
}

static const struct source_ops world_ops = {
	.sync = world_sync,
	.ended = world_ended,
	.read = world_read,
	.holding_peak = world_holding_peak,
	.peak = world_peak,
	.errors = world_errors,
	.buffer_estimate = world_estimate,
	.buffers = world_buffers,
	.failure = world_failure,
};

static inline int world_setup(void **state)
{
	struct world *world = g_new0(struct world, 1);

	world_now_ns = WORLD_NOW;
	model_init(&world->model);
	world->model.owner = WORLD_OWNER;
	world->model.now_ns = world->model.spent_ns = world_clock;
	world->model.started_ns = WORLD_NOW;
	world->model.proc = "/nonexistent";
	world->source = (struct source){.name = "fake", .ops = &world_ops, .state = SOURCE_UP};
	world->fakes = g_ptr_array_new_with_free_func(g_free);
	model_add_source(&world->model, &world->source);
	*state = world;
	return 0;
}

static inline int world_teardown(void **state)
{
	struct world *world = *state;

	model_fini(&world->model);
	g_ptr_array_free(world->fakes, TRUE);
	g_free(world);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

static inline struct process *world_process(struct world *world, pid_t pid, uid_t uid)
{
	struct fake *fake = g_new0(struct fake, 1);

	const struct process *before = model_process_by_pid(&world->model, pid);

	g_ptr_array_add(world->fakes, fake);
	return model_join(&world->model, &world->source, fake, pid, uid, 100,
			  before ? before->start_ticks + 1 : 1);
}

/* A device of this ASIC (0: not known), for a process that calls it `index`. */
static inline struct device *world_device(struct world *world, uint32_t index, uint64_t asic_id,
					  uid_t uid)
{
	const struct identity identity = {.index = index, .asic_id = asic_id};

	return model_device_get(&world->model, &world->source, &identity, uid);
}

/* The process says that it has something on the device, and calls it `index`. */
static inline void world_hold(struct world *world, struct process *process, struct device *device,
			      uint32_t index)
{
	model_hold(&world->model, &world->source, process, device, fake_of(process), index);
}

/* The process has let go of everything. */
static inline void world_leave(struct world *world, struct process *process)
{
	model_leave(&world->model, &world->source, process);
}

static inline void world_set(struct process *process, uint32_t index, int kind, uint64_t bytes,
			     uint64_t buffers)
{
	fake_of(process)->amounts[index][kind] = (struct amount){
		.used_bytes = bytes,
		.used_buffers = buffers,
		.allocated_bytes = bytes,
		.allocated_buffers = buffers,
	};
}

static inline uint64_t device_used(struct device *device, int kind)
{
	struct amount amounts[KIND_COUNT];

	device_read(device, 1u << kind, amounts);
	return amounts[kind].used_bytes;
}

static inline uint64_t process_used(const struct process *process, int kind)
{
	struct amount amounts[KIND_COUNT];

	process_read(process, 1u << kind, amounts);
	return amounts[kind].used_bytes;
}

#endif
