/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What any process can send to the older allocation server's socket. The first byte says how the
 * rest is split into feeds; that must not be seen in what is handed over, nor in the counters.
 */
#include "alloc_stream.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct seen {
	uint64_t messages;
	uint64_t hash;
};

static void require(bool claim)
{
	if (!claim)
		abort();
}

static uint64_t mix(uint64_t hash, uint64_t number)
{
	return (hash ^ number) * 0x100000001b3u;
}

static void see(void *data, const struct alloc_message *message)
{
	const struct alloc_message *m = message;
	bool question = m->type == ALLOC_QUERY || m->type == ALLOC_DEVICE_INFO_QUERY;
	struct seen *seen = data;
	uint64_t hash = seen->hash;

	require(m->type >= ALLOC_ALLOC && m->type <= ALLOC_KERNEL_UNLOAD);
	require(m->type != ALLOC_RESPONSE && m->type != ALLOC_DEVICE_INFO_RESPONSE);
	require(m->device >= -1 && m->device <= ALLOC_DEVICE_MAX);
	require(m->form == 72 || m->form == 112 || m->form == 128 || m->form == 144 ||
		(!m->form && !question));
	require(m->pid > 0 || question || m->type == ALLOC_DUMP_REMAINING);
	hash = mix(mix(mix(hash, m->type), (uint32_t)m->device), m->size);
	hash = mix(mix(mix(hash, m->buffer_type), (uint32_t)m->pid), m->buffer);
	seen->hash = mix(mix(hash, m->time_ns), m->form);
	seen->messages++;
}

static void check(const struct alloc_stream *stream, const struct seen *seen, size_t size)
{
	require(stream->message_bytes + stream->garbage_bytes + stream->held == size);
	require(stream->messages == seen->messages);
	/* A message may have been cut short, but not before what it is recognised by. */
	require(stream->message_bytes + stream->held >= stream->messages * 24);
	require(stream->message_bytes <= stream->messages * ALLOC_FORM_MAX);
	require(stream->held < 312);
}

/* Feeds of 1 to 256 bytes. With `settle` nothing more comes for a while after some of them. */
static void feed(struct alloc_stream *stream, const uint8_t *bytes, size_t size, uint32_t pattern,
		 bool settle, struct seen *seen)
{
	size_t piece;

	for (size_t done = 0; done < size; done += piece) {
		pattern = pattern * 1664525 + 1013904223;
		piece = 1 + (pattern >> 16 & (pattern >> 28 & 1 ? 255 : 7));
		piece = piece < size - done ? piece : size - done;
		alloc_stream_feed(stream, bytes + done, piece, see, seen);
		if (settle && pattern >> 29 == 0)
			alloc_stream_settle(stream, see, seen);
		check(stream, seen, done + piece);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct seen seen[3] = {{0, 0}, {0, 0}, {0, 0}};
	struct alloc_stream streams[3];
	uint8_t pattern = size ? *bytes : 0;

	bytes += size > 0;
	size -= size > 0;
	for (int i = 0; i < 3; i++)
		alloc_stream_init(&streams[i]);
	alloc_stream_feed(&streams[0], bytes, size, see, &seen[0]);
	feed(&streams[1], bytes, size, pattern, false, &seen[1]);
	feed(&streams[2], bytes, size, pattern, true, &seen[2]);
	require(!memcmp(&seen[0], &seen[1], sizeof *seen));
	require(!memcmp(&streams[0], &streams[1], offsetof(struct alloc_stream, room)));
	require(!memcmp(streams[0].room, streams[1].room, streams[0].held));
	for (int i = 0; i < 3; i++) {
		check(&streams[i], &seen[i], size);
		alloc_stream_settle(&streams[i], see, &seen[i]);
		check(&streams[i], &seen[i], size);
		alloc_stream_end(&streams[i], see, &seen[i]);
		check(&streams[i], &seen[i], size);
		require(!streams[i].held);
	}
	return 0;
}
