/* SPDX-License-Identifier: Apache-2.0 */
/* What a report says, line by line. */
#ifndef TESTS_UNIT_REPORT_TEXT_H
#define TESTS_UNIT_REPORT_TEXT_H

#include "isolated.h"

static char text[1 << 16];

/* How often `what` is in the text. */
static inline unsigned int count_of(const char *what)
{
	unsigned int count = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		count++;
	return count;
}

/* A line of the text, with runs of spaces as one. */
static inline void assert_line(const char *wanted)
{
	char line[256];
	size_t length = 0;

	for (const char *at = text; *at; at++) {
		if (*at == '\n') {
			line[length] = 0;
			if (strcmp(line, wanted) == 0)
				return;
			length = 0;
		} else if (length < sizeof line - 1 && (*at != ' ' || (length && at[-1] != ' '))) {
			line[length++] = *at;
		}
	}
	fail_msg("no line \"%s\" in:\n%s", wanted, text);
}

#endif
