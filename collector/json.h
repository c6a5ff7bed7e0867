/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON texts by way of libjansson, which makes them valid whatever is in them. Objects that are set
 * into others belong to those.
 */
#ifndef JSON_H
#define JSON_H

#include "kind.h"
#include <glib.h>
#include <jansson.h>
#include <stdint.h>

/* The library's integers end at 2^63 - 1, and larger ones stay there. */
void json_set_number(json_t *object, const char *key, uint64_t number);

/* Any text that ends with a zero: what is not UTF-8 becomes U+FFFD. */
void json_set_text(json_t *object, const char *key, const char *text);

/* Seconds since the epoch, to the millisecond. */
void json_set_time(json_t *object, const char *key, uint64_t ns);

/* A number for each kind whose bit is set. */
void json_set_kinds(json_t *object, const char *key, const uint64_t numbers[KIND_COUNT],
		    unsigned int kinds);

/* Appends the text, which is ASCII without control characters, and lets go of the value. */
void json_write(GString *out, json_t *value);

#endif
