/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it pays to keep trying for the next request before going to sleep. It does while the
 * next request comes soon after the last, and not when nobody asks, when the reader is slow, or
 * when other work wants the CPU. Times are of a monotonic clock, in ns; pure, so that it can be
 * tested without one.
 */
#ifndef SPIN_H
#define SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_LIMIT_NS   100000u   /* longer than a reader takes between two requests */
#define SPIN_PREEMPT_NS 30000u    /* a gap like this between two tries: the CPU was taken away */
#define SPIN_REST_NS    20000000u /* after which it is not tried for a while */
#define SPIN_MISSES     4         /* in a row, until waiting stops until it would have paid again */

struct spin {
	uint64_t limit_ns; /* 0: never */
	uint64_t began_ns; /* when there was nothing more to do; 0: never yet */
	uint64_t last_ns;  /* the last try */
	uint64_t rest_until_ns;
	unsigned int misses;
	bool on;
};

void spin_init(struct spin *spin, uint64_t limit_ns);

/* There is no request: waiting begins. */
void spin_begin(struct spin *spin, uint64_t now_ns);

/* Whether to try once more. */
bool spin_goes_on(struct spin *spin, uint64_t now_ns);

/* A request came while waiting. */
void spin_paid(struct spin *spin);

/* A request came after all waiting was over: by its time it is seen whether waiting would pay. */
void spin_woken(struct spin *spin, uint64_t now_ns);

#endif
