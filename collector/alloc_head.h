/* SPDX-License-Identifier: Apache-2.0 */
/* What alloc_stream.c knows of a message: how long it may be, and by what it is recognised. */
#ifndef ALLOC_HEAD_H
#define ALLOC_HEAD_H

#include "alloc_stream.h"
#include <endian.h>
#include <string.h>

/* A bit for each form, in order of length. */
enum { ALLOC_F72 = 1, ALLOC_F112 = 2, ALLOC_F128 = 4, ALLOC_F144 = 8, ALLOC_ALL_FORMS = 15 };

static inline unsigned int alloc_form_bit(unsigned int form)
{
	return form == 72    ? ALLOC_F72
	       : form == 112 ? ALLOC_F112
	       : form == 128 ? ALLOC_F128
	       : form == 144 ? ALLOC_F144
			     : 0;
}

/* In bytes; 0 if there is none. */
static inline unsigned int alloc_form_shortest(unsigned int forms)
{
	return forms & ALLOC_F72    ? 72
	       : forms & ALLOC_F112 ? 112
	       : forms & ALLOC_F128 ? 128
	       : forms & ALLOC_F144 ? 144
				    : 0;
}

static inline bool alloc_form_one(unsigned int forms)
{
	return forms && !(forms & (forms - 1));
}

/* The start of a message, up to the process id, as on the wire. The sender is on this host: numbers
 * are in its order. */
struct alloc_head {
	uint32_t type; /* and three zero bytes */
	int32_t device;
	uint64_t size;
	uint32_t buffer_type; /* and three zero bytes */
	int32_t pid;
};

#define ALLOC_BIT(type)   (1u << (type))
#define ALLOC_QUESTIONS   (ALLOC_BIT(ALLOC_QUERY) | ALLOC_BIT(ALLOC_DEVICE_INFO_QUERY))
#define ALLOC_NAMELESS    (ALLOC_QUESTIONS | ALLOC_BIT(ALLOC_DUMP_REMAINING))
#define ALLOC_SHORT_TYPES (ALLOC_NAMELESS | ALLOC_BIT(ALLOC_ALLOC) | ALLOC_BIT(ALLOC_FREE))
#define ALLOC_LONG_TYPES  (ALLOC_SHORT_TYPES | 0xfu << ALLOC_CB_ALLOC)

_Static_assert(sizeof(struct alloc_head) == 24, "as on the wire");

static inline struct alloc_head alloc_head_at(const uint8_t *at)
{
	struct alloc_head head;

	memcpy(&head, at, sizeof head);
	head.type = le32toh(head.type);
	head.buffer_type = le32toh(head.buffer_type);
	return head;
}

/* In questions the process id may be anything. */
static inline bool alloc_head_has_pid(const uint8_t *at)
{
	return !(ALLOC_BIT(*at) & ALLOC_NAMELESS);
}

/* Whether a client may have sent this in the given form. A `pid` of 0: any that can be one. */
static inline bool alloc_head_plausible(const uint8_t *at, unsigned int form, int32_t pid)
{
	struct alloc_head head = alloc_head_at(at);

	if (head.type > ALLOC_KERNEL_UNLOAD ||
	    !(ALLOC_BIT(head.type) & (form < 128 ? ALLOC_SHORT_TYPES : ALLOC_LONG_TYPES)))
		return false;
	if (head.device < -1 || head.device > ALLOC_DEVICE_MAX)
		return false;
	if (head.buffer_type > (head.type == ALLOC_KERNEL_LOAD ? 2 : 6))
		return false;
	return !alloc_head_has_pid(at) || (pid ? head.pid == pid : head.pid > 0);
}

#endif
