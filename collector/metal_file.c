/* SPDX-License-Identifier: Apache-2.0 */
/* One region: found, opened, read. */
#include "metal.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(char *text, size_t size, const char *why)
{
	g_strlcpy(text, why, size);
}

struct metal_file *metal_file_named(const struct metal_dir *dir, uint64_t id)
{
	for (guint i = 0; i < dir->metal->files->len; i++) {
		struct metal_file *file = dir->metal->files->pdata[i];

		if (file->dir == dir && file->id == id && !file->is_gone)
			return file;
	}
	return NULL;
}

/* A FIFO would block, a link could lead anywhere. What cannot be read is known with its reason. */
static void file_take(struct metal_file *file, const char *name)
{
	struct stat st = {0};

	file->fd = openat(file->dir->fd, name,
			  O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0) {
		int error = errno;

		g_snprintf(file->reason, sizeof file->reason, "cannot be opened: %s%s",
			   g_strerror(error), error == EACCES ? " (run ttmemd as root)" : "");
		file->dir->unlisted |= error == EMFILE || error == ENFILE; /* the next time */
		if (!fstatat(file->dir->fd, name, &st, AT_SYMLINK_NOFOLLOW))
			file->owner = st.st_uid;
		return;
	}
	if (fstat(file->fd, &st) || !S_ISREG(st.st_mode)) {
		say(file->reason, sizeof file->reason, "not a regular file");
		close(file->fd);
		file->fd = -1;
	}
	file->inode = st.st_ino;
	file->owner = st.st_uid;
}

static bool is_same(const struct metal_dir *dir, const char *name, const struct metal_file *file)
{
	struct stat st;

	return file->fd >= 0 && !fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) &&
	       st.st_ino == file->inode;
}

/* Who makes many leaves room for others. */
static bool has_room(const struct metal_file *file)
{
	const struct metal *metal = file->metal;
	guint of_user = 0;

	if (metal->files->len >= METAL_MAX_FILES)
		return false;
	if (!file->owner || file->owner == metal->model->owner)
		return true;
	for (guint i = 0; i < metal->files->len; i++)
		of_user +=
			((const struct metal_file *)metal->files->pdata[i])->owner == file->owner;
	return of_user < METAL_MAX_FILES_PER_USER;
}

static void file_dispose(struct metal_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	g_array_free(file->parts, TRUE);
	g_free(file);
}

/* The name is there, again perhaps. A file that it meant before stays as long as living processes
 * have it mapped. */
void metal_file_open(struct metal_dir *dir, const char *name)
{
	struct metal *metal = dir->metal;
	struct metal_file *file;
	uint64_t id;

	if (!metal_region_name(name, &id))
		return;
	file = metal_file_named(dir, id);
	if (file && is_same(dir, name, file))
		return;
	if (file)
		file->is_gone = true;
	file = g_new0(struct metal_file, 1);
	file->metal = metal;
	file->dir = dir;
	file->id = id;
	file->parts = g_array_new(FALSE, FALSE, sizeof(struct metal_part));
	file_take(file, name);
	file->is_stale = true;
	file->size = SIZE_MAX; /* so that no bytes are something new, too */
	metal->report = true;
	if (has_room(file)) {
		g_ptr_array_add(metal->files, file);
		return;
	}
	dir->is_full = true;
	file_dispose(file);
}

static const char *wrapped_kind(unsigned int wrapped)
{
	return kind_name((enum kind)__builtin_ctz(wrapped));
}

static void note_faults(struct metal_file *file)
{
	const struct metal_region *now = &file->now;

	*file->fault = 0;
	if (now->total.wrapped)
		g_snprintf(file->fault, sizeof file->fault, "its total of %s is below zero",
			   wrapped_kind(now->total.wrapped));
	for (unsigned int i = 0; i < now->chip_count; i++)
		if (now->chips[i].sums.wrapped)
			g_snprintf(file->fault, sizeof file->fault,
				   "the %s of its chip %u is below zero",
				   wrapped_kind(now->chips[i].sums.wrapped), now->chips[i].id);
	for (unsigned int i = 0; i < now->slot_count; i++)
		if (now->slots[i].sums.wrapped)
			g_snprintf(file->fault, sizeof file->fault,
				   "the %s of process %d in it is below zero",
				   wrapped_kind(now->slots[i].sums.wrapped), now->slots[i].pid);
}

/* True if there is something else than at the last look. What cannot be read now is left as it was:
 * the processes still have it. */
static bool file_read(struct metal_file *file)
{
	struct metal *metal = file->metal;
	struct metal_region *region;
	char reason[sizeof file->reason] = "";
	ssize_t size = pread(file->fd, metal->bytes, sizeof metal->bytes, 0);
	bool fine;

	if (size < 0)
		return false;
	if ((size_t)size == file->size && !memcmp(metal->bytes, file->bytes, file->size))
		return false;
	memcpy(file->bytes, metal->bytes, (size_t)size);
	file->size = (size_t)size;
	region = g_new(struct metal_region, 1);
	fine = metal_region_parse(region, file->bytes, file->size, reason, sizeof reason);
	if (fine)
		file->now = *region;
	g_free(region);
	metal->report |= strcmp(reason, file->reason) != 0;
	say(file->reason, sizeof file->reason, reason);
	return fine;
}

void metal_file_look(struct metal_file *file)
{
	bool changed = file->fd >= 0 && file_read(file);
	char fault[sizeof file->fault];

	if (!changed && !file->is_stale && !file->is_gone)
		return;
	file->is_stale = false;
	if (!file->now.version)
		return;
	memcpy(fault, file->fault, sizeof fault);
	metal_count(file);
	note_faults(file);
	file->metal->report |= strcmp(fault, file->fault) != 0;
}

/* Its processes have let go of it, or its directory is gone. */
void metal_file_free(struct metal_file *file)
{
	struct metal *metal = file->metal;

	metal_parts_replace(file, g_array_new(FALSE, FALSE, sizeof(struct metal_part)));
	metal_unbind(file);
	g_ptr_array_remove(metal->files, file);
	file_dispose(file);
	for (guint i = 0; i < metal->dirs->len; i++) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		dir->unlisted |= dir->is_full;
	}
	metal->report = true;
}
