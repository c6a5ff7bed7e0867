/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that do the same work together, and stand still together when a test wants to look. */
#ifndef TESTS_UNIT_CREW_H
#define TESTS_UNIT_CREW_H

#include "isolated.h"
#include <pthread.h>

#define CREW_MAX 128

/* In the test's memory, for as long as the crew works. */
struct crew {
	void (*work)(struct crew *crew, unsigned int number);
	unsigned int size;
	pthread_barrier_t all;  /* the threads */
	pthread_barrier_t look; /* the threads and the test */
	pthread_t threads[CREW_MAX];
	unsigned int begun;
};

static inline void *crew_thread(void *arg)
{
	struct crew *crew = arg;

	crew->work(crew, __atomic_fetch_add(&crew->begun, 1, __ATOMIC_RELAXED));
	return NULL;
}

static inline void crew_begin(struct crew *crew, unsigned int size,
			      void (*work)(struct crew *crew, unsigned int number))
{
	assert_true(size <= CREW_MAX);
	crew->work = work;
	crew->size = size;
	crew->begun = 0;
	pthread_barrier_init(&crew->all, NULL, size);
	pthread_barrier_init(&crew->look, NULL, size + 1);
	for (unsigned int i = 0; i < size; i++)
		assert_int_equal(pthread_create(&crew->threads[i], NULL, crew_thread, crew), 0);
}

static inline void crew_end(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->size; i++)
		assert_int_equal(pthread_join(crew->threads[i], NULL), 0);
	pthread_barrier_destroy(&crew->all);
	pthread_barrier_destroy(&crew->look);
}

static inline void crew_run(struct crew *crew, unsigned int size,
			    void (*work)(struct crew *crew, unsigned int number))
{
	crew_begin(crew, size, work);
	crew_end(crew);
}

/* Among the threads alone. */
static inline void crew_meet(struct crew *crew)
{
	pthread_barrier_wait(&crew->all);
}

/* The threads call this, and the test does: all stand still until the test calls it again. */
static inline void crew_pause(struct crew *crew)
{
	pthread_barrier_wait(&crew->look);
	pthread_barrier_wait(&crew->look);
}

/* The test's half: the threads stand still between the two. */
static inline void crew_halt(struct crew *crew)
{
	pthread_barrier_wait(&crew->look);
}

static inline void crew_resume(struct crew *crew)
{
	pthread_barrier_wait(&crew->look);
}

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
