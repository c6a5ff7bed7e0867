/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of the older allocation server's clients, written by tests. */
#ifndef TESTS_UNIT_ALLOC_SCRIPT_H
#define TESTS_UNIT_ALLOC_SCRIPT_H

#include "alloc_stream.h"
#include "unit.h"

#define PID 4711

static const unsigned int forms[] = {72, 112, 128, 144};

/* What was sent, or what was handed over. */
struct log {
	size_t count;
	struct alloc_message messages[400];
};

/* A stream that is being written, and what should be found in it. */
struct script {
	unsigned int form;
	uint64_t seed;
	size_t size, garbage;
	uint8_t bytes[65536];
	struct log log;
};

static inline void record(void *data, const struct alloc_message *message)
{
	struct log *log = data;

	assert_true(log->count < G_N_ELEMENTS(log->messages));
	log->messages[log->count++] = *message;
}

static inline void put(uint8_t *to, const struct alloc_message *message)
{
	to[0] = (uint8_t)message->type;
	memcpy(to + 4, &message->device, 4);
	memcpy(to + 8, &message->size, 8);
	to[16] = message->buffer_type;
	memcpy(to + 20, &message->pid, 4);
	memcpy(to + 24, &message->buffer, 8);
	memcpy(to + 32, &message->time_ns, 8);
}

static inline uint8_t *room(struct script *script, size_t size)
{
	uint8_t *at = script->bytes + script->size;

	assert_true(script->size + size <= sizeof script->bytes);
	script->size += size;
	return at;
}

static inline uint8_t *send_message(struct script *script, const struct alloc_message *message)
{
	uint8_t *at = memset(room(script, script->form), 0, script->form);

	put(at, message);
	record(&script->log, message);
	return at;
}

static inline uint8_t *send_alloc(struct script *script, uint64_t buffer)
{
	return send_message(script, &(struct alloc_message){.type = ALLOC_ALLOC,
							    .device = 1,
							    .size = 4096,
							    .buffer_type = 1,
							    .pid = PID,
							    .buffer = buffer,
							    .time_ns = 1700000000000000000});
}

static inline uint8_t *send_type(struct script *script, enum alloc_type type)
{
	return send_message(script, &(struct alloc_message){.type = type});
}

static inline void send_garbage(struct script *script, size_t size)
{
	uint8_t *at = room(script, size);

	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)(unit_random(&script->seed) >> 32);
	script->garbage += size;
}

static inline void send_any_event(struct script *script)
{
	static const uint8_t types[] = {1, 1, 1, 2, 2, 5, 8, 9, 10, 11};
	uint64_t any = unit_random(&script->seed);
	struct alloc_message message = {
		.type = types[any % (script->form < 128 ? 6 : 10)],
		.device = (int32_t)(any >> 8 & 7),
		.size = unit_random(&script->seed) >> (any >> 16 & 63),
		.buffer_type = (uint8_t)((any >> 24 & 0xff) % 3),
		.pid = PID,
		.buffer = unit_random(&script->seed),
		.time_ns = 1700000000000000000 + (any >> 40),
	};

	send_message(script, &message);
}

static inline void send_any(struct script *script)
{
	uint64_t any = unit_random(&script->seed);
	struct alloc_message message = {.type = any & 16 ? ALLOC_QUERY : ALLOC_DEVICE_INFO_QUERY};

	if (any % 8) {
		send_any_event(script);
		return;
	}
	message.device = (int32_t)(any >> 8 & 7) - 1;
	message.pid = any & 32 ? 0 : (int32_t)(any >> 32);
	send_message(script, &message);
}

static inline struct script *script_new(unsigned int form, uint64_t seed)
{
	struct script *script = g_new0(struct script, 1);

	script->form = form;
	script->seed = seed * 0x9e3779b97f4a7c15u + form;
	return script;
}

/* But for the form. Field by field: what is between them is anything. */
static inline void assert_same_message(const struct alloc_message *a, const struct alloc_message *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->device, b->device);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->buffer_type, b->buffer_type);
	assert_int_equal(a->pid, b->pid);
	assert_int_equal(a->buffer, b->buffer);
	assert_int_equal(a->time_ns, b->time_ns);
}

/* The form of an event may or may not be known, that of a question must. */
static inline void assert_same(const struct script *script, const struct log *log)
{
	assert_int_equal(log->count, script->log.count);
	for (size_t i = 0; i < log->count; i++) {
		const struct alloc_message *got = &log->messages[i];

		if (got->form || got->type == ALLOC_QUERY || got->type == ALLOC_DEVICE_INFO_QUERY)
			assert_int_equal(got->form, script->form);
		assert_same_message(got, &script->log.messages[i]);
	}
}

/* Feeds pieces of 1 to `most` bytes, each in a block of its own, so that sanitizers see its end. */
static inline void feed(struct alloc_stream *stream, const uint8_t *bytes, size_t size, size_t most,
			uint64_t seed, struct log *log)
{
	for (size_t piece; size; bytes += piece, size -= piece) {
		uint8_t *copy;

		piece = most ? 1 + unit_random(&seed) % most : size;
		piece = MIN(piece, size);
		copy = g_memdup2(bytes, piece);
		alloc_stream_feed(stream, copy, piece, record, log);
		g_free(copy);
	}
}

static inline void assert_every_byte_is_counted(const struct alloc_stream *stream, size_t size)
{
	assert_int_equal(stream->message_bytes + stream->garbage_bytes + stream->held, size);
}

/* What the script sends is found, all of it once nothing has come for a while. */
static inline void assert_found_in_pieces(const struct script *script, size_t most)
{
	struct log *log = g_new0(struct log, 1);
	struct alloc_stream stream;

	alloc_stream_init(&stream);
	feed(&stream, script->bytes, script->size, most, script->seed | 1, log);
	assert_every_byte_is_counted(&stream, script->size);
	alloc_stream_settle(&stream, record, log);
	assert_false(alloc_stream_waits(&stream));
	assert_same(script, log);
	assert_int_equal(stream.messages, log->count);
	alloc_stream_end(&stream, record, log);
	assert_every_byte_is_counted(&stream, script->size);
	assert_int_equal(stream.garbage_bytes, script->garbage);
	g_free(log);
}

static inline void assert_found(const struct script *script)
{
	static const size_t pieces[] = {0, 1, 2, 7, 30, 100, 300, 5000};

	for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++)
		assert_found_in_pieces(script, pieces[i]);
}

/* The messages found in the bytes without settling. */
static inline size_t found_in(const struct script *script, size_t size, struct log *log)
{
	struct alloc_stream stream;

	log->count = 0;
	alloc_stream_init(&stream);
	alloc_stream_feed(&stream, script->bytes, size, record, log);
	return log->count;
}

#endif
