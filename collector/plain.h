/* SPDX-License-Identifier: Apache-2.0 */
/* Text from elsewhere, made fit to be shown: nothing that breaks a line, a column or a terminal. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdbool.h>
#include <stddef.h>

/* A word of letters, digits and "._:+-"; empty if the text is anything else, or does not end within
 * `size` bytes. */
void plain_word(char *to, const char *from, size_t size);

/* A PCI address in the form 0000:01:00.0, lower case; empty if the text is anything else. */
void plain_pci(char *to, const char *from, size_t size);

/* Any text: control characters, backslashes, spaces (unless `spaces` are welcome) and bytes that
 * are not UTF-8 become "?", and a character that was cut in two becomes its bytes, each a question
 * mark. `to` has room for `size` bytes, of which the last is the ending zero; it need not end
 * within `size`. */
void plain_text(char *to, const char *from, size_t size, bool spaces);

/* Any text as UTF-8: bytes that are not become U+FFFD, and nothing else changes. `from` ends with a
 * zero or after `size` - 1 bytes; `to` has room for PLAIN_UTF8_ROOM(size). */
#define PLAIN_UTF8_ROOM(size) (3 * (size))
void plain_utf8(char *to, const char *from, size_t size);

/* The same between the quotation marks of a Prometheus label: quotation marks, backslashes and ends
 * of lines are escaped, and what cannot be shown becomes U+FFFD. `to` has room for
 * PLAIN_UTF8_ROOM(size). */
void plain_label(char *to, const char *from, size_t size);

#endif
