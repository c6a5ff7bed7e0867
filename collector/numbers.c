/* SPDX-License-Identifier: Apache-2.0 */
#include "numbers.h"

GHashTable *numbers_new(void)
{
	return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
}

void numbers_add(GHashTable *numbers, uint64_t number)
{
	g_hash_table_add(numbers, g_memdup2(&number, sizeof number));
}
