/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of TT-Metal's own shared memory: every tt_device_<id>_memory in some directories. The
 * files are read with pread, never mapped and never written: a mapping could be cut off below us.
 *
 * metal.c has the source, metal_dir.c the directories, metal_sight.c who sees them, metal_file.c
 * the files, metal_bind.c their devices, metal_process.c whose a slot is, and metal_count.c what
 * each process holds. Knows nothing of libuv; nothing happens here unless somebody reads.
 *
 * A slot counts while its process lives and was there at the slot's last update. In a container's
 * directory the numbers of processes are the container's own: see metal_member_add().
 */
#ifndef METAL_H
#define METAL_H

#include "metal_region.h"
#include "model.h"
#include <sys/stat.h>

#define METAL_MAX_FILES          1024 /* in all directories */
#define METAL_MAX_FILES_PER_USER 128  /* of a user who is neither root nor the daemon's own */
#define METAL_MAX_DIRS           256

struct metal {
	struct source source;
	struct model *model;
	int inotify;         /* -1: there is none, so directories are listed now and then */
	GPtrArray *dirs;     /* struct metal_dir */
	GPtrArray *files;    /* struct metal_file */
	GHashTable *members; /* pid -> struct metal_member */
	uint64_t looked_ns;  /* when it was last looked for what inotify does not tell */
	bool is_reading;     /* no file and no directory may go */
	bool report;         /* what `sources` says must be made anew */
	bool counted;        /* some file has been since chips were last looked at */
	uint64_t last_mark;
	/* Finds out who is in a directory's pid namespaces, and then calls
	 * metal_dir_set_namespace(). NULL: nobody can. */
	void (*want_namespace)(uint64_t dir_serial, const GArray *namespaces, void *data);
	void *want_data;
	uint8_t bytes[METAL_BYTES_MAX] __attribute__((aligned(64)));
};

/* A directory with regions. */
struct metal_dir {
	struct metal *metal;
	uint64_t serial; /* never that of another */
	char *path;      /* for messages, and to open it again when it is the host's */
	bool is_host;    /* configured; numbers of processes in it are ours */
	int fd;          /* -1: it is not there */
	int watch;       /* of inotify; -1: none */
	dev_t device;
	ino_t inode;
	bool unlisted;      /* must be listed */
	bool is_twin;       /* another one is the same, and is read; then `fd` is -1 */
	bool is_full;       /* there is more than may be read */
	GPtrArray *members; /* struct metal_member */
	GArray *namespace;  /* struct metal_number: who else is there */
	bool asks;          /* somebody is to be sent to find out */
	uint64_t asked_ns;  /* when somebody was last sent to find out */
};

/* A process as its own pid namespace numbers it. */
struct metal_number {
	pid_t inner;
	pid_t pid;
	uint64_t start_ticks;
};

/* A process that has a device open, by the driver's word, and the directory that it sees. */
struct metal_member {
	pid_t pid;
	pid_t inner;         /* its number in its own pid namespace */
	ino_t namespace_ino; /* of that namespace */
	struct metal_dir *dir;
};

/* What a process holds on a device, by all regions together. The data of a holding. */
struct metal_share {
	struct metal_process *owner;
	struct device *device;
	unsigned int parts; /* how many point here */
	uint64_t used[KIND_COUNT];
	uint64_t seen[KIND_COUNT]; /* `used` at the last look */
	uint64_t allocated[KIND_COUNT];
	uint64_t peak[KIND_COUNT];
};

/* A process with slots. The data of a process. */
struct metal_process {
	struct process *process;
	GPtrArray *shares;
	uint64_t peak[KIND_COUNT];
	uint64_t mark; /* of those that are looked for */
};

/* What a slot adds to a share. */
struct metal_part {
	struct metal_share *share;
	uint64_t bytes[KIND_COUNT];
};

/* Whether a slot without an owner may have one after all. */
enum metal_doubt {
	DOUBT_NONE,  /* a ghost, until the slot changes */
	DOUBT_ASKED, /* somebody is looking into the pid namespaces */
	DOUBT_AGAIN, /* he has come back */
};

/* What was found out about a slot. */
struct metal_seat {
	int32_t pid;
	uint64_t updated_ns;
	struct metal_process *owner; /* NULL: a ghost's, or not known (yet) */
	enum metal_doubt doubt;      /* if it has no owner */
};

struct metal_file {
	struct metal *metal;
	struct metal_dir *dir;
	uint64_t id; /* of the name */
	int fd;
	ino_t inode;
	uid_t owner;
	bool is_gone;    /* its name is: kept while living processes have it mapped */
	bool is_stale;   /* a process has ended, or something else than the bytes has changed */
	char reason[96]; /* why it cannot be read (now); what was read before stays */
	char fault[96];  /* what is wrong in what was read */
	struct device *device;
	struct device *chips[METAL_CHIPS]; /* behind it: by place in now.chips; NULL for its own */
	struct metal_region now;           /* the last that could be read */
	struct metal_seat seats[METAL_SLOTS];
	GArray *parts;
	uint64_t home_unattributed[KIND_COUNT];
	uint64_t chip_unattributed[METAL_CHIPS][KIND_COUNT];
	size_t size;
	uint8_t bytes[METAL_BYTES_MAX];
};

void metal_init(struct metal *metal, struct model *model, const char *const *dirs);
void metal_fini(struct metal *metal);

/* A process has a device open, and this is what it sees as its /dev/shm. `dirfd` becomes ours; -1:
 * what is there is no tmpfs. */
struct metal_sight {
	pid_t pid;
	pid_t inner;
	ino_t namespace_ino;
	int dirfd;
	bool is_elsewhere; /* its mounts are not ours, so a directory that is not known is welcome
			    */
};
void metal_member_add(struct metal *metal, const struct metal_sight *sight);
void metal_member_remove(struct metal *metal, pid_t pid);

/* Who is in the pid namespaces of the directory's processes: struct metal_number; becomes ours. */
void metal_dir_set_namespace(struct metal *metal, uint64_t dir_serial, GArray *numbers);

/* metal_dir.c */
void metal_dirs_look(struct metal *metal);
struct metal_dir *metal_dir_new(struct metal *metal, const char *path, int fd);
void metal_dir_free(struct metal_dir *dir);
struct metal_dir *metal_dir_same(const struct metal *metal, const struct stat *st);

/* metal_sight.c */
bool metal_dir_ask(struct metal_dir *dir);
void metal_dir_send_out(struct metal_dir *dir);
void metal_dirs_drop(struct metal *metal);

/* metal_file.c */
void metal_file_open(struct metal_dir *dir, const char *name);
void metal_file_free(struct metal_file *file);
void metal_file_look(struct metal_file *file);
struct metal_file *metal_file_named(const struct metal_dir *dir, uint64_t id);

/* metal_bind.c */
bool metal_bind_device(struct metal_file *file);
void metal_bind_chips(struct metal_file *file);
bool metal_chips_moved(const struct metal_file *file);
void metal_unbind(struct metal_file *file);

/* metal_count.c */
void metal_count(struct metal_file *file);
void metal_parts_replace(struct metal_file *file, GArray *parts);

/* metal_process.c */
struct metal_process *metal_owner(struct metal_file *file, const struct metal_slot *slot);
struct metal_share *metal_share_get(struct metal *metal, struct metal_process *owner,
				    struct device *device);
void metal_share_put(struct metal *metal, struct metal_share *share);
void metal_process_free(struct metal_process *owner);
void metal_forget(struct metal *metal, const struct metal_process *owner);
void metal_process_settle(struct metal_process *owner);

#endif
