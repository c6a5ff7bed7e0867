/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's stack of tags: which one a buffer without a tag of its own gets. */
#include "crew.h"
#include "own_ledger.h"
#include <time.h>

static struct ledger_header *header;

static void start(void)
{
	assert_int_equal(ttmem_start(), 0);
	header = ledger_map();
}

/* The tag of a buffer that is allocated now, "" for none. */
static const char *tag_given(const char *own)
{
	static const char *given;
	const struct ledger_record *record;

	ttmem_alloc(0, TTMEM_L1, 0x77, 5, own);
	record = ledger_find(header, 0, TTMEM_L1, 0x77);
	assert_non_null(record);
	given = ledger_tag(header, record->tag);
	ttmem_free(0, TTMEM_L1, 0x77);
	return given;
}

static void a_buffer_without_a_tag_gets_that_on_top(void)
{
	start();
	assert_string_equal(tag_given(NULL), "");
	ttmem_tag_push("outer");
	assert_string_equal(tag_given(NULL), "outer");
	ttmem_tag_push("inner");
	assert_string_equal(tag_given(NULL), "inner");
	ttmem_tag_pop();
	assert_string_equal(tag_given(NULL), "outer");
	ttmem_tag_pop();
	assert_string_equal(tag_given(NULL), "");
}

static void a_buffers_own_tag_wins(void)
{
	start();
	ttmem_tag_push("stack");
	assert_string_equal(tag_given("own"), "own");
	assert_string_equal(tag_given(""), "");
	assert_string_equal(tag_given(NULL), "stack");
}

static void a_buffer_with_a_handle_gets_the_tag_too(void)
{
	ttmem_handle handle;
	uint32_t first = 0;

	start();
	ttmem_tag_push("stack");
	handle = ttmem_alloc_handle(0, TTMEM_DRAM, 1, 5, NULL);
	assert_string_equal(ledger_tag(header, ledger_next(header, &first)->tag), "stack");
	ttmem_free_handle(handle);
	assert_all_is_freed(header);
}

static void no_tag_may_be_on_top(void)
{
	start();
	ttmem_tag_push("below");
	ttmem_tag_push(NULL);
	assert_string_equal(tag_given(NULL), "");
	ttmem_tag_push("");
	assert_string_equal(tag_given(NULL), "");
	ttmem_tag_pop();
	ttmem_tag_pop();
	assert_string_equal(tag_given(NULL), "below");
}

static void a_pop_without_a_push_does_nothing(void)
{
	start();
	for (int i = 0; i < 3; i++)
		ttmem_tag_pop();
	ttmem_tag_push("one");
	assert_string_equal(tag_given(NULL), "one");
	for (int i = 0; i < 3; i++)
		ttmem_tag_pop();
	assert_string_equal(tag_given(NULL), "");
	ttmem_tag_push("two");
	assert_string_equal(tag_given(NULL), "two");
}

static void push_numbered(int n)
{
	char name[16];

	snprintf(name, sizeof name, "level %d", n);
	ttmem_tag_push(name);
}

static void assert_numbered(int n)
{
	char name[16];

	snprintf(name, sizeof name, "level %d", n);
	assert_string_equal(tag_given(NULL), name);
}

static void what_is_deeper_than_the_stack_counts_as_its_last(void)
{
	start();
	for (int i = 1; i <= 200; i++) {
		push_numbered(i);
		assert_numbered(i < TTMEM_TAG_DEPTH ? i : TTMEM_TAG_DEPTH);
	}
	for (int i = 200; i > 0; i--) {
		assert_numbered(i < TTMEM_TAG_DEPTH ? i : TTMEM_TAG_DEPTH);
		ttmem_tag_pop();
	}
	assert_string_equal(tag_given(NULL), "");
}

static void a_name_is_copied_and_cut(void)
{
	char name[100];

	start();
	memset(name, 'x', sizeof name);
	name[99] = 0;
	ttmem_tag_push(name);
	memset(name, 'y', sizeof name - 1);
	assert_int_equal(strlen(tag_given(NULL)), TTMEM_TAG_MAX);
	assert_int_equal(strspn(tag_given(NULL), "x"), TTMEM_TAG_MAX);
}

static void a_name_that_finds_no_room_is_other(void)
{
	start();
	for (int i = 0; i < TTMEM_MAX_TAGS; i++) {
		push_numbered(i);
		assert_numbered(i);
		ttmem_tag_pop();
	}
	ttmem_tag_push("one more");
	assert_string_equal(tag_given(NULL), "other");
	ttmem_tag_push("level 5");
	assert_string_equal(tag_given(NULL), "level 5");
}

static void tag_own(struct crew *crew, unsigned int self)
{
	for (int i = 0; i < 100; i++) {
		push_numbered((int)self);
		crew_meet(crew);
		if (self == (unsigned int)i % crew->size)
			assert_numbered((int)self);
		crew_meet(crew);
		ttmem_tag_pop();
	}
	push_numbered((int)self); /* and never popped */
	ttmem_alloc(0, TTMEM_DRAM, self, 5, NULL);
	crew_meet(crew);
}

static void allocate_untagged(struct crew *crew, unsigned int self)
{
	ttmem_alloc(0, TTMEM_DRAM, 100 + self, 5, NULL);
	crew_meet(crew);
}

static void each_thread_has_a_stack_that_ends_with_it(void)
{
	struct crew crew;

	start();
	ttmem_tag_push("main");
	crew_run(&crew, 4, tag_own);
	crew_run(&crew, 4, allocate_untagged); /* in the shards of those */
	for (unsigned int i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof name, "level %u", i);
		assert_string_equal(ledger_tag(header, ledger_find(header, 0, TTMEM_DRAM, i)->tag),
				    name);
		assert_int_equal(ledger_find(header, 0, TTMEM_DRAM, 100 + i)->tag, LEDGER_TAG_NONE);
	}
	assert_string_equal(tag_given(NULL), "main");
}

/* It numbers its tags anew, from the names. */
static void pop_in_the_child(void)
{
	header = ledger_map();
	assert_int_equal(header->pid, getpid());
	for (int i = 70; i > 2; i--) {
		assert_numbered(i < TTMEM_TAG_DEPTH ? i : TTMEM_TAG_DEPTH);
		ttmem_tag_pop();
	}
	ttmem_tag_push("of the child");
	assert_string_equal(tag_given(NULL), "of the child");
	ttmem_tag_pop();
	assert_numbered(2);
	ttmem_tag_pop();
	assert_numbered(1);
	ttmem_tag_pop();
	assert_string_equal(tag_given(NULL), "");
}

static void fork_with_tags(struct crew *crew, unsigned int self)
{
	pid_t child;

	(void)crew;
	for (int i = 300; i > 200; i--)
		tag_given("a tag that the child does not have");
	for (int i = 1; i <= 70; i++)
		push_numbered(i);
	child = case_fork();
	if (child == 0) {
		if (self) /* a first call that takes one away */
			ttmem_tag_pop();
		ttmem_alloc(1, TTMEM_L1, 1, 1, NULL);
		if (self)
			push_numbered(70);
		pop_in_the_child();
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	assert_numbered(TTMEM_TAG_DEPTH);
}

static void a_forked_child_keeps_the_stack(void)
{
	start();
	for (unsigned int self = 0; self < 2; self++) {
		fork_with_tags(NULL, self);
		for (int i = 0; i < 70; i++)
			ttmem_tag_pop();
	}
}

static void a_child_that_a_thread_forked_keeps_its_stack(void)
{
	struct crew crew;

	start();
	ttmem_tag_push("main's");
	crew_run(&crew, 1, fork_with_tags);
	assert_string_equal(tag_given(NULL), "main's");
}

static void a_forked_child_forgets_what_was_popped(void)
{
	pid_t child;

	start();
	ttmem_tag_push("stays");
	ttmem_tag_push("gone");
	ttmem_tag_pop();
	child = case_fork();
	if (child == 0) {
		ttmem_tag_push("new");
		header = ledger_map();
		assert_string_equal(tag_given(NULL), "new");
		ttmem_tag_pop();
		assert_string_equal(tag_given(NULL), "stays");
		assert_int_equal(header->tags_used, LEDGER_TAG_OTHER + 3);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
}

static void what_is_pushed_while_tracking_is_off_is_not_known(void)
{
	errno = 77;
	ttmem_tag_push("off");
	ttmem_tag_push("off");
	ttmem_tag_pop();
	assert_int_equal(errno, 77);
	start();
	assert_string_equal(tag_given(NULL), "");
	ttmem_tag_pop();
	ttmem_tag_push("on");
	assert_string_equal(tag_given(NULL), "on");
	ttmem_tag_pop();
	assert_string_equal(tag_given(NULL), "");
}

static void a_push_is_a_first_call_and_keeps_errno(void)
{
	setenv("TTMEM", "1", 1);
	errno = 77;
	ttmem_tag_push("first");
	assert_int_equal(errno, 77);
	header = ledger_map();
	assert_string_equal(tag_given(NULL), "first");
	ttmem_tag_pop();
	assert_int_equal(errno, 77);
}

static int leave_a_scope(int how)
{
	TTMEM_TAG_SCOPE("function");
	for (int i = 0; i < 3; i++) {
		TTMEM_TAG_SCOPE("loop");
		if (how == 0 && i == 1)
			return 0;
		if (how == 1 && i == 1)
			break;
		if (how == 2 && i == 1)
			goto out;
		if (i == 0)
			continue;
		assert_string_equal(tag_given(NULL), "loop");
	}
	assert_string_equal(tag_given(NULL), "function");
out:
	assert_string_equal(tag_given(NULL), "function");
	return how;
}

static void a_scope_ends_with_its_block_however_it_is_left(void)
{
	start();
	ttmem_tag_push("caller");
	for (int how = 0; how < 4; how++) {
		assert_int_equal(leave_a_scope(how), how);
		assert_string_equal(tag_given(NULL), "caller");
	}
	{
		TTMEM_TAG_SCOPE("first");
		TTMEM_TAG_SCOPE("second");
		assert_string_equal(tag_given(NULL), "second");
	}
	assert_string_equal(tag_given(NULL), "caller");
}

static uint64_t handled;

static void on_signal_tag(int number)
{
	(void)number;
	ttmem_tag_push("handler");
	ttmem_alloc(1, TTMEM_L1, handled, 32, NULL);
	ttmem_free(1, TTMEM_L1, handled);
	ttmem_tag_pop();
	__atomic_store_n(&handled, handled + 1, __ATOMIC_RELAXED);
}

/* Wherever a handler strikes, it leaves the stack as it was. */
static void a_handler_may_tag(void)
{
	struct sigaction action = {.sa_handler = on_signal_tag, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	const struct itimerspec often = {{0, 50000}, {0, 50000}};
	timer_t timer;

	start();
	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	while (__atomic_load_n(&handled, __ATOMIC_RELAXED) < rounds(4000)) {
		ttmem_tag_push("outer");
		assert_string_equal(tag_given(NULL), "outer");
		ttmem_tag_push("inner");
		assert_string_equal(tag_given(NULL), "inner");
		ttmem_tag_pop();
		assert_string_equal(tag_given(NULL), "outer");
		ttmem_tag_pop();
		assert_string_equal(tag_given(NULL), "");
	}
	assert_int_equal(timer_delete(timer), 0);
	assert_all_is_freed(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(a_buffer_without_a_tag_gets_that_on_top),
		isolated(a_buffers_own_tag_wins),
		isolated(a_buffer_with_a_handle_gets_the_tag_too),
		isolated(no_tag_may_be_on_top),
		isolated(a_pop_without_a_push_does_nothing),
		isolated(what_is_deeper_than_the_stack_counts_as_its_last),
		isolated(a_name_is_copied_and_cut),
		isolated(a_name_that_finds_no_room_is_other),
		isolated(each_thread_has_a_stack_that_ends_with_it),
		isolated(a_forked_child_keeps_the_stack),
		isolated(a_child_that_a_thread_forked_keeps_its_stack),
		isolated(a_forked_child_forgets_what_was_popped),
		isolated(what_is_pushed_while_tracking_is_off_is_not_known),
		isolated(a_push_is_a_first_call_and_keeps_errno),
		isolated(a_scope_ends_with_its_block_however_it_is_left),
		isolated(a_handler_may_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
