/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds what: devices, processes, and for each pair of them a holding. The model keeps no sums
 * of live processes; they are read from the sources at the moment somebody asks.
 *
 * Knows nothing of libuv or FUSE. One thread.
 */
#ifndef MODEL_H
#define MODEL_H

#include "events.h"
#include "hidepid.h"
#include "kind.h"
#include "source.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MODEL_MAX_DEVICES          512
#define MODEL_MAX_DEVICES_PER_USER 128 /* of a user who is neither root nor the daemon's own */

#define MODEL_EXITS       256   /* processes that left and are remembered */
#define MODEL_MAX_HOLDING 0xfff /* the last number of a process's; then from 1 on again */

#define DEVICE_NO_INDEX UINT32_MAX

/* What tells one chip from another; all optional. */
struct identity {
	uint32_t index; /* the number the process uses for it, or DEVICE_NO_INDEX */
	uint64_t asic_id;
	uint64_t gateway_asic_id; /* a chip that is known only as number... */
	uint32_t gateway_chip;    /* ...so and so behind this one; 0 and 0: not so */
	char pci[16];
	char arch[16];
	char board[24];
	char serial[24];   /* of the board, hex digits */
	char firmware[32]; /* the bundle's version */
	bool has_numa_node;
	int numa_node;
	bool is_remote;
	uint64_t dram_total_bytes;
	uint64_t l1_total_bytes;
};

/* A device; owned by the model. Its number stays for the life of the daemon. */
struct device {
	struct model *model;
	uint64_t serial; /* never given to another device or process */
	uint32_t number; /* N of deviceN */
	uid_t creator;
	struct identity identity;
	unsigned int known_by; /* a bit for each source (by its rank) that knows of it */
	bool was_listed;       /* by the driver, whose word it is then whether it is there */
	GTree *holdings;       /* pid -> struct holding */
	GPtrArray *users;      /* the same, in no order, for summing */
	uint64_t came_ns;      /* when it was last shown anew */
	uint64_t end_noted_ns; /* when its sums were last taken for the peak because a process went
				*/
	uint64_t peak_bytes[KIND_COUNT];
	struct amount gone[KIND_COUNT]; /* what processes that left had allocated, and failures */
	bool was_shown;                 /* as the events have it */
	struct device_events events;
	struct threshold thresholds[KIND_COUNT];
	uint64_t failures_seen[KIND_COUNT]; /* the sum of its holdings' */
	struct oom *oom;                    /* NULL: no request has failed */
	struct history *history;            /* NULL: nothing was noted yet */
};

/* How a process ended, as far as that is known. */
struct ending {
	enum { ENDING_UNKNOWN, ENDING_EXIT, ENDING_SIGNAL, ENDING_DETACHED } how;
	int number; /* exit status or signal */
};

/* A process that some source reports; owned by the model. It is there as long as one source is
 * joined to it. */
struct process {
	uint64_t serial;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	uint64_t start_ticks;              /* with the pid, names the process for ever */
	uint64_t start_ns;                 /* since the epoch */
	uint64_t seen_ns;                  /* since the epoch: when the daemon met it */
	char comm[16];                     /* as the kernel has it: any bytes, ends with zero */
	void *joined[SOURCE_COUNT];        /* each source's own data; NULL: it does not report it */
	bool was_tracked;                  /* some source has known what it holds */
	void *life;                        /* of who watches for its end; NULL: nobody does */
	GPtrArray *holdings;               /* struct holding, by device number */
	uint32_t last_holding;             /* the number of the newest */
	uint64_t peak_bytes[KIND_COUNT];   /* the highest that was told or shown */
	uint64_t leaked_bytes[KIND_COUNT]; /* what it had not freed when a source left */
	struct ending ending;
	struct surveyor *surveyor; /* of its buffers, while somebody asks: see survey.h */
	char *cgroup; /* its path, as the kernel has it: any bytes but newlines; NULL: not known */
};

/* What one source says that a process has on a device. */
struct claim {
	void *data;     /* the source's; NULL: it says nothing */
	uint64_t slots; /* a bit for each of the process's device indices that means this device */
};

/* What sources that counted before have left behind in a holding. */
struct earlier {
	uint64_t peak_bytes[KIND_COUNT];
	struct amount carried[KIND_COUNT]; /* of device.gone: see holding_hand_over() */
};

/* What a process has on a device, by the word of the best source; owned by the process. */
struct holding {
	struct process *process;
	struct device *device;
	uint32_t number;       /* among its process's: one that comes back has another */
	struct source *source; /* which counts, as do its data and slots */
	void *source_data;
	uint64_t slots;
	uint64_t failures_seen[KIND_COUNT];  /* failures that were counted as events */
	guint place;                         /* in device.users */
	uint64_t old_peak_bytes[KIND_COUNT]; /* its own peak when the device's started afresh... */
	unsigned int restarted;              /* ...and a bit for each kind of which it has */
	struct earlier *earlier;             /* NULL: no other source has counted */
	struct claim claims[SOURCE_COUNT];
};

/* A process that was there. */
struct departed {
	pid_t pid;
	uid_t uid;
	char comm[16];
	uint64_t start_ns;
	uint64_t end_ns;
	struct ending ending;
	uint64_t peak_bytes[KIND_COUNT];
	uint64_t leaked_bytes[KIND_COUNT];
};

/* What changed() is told, with the process or the device or both. Things are still there when they
 * go, and are there already when they come. */
enum model_change {
	PROCESS_COMES,
	PROCESS_GOES,
	HOLDING_COMES,
	HOLDING_GOES,
	DEVICE_COMES,
	DEVICE_GOES,
};

/* A part of all time for something that others could ask for without end. */
struct budget {
	uint64_t noted_ns;
	uint64_t spent_ns;
};

struct model {
	GTree *devices;                /* number -> struct device */
	GTree *processes;              /* pid -> struct process */
	GHashTable *device_by_serial;  /* uint64_t -> struct device */
	GHashTable *process_by_serial; /* uint64_t -> struct process */
	GPtrArray *sources;            /* struct source, not owned, in the order of their syncs */
	struct source *by_rank[SOURCE_COUNT];
	GQueue departed;           /* struct departed, the last to leave at its end */
	uint64_t exited_processes; /* all that ever left... */
	uint64_t leaked_bytes;     /* ...and what they had not freed */
	uid_t owner;               /* the daemon's own */
	gid_t group;
	struct hidepid hidepid;
	uint64_t last_serial;
	uint64_t started_ns; /* since the epoch */
	uint64_t refused_devices;
	struct budget end_budget; /* for sums that a process's end asks for */
	struct budget oom_budget; /* for sums that failed requests ask for */
	uint32_t driver_numbers;  /* numbers below are for the driver's devices */
	GQueue surveyors;         /* struct surveyor, of processes: see survey.h */
	uint64_t surveys;         /* that were begun */
	const char *proc;         /* "/proc", or where tests have theirs */
	uint64_t (*now_ns)(void);
	uint64_t (*spent_ns)(void); /* what the loop's thread has had of a CPU */

	/* Begins to watch for the end of a process that its source does not watch itself, setting
	 * process->life; false if it has ended. At the end: model_end(). NULL: nobody watches. */
	bool (*watch_life)(struct process *process, void *data);
	void (*unwatch_life)(struct process *process, void *data);
	void *life_data;

	/* Something has come or goes: see enum model_change. And a source tells of a change of what
	 * a process holds (NULL: of some processes). NULL: nobody wants to know. */
	void (*changed)(enum model_change change, struct process *process, struct device *device,
			void *data);
	void (*rung)(struct process *process, void *data);
	void *news_data;

	struct events events;
	uint32_t history_seconds; /* 0: no history is kept */
	uint32_t thresholds;      /* that are set */
	/* Whether ticks are wanted may have changed; NULL: nobody makes any. */
	void (*ticks_changed)(void *data);
	void *ticks_data;
};

void model_init(struct model *model);
void model_fini(struct model *model);

/* Root and the daemon's own user, who could do worse than what the limits of a user prevent. */
bool model_trusts(const struct model *model, uid_t uid);

void model_add_source(struct model *model, struct source *source);

/* Before anything is read: lets each source bring processes and devices up to date. `only`: for a
 * reader who asks for no more; else NULL. */
void model_sync(struct model *model, const struct scope *only);

uint64_t model_now_ns(void);

/* By the number that is never reused; NULL when it is gone or of the other type. */
struct device *model_device(const struct model *model, uint64_t serial);
struct process *model_process(const struct model *model, uint64_t serial);

struct device *model_device_numbered(const struct model *model, uint32_t number);
struct process *model_process_by_pid(const struct model *model, pid_t pid);

/* The source begins to report a process; `data` is its own and not NULL. Another process of the
 * same pid that is still there has ended. NULL if this one has ended itself. */
struct process *model_join(struct model *model, struct source *source, void *data, pid_t pid,
			   uid_t uid, gid_t gid, uint64_t start_ticks);

/* The source has no more to say of the process, which goes with the last that does. What the source
 * says of it must still be readable. */
void model_leave(struct model *model, struct source *source, struct process *process);

/* A source tells that what the process holds has changed; NULL: that of some process. */
void model_ring(const struct model *model, struct process *process);

/* Asks every source that counts for the process to tell of its next change; see source_ops.arm. */
enum bell model_arm(const struct model *model, struct process *process);

/* The process has ended: all sources let go of it. */
void model_end(struct model *model, struct process *process);

/* Finds or makes the device that the identity means: by ASIC id, else PCI address, else index. NULL
 * when the user has made too many. */
struct device *model_device_get(struct model *model, struct source *source,
				const struct identity *identity, uid_t uid);

/* The same for the driver, whose word on a device counts more than any other, and which numbers it.
 */
struct device *model_device_of_driver(struct model *model, struct source *source,
				      const struct identity *identity);

/* The source knows nothing of the device any more; by the driver's word, those who have heard of it
 * from processes neither. One that nobody knows or uses is hidden: it keeps its number for when it
 * comes back. */
void model_device_forget(struct model *model, struct source *source, struct device *device);
bool device_is_shown(const struct device *device);

/* The source says that the process has something on the device; `data` is what it wants to find
 * there and not NULL. With an index, an earlier binding of this index to another device ends. */
struct holding *model_hold(struct model *model, struct source *source, struct process *process,
			   struct device *device, void *data, uint32_t index);

/* The source says so no more. Ends the holding if no other source does. */
void model_let_go(struct model *model, struct source *source, struct holding *holding);

/* The best of the sources that report the process. */
struct source *process_source(const struct model *model, const struct process *process);

/* No source knows what it holds, only that it has devices open. */
bool process_is_untracked(const struct process *process);

/* Some source of it knows each buffer, and not only sums. */
bool process_lists_buffers(const struct process *process);

/* What could not be recorded inside the process, by all its sources. */
void process_errors(const struct model *model, const struct process *process,
		    struct recording_errors *errors);

/* As source_ops.buffers, over all sources of the process. */
size_t process_buffers(const struct model *model, const struct process *process,
		       struct buffer_cursor *cursor, struct buffer *rows, size_t room);

/* About how many rows such a walk would have. */
uint64_t process_buffer_estimate(const struct model *model, const struct process *process);

struct holding *process_holding(const struct process *process, const struct device *device);
struct holding *process_holding_numbered(const struct process *process, uint32_t number);

/* Read the sums now. A sum that would overflow stays at its limit. */
void holding_read(struct holding *holding, unsigned int kinds, struct amount amounts[KIND_COUNT]);
void device_read(struct device *device, unsigned int kinds, struct amount amounts[KIND_COUNT]);
void process_read(const struct process *process, unsigned int kinds,
		  struct amount amounts[KIND_COUNT]);
/* Adds to what is there. */
void holdings_add(struct holding *const *holdings, size_t count, unsigned int kinds,
		  struct amount amounts[KIND_COUNT]);
void amount_add(struct amount *to, const struct amount *from);
uint64_t amount_freed(const struct amount *amount); /* bytes */

/* The device's peak: the highest sum seen, and no less than any process's own peak since it started
 * afresh, which the process's library sees between our looks. */
uint64_t device_peak(struct device *device, enum kind kind);
void device_note_own_peak(const struct holding *holding, unsigned int kinds);
void device_note_peak_of(const struct holding *holding, enum kind kind, uint64_t own);

/* Sums that were read elsewhere count for the device's peaks and thresholds. */
void device_note_sums(struct device *device, unsigned int kinds, const struct amount *amounts);

/* The device's peak starts again at what is in use now. */
void device_peak_reset(struct device *device, enum kind kind);

/* The highest sum on one device, never below what is in use. */
uint64_t holding_peak(const struct holding *holding, enum kind kind, uint64_t used_bytes);

/* The newest request that failed there, if it is newer and says how much was free. */
void holding_last_failure(const struct holding *holding, enum kind kind, struct failure *newest);

/* The largest free block at the newest such request of a process that is still there; 0: not known.
 */
uint64_t device_largest_free(const struct device *device, enum kind kind);

/* The highest sum over devices, never below what is in use, nor below what it was before. */
uint64_t process_peak(const struct model *model, struct process *process, enum kind kind,
		      uint64_t used_bytes);

/* What the totals of the device's sources claim beyond what its processes hold. */
void device_unattributed(const struct model *model, const struct device *device,
			 uint64_t bytes[KIND_COUNT]);

/* What the device has of a kind, 0 if it has none or it is not known; as a process said, or by its
 * board's name. */
uint64_t device_capacity(const struct device *device, enum kind kind);
bool device_capacity_is_from_table(const struct device *device);

/* Looks at the process's name again (it may be changed at any time). */
void process_refresh_comm(const struct model *model, struct process *process);

/* The same for its cgroup. */
void process_refresh_cgroup(const struct model *model, struct process *process);

/* One of these for some more processes, those behind the pid `*last`, which is 0 at first: each is
 * a file of the kernel's to read. True when they were the last. */
typedef void process_refresh_fn(const struct model *model, struct process *process);
bool model_refresh_some(const struct model *model, process_refresh_fn *refresh, pid_t *last);

#endif
