/* SPDX-License-Identifier: Apache-2.0 */
/* Ticks for the model, at each full second and only while it wants them. */
#ifndef TICKER_H
#define TICKER_H

#include "model.h"
#include <uv.h>

struct ticker {
	uv_timer_t timer;
	struct model *model;
};

/* From now on the model asks here. */
void ticker_init(struct ticker *ticker, uv_loop_t *loop, struct model *model);

/* The loop must run once more. */
void ticker_close(struct ticker *ticker);

#endif
