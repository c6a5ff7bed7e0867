/* SPDX-License-Identifier: Apache-2.0 */
#include "metal.h"
#include <sys/inotify.h>
#include <unistd.h>

static bool concerns(const struct metal_file *file, const struct device *only)
{
	if (!only || !file->device || file->device == only)
		return true;
	for (unsigned int i = 0; i < METAL_CHIPS; i++)
		if (file->chips[i] == only)
			return true;
	return false;
}

/* What is gone by name stays as long as it has living processes. */
static bool is_over(const struct metal_file *file)
{
	return file->is_gone && !file->parts->len;
}

static const char *fault_of(const struct metal_file *file)
{
	return *file->reason ? file->reason : file->fault;
}

static void report_faults(struct metal *metal)
{
	struct source *source = &metal->source;
	const struct metal_file *first = NULL;
	guint count = 0;

	for (guint i = 0; i < metal->files->len; i++) {
		const struct metal_file *file = metal->files->pdata[i];

		if (!*fault_of(file))
			continue;
		first = first ? first : file;
		count++;
	}
	if (!count)
		return;
	source->state = SOURCE_ERROR;
	g_snprintf(source->detail, sizeof source->detail, "%s/tt_device_%lu_memory: %s",
		   first->dir->path, first->id, fault_of(first));
	if (count > 1)
		g_snprintf(source->detail, sizeof source->detail,
			   "%u of %u regions; %s/tt_device_%lu_memory: %s", count,
			   metal->files->len, first->dir->path, first->id, fault_of(first));
}

/* Up when all is well, down when there is no directory to look into. */
static void report(struct metal *metal)
{
	struct source *source = &metal->source;
	guint there = 0;

	metal->report = false;
	*source->detail = 0;
	source->state = SOURCE_UP;
	for (guint i = 0; i < metal->dirs->len; i++) {
		const struct metal_dir *dir = metal->dirs->pdata[i];

		there += dir->fd >= 0;
		if (dir->is_full || (dir->fd < 0 && !dir->is_twin)) {
			source->state = SOURCE_ERROR;
			g_snprintf(source->detail, sizeof source->detail,
				   dir->is_full ? "%s has more regions than are read"
						: "%s is not there or cannot be read",
				   dir->path);
		}
	}
	if (!there)
		source->state = SOURCE_DOWN;
	report_faults(metal);
}

/* Which device a chip is can depend on regions that were read after its gateway's. */
static void chips_again(struct metal *metal)
{
	if (!metal->counted)
		return;
	metal->counted = false;
	for (guint i = 0; i < metal->files->len; i++) {
		struct metal_file *file = metal->files->pdata[i];

		if (!metal_chips_moved(file))
			continue;
		file->is_stale = true;
		metal_file_look(file);
	}
}

static void metal_sync(struct source *source, const struct scope *only)
{
	struct metal *metal = (struct metal *)source;
	/* A process can have slots in any of the files. */
	const struct device *device = only ? model_device(metal->model, only->serial) : NULL;

	metal_dirs_look(metal);
	metal->is_reading = true;
	for (guint i = metal->files->len; i-- > 0;) {
		struct metal_file *file = metal->files->pdata[i];

		if (concerns(file, device))
			metal_file_look(file);
		if (is_over(file))
			metal_file_free(file);
	}
	chips_again(metal);
	metal->is_reading = false;
	metal_dirs_drop(metal);
	if (metal->report)
		report(metal);
}

static bool parts_of(const struct metal_file *file, const struct metal_process *owner)
{
	for (guint i = 0; i < file->parts->len; i++)
		if (g_array_index(file->parts, struct metal_part, i).share->owner == owner)
			return true;
	return false;
}

static void parts_remove(struct metal_file *file, const struct metal_process *owner)
{
	for (guint i = file->parts->len; i-- > 0;)
		if (g_array_index(file->parts, struct metal_part, i).share->owner == owner)
			g_array_remove_index_fast(file->parts, i);
	file->is_stale = true;
}

static void metal_ended(struct source *source, struct process *process)
{
	struct metal *metal = (struct metal *)source;
	struct metal_process *owner = process->joined[SOURCE_TT_METAL];

	model_leave(metal->model, source, process);
	metal_forget(metal, owner);
	for (guint i = 0; i < metal->files->len; i++)
		if (parts_of(metal->files->pdata[i], owner))
			parts_remove(metal->files->pdata[i], owner);
	metal_process_free(owner);
}

static void metal_read(struct source *source, struct holding *const *holdings, size_t count,
		       unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	(void)source;
	for (size_t i = 0; i < count; i++) {
		const struct metal_share *share = holdings[i]->source_data;

		for (unsigned int left = kinds; left; left &= left - 1) {
			int kind = __builtin_ctz(left);
			struct amount amount = {.used_bytes = share->used[kind],
						.allocated_bytes = share->allocated[kind]};

			amount_add(&amounts[kind], &amount);
		}
	}
}

static uint64_t metal_holding_peak(struct source *source, const struct holding *holding,
				   enum kind kind)
{
	const struct metal_share *share = holding->claims[source->rank].data;

	return share->peak[kind];
}

static uint64_t metal_peak(struct source *source, const struct process *process, enum kind kind)
{
	const struct metal_process *owner = process->joined[source->rank];

	return owner->peak[kind];
}

static void metal_unattributed(struct source *source, const struct device *device,
			       uint64_t bytes[KIND_COUNT])
{
	const struct metal *metal = (struct metal *)source;

	for (guint i = 0; i < metal->files->len; i++) {
		const struct metal_file *file = metal->files->pdata[i];

		for (int kind = 0; kind < KIND_COUNT; kind++) {
			if (file->device == device && !file->is_gone)
				bytes[kind] += file->home_unattributed[kind];
			for (unsigned int chip = 0; chip < METAL_CHIPS; chip++)
				if (file->chips[chip] == device && !file->is_gone)
					bytes[kind] += file->chip_unattributed[chip][kind];
		}
	}
}

static const struct source_ops metal_ops = {
	.sync = metal_sync,
	.ended = metal_ended,
	.read = metal_read,
	.holding_peak = metal_holding_peak,
	.peak = metal_peak,
	.unattributed = metal_unattributed,
};

void metal_init(struct metal *metal, struct model *model, const char *const *dirs)
{
	*metal = (struct metal){.model = model, .report = true};
	metal->source.name = "tt-metal";
	metal->source.ops = &metal_ops;
	metal->source.rank = SOURCE_TT_METAL;
	metal->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	metal->dirs = g_ptr_array_new();
	metal->files = g_ptr_array_new();
	metal->members = g_hash_table_new(NULL, NULL);
	for (; *dirs; dirs++)
		metal_dir_new(metal, *dirs, -1);
	model_add_source(model, &metal->source);
}

void metal_fini(struct metal *metal)
{
	GHashTableIter iter;
	gpointer pid;

	while (g_hash_table_size(metal->members)) {
		g_hash_table_iter_init(&iter, metal->members);
		g_hash_table_iter_next(&iter, &pid, NULL);
		metal_member_remove(metal, GPOINTER_TO_INT(pid));
	}
	while (metal->dirs->len)
		metal_dir_free(metal->dirs->pdata[metal->dirs->len - 1]);
	g_ptr_array_free(metal->dirs, TRUE);
	g_ptr_array_free(metal->files, TRUE);
	g_hash_table_destroy(metal->members);
	if (metal->inotify >= 0)
		close(metal->inotify);
}
