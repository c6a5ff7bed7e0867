/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of numbers of 64 bits, and tables by such a number. For g_hash_table_destroy(). */
#ifndef NUMBERS_H
#define NUMBERS_H

#include <glib.h>
#include <stdint.h>

GHashTable *numbers_new(void);
void numbers_add(GHashTable *numbers, uint64_t number);

#endif
