/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void tree_check_path(const char *path, int length)
{
	if (length < 0 || length >= PATH_MAX)
		errx(EXIT_FAILURE, "%s...: the path is too long", path);
}

int tree_lock(const char *root)
{
	char path[PATH_MAX];

	tree_path(path, "%s/.lock", root);
	int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (lock < 0 || flock(lock, LOCK_EX))
		err(EXIT_FAILURE, "%s cannot be locked", path);
	return lock;
}

void tree_unlock(int lock)
{
	close(lock);
}

void tree_write(const char *path, const char *text)
{
	char fresh[PATH_MAX];

	tree_path(fresh, "%s.new", path);
	FILE *file = fopen(fresh, "we");
	bool failed = !file || fputs(text, file) < 0;
	if (file && fclose(file))
		failed = true;
	if (failed || rename(fresh, path))
		err(EXIT_FAILURE, "%s cannot be written", path);
}

char *tree_read(const char *path)
{
	char *text = NULL;
	size_t room = 0;

	FILE *file = fopen(path, "re");
	if (!file && errno == ENOENT)
		return NULL;
	if (!file)
		err(EXIT_FAILURE, "%s cannot be read", path);
	/* No file of ours has a NUL, so this is all of it. */
	if (getdelim(&text, &room, '\0', file) < 0) {
		if (ferror(file))
			err(EXIT_FAILURE, "%s cannot be read", path);
		free(text);
		text = strdup("");
	}
	fclose(file);
	if (!text)
		errx(EXIT_FAILURE, "%s: no memory for it", path);
	return text;
}

static void add_line(const char *root, unsigned device, const char *line)
{
	char path[PATH_MAX], *longer;

	tree_path(path, "%s/proc/%u/pids", root, device);
	char *text = tree_read(path);
	if (!text)
		errx(EXIT_FAILURE,
		     "%s has no device %u: make it with ttmem-fake-driver --root %s --devices LIST",
		     root, device, root);
	if (asprintf(&longer, "%s%s", text, line) < 0)
		errx(EXIT_FAILURE, "no memory for a list of pids");
	tree_write(path, longer);
	free(longer);
	free(text);
}

/* The driver has a line for each open descriptor: one of them goes. A device that was removed
 * meanwhile, or a list that somebody has replaced, is none of our business. */
static void remove_line(const char *root, unsigned device, const char *line)
{
	char path[PATH_MAX];

	tree_path(path, "%s/proc/%u/pids", root, device);
	char *text = tree_read(path), *found = text;

	while (found && *found && strncmp(found, line, strlen(line))) {
		char *end = strchr(found, '\n');

		found = end ? end + 1 : NULL;
	}
	if (found && *found) {
		memmove(found, found + strlen(line), strlen(found + strlen(line)) + 1);
		tree_write(path, text);
	}
	free(text);
}

static void for_each(const char *root, const unsigned *devices, unsigned n,
		     void (*change)(const char *, unsigned, const char *))
{
	int lock = tree_lock(root);
	char line[16];

	snprintf(line, sizeof(line), "%d\n", getpid());
	for (unsigned i = 0; i < n; i++)
		change(root, devices[i], line);
	tree_unlock(lock);
}

void tree_hold(const char *root, const unsigned *devices, unsigned n)
{
	for_each(root, devices, n, add_line);
}

void tree_leave(const char *root, const unsigned *devices, unsigned n)
{
	for_each(root, devices, n, remove_line);
}
