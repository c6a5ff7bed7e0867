/* SPDX-License-Identifier: Apache-2.0 */
#include "outlook.h"
#include "proc.h"
#include "proc_stat.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* One process, looked at. */
struct glance {
	struct outlook *outlook;
	uint64_t serial; /* of the process, in the model */
	uint64_t start_ticks;
	struct metal_sight sight;
	struct ledger_search search;
	bool wants_ledger;
	bool is_good;
};

/* The pid namespaces of a directory, looked through. */
struct census {
	uint64_t dir_serial;
	GArray *namespaces; /* ino_t */
	GArray *numbers;    /* struct metal_number */
};

/* The inode of a namespace of a process; 0 if it cannot be seen. */
static ino_t namespace_of(pid_t pid, const char *kind)
{
	char path[64];
	struct stat st;

	g_snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, kind);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* A link in there would be followed from our own root. */
static int open_below_root(pid_t pid)
{
	char path[64];
	int dev, fd;

	g_snprintf(path, sizeof path, "/proc/%d/root/dev", (int)pid);
	dev = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dev < 0)
		return -1;
	fd = openat(dev, "shm", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	close(dev);
	return fd;
}

/* Only what the kernel itself keeps: another file system could make every read of it wait. */
static int open_shm(pid_t pid)
{
	int fd = open_below_root(pid);
	struct statfs fs;

	if (fd >= 0 &&
	    (fstatfs(fd, &fs) || (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* In a thread. The start time is looked at last: then all of it was the same process's. */
static void glance_run(void *data)
{
	struct glance *glance = data;
	struct metal_sight *sight = &glance->sight;
	uint64_t start_ticks;

	sight->namespace_ino = namespace_of(sight->pid, "pid");
	sight->is_elsewhere = namespace_of(sight->pid, "mnt") != namespace_of(getpid(), "mnt");
	glance->is_good = proc_innermost_pid("/proc", sight->pid, &sight->inner) == 0;
	if (glance->wants_ledger)
		ledger_search_process(&glance->search, sight->pid);
	sight->dirfd = open_shm(sight->pid);
	if (proc_start_ticks("/proc", sight->pid, &start_ticks) ||
	    start_ticks != glance->start_ticks)
		glance->is_good = false;
}

static void glance_done(void *data, void *owner)
{
	struct outlook *outlook = owner;
	struct glance *glance = data;
	struct process *process = outlook ? model_process(outlook->model, glance->serial) : NULL;

	g_hash_table_remove(glance->outlook->under_way, &glance->serial);
	if (process && glance->is_good && process->joined[SOURCE_KMD])
		metal_member_add(outlook->metal, &glance->sight);
	else if (glance->sight.dirfd >= 0)
		close(glance->sight.dirfd);
	ledger_search_end(outlook ? outlook->server : NULL, &glance->search,
			  outlook && !outlook->server->closed);
	g_free(glance);
}

static void on_opened(struct process *process, void *data)
{
	struct outlook *outlook = data;
	struct glance *glance;

	/* One that hangs is not made better by another. */
	if (g_hash_table_contains(outlook->under_way, &process->serial))
		return;
	glance = g_new0(struct glance, 1);
	glance->outlook = outlook;
	glance->serial = process->serial;
	glance->start_ticks = process->start_ticks;
	glance->sight.pid = process->pid;
	glance->sight.dirfd = -1;
	glance->wants_ledger = !process->joined[SOURCE_NATIVE];
	ledger_search_begin(outlook->server, &glance->search);
	g_hash_table_insert(outlook->under_way, &glance->serial, glance);
	errand_begin(&outlook->server->errands, process->uid, glance_run, glance_done, glance,
		     outlook);
}

static void on_closed(pid_t pid, void *data)
{
	struct outlook *outlook = data;

	metal_member_remove(outlook->metal, pid);
}

/* The others in containers. */
static void on_asked(void *data)
{
	struct outlook *outlook = data;

	server_scan_elsewhere(outlook->server);
}

static bool is_among(const GArray *namespaces, ino_t inode)
{
	for (guint i = 0; i < namespaces->len; i++)
		if (g_array_index(namespaces, ino_t, i) == inode)
			return true;
	return false;
}

static void census_run(void *data)
{
	struct census *census = data;
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		struct metal_number number = {.pid = (pid_t)atoi(entry->d_name)};

		if (g_ascii_isdigit(*entry->d_name) && !proc_in_execve("/proc", number.pid) &&
		    is_among(census->namespaces, namespace_of(number.pid, "pid")) &&
		    proc_innermost_pid("/proc", number.pid, &number.inner) == 0 &&
		    proc_start_ticks("/proc", number.pid, &number.start_ticks) == 0)
			g_array_append_val(census->numbers, number);
	}
	if (proc)
		closedir(proc);
}

static void census_done(void *data, void *owner)
{
	struct outlook *outlook = owner;
	struct census *census = data;

	if (outlook)
		metal_dir_set_namespace(outlook->metal, census->dir_serial, census->numbers);
	else
		g_array_free(census->numbers, TRUE);
	g_array_free(census->namespaces, TRUE);
	g_free(census);
}

static void on_want_namespace(uint64_t dir_serial, const GArray *namespaces, void *data)
{
	struct outlook *outlook = data;
	struct census *census = g_new0(struct census, 1);

	census->dir_serial = dir_serial;
	census->namespaces = g_array_new(FALSE, FALSE, sizeof(ino_t));
	g_array_append_vals(census->namespaces, namespaces->data, namespaces->len);
	census->numbers = g_array_new(FALSE, FALSE, sizeof(struct metal_number));
	errand_begin(&outlook->server->errands, ERRANDS_OWN, census_run, census_done, census,
		     outlook);
}

void outlook_init(struct outlook *outlook, struct kmd *kmd, struct metal *metal,
		  struct server *server)
{
	outlook->model = metal->model;
	outlook->metal = metal;
	outlook->server = server;
	outlook->under_way = g_hash_table_new(g_int64_hash, g_int64_equal);
	kmd->asked = on_asked;
	kmd->opened = on_opened;
	kmd->closed = on_closed;
	kmd->hook_data = outlook;
	metal->want_namespace = on_want_namespace;
	metal->want_data = outlook;
}

void outlook_close(struct outlook *outlook, struct kmd *kmd)
{
	kmd->asked = NULL;
	kmd->opened = NULL;
	kmd->closed = NULL;
	outlook->metal->want_namespace = NULL;
	g_hash_table_destroy(outlook->under_way);
}
