/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the allocation server: what the whole view, all sources together, says of a device, in
 * the form of the question. Pure: the model in, bytes out. */
#ifndef ALLOC_ANSWER_H
#define ALLOC_ANSWER_H

#include "alloc_stream.h"
#include "model.h"

struct alloc_question {
	enum alloc_type type; /* QUERY or DEVICE_INFO_QUERY */
	int32_t device;
	unsigned int form; /* the length of the question, and so of its answer */
};

/* Writes the answer to a question. The sources must be up to date. */
void alloc_answer(struct model *model, const struct alloc_question *question,
		  uint8_t answer[ALLOC_FORM_MAX]);

#endif
