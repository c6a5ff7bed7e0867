/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "plain.h"
#include <string.h>

void json_set_number(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new_nocheck(
		object, key, json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number));
}

void json_set_text(json_t *object, const char *key, const char *text)
{
	size_t size = strlen(text) + 1;
	g_autofree char *plain = g_malloc(PLAIN_UTF8_ROOM(size));

	plain_utf8(plain, text, size);
	json_object_set_new_nocheck(object, key, json_string_nocheck(plain));
}

void json_set_time(json_t *object, const char *key, uint64_t ns)
{
	uint64_t ms = ns / 1000000u;

	json_object_set_new_nocheck(object, key, json_real((double)ms / 1000));
}

void json_set_kinds(json_t *object, const char *key, const uint64_t numbers[KIND_COUNT],
		    unsigned int kinds)
{
	json_t *set = json_object();

	for (; kinds; kinds &= kinds - 1)
		json_set_number(set, kind_name((enum kind)__builtin_ctz(kinds)),
				numbers[__builtin_ctz(kinds)]);
	json_object_set_new_nocheck(object, key, set);
}

/* DEL is the one control character that the library leaves as it is. It can only be in a string,
 * and terminals should not get it. */
static void escape_del(GString *out, size_t from)
{
	const char *del;

	while ((del = memchr(out->str + from, '\x7f', out->len - from))) {
		from = (size_t)(del - out->str);
		g_string_erase(out, (gssize)from, 1);
		g_string_insert(out, (gssize)from, "\\u007f");
	}
}

/* Thirteen digits are milliseconds since the epoch. */
#define FORM (JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(13))

#define ROOM 4096

/* Right into the text: the library's own way is to hand over piece by piece, each some bytes. */
void json_write(GString *out, json_t *value)
{
	size_t from = out->len, room = ROOM, size;

	for (;; room = size) {
		g_string_set_size(out, from + room);
		size = json_dumpb(value, out->str + from, room, FORM);
		if (size <= room)
			break;
	}
	g_string_set_size(out, from + size);
	escape_del(out, from);
	json_decref(value);
}
