/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The older allocation server's messages, found in the bytes of a stream. Pure: no sockets.
 *
 * A message is 72, 112, 128 or 144 bytes long; which, is a property of the connection and is not
 * said anywhere. The first 72 bytes mean the same in all: see struct alloc_message. So a message
 * that is not a question is handed over as soon as 72 bytes of it are there; the length is told
 * from where the following messages start. Bytes that cannot be a message are skipped and counted.
 *
 * What is handed over, and what is counted, depends only on the bytes and on after which of them
 * alloc_stream_settle() was called, never on how they were split into feeds. Every byte taken is in
 * exactly one of message_bytes, garbage_bytes and held.
 */
#ifndef ALLOC_STREAM_H
#define ALLOC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum alloc_type {
	ALLOC_ALLOC = 1,
	ALLOC_FREE = 2,
	ALLOC_QUERY = 3,
	ALLOC_RESPONSE = 4,
	ALLOC_DUMP_REMAINING = 5,
	ALLOC_DEVICE_INFO_QUERY = 6,
	ALLOC_DEVICE_INFO_RESPONSE = 7,
	ALLOC_CB_ALLOC = 8,
	ALLOC_CB_FREE = 9,
	ALLOC_KERNEL_LOAD = 10,
	ALLOC_KERNEL_UNLOAD = 11,
};

#define ALLOC_HEAD_BYTES 72  /* what all forms share */
#define ALLOC_FORM_MAX   144 /* the longest form */
#define ALLOC_DEVICE_MAX 63  /* the highest device id that a message can have; the lowest is -1 */

/* The head of a message. Offsets 0, 4, 8, 16, 20, 24, 32; 1..3 and 17..19 are zero. */
struct alloc_message {
	enum alloc_type type;
	int32_t device;      /* -1 in a DEVICE_INFO_QUERY: how many devices are there? */
	uint64_t size;       /* bytes */
	uint8_t buffer_type; /* TT-Metal's: 0 DRAM, 1 L1, 2 SYSTEM, 3 L1_SMALL, 4 TRACE, 5 CB, 6
				KERNEL; in KERNEL_LOAD 0 application, 1 fabric, 2 dispatch */
	int32_t pid;         /* as the sender says; may be 0 in questions and DUMP_REMAINING */
	uint64_t buffer;     /* address, or any number that is unique in the process and device */
	uint64_t time_ns;    /* since the epoch, as the sender says */
	unsigned int form;   /* 72, 112, 128, 144; of a question always known; 0: not known yet */
};

/* The bytes that wait for others: at most 311, and some of the next feed to go with them. */
#define ALLOC_STREAM_ROOM 512

/* The counters, `form`, `pid` and `held` are for everybody to read, the rest is private. */
struct alloc_stream {
	unsigned int form; /* 0: not known yet */
	int32_t pid;       /* that the messages carry; 0: none seen */
	size_t held;       /* bytes in `room` */
	uint64_t messages; /* handed over */
	uint64_t message_bytes;
	uint64_t garbage_bytes;
	/* `room` starts with the last message that was handed over (`taken`), which stays until the
	 * start of the next one is seen, or with one that may be the next. */
	bool taken;
	bool lost;             /* behind garbage: to be believed, a message needs a successor */
	unsigned int sure;     /* how often a message followed where `form` says */
	unsigned int owed;     /* when lost: skipped bytes that still belong to a message */
	unsigned int forms;    /* a bit for each that the bytes in `room` do not rule out */
	unsigned int believed; /* those for which not only questions speak, if lost */
	unsigned int favoured; /* those for which alone a message of this process follows */
	unsigned int places;   /* how many places have been looked at to find out */
	uint8_t room[ALLOC_STREAM_ROOM];
};

/* Must not touch the stream. */
typedef void alloc_handler(void *data, const struct alloc_message *message);

void alloc_stream_init(struct alloc_stream *stream);

/* Takes the next bytes and hands over, in order, the messages that are complete enough. A question
 * is held back, with all behind it, until the form is known; a message behind garbage until another
 * follows it. Takes every byte. */
void alloc_stream_feed(struct alloc_stream *stream, const uint8_t *bytes, size_t size,
		       alloc_handler *handler, void *data);

/* Whether a message is held back although its head is complete. */
bool alloc_stream_waits(const struct alloc_stream *stream);

/* Nothing has come for a while: what is there is all there is. If it is whole messages, decides the
 * form from it and hands over what was held back; if not, leaves it to wait for more. A form that
 * was decided so may still turn out to be another; nothing is lost then. */
void alloc_stream_settle(struct alloc_stream *stream, alloc_handler *handler, void *data);

/* The stream has ended: hands over what can be taken for a message and counts the rest. */
void alloc_stream_end(struct alloc_stream *stream, alloc_handler *handler, void *data);

#endif
