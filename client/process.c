/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to the process around us: the library is loaded and unloaded, and the process forks.
 *
 * A child starts clean whatever made it: the kernel zeroes the state and leaves the ledger and the
 * private pages out. fork() in addition lets go of the parent's descriptors at once, so that
 * nobody else holds the line on which the collector hears of the parent's exec.
 *
 * One child needs more. A signal handler may interrupt a call and fork, and the child may return
 * from it into a call whose memory it does not have. It gets copies, and a ledger of zeros in the
 * place of its parent's, in which it finishes the call for nobody; its next call starts clean.
 */
#include "directory.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS 2000000 /* that a fork in the middle of a call waits for other threads */

pthread_key_t ttmem__thread_key;
bool ttmem__have_thread_key;
bool ttmem__loaded;
struct client *ttmem__abandoned;

/* The descriptors, in memory that a fork copies. The number is written last, and -1 first: a fork
 * of another thread may come in between. */
static struct noted {
	int fd;
	dev_t device;
	ino_t inode;
} noted_memfd = {.fd = -1}, noted_eventfd = {.fd = -1}, noted_socket = {.fd = -1};

/* What this thread's fork() has done for its child: 0 unless it interrupted a call. */
static __thread struct {
	struct client *client;
	uint64_t shards; /* whose locks were taken */
	bool lock, search_lock, chunk_lock;
} kept;
static unsigned int keepers; /* threads with such a fork under way */

static void note(struct noted *noted, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return;
	word_set(&noted->device, st.st_dev);
	word_set(&noted->inode, st.st_ino);
	__atomic_store_n(&noted->fd, fd, __ATOMIC_RELEASE);
}

/* Closes the descriptor if it still is what it was. */
static bool noted_close(struct noted *noted)
{
	int fd = __atomic_load_n(&noted->fd, __ATOMIC_ACQUIRE);
	struct stat st;

	__atomic_store_n(&noted->fd, -1, __ATOMIC_RELEASE);
	if (fd < 0 || fstat(fd, &st) || st.st_dev != word_get(&noted->device) ||
	    st.st_ino != word_get(&noted->inode))
		return false;
	close(fd);
	return true;
}

/* All eventfds have one inode, so there the memory file must speak for it: who has closed
 * everything has closed that too. */
void ttmem__descriptors_close(void)
{
	if (noted_close(&noted_memfd))
		noted_close(&noted_eventfd);
	else
		word_set(&noted_eventfd.fd, -1);
	noted_close(&noted_socket);
}

void ttmem__descriptors_note(const struct client *client)
{
	note(&noted_memfd, client->memfd);
	note(&noted_eventfd, client->eventfd);
	note(&noted_socket, client->socket);
}

static bool lock_try(struct lock *lock, uint64_t since)
{
	while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE)) {
		if (clock_ns(CLOCK_MONOTONIC) - since > PATIENCE_NS)
			return false;
		sched_yield();
	}
	return true;
}

/* Unless it is our own nobody is inside it then, or somebody is for longer than we have patience.
 * Whoever is inside stays there without the lock: ttmem__other_take() waits for that one. */
static bool shard_try(struct client *client, struct shard *shard, uint64_t since)
{
	if (!lock_try(&shard->lock, since))
		return false;
	if (!word_get(&shard->shared)) {
		word_set(&shard->shared, 1);
		ttmem__fence_all(client);
	}
	while (__atomic_load_n(&shard->inside, __ATOMIC_ACQUIRE) && shard != ttmem__thread.shard &&
	       clock_ns(CLOCK_MONOTONIC) - since < PATIENCE_NS)
		sched_yield();
	return true;
}

/* Waits until no other thread is in the middle of a change, for a while: locks that this thread
 * holds itself cannot be had, nor those of a thread that waits for these. */
static void others_stop(struct client *client)
{
	uint32_t count = __atomic_load_n(&client->nshards, __ATOMIC_ACQUIRE);
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	kept.lock = lock_try(&client->lock, since);
	kept.search_lock = lock_try(&client->search_lock, since);
	for (uint32_t i = 0; i < count; i++)
		if (shard_try(client, client->shards[i], since))
			kept.shards |= 1ull << i;
	kept.chunk_lock = lock_try(&client->chunk_lock, since);
}

static void others_go_on(struct client *client)
{
	if (kept.chunk_lock)
		lock_give(&client->chunk_lock);
	for (uint32_t i = 0; i < LEDGER_SHARDS; i++)
		if (kept.shards >> i & 1)
			lock_give(&client->shards[i]->lock);
	if (kept.search_lock)
		lock_give(&client->search_lock);
	if (kept.lock)
		lock_give(&client->lock);
}

static void child_gets(struct client *client, bool wanted)
{
	madvise(client, sizeof *client, wanted ? MADV_KEEPONFORK : MADV_WIPEONFORK);
	madvise(client->header, ledger_file_size(client->capacity),
		wanted ? MADV_DOFORK : MADV_DONTFORK);
	ttmem__private_inherit(wanted);
}

/* Before the epoch is written there is nothing yet that the call could miss. */
static void before_fork(void)
{
	struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);

	if (!ttmem__thread.busy || !client || !__atomic_load_n(&client->epoch, __ATOMIC_ACQUIRE))
		return;
	kept.client = client;
	__atomic_fetch_add(&keepers, 1, __ATOMIC_ACQ_REL);
	others_stop(client);
	child_gets(client, true);
}

static void after_fork_in_parent(void)
{
	if (!kept.client)
		return;
	if (__atomic_fetch_sub(&keepers, 1, __ATOMIC_ACQ_REL) == 1)
		child_gets(kept.client, false);
	others_go_on(kept.client);
	memset(&kept, 0, sizeof kept);
}

static struct group no_group; /* with a mask of 0: a table of none */

static void finish_shard(struct shard *shard)
{
	ttmem__private_complete(shard, sizeof *shard);
	shard->lock = (struct lock){0};
	shard->inside = 0;
	if (shard->index.groups)
		ttmem__private_complete(shard->index.groups,
					(shard->index.mask + 1) * sizeof(struct group));
	else
		shard->index.groups = &no_group;
}

/* There is one thread now, which may hold any of the locks or wait for one: it can have them all.
 * The pages stay for good, because nothing says when the call has ended. Should there be no memory
 * for zeros, the call ends in the parent's ledger. */
static void finish_for_nobody(struct client *client)
{
	(void)mmap(client->header, ledger_file_size(client->capacity), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	client->lock = client->search_lock = client->chunk_lock = (struct lock){0};
	ttmem__private_complete(client->directory.bytes,
				ttmem__directory_bytes(&client->directory));
	for (uint32_t i = 0; i < client->nshards; i++)
		finish_shard(client->shards[i]);
	for (uint32_t i = 0; i < OVERFLOW_BLOCKS && client->overflow[i]; i++)
		ttmem__private_complete(client->overflow[i],
					OVERFLOW_BLOCK * sizeof(struct ledger_record));
}

/* If the state is not zero, it was kept for this child, or for that of another thread's fork at the
 * same time: then nothing is known of the other pages, and nobody needs them. */
static void after_fork_in_child(void)
{
	struct client *client = ttmem__client;

	if (kept.client)
		finish_for_nobody(kept.client);
	if (client && client->epoch) {
		client->epoch = 0;
		ttmem__abandoned = client;
	}
	memset(&kept, 0, sizeof kept);
	keepers = 0;
	ttmem__descriptors_close();
}

/*
 * An archive that is linked into a plugin goes when the plugin is closed, and then nothing may be
 * left that would call into it, or count for it. At exit() instead all works to the end, because
 * the destructors of others still make calls. Which of the two it is, is seen by what comes first:
 * the functions of atexit() or the destructors.
 */
static bool exits, unloads;

static void on_exit_of_process(void)
{
	exits = true;
}

__attribute__((constructor)) static void loaded(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	ttmem__have_thread_key = pthread_key_create(&ttmem__thread_key, ttmem__thread_ends) == 0;
	atexit(on_exit_of_process);
	ttmem__loaded = true;
}

__attribute__((destructor)) static void unloaded(void)
{
	unloads = !exits;
}

/* The last of all: after the destructors and functions of atexit() of the same plugin. */
__attribute__((destructor(101))) static void unloaded_last(void)
{
	struct client *client = ttmem__client;

	if (!unloads)
		return;
	word_set(&ttmem__gate, 0);
	pthread_key_delete(ttmem__thread_key);
	ttmem__descriptors_close();
	if (client && client->epoch)
		munmap(client->header, ledger_file_size(client->capacity));
	ttmem__private_free_all();
	if (client)
		munmap(client, sizeof *client);
}
