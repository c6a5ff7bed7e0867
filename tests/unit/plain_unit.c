/* SPDX-License-Identifier: Apache-2.0 */
/* What text from elsewhere may become. */
#include "plain.h"
#include "unit.h"

static void assert_word(const char *from, const char *want)
{
	char in[16] = {0}, out[16];

	memcpy(in, from, MIN(strlen(from), sizeof in));
	memset(out, 'x', sizeof out);
	plain_word(out, in, sizeof in);
	assert_string_equal(out, want);
}

static void a_word_is_letters_digits_and_a_few_signs(void **state)
{
	(void)state;
	assert_word("wormhole_b0", "wormhole_b0");
	assert_word("p150a", "p150a");
	assert_word("A.b_c:d+e-f", "A.b_c:d+e-f");
	assert_word("", "");
}

static void anything_else_is_no_word(void **state)
{
	static const char *const bad[] = {"two words", "a/b", "..\\", "a\nb",  "caf\xc3\xa9",
					  "\x1b[31m",  "a%s", "$(x)", "a\x7f", " ",
					  "a*",        "a;b", "a'b",  "a\"b",  "\xff"};

	(void)state;
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		assert_word(bad[i], "");
}

static void a_word_must_end_within_its_field(void **state)
{
	(void)state;
	assert_word("fifteen_letters", "fifteen_letters");
	assert_word("sixteen__letters", "");
}

static void assert_pci(const char *from, const char *want)
{
	char in[16] = {0}, out[16];

	memcpy(in, from, MIN(strlen(from), sizeof in));
	memset(out, 'x', sizeof out);
	plain_pci(out, in, sizeof in);
	assert_string_equal(out, want);
}

static void a_pci_address_has_one_form(void **state)
{
	static const char *const bad[] = {"",
					  "01:00.0",
					  "0000:01:00",
					  "0000:01:00.",
					  "0000:01:00.00",
					  "0000:01:00.g",
					  "0000-01-00-0",
					  "0000:01:00.0\n",
					  " 0000:01:00.0",
					  "00000:01:0.0",
					  "../../../../../"};

	(void)state;
	assert_pci("0000:01:00.0", "0000:01:00.0");
	assert_pci("ABCD:EF:1F.7", "abcd:ef:1f.7");
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		assert_pci(bad[i], "");
}

static void assert_plain(const char *from, size_t size, bool spaces, const char *want)
{
	char out[64];

	assert_true(size <= sizeof out);
	memset(out, 'x', sizeof out);
	plain_text(out, from, size, spaces);
	assert_string_equal(out, want);
}

static void printable_text_stays_as_it_is(void **state)
{
	(void)state;
	assert_plain("kv_cache/layer.0", 48, false, "kv_cache/layer.0");
	assert_plain("caf\xc3\xa9 \xe6\xbc\xa2\xf0\x9f\x98\x80", 48, true,
		     "caf\xc3\xa9 \xe6\xbc\xa2\xf0\x9f\x98\x80");
	assert_plain("", 48, true, "");
}

static void spaces_are_kept_only_where_they_are_welcome(void **state)
{
	(void)state;
	assert_plain("a b", 48, true, "a b");
	assert_plain("a b", 48, false, "a?b");
	assert_plain("a\tb", 48, true, "a?b");
	assert_plain("a\xc2\xa0"
		     "b\xe3\x80\x80"
		     "c",
		     48, true, "a??b???c"); /* spaces of other kinds */
}

static void controls_and_backslashes_become_question_marks(void **state)
{
	(void)state;
	assert_plain("a\nb\rc\x1b[0m\x7f", 48, true, "a?b?c?[0m?");
	assert_plain("\\n\\033[0m", 48, true, "?n?033[0m");
	assert_plain("\xc2\x9b"
		     "31m",
		     48, true, "??31m"); /* an escape sequence may begin with this, too */
	assert_plain("\xe2\x80\xae\xe2\x80\xa8\xef\xbb\xbf", 48, true, "?????????");
}

static void bytes_that_are_not_utf8_become_question_marks(void **state)
{
	(void)state;
	assert_plain("\xff\xfe", 48, true, "??");
	assert_plain("\xc3", 48, true, "?");
	assert_plain("\xc0\x80", 48, true, "??");           /* overlong */
	assert_plain("\xed\xa0\x80", 48, true, "???");      /* a surrogate */
	assert_plain("\xf4\x90\x80\x80", 48, true, "????"); /* beyond the last */
	assert_plain("\xe6\xbc"
		     "A",
		     48, true, "??A");
}

static void a_character_that_was_cut_in_two_is_not_shown(void **state)
{
	(void)state;
	assert_plain("aaaa\xe6\xbc\xa2", 7, true, "aaaa??");
	assert_plain("aaaa\xe6\xbc\xa2", 8, true, "aaaa\xe6\xbc\xa2");
}

static void text_need_not_end(void **state)
{
	char from[48];

	(void)state;
	memset(from, 'a', sizeof from);
	assert_plain(from, 5, true, "aaaa");
	assert_plain(from, 1, true, "");
}

/* Whatever comes in: it is UTF-8, printable, no longer than it was, and stays when done again. */
static void any_bytes_become_plain(void **state)
{
	uint64_t seed = 88172645463325252ull;
	char from[48], once[48], again[48];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof from; i += 8) {
			uint64_t bytes = unit_random(&seed);

			memcpy(from + i, &bytes, 8);
		}
		for (size_t i = 0; round % 2 && i < sizeof from; i++)
			from[i] = (char)(from[i] ? from[i] : '\n');
		plain_text(once, from, sizeof once, true);
		plain_text(again, once, sizeof again, true);
		assert_true(g_utf8_validate(once, -1, NULL));
		assert_true(strlen(once) <= strnlen(from, sizeof from));
		assert_string_equal(again, once);
		for (const char *at = once; *at; at = g_utf8_next_char(at))
			assert_true(g_unichar_isprint(g_utf8_get_char(at)));
	}
}

static void assert_utf8(const char *from, size_t size, const char *want)
{
	char out[64];

	assert_true(PLAIN_UTF8_ROOM(size) <= sizeof out);
	plain_utf8(out, from, size);
	assert_string_equal(out, want);
}

static void assert_label(const char *from, size_t size, const char *want)
{
	char out[64];

	assert_true(PLAIN_UTF8_ROOM(size) <= sizeof out);
	plain_label(out, from, size);
	assert_string_equal(out, want);
}

#define BAD "\xef\xbf\xbd"

static void only_bytes_that_are_not_utf8_are_replaced(void **state)
{
	(void)state;
	assert_utf8("pt main\n\"\\\x1b\x7f", 16, "pt main\n\"\\\x1b\x7f");
	assert_utf8("caf\xc3\xa9\xe2\x80\xa8", 16, "caf\xc3\xa9\xe2\x80\xa8");
	assert_utf8("\xff\xc3(\xed\xa0\x80", 16, BAD BAD "(" BAD BAD BAD);
	assert_utf8("aaaa\xe6\xbc\xa2", 7, "aaaa" BAD BAD);
	assert_utf8("", 16, "");
}

static void quotation_marks_backslashes_and_ends_of_lines_are_escaped_in_labels(void **state)
{
	(void)state;
	assert_label("a\"b\\c\nd", 16, "a\\\"b\\\\c\\nd");
	assert_label("\\\\\"\"\n\n", 16, "\\\\\\\\\\\"\\\"\\n\\n");
	assert_label("caf\xc3\xa9 {x=1}", 16, "caf\xc3\xa9 {x=1}");
}

static void what_cannot_be_shown_is_replaced_in_labels(void **state)
{
	(void)state;
	assert_label("\x1b[31m\x7f\t\r", 16, BAD "[31m" BAD BAD BAD);
	assert_label("\xff\xe2\x80\xa8x", 16, BAD BAD BAD BAD "x");
}

static void assert_any_bytes(const char from[16])
{
	char text[PLAIN_UTF8_ROOM(16)], label[PLAIN_UTF8_ROOM(16)];

	plain_utf8(text, from, 16);
	plain_label(label, from, 16);
	assert_true(g_utf8_validate(text, -1, NULL));
	assert_true(g_utf8_validate(label, -1, NULL));
	for (const char *at = label; *at; at = g_utf8_next_char(at)) {
		assert_true(g_unichar_isprint(g_utf8_get_char(at)) && *at != '"');
		if (*at == '\\')
			assert_non_null(strchr("\\\"n", *++at));
	}
}

static void any_bytes_become_utf8_and_a_label(void **state)
{
	uint64_t seed = 88172645463325252ull;
	char from[16];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof from; i++)
			from[i] = round % 2 ? (char)(unit_random(&seed) | 1)
					    : "\\\"\n\xc3\xa9\xff\x1b"
					      "a"[unit_random(&seed) % 8];
		assert_any_bytes(from);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_word_is_letters_digits_and_a_few_signs),
		cmocka_unit_test(anything_else_is_no_word),
		cmocka_unit_test(a_word_must_end_within_its_field),
		cmocka_unit_test(a_pci_address_has_one_form),
		cmocka_unit_test(printable_text_stays_as_it_is),
		cmocka_unit_test(spaces_are_kept_only_where_they_are_welcome),
		cmocka_unit_test(controls_and_backslashes_become_question_marks),
		cmocka_unit_test(bytes_that_are_not_utf8_become_question_marks),
		cmocka_unit_test(a_character_that_was_cut_in_two_is_not_shown),
		cmocka_unit_test(text_need_not_end),
		cmocka_unit_test(any_bytes_become_plain),
		cmocka_unit_test(only_bytes_that_are_not_utf8_are_replaced),
		cmocka_unit_test(
			quotation_marks_backslashes_and_ends_of_lines_are_escaped_in_labels),
		cmocka_unit_test(what_cannot_be_shown_is_replaced_in_labels),
		cmocka_unit_test(any_bytes_become_utf8_and_a_label),
	};

	return RUN(tests);
}
