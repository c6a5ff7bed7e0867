/* SPDX-License-Identifier: Apache-2.0 */
#include "births.h"
#include "fs.h"
#include <errno.h>
#include <string.h>

static bool comes(const struct birth *birth)
{
	return birth->job.work == HAND_MKDIR || birth->job.work == HAND_SYMLINK;
}

static GHashTable *table_of(struct births *births, const struct birth *birth)
{
	return comes(birth) ? births->unborn : births->dying;
}

static void forget(struct births *births, struct birth *birth)
{
	GHashTable *table = table_of(births, birth);

	if (g_hash_table_lookup(table, &birth->ino) == birth)
		g_hash_table_remove(table, &birth->ino);
}

static void birth_free(struct fs *fs, struct birth *birth)
{
	forget(&fs->births, birth);
	g_queue_remove(&fs->births.under_way, birth);
	g_free(birth->job.path);
	g_free(birth);
}

static void on_done(struct hand_job *job, void *data)
{
	struct fs *fs = data;
	struct birth *birth = (struct birth *)job;
	uint64_t parent = birth->parent;

	birth_free(fs, birth);
	listing_done(fs, parent);
}

void births_give_up(struct fs *fs, struct birth *birth)
{
	fs->births.untold++;
	birth_free(fs, birth);
}

/* `spot` is what comes or goes, in its directory `parent`. */
static void begin(struct fs *fs, enum hand_work work, uint64_t parent, const struct spot *spot)
{
	struct births *births = &fs->births;
	struct birth *birth;

	if (births->under_way.length >= BIRTHS_MAX || !fs->news.is_open || !births->hand.is_open) {
		births->untold++;
		return;
	}
	birth = g_new0(struct birth, 1);
	birth->job.work = work;
	birth->job.done = on_done;
	birth->ino = spot->ino;
	birth->parent = parent;
	birth->begun_ns = uv_hrtime();
	birth->mode = tree_mode(fs->model, spot) | S_IWUSR; /* for the hand of an ordinary user */
	birth->job.path = tree_path(spot, fs->path);
	g_strlcpy(birth->name, strrchr(birth->job.path, '/') + 1, sizeof birth->name);
	g_hash_table_replace(table_of(births, birth), &birth->ino, birth);
	g_queue_push_tail(&births->under_way, birth);
	fs->news.notifications++;
	listing_do(fs, birth);
}

/* --- what comes and goes --------------------------------------------------------------------- */

/* The spot of a name, whether it can be looked up by others or not; false if there is none. */
static bool find(struct fs *fs, uint64_t dir_ino, const char *name, struct spot *spot)
{
	struct spot dir;
	uint64_t ino;

	if (tree_resolve(fs->model, dir_ino, &dir))
		return false;
	ino = tree_lookup(fs->model, &dir, name);
	return ino && !tree_resolve(fs->model, ino, spot);
}

static void come(struct fs *fs, uint64_t dir, const char *name)
{
	struct spot spot;

	if (news_dir_wanted(fs, dir) && find(fs, dir, name, &spot))
		begin(fs, spot.is_link ? HAND_SYMLINK : HAND_MKDIR, dir, &spot);
}

/* The kernel tells those who watch a file that it has gone only if it is removed itself. */
static void files_go(struct fs *fs, const struct spot *dir)
{
	struct spot spot;

	for (size_t n = 0; tree_entry(dir, n, &spot); n++)
		if (node_find(fs, spot.ino))
			begin(fs, HAND_UNLINK, dir->ino, &spot);
}

static void go(struct fs *fs, uint64_t dir, const char *name)
{
	struct birth *unborn;
	struct spot spot;

	if (!find(fs, dir, name, &spot))
		return;
	unborn = g_hash_table_lookup(fs->births.unborn, &spot.ino);
	if (unborn) {
		forget(&fs->births, unborn); /* and its mkdir() will fail */
		unborn->ino = 0;
		return;
	}
	if (spot.is_link) {
		if (news_dir_wanted(fs, dir))
			begin(fs, HAND_UNLINK, dir, &spot);
		return;
	}
	if (!news_dir_wanted(fs, dir) && !news_below_wanted(fs, spot.ino))
		return;
	files_go(fs, &spot);
	begin(fs, HAND_RMDIR, dir, &spot);
}

typedef void change_fn(struct fs *fs, uint64_t dir, const char *name);

static void process_changes(struct fs *fs, const struct process *process, change_fn *change)
{
	char name[32];

	g_snprintf(name, sizeof name, "%d", (int)process->pid);
	change(fs, tree_dir_pids(), name);
}

static void holding_changes(struct fs *fs, const struct process *process,
			    const struct device *device, change_fn *change)
{
	char name[32];

	g_snprintf(name, sizeof name, "%d", (int)process->pid);
	change(fs, tree_dir_device_pids(device), name);
	g_snprintf(name, sizeof name, "device%u", device->number);
	change(fs, tree_dir_process(process), name);
}

static void device_changes(struct fs *fs, const struct device *device, change_fn *change)
{
	char name[32];

	g_snprintf(name, sizeof name, "device%u", device->number);
	change(fs, TREE_ROOT_INO, name);
	if (device->identity.asic_id) {
		g_snprintf(name, sizeof name, "%016lx", device->identity.asic_id);
		change(fs, tree_dir_by_asic(), name);
	}
	if (*device->identity.pci)
		change(fs, tree_dir_by_pci(), device->identity.pci);
}

void births_changed(struct fs *fs, enum model_change change, struct process *process,
		    struct device *device)
{
	change_fn *what =
		change == PROCESS_COMES || change == HOLDING_COMES || change == DEVICE_COMES ? come
											     : go;

	/* Everybody may watch `pids`, and the kernel tells all or nobody. */
	if (process && fs->model->hidepid.mode == HIDEPID_INVISIBLE)
		return;
	if (process && device)
		holding_changes(fs, process, device, what);
	else if (process)
		process_changes(fs, process, what);
	else if (device)
		device_changes(fs, device, what);
}

/* --- what the hand's requests mean -------------------------------------------------------------
 */

bool births_hides(const struct fs *fs, uint64_t ino)
{
	return g_hash_table_size(fs->births.unborn) &&
	       g_hash_table_contains(fs->births.unborn, &ino);
}

static struct birth *find_named(GHashTable *table, uint64_t parent, const char *name)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, table);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct birth *birth = value;

		if (birth->parent == parent && !strcmp(birth->name, name))
			return birth;
	}
	return NULL;
}

bool births_will_remove(const struct fs *fs, uint64_t parent, const char *name)
{
	return find_named(fs->births.dying, parent, name);
}

int births_lookup(const struct fs *fs, uint64_t parent, const char *name, uint64_t *ino,
		  mode_t *mode)
{
	const struct birth *birth = find_named(fs->births.dying, parent, name);

	if (!birth)
		return -ENOENT;
	*ino = birth->ino;
	*mode = birth->mode;
	return 0;
}

int births_mode(const struct fs *fs, uint64_t ino, mode_t *mode)
{
	const struct birth *birth = g_hash_table_lookup(fs->births.dying, &ino);

	if (!birth)
		return -ENOENT;
	*mode = birth->mode;
	return 0;
}

int births_make(struct fs *fs, uint64_t parent, const char *name, uint64_t *ino)
{
	struct birth *birth = find_named(fs->births.unborn, parent, name);

	if (!birth)
		return -ENOENT;
	*ino = birth->ino;
	forget(&fs->births, birth);
	return 0;
}

int births_remove(struct fs *fs, uint64_t parent, const char *name)
{
	struct birth *birth = find_named(fs->births.dying, parent, name);

	if (!birth)
		return -ENOENT;
	forget(&fs->births, birth);
	return 0;
}

void births_init(struct fs *fs)
{
	struct births *births = &fs->births;

	births->unborn = g_hash_table_new(g_int64_hash, g_int64_equal);
	births->dying = g_hash_table_new(g_int64_hash, g_int64_equal);
	g_queue_init(&births->under_way);
	hand_init(&births->hand, fs->loop, "births", fs->news.device, fs);
	listing_init(fs);
}

bool births_fini(struct fs *fs)
{
	if (!hand_fini(&fs->births.hand))
		return false;
	listing_fini(fs);
	g_hash_table_destroy(fs->births.unborn);
	g_hash_table_destroy(fs->births.dying);
	return true;
}
