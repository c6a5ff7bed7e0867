/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define array_len(a)        (sizeof(a) / sizeof((a)[0]))
#define REGION_CHIPS        16 /* in TT-Metal's shared memory */
#define SERVER_LAST_DEVICE  7
#define DEFAULT_FORM        128
#define DEFAULT_PYTHON_FORM 112

struct options options = {
	.model = models,
	.board = boards,
	.n_devices = 1,
	.seed = 1,
	.step_ms = 200,
	.load_ms = 50,
	.scale = 1,
	.shm = "/dev/shm",
	.layout = 4,
	.alloc_socket = "/tmp/tt_allocation_server.sock",
};

enum {
	OPT_STEP_MS = 256,
	OPT_LOAD_MS,
	OPT_SCALE,
	OPT_LEAK,
	OPT_BOARD,
	OPT_HOLD,
	OPT_AS,
	OPT_SHM, /* from here on the options of one --as: see owners */
	OPT_LAYOUT,
	OPT_GATEWAY,
	OPT_CLOCK,
	OPT_FAULT,
	OPT_SOCKET,
	OPT_FORM,
	OPT_PYTHON,
	OPT_END,
};

const char *argp_program_version = "ttmem-sim " TTMEM_VERSION;

static const struct argp_option argp_options[] = {
	{"model", 'm', "NAME", 0, "What to run, and the name of the process (llama-8b)", 0},
	{"devices", 'd', "LIST", 0, "Devices to divide the model over: 0,1 or 0-3 (0)", 0},
	{"board", OPT_BOARD, "NAME", 0, "What card each device is (n300)", 0},
	{"threads", 't', "N", 0, "Worker threads (one for each device)", 0},
	{"seed", 's', "N", 0, "Start of the random sequence (1)", 0},
	{"steps", 'n', "N", 0, "End after so many decode steps; 0: go on for ever (0)", 0},
	{"step-ms", OPT_STEP_MS, "N", 0, "Duration of a decode step (200)", 0},
	{"load-ms", OPT_LOAD_MS, "N", 0, "Duration of the load of one layer (50)", 0},
	{"scale", OPT_SCALE, "F", 0, "Multiply every size by F (1)", 0},
	{"leak", OPT_LEAK, NULL, 0, "Free nothing at the end", 0},
	{"hold", OPT_HOLD, "DIR", 0,
	 "Be in the pids files of a tree made by ttmem-fake-driver, as if the devices were open",
	 0},
	{"quiet", 'q', NULL, 0, "Print nothing but errors", 0},
	{"as", OPT_AS, "FORMAT", 0,
	 "How to report: native (a client of libttmem), tt-metal (an unmodified TT-Metal process), "
	 "alloc-server (a client of the older allocation server) (native)",
	 0},
	{0, 0, NULL, 0, "With --as tt-metal:", 1},
	{"shm", OPT_SHM, "DIR", 0, "Where the shared memory files are (/dev/shm)", 0},
	{"layout", OPT_LAYOUT, "1-4", 0, "Layout of a file (4)", 0},
	{"gateway", OPT_GATEWAY, NULL, 0,
	 "All devices after the first are remote chips in its file, with no file of their own", 0},
	{"clock", OPT_CLOCK, "CLOCK", 0, "Of the times in layouts 1 and 2: boot or epoch (epoch)",
	 0},
	{"fault", OPT_FAULT, "FAULT", 0,
	 "ghost: keep slot and bytes at the end; wrap: subtract what is freed twice; crowd: fill "
	 "the table with 64 other processes first; torn: never finish a new file (layout 4); "
	 "truncate: shorten and restore the files again and again",
	 0},
	{0, 0, NULL, 0, "With --as alloc-server:", 2},
	{"alloc-socket", OPT_SOCKET, "PATH", 0,
	 "Where the server listens (/tmp/tt_allocation_server.sock)", 0},
	{"form", OPT_FORM, "BYTES", 0,
	 "Size of a message: 72, 112, 128 or 144 (128; 112 with --python)", 0},
	{"python", OPT_PYTHON, NULL, 0, "Say device 0 in every FREE, as the Python client does", 0},
	{0},
};

/* Which --as an option belongs to. */
static const enum report_as owners[OPT_END - OPT_SHM] = {
	[OPT_SHM - OPT_SHM] = AS_METAL,     [OPT_LAYOUT - OPT_SHM] = AS_METAL,
	[OPT_GATEWAY - OPT_SHM] = AS_METAL, [OPT_CLOCK - OPT_SHM] = AS_METAL,
	[OPT_FAULT - OPT_SHM] = AS_METAL,   [OPT_SOCKET - OPT_SHM] = AS_SERVER,
	[OPT_FORM - OPT_SHM] = AS_SERVER,   [OPT_PYTHON - OPT_SHM] = AS_SERVER,
};
static bool given[OPT_END - OPT_SHM];

static const char *const formats[] = {"native", "tt-metal", "alloc-server", NULL};
static const char *const clocks[] = {"epoch", "boot", NULL};
static const char *const faults[] = {"none", "ghost", "wrap", "crowd", "torn", "truncate", NULL};

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

/* The number of a word in a list that ends with NULL. */
static int parse_word(struct argp_state *state, const char *what, const char *word,
		      const char *const *words)
{
	char known[128] = "";

	for (int i = 0; words[i]; i++) {
		if (!strcmp(words[i], word))
			return i;
		strcat(strcat(known, i ? ", " : ""), words[i]);
	}
	argp_error(state, "%s: '%s' is none of %s", what, word, known);
	return 0;
}

static const struct model *parse_model(struct argp_state *state, const char *name)
{
	for (size_t i = 0; i < array_len(models); i++)
		if (!strcmp(models[i].name, name))
			return &models[i];
	argp_error(state, "--model: '%s' is none of " MODEL_NAMES, name);
	return NULL;
}

static const struct board *parse_board(struct argp_state *state, const char *name)
{
	const struct board *board = board_find(name);

	if (!board)
		argp_error(state, "--board: '%s' is none of " BOARD_NAMES, name);
	return board;
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

static uint64_t parse_form(struct argp_state *state, const char *text)
{
	if (strcmp(text, "72") && strcmp(text, "112") && strcmp(text, "128") && strcmp(text, "144"))
		argp_error(state, "--form: '%s' is none of 72, 112, 128, 144", text);
	return strtoull(text, NULL, 10);
}

static const char *parse_socket(struct argp_state *state, const char *path)
{
	const size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (!*path || strlen(path) > most)
		argp_error(state, "--alloc-socket: a path of 1 to %zu bytes is needed", most);
	return path;
}

static void check_metal(struct argp_state *state)
{
	options.leak |= options.fault == FAULT_GHOST;
	if (options.gateway && options.n_devices < 2)
		argp_error(state, "--gateway needs two devices or more: see --devices");
	if (options.gateway && options.n_devices > REGION_CHIPS)
		argp_error(state, "--gateway: a file has room for %d devices", REGION_CHIPS);
	if (options.clock_boot && options.layout > 2)
		argp_error(state, "--clock boot needs --layout 1 or 2");
	if (options.fault == FAULT_TORN && options.layout != 4)
		argp_error(state, "--fault torn needs --layout 4: the others have no init state");
}

static void check_server(struct argp_state *state)
{
	for (unsigned i = 0; i < options.n_devices; i++)
		if (options.devices[i] > SERVER_LAST_DEVICE)
			argp_error(state, "--devices: the allocation server knows 0 to %d only",
				   SERVER_LAST_DEVICE);
}

/* What can only be judged when everything is said. */
static void check_options(struct argp_state *state)
{
	for (const struct argp_option *o = argp_options; o->name || o->doc; o++)
		if (o->key >= OPT_SHM && given[o->key - OPT_SHM] &&
		    owners[o->key - OPT_SHM] != options.as)
			argp_error(state, "--%s goes with --as %s only", o->name,
				   formats[owners[o->key - OPT_SHM]]);
	if (options.as == AS_METAL)
		check_metal(state);
	if (options.as == AS_SERVER)
		check_server(state);
	if (!options.n_workers)
		options.n_workers = options.n_devices;
	if (!options.form)
		options.form = options.python ? DEFAULT_PYTHON_FORM : DEFAULT_FORM;
}

/* Whether the option is one with a number. */
static bool parse_numeric(int key, const char *arg, struct argp_state *state)
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
		{OPT_LAYOUT, "--layout", 1, 4, &options.layout},
	};

	for (size_t i = 0; i < array_len(numbers); i++) {
		if (numbers[i].key != key)
			continue;
		*numbers[i].value = parse_number(state, numbers[i].name, arg, numbers[i].least,
						 numbers[i].most);
		return true;
	}
	return false;
}

static bool parse_format_option(int key, char *arg, struct argp_state *state)
{
	if (key == OPT_AS)
		options.as = (enum report_as)parse_word(state, "--as", arg, formats);
	else if (key == OPT_SHM)
		options.shm = arg;
	else if (key == OPT_GATEWAY)
		options.gateway = true;
	else if (key == OPT_CLOCK)
		options.clock_boot = parse_word(state, "--clock", arg, clocks) == 1;
	else if (key == OPT_FAULT)
		options.fault = (enum fault)parse_word(state, "--fault", arg, faults);
	else if (key == OPT_SOCKET)
		options.alloc_socket = parse_socket(state, arg);
	else if (key == OPT_FORM)
		options.form = parse_form(state, arg);
	else if (key == OPT_PYTHON)
		options.python = true;
	else
		return false;
	return true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	if (key >= OPT_SHM && key < OPT_END)
		given[key - OPT_SHM] = true;
	if (parse_numeric(key, arg, state) || parse_format_option(key, arg, state))
		return 0;
	if (key == 'm')
		options.model = parse_model(state, arg);
	else if (key == 'd')
		parse_devices(state, arg);
	else if (key == OPT_BOARD)
		options.board = parse_board(state, arg);
	else if (key == OPT_SCALE)
		options.scale = parse_scale(state, arg);
	else if (key == OPT_LEAK)
		options.leak = true;
	else if (key == OPT_HOLD)
		options.hold = arg;
	else if (key == 'q')
		options.quiet = true;
	else if (key == ARGP_KEY_ARG)
		argp_error(state, "'%s' is not an option", arg);
	else if (key == ARGP_KEY_END)
		check_options(state);
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.doc = "Simulate a model that runs on Tenstorrent devices, for ttmemd to show."
	       "\vModels: " MODEL_NAMES ". llama-70b needs 4 devices or more."
	       "\n\nBoards: " BOARD_NAMES "."
	       "\n\nSIGINT and SIGTERM free everything and end it with status 0.",
};

void parse_options(int argc, char **argv)
{
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
}
