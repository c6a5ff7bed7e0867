/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of files with fixed names. */
#ifndef ENTRIES_H
#define ENTRIES_H

#include "tree.h"

struct entries {
	const struct entry *list;
	size_t count;
};

struct entries entries_of(enum place place);

#endif
