/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of libttmem share. Nothing here is visible outside the library. */
#ifndef TTMEM_INTERNAL_H
#define TTMEM_INTERNAL_H

#include "ledger.h"
#include "ttmem.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define hot         inline __attribute__((always_inline))
#define cold        __attribute__((noinline, cold))

/* The ledger's words are plain integers that the collector may read at any time. */
#define word_get(p)    __atomic_load_n(p, __ATOMIC_RELAXED)
#define word_set(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define word_add(p, v) word_set(p, word_get(p) + (v)) /* by the holder of the shard's lock */
#define word_count(p)  __atomic_fetch_add(p, 1, __ATOMIC_RELAXED)

#define OVERFLOW_BLOCK  65536u /* records in one block of private memory */
#define OVERFLOW_BLOCKS 4096u

/* Of a clock, in ns; 0 should there be no such clock. */
static hot uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* struct ledger_record.owner: a shard's number, and this for a buffer that is in no index. */
#define RECORD_HAS_HANDLE 0x100u
#define RECORD_SHARD      0xffu

/* A table's entry for a device and kind, and the first for all devices. */
#define ROW(device, kind) ((device)*LEDGER_KINDS + (kind))
#define ROWS_ALL          ROW(LEDGER_ALL_DEVICES, 0)

#define TRAIL 8 /* allocations that a record's trail leads on: a power of two */

/* For what is not on the hot path, and for a shard that several threads want. */
struct lock {
	uint32_t held;
	uint32_t waiters;
};

struct group; /* index.h */

/* Where one of the last TRAIL allocations is, and where that shall be told of a later one: see
 * account.h. */
struct trail {
	uint64_t here;
	uint64_t *later;
};

/* From (device, kind, address) to a record. */
struct index {
	struct group *groups;
	uint32_t mask; /* groups - 1 */
	int32_t room;  /* for how many more it is meant; below 0 when it could not grow */
};

/* Which shard may have an address: directory.h. */
struct directory {
	uint8_t *bytes; /* NULL: there is none */
	uint8_t from, shift, at, many;
};

/*
 * One thread's part of the ledger, and the private memory that goes with it. Owned by the client
 * for the life of the process; a thread that ends leaves its shard, with the buffers in it, to
 * the next thread. In memory that a forked child does not get.
 */
struct shard {
	/* Who is in it: see bias.h. */
	uint32_t inside;
	uint32_t shared;
	struct lock lock;
	uint32_t calm; /* the own thread's calls since another was in it; under the lock */
	bool crowded;  /* several threads call it their own; under the lock */
	uint32_t number;
	uint32_t users; /* threads that work with it; under client.lock */
	struct index index;
	uint32_t free_record; /* record + 1, linked through next_free; 0: none */
	uint32_t chunks;      /* that it has */
	uint32_t next_record; /* the rest of the current ones... */
	uint32_t chunk_end;   /* ...ends here */
	uint64_t devices;     /* a bit for each device whose counters are backed by memory */
	/* As the client has them. */
	struct ledger_record *records;
	uint64_t capacity;
	uint32_t *armed;
	bool several; /* a second shard exists; changes once, while this one, the first, is taken */
	struct timespec now; /* where the clock leaves it */
	uint32_t allocated;  /* buffers: account.h has these */
	struct trail trails[TRAIL];
	uint64_t nowhere;
	/* By ROW(). */
	struct ledger_cell *cells;
	struct ledger_process_cell *sums; /* the process table while there is one shard, then: */
	struct ledger_process_cell ahead[ROWS_ALL + LEDGER_KINDS]; /* see account.h */
};

/*
 * The process-wide state, in pages that the kernel zeroes in a forked child, raw clone() included:
 * so a child finds epoch 0 and every lock free, and starts anew. The first line is read by every
 * call and written only at the start.
 */
struct client {
	uint64_t epoch; /* that no other start of this or a parent process has; 0: not started */
	struct ledger_header *header;
	struct ledger_process_cell *process; /* by ROW() */
	struct ledger_record *records;
	uint64_t capacity;          /* of records */
	struct directory directory; /* changes while all shards are taken */
	bool fenceless;             /* others can make our threads fence: see bias.h */

	/* Taken in this order, and none with a shard taken but the last. */
	struct lock lock __attribute__((aligned(64))); /* start, shards, tags, devices */
	struct lock search_lock; /* looking into other shards' indexes, and making one larger */
	struct lock chunk_lock;
	uint64_t wasted; /* searches of all shards in vain; under search_lock */
	uint64_t wasted_limit;

	uint32_t handle_key
		__attribute__((aligned(64))); /* tells this start's handles from others' */
	int memfd;
	int eventfd;
	int socket;
	ino_t memfd_inode, eventfd_inode;
	dev_t memfd_device, eventfd_device;
	struct ledger_chunk *chunks;
	struct ledger_tag *tags;
	struct ledger_device *devices;
	uint32_t nshards;
	uint32_t overflow_chunks;
	struct shard *shards[LEDGER_SHARDS];
	struct ledger_record *overflow[OVERFLOW_BLOCKS];
	uint8_t overflow_shard[OVERFLOW_BLOCKS * OVERFLOW_BLOCK / LEDGER_CHUNK_RECORDS];
	uint16_t tag_slots[2 * LEDGER_TAGS]; /* tag id, by hash; 0: empty */
};

struct tag_stack; /* scope.c */

/* What a thread keeps. It survives fork() in the child, where its pass is no longer good. */
struct thread {
	uint64_t pass; /* ~epoch */
	struct shard *shard;
	struct tag_stack *stack; /* made by the first push; owned by the thread */
	uint32_t depth;          /* pushes without their pops */
	uint32_t tid;            /* these two as in a record */
	uint16_t tag;            /* on top of the stack, while the pass is good */
	uint16_t last_tag;
	volatile uint8_t busy; /* in a call: seen by a signal handler of the same thread */
	uint8_t locked;        /* has the lock of its shard, and not only its `inside` */
};

extern struct client *ttmem__client;
extern __thread struct thread ttmem__thread;

/* Before a thread's first call the pass is 0, and in a forked child the epoch: neither is good. */
static hot bool pass_is_good(const struct thread *thread, const struct client *client)
{
	return thread->pass == ~word_get(&client->epoch);
}

/* process.c */
extern pthread_key_t ttmem__thread_key; /* its destructor is ttmem__thread_ends() */
extern bool ttmem__have_thread_key;
extern bool ttmem__loaded;              /* the library's constructor has run */
extern struct client *ttmem__abandoned; /* only good for the call that a fork has interrupted */
void ttmem__descriptors_note(const struct client *client);
void ttmem__descriptors_close(void);

/* private.c */
void *ttmem__private_pages(size_t bytes);
void *ttmem__private_table(size_t bytes);
void ttmem__private_free(void *pages, size_t bytes);
void ttmem__private_inherit(bool wanted);
void ttmem__private_complete(void *pages, size_t bytes);
void ttmem__private_forget(void);
void ttmem__private_free_all(void);
void ttmem__signals_block(sigset_t *saved);

/* client.c */
void ttmem__thread_ends(void *client);
struct shard *ttmem__enter_slowly(struct thread *thread);
struct client *ttmem__client_ready(void);

/* memory.c: each returns NULL or a negative errno when the host has no more to give */
int ttmem__back(const struct client *client, const void *start, size_t bytes);
int ttmem__ledger_create(struct client *client);
int ttmem__above_stdio(int fd);
bool ttmem__memfd_is_ours(const struct client *client);

/* doorbell.c */
int ttmem__eventfd_make(struct client *client);
void ttmem__ring(struct client *client);

/* hello.c */
int ttmem__hello(const struct client *client);

/* bias.c */
bool ttmem__fenceless_start(void);
void ttmem__fence_all(struct client *client);
void ttmem__own_take_slowly(struct shard *shard);
void ttmem__own_give_slowly(const struct client *client, struct shard *shard);
/* Any shard that the calling thread has not taken, also its own; given back by other_give(). */
void ttmem__other_take(struct client *client, struct shard *shard);

/* track.c */
void ttmem__alloc_fully(uint32_t device, uint32_t kind, uint64_t address, uint64_t size,
			const char *tag);
void ttmem__free_fully(uint32_t device, uint32_t kind, uint64_t address);

/* shard.c */
struct shard *ttmem__shard_take(struct client *client);
void ttmem__shard_leave(struct client *client, struct shard *shard);
bool ttmem__shard_use_device(struct client *client, struct shard *shard, uint32_t device);
void ttmem__sums_are_ahead(struct shard *shard);
void ttmem__push(struct client *client, struct shard *shard, uint32_t row);

/* record.c */
uint32_t ttmem__record_fresh(struct client *client, struct shard *shard);

/* index.c */
bool ttmem__index_grow(const struct client *client, struct shard *shard);

/* tag.c */
uint16_t ttmem__tag(struct client *client, struct thread *thread, const char *name);

/* scope.c */
void ttmem__scopes_renew(struct client *client, struct thread *thread);
void ttmem__scopes_end(struct thread *thread);

/* device.c */
void ttmem__device_seen(struct client *client, uint32_t device);

/* lock.c */
void ttmem__lock_wait(struct lock *lock);
void ttmem__lock_wake(struct lock *lock);

static inline void lock_take(struct lock *lock)
{
	if (unlikely(__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE)))
		ttmem__lock_wait(lock);
}

/* The waiter counts itself, fences and looks at `held`; we clear `held`, fence and look at the
 * count: one of the two sees the other. */
static inline void lock_give(struct lock *lock)
{
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (unlikely(word_get(&lock->waiters)))
		ttmem__lock_wake(lock);
}

/* After a change and a seq_cst fence, or what stands for one (see bias.h): the collector arms,
 * fences and reads, so either it sees the change or we see it armed. */
static inline void doorbell_check(struct client *client)
{
	if (unlikely(word_get(&client->header->armed)))
		ttmem__ring(client);
}

static inline struct ledger_record *record_at(const struct client *client, uint32_t record)
{
	if (likely(record < client->capacity))
		return client->records + record;
	record -= (uint32_t)client->capacity;
	return client->overflow[record / OVERFLOW_BLOCK] + record % OVERFLOW_BLOCK;
}

#endif
