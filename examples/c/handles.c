/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator that has a record for each buffer keeps ttmem's handle there: then a free needs no
 * search for the address, and two buffers may have the same one, as circular buffers of different
 * programs do.
 *
 *     cc -o handles handles.c $(pkg-config --cflags --libs ttmem)
 */
#include <stdio.h>
#include <string.h>
#include <ttmem.h>

struct circular_buffer {
	uint64_t address; /* in the L1 of each core */
	uint64_t bytes;   /* over all cores */
	ttmem_handle handle;
};

static void buffer_open(struct circular_buffer *buffer, uint64_t address, uint64_t bytes_per_core,
			unsigned int cores)
{
	buffer->address = address;
	buffer->bytes = bytes_per_core * cores;
	buffer->handle = ttmem_alloc_handle(0, TTMEM_CB, address, buffer->bytes, NULL);
}

static void buffer_close(struct circular_buffer *buffer)
{
	ttmem_free_handle(buffer->handle);
}

static void show(const char *when)
{
	struct ttmem_totals totals;
	struct ttmem_tag_totals rows[8];
	size_t count = sizeof rows / sizeof *rows;

	ttmem_get_totals(0, TTMEM_CB, &totals);
	printf("%s: %llu bytes in %llu buffers, peak %llu\n", when,
	       (unsigned long long)totals.live_bytes, (unsigned long long)totals.live_buffers,
	       (unsigned long long)totals.peak_bytes);
	ttmem_get_tags(rows, &count);
	for (size_t i = 0; i < count && i < sizeof rows / sizeof *rows; i++)
		printf("    %-8s %llu\n", rows[i].tag, (unsigned long long)rows[i].live_bytes);
}

int main(void)
{
	struct circular_buffer in, out;
	int error = ttmem_start();

	if (error) {
		fprintf(stderr, "handles: not tracked: %s\n", strerror(-error));
		return 1;
	}
	{
		TTMEM_TAG_SCOPE("matmul");
		buffer_open(&in, 0x19000, 4096, 64);
	}
	{
		TTMEM_TAG_SCOPE("softmax");
		buffer_open(&out, 0x19000, 2048, 64);
	}
	show("both");
	buffer_close(&in);
	show("one");
	buffer_close(&out);
	show("none");
	return 0;
}
