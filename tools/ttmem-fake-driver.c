/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttmem-fake-driver: makes the files that the kernel driver shows, for cards that are not there.
 *
 *   DIR/class/tenstorrent/tenstorrent!N -> ../../devices/.../tenstorrent!N   (/sys/class)
 *   DIR/devices/pci0000:00/0000:0X:00.0/tenstorrent/tenstorrent!N/tt_*       (/sys/devices)
 *   DIR/proc/N/pids                                                (/proc/driver/tenstorrent)
 *
 * It may be run again on a tree that is in use: files are replaced, never rewritten.
 */
#include "sim/cards.h"
#include "sim/tree.h"

#include <argp.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEVICES 255 /* the bus number of the last must fit */
#define MAX_PID     4194304

static struct {
	const char *root;
	unsigned n_boards;
	const struct board *boards[MAX_DEVICES];
	char *pids[MAX_DEVICES]; /* the new text of the file, or NULL */
	bool remove[MAX_DEVICES];
	bool removes, updates;
} options;

/* --- the command line ---------------------------------------------------------------------- */

enum { OPT_ROOT = 256, OPT_DEVICES, OPT_PIDS, OPT_REMOVE };

const char *argp_program_version = "ttmem-fake-driver " TTMEM_VERSION;

static const struct argp_option argp_options[] = {
	{"root", OPT_ROOT, "DIR", 0, "Where the tree is, or is made", 0},
	{"devices", OPT_DEVICES, "LIST", 0, "Make devices 0, 1... of these boards: n300,p150a", 0},
	{"pids", OPT_PIDS, "N:PID[,PID...]", 0,
	 "These processes have device N open, and no others; 'N:' for none", 0},
	{"remove", OPT_REMOVE, "N", 0, "Take device N away; --devices brings it back", 0},
	{0},
};

static uint64_t parse_number(struct argp_state *state, const char *what, const char *text,
			     uint64_t least, uint64_t most)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < least || value > most)
		argp_error(state, "%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, what,
			   text, least, most);
	return value;
}

static void parse_devices(struct argp_state *state, char *list)
{
	char *item;

	options.n_boards = 0;
	while ((item = strsep(&list, ","))) {
		if (options.n_boards == MAX_DEVICES)
			argp_error(state, "--devices: more than %d", MAX_DEVICES);
		options.boards[options.n_boards] = board_find(item);
		if (!options.boards[options.n_boards++])
			argp_error(state, "--devices: '%s' is none of " BOARD_NAMES, item);
	}
}

static void parse_pids(struct argp_state *state, char *arg)
{
	char *number = strsep(&arg, ":"), *item;

	if (!arg) {
		argp_error(state, "--pids: '%s' is not N:PID[,PID...]", number);
		return;
	}
	uint64_t device = parse_number(state, "--pids", number, 0, MAX_DEVICES - 1);
	if (options.pids[device])
		argp_error(state, "--pids: device %" PRIu64 " is there twice", device);
	/* A newline for each comma, and one more. */
	char *text = calloc(1, strlen(arg) + 2), *end = text;
	if (!text)
		err(EXIT_FAILURE, "no memory for a list of pids");
	arg = *arg ? arg : NULL;
	while ((item = strsep(&arg, ",")))
		end += sprintf(end, "%" PRIu64 "\n",
			       parse_number(state, "--pids", item, 0, MAX_PID));
	options.pids[device] = text;
	options.updates = true;
}

static void check_options(struct argp_state *state)
{
	if (!options.root)
		argp_error(state, "--root is missing");
	if (options.removes && options.n_boards)
		argp_error(state, "--remove and --devices: one takes away what the other makes");
	if (!options.removes && !options.n_boards && !options.updates)
		argp_error(state, "nothing to do: give --devices, --pids or --remove");
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		if (options.remove[i] && options.pids[i])
			argp_error(state, "--pids: device %u is removed at the same time", i);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	if (key == OPT_ROOT)
		options.root = arg;
	else if (key == OPT_DEVICES)
		parse_devices(state, arg);
	else if (key == OPT_PIDS)
		parse_pids(state, arg);
	else if (key == OPT_REMOVE)
		options.removes =
			options.remove[parse_number(state, "--remove", arg, 0, MAX_DEVICES - 1)] =
				true;
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
	.doc = "Make the files of a Tenstorrent kernel driver below a directory."
	       "\vBoards: " BOARD_NAMES ".",
};

/* --- the tree ------------------------------------------------------------------------------ */

/* Makes a directory and those above it, but for the root's own. */
static void make_dirs(char *path)
{
	char *slash = path + strlen(options.root);

	if (mkdir(options.root, 0755) && errno != EEXIST)
		err(EXIT_FAILURE, "%s cannot be made", options.root);
	while (slash) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			err(EXIT_FAILURE, "%s cannot be made", path);
		if (slash)
			*slash = '/';
	}
}

static void make_link(const char *target, const char *path)
{
	if (symlink(target, path) && errno != EEXIST)
		err(EXIT_FAILURE, "%s cannot be made", path);
}

static void pci_path(char path[PATH_MAX], unsigned n)
{
	tree_path(path, "%s/devices/pci0000:00/0000:%02x:00.0", options.root, n + 1);
}

static void class_path(char path[PATH_MAX], unsigned n)
{
	tree_path(path, "%s/class/tenstorrent/tenstorrent!%u", options.root, n);
}

static void device_path(char path[PATH_MAX], unsigned n)
{
	tree_path(path, "%s/devices/pci0000:00/0000:%02x:00.0/tenstorrent/tenstorrent!%u",
		  options.root, n + 1, n);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];

	tree_path(path, "%s/%s", dir, name);
	tree_write(path, text);
}

#define write_value(dir, name, ...)                          \
	do {                                                 \
		char value[64];                              \
		snprintf(value, sizeof(value), __VA_ARGS__); \
		write_text(dir, name, value);                \
	} while (0)

static void make_pci(const struct board *board, unsigned n)
{
	char dir[PATH_MAX];

	pci_path(dir, n);
	make_dirs(dir);
	write_value(dir, "vendor", "0x1e52\n");
	write_value(dir, "device", "0x%04x\n", board->pci_device);
	write_value(dir, "numa_node", "0\n");
}

static void make_attributes(const struct board *board, unsigned n)
{
	char dir[PATH_MAX], path[PATH_MAX], target[64];

	device_path(dir, n);
	make_dirs(dir);
	write_value(dir, "tt_card_type", "%s\n", board->name);
	write_value(dir, "tt_serial", "%016" PRIX64 "\n", card_serial(board, n));
	write_value(dir, "tt_asic_id", "%016" PRIX64 "\n", card_asic_id(n));
	write_value(dir, "tt_fw_bundle_ver", "18.12.0.0\n");
	write_value(dir, "tt_aiclk", "%u\n", board->aiclk);
	write_value(dir, "tt_heartbeat", "%u\n", 31337 + n);
	tree_path(path, "%s/device", dir);
	snprintf(target, sizeof(target), "../../../0000:%02x:00.0", n + 1);
	make_link(target, path);
}

/* The link in the class directory comes last: a device is whole when it can be seen. */
static void make_device(const struct board *board, unsigned n)
{
	char path[PATH_MAX], target[128];

	make_pci(board, n);
	make_attributes(board, n);
	tree_path(path, "%s/proc/%u", options.root, n);
	make_dirs(path);
	tree_path(path, "%s/proc/%u/pids", options.root, n);
	if (access(path, F_OK))
		tree_write(path, "");
	tree_path(path, "%s/class/tenstorrent", options.root);
	make_dirs(path);
	class_path(path, n);
	snprintf(target, sizeof(target),
		 "../../devices/pci0000:00/0000:%02x:00.0/tenstorrent/tenstorrent!%u", n + 1, n);
	make_link(target, path);
}

static void empty_dir(const char *path)
{
	char name[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		err(EXIT_FAILURE, "%s cannot be emptied", path);
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		tree_path(name, "%s/%s", path, entry->d_name);
		if (unlink(name))
			err(EXIT_FAILURE, "%s cannot be removed", name);
	}
	closedir(dir);
}

/* An empty directory stays behind where nobody looks: it keeps its inode number from the device's
 * next directory, as sysfs does not give one out again soon either. */
static void bury(const char *path)
{
	char grave[PATH_MAX];
	struct stat status;

	tree_path(grave, "%s/.removed", options.root);
	make_dirs(grave);
	if (stat(path, &status))
		err(EXIT_FAILURE, "%s", path);
	tree_path(grave, "%s/.removed/%ju", options.root, (uintmax_t)status.st_ino);
	if (rename(path, grave))
		err(EXIT_FAILURE, "%s cannot be moved", path);
	empty_dir(grave);
}

static void require_device(unsigned n)
{
	char path[PATH_MAX];

	class_path(path, n);
	if (access(path, F_OK))
		errx(EXIT_FAILURE, "%s has no device %u: make it with --devices", options.root, n);
}

/* As when the driver is reloaded: the PCI device stays. */
static void remove_device(unsigned n)
{
	char path[PATH_MAX];

	require_device(n);
	class_path(path, n);
	if (unlink(path))
		err(EXIT_FAILURE, "%s cannot be removed", path);
	device_path(path, n);
	bury(path);
	tree_path(path, "%s/proc/%u", options.root, n);
	empty_dir(path);
	if (rmdir(path))
		err(EXIT_FAILURE, "%s cannot be removed", path);
}

static void set_pids(unsigned n)
{
	char path[PATH_MAX];

	require_device(n);
	tree_path(path, "%s/proc/%u/pids", options.root, n);
	tree_write(path, options.pids[n]);
	free(options.pids[n]);
}

int main(int argc, char **argv)
{
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	umask(022);
	if (options.n_boards && mkdir(options.root, 0755) && errno != EEXIST)
		err(EXIT_FAILURE, "%s cannot be made", options.root);
	int lock = tree_lock(options.root);
	for (unsigned n = 0; n < options.n_boards; n++)
		make_device(options.boards[n], n);
	for (unsigned n = 0; n < MAX_DEVICES; n++) {
		if (options.remove[n])
			remove_device(n);
		if (options.pids[n])
			set_pids(n);
	}
	tree_unlock(lock);
	return EXIT_SUCCESS;
}
