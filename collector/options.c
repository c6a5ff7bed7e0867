/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"
#include "log.h"
#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *argp_program_version = "ttmemd " TTMEM_VERSION;

static const struct argp_option argp_options[] = {
	{"mount", 'm', "DIR", 0, "Mount at DIR, an empty directory [/run/ttmem]", 0},
	{"socket", 's', "PATH", 0, "Listen for clients at PATH [/run/ttmemd/ttmemd.sock]", 0},
	{"foreground", 'f', NULL, 0, "Stay in the foreground and log to stderr", 0},
	{"log-level", 'l', "LEVEL", 0, "error, warning, info or debug [info]", 0},
	{0},
};

static const char doc[] =
	"Shows which process holds how much Tenstorrent device memory, as files."
	"\vRun by an ordinary user, it shows that user's own processes and uses "
	"$XDG_RUNTIME_DIR/ttmem and $XDG_RUNTIME_DIR/ttmemd/ttmemd.sock.\n\n"
	"It ends, and unmounts, at SIGTERM or SIGINT. Exit status: 0, 64 for a wrong command line, "
	"78 when it cannot run as configured (the message says what to do), 1 for anything else.";

static error_t parse_one(int key, char *value, struct argp_state *state)
{
	struct options *options = state->input;

	if (value && !*value)
		argp_error(state, "an option's value is empty");
	switch (key) {
	case 'm':
		g_free(options->mount);
		options->mount = g_canonicalize_filename(value, NULL);
		return 0;
	case 's':
		g_free(options->socket);
		options->socket = g_canonicalize_filename(value, NULL);
		return 0;
	case 'f':
		options->foreground = true;
		return 0;
	case 'l':
		if (log_set_level(value))
			argp_error(state, "'%s' is no log level: use error, warning, info or debug",
				   value);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are only options", value);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Where a default is, for root and for others. NULL when the user has no runtime directory. */
static char *runtime_path(const char *root, const char *below_user)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return g_strdup(root);
	return runtime && *runtime == '/' ? g_build_filename(runtime, below_user, NULL) : NULL;
}

int options_parse(struct options *options, int argc, char **argv)
{
	static const struct argp argp = {argp_options, parse_one, NULL, doc, NULL, NULL, NULL};

	*options = (struct options){0};
	log_set_level("info");
	argp_parse(&argp, argc, argv, 0, NULL, options);
	options->default_mount = !options->mount;
	options->default_socket = !options->socket;
	if (!options->mount)
		options->mount = runtime_path("/run/ttmem", "ttmem");
	if (!options->socket)
		options->socket = runtime_path("/run/ttmemd/ttmemd.sock", "ttmemd/ttmemd.sock");
	if (options->mount && options->socket)
		return 0;
	log_error("XDG_RUNTIME_DIR is not set, so there is no default place: give both --mount and "
		  "--socket");
	return EXIT_CONFIG;
}

void options_free(struct options *options)
{
	g_free(options->mount);
	g_free(options->socket);
}
