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

#endif
