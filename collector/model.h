/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds what: devices, processes, and for each pair of them a holding. The model keeps no sums
 * of live processes; they are read from the sources at the moment somebody asks.
 *
 * Knows nothing of libuv or FUSE. One thread.
 */
#ifndef MODEL_H
#define MODEL_H

#include "kind.h"
#include "source.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MODEL_MAX_DEVICES          512
#define MODEL_MAX_DEVICES_PER_USER 128 /* of a user who is neither root nor the daemon's own */

/* What tells one chip from another; all optional but `index`. */
struct identity {
	uint32_t index; /* the number the process uses for it */
	uint64_t asic_id;
	char pci[16];
	char arch[16];
	char board[16];
	bool is_remote;
	uint64_t dram_total_bytes;
	uint64_t l1_total_bytes;
};

/* A device; owned by the model. Its number stays for the life of the daemon. */
struct device {
	uint64_t serial; /* never given to another device or process */
	uint32_t number; /* N of deviceN */
	uid_t creator;
	struct identity identity;
	GTree *holdings;  /* pid -> struct holding */
	GPtrArray *users; /* the same, in no order, for summing */
	uint64_t created_ns;
	uint64_t end_noted_ns; /* when its sums were last taken for the peak because a process went
				*/
	uint64_t peak_bytes[KIND_COUNT];
	struct amount gone[KIND_COUNT]; /* what processes that left had allocated, and failures */
};

/* A process that some source reports; owned by the model, made and removed by its source. */
struct process {
	uint64_t serial;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	uint64_t start_ticks; /* with the pid, names the process for ever */
	uint64_t start_ns;    /* since the epoch */
	uint64_t seen_ns;     /* since the epoch: when the daemon met it */
	char comm[16];        /* as the kernel has it: any bytes, ends with zero */
	struct source *source;
	void *source_data;
	GPtrArray *holdings; /* struct holding, by device number */
};

/* What a process has on a device; owned by the process. */
struct holding {
	struct process *process;
	struct device *device;
	struct source *source; /* of the process, as is source_data */
	void *source_data;
	guint place;                         /* in device.users */
	uint64_t old_peak_bytes[KIND_COUNT]; /* its own peak when the device's started afresh */
	uint64_t slots; /* a bit for each of the process's device indices that means this device */
};

struct model {
	GTree *devices;                /* number -> struct device */
	GTree *processes;              /* pid -> struct process */
	GHashTable *device_by_serial;  /* uint64_t -> struct device */
	GHashTable *process_by_serial; /* uint64_t -> struct process */
	GPtrArray *sources;            /* struct source, not owned */
	uid_t owner;                   /* the daemon's own */
	gid_t group;
	uint64_t last_serial;
	uint64_t started_ns; /* since the epoch */
	uint64_t refused_devices;
	uint64_t end_noted_ns; /* when last a process's end asked for sums... */
	uint64_t end_spent_ns; /* ...and how long these took lately */
	const char *proc;      /* "/proc", or where tests have theirs */
	uint64_t (*now_ns)(void);
};

void model_init(struct model *model);
void model_fini(struct model *model);
void model_add_source(struct model *model, struct source *source);

/* Before anything is read: lets each source bring processes and devices up to date. */
void model_sync(struct model *model);

uint64_t model_now_ns(void);

/* By the number that is never reused; NULL when it is gone or of the other type. */
struct device *model_device(const struct model *model, uint64_t serial);
struct process *model_process(const struct model *model, uint64_t serial);

struct device *model_device_numbered(const struct model *model, uint32_t number);
struct process *model_process_by_pid(const struct model *model, pid_t pid);

/* Adds a process. One of the same pid that is still there has ended and is removed first. The
 * source's data goes with it. Never NULL. */
struct process *model_process_add(struct model *model, struct source *source, void *source_data,
				  pid_t pid, uid_t uid, gid_t gid, uint64_t start_ticks);
void model_process_remove(struct model *model, struct process *process);

/* Finds or makes the device that the identity means: by ASIC id, else PCI address, else index. NULL
 * when the user has made too many. */
struct device *model_device_get(struct model *model, const struct identity *identity, uid_t uid);

/* Binds the process's device index to the device; an earlier binding of the index ends. */
void model_hold(struct model *model, struct process *process, struct device *device,
		uint32_t index);

/* Ends a holding, in both lists. */
void model_let_go(struct holding *holding);

struct holding *process_holding(const struct process *process, const struct device *device);

/* Read the sums now. A sum that would overflow stays at its limit. */
void holding_read(struct holding *holding, unsigned int kinds, struct amount amounts[KIND_COUNT]);
void device_read(struct device *device, unsigned int kinds, struct amount amounts[KIND_COUNT]);
void process_read(const struct process *process, unsigned int kinds,
		  struct amount amounts[KIND_COUNT]);
/* Adds to what is there. */
void holdings_add(struct holding *const *holdings, size_t count, unsigned int kinds,
		  struct amount amounts[KIND_COUNT]);
void amount_add(struct amount *to, const struct amount *from);

/* The device's peak: the highest sum seen, and no less than any process's own peak since it started
 * afresh, which the process's library sees between our looks. */
uint64_t device_peak(struct device *device, enum kind kind);
void device_note_own_peak(const struct holding *holding, unsigned int kinds);

/* Sums that were read elsewhere count for the device's peaks. */
void device_note_peaks(struct device *device, unsigned int kinds, const struct amount *amounts);

/* The device's peak starts again at what is in use now. */
void device_peak_reset(struct device *device, enum kind kind);

/* The highest sum on one device, never below what is in use. */
uint64_t holding_peak(const struct holding *holding, enum kind kind, uint64_t used_bytes);

/* The highest sum over devices, never below what is in use. */
uint64_t process_peak(const struct process *process, enum kind kind, uint64_t used_bytes);

/* Looks at the process's name again (it may be changed at any time). */
void process_refresh_comm(const struct model *model, struct process *process);

#endif
