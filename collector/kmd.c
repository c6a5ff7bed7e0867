/* SPDX-License-Identifier: Apache-2.0 */
#include "kmd.h"
#include "cards.h"
#include "kmd_look.h"
#include "proc.h"
#include <errno.h>
#include <string.h>

#define WAIT_US       3000    /* a reader waits for a look so long... */
#define FIRST_WAIT_US 1000000 /* ...and the daemon at its start, for the numbers of devices */
#define REMIND_ROUNDS 10      /* looks between two reports of a process of which nothing is known */

/* A process that has devices open. The data of a process, and of its holdings. */
struct kmd_opener {
	struct process *process;
	uint64_t round;   /* when it was last there */
	unsigned int age; /* in rounds */
	GArray *open;     /* struct kmd_open */
};

struct kmd_open {
	struct device *device;
	uint64_t round;
};

static void note_change(struct kmd *kmd)
{
	kmd->source.last_update_ns = kmd->model->now_ns();
}

static void identify(const struct driver_device *device, struct identity *identity)
{
	const struct card *card = card_find(device->board);

	*identity = (struct identity){
		.index = device->number,
		.asic_id = device->asic_id,
		.has_numa_node = device->numa_node >= 0,
		.numa_node = device->numa_node,
	};
	g_strlcpy(identity->pci, device->pci, sizeof identity->pci);
	g_strlcpy(identity->board, device->board, sizeof identity->board);
	g_strlcpy(identity->serial, device->serial, sizeof identity->serial);
	g_strlcpy(identity->firmware, device->firmware, sizeof identity->firmware);
	if (card)
		g_strlcpy(identity->arch, card->arch, sizeof identity->arch);
}

static struct kmd_open *open_find(const struct kmd_opener *opener, const struct device *device)
{
	for (guint i = 0; i < opener->open->len; i++) {
		struct kmd_open *open = &g_array_index(opener->open, struct kmd_open, i);

		if (open->device == device)
			return open;
	}
	return NULL;
}

static void opener_free(gpointer data)
{
	struct kmd_opener *opener = data;

	g_array_free(opener->open, TRUE);
	g_free(opener);
}

static struct kmd_opener *opener_new(struct kmd *kmd, pid_t pid)
{
	struct kmd_opener *opener;
	uint64_t start_ticks;
	uid_t uid;
	gid_t gid;

	if (proc_start_ticks(kmd->model->proc, pid, &start_ticks) ||
	    proc_ids(kmd->model->proc, pid, &uid, &gid))
		return NULL;
	opener = g_new0(struct kmd_opener, 1);
	opener->open = g_array_new(FALSE, FALSE, sizeof(struct kmd_open));
	opener->process = model_join(kmd->model, &kmd->source, opener, pid, uid, gid, start_ticks);
	if (!opener->process) {
		opener_free(opener);
		return NULL;
	}
	g_hash_table_insert(kmd->openers, GINT_TO_POINTER(pid), opener);
	return opener;
}

static void note_open(struct kmd *kmd, struct device *device, pid_t pid)
{
	struct kmd_opener *opener = g_hash_table_lookup(kmd->openers, GINT_TO_POINTER(pid));
	struct kmd_open *open;

	if (!opener)
		opener = opener_new(kmd, pid);
	if (!opener)
		return;
	opener->round = kmd->round;
	open = open_find(opener, device);
	if (open) {
		open->round = kmd->round;
		return;
	}
	note_change(kmd);
	g_array_append_vals(opener->open, &(struct kmd_open){device, kmd->round}, 1);
	model_hold(kmd->model, &kmd->source, opener->process, device, opener, DEVICE_NO_INDEX);
}

static void opener_leave(struct kmd *kmd, struct kmd_opener *opener)
{
	pid_t pid = opener->process->pid;

	note_change(kmd);
	model_leave(kmd->model, &kmd->source, opener->process);
	g_hash_table_remove(kmd->openers, GINT_TO_POINTER(pid));
	if (kmd->closed)
		kmd->closed(pid, kmd->hook_data);
}

static void opener_refresh(struct kmd *kmd, struct kmd_opener *opener)
{
	for (guint i = opener->open->len; i-- > 0;) {
		struct kmd_open open = g_array_index(opener->open, struct kmd_open, i);

		if (open.round == kmd->round)
			continue;
		note_change(kmd);
		g_array_remove_index_fast(opener->open, i);
		model_let_go(kmd->model, &kmd->source,
			     process_holding(opener->process, open.device));
	}
	if (!kmd->opened)
		return;
	if (!opener->age ||
	    (opener->age % REMIND_ROUNDS == 0 && process_is_untracked(opener->process)))
		kmd->opened(opener->process, kmd->hook_data);
	opener->age++;
}

/* Those who have nothing open any more leave; the others may have fewer devices than before. */
static void openers_refresh(struct kmd *kmd)
{
	GList *all = g_hash_table_get_values(kmd->openers);

	for (GList *link = all; link; link = link->next) {
		struct kmd_opener *opener = link->data;

		if (opener->round == kmd->round)
			opener_refresh(kmd, opener);
		else
			opener_leave(kmd, opener);
	}
	g_list_free(all);
}

static bool is_among(GHashTable *devices, const struct device *device)
{
	GHashTableIter iter;
	gpointer other;

	g_hash_table_iter_init(&iter, devices);
	while (g_hash_table_iter_next(&iter, NULL, &other))
		if (other == device)
			return true;
	return false;
}

static void devices_take(struct kmd *kmd, const struct kmd_look *look)
{
	GHashTable *before = kmd->devices;
	GHashTableIter iter;
	gpointer device;

	kmd->devices = g_hash_table_new(NULL, NULL);
	for (size_t i = 0; i < look->count; i++) {
		struct identity identity;

		identify(&look->devices[i], &identity);
		device = model_device_of_driver(kmd->model, &kmd->source, &identity);
		if (!device)
			continue;
		g_hash_table_insert(kmd->devices, GUINT_TO_POINTER(identity.index), device);
		if (!is_among(before, device))
			note_change(kmd);
	}
	g_hash_table_iter_init(&iter, before);
	while (g_hash_table_iter_next(&iter, NULL, &device)) {
		if (is_among(kmd->devices, device))
			continue;
		note_change(kmd);
		model_device_forget(kmd->model, &kmd->source, device);
	}
	g_hash_table_destroy(before);
}

static bool is_missing(const struct kmd_look *look)
{
	return look->error == -ENOENT || look->error == -ENOTDIR;
}

static void report(struct kmd *kmd, const struct kmd_look *look)
{
	struct source *source = &kmd->source;

	source->state = SOURCE_UP;
	*source->detail = 0;
	if (look->error && !is_missing(look)) {
		source->state = SOURCE_ERROR;
		g_snprintf(source->detail, sizeof source->detail,
			   "%s cannot be read (%s); what is shown may be old", kmd->sysfs,
			   g_strerror(-look->error));
	} else if (look->error) {
		source->state = SOURCE_DOWN;
		g_snprintf(source->detail, sizeof source->detail,
			   "no driver: %s cannot be read (%s)", kmd->sysfs,
			   g_strerror(-look->error));
	} else if (look->pids_error) {
		source->state = SOURCE_ERROR;
		g_snprintf(source->detail, sizeof source->detail,
			   "who has a device open is not known: %s/%u/pids cannot be read (%s)",
			   kmd->procfs, look->pids_error_number, g_strerror(-look->pids_error));
	}
}

static void look_take(struct kmd *kmd, const struct kmd_look *look)
{
	kmd->round++;
	report(kmd, look);
	if (look->error && !is_missing(look))
		return;
	devices_take(kmd, look);
	for (size_t i = 0; i < look->count; i++) {
		struct device *device = g_hash_table_lookup(
			kmd->devices, GUINT_TO_POINTER(look->devices[i].number));

		for (guint j = 0; device && j < look->pids[i]->len; j++)
			note_open(kmd, device, g_array_index(look->pids[i], pid_t, j));
	}
	openers_refresh(kmd);
}

static void note_silence(struct kmd *kmd)
{
	uint64_t now = kmd->model->now_ns();

	if (!kmd->silent_ns || now < kmd->silent_ns)
		kmd->silent_ns = now;
	if (now - kmd->silent_ns < KMD_SILENT_NS)
		return;
	kmd->source.state = SOURCE_ERROR;
	g_strlcpy(kmd->source.detail, "the driver does not answer; what is shown may be old",
		  sizeof kmd->source.detail);
}

static void look_now(struct kmd *kmd, gint64 wait_us)
{
	struct kmd_look *look = kmd_look_wait(kmd, wait_us);

	if (!look) {
		note_silence(kmd);
		return;
	}
	kmd->silent_ns = 0;
	look_take(kmd, look);
	kmd_look_free(look);
}

static void kmd_sync(struct source *source, const struct scope *only)
{
	struct kmd *kmd = (struct kmd *)source;
	uint64_t now = kmd->model->now_ns();

	(void)only;
	if (now - kmd->asked_ns < KMD_AGAIN_NS && now >= kmd->asked_ns)
		return;
	kmd->asked_ns = now;
	look_now(kmd, WAIT_US);
	if (kmd->asked)
		kmd->asked(kmd->hook_data);
}

static void kmd_ended(struct source *source, struct process *process)
{
	opener_leave((struct kmd *)source, process->joined[SOURCE_KMD]);
}

/* It does not know. */
static void kmd_read(struct source *source, struct holding *const *holdings, size_t count,
		     unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	(void)source;
	(void)holdings;
	(void)count;
	(void)kinds;
	(void)amounts;
}

static const struct source_ops kmd_ops = {
	.sync = kmd_sync,
	.ended = kmd_ended,
	.read = kmd_read,
};

void kmd_init(struct kmd *kmd, struct model *model, const char *sysfs, const char *procfs)
{
	*kmd = (struct kmd){.model = model};
	kmd->source.name = "kmd";
	kmd->source.ops = &kmd_ops;
	kmd->source.rank = SOURCE_KMD;
	g_strlcpy(kmd->source.detail, "the driver does not answer", sizeof kmd->source.detail);
	kmd->sysfs = g_strdup(sysfs);
	kmd->procfs = g_strdup(procfs);
	kmd->devices = g_hash_table_new(NULL, NULL);
	kmd->openers = g_hash_table_new_full(NULL, NULL, NULL, opener_free);
	model_add_source(model, &kmd->source);
	kmd_look_begin(kmd);
	look_now(kmd, FIRST_WAIT_US);
}

bool kmd_fini(struct kmd *kmd)
{
	if (!kmd_look_end(kmd))
		return false;
	kmd->closed = NULL;
	while (g_hash_table_size(kmd->openers)) {
		GHashTableIter iter;
		gpointer opener;

		g_hash_table_iter_init(&iter, kmd->openers);
		g_hash_table_iter_next(&iter, NULL, &opener);
		opener_leave(kmd, opener);
	}
	g_hash_table_destroy(kmd->devices);
	g_hash_table_destroy(kmd->openers);
	g_free(kmd->sysfs);
	g_free(kmd->procfs);
	return true;
}
