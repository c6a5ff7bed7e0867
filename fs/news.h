/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling those who watch a file that it has changed.
 *
 * The kernel does not say who watches, so a file that somebody has just touched is *followed*: from
 * before a watch can be set until a look at all watches there are (collector/watchers.h) shows that
 * there is none. A watch needs the attributes of its file and of the directories above it, which
 * the kernel asks us for when they are older than ATTR_TIMEOUT_SEC: so a watch that is set without
 * our hearing of it is set soon after we heard of something.
 *
 * While a file is followed, the processes behind it are asked to ring at their next change, or
 * polled. When one rings, the files that it concerns are made anew and compared with what was told
 * last. Who is told too often waits for the pulse; nobody is told of nothing.
 */
#ifndef NEWS_H
#define NEWS_H

#include "hand.h"
#include "tree.h"
#include <glib.h>
#include <uv.h>

#define ATTR_TIMEOUT_SEC 0.1
#define WINDOW_NS        160000000u  /* that, and the kernel's rounding */
#define POLL_NS          100000000u  /* of sources that do not ring */
#define SWEEP_NS         1000000000u /* of all, for a bell that was lost with its ringer */
#define SLACK_NS         2000000u    /* timers come on whole milliseconds, and some a bit early */
#define INTERVAL_MS      50          /* between two events of a file, unless told otherwise */

struct fs;
struct file;
struct fuse_pollhandle;
struct errands;

/* A file whose changes are told. */
struct follow {
	uint64_t ino;
	uint64_t accessed_ns; /* when somebody last touched it */
	uint64_t told_ns;     /* when its last event was raised */
	uint64_t hash;        /* of its text as it was told last; 0: some have seen another since */
	bool is_dirty;        /* it may have changed: in news.dirty or news.late */
	bool is_telling;      /* an event is on its way */
	GQueue pollers;       /* struct file, by links of their own */
};

struct news {
	uint32_t device; /* of the mount, as fdinfo has it */
	bool sees_all;   /* whoever can enter the mount, his watches can be seen */
	uint64_t interval_ns;
	struct errands *errands;  /* for looks at all watches */
	GHashTable *follows;      /* ino -> struct follow */
	GHashTable *by_serial;    /* of a process or device, 0: neither -> GPtrArray of these */
	GHashTable *dirs;         /* ino -> when somebody last touched the directory */
	GHashTable *watched;      /* inodes, at the last look */
	GHashTable *watched_dirs; /* that these are below */
	GHashTable *grown;        /* inodes of directories that may have more files than before */
	GQueue dirty;             /* struct follow: to be compared at once */
	GQueue late;              /* struct follow: to be compared at the pulse */
	GHashTable *resting;      /* serial of a process -> when it rang: to be asked again */
	GHashTable *polled;       /* serials of processes that do not ring */
	bool polls;               /* some source does not ring for those who come */
	uint64_t polled_ns, swept_ns;
	uint64_t settled_ns; /* when the last look at all watches began... */
	uint64_t looked_ns;  /* ...and ended, and what it cost */
	uint64_t look_took_ns;
	bool is_looking;
	bool is_open;
	uv_idle_t run;    /* while there are dirty ones */
	uv_timer_t pulse; /* while anything is followed */
	struct hand writer;
	GString *text;
	uint64_t notifications; /* events raised and pollers woken */
};

void news_init(struct fs *fs);
void news_close(struct fs *fs); /* before the mount goes */
void news_fini(struct fs *fs);

/* Whether it is followed already; if not, the sources must be up to date before news_access(). */
bool news_is_followed(const struct fs *fs, uint64_t ino);

/* Somebody has touched this file or directory. */
void news_access(struct fs *fs, const struct spot *spot);

/* The text of a file as everybody's, for comparing; 0 if it cannot be made. */
uint64_t news_hash_now(struct fs *fs, const struct spot *spot);
uint64_t news_hash(const GString *text);

/* Somebody is given this text. Returns its hash. */
uint64_t news_seen(struct fs *fs, const struct spot *spot, struct reader *reader,
		   const GString *text);

/* What the model calls. */
void news_rung(struct fs *fs, struct process *process);
void news_changed(struct fs *fs, enum model_change change, struct process *process,
		  struct device *device);

/* follow.c */
bool news_is_unsettled(const struct news *news, uint64_t accessed_ns);
GPtrArray *follows_of(const struct news *news, uint64_t serial);
bool follow_is_watched(const struct fs *fs, const struct follow *follow);
bool follow_is_wanted(const struct fs *fs, const struct follow *follow);
void follow_free(gpointer data);
void follow_drop(struct fs *fs, struct follow *follow);
void follow_new_entries(struct fs *fs, const struct spot *dir);
bool follow_process_wanted(const struct news *news, const struct process *process);
void follow_arm(struct news *news, const struct model *model, struct process *process);

/* tell.c: makes its text and compares it, unless its last event was raised a moment ago */
void tell_if_changed(struct fs *fs, struct follow *follow);

/* pulse.c */
void news_mark(struct fs *fs, struct follow *follow);
void news_pulse_within(struct fs *fs, uint64_t ns);

/* Whether somebody may watch this directory, or something in it. */
bool news_dir_wanted(const struct fs *fs, uint64_t ino);
bool news_below_wanted(const struct fs *fs, uint64_t ino);

/* Whether the text is another than the one with that hash. Who is behind it was asked to ring
 * first: what comes after this is told. */
bool news_poll_is_news(struct fs *fs, const struct spot *spot, uint64_t hash);

/* poll(2): the open file of this link wants to be woken at the next change. There can be thousands
 * of one file. */
void news_poll_add(GList *link, uint64_t ino, struct fs *fs);
void news_poll_remove(GList *link, uint64_t ino, struct fs *fs);

/* look.c: the look at all watches */
void look_if_due(struct fs *fs, uint64_t now);

#endif
