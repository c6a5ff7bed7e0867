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
