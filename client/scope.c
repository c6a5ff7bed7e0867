/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's stack of tags. It keeps the names beside their numbers, because a forked child has a
 * table of tags of its own. */
#include "enter.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct tag_stack {
	uint16_t ids[TTMEM_TAG_DEPTH];
	char names[TTMEM_TAG_DEPTH][TTMEM_TAG_MAX + 1];
};

/* Unlike other pages of ours it stays with a forked child. NULL: no memory, and no tags. */
static struct tag_stack *stack_of(struct thread *thread)
{
	int saved = errno;

	if (!thread->stack) {
		void *pages = mmap(NULL, sizeof *thread->stack, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		thread->stack = pages == MAP_FAILED ? NULL : pages;
		errno = saved;
	}
	return thread->stack;
}

static uint16_t tag_on_top(const struct thread *thread)
{
	uint32_t depth = thread->depth < TTMEM_TAG_DEPTH ? thread->depth : TTMEM_TAG_DEPTH;

	return depth && thread->stack ? thread->stack->ids[depth - 1] : LEDGER_TAG_NONE;
}

static void name_set(char *to, const char *name)
{
	size_t length = strnlen(name, TTMEM_TAG_MAX);

	memcpy(to, name, length);
	to[length] = 0;
}

/* What was there before must not come back if this is all that can be done, nor be renewed. */
static void level_clear(struct tag_stack *stack, uint32_t level)
{
	if (!stack)
		return;
	stack->ids[level] = LEDGER_TAG_NONE;
	stack->names[level][0] = 0;
}

void ttmem__tag_push(const char *name)
{
	struct thread *thread = &ttmem__thread;
	struct tag_stack *stack;
	uint32_t level;

	if (unlikely(thread->busy)) {
		ttmem__reentered(__atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE));
		return;
	}
	level = thread->depth++; /* also if nothing else works, so that the pops fit */
	if (level >= TTMEM_TAG_DEPTH)
		return;
	level_clear(thread->stack, level);
	if (!track_enter(thread))
		return;
	stack = stack_of(thread);
	if (stack) {
		name_set(stack->names[level], name ? name : "");
		stack->ids[level] = ttmem__tag(ttmem__client, thread, stack->names[level]);
		thread->tag = stack->ids[level];
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

/* Until a forked child's first call its numbers are the parent's, and are not used. */
void ttmem__tag_pop(void)
{
	struct thread *thread = &ttmem__thread;

	if (unlikely(thread->busy)) {
		ttmem__reentered(__atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE));
		return;
	}
	if (!thread->depth)
		return;
	thread->depth--;
	/* A signal handler's push and pop in between leave the tag below. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->tag = tag_on_top(thread);
}

/* A thread that has its shard from now on: what is on its stack is from before a fork. */
void ttmem__scopes_renew(struct client *client, struct thread *thread)
{
	for (uint32_t i = 0; i < TTMEM_TAG_DEPTH && thread->stack; i++)
		if (i < thread->depth)
			thread->stack->ids[i] = ttmem__tag(client, thread, thread->stack->names[i]);
	thread->tag = tag_on_top(thread);
}

void ttmem__scopes_end(struct thread *thread)
{
	if (thread->stack)
		munmap(thread->stack, sizeof *thread->stack);
	thread->stack = NULL;
	thread->depth = 0;
}
