/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live buffers of one thread: a window that moves along a ring of addresses in pseudo-random
 * order. Each step frees the address at the window's tail and allocates the one at its head; where
 * the ring is no longer than the window, these two are the same address. So buffers are freed in
 * the order in which they were allocated, as in most programs.
 *
 * The buffers are filled in in another order than they leave: otherwise the library would walk its
 * records from one end to the other, and the hardware would fetch them in time.
 */
#ifndef TTMEM_BENCH_WINDOW_H
#define TTMEM_BENCH_WINDOW_H

#include "measure.h"
#include "ttmem.h"

#define BUFFER_BYTES 4096

struct window {
	uint32_t *ring; /* indices of addresses; the window's own */
	size_t ring_size;
	size_t live;
	size_t tail;
	size_t head;
	uint64_t first; /* address of index 0 */
	uint64_t step;  /* from one index to the next */
	const char *tag;
	ttmem_handle *handles; /* of the places on the ring; NULL: free by address */
};

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void shuffle(uint32_t *values, size_t count, uint64_t seed)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15u | 1;

	for (size_t i = count; i > 1; i--) {
		size_t j = next_random(&state) % i;
		uint32_t swapped = values[i - 1];

		values[i - 1] = values[j];
		values[j] = swapped;
	}
}

/* `w` has live, ring_size, first, step and tag set already. */
static inline void window_init(struct window *w, uint64_t seed)
{
	w->ring = must_alloc(w->ring_size, sizeof(*w->ring));
	for (size_t i = 0; i < w->ring_size; i++)
		w->ring[i] = (uint32_t)i;
	shuffle(w->ring, w->ring_size, seed);
	w->tail = 0;
	w->head = w->live % w->ring_size;
}

static inline void window_fini(struct window *w)
{
	free(w->ring);
	free(w->handles);
}

static inline uint64_t window_address(const struct window *w, size_t place)
{
	return w->first + w->ring[place] * w->step;
}

static inline void window_alloc(const struct window *w, size_t place)
{
	uint64_t address = window_address(w, place);

	if (w->handles)
		w->handles[place] =
			ttmem_alloc_handle(0, TTMEM_DRAM, address, BUFFER_BYTES, w->tag);
	else
		ttmem_alloc(0, TTMEM_DRAM, address, BUFFER_BYTES, w->tag);
}

static inline void window_free(const struct window *w, size_t place)
{
	if (w->handles)
		ttmem_free_handle(w->handles[place]);
	else
		ttmem_free(0, TTMEM_DRAM, window_address(w, place));
}

static inline void window_fill(const struct window *w, uint64_t seed)
{
	uint32_t *places = must_alloc(w->live, sizeof(*places));

	for (size_t i = 0; i < w->live; i++)
		places[i] = (uint32_t)i;
	shuffle(places, w->live, seed);
	for (size_t i = 0; i < w->live; i++)
		window_alloc(w, places[i]);
	free(places);
}

static inline size_t window_next(const struct window *w, size_t place)
{
	return place + 1 == w->ring_size ? 0 : place + 1;
}

/* The loop keeps what it knows in registers: it is not what is measured. */
static inline void window_churn(struct window *w, size_t pairs)
{
	struct window now = *w;

	for (size_t i = 0; i < pairs; i++) {
		window_free(&now, now.tail);
		window_alloc(&now, now.head);
		now.tail = window_next(&now, now.tail);
		now.head = window_next(&now, now.head);
	}
	*w = now;
}

/* Frees all of a window that has not moved, the newest first, and allocates all again. */
static inline void window_clear_and_fill(const struct window *w)
{
	for (size_t place = w->live; place-- > 0;)
		window_free(w, place);
	for (size_t place = 0; place < w->live; place++)
		window_alloc(w, place);
}

/* In no order at all: frees some buffer, and allocates at its address. */
static inline void window_churn_anyhow(const struct window *w, size_t pairs, uint64_t *random)
{
	for (size_t i = 0; i < pairs; i++) {
		uint64_t index = (next_random(random) >> 32) * w->live >> 32;
		uint64_t address = w->first + index * w->step;

		ttmem_free(0, TTMEM_DRAM, address);
		ttmem_alloc(0, TTMEM_DRAM, address, BUFFER_BYTES, w->tag);
	}
}

#endif
