/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: which names there are, what each one is, and its inode number. Knows the model and the
 * renderers, not FUSE.
 *
 * An inode number says what it stands for: serial << 24 | extra << 12 | file. The serial names a
 * device or a process for ever (0: neither), `extra` the holding of a process (its number)
 * or, where there is neither, which of the directories at the top has the file; `file` the
 * directory itself, one of its fixed links and directories, or FILE_FIRST + its place in a table of
 * entries. So a number is never used for anything else, and nothing has to be stored for it.
 */
#ifndef TREE_H
#define TREE_H

#include "render.h"
#include <sys/stat.h>

enum place {
	PLACE_ROOT,
	PLACE_BY_ASIC,
	PLACE_BY_PCI,
	PLACE_PIDS,
	PLACE_METRICS,
	PLACE_DEVICE,
	PLACE_DEVICE_PIDS,
	PLACE_PROCESS,
	PLACE_PROCESS_DEVICE,
};

enum shape {
	SHAPE_VALUE, /* a short text; its st_size is 4096, as in sysfs */
	SHAPE_TABLE, /* a long one; its st_size is the length of the newest text */
};

struct spot;

/* What is written. As in sysfs each write is a whole of its own, wherever O_APPEND puts it. */
struct writing {
	const char *bytes;
	size_t size;
	bool is_rest; /* it goes on behind an earlier one */
};

/* A file with a fixed name. */
struct entry {
	const char *name;
	render_fn *render;
	enum kind kind;
	enum shape shape;
	mode_t mode;     /* 0: 0444 */
	bool tells;      /* a change raises events: inotify, poll(2) */
	bool is_private; /* names processes of all users: see access.h */
	bool is_sample;  /* its mtime is always now */
	bool for_group;  /* its group is that of who may read metrics by process */
	/* In this directory; NULL: always. */
	bool (*exists)(const struct spot *dir, enum kind kind);
	/* Returns 0 or a negative errno. */
	int (*write)(struct device *device, enum kind kind, const struct writing *writing);
};

/* What an inode number stands for at this moment. */
struct spot {
	uint64_t ino;
	enum place place;          /* the directory that it is, or that it is in */
	const struct entry *entry; /* NULL: a directory or a link */
	bool is_link;
	struct device *device;
	struct process *process;
};

#define TREE_ROOT_INO 1u

/* Returns 0, or -ENOENT when it stands for nothing any more. */
int tree_resolve(const struct model *model, uint64_t ino, struct spot *spot);

/* What must be up to date for whoever reads it, or looks for a name in it. */
struct scope tree_scope(uint64_t ino);

/* The inode number of a name in a directory; 0 if there is none. */
uint64_t tree_lookup(const struct model *model, const struct spot *dir, const char *name);

/* Calls `add` for each name behind `offset` that the reader may see, until it returns false. `next`
 * is the offset behind the name; it stays good when other names come and go. */
typedef bool tree_add(void *data, const char *name, uint64_t ino, mode_t type, uint64_t next);
void tree_list(const struct model *model, const struct spot *dir, struct reader *reader,
	       uint64_t offset, tree_add *add, void *data);

/* The n-th file that such a directory can have, whether this one has it now or not; false behind
 * the last. */
bool tree_entry(const struct spot *dir, size_t n, struct spot *spot);

/* The directory that an inode is in: by its number alone, so of anything but a link it is right
 * even when the thing has gone. The root is in itself. */
uint64_t tree_parent(uint64_t ino);

/* The directory of the device or process that an inode is of; 0: it is of neither. Right even when
 * that has gone. */
uint64_t tree_top(uint64_t ino);

/* The path, of the root's below `root`; to be freed. */
char *tree_path(const struct spot *spot, const char *root);

uint64_t tree_dir_pids(void);
uint64_t tree_dir_by_asic(void);
uint64_t tree_dir_by_pci(void);
uint64_t tree_dir_device_pids(const struct device *device);
uint64_t tree_dir_process(const struct process *process);

/* Where a link leads for this reader. Returns 0 or a negative errno. */
int tree_link(const struct model *model, const struct spot *link, const struct reader *reader,
	      char *target, size_t size);

mode_t tree_mode(const struct model *model, const struct spot *spot);

/* True for names that stand for a process or depend on the reader: their directory entry must be
 * asked for each time. */
bool tree_is_volatile(const struct spot *spot);

#endif
