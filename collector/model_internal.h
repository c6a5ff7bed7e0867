/* SPDX-License-Identifier: Apache-2.0 */
/* Between model.c and device.c. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "model.h"

void model_devices_init(struct model *model);
gint model_compare_numbers(gconstpointer a, gconstpointer b, gpointer data);

#endif
