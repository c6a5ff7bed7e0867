/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"
#include "log.h"
#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HISTORY_SECONDS     900
#define HISTORY_SECONDS_MAX 86400
#define NOTIFY_MS           50
#define NOTIFY_MS_MAX       60000
#define BUSY_POLL_US        100
#define BUSY_POLL_US_MAX    1000

#define ALLOC_SOCKET  "/tmp/tt_allocation_server.sock"
#define DRIVER_SYSFS  "/sys/class/tenstorrent"
#define DRIVER_PROCFS "/proc/driver/tenstorrent"

enum {
	OPTION_SYSFS = 256,
	OPTION_PROCFS,
	OPTION_HISTORY,
	OPTION_NOTIFY,
	OPTION_BUSY_POLL,
	OPTION_HIDEPID,
	OPTION_HIDEPID_GROUP,
};

const char *argp_program_version = "ttmemd " TTMEM_VERSION;

static const struct argp_option argp_options[] = {
	{"mount", 'm', "DIR", 0, "Mount at DIR, an empty directory [/run/ttmem]", 0},
	{"socket", 's', "PATH", 0, "Listen for clients at PATH [/run/ttmemd/ttmemd.sock]", 0},
	{"shm", 'd', "DIR", 0,
	 "Look for TT-Metal's regions in DIR; can be given several times [/dev/shm]", 0},
	{"alloc-server", 'a', "PATH", OPTION_ARG_OPTIONAL,
	 "Be the older allocation server too, at PATH [" ALLOC_SOCKET "]", 0},
	{"driver-sysfs", OPTION_SYSFS, "DIR", 0, "The driver's class directory [" DRIVER_SYSFS "]",
	 0},
	{"driver-procfs", OPTION_PROCFS, "DIR", 0, "The driver's pid lists [" DRIVER_PROCFS "]", 0},
	{"history", OPTION_HISTORY, "SECONDS", 0,
	 "Keep each device's use of so many seconds, which takes a wake-up a second; 0: do not "
	 "[900]",
	 0},
	{"notify-interval", OPTION_NOTIFY, "MS", 0,
	 "Tell watchers of a file at most so often, in milliseconds [50]", 0},
	{"busy-poll", OPTION_BUSY_POLL, "US", 0,
	 "Where it makes reads faster, stay awake so many microseconds for the next one; 0: do not "
	 "[100]",
	 0},
	{"hidepid", OPTION_HIDEPID, "MODE", 0,
	 "Hide processes from other users: off, noaccess or invisible [off]", 0},
	{"hidepid-group", OPTION_HIDEPID_GROUP, "GROUP", 0,
	 "Hide nothing from the members of GROUP, a name or number", 0},
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

static void set_path(char **path, const char *value)
{
	g_free(*path);
	*path = g_canonicalize_filename(value, NULL);
}

static uint32_t number_parse(const char *text, const char *unit, uint32_t from, uint32_t to,
			     struct argp_state *state)
{
	guint64 number;

	if (!g_ascii_string_to_unsigned(text, 10, from, to, &number, NULL))
		argp_error(state, "'%s' is no number of %s from %u to %u", text, unit, from, to);
	return (uint32_t)number;
}

static void set_hidepid(struct options *options, const char *mode, struct argp_state *state)
{
	options->has_hidepid = true;
	if (hidepid_parse_mode(mode, &options->hidepid.mode))
		argp_error(state, "'%s' is no way to hide: use off, noaccess or invisible", mode);
}

static error_t parse_one(int key, char *value, struct argp_state *state)
{
	struct options *options = state->input;

	if (value && !*value)
		argp_error(state, "an option's value is empty");
	switch (key) {
	case 'm':
		set_path(&options->mount, value);
		return 0;
	case 's':
		set_path(&options->socket, value);
		return 0;
	case 'a':
		set_path(&options->alloc_socket, value ? value : ALLOC_SOCKET);
		return 0;
	case 'd':
		g_ptr_array_add(options->shm, g_canonicalize_filename(value, NULL));
		return 0;
	case OPTION_SYSFS:
		set_path(&options->driver_sysfs, value);
		return 0;
	case OPTION_PROCFS:
		set_path(&options->driver_procfs, value);
		return 0;
	case OPTION_HISTORY:
		options->history_seconds =
			number_parse(value, "seconds", 0, HISTORY_SECONDS_MAX, state);
		return 0;
	case OPTION_NOTIFY:
		options->notify_ms = number_parse(value, "milliseconds", 1, NOTIFY_MS_MAX, state);
		return 0;
	case OPTION_BUSY_POLL:
		options->busy_poll_us =
			number_parse(value, "microseconds", 0, BUSY_POLL_US_MAX, state);
		return 0;
	case OPTION_HIDEPID:
		set_hidepid(options, value, state);
		return 0;
	case OPTION_HIDEPID_GROUP:
		g_free(options->hidepid_group);
		options->hidepid_group = g_strdup(value);
		return 0;
	case 'f':
		options->foreground = true;
		return 0;
	case 'l':
		if (log_set_level(value))
			argp_error(state, "'%s' is no log level: use error, warning, info or debug",
				   value);
		return 0;
	case ARGP_KEY_END:
		if (options->hidepid_group && !options->has_hidepid)
			argp_error(state,
				   "--hidepid-group by itself hides nothing: give --hidepid, too");
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

static int take_group(struct options *options)
{
	struct hidepid *hidepid = &options->hidepid;

	if (!options->hidepid_group)
		return 0;
	if (hidepid_parse_group(options->hidepid_group, &hidepid->group)) {
		log_error("there is no group '%s': make it with groupadd, or give another "
			  "--hidepid-group",
			  options->hidepid_group);
		return EXIT_CONFIG;
	}
	hidepid->has_group = true;
	return 0;
}

int options_parse(struct options *options, int argc, char **argv)
{
	static const struct argp argp = {argp_options, parse_one, NULL, doc, NULL, NULL, NULL};

	*options = (struct options){.history_seconds = HISTORY_SECONDS,
				    .notify_ms = NOTIFY_MS,
				    .busy_poll_us = BUSY_POLL_US};
	options->shm = g_ptr_array_new_with_free_func(g_free);
	set_path(&options->driver_sysfs, DRIVER_SYSFS);
	set_path(&options->driver_procfs, DRIVER_PROCFS);
	log_set_level("info");
	argp_parse(&argp, argc, argv, 0, NULL, options);
	if (!options->shm->len)
		g_ptr_array_add(options->shm, g_strdup("/dev/shm"));
	g_ptr_array_add(options->shm, NULL);
	options->default_mount = !options->mount;
	options->default_socket = !options->socket;
	if (!options->mount)
		options->mount = runtime_path("/run/ttmem", "ttmem");
	if (!options->socket)
		options->socket = runtime_path("/run/ttmemd/ttmemd.sock", "ttmemd/ttmemd.sock");
	if (options->mount && options->socket)
		return take_group(options);
	log_error("XDG_RUNTIME_DIR is not set, so there is no default place: give both --mount and "
		  "--socket");
	return EXIT_CONFIG;
}

void options_free(struct options *options)
{
	g_free(options->mount);
	g_free(options->socket);
	g_free(options->alloc_socket);
	g_free(options->hidepid_group);
	g_free(options->driver_sysfs);
	g_free(options->driver_procfs);
	g_ptr_array_free(options->shm, TRUE);
}
