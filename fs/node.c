/* SPDX-License-Identifier: Apache-2.0 */
/* The node table: what must be remembered of an inode while the kernel knows it. */
#include "fs.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VALUE_SIZE   4096        /* as sysfs has it; see below */
#define NAME_SECONDS 1.0         /* for which the kernel remembers a device's name... */
#define YOUNG_NS     2000000000u /* ...and one who has it for less than this is asked for anew */

struct node *node_find(const struct fs *fs, uint64_t ino)
{
	return g_hash_table_lookup(fs->nodes, &ino);
}

/* One more lookup, for the kernel to forget later. */
struct node *node_look(struct fs *fs, uint64_t ino)
{
	struct node *node = node_find(fs, ino);

	if (!node) {
		node = g_new0(struct node, 1);
		node->ino = ino;
		g_hash_table_insert(fs->nodes, &node->ino, node);
	}
	node->lookups++;
	return node;
}

void node_forget(struct fs *fs, uint64_t ino, uint64_t lookups)
{
	struct node *node = node_find(fs, ino);

	if (!node)
		return;
	node->lookups -= lookups < node->lookups ? lookups : node->lookups;
	if (!node->lookups)
		g_hash_table_remove(fs->nodes, &ino);
}

/* For how long the kernel may remember a name. A process's must be asked for each time, or it would
 * outlive the process. The number of a device that a user made up can be given to another. */
double node_name_timeout(const struct fs *fs, const struct spot *spot)
{
	struct node *node;

	if (tree_is_volatile(spot) || access_differs(fs->model, spot))
		return 0;
	if (spot->entry || spot->place != PLACE_DEVICE)
		return 3600.0;
	if (fs->model->now_ns() - spot->device->came_ns < YOUNG_NS)
		return 0;
	node = node_find(fs, spot->ino);
	node->number = spot->device->number;
	node->is_kept = true;
	return NAME_SECONDS;
}

/* The kernel may still know a device's directory by its name when that is another one's, so that
 * the files there would not be found. Told that what it knows is stale, it asks for each part of
 * the path and tries once more; the reader has the error when that comes again. It does not: the
 * kernel knew the last one within NAME_SECONDS, so that all after that are young. */
int node_gone(struct fs *fs, uint64_t ino, struct reader *reader)
{
	const struct node *node = node_find(fs, tree_top(ino));
	struct spot root, heir;
	char name[32];

	if (!node || !node->is_kept)
		return ENOENT;
	snprintf(name, sizeof name, "device%u", node->number);
	fs_sync(fs, TREE_ROOT_INO);
	tree_resolve(fs->model, TREE_ROOT_INO, &root);
	if (access_find(fs->model, &root, name, reader, &heir) || heir.ino == node->ino)
		return ENOENT;
	return ESTALE;
}

/* A text was made. Its mtime is when it last changed, so that make(1) and `tail -F` see no change
 * where there is none. */
void node_text(struct fs *fs, uint64_t ino, bool is_whole, const GString *text, uint64_t size)
{
	struct node *node = node_find(fs, ino);
	struct last_text *last;
	uint64_t hash;

	if (!node)
		return;
	hash = news_hash(text);
	last = is_whole ? &node->whole : &node->parts;
	if (!last->is_known || last->hash != hash || last->size != size)
		last->changed_ns = fs->model->now_ns();
	last->is_known = true;
	last->hash = hash;
	last->size = size;
}

/* NULL: there was none yet. */
static const struct last_text *last_text(const struct fs *fs, const struct spot *spot,
					 struct reader *reader)
{
	const struct node *node = node_find(fs, spot->ino);
	const struct last_text *last;

	if (!node || !spot->entry)
		return NULL;
	last = access_is_whole(fs->model, spot, reader) ? &node->whole : &node->parts;
	return last->is_known ? last : NULL;
}

static uint64_t birth_ns(const struct fs *fs, const struct spot *spot)
{
	if (spot->process)
		return spot->process->seen_ns;
	return spot->device ? spot->device->came_ns : fs->model->started_ns;
}

/* A sample is taken when it is looked at: a scraper shows its mtime as the time of the numbers, and
 * what has not changed for a day is no old news. */
static uint64_t changed_ns(const struct fs *fs, const struct spot *spot,
			   const struct last_text *last)
{
	if (spot->entry && spot->entry->is_sample)
		return fs->model->now_ns();
	return last ? last->changed_ns : birth_ns(fs, spot);
}

static gid_t group_of(const struct fs *fs, const struct spot *spot)
{
	if (spot->entry && spot->entry->for_group && fs->model->hidepid.mode == HIDEPID_OFF)
		return fs->metrics_group;
	return access_group(fs->model, spot);
}

/*
 * st_size is 4096 for single values and the length of the newest text for tables. read(2) does not
 * care, but 0 would make sendfile and copy_file_range copy nothing and `[ -s file ]` false, and too
 * much would mislead wc and tail, which seek from the end.
 */
void node_stat(const struct fs *fs, const struct spot *spot, struct reader *reader, struct stat *st)
{
	const struct last_text *last = last_text(fs, spot, reader);
	uint64_t changed = changed_ns(fs, spot, last);

	memset(st, 0, sizeof *st);
	st->st_ino = spot->ino;
	st->st_mode = tree_mode(fs->model, spot);
	/* The hands write through the mount, as the daemon's user. */
	if (fs->model->owner && ((spot->entry && spot->entry->tells) || S_ISDIR(st->st_mode)))
		st->st_mode |= S_IWUSR;
	st->st_nlink = 1;
	st->st_uid = spot->process ? spot->process->uid : fs->model->owner;
	st->st_gid = group_of(fs, spot);
	st->st_blksize = 4096;
	if (spot->entry)
		st->st_size =
			spot->entry->shape == SHAPE_TABLE && last ? (off_t)last->size : VALUE_SIZE;
	st->st_mtim.tv_sec = (time_t)(changed / 1000000000u);
	st->st_mtim.tv_nsec = (long)(changed % 1000000000u);
	st->st_atim = st->st_ctim = st->st_mtim;
}

double node_attr_timeout(const struct model *model, const struct spot *spot)
{
	if (access_differs(model, spot) || spot->is_link ||
	    (spot->entry && spot->entry->shape == SHAPE_TABLE))
		return 0;
	return ATTR_TIMEOUT_SEC;
}
