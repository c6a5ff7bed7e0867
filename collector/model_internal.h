/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the model. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "model.h"

void model_tell(const struct model *model, enum model_change change, struct process *process,
		struct device *device);
void process_free(gpointer data);
void holding_free(gpointer data);
/* Ends the source's claim, and the holding if it was the only one: what it held at last by the
 * source's word, if that counted, else nothing. */
void holding_drop(struct model *model, struct source *source, struct holding *holding,
		  struct amount amounts[KIND_COUNT]);
/* The highest sum that the source which counts knows of; 0: it does not know. */
uint64_t holding_own_peak(const struct holding *holding, enum kind kind);

/* The sums alone: nothing is noted. */
void holding_sums(struct holding *holding, unsigned int kinds, struct amount amounts[KIND_COUNT]);

/* Whether there is time left: a moment at once, and a part of all time in the long run. What is
 * spent is a CPU's time: on a busy machine it takes longer, and costs no more. */
bool budget_left(struct budget *budget, uint64_t now);
void budget_spend(struct budget *budget, uint64_t spent_ns);

void model_devices_init(struct model *model);
gint model_compare_numbers(gconstpointer a, gconstpointer b, gpointer data);

#endif
