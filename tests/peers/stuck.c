/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that block whoever closes them: stuck MODE SOCKET [COUNT]. Prints "ready" when they
 * are in the collector's hands, and lets go when its standard input ends.
 *   fuse     a file of a FUSE server that has stopped answering: close(2) waits for FLUSH (root)
 *   linger   a TCP connection whose peer does not read: close(2) waits for what is not yet sent
 *   surplus  the same, more in one message than it may bring: the kernel itself closes what there
 *            is no room for, before recvmsg(2) returns
 *   exec     none that is sent: processes with a good ledger that are in the middle of execve(2),
 *            which waits for FLUSH as above; whoever wants to see their memory, the links of
 *            their descriptors or, with newer kernels, even their stat waits for them (root)
 *   hello    the same, and they have said hello before
 *   queued   the same, behind a message for which the connection is closed: what is still in its
 *            queue goes with it
 */
#include "forge.h"

#include <linux/fuse.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static int count = 1;
static int flushing[2]; /* a byte for each FLUSH that a server has got */

/* --- a FUSE server of one file, which is its root ------------------------------------------- */

static void reply(int device, const struct fuse_in_header *request, const void *body, size_t size)
{
	char message[512];
	struct fuse_out_header out = {.len = (uint32_t)(sizeof(out) + size),
				      .unique = request->unique};
	memcpy(message, &out, sizeof(out));
	memcpy(message + sizeof(out), body, size);
	if (write(device, message, out.len) < 0)
		return;
}

static void serve_one(int device, const struct fuse_in_header *request)
{
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
	struct fuse_attr_out attr = {.attr = {.ino = 1, .mode = S_IFREG | 0644, .nlink = 1}};
	struct fuse_open_out open_out = {.fh = 1};
	if (request->opcode == FUSE_INIT)
		reply(device, request, &init, sizeof(init));
	else if (request->opcode == FUSE_GETATTR)
		reply(device, request, &attr, sizeof(attr));
	else if (request->opcode == FUSE_OPEN)
		reply(device, request, &open_out, sizeof(open_out));
	else if (request->opcode == FUSE_FLUSH && write(flushing[1], "", 1) < 0)
		_exit(1);
	/* Nothing else is ever answered. */
}

/* Ends, and with it the connection, when standard input does: whatever waits then wakes up. */
static void serve(int device)
{
	static _Alignas(struct fuse_in_header) char request[1 << 18];
	struct pollfd wait[] = {{.fd = 0, .events = POLLIN}, {.fd = device, .events = POLLIN}};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		poll(wait, 2, -1);
		if (wait[0].revents)
			_exit(0);
		if (read(device, request, sizeof(request)) > 0)
			serve_one(device, (const struct fuse_in_header *)request);
	}
}

static int stuck_file(void)
{
	char name[] = "/tmp/ttmem-stuck-XXXXXX", options[80];
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC), place = mkstemp(name);
	snprintf(options, sizeof(options), "fd=%d,rootmode=100644,user_id=0,group_id=0", device);
	if (device < 0 || place < 0 || mount("stuck", name, "fuse", 0, options) < 0)
		forge_die("mount");
	if (fork() == 0)
		serve(device);
	close(device);
	close(place);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	umount2(name, MNT_DETACH);
	unlink(name);
	if (fd < 0)
		forge_die("open");
	return fd;
}

static void stuck_files(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		forge_die("unshare");
	for (int i = 0; i < count; i++) {
		int fd = stuck_file();
		forge_send_hello(forge_connect(), &fd, 1);
		/* Our own copy stays open: closing it would block us, too. */
	}
}

/* The kernel closes descriptors from the lowest on: the ledger's is still there. */
static void stuck_in_exec(bool says_hello)
{
	char byte;
	if (pipe2(flushing, O_CLOEXEC) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		forge_die("unshare");
	for (int i = 0; i < count; i++) {
		if (fork() == 0) {
			struct forgery f;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			stuck_file();
			f = forge_ledger(LEDGER_CHUNK_RECORDS);
			forge_seal(&f, FORGE_SEALS);
			if (says_hello)
				forge_send_ledger(forge_connect(), &f);
			execl("/bin/true", "true", NULL);
			forge_die("execl");
		}
		if (read(flushing[0], &byte, 1) != 1)
			forge_die("read");
	}
}

/* --- a TCP connection that cannot be emptied ------------------------------------------------ */

static int lingering_connection(void)
{
	static const char noise[65536];
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct linger linger = {.l_onoff = 1, .l_linger = 60};
	socklen_t size = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(server, (struct sockaddr *)&address, size) < 0 || listen(server, 1) < 0 ||
	    getsockname(server, (struct sockaddr *)&address, &size) < 0 ||
	    connect(client, (struct sockaddr *)&address, size) < 0 ||
	    accept(server, NULL, NULL) < 0)
		forge_die("tcp");
	while (send(client, noise, sizeof(noise), MSG_DONTWAIT) > 0)
		;
	setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return client;
}

/* The collector's copies become the last. It is stopped meanwhile: so ours are not, because a
 * message in flight counts as one. */
static void send_and_close(int socket, int connections)
{
	int fds[253];
	for (int i = 0; i < connections; i++)
		fds[i] = lingering_connection();
	forge_send_hello(socket, fds, (size_t)connections);
	for (int i = 0; i < connections; i++)
		close(fds[i]);
}

static void lingering_connections(void)
{
	for (int i = 0; i < count; i++)
		send_and_close(forge_connect(), 1);
}

static void lingering_surplus(void)
{
	for (int i = 0; i < count; i++)
		send_and_close(forge_connect(), 12);
}

static void lingering_queue(void)
{
	for (int i = 0; i < count; i++) {
		int socket = forge_connect();
		forge_send(socket, "garbage", 7, NULL, 0);
		send_and_close(socket, 4);
		send_and_close(socket, 4);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 64;
	forge_path = argv[2];
	count = argc > 3 ? atoi(argv[3]) : 1;
	if (!strcmp(argv[1], "fuse"))
		stuck_files();
	else if (!strcmp(argv[1], "exec") || !strcmp(argv[1], "hello"))
		stuck_in_exec(!strcmp(argv[1], "hello"));
	else if (!strcmp(argv[1], "surplus"))
		lingering_surplus();
	else if (!strcmp(argv[1], "queued"))
		lingering_queue();
	else
		lingering_connections();
	forge_say("ready");
	forge_stay();
	return 0;
}
