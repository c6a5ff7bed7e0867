/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that have called exec: their ledger is gone, and nobody tells. */
#include "native.h"
#include "proc.h"

#define CHECK_NS  100000000u  /* between two looks for those who have called exec */
#define SETTLE_NS 1000000000u /* most who come and go do so within this time */

/* Whether it has called exec. One that is about to end is told of by its end. */
static bool has_let_go(const struct native *native, const struct ledger *ledger)
{
	return proc_memory_is_gone(ledger->memory) &&
	       !proc_is_exiting(native->model->proc, ledger->process->pid);
}

static void look_once(const struct native *native, struct ledger *ledger, uint64_t now)
{
	if (ledger->memory >= 0 || ledger->looked || now - ledger->since_ns < SETTLE_NS)
		return;
	ledger->looked = true;
	if (native->look)
		native->look(ledger->peer);
}

/* Backwards: the last one takes the place of one that goes. */
void native_check_execs(struct native *native)
{
	uint64_t now = native->model->now_ns();

	if (now - native->checked_ns < CHECK_NS)
		return;
	native->checked_ns = now;
	for (guint i = native->ledgers->len; i-- > 0;) {
		struct ledger *ledger = native->ledgers->pdata[i];

		if (has_let_go(native, ledger))
			native->end_peer(ledger->peer);
		else
			look_once(native, ledger, now);
	}
}
