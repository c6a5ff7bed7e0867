/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What open, read and close of a small file cost. The files given take turns in slices, so that
 * they can be compared although the machine does other things too.
 *
 *   -s N    slices (10)
 *   -r N    reads in a slice of one file (300)
 *   -w N    reads before them that do not count (50)
 *   -p US   rest before each read, as a monitor does (0)
 *   -b N    bytes of a read, of which there are as many as the text takes (one of 4096)
 */
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "measure.h"

struct setup {
	size_t slices;
	size_t reads;
	size_t warm_up;
	useconds_t rest_us;
	size_t piece; /* 0: one read is enough */
};

struct target {
	const char *path;
	double *samples_us;
	size_t count;
	size_t piece; /* bytes of a read */
	bool is_long; /* which goes on to the end */
	char *text;
};

static struct setup parse(int argc, char **argv)
{
	struct setup s = {.slices = 10, .reads = 300, .warm_up = 50};

	for (int option; (option = getopt(argc, argv, "s:r:w:p:b:")) != -1;) {
		switch (option) {
		case 's':
			s.slices = must_parse(optarg);
			break;
		case 'r':
			s.reads = must_parse(optarg);
			break;
		case 'w':
			s.warm_up = must_parse(optarg);
			break;
		case 'p':
			s.rest_us = (useconds_t)must_parse(optarg);
			break;
		case 'b':
			s.piece = must_parse(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (!s.slices || !s.reads || optind == argc)
		GIVE_UP(2, "usage: readcost [-s N] [-r N] [-w N] [-p US] [-b N] FILE...");
	return s;
}

static void read_once(struct target *t)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, t->text, t->piece);

	if (length <= 0)
		GIVE_UP(EXIT_FAILURE, "%s: %s", t->path, length ? strerror(errno) : "empty");
	while (t->is_long && length > 0)
		length = read(fd, t->text, t->piece);
	close(fd);
}

static double timed_read_us(struct target *t)
{
	uint64_t start = now_ns();

	read_once(t);
	return (double)(now_ns() - start) / 1000;
}

static void measure_slice(struct target *t, const struct setup *s)
{
	for (size_t i = 0; i < s->warm_up; i++)
		read_once(t);
	for (size_t i = 0; i < s->reads; i++) {
		if (s->rest_us)
			usleep(s->rest_us);
		t->samples_us[t->count++] = timed_read_us(t);
	}
}

/* Paths come from our own caller and need no escaping. */
static void print_target(struct target *t, const char *separator)
{
	printf("%s{\"path\": \"%s\", \"median_us\": %.3f, \"p99_us\": %.3f}", separator, t->path,
	       median(t->samples_us, t->count), percentile(t->samples_us, t->count, 99));
}

int main(int argc, char **argv)
{
	struct setup s = parse(argc, argv);
	size_t count = (size_t)(argc - optind);
	struct target *targets = must_alloc(count, sizeof(*targets));

	for (size_t i = 0; i < count; i++) {
		targets[i].path = argv[optind + (int)i];
		targets[i].is_long = s.piece;
		targets[i].piece = s.piece ? s.piece : 4096;
		targets[i].text = must_alloc(targets[i].piece, 1);
		targets[i].samples_us = must_alloc(s.slices * s.reads, sizeof(double));
	}
	for (size_t slice = 0; slice < s.slices; slice++)
		for (size_t i = 0; i < count; i++)
			measure_slice(&targets[i], &s);
	for (size_t i = 0; i < count; i++) {
		print_target(&targets[i], i ? ",\n " : "[");
		free(targets[i].samples_us);
		free(targets[i].text);
	}
	puts("]");
	free(targets);
	return 0;
}
