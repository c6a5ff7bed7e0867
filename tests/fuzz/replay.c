/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer: over every file of a directory, and over simple changes of
 * each, always the same ones. What it finds it aborts at, and the file and the change are named.
 */
#include <dirent.h>
#include <err.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANGES   400
#define ROOM      (1u << 20)
#define FLIPS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return below ? random_state % below : 0;
}

/* Each in a block of its own, so that sanitizers see its end. */
static void try_bytes(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		errx(EXIT_FAILURE, "no memory");
	memcpy(copy, bytes, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void flip(uint8_t *bytes, size_t size)
{
	static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff};

	for (uint64_t n = 1 + draw(FLIPS_MAX); size && n; n--) {
		uint64_t at = draw(size);

		bytes[at] = draw(2) ? telling[draw(sizeof telling)]
				    : bytes[at] ^ (uint8_t)(1 << draw(8));
	}
}

/* A stretch is left out, or is there twice. */
static size_t cut(uint8_t *bytes, size_t size)
{
	size_t from = draw(size), length = draw(size - from), rest = size - from - length;

	if (draw(2) || size + length > ROOM) {
		memmove(bytes + from, bytes + from + length, rest);
		return size - length;
	}
	memmove(bytes + from + length, bytes + from, size - from);
	return size + length;
}

static void try_changes(const uint8_t *bytes, size_t size)
{
	static uint8_t changed[ROOM];

	for (int change = 0; change < CHANGES; change++) {
		size_t left = size;

		memcpy(changed, bytes, size);
		if (change % 3 != 1)
			flip(changed, left);
		if (change % 3 != 0)
			left = cut(changed, left);
		try_bytes(changed, left);
	}
	for (size_t left = 0; left < size; left += 1 + size / CHANGES)
		try_bytes(bytes, left);
}

static void try_file(const char *path)
{
	static uint8_t bytes[ROOM];
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		err(EXIT_FAILURE, "%s", path);
	size = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	random_state = 0x9e3779b97f4a7c15u;
	try_bytes(bytes, size);
	try_changes(bytes, size);
}

int main(int argc, char **argv)
{
	struct dirent **names;
	int count, files = 0;

	if (argc != 2)
		errx(64, "give the directory of the corpus");
	count = scandir(argv[1], &names, NULL, alphasort);
	if (count < 0)
		err(EXIT_FAILURE, "%s", argv[1]);
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];

		if (*names[i]->d_name != '.') {
			snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
			try_file(path);
			files++;
		}
		free(names[i]);
	}
	free(names);
	if (!files)
		errx(EXIT_FAILURE, "%s is empty", argv[1]);
	printf("%d files and their changes: all well\n", files);
	return EXIT_SUCCESS;
}
