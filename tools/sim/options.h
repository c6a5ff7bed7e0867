/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of ttmem-sim. argp ends the process with status 64 on a usage error. */
#ifndef TTMEM_SIM_OPTIONS_H
#define TTMEM_SIM_OPTIONS_H

#include "cards.h"
#include "models.h"
#include "ttmem.h"

#include <stdbool.h>
#include <stdint.h>

#define MAX_WORKERS 256

enum report_as { AS_NATIVE, AS_METAL, AS_SERVER };

/* What a writer of TT-Metal's shared memory can do wrong. */
enum fault { FAULT_NONE, FAULT_GHOST, FAULT_WRAP, FAULT_CROWD, FAULT_TORN, FAULT_TRUNCATE };

struct options {
	const struct model *model;
	const struct board *board;
	unsigned n_devices;
	unsigned devices[TTMEM_MAX_DEVICES];
	uint64_t n_workers, seed, steps, step_ms, load_ms;
	double scale;
	bool leak, quiet;
	const char *hold; /* a tree of ttmem-fake-driver, or NULL */
	enum report_as as;
	/* AS_METAL */
	const char *shm;
	uint64_t layout;
	bool gateway, clock_boot;
	enum fault fault;
	/* AS_SERVER */
	const char *alloc_socket;
	uint64_t form; /* bytes of a message */
	bool python;
};

extern struct options options;

void parse_options(int argc, char **argv);

#endif
