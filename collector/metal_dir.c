/* SPDX-License-Identifier: Apache-2.0 */
/* The directories with regions: the host's own, and those that containers have. Who sees them is in
 * metal_sight.c. */
#include "metal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS                                                                              \
	(IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | \
	 IN_MOVE_SELF | IN_ONLYDIR)
#define APPEARS  (IN_CREATE | IN_MOVED_TO | IN_ATTRIB)
#define VANISHES (IN_DELETE | IN_MOVED_FROM)
#define ENDS     (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)
#define AGAIN_NS 100000000u /* between two lists of what inotify does not tell of */

static void dir_close(struct metal_dir *dir)
{
	if (dir->watch >= 0)
		inotify_rm_watch(dir->metal->inotify, dir->watch);
	dir->watch = -1;
	if (dir->fd >= 0)
		close(dir->fd);
	dir->fd = -1;
}

/* By way of the descriptor: the path may mean another one by now, or another mount's. */
static void dir_watch(struct metal_dir *dir)
{
	char path[64];

	g_snprintf(path, sizeof path, "/proc/self/fd/%d", dir->fd);
	dir->watch =
		dir->metal->inotify < 0 ? -1 : inotify_add_watch(dir->metal->inotify, path, EVENTS);
}

static void dir_set(struct metal_dir *dir, int fd)
{
	struct stat st;

	if (fstat(fd, &st)) {
		close(fd);
		return;
	}
	dir->fd = fd;
	dir->device = st.st_dev;
	dir->inode = st.st_ino;
	dir->unlisted = true;
	dir_watch(dir);
	dir->metal->report = true;
}

struct metal_dir *metal_dir_same(const struct metal *metal, const struct stat *st)
{
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->fd >= 0 && dir->device == st->st_dev && dir->inode == st->st_ino)
			return dir;
	}
	return NULL;
}

static void twin_set(struct metal_dir *dir, bool is_twin)
{
	dir->metal->report |= dir->is_twin != is_twin;
	dir->is_twin = is_twin;
}

/* Two paths can mean one directory, which must count once. */
static void dir_open(struct metal_dir *dir)
{
	int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	bool fine = fd >= 0 && !fstat(fd, &st);

	twin_set(dir, fine && metal_dir_same(dir->metal, &st));
	if (fine && !dir->is_twin)
		dir_set(dir, fd);
	else if (fd >= 0)
		close(fd);
}

struct metal_dir *metal_dir_new(struct metal *metal, const char *path, int fd)
{
	struct metal_dir *dir = g_new0(struct metal_dir, 1);

	dir->metal = metal;
	dir->serial = ++metal->model->last_serial;
	dir->path = g_strdup(path);
	dir->is_host = fd < 0;
	dir->fd = dir->watch = -1;
	dir->members = g_ptr_array_new();
	dir->namespace = g_array_new(FALSE, FALSE, sizeof(struct metal_number));
	g_ptr_array_add(metal->dirs, dir);
	if (fd >= 0)
		dir_set(dir, fd);
	else
		dir_open(dir);
	return dir;
}

static bool is_in(const struct metal_file *file, const struct metal_dir *dir)
{
	return file->dir == dir;
}

void metal_dir_free(struct metal_dir *dir)
{
	struct metal *metal = dir->metal;

	for (guint i = metal->files->len; i-- > 0;)
		if (is_in(metal->files->pdata[i], dir))
			metal_file_free(metal->files->pdata[i]);
	g_ptr_array_remove(metal->dirs, dir);
	dir_close(dir);
	g_ptr_array_free(dir->members, TRUE);
	g_array_free(dir->namespace, TRUE);
	g_free(dir->path);
	g_free(dir);
	metal->report = true;
}

/* Those whose name is not there (any more), by inotify's word or because `dir` was listed. */
static void dir_vanished(const struct metal_dir *dir, const char *name)
{
	struct metal_file *file;
	uint64_t id;

	if (!metal_region_name(name, &id))
		return;
	file = metal_file_named(dir, id);
	if (file)
		file->is_gone = file->is_stale = true;
}

static void check_names(const struct metal_dir *dir)
{
	struct stat st;
	char name[64];

	for (guint i = 0; i < dir->metal->files->len; i++) {
		struct metal_file *file = dir->metal->files->pdata[i];

		g_snprintf(name, sizeof name, "tt_device_%lu_memory", file->id);
		if (file->dir == dir && !file->is_gone &&
		    fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW))
			dir_vanished(dir, name);
	}
}

static void dir_list(struct metal_dir *dir)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!stream) { /* no descriptor is free, perhaps: the next time */
		if (fd >= 0)
			close(fd);
		return;
	}
	dir->metal->report |= dir->is_full;
	dir->unlisted = dir->is_full = false;
	while ((entry = readdir(stream)))
		metal_file_open(dir, entry->d_name);
	closedir(stream);
	check_names(dir);
}

static struct metal_dir *dir_watched(const struct metal *metal, int watch)
{
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->watch == watch)
			return dir;
	}
	return NULL;
}

/* The host's directory may be made anew; a container's goes with its processes. */
static void dir_ended(struct metal_dir *dir)
{
	for (guint i = 0; i < dir->metal->files->len; i++) {
		struct metal_file *file = dir->metal->files->pdata[i];

		if (is_in(file, dir))
			file->is_gone = file->is_stale = true;
	}
	dir_close(dir);
	dir->metal->report = true;
}

static void event_take(struct metal *metal, const struct inotify_event *event)
{
	struct metal_dir *dir = dir_watched(metal, event->wd);

	if (event->mask & IN_Q_OVERFLOW)
		for (guint i = 0; i < metal->dirs->len; i++)
			((struct metal_dir *)metal->dirs->pdata[i])->unlisted = true;
	if (dir && event->mask & ENDS)
		dir_ended(dir);
	else if (!dir || dir->unlisted)
		return;
	else if (event->len && event->mask & APPEARS)
		metal_file_open(dir, event->name);
	else if (event->len && event->mask & VANISHES)
		dir_vanished(dir, event->name);
}

/* The queue is bounded, and so is this: who comes meanwhile waits for the next time. */
static void events_take(struct metal *metal)
{
	char room[16384] __attribute__((aligned(__alignof__(struct inotify_event))));

	for (int round = 0; round < 64; round++) {
		ssize_t size = read(metal->inotify, room, sizeof room);

		if (size <= 0)
			return;
		for (ssize_t at = 0; at < size;) {
			const struct inotify_event *event = (const void *)(room + at);

			event_take(metal, event);
			at += (ssize_t)(sizeof *event + event->len);
		}
	}
}

/* As long as we have it open, nothing tells that a directory was removed; nor that one above it was
 * moved, or something mounted there. */
static bool is_elsewhere(const struct metal_dir *dir)
{
	struct stat st;

	return dir->fd >= 0 &&
	       (stat(dir->path, &st) || st.st_dev != dir->device || st.st_ino != dir->inode);
}

static void host_dir_check(struct metal_dir *dir)
{
	if (is_elsewhere(dir))
		dir_ended(dir);
	if (dir->fd < 0)
		dir_open(dir);
}

/* Directories that were missing or are others now, and those that inotify does not watch. */
static void look_again(struct metal *metal)
{
	uint64_t now = metal->model->now_ns();

	if (now - metal->looked_ns < AGAIN_NS && now >= metal->looked_ns)
		return;
	metal->looked_ns = now;
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->is_host)
			host_dir_check(dir);
		dir->unlisted |= dir->fd >= 0 && dir->watch < 0;
	}
}

void metal_dirs_look(struct metal *metal)
{
	if (metal->inotify >= 0)
		events_take(metal);
	look_again(metal);
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->unlisted && dir->fd >= 0)
			dir_list(dir);
		if (dir->asks)
			metal_dir_send_out(dir);
	}
}
