/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first-fit allocator for the addresses of a device that is not there. As on a real one, a
 * buffer is spread over all banks of its memory, at one address that counts bytes of a bank.
 */
#ifndef TTMEM_SIM_POOL_H
#define TTMEM_SIM_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct block {
	LIST_ENTRY(block) by_address;
	uint64_t address;
	uint64_t size; /* in each bank */
};

/* The blocks belong to the caller, and stay where they are until pool_remove(). */
struct pool {
	pthread_mutex_t lock; /* guards the list */
	LIST_HEAD(, block) live;
	uint64_t base, limit;
};

static inline void pool_init(struct pool *pool, uint64_t base, uint64_t limit)
{
	pthread_mutex_init(&pool->lock, NULL);
	LIST_INIT(&pool->live);
	pool->base = base;
	pool->limit = limit;
}

static inline void pool__link(struct pool *pool, struct block *before, struct block *block)
{
	if (before)
		LIST_INSERT_AFTER(before, block, by_address);
	else
		LIST_INSERT_HEAD(&pool->live, block, by_address);
}

/* Returns whether there is a gap of block->size, and then sets block->address. Otherwise *largest
 * is the largest gap there is. */
static inline bool pool_place(struct pool *pool, struct block *block, uint64_t *largest)
{
	struct block *before = NULL, *after;
	bool placed = false;

	*largest = 0;
	block->address = pool->base;
	pthread_mutex_lock(&pool->lock);
	after = LIST_FIRST(&pool->live);
	for (;;) {
		uint64_t gap = (after ? after->address : pool->limit) - block->address;

		placed = gap >= block->size;
		*largest = gap > *largest ? gap : *largest;
		if (placed || !after)
			break;
		block->address = after->address + after->size;
		before = after;
		after = LIST_NEXT(after, by_address);
	}
	if (placed)
		pool__link(pool, before, block);
	pthread_mutex_unlock(&pool->lock);
	return placed;
}

static inline void pool_remove(struct pool *pool, struct block *block)
{
	pthread_mutex_lock(&pool->lock);
	LIST_REMOVE(block, by_address);
	pthread_mutex_unlock(&pool->lock);
}

#endif
