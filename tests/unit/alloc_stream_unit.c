/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in the bytes of the older allocation server's clients. */
#include "alloc_script.h"

static void any_stream_is_found_however_it_is_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4 * 300; i++) {
		struct script *script = script_new(forms[i % 4], i + 1);

		for (size_t count = 1 + unit_random(&script->seed) % 60; count; count--)
			send_any(script);
		assert_found(script);
		g_free(script);
	}
}

static void an_event_is_handed_over_with_its_72nd_byte(void **state)
{
	struct log *log = g_new0(struct log, 1);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct script *script = script_new(forms[i], 1);

		for (uint64_t n = 0; n < 8; n++)
			send_alloc(script, n);
		for (size_t n = 0; n < 8; n++) {
			assert_int_equal(found_in(script, n * forms[i] + 71, log), n);
			assert_int_equal(found_in(script, n * forms[i] + 72, log), n + 1);
		}
		g_free(script);
	}
	g_free(log);
}

static void a_question_alone_waits_until_nothing_more_has_come(void **state)
{
	static const uint8_t types[] = {ALLOC_QUERY, ALLOC_DEVICE_INFO_QUERY};

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		struct script *script = script_new(forms[i / 2], 1);
		struct log *log = g_new0(struct log, 1);
		struct alloc_stream stream;

		send_type(script, types[i % 2]);
		alloc_stream_init(&stream);
		alloc_stream_feed(&stream, script->bytes, 71, record, log);
		assert_false(alloc_stream_waits(&stream));
		alloc_stream_feed(&stream, script->bytes + 71, script->size - 71, record, log);
		assert_true(alloc_stream_waits(&stream));
		assert_int_equal(log->count, 0);
		alloc_stream_settle(&stream, record, log);
		assert_same(script, log);
		assert_int_equal(stream.form, script->form);
		g_free(log);
		g_free(script);
	}
}

static void a_question_does_not_wait_once_the_form_is_known(void **state)
{
	struct log *log = g_new0(struct log, 1);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct script *script = script_new(forms[i], 1);

		for (uint64_t n = 0; n < 3; n++)
			send_alloc(script, n);
		send_type(script, ALLOC_QUERY);
		found_in(script, 3 * forms[i] + 72, log);
		assert_same(script, log);
		g_free(script);
	}
	g_free(log);
}

static void messages_behind_a_question_wait_with_it(void **state)
{
	struct script *script = script_new(72, 1);
	struct log *log = g_new0(struct log, 1);

	(void)state;
	send_type(script, ALLOC_QUERY);
	send_alloc(script, 1);
	assert_int_equal(found_in(script, script->size, log), 0);
	assert_found(script);
	g_free(log);
	g_free(script);
}

static void a_question_that_came_slowly_is_not_the_end_of_the_stream(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t first = 72; first < forms[i]; first += 8) {
			struct script *script = script_new(forms[i], first);
			struct log *log = g_new0(struct log, 1);
			struct alloc_stream stream;

			send_type(script, ALLOC_QUERY);
			for (size_t n = 0; n < 6; n++)
				send_any_event(script);
			alloc_stream_init(&stream);
			alloc_stream_feed(&stream, script->bytes, first, record, log);
			alloc_stream_settle(&stream, record, log);
			feed(&stream, script->bytes + first, script->size - first, 50, first, log);
			/* The question was answered in the form that was thought right. */
			if (first == 72 || first == 112 || first == 128)
				log->messages[0].form = forms[i];
			assert_same(script, log);
			assert_int_equal(stream.form, forms[i]);
			assert_int_equal(stream.garbage_bytes, 0);
			g_free(log);
			g_free(script);
		}
}

static void settling_leaves_bytes_that_are_no_whole_messages(void **state)
{
	struct script *script = script_new(112, 1);
	struct log *log = g_new0(struct log, 1);
	struct alloc_stream stream;

	(void)state;
	send_type(script, ALLOC_QUERY);
	alloc_stream_init(&stream);
	alloc_stream_feed(&stream, script->bytes, 100, record, log);
	alloc_stream_settle(&stream, record, log);
	assert_int_equal(log->count, 0);
	assert_true(alloc_stream_waits(&stream));
	alloc_stream_feed(&stream, script->bytes + 100, 12, record, log);
	alloc_stream_settle(&stream, record, log);
	assert_same(script, log);
	g_free(log);
	g_free(script);
}

static void a_tail_that_looks_like_a_question_is_a_tail(void **state)
{
	(void)state;
	for (size_t i = 1; i < 4; i++) {
		struct script *script = script_new(forms[i], 1);

		send_alloc(script, 1)[72] = ALLOC_QUERY;
		for (uint64_t n = 2; n < 6; n++)
			send_alloc(script, n);
		assert_found(script);
		g_free(script);
	}
}

static void a_tail_that_looks_like_an_event_costs_no_message(void **state)
{
	(void)state;
	for (size_t i = 1; i < 4; i++) {
		struct script *script = script_new(forms[i], 1);
		struct log *log = g_new0(struct log, 1);
		struct alloc_message fake = {.type = ALLOC_FREE, .pid = PID};
		size_t bogus;

		put(send_alloc(script, 1) + 72, &fake);
		for (uint64_t n = 2; n < 9; n++)
			send_alloc(script, n);
		found_in(script, script->size, log);
		/* With 112 bytes it is told in time, with more the fake is complete before. */
		bogus = forms[i] > 112;
		assert_int_equal(log->count, script->log.count + bogus);
		memmove(log->messages + 1, log->messages + 1 + bogus, 7 * sizeof fake);
		log->count -= bogus;
		for (size_t n = 0; n < log->count; n++)
			log->messages[n].form = script->form;
		assert_same(script, log);
		g_free(log);
		g_free(script);
	}
}

static void the_end_counts_a_message_that_is_not_complete_as_garbage(void **state)
{
	struct log *log = g_new0(struct log, 1);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct script *script = script_new(forms[i], 1);
		struct alloc_stream stream;

		for (uint64_t n = 0; n < 4; n++)
			send_alloc(script, n);
		log->count = 0;
		alloc_stream_init(&stream);
		alloc_stream_feed(&stream, script->bytes, 3 * forms[i] + 71, record, log);
		alloc_stream_end(&stream, record, log);
		assert_int_equal(log->count, 3);
		assert_int_equal(stream.message_bytes, 3 * forms[i]);
		assert_int_equal(stream.garbage_bytes, 71);
		g_free(script);
	}
	g_free(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_stream_is_found_however_it_is_split),
		cmocka_unit_test(an_event_is_handed_over_with_its_72nd_byte),
		cmocka_unit_test(a_question_alone_waits_until_nothing_more_has_come),
		cmocka_unit_test(a_question_does_not_wait_once_the_form_is_known),
		cmocka_unit_test(messages_behind_a_question_wait_with_it),
		cmocka_unit_test(a_question_that_came_slowly_is_not_the_end_of_the_stream),
		cmocka_unit_test(settling_leaves_bytes_that_are_no_whole_messages),
		cmocka_unit_test(a_tail_that_looks_like_a_question_is_a_tail),
		cmocka_unit_test(a_tail_that_looks_like_an_event_costs_no_message),
		cmocka_unit_test(the_end_counts_a_message_that_is_not_complete_as_garbage),
	};

	return RUN(tests);
}
