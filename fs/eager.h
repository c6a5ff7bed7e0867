/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether to keep trying for the next request for a moment after an answer, rather than sleep.
 *
 * Where reader and daemon run on two processors each wake-up across them costs 5 to 50 us, and a
 * reader's next request comes sooner than the daemon falls asleep: to keep trying halves a read.
 * Where they share one processor it only keeps the reader from it. Which of the two it is depends
 * on the machine, on the kernel, and on what else runs; so it is found out while requests come one
 * after the other, by doing either for some of them and comparing what the reader needs from answer
 * to request.
 */
#ifndef TTMEMD_EAGER_H
#define TTMEMD_EAGER_H

#include <stdbool.h>
#include <stdint.h>

#define EAGER_BLOCK 32 /* requests in a row that are handled in one way, and then judged */

enum eager_way { EAGER_SLEEP, EAGER_TRY, EAGER_WAYS };

struct eager {
	uint64_t budget_ns; /* how long to try; 0: never */
	uint64_t answered_ns;
	enum eager_way way;
	enum eager_way best;   /* as last found */
	unsigned int taken;    /* of the block */
	unsigned int patience; /* blocks until the other way is tried again */
	unsigned int patience_next;
	uint64_t hits, misses; /* of trying, for `status` */
	bool is_known[EAGER_WAYS];
	uint64_t cost_ns[EAGER_WAYS]; /* from answer to request, as last found */
	uint32_t samples_ns[EAGER_BLOCK];
};

void eager_init(struct eager *eager, uint64_t budget_us, unsigned int processors);

/* There is no request now: whether to keep trying, and until when (0: sleep). */
uint64_t eager_until(const struct eager *eager, uint64_t now_ns);

/* A request has come. */
void eager_request(struct eager *eager, uint64_t now_ns);

/* It was handled, and answered in most cases. */
void eager_answered(struct eager *eager, uint64_t now_ns);

/* Trying was in vain. */
void eager_missed(struct eager *eager);

#endif
