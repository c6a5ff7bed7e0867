/* SPDX-License-Identifier: Apache-2.0 */
/* Renders one file of a world, and compares. */
#ifndef TESTS_UNIT_TEXT_H
#define TESTS_UNIT_TEXT_H

#include "render.h"
#include "world.h"

static inline void world_status(struct status *status, void *data)
{
	*status = *(struct status *)data;
}

struct subject {
	struct device *device;
	struct process *process;
	int kind;
};

/* The whole text, to be freed. `slices` counts the calls that it took, if it is not NULL. */
static inline char *world_text(struct world *world, render_fn *make, struct subject subject,
			       unsigned int *slices)
{
	static struct status status = {
		.clients = 3,
		.rejected_clients = 4,
		.silent_connections = 5,
		.alloc_connections = 12,
		.alloc_messages = 13,
		.alloc_garbage_bytes = 14,
		.alloc_lost_events = 15,
		.alloc_lost_answers = 16,
		.alloc_rejected = 17,
		.doorbells = 18,
		.notifications = 19,
		.untold = 20,
		.followed = 21,
		.requests = 6,
		.open_files = 7,
		.nodes = 8,
		.text_bytes = 9,
	};
	struct reader reader = {.uid = 1000};
	struct cursor cursor = {.rows = 0};
	struct render render = {
		.model = &world->model,
		.reader = &reader,
		.status = world_status,
		.status_data = &status,
		.device = subject.device,
		.process = subject.process,
		.kind = (enum kind)subject.kind,
		.cursor = &cursor,
		.out = g_string_new(NULL),
	};
	unsigned int calls = 1;

	while (!make(&render))
		calls++;
	if (slices)
		*slices = calls;
	return g_string_free(render.out, FALSE);
}

#define assert_text(world, make, subject, want)                      \
	do {                                                         \
		char *text = world_text(world, make, subject, NULL); \
                                                                     \
		assert_string_equal(text, want);                     \
		g_free(text);                                        \
	} while (0)

#define NOTHING               ((struct subject){NULL, NULL, 0})
#define OF_DEVICE(it, which)  ((struct subject){.device = (it), .kind = (which)})
#define OF_PROCESS(it, which) ((struct subject){.process = (it), .kind = (which)})

#endif
