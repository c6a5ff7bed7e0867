/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ended, for those who are not its parent. */
#ifndef ENDING_H
#define ENDING_H

#include "model.h"

/* Whether it lives on, or has ended and perhaps been waited for. What is not known stays so. */
void ending_note(const struct model *model, struct process *process, int pidfd);

#endif
