/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libttmem: lets a process publish how much device memory it holds.
 *
 * An allocator calls ttmem_alloc() and ttmem_free() beside its own bookkeeping. The library keeps
 * the sums and a record of every live buffer in a sealed memory file (the "ledger") that the
 * collector, ttmemd, reads when somebody asks. No call sends a message or waits for one: with no
 * collector everything works as it does with one, and a collector that starts later finds the
 * ledger as it stands.
 *
 * Switching on. The library starts by itself at the first call when the environment has
 * TTMEM=1, TTMEM_REPORT or TT_ALLOC_TRACKING_ENABLED=1, or when ttmem_start() is called. Otherwise
 * it stays off, and every call is a test of one word. TTMEM=0 keeps it off whatever the other
 * variable says.
 *
 * Environment, read once at the start and never by a set-user-id program:
 *   TTMEM=1|0            on or off
 *   TTMEM_SOCKET=PATH    the collector's socket (default: /run/ttmemd/ttmemd.sock, then
 *                        $XDG_RUNTIME_DIR/ttmemd/ttmemd.sock). Whose it is must be root or
 *                        the process's own user
 *   TTMEM_RECORDS=N      live buffers that can be listed one by one, 256 to 16777216 (1048576);
 *                        beyond it the sums stay exact and the list says that it is cut
 *   TTMEM_REPORT=exit    switches tracking on, and prints ttmem_report()'s table on stderr at exit
 *   TTMEM_REPORT=MS      the same, and a line of what is live every MS milliseconds (100 or more)
 *   TTMEM_DEBUG=1        one line on stderr about a start that failed
 *
 * Threads: every call is safe from any thread at any time. Each thread writes to a shard of its
 * own; a buffer may be freed by another thread than the one that allocated it.
 *
 * Signals: a call from a signal handler that interrupts another call of the same thread is not
 * recorded; it is counted (ttmem_errors.reentered) and returns at once.
 *
 * A handler must not leave an interrupted call by longjmp(). No call is a cancellation point, and
 * asynchronous cancellation is not allowed during one.
 *
 * fork: the child starts with no ledger and makes its own at its first call; the parent goes on
 * undisturbed. exec: the ledger ends. docs/host.md has this and all else that a host may do.
 *
 * Every call keeps errno, never exits and installs no handler. The library prints nothing and
 * starts no thread, unless TTMEM_DEBUG or TTMEM_REPORT asks for it.
 *
 * Units: bytes. A size is what the allocator takes from the device as a whole: for L1 and circular
 * buffers the sum over cores. An address is any 64-bit number that names the buffer among the live
 * ones of its device and kind.
 */
#ifndef TTMEM_H
#define TTMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TTMEM_API         __attribute__((visibility("default")))
#define TTMEM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#error "ttmem.h needs the atomic and attribute extensions of gcc or clang"
#endif

/* What a buffer is allocated from. The numbers are TT-Metal's BufferType, extended by 5 and 6 as
 * the allocation server's protocol does. */
enum ttmem_kind {
	TTMEM_DRAM = 0,
	TTMEM_L1 = 1,
	TTMEM_SYSTEM = 2,
	TTMEM_L1_SMALL = 3,
	TTMEM_TRACE = 4,
	TTMEM_CB = 5,
	TTMEM_KERNEL = 6,
	TTMEM_KINDS = 7
};

#define TTMEM_MAX_DEVICES 64   /* device indices are 0 to 63 */
#define TTMEM_MAX_TAGS    1022 /* distinct tags; more are recorded as "other" */
#define TTMEM_TAG_MAX     47   /* bytes of a tag that are kept */
#define TTMEM_TAG_DEPTH   64   /* tags on a thread's stack; deeper ones count as the 64th */

/* What is known of a device. All fields are optional: 0 or NULL means not known. */
struct ttmem_device {
	uint32_t size;       /* sizeof(struct ttmem_device): lets the struct grow */
	uint32_t is_remote;  /* 1 for a chip that is reached through another chip */
	uint64_t asic_id;    /* UMD's chip_unique_id, which tt-kmd shows as tt_asic_id */
	uint64_t dram_total; /* bytes of DRAM that can be allocated */
	uint64_t l1_total;   /* bytes of L1 over all cores */
	const char *pci;     /* "0000:01:00.0", at most 15 bytes are kept */
	const char *arch;    /* "wormhole_b0", at most 15 bytes are kept */
	const char *board;   /* "n300", at most 15 bytes are kept */
};

/* A process's own sums for one kind on one device. */
struct ttmem_totals {
	uint64_t live_bytes; /* allocated and not freed */
	uint64_t live_buffers;
	uint64_t peak_bytes;        /* highest live_bytes: see ttmem_get_totals() */
	uint64_t allocated_bytes;   /* since the start; never goes down */
	uint64_t allocated_buffers; /* since the start; never goes down */
	uint64_t failures;          /* ttmem_alloc_failed() calls */
};

/* Calls that could not be recorded as asked, since the start. None of them changed a sum. */
struct ttmem_errors {
	uint64_t unknown_frees;   /* no live buffer at that device, kind and address */
	uint64_t size_mismatches; /* an address allocated again with another size */
	uint64_t bad_arguments;   /* a device index or kind out of range */
	uint64_t reentered;       /* a signal handler interrupted another call of its thread */
	uint64_t untracked;       /* allocations lost because the host has no memory left */
};

/* Live buffers of one tag, kind and device: see ttmem_get_tags(). */
struct ttmem_tag_totals {
	char tag[TTMEM_TAG_MAX + 1]; /* "" for buffers without a tag; ends with a zero byte */
	uint32_t device;
	uint32_t kind; /* enum ttmem_kind */
	uint64_t live_bytes;
	uint64_t live_buffers;
};

/* Names a live buffer for ttmem_free_handle(). 0: a buffer that is not tracked. */
typedef uint64_t ttmem_handle;

/* Not for use by callers: what the inline functions below stand on. */
extern TTMEM_API int ttmem__gate;
TTMEM_API void ttmem__alloc(uint32_t device, uint32_t kind, uint64_t address, uint64_t size,
			    const char *tag);
TTMEM_API void ttmem__free(uint32_t device, uint32_t kind, uint64_t address);
TTMEM_API void ttmem__alloc_failed(uint32_t device, uint32_t kind, uint64_t size,
				   uint64_t largest_free);
TTMEM_API ttmem_handle ttmem__alloc_handle(uint32_t device, uint32_t kind, uint64_t address,
					   uint64_t size, const char *tag);
TTMEM_API void ttmem__free_handle(ttmem_handle handle);
TTMEM_API void ttmem__tag_push(const char *tag);
TTMEM_API void ttmem__tag_pop(void);
#define TTMEM__ON TTMEM_UNLIKELY(__atomic_load_n(&ttmem__gate, __ATOMIC_RELAXED))

/*
 * Reports that `size` bytes at `address` of a device are now allocated. `tag` says what for
 * ("weights", "kv_cache") and is copied. NULL stands for the tag on top of the thread's stack (see
 * ttmem_tag_push()), "" for none.
 *
 * An address that is live already gets another reference: the sums stay as they are, and the
 * buffer goes with the last free. If the size differs, the first one stands and
 * ttmem_errors.size_mismatches counts.
 */
static inline void ttmem_alloc(uint32_t device, enum ttmem_kind kind, uint64_t address,
			       uint64_t size, const char *tag)
{
	if (TTMEM__ON)
		ttmem__alloc(device, (uint32_t)kind, address, size, tag);
}

/* Reports that a buffer is freed (or one reference to it). An unknown one is counted in
 * ttmem_errors.unknown_frees and changes no sum. */
static inline void ttmem_free(uint32_t device, enum ttmem_kind kind, uint64_t address)
{
	if (TTMEM__ON)
		ttmem__free(device, (uint32_t)kind, address);
}

/* Reports an allocation of `size` bytes that failed, and the largest block that was free then
 * (0: not known). */
static inline void ttmem_alloc_failed(uint32_t device, enum ttmem_kind kind, uint64_t size,
				      uint64_t largest_free)
{
	if (TTMEM__ON)
		ttmem__alloc_failed(device, (uint32_t)kind, size, largest_free);
}

/*
 * The same as ttmem_alloc(), for an allocator that has room for 64 bits beside its own record of
 * the buffer: ttmem_free_handle() then needs no search for the address. Such a buffer is a buffer
 * of its own whatever its address, and ttmem_free() does not find it. Returns 0 when it is not
 * tracked.
 */
static inline ttmem_handle ttmem_alloc_handle(uint32_t device, enum ttmem_kind kind,
					      uint64_t address, uint64_t size, const char *tag)
{
	if (TTMEM__ON)
		return ttmem__alloc_handle(device, (uint32_t)kind, address, size, tag);
	return 0;
}

/* Reports that a buffer is freed, from whatever thread. 0 does nothing. A handle that is not live
 * (freed already, or made by a parent before fork()) is counted in ttmem_errors.unknown_frees. */
static inline void ttmem_free_handle(ttmem_handle handle)
{
	if (TTMEM__ON)
		ttmem__free_handle(handle);
}

/*
 * Puts a tag on the calling thread's stack: buffers that the thread allocates without a tag of
 * their own get it, until the matching ttmem_tag_pop(). The name is copied; NULL or "" stands for
 * no tag. A forked child keeps its stack. What is pushed while tracking is off is not known later,
 * and a pop without a push does nothing.
 */
static inline void ttmem_tag_push(const char *tag)
{
	if (TTMEM__ON)
		ttmem__tag_push(tag);
}

static inline void ttmem_tag_pop(void)
{
	if (TTMEM__ON)
		ttmem__tag_pop();
}

static inline char ttmem__scope_begin(const char *tag)
{
	ttmem_tag_push(tag);
	return 0;
}

static inline void ttmem__scope_end(char *scope)
{
	(void)scope;
	ttmem_tag_pop();
}

/* TTMEM_TAG_SCOPE("kv_cache"); pushes, and pops where the block ends, however it is left (in C++ by
 * an exception, too; in C not by longjmp()). */
#define TTMEM__SCOPE_NAME(line) ttmem__scope_##line
#define TTMEM__SCOPE(tag, line)                                                           \
	char TTMEM__SCOPE_NAME(line) __attribute__((cleanup(ttmem__scope_end), unused)) = \
		ttmem__scope_begin(tag)
#define TTMEM_TAG_SCOPE(tag) TTMEM__SCOPE(tag, __LINE__)

/*
 * Switches tracking on, whatever the environment says. Calling it again, or when tracking is on
 * already, does nothing. Buffers allocated before are not known.
 * Returns 0, or a negative errno if no ledger can be made (-ENOMEM, -EMFILE, -EPERM...): then
 * tracking is off, and the process is none the worse.
 */
TTMEM_API int ttmem_start(void);

/* Says what is known of device `index` (0 to 63). May be called at any time and again; fields that
 * are not known keep what an earlier call said. The struct and its strings are copied.
 * Returns 0, -EINVAL (index or struct size), -ENOMEM, or -ENOTCONN when tracking is off. */
TTMEM_API int ttmem_declare_device(uint32_t index, const struct ttmem_device *device);

#define TTMEM_ALL_DEVICES UINT32_MAX

/*
 * Reads the process's own sums back. `device` may be TTMEM_ALL_DEVICES. The sums are exact when no
 * other thread is in a call. The peak is exact while one thread allocates; with several it may be
 * off by less than 256 KiB (l1, l1_small, cb, kernel) or 4 MiB (dram, system, trace) for each
 * of them.
 * Returns 0, -EINVAL, or -ENOTCONN when tracking is off (then *totals is all zeros).
 */
TTMEM_API int ttmem_get_totals(uint32_t device, enum ttmem_kind kind, struct ttmem_totals *totals);

/* Reads what could not be recorded. Returns 0, or -ENOTCONN when tracking is off. */
TTMEM_API int ttmem_get_errors(struct ttmem_errors *errors);

/*
 * Reads what the process holds by tag, kind and device, the most bytes first. `*count` is the room
 * in `rows`, and becomes the number of rows there are; `rows` may be NULL when it is 0. Looks at
 * every live buffer: some 10 ms for a million. Buffers that come and go meanwhile may be missed.
 * Returns 0, -ENOSPC when there are more rows than room (the largest are there), -EINVAL, -ENOMEM,
 * or -ENOTCONN when tracking is off (then *count is 0).
 */
TTMEM_API int ttmem_get_tags(struct ttmem_tag_totals *rows, size_t *count);

/*
 * Writes to `fd` a table for people: for each device and kind the peak, what is live, and how much
 * has been allocated; then what is live by tag. It may wait for whoever reads `fd`.
 * Returns 0, a negative errno of write(), -ENOMEM, or -ENOTCONN when tracking is off.
 */
TTMEM_API int ttmem_report(int fd);

/* The release of the library that is loaded, "0.2.0". */
TTMEM_API const char *ttmem_version(void);

#ifdef __cplusplus
}
#endif
#endif
