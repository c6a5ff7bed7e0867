/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the model. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "model.h"

void process_free(gpointer data);
/* Before a claim that counted ends: returns what it held at last. */
void holding_count_out(struct holding *holding, struct amount amounts[KIND_COUNT]);
void holding_drop(struct model *model, struct source *source, struct holding *holding);

void model_devices_init(struct model *model);
gint model_compare_numbers(gconstpointer a, gconstpointer b, gpointer data);

#endif
