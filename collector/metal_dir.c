/* SPDX-License-Identifier: Apache-2.0 */
/* The directories with regions: the host's own, and those that containers have. */
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
#define ASK_NS   200000000u /* between two looks into a pid namespace */

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

static void dir_open(struct metal_dir *dir)
{
	int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		dir_set(dir, fd);
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

	dir->unlisted = false;
	if (!stream) {
		if (fd >= 0)
			close(fd);
		return;
	}
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
	if (!dir || dir->unlisted)
		return;
	if (event->mask & ENDS)
		dir_ended(dir);
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

/* Directories that were missing, and those that inotify does not watch. */
static void look_again(struct metal *metal)
{
	uint64_t now = metal->model->now_ns();

	if (now - metal->listed_ns < AGAIN_NS && now >= metal->listed_ns)
		return;
	metal->listed_ns = now;
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->fd < 0 && dir->is_host)
			dir_open(dir);
		dir->unlisted |= dir->fd >= 0 && dir->watch < 0;
	}
}

/* --- who sees it ---------------------------------------------------------------------------- */

static struct metal_dir *dir_seen(const struct metal *metal, int dirfd)
{
	struct stat st;

	if (dirfd < 0 || fstat(dirfd, &st))
		return NULL;
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->fd >= 0 && dir->device == st.st_dev && dir->inode == st.st_ino)
			return dir;
	}
	return NULL;
}

/* Those whose owner was not found may have one now. */
static void owners_again(struct metal_dir *dir)
{
	for (guint i = 0; i < dir->metal->files->len; i++) {
		struct metal_file *file = dir->metal->files->pdata[i];

		for (int place = 0; is_in(file, dir) && place < METAL_SLOTS; place++)
			file->seats[place].doubt = DOUBT_AGAIN;
		file->is_stale |= is_in(file, dir);
	}
}

static struct metal_dir *dir_for(struct metal *metal, const struct metal_sight *sight)
{
	struct metal_dir *dir = dir_seen(metal, sight->dirfd);
	char path[64];

	if (dir || sight->dirfd < 0 || !sight->is_elsewhere || metal->dirs->len >= METAL_MAX_DIRS) {
		if (sight->dirfd >= 0)
			close(sight->dirfd);
		return dir;
	}
	g_snprintf(path, sizeof path, "/proc/%d/root/dev/shm", (int)sight->pid);
	return metal_dir_new(metal, path, sight->dirfd);
}

void metal_member_add(struct metal *metal, const struct metal_sight *sight)
{
	struct metal_member *member =
		g_hash_table_lookup(metal->members, GINT_TO_POINTER(sight->pid));
	struct metal_dir *dir = dir_for(metal, sight);

	if (member && member->dir == dir)
		return;
	metal_member_remove(metal, sight->pid);
	if (!dir)
		return;
	member = g_new0(struct metal_member, 1);
	member->pid = sight->pid;
	member->inner = sight->inner;
	member->namespace_ino = sight->namespace_ino;
	member->dir = dir;
	g_ptr_array_add(dir->members, member);
	g_hash_table_insert(metal->members, GINT_TO_POINTER(sight->pid), member);
	owners_again(dir);
}

void metal_member_remove(struct metal *metal, pid_t pid)
{
	struct metal_member *member = g_hash_table_lookup(metal->members, GINT_TO_POINTER(pid));

	if (!member)
		return;
	g_hash_table_remove(metal->members, GINT_TO_POINTER(pid));
	g_ptr_array_remove_fast(member->dir->members, member);
	if (!member->dir->members->len && !member->dir->is_host)
		metal_dir_free(member->dir);
	g_free(member);
}

static GArray *foreign_namespaces(const struct metal_dir *dir)
{
	GArray *namespaces = g_array_new(FALSE, FALSE, sizeof(ino_t));

	for (guint i = 0; i < dir->members->len; i++) {
		const struct metal_member *member = dir->members->pdata[i];

		if (member->inner != member->pid)
			g_array_append_val(namespaces, member->namespace_ino);
	}
	return namespaces;
}

/* Somebody in there is not among those that the driver lists. False if there is nobody to ask for.
 */
bool metal_dir_ask(struct metal_dir *dir)
{
	GArray *namespaces = foreign_namespaces(dir);
	bool asks = namespaces->len && dir->metal->want_namespace;

	dir->asks |= asks;
	g_array_free(namespaces, TRUE);
	return asks;
}

static void send_out(struct metal_dir *dir)
{
	uint64_t now = dir->metal->model->now_ns();
	GArray *namespaces;

	if (now - dir->asked_ns < ASK_NS && now >= dir->asked_ns)
		return;
	dir->asks = false;
	dir->asked_ns = now;
	namespaces = foreign_namespaces(dir);
	dir->metal->want_namespace(dir->serial, namespaces, dir->metal->want_data);
	g_array_free(namespaces, TRUE);
}

void metal_dir_set_namespace(struct metal *metal, uint64_t dir_serial, GArray *numbers)
{
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (dir->serial != dir_serial)
			continue;
		g_array_free(dir->namespace, TRUE);
		dir->namespace = numbers;
		owners_again(dir);
		return;
	}
	g_array_free(numbers, TRUE);
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
			send_out(dir);
	}
}
