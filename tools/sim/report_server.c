/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the allocation server that an older branch of TT-Metal brought: one packed message
 * for each event on a stream socket. As in that client, FREE says no size, kind or time.
 */
#include "options.h"
#include "report.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ALLOC = 1, FREE, CB_ALLOC = 8, CB_FREE, KERNEL_LOAD, KERNEL_UNLOAD };

#define LARGEST_FORM 144
#define TYPES_FORM   128 /* from this form on there are types for circular buffers and kernels */

/* The forms differ in what follows, which is zero in an event. */
struct message {
	uint8_t type, pad1[3];
	int32_t device;
	uint64_t size;
	uint8_t kind, pad2[3];
	int32_t pid;
	uint64_t buffer, time;
	uint8_t rest[LARGEST_FORM - 40];
} __attribute__((packed));

_Static_assert(sizeof(struct message) == LARGEST_FORM, "the largest form");

static int server = -1;
static pthread_mutex_t server_lock = PTHREAD_MUTEX_INITIALIZER; /* one message at a time */
static bool server_gone;
static uint64_t live; /* bytes; atomic */

static void server_start(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, options.alloc_socket); /* its length is checked */
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0)
		err(EXIT_FAILURE, "socket");
	if (connect(server, (const struct sockaddr *)&address, sizeof(address)))
		err(EXIT_FAILURE,
		    "%s: nobody listens there: start ttmemd or the allocation server first, or "
		    "say with --alloc-socket where it listens",
		    options.alloc_socket);
}

/* The protocol has no such message. */
static void server_declare(unsigned device)
{
	(void)device;
}

/* A model goes on without its server, as the real one does. */
static void send_message(const struct message *m)
{
	size_t sent = 0;

	pthread_mutex_lock(&server_lock);
	while (!server_gone && sent < options.form) {
		ssize_t n = send(server, (const char *)m + sent, options.form - sent, MSG_NOSIGNAL);

		if (n >= 0) {
			sent += (size_t)n;
		} else if (errno != EINTR) {
			warn("%s: the server is gone, going on without", options.alloc_socket);
			server_gone = true;
		}
	}
	pthread_mutex_unlock(&server_lock);
}

static struct message event(uint8_t type, unsigned device, uint64_t address)
{
	return (struct message){
		.type = type,
		.device = (int32_t)device,
		.pid = getpid(),
		.buffer = address,
	};
}

static bool has_types(enum ttmem_kind kind)
{
	return options.form >= TYPES_FORM && (kind == TTMEM_CB || kind == TTMEM_KERNEL);
}

static void server_alloc(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size,
			 const char *tag)
{
	struct message m = event(ALLOC, device, address);

	(void)tag;
	m.kind = (uint8_t)kind;
	if (has_types(kind)) {
		m.type = kind == TTMEM_CB ? CB_ALLOC : KERNEL_LOAD;
		m.kind = 0; /* of a kernel: an application's */
	}
	m.size = size;
	m.time = nanoseconds(CLOCK_REALTIME);
	__atomic_fetch_add(&live, size, __ATOMIC_RELAXED);
	send_message(&m);
}

static void server_free(unsigned device, enum ttmem_kind kind, uint64_t address, uint64_t size)
{
	struct message m = event(FREE, options.python ? 0 : device, address);

	if (has_types(kind)) {
		m.type = kind == TTMEM_CB ? CB_FREE : KERNEL_UNLOAD;
		m.device = (int32_t)device;
		m.size = size;
	}
	__atomic_fetch_sub(&live, size, __ATOMIC_RELAXED);
	send_message(&m);
}

static void server_failed(unsigned device, enum ttmem_kind kind, uint64_t size, uint64_t largest)
{
	(void)device;
	(void)kind;
	(void)size;
	(void)largest;
}

static uint64_t server_settle(void)
{
	return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

static void server_end(void)
{
	close(server);
}

const struct reporter report_server = {
	.start = server_start,
	.declare = server_declare,
	.alloc = server_alloc,
	.free = server_free,
	.failed = server_failed,
	.settle = server_settle,
	.end = server_end,
};
