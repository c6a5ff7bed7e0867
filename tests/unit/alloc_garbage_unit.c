/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in a stream that is not only messages. */
#include "alloc_script.h"

static void messages_between_garbage_are_found_and_garbage_is_counted(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4 * 300; i++) {
		struct script *script = script_new(forms[i % 4], i + 1);

		if (i & 4)
			send_garbage(script, 1 + unit_random(&script->seed) % 300);
		for (size_t count = 6; count; count--)
			send_any_event(script);
		for (size_t groups = 1 + unit_random(&script->seed) % 6; groups; groups--) {
			send_garbage(script, 1 + unit_random(&script->seed) % 300);
			send_alloc(script, unit_random(&script->seed) % 300);
			for (size_t n = 1 + unit_random(&script->seed) % 8; n; n--)
				send_any(script);
		}
		assert_found(script);
		g_free(script);
	}
}

static void any_bytes_are_read_alike_however_they_are_split(void **state)
{
	static const uint8_t some[] = {0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 5, 6, 8, 0x67};
	struct log *whole = g_new0(struct log, 1), *split = g_new0(struct log, 1);
	struct alloc_stream at_once, piecewise;
	uint64_t seed = 42;
	uint8_t bytes[2000];

	(void)state;
	for (size_t i = 0; i < 2000; i++) {
		for (size_t j = 0; j < sizeof bytes; j++)
			bytes[j] = (i & 1) && j % 4 ? 0 : some[unit_random(&seed) % sizeof some];
		whole->count = split->count = 0;
		alloc_stream_init(&at_once);
		alloc_stream_init(&piecewise);
		feed(&at_once, bytes, sizeof bytes, 0, 1, whole);
		feed(&piecewise, bytes, sizeof bytes, 1 + i % 200, seed, split);
		assert_memory_equal(&at_once, &piecewise, offsetof(struct alloc_stream, room));
		assert_memory_equal(at_once.room, piecewise.room, at_once.held);
		assert_int_equal(whole->count, split->count);
		for (size_t j = 0; j < whole->count; j++) {
			assert_same_message(&whole->messages[j], &split->messages[j]);
			assert_int_equal(whole->messages[j].form, split->messages[j].form);
		}
		assert_every_byte_is_counted(&at_once, sizeof bytes);
	}
	g_free(whole);
	g_free(split);
}

static void the_message_behind_one_cut_short_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t cut = 1; cut < forms[i]; cut++) {
			struct script *script = script_new(forms[i], cut);
			struct log *log = g_new0(struct log, 1);
			size_t behind, count;

			for (uint64_t n = 0; n < 5; n++)
				send_alloc(script, 4096 * n);
			script->size -= cut;
			behind = script->log.count;
			for (uint64_t n = 5; n < 9; n++)
				send_alloc(script, 4096 * n);
			count = found_in(script, script->size, log);
			assert_in_range(count, behind + 3, behind + 4);
			for (size_t n = 1; n <= 4; n++)
				assert_int_equal(log->messages[count - n].buffer, 4096 * (9 - n));
			g_free(log);
			g_free(script);
		}
}

static void a_message_alone_behind_garbage_is_believed_when_nothing_more_comes(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct script *script = script_new(forms[i], 1);

		for (uint64_t n = 0; n < 5; n++)
			send_alloc(script, n);
		send_garbage(script, 100);
		send_alloc(script, 5);
		assert_found(script);
		g_free(script);
	}
}

static void a_question_behind_garbage_is_believed_with_an_event_or_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < 8; i++) {
		struct script *script = script_new(forms[i / 2], 1);

		for (uint64_t n = 0; n < 5; n++)
			send_alloc(script, n);
		send_garbage(script, 100);
		send_type(script, ALLOC_QUERY);
		if (i % 2)
			send_alloc(script, 5);
		assert_found(script);
		g_free(script);
	}
}

/* Small buffer ids look like a question's type, and in each message at the same place. */
static void messages_are_not_found_in_the_middle_of_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t cut = 0; cut < forms[i]; cut++) {
			struct script *script = script_new(forms[i], 1);

			for (uint64_t n = 0; n < 5; n++)
				send_alloc(script, 3);
			send_garbage(script, forms[i] - cut);
			memset(script->bytes + script->size - (forms[i] - cut), 0, forms[i] - cut);
			for (uint64_t n = 0; n < 5; n++)
				send_alloc(script, 3);
			assert_found_in_pieces(script, 0);
			g_free(script);
		}
}

/* Five messages, from which the form is known, and some garbage. */
static struct script *script_with_garbage(unsigned int form)
{
	struct script *script = script_new(form, 1);

	for (uint64_t n = 0; n < 5; n++)
		send_alloc(script, 4096 * n);
	memset(room(script, 10), 0, 10);
	script->garbage += 10;
	return script;
}

static void garbage_like_a_question_does_not_change_the_form(void **state)
{
	struct script *script = script_with_garbage(72);

	(void)state;
	*(uint8_t *)memset(room(script, 112), 0, 112) = ALLOC_QUERY;
	script->garbage += 112;
	for (uint64_t n = 5; n < 9; n++)
		send_alloc(script, 4096 * n);
	assert_found(script);
	g_free(script);
}

static void a_message_alone_behind_part_of_another_is_found(void **state)
{
	struct script *script = script_with_garbage(72);

	(void)state;
	memcpy(room(script, 40), script->bytes, 40);
	script->garbage += 40;
	send_alloc(script, 4096);
	assert_found(script);
	g_free(script);
}

static void half_a_message_behind_garbage_waits_for_the_rest(void **state)
{
	struct script *script = script_with_garbage(112);
	struct log *log = g_new0(struct log, 1);
	struct alloc_stream stream;

	(void)state;
	send_alloc(script, 4096);
	alloc_stream_init(&stream);
	alloc_stream_feed(&stream, script->bytes, script->size - 40, record, log);
	alloc_stream_settle(&stream, record, log);
	assert_int_equal(log->count, 5);
	alloc_stream_feed(&stream, script->bytes + script->size - 40, 40, record, log);
	alloc_stream_settle(&stream, record, log);
	assert_same(script, log);
	g_free(log);
	g_free(script);
}

static void the_end_hands_over_what_garbage_is_around(void **state)
{
	struct script *script = script_with_garbage(72);
	struct log *log = g_new0(struct log, 1);
	struct alloc_stream stream;

	(void)state;
	send_alloc(script, 4096);
	memset(room(script, 5), 0, 5);
	alloc_stream_init(&stream);
	alloc_stream_feed(&stream, script->bytes, script->size, record, log);
	alloc_stream_settle(&stream, record, log);
	assert_int_equal(log->count, 5);
	alloc_stream_end(&stream, record, log);
	assert_same(script, log);
	assert_int_equal(stream.garbage_bytes, 15);
	g_free(log);
	g_free(script);
}

static void assert_refused(size_t at, uint8_t value)
{
	struct script *script = script_new(128, 1);
	struct log *log = g_new0(struct log, 1);

	send_alloc(script, 1)[at] = value;
	assert_int_equal(found_in(script, script->size, log), 0);
	g_free(log);
	g_free(script);
}

static void what_no_client_sends_is_no_message(void **state)
{
	static const uint8_t zero[] = {1, 2, 3, 17, 18, 19};

	(void)state;
	for (size_t i = 0; i < sizeof zero; i++)
		assert_refused(zero[i], 1);
	assert_refused(0, 0);
	assert_refused(0, ALLOC_RESPONSE);
	assert_refused(0, ALLOC_DEVICE_INFO_RESPONSE);
	assert_refused(0, 12);
	assert_refused(4, ALLOC_DEVICE_MAX + 1);
	assert_refused(7, 0x80);
	assert_refused(16, 7);
	assert_refused(23, 0x80);
}

static void a_message_of_another_process_is_garbage(void **state)
{
	struct script *script = script_new(72, 1);
	struct log *log = g_new0(struct log, 1);
	struct alloc_stream stream;

	(void)state;
	for (uint64_t n = 0; n < 9; n++) {
		send_alloc(script, n);
		if (n == 5)
			script->bytes[5 * 72 + 20] ^= 1;
	}
	alloc_stream_init(&stream);
	alloc_stream_feed(&stream, script->bytes, script->size, record, log);
	assert_int_equal(log->count, 8);
	assert_int_equal(stream.garbage_bytes, 72);
	g_free(log);
	g_free(script);
}

static void a_bad_start_does_not_decide_whose_the_stream_is(void **state)
{
	struct script *script = script_new(112, 1);
	struct alloc_message other = {.type = ALLOC_ALLOC, .pid = 1};
	struct log *log = g_new0(struct log, 1);
	struct alloc_stream stream;

	(void)state;
	put(memset(room(script, 90), 0, 90), &other);
	for (uint64_t n = 0; n < 5; n++)
		send_alloc(script, n);
	alloc_stream_init(&stream);
	alloc_stream_feed(&stream, script->bytes, script->size, record, log);
	assert_int_equal(log->count, 6);
	assert_int_equal(stream.pid, PID);
	assert_int_equal(stream.form, 112);
	g_free(log);
	g_free(script);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_between_garbage_are_found_and_garbage_is_counted),
		cmocka_unit_test(any_bytes_are_read_alike_however_they_are_split),
		cmocka_unit_test(the_message_behind_one_cut_short_is_found),
		cmocka_unit_test(
			a_message_alone_behind_garbage_is_believed_when_nothing_more_comes),
		cmocka_unit_test(a_question_behind_garbage_is_believed_with_an_event_or_alone),
		cmocka_unit_test(messages_are_not_found_in_the_middle_of_messages),
		cmocka_unit_test(garbage_like_a_question_does_not_change_the_form),
		cmocka_unit_test(a_message_alone_behind_part_of_another_is_found),
		cmocka_unit_test(half_a_message_behind_garbage_waits_for_the_rest),
		cmocka_unit_test(the_end_hands_over_what_garbage_is_around),
		cmocka_unit_test(what_no_client_sends_is_no_message),
		cmocka_unit_test(a_message_of_another_process_is_garbage),
		cmocka_unit_test(a_bad_start_does_not_decide_whose_the_stream_is),
	};

	return RUN(tests);
}
