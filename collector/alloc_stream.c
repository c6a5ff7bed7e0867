/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream is always in one of these states:
 *   !taken           looking for a message at `room` or behind; at the start of the stream, or lost
 *   taken, no form   a message was handed over, the next may start in four places
 *   taken, form      a message was handed over, the next starts `form` bytes behind it
 * Each decision waits for a number of bytes that depends only on the bytes before, and looks at no
 * others even if they are there: that is why the way the stream was split cannot be seen.
 */
#include "alloc_stream.h"
#include "alloc_head.h"
#include <string.h>

#define HEAD_BYTES sizeof(struct alloc_head)
#define SURE       3 /* so many successors, and a missing one means garbage, not another form */

/* Where, behind a message, others may start: two of each form. Where two forms still fit after
 * that, the shorter is taken. At 120 nothing starts, but that is as far as can be looked without
 * making the second message of 72 bytes wait. */
static const uint16_t places[] = {72, 112, 120, 128, 144, 216, 224, 256, 288};

#define PLACES (sizeof places / sizeof *places)

/* A stretch of bytes that is being read: the room's or the caller's. */
struct reader {
	struct alloc_stream *stream;
	const uint8_t *at, *end;
	alloc_handler *handler;
	void *data;
};

static void open_forms(struct alloc_stream *stream)
{
	stream->forms = ALLOC_ALL_FORMS;
	stream->believed = stream->lost ? 0 : ALLOC_ALL_FORMS;
	stream->favoured = 0;
	stream->places = 0;
}

static inline void hand_over(struct reader *reader)
{
	struct alloc_stream *stream = reader->stream;
	struct alloc_head head = alloc_head_at(reader->at);
	struct alloc_message message = {
		.type = head.type,
		.device = head.device,
		.size = head.size,
		.buffer_type = (uint8_t)head.buffer_type,
		.pid = head.pid,
		.form = stream->form,
	};

	memcpy(&message.buffer, reader->at + 24, sizeof message.buffer);
	memcpy(&message.time_ns, reader->at + 32, sizeof message.time_ns);
	if (!stream->pid && alloc_head_has_pid(reader->at))
		stream->pid = head.pid;
	stream->taken = true;
	stream->messages++;
	reader->handler(reader->data, &message);
}

static void decide(struct reader *reader, unsigned int form)
{
	struct alloc_stream *stream = reader->stream;

	stream->sure = stream->form == form ? stream->sure : 0;
	stream->form = form;
	stream->lost = false;
	stream->owed = 0;
	if (!stream->taken)
		hand_over(reader);
}

enum evidence { NONE, QUESTIONS, AN_EVENT, SAME_PROCESS };

/* What speaks for messages of `form` bytes from `at` to `at + last`: most of all that the last one
 * is of the process that sent another, that is hardly ever chance. */
static enum evidence weigh(const struct alloc_stream *stream, const uint8_t *at, size_t last,
			   unsigned int form)
{
	enum evidence found = QUESTIONS;
	int32_t pid = stream->pid;

	for (size_t i = 0; i <= last; i += form) {
		if (!alloc_head_plausible(at + i, form, pid))
			return NONE;
		if (!alloc_head_has_pid(at + i))
			continue;
		found = pid && i == last ? SAME_PROCESS : AN_EVENT;
		pid = alloc_head_at(at + i).pid;
	}
	return found;
}

/* A question has little to be recognised by, and numbers in garbage can look like one. So behind
 * garbage questions are not believed without an event, nor if they would change the form. */
static void look_at_place(struct alloc_stream *stream, const uint8_t *at)
{
	unsigned int place = places[stream->places++], fit = 0, same = 0;

	if (stream->lost && stream->form && !alloc_head_has_pid(at))
		stream->forms &= alloc_form_bit(stream->form);
	for (unsigned int rest = stream->forms; rest; rest &= rest - 1) {
		unsigned int form = alloc_form_shortest(rest), bit = alloc_form_bit(form);
		enum evidence found = place % form ? NONE : weigh(stream, at, place, form);

		if (place % form == 0 && !found)
			stream->forms &= ~bit;
		fit |= found ? bit : 0;
		same |= found == SAME_PROCESS ? bit : 0;
		stream->believed |= found >= AN_EVENT ? bit : 0;
	}
	stream->favoured |= alloc_form_one(fit) ? same : 0;
	stream->favoured &= stream->forms;
	stream->believed &= stream->forms;
}

/* The form that what was seen so far leaves no doubt about, or 0. Behind garbage it is the one that
 * it was before, if that is possible. */
static unsigned int certain(const struct alloc_stream *stream)
{
	unsigned int place = places[stream->places - 1], favoured = stream->favoured;
	unsigned int known = alloc_form_bit(stream->form);

	if (known & stream->forms)
		return alloc_form_shortest(known & stream->believed);
	if (alloc_form_one(favoured) && (place >= 144 || (place >= 120 && favoured == ALLOC_F72)))
		return alloc_form_shortest(favoured);
	if (alloc_form_one(stream->forms) && place >= 144)
		return alloc_form_shortest(stream->believed);
	if (stream->places == PLACES)
		return alloc_form_shortest(favoured ? favoured : stream->believed);
	return 0;
}

/* No message starts here: goes on to the next byte. */
static void drop(struct reader *reader)
{
	struct alloc_stream *stream = reader->stream;
	bool owed = stream->owed > 0;

	stream->lost = true;
	stream->owed -= owed;
	stream->message_bytes += owed;
	stream->garbage_bytes += !owed;
	reader->at++;
	open_forms(stream);
}

/* Nothing follows the last message. It may have been cut short, so look inside it, too. And if it
 * was the first, it may have been none: its process id is forgotten. */
static void lose(struct reader *reader)
{
	struct alloc_stream *stream = reader->stream;

	if (!stream->sure)
		stream->pid = 0;
	stream->taken = false;
	stream->owed = stream->form ? stream->form : ALLOC_HEAD_BYTES;
	for (size_t i = 0; i < HEAD_BYTES; i++)
		drop(reader);
}

static size_t left(const struct reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

/* No message follows where one should. If the form was right for long, garbage has come; else the
 * form was a wrong guess. */
static void doubt(struct reader *reader)
{
	if (reader->stream->sure == SURE) {
		lose(reader);
	} else {
		reader->stream->form = 0;
		open_forms(reader->stream);
	}
}

/* The way of nearly all bytes. This and the next two return whether there is more to do. */
static bool follow(struct reader *reader)
{
	struct alloc_stream *stream = reader->stream;
	unsigned int form = stream->form;

	while (left(reader) >= form + ALLOC_HEAD_BYTES) {
		if (!alloc_head_plausible(reader->at + form, form, stream->pid)) {
			doubt(reader);
			return true;
		}
		reader->at += form;
		stream->message_bytes += form;
		stream->sure += stream->sure < SURE;
		hand_over(reader);
	}
	return false;
}

static bool find_form(struct reader *reader)
{
	struct alloc_stream *stream = reader->stream;
	unsigned int form = 0;

	while (!form && stream->forms && stream->places < PLACES &&
	       left(reader) >= places[stream->places] + HEAD_BYTES) {
		look_at_place(stream, reader->at);
		form = certain(stream);
	}
	if (form)
		decide(reader, form);
	else if (stream->forms && stream->places < PLACES)
		return false;
	else if (stream->taken)
		lose(reader);
	else
		drop(reader);
	return true;
}

/* Inside the last message, which may have been cut short, only events are looked for. */
static bool starts(const struct alloc_stream *stream, const uint8_t *at)
{
	return alloc_head_plausible(at, ALLOC_FORM_MAX, stream->pid) &&
	       (!stream->owed || alloc_head_has_pid(at));
}

static bool find_head(struct reader *reader)
{
	struct alloc_stream *stream = reader->stream;

	while (left(reader) >= HEAD_BYTES && !starts(stream, reader->at))
		drop(reader);
	if (left(reader) < ALLOC_HEAD_BYTES)
		return false;
	if (stream->lost || ALLOC_BIT(*reader->at) & ALLOC_QUESTIONS)
		return find_form(reader);
	hand_over(reader);
	return true;
}

/* Returns how many of the bytes are done with. */
static size_t run(struct alloc_stream *stream, const uint8_t *bytes, size_t size,
		  alloc_handler *handler, void *data)
{
	struct reader reader = {stream, bytes, bytes + size, handler, data};

	while (!stream->taken ? find_head(&reader)
	       : stream->form ? follow(&reader)
			      : find_form(&reader))
		;
	return (size_t)(reader.at - bytes);
}

static void keep(struct alloc_stream *stream, const uint8_t *bytes, size_t size)
{
	memmove(stream->room, bytes, size);
	stream->held = size;
}

void alloc_stream_init(struct alloc_stream *stream)
{
	memset(stream, 0, sizeof *stream);
	open_forms(stream);
}

void alloc_stream_feed(struct alloc_stream *stream, const uint8_t *bytes, size_t size,
		       alloc_handler *handler, void *data)
{
	size_t held, more, done;

	while (stream->held && size) {
		held = stream->held;
		more = size < sizeof stream->room - held ? size : sizeof stream->room - held;
		memcpy(stream->room + held, bytes, more);
		done = run(stream, stream->room, held + more, handler, data);
		if (done >= held) /* the rest can be read where it is */
			more = done - held;
		keep(stream, stream->room + done, held + more - done);
		bytes += more;
		size -= more;
	}
	if (size) {
		done = run(stream, bytes, size, handler, data);
		keep(stream, bytes + done, size - done);
	}
}

/* When taken: whether there seems to be a complete head behind the last message. */
bool alloc_stream_waits(const struct alloc_stream *stream)
{
	size_t behind = stream->taken ? alloc_form_shortest(stream->forms) : 0;

	return !(stream->taken && stream->form) && stream->held >= behind + ALLOC_HEAD_BYTES;
}

/* The form for which the bytes are whole messages, or 0. Of two the shorter, because a successor
 * was seen for that. At the end there may be no such form; then what is there must do. */
static unsigned int guess(const struct alloc_stream *stream, bool ended)
{
	unsigned int known = alloc_form_bit(stream->form) & stream->forms;
	unsigned int possible = known ? known : stream->forms, form;

	for (unsigned int rest = possible; (form = alloc_form_shortest(rest)); rest &= rest - 1) {
		if (stream->held % form == 0 &&
		    alloc_head_plausible(stream->room, form, stream->pid))
			return form;
	}
	return ended ? alloc_form_shortest(possible) : 0;
}

static void conclude(struct alloc_stream *stream, bool ended, alloc_handler *handler, void *data)
{
	while (alloc_stream_waits(stream)) {
		struct reader reader = {stream, stream->room, stream->room, handler, data};
		unsigned int form = guess(stream, ended), known = alloc_form_bit(stream->form);
		size_t done;

		if (known && !(known & stream->forms))
			drop(&reader);
		else if (form)
			decide(&reader, form);
		else
			return;
		done = (size_t)(reader.at - stream->room);
		done += run(stream, reader.at, stream->held - done, handler, data);
		keep(stream, stream->room + done, stream->held - done);
	}
}

void alloc_stream_settle(struct alloc_stream *stream, alloc_handler *handler, void *data)
{
	conclude(stream, false, handler, data);
}

void alloc_stream_end(struct alloc_stream *stream, alloc_handler *handler, void *data)
{
	size_t own;

	conclude(stream, true, handler, data);
	own = stream->form ? stream->form : guess(stream, false);
	own = !stream->taken ? stream->owed : own ? own : ALLOC_HEAD_BYTES;
	own = own < stream->held ? own : stream->held;
	stream->message_bytes += own;
	stream->garbage_bytes += stream->held - own;
	stream->held = 0;
}
