/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of ttmem-sim. argp ends the process with status 64 on a usage error. */
#ifndef TTMEM_SIM_OPTIONS_H
#define TTMEM_SIM_OPTIONS_H

#include "models.h"
#include "ttmem.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORKERS  256
#define array_len(a) (sizeof(a) / sizeof((a)[0]))

static struct {
	const struct model *model;
	unsigned n_devices;
	unsigned devices[TTMEM_MAX_DEVICES];
	uint64_t n_workers, seed, steps, step_ms, load_ms;
	double scale;
	bool leak, quiet;
} options = {.model = models, .n_devices = 1, .seed = 1, .step_ms = 200, .load_ms = 50, .scale = 1};

enum { OPT_STEP_MS = 256, OPT_LOAD_MS, OPT_SCALE, OPT_LEAK };

const char *argp_program_version = "ttmem-sim " TTMEM_VERSION;

static const struct argp_option argp_options[] = {
	{"model", 'm', "NAME", 0, "What to run, and the name of the process (llama-8b)", 0},
	{"devices", 'd', "LIST", 0, "Devices to divide the model over: 0,1 or 0-3 (0)", 0},
	{"threads", 't', "N", 0, "Worker threads (one for each device)", 0},
	{"seed", 's', "N", 0, "Start of the random sequence (1)", 0},
	{"steps", 'n', "N", 0, "End after so many decode steps; 0: go on for ever (0)", 0},
	{"step-ms", OPT_STEP_MS, "N", 0, "Duration of a decode step (200)", 0},
	{"load-ms", OPT_LOAD_MS, "N", 0, "Duration of the load of one layer (50)", 0},
	{"scale", OPT_SCALE, "F", 0, "Multiply every size by F (1)", 0},
	{"leak", OPT_LEAK, NULL, 0, "Free nothing at the end", 0},
	{"quiet", 'q', NULL, 0, "Print nothing but errors", 0},
	{0},
};

static uint64_t parse_number(struct argp_state *state, const char *what, const char *text,
			     uint64_t least, uint64_t most)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	/* strtoull takes signs and blanks: "-1" would be a very large number. */
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < least || value > most)
		argp_error(state, "%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, what,
			   text, least, most);
	return value;
}

static double parse_scale(struct argp_state *state, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value) || value <= 0 || value > 1000)
		argp_error(state, "--scale: '%s' is not a factor above 0 and up to 1000", text);
	return value;
}

static const struct model *parse_model(struct argp_state *state, const char *name)
{
	for (size_t i = 0; i < array_len(models); i++)
		if (!strcmp(models[i].name, name))
			return &models[i];
	argp_error(state, "--model: '%s' is none of " MODEL_NAMES, name);
	return NULL;
}

static void add_device(struct argp_state *state, unsigned device)
{
	for (unsigned i = 0; i < options.n_devices; i++)
		if (options.devices[i] == device)
			argp_error(state, "--devices: %u is there twice", device);
	options.devices[options.n_devices++] = device;
}

static void parse_devices(struct argp_state *state, char *list)
{
	const uint64_t last = TTMEM_MAX_DEVICES - 1;
	char *item;

	options.n_devices = 0;
	while ((item = strsep(&list, ","))) {
		uint64_t from = parse_number(state, "--devices", strsep(&item, "-"), 0, last);
		uint64_t to = item ? parse_number(state, "--devices", item, from, last) : from;

		for (uint64_t device = from; device <= to; device++)
			add_device(state, (unsigned)device);
	}
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	static const struct {
		int key;
		const char *name;
		uint64_t least, most, *value;
	} numbers[] = {
		{'t', "--threads", 1, MAX_WORKERS, &options.n_workers},
		{'s', "--seed", 0, UINT64_MAX, &options.seed},
		{'n', "--steps", 0, UINT64_MAX, &options.steps},
		{OPT_STEP_MS, "--step-ms", 0, INT32_MAX, &options.step_ms},
		{OPT_LOAD_MS, "--load-ms", 0, INT32_MAX, &options.load_ms},
	};

	for (size_t i = 0; i < array_len(numbers); i++) {
		if (numbers[i].key != key)
			continue;
		*numbers[i].value = parse_number(state, numbers[i].name, arg, numbers[i].least,
						 numbers[i].most);
		return 0;
	}
	if (key == 'm')
		options.model = parse_model(state, arg);
	else if (key == 'd')
		parse_devices(state, arg);
	else if (key == OPT_SCALE)
		options.scale = parse_scale(state, arg);
	else if (key == OPT_LEAK)
		options.leak = true;
	else if (key == 'q')
		options.quiet = true;
	else if (key == ARGP_KEY_ARG)
		argp_error(state, "'%s' is not an option", arg);
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.doc = "Simulate a model that runs on Tenstorrent devices, for ttmemd to show."
	       "\vModels: " MODEL_NAMES ". llama-70b needs 4 devices or more."
	       "\n\nSIGINT and SIGTERM free everything and end it with status 0.",
};

static void parse_options(int argc, char **argv)
{
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!options.n_workers)
		options.n_workers = options.n_devices;
}

#endif
