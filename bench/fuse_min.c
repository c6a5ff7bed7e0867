/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least a FUSE file system can do, as the baseline for a read of ttmemd's mount: libfuse's
 * low-level interface and its own single-threaded loop, one file with a short number, no flush, and
 * as many directories above it as ttmemd has, which the kernel walks at each open.
 *
 *   fuse_min [-a] DIR    serves DIR/device0/dram_used until SIGTERM, then unmounts
 *
 * With -a it stays awake for a while after each answer, whether that pays or not: no server can be
 * faster, however little it does, where a wake-up is what takes the time.
 */
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "measure.h"

#define DEVICE_INODE 2
#define VALUE_INODE  3
#define TIMEOUT_SEC  1.0 /* what libfuse's high-level interface has by default */

static const char value_text[] = "17179869184\n";

static int describe(fuse_ino_t inode, struct stat *st)
{
	*st = (struct stat){.st_ino = inode};
	switch (inode) {
	case FUSE_ROOT_ID:
	case DEVICE_INODE:
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2;
		return 0;
	case VALUE_INODE:
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
		st->st_size = 4096;
		return 0;
	default:
		return ENOENT;
	}
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	bool is_root = parent == FUSE_ROOT_ID;
	struct fuse_entry_param entry = {.ino = is_root ? DEVICE_INODE : VALUE_INODE,
					 .attr_timeout = TIMEOUT_SEC,
					 .entry_timeout = TIMEOUT_SEC};

	if (strcmp(name, is_root ? "device0" : "dram_used") != 0) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	describe(entry.ino, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	struct stat st;
	int error = describe(inode, &st);

	(void)file;
	if (error)
		fuse_reply_err(request, error);
	else
		fuse_reply_attr(request, &st, TIMEOUT_SEC);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	if (inode != VALUE_INODE) {
		fuse_reply_err(request, EISDIR);
		return;
	}
	file->direct_io = 1;
	file->noflush = 1;
	fuse_reply_open(request, file);
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
		    struct fuse_file_info *file)
{
	size_t length = sizeof(value_text) - 1;
	size_t start = (size_t)offset < length ? (size_t)offset : length;
	size_t rest = length - start;

	(void)inode;
	(void)file;
	fuse_reply_buf(request, value_text + start, rest < size ? rest : size);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = on_lookup,
	.getattr = on_getattr,
	.open = on_open,
	.read = on_read,
};

#define AWAKE_NS 100000u

/* The next request: its size, or -EAGAIN when none came within the time, and what libfuse says. */
static int receive_awake(struct fuse_session *session, struct fuse_buf *buffer)
{
	uint64_t end = now_ns() + AWAKE_NS;
	int size;

	do
		size = fuse_session_receive_buf(session, buffer);
	while ((size == -EAGAIN || size == -EINTR) && now_ns() < end &&
	       !fuse_session_exited(session));
	return size;
}

static int loop_awake(struct fuse_session *session)
{
	struct pollfd request = {.fd = fuse_session_fd(session), .events = POLLIN};
	struct fuse_buf buffer = {0};
	int flags = fcntl(request.fd, F_GETFL), size = 0;

	if (flags < 0 || fcntl(request.fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	while (!fuse_session_exited(session)) {
		size = receive_awake(session, &buffer);
		if (size == -EAGAIN || size == -EINTR)
			poll(&request, 1, -1);
		else if (size <= 0)
			break;
		else
			fuse_session_process_buf(session, &buffer);
	}
	free(buffer.mem);
	return size < 0 && size != -EAGAIN && size != -EINTR ? size : 0;
}

static int serve(struct fuse_session *session, const char *directory, bool awake)
{
	int result;

	if (fuse_set_signal_handlers(session))
		return -1;
	/* Whatever becomes of run.py, its mounts go with it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (fuse_session_mount(session, directory)) {
		fuse_remove_signal_handlers(session);
		return -1;
	}
	result = awake ? loop_awake(session) : fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	return result < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct fuse_args arguments = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *session;
	bool awake = argc == 3 && strcmp(argv[1], "-a") == 0;
	int failed;

	if (argc != 2 && !awake)
		GIVE_UP(2, "usage: fuse_min [-a] DIR");
	session = fuse_session_new(&arguments, &operations, sizeof(operations), NULL);
	if (!session)
		return EXIT_FAILURE;
	failed = serve(session, argv[argc - 1], awake);
	fuse_session_destroy(session);
	fuse_opt_free_args(&arguments);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
