/* SPDX-License-Identifier: Apache-2.0 */
/* Starting: when tracking is asked for, and in a forked child again. */
#include "internal.h"
#include "report.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether a call must look closer. It starts at GATE_ASK so that the first call can ask the
 * environment; GATE_ON is written under client->lock, and GATE_OFF over it only there. */
enum { GATE_OFF, GATE_ASK, GATE_ON };

#define KEYS_AT_HAND 32 /* of glibc */

int ttmem__gate = GATE_ASK;
struct client *ttmem__client;
__thread struct thread ttmem__thread;

/* These outlive a fork, unlike everything in struct client. */
static bool asked_for;
static uint64_t starts; /* of this process and its parents: under client->lock */

static void debug(const char *what, int error)
{
	const char *wanted = secure_getenv("TTMEM_DEBUG");

	if (wanted && *wanted && *wanted != '0')
		ttmem__say("libttmem: %s: %s; this process is not tracked\n", what,
			   strerror(-error));
}

static bool environment_asks(void)
{
	const char *own = secure_getenv("TTMEM");
	const char *older = secure_getenv("TT_ALLOC_TRACKING_ENABLED");

	if (own && *own)
		return strcmp(own, "0") != 0;
	return (older && strcmp(older, "1") == 0) || ttmem__report_asked();
}

/* The pages of the state, made once and never unmapped: other threads may look at them any time.
 * Those in which a child has finished its parent's call are not used again. */
static struct client *client_pages(void)
{
	struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);
	void *pages;

	if (client && client != ttmem__abandoned)
		return client;
	pages = mmap(NULL, sizeof *client, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pages == MAP_FAILED)
		return NULL;
	if (madvise(pages, sizeof *client, MADV_WIPEONFORK)) {
		munmap(pages, sizeof *client);
		return NULL;
	}
	if (!__atomic_compare_exchange_n(&ttmem__client, &client, pages, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE)) {
		munmap(pages, sizeof *client);
		return client;
	}
	return pages;
}

/* The destructor of the thread key. */
void ttmem__thread_ends(void *arg)
{
	struct thread *thread = &ttmem__thread;
	struct client *client = arg;

	/* Until all is gone: a signal handler's call must find neither shard nor tags half way. */
	thread->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (thread->shard && pass_is_good(thread, client))
		ttmem__shard_leave(client, thread->shard);
	ttmem__scopes_end(thread);
	/* A later destructor of this thread may call again: it then takes a shard anew. */
	thread->shard = NULL;
	thread->pass = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	thread->busy = 0;
}

/* Under client->lock. The epoch is written last: it makes the rest valid. */
static int start_locked(struct client *client)
{
	int error;

	/* Those of a parent, if a raw clone() has made this process. */
	ttmem__descriptors_close();
	ttmem__private_forget();
	client->fenceless = ttmem__fenceless_start();
	error = ttmem__ledger_create(client);
	if (error)
		return error;
	client->socket = ttmem__hello(client);
	ttmem__descriptors_note(client);
	starts++;
	client->handle_key = (uint32_t)starts * 2654435761u ^ (uint32_t)getpid() * 2246822519u;
	__atomic_store_n(&client->epoch, starts, __ATOMIC_RELEASE);
	return 0;
}

static int start_once(struct client *client)
{
	bool is_first;
	int error = 0;

	lock_take(&client->lock);
	is_first = !client->epoch;
	if (is_first)
		error = start_locked(client);
	__atomic_store_n(&asked_for, !error, __ATOMIC_RELAXED);
	word_set(&ttmem__gate, error ? GATE_OFF : GATE_ON);
	lock_give(&client->lock);
	if (is_first && !error)
		ttmem__report_start();
	return error;
}

/* Unless another thread has started meanwhile. Before the C library has been set up there is no
 * environment: then the next call asks again. */
static void gate_shut(void)
{
	int seen = GATE_ASK;

	if (!environ && !ttmem__loaded)
		return;
	__atomic_compare_exchange_n(&ttmem__gate, &seen, GATE_OFF, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

/* Starts tracking if it is not on. Returns 0, -ENOTCONN when nobody asks for it, or why not. */
static int client_start(bool asked)
{
	struct client *client;
	int error = -ENOMEM;
	sigset_t signals;
	int cancel;

	if (!asked && !__atomic_load_n(&asked_for, __ATOMIC_RELAXED) && !environment_asks()) {
		gate_shut();
		return -ENOTCONN;
	}
	/* connect() and close() are cancellation points, and a lock is held there. A child that a
	 * signal handler forks must not finish what its parent finishes, too. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	ttmem__signals_block(&signals);
	client = client_pages();
	if (client)
		error = start_once(client);
	else
		gate_shut();
	if (error)
		debug("no ledger", error);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	pthread_setcancelstate(cancel, NULL);
	return error;
}

static struct shard *thread_join(struct client *client, struct thread *thread)
{
	struct shard *shard;
	uint64_t epoch;

	lock_take(&client->lock);
	shard = ttmem__shard_take(client);
	lock_give(&client->lock);
	if (!shard) {
		word_count(&client->header->untracked);
		return NULL;
	}
	/* A key beyond these would allocate memory, for which a signal handler must not ask. */
	if (ttmem__have_thread_key && ttmem__thread_key < KEYS_AT_HAND)
		pthread_setspecific(ttmem__thread_key, client);
	thread->shard = shard;
	thread->tid = (uint32_t)syscall(SYS_gettid);
	thread->last_tag = LEDGER_TAG_NONE;
	/* 0 if a signal handler has forked us meanwhile: that is no pass. */
	epoch = word_get(&client->epoch);
	thread->pass = epoch ? ~epoch : 0;
	ttmem__scopes_renew(client, thread);
	return shard;
}

/* A thread's first call, and a forked child's. Called with thread->busy set. NULL: not tracked. */
struct shard *ttmem__enter_slowly(struct thread *thread)
{
	struct client *client;
	struct shard *shard = NULL;
	int saved = errno;

	if (client_start(false) == 0) {
		client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);
		shard = thread_join(client, thread);
	}
	errno = saved;
	return shard;
}

int ttmem_start(void)
{
	int saved = errno;
	struct thread *thread = &ttmem__thread;
	int error;

	if (thread->busy)
		return -EDEADLK;
	thread->busy = 1;
	error = client_start(true);
	thread->busy = 0;
	errno = saved;
	return error;
}

/* The client if tracking is on or can be switched on, for calls off the hot path. */
struct client *ttmem__client_ready(void)
{
	struct client *client = __atomic_load_n(&ttmem__client, __ATOMIC_ACQUIRE);
	struct thread *thread = &ttmem__thread;
	int saved = errno;

	if (!word_get(&ttmem__gate) || thread->busy)
		return NULL;
	if (!client || !__atomic_load_n(&client->epoch, __ATOMIC_ACQUIRE)) {
		thread->busy = 1;
		client = client_start(false) ? NULL : ttmem__client;
		thread->busy = 0;
	}
	errno = saved;
	return client;
}

const char *ttmem_version(void)
{
	return TTMEM_VERSION;
}
