/* SPDX-License-Identifier: Apache-2.0 */
#include "ticker.h"

#define SECOND_MS 1000u
#define CLOSE_MS  20u /* a timer may come a little early, and must not come twice */

static uint64_t until_next_ms(const struct model *model)
{
	uint64_t rest = SECOND_MS - model->now_ns() / 1000000u % SECOND_MS;

	return (rest < CLOSE_MS ? rest + SECOND_MS : rest) + 1;
}

static void on_tick(uv_timer_t *timer)
{
	struct ticker *ticker = timer->data;

	model_tick(ticker->model);
	uv_update_time(timer->loop);
	uv_timer_start(timer, on_tick, until_next_ms(ticker->model), 0);
}

static void on_change(void *data)
{
	struct ticker *ticker = data;
	bool active = uv_is_active((uv_handle_t *)&ticker->timer);

	if (!model_wants_ticks(ticker->model)) {
		uv_timer_stop(&ticker->timer);
	} else if (!active) {
		uv_update_time(ticker->timer.loop);
		uv_timer_start(&ticker->timer, on_tick, until_next_ms(ticker->model), 0);
	}
}

void ticker_init(struct ticker *ticker, uv_loop_t *loop, struct model *model)
{
	ticker->model = model;
	uv_timer_init(loop, &ticker->timer);
	ticker->timer.data = ticker;
	model->ticks_changed = on_change;
	model->ticks_data = ticker;
	on_change(ticker);
}

void ticker_close(struct ticker *ticker)
{
	ticker->model->ticks_changed = NULL;
	uv_close((uv_handle_t *)&ticker->timer, NULL);
}
