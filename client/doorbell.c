/* SPDX-License-Identifier: Apache-2.0 */
/* The doorbell: an eventfd that is written when the collector has armed the ledger. */
#include "internal.h"
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Returns the descriptor, or -1: then the collector polls instead. */
int ttmem__eventfd_make(struct client *client)
{
	int fd = ttmem__above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		client->eventfd_inode = st.st_ino;
		client->eventfd_device = st.st_dev;
	}
	return fd;
}

/* A host that closes all descriptors may have a file of its own under our number by now. Anonymous
 * inodes share one inode number, so of a host's own eventfd only the memory file tells: it went,
 * too.
 */
static bool is_still_ours(const struct client *client)
{
	struct stat st;

	return client->eventfd >= 0 && fstat(client->eventfd, &st) == 0 &&
	       st.st_ino == client->eventfd_inode && st.st_dev == client->eventfd_device &&
	       ttmem__memfd_is_ours(client);
}

/* Called when `armed` was seen set: whoever clears it writes. A full eventfd is as good as one
 * more count. write() is a cancellation point, and the call is to be finished. */
void ttmem__ring(struct client *client)
{
	const uint64_t one = 1;
	int saved = errno;
	int cancel;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	if (__atomic_exchange_n(&client->header->armed, 0, __ATOMIC_SEQ_CST) &&
	    is_still_ours(client) && write(client->eventfd, &one, sizeof one) < 0) {
		/* EAGAIN: rung already */
	}
	pthread_setcancelstate(cancel, NULL);
	errno = saved;
}
