/* SPDX-License-Identifier: Apache-2.0 */
/* Who sees which directory, and how processes are numbered there. */
#include "metal.h"
#include <sys/stat.h>
#include <unistd.h>

#define ASK_NS 200000000u /* between two looks into a pid namespace */

static struct metal_dir *dir_seen(const struct metal *metal, int dirfd)
{
	struct stat st;

	return dirfd < 0 || fstat(dirfd, &st) ? NULL : metal_dir_same(metal, &st);
}

/* Those whose owner was not found may have one now. */
static void owners_again(struct metal_dir *dir)
{
	for (guint i = 0; i < dir->metal->files->len; i++) {
		struct metal_file *file = dir->metal->files->pdata[i];

		for (int place = 0; file->dir == dir && place < METAL_SLOTS; place++)
			file->seats[place].doubt = DOUBT_AGAIN;
		file->is_stale |= file->dir == dir;
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

static void member_new(struct metal *metal, const struct metal_sight *sight, struct metal_dir *dir)
{
	struct metal_member *member = g_new0(struct metal_member, 1);

	member->pid = sight->pid;
	member->inner = sight->inner;
	member->namespace_ino = sight->namespace_ino;
	member->dir = dir;
	g_ptr_array_add(dir->members, member);
	g_hash_table_insert(metal->members, GINT_TO_POINTER(sight->pid), member);
	owners_again(dir);
}

static void member_free(struct metal *metal, struct metal_member *member)
{
	g_hash_table_remove(metal->members, GINT_TO_POINTER(member->pid));
	g_ptr_array_remove_fast(member->dir->members, member);
	g_free(member);
}

void metal_member_add(struct metal *metal, const struct metal_sight *sight)
{
	struct metal_member *member =
		g_hash_table_lookup(metal->members, GINT_TO_POINTER(sight->pid));
	struct metal_dir *dir = dir_for(metal, sight);

	if (member && member->dir == dir)
		return;
	if (member)
		member_free(metal, member);
	if (dir)
		member_new(metal, sight, dir);
	metal_dirs_drop(metal);
}

void metal_member_remove(struct metal *metal, pid_t pid)
{
	struct metal_member *member = g_hash_table_lookup(metal->members, GINT_TO_POINTER(pid));

	if (!member)
		return;
	member_free(metal, member);
	metal_dirs_drop(metal);
}

/* Containers' directories that nobody sees any more. Not while one is read: a process that turns
 * out to be another than before can have been the last to see it. */
void metal_dirs_drop(struct metal *metal)
{
	for (guint i = metal->dirs->len; !metal->is_reading && i-- > 0;) {
		struct metal_dir *dir = metal->dirs->pdata[i];

		if (!dir->members->len && !dir->is_host)
			metal_dir_free(dir);
	}
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

void metal_dir_send_out(struct metal_dir *dir)
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
