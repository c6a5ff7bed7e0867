/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of memory, in the order in which they are shown. */
#ifndef KIND_H
#define KIND_H

#include "ttmem.h"

enum kind { KIND_COUNT = TTMEM_KINDS };

#define KINDS_ALL ((1u << KIND_COUNT) - 1)

/* The name in paths and keys: "dram", "l1"... */
const char *kind_name(enum kind kind);

#endif
