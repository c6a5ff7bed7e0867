/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"
#include <ctype.h>
#include <glib.h>
#include <string.h>

void plain_word(char *to, const char *from, size_t size)
{
	size_t length = strnlen(from, size);

	*to = 0;
	if (length == size)
		return;
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isalnum(from[i]) && !strchr("._:+-", from[i]))
			return;
	memcpy(to, from, length + 1);
}

void plain_pci(char *to, const char *from, size_t size)
{
	static const char form[] = "xxxx:xx:xx.x";
	size_t i;

	*to = 0;
	if (size < sizeof form || strnlen(from, size) != sizeof form - 1)
		return;
	for (i = 0; form[i]; i++)
		if (form[i] == 'x' ? !g_ascii_isxdigit(from[i]) : from[i] != form[i])
			return;
	for (i = 0; form[i]; i++)
		to[i] = g_ascii_tolower(from[i]);
	to[i] = 0;
}

/* Length of the printable character at `at`, 0 if there is none. */
static size_t printable(const char *at, size_t room, bool spaces)
{
	gunichar c;

	if (g_ascii_isgraph(*at) || (spaces && *at == ' '))
		return *at == '\\' ? 0 : 1;
	if (!(*at & 0x80))
		return 0;
	c = g_utf8_get_char_validated(at, (gssize)room);
	if (c == (gunichar)-1 || c == (gunichar)-2 || !g_unichar_isgraph(c) || g_unichar_isspace(c))
		return 0;
	return (size_t)g_unichar_to_utf8(c, NULL);
}

void plain_text(char *to, const char *from, size_t size, bool spaces)
{
	size_t length = strnlen(from, size - 1), out = 0;

	for (size_t i = 0; i < length;) {
		size_t bytes = printable(from + i, length - i, spaces);

		if (bytes)
			memcpy(to + out, from + i, bytes);
		else
			to[out] = '?';
		out += bytes ? bytes : 1;
		i += bytes ? bytes : 1;
	}
	to[out] = 0;
}

/* So many bytes; if they are none, U+FFFD in place of what is there. */
static char *put(char *to, const char *from, size_t bytes)
{
	memcpy(to, bytes ? from : "\xef\xbf\xbd", bytes ? bytes : 3);
	return to + (bytes ? bytes : 3);
}

void plain_utf8(char *to, const char *from, size_t size)
{
	size_t length = strnlen(from, size - 1);

	for (size_t i = 0; i < length;) {
		gunichar c = g_utf8_get_char_validated(from + i, (gssize)(length - i));
		size_t bytes = c > 0x10ffff ? 0 : (size_t)g_unichar_to_utf8(c, NULL);

		to = put(to, from + i, bytes);
		i += bytes ? bytes : 1;
	}
	*to = 0;
}

void plain_label(char *to, const char *from, size_t size)
{
	size_t length = strnlen(from, size - 1);

	for (size_t i = 0; i < length;) {
		size_t bytes = printable(from + i, length - i, true);

		if (strchr("\\\"", from[i]))
			to = put(to, from[i] == '"' ? "\\\"" : "\\\\", 2);
		else if (from[i] == '\n')
			to = put(to, "\\n", 2);
		else
			to = put(to, from + i, bytes);
		i += bytes ? bytes : 1;
	}
	*to = 0;
}
