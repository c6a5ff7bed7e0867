/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "hidepid.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define EXIT_USAGE  64 /* EX_USAGE of sysexits.h */
#define EXIT_CONFIG 78 /* EX_CONFIG */

struct options {
	char *mount;
	char *socket;
	char *alloc_socket; /* of the older allocation server's protocol; NULL: not asked for */
	char *driver_sysfs;
	char *driver_procfs;
	GPtrArray *shm;           /* char *: directories with TT-Metal's regions; ends with NULL */
	uint32_t history_seconds; /* 0: none is kept */
	uint32_t notify_ms;       /* between two events of a file */
	uint32_t busy_poll_us;
	char *hidepid_group; /* as it was given; NULL: it was not */
	struct hidepid hidepid;
	bool has_hidepid; /* it was asked for, if only for "off" */
	bool foreground;
	bool default_mount;  /* not named by the user: made when missing, removed at the end */
	bool default_socket; /* likewise its directory */
};

/* Exits with EXIT_USAGE itself when the line is wrong, and with 0 after --help and --version.
 * Returns 0, or EXIT_CONFIG after a message when there are no defaults to be had. */
int options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

#endif
