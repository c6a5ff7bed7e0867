/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a file, made from the model. Pure: no libuv, no FUSE, no state but the cursor.
 *
 * A renderer appends to `out` and returns true when the text is complete. One that has a long way
 * to go returns false after about RENDER_SLICE_ROWS rows and is called again with the cursor as it
 * left it; before each call the subject is known to be still there.
 */
#ifndef RENDER_H
#define RENDER_H

#include "model.h"
#include "survey.h"
#include <glib.h>

#define RENDER_SLICE_ROWS 2048

/* Who reads: what is shown may depend on it. */
struct reader {
	uid_t uid;
	gid_t gid;
	pid_t tid; /* a thread id; 0: in a pid namespace that we do not see */
	enum { READER_UNKNOWN, READER_SEES_ITS_OWN, READER_SEES_ALL } sees; /* by its groups */
};

/* Numbers for `status` that the model does not have; the daemon fills them in. */
struct status {
	uint64_t clients;
	uint64_t rejected_clients;
	uint64_t silent_connections;
	uint64_t doorbells;
	uint64_t notifications;
	uint64_t untold;
	uint64_t followed;
	uint64_t alloc_connections;
	uint64_t alloc_messages;
	uint64_t alloc_garbage_bytes;
	uint64_t alloc_lost_events;
	uint64_t alloc_lost_answers;
	uint64_t alloc_rejected;
	uint64_t requests;
	uint64_t awaited, awaited_in_vain; /* requests that it stayed awake for */
	uint64_t open_files;
	uint64_t nodes;
	uint64_t text_bytes;
};

struct cursor {
	struct buffer_cursor buffers;
	bool begun;
	uint64_t rows; /* so far */

	/* Of renderers that gather before they write: where they are among the processes, and what
	 * they have so far. */
	struct survey_tour tour;
	void *work;
	GDestroyNotify work_free;
	size_t work_bytes; /* about what it takes, which counts as the reader's */
};

/* Before the text is made anew, or when it is wanted no more. */
void cursor_clear(struct cursor *cursor);

struct render {
	struct model *model;
	const struct reader *reader;
	void (*status)(struct status *status, void *data);
	void *status_data;
	struct device *device;   /* the subject, as the file has one */
	struct process *process; /* likewise */
	enum kind kind;          /* likewise */
	struct cursor *cursor;
	GString *out;
};

typedef bool render_fn(struct render *render);

/* hidepid.c: whether what is about all processes is for this reader. Looks the reader's groups up
 * if need be, once: the thread must still wait for the answer to its request. */
bool reader_is_exempt(const struct model *model, struct reader *reader);

/* The same for renderers whose text is for everybody but for some lines. Of those, a process's own
 * user sees none: they are about all processes. Good in tables and in private files. */
bool reader_sees_all(const struct render *render);

/* render_root.c, render_summary.c */
render_fn render_version, render_status, render_summary, render_sources, render_exited;

/* render_device.c */
render_fn render_device_arch, render_device_board, render_device_asic_id, render_device_pci,
	render_device_remote, render_device_total, render_device_free, render_device_used,
	render_device_peak, render_device_stat, render_device_serial, render_device_firmware,
	render_device_numa_node, render_device_capacity_source, render_device_largest_free;

/* render_events.c */
render_fn render_events, render_device_events, render_device_high, render_device_oom,
	render_device_history;

/* render_process.c */
render_fn render_process_used, render_process_total, render_process_comm, render_process_uid,
	render_process_start_time, render_process_source, render_process_peak, render_process_stat,
	render_holding_used, render_holding_source;

/* render_holders.c, render_tags.c, render_ages.c */
render_fn render_device_holders, render_device_tags, render_device_ages, render_process_tags;

/* render_groups.c */
render_fn render_users, render_cgroups, render_commands, render_process_cgroup;

/* render_buffers.c */
render_fn render_buffers;

/* render_metrics.c, render_snapshot.c: for programs; both first take a struct moment */
render_fn render_metrics, render_metrics_pids, render_snapshot;

/* Bytes as a person reads them, right-aligned in ten columns: "   3.4 GiB". */
const char *text_size(char text[16], uint64_t bytes);

/* A number in decimal and a newline: what most files are, so not by way of printf. */
void text_number(GString *out, uint64_t number);

/* What `sources` says of one: also for the other texts that do. */
const char *source_state_name(const struct source *source);
guint source_devices(const struct model *model, enum source_rank rank);
guint source_processes(const struct model *model, enum source_rank rank);

/* Times are seconds since the epoch with a fraction. */
void text_time(GString *out, uint64_t ns);

uint64_t amounts_used(const struct amount amounts[KIND_COUNT]);
uint64_t amounts_buffers(const struct amount amounts[KIND_COUNT]);

#endif
