/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: which one an identity means, and their sums. */
#include "model_internal.h"
#include <string.h>

struct search {
	const struct identity *identity;
	struct device *asic, *pci, *index;
};

static bool is_named(const struct identity *identity)
{
	return identity->asic_id || *identity->pci || identity->gateway_asic_id;
}

static bool is_known_by(const struct device *device, enum source_rank rank)
{
	return device->known_by >> rank & 1;
}

/* An address that several claim is the driver's device's, else the first one's. */
static void note_pci(struct device **found, struct device *device)
{
	if (!*found || (!is_known_by(*found, SOURCE_KMD) && is_known_by(device, SOURCE_KMD)))
		*found = device;
}

/* An index says little: it depends on what the process was allowed to see. It counts only where one
 * side knows no better. */
static gboolean search_one(gpointer key, gpointer value, gpointer data)
{
	struct search *search = data;
	struct device *device = value;
	const struct identity *want = search->identity, *have = &device->identity;

	(void)key;
	if (want->asic_id && want->asic_id == have->asic_id)
		search->asic = device;
	if (want->gateway_asic_id && want->gateway_asic_id == have->gateway_asic_id &&
	    want->gateway_chip == have->gateway_chip)
		search->asic = device;
	if (*want->pci && !strcmp(want->pci, have->pci) &&
	    (!want->asic_id || !have->asic_id || want->asic_id == have->asic_id))
		note_pci(&search->pci, device);
	if (want->index == device->number && !(is_named(want) && is_named(have)))
		search->index = device;
	return FALSE;
}

static struct device *device_find(const struct model *model, const struct identity *identity)
{
	struct search search = {.identity = identity};

	g_tree_foreach(model->devices, search_one, &search);
	return search.asic ? search.asic : search.pci ? search.pci : search.index;
}

static void text_learn(char *to, const char *from, size_t size, bool may_change)
{
	if (*from && (may_change || !*to))
		g_strlcpy(to, from, size);
}

static void number_learn(uint64_t *to, uint64_t from, bool may_change)
{
	if (from && (may_change || !*to))
		*to = from;
}

/* By a process of which more is known than that it has the device open. */
static bool is_held(const struct device *device)
{
	for (guint i = 0; i < device->users->len; i++)
		if (((struct holding *)device->users->pdata[i])->source->rank < SOURCE_KMD)
			return true;
	return false;
}

/* Takes over what was not known. What is known changes only by the driver's word or while nobody
 * uses the device, so that no process can alter another's view. Capacities are never the driver's
 * word: what one process said of them holds until another says it on a free device. */
static void device_learn(struct device *device, const struct identity *from, bool is_driver)
{
	struct identity *to = &device->identity;
	bool unused = !device->users->len && !is_known_by(device, SOURCE_KMD);
	bool may_change = unused || is_driver;

	if (unused || !to->asic_id)
		to->is_remote |= from->is_remote;
	if (is_driver)
		to->is_remote = false;
	number_learn(&to->asic_id, from->asic_id, is_driver);
	text_learn(to->pci, from->pci, sizeof to->pci, is_driver);
	text_learn(to->arch, from->arch, sizeof to->arch, may_change);
	text_learn(to->board, from->board, sizeof to->board, may_change);
	text_learn(to->serial, from->serial, sizeof to->serial, may_change);
	text_learn(to->firmware, from->firmware, sizeof to->firmware, may_change);
	number_learn(&to->dram_total_bytes, from->dram_total_bytes, !is_held(device));
	number_learn(&to->l1_total_bytes, from->l1_total_bytes, !is_held(device));
	if (from->has_numa_node && may_change) {
		to->has_numa_node = true;
		to->numa_node = from->numa_node;
	}
	if (from->gateway_asic_id && !is_named(to)) {
		to->gateway_asic_id = from->gateway_asic_id;
		to->gateway_chip = from->gateway_chip;
	}
}

static void device_free(gpointer data)
{
	struct device *device = data;

	g_tree_destroy(device->holdings);
	g_ptr_array_free(device->users, TRUE);
	device_drop_thresholds(device);
	device_history_drop(device);
	g_free(device->oom);
	g_free(device);
}

/* The driver's devices have the driver's numbers; the others follow behind those. */
static uint32_t number_free(const struct model *model, uint32_t wanted, uint32_t lowest)
{
	if (wanted < MODEL_MAX_DEVICES && wanted >= lowest && !model_device_numbered(model, wanted))
		return wanted;
	for (uint32_t number = lowest;; number++)
		if (!model_device_numbered(model, number))
			return number;
}

/* How many devices a user has made, and the oldest that nobody uses: of his own, and of all those
 * that ordinary users have made. */
struct tally {
	const struct model *model;
	uid_t uid;
	guint of_user;
	struct device *idle, *left;
};

/* Sources that hold on to a device that nobody uses. */
#define KEPT_BY (1u << SOURCE_TT_METAL | 1u << SOURCE_KMD)

/* Sources that know of a device by the word of processes alone, which is worth less than the
 * driver's that it is not there. */
#define HEARD_OF_BY (1u << SOURCE_NATIVE | 1u << SOURCE_ALLOC_SERVER)

static void note_older(struct device **oldest, struct device *device)
{
	if (!*oldest || device->came_ns < (*oldest)->came_ns)
		*oldest = device;
}

static gboolean tally_one(gpointer key, gpointer value, gpointer data)
{
	struct tally *tally = data;
	struct device *device = value;
	bool is_idle = !device->users->len && !(device->known_by & KEPT_BY);

	(void)key;
	tally->of_user += device->creator == tally->uid;
	if (is_idle && device->creator == tally->uid)
		note_older(&tally->idle, device);
	if (is_idle && !model_trusts(tally->model, device->creator))
		note_older(&tally->left, device);
	return FALSE;
}

/* A user who makes devices up gets no further than his share, of which the oldest that nobody uses
 * go first. What several have left behind together makes room, too. */
static bool device_room(struct model *model, uid_t uid)
{
	guint limit = model_trusts(model, uid) ? MODEL_MAX_DEVICES : MODEL_MAX_DEVICES_PER_USER;
	struct tally tally = {.model = model, .uid = uid};
	struct device *goes;

	g_tree_foreach(model->devices, tally_one, &tally);
	if (tally.of_user < limit && g_tree_nnodes(model->devices) < MODEL_MAX_DEVICES)
		return true;
	goes = tally.of_user < limit && tally.left ? tally.left : tally.idle;
	if (!goes) {
		model->refused_devices++;
		return false;
	}
	if (device_is_shown(goes))
		model_tell(model, DEVICE_GOES, NULL, goes);
	goes->known_by = 0;
	device_note_shown(goes);
	g_hash_table_remove(model->device_by_serial, &goes->serial);
	g_tree_remove(model->devices, GUINT_TO_POINTER(goes->number));
	return true;
}

gint model_compare_numbers(gconstpointer a, gconstpointer b, gpointer data)
{
	(void)data;
	return GPOINTER_TO_INT(a) < GPOINTER_TO_INT(b) ? -1
						       : GPOINTER_TO_INT(a) > GPOINTER_TO_INT(b);
}

static struct device *device_new(struct model *model, const struct identity *identity, uid_t uid,
				 uint32_t lowest)
{
	struct device *device;

	if (!device_room(model, uid))
		return NULL;
	device = g_new0(struct device, 1);
	device->model = model;
	device->serial = ++model->last_serial;
	device->number = number_free(model, identity->index, lowest);
	device->creator = uid;
	device->holdings = g_tree_new_full(model_compare_numbers, NULL, NULL, NULL);
	device->users = g_ptr_array_new();
	g_tree_insert(model->devices, GUINT_TO_POINTER(device->number), device);
	g_hash_table_insert(model->device_by_serial, &device->serial, device);
	return device;
}

bool device_is_shown(const struct device *device)
{
	return device->known_by || device->users->len;
}

/* One that was hidden comes back as another to whoever had it open: the kernel may have closed its
 * books on the old inode numbers. */
static void device_note_known(struct model *model, struct device *device, enum source_rank rank)
{
	bool is_new = !device_is_shown(device);

	if (is_new) {
		device->came_ns = model->now_ns();
		g_hash_table_remove(model->device_by_serial, &device->serial);
		device->serial = ++model->last_serial;
		g_hash_table_insert(model->device_by_serial, &device->serial, device);
	}
	if (!(1u << rank & HEARD_OF_BY) || !device->was_listed || is_known_by(device, SOURCE_KMD))
		device->known_by |= 1u << rank;
	device_note_shown(device);
	if (is_new && device_is_shown(device))
		model_tell(model, DEVICE_COMES, NULL, device);
}

struct device *model_device_get(struct model *model, struct source *source,
				const struct identity *identity, uid_t uid)
{
	struct device *device = device_find(model, identity);

	if (!device)
		device = device_new(model, identity, uid, model->driver_numbers);
	if (!device)
		return NULL;
	device_learn(device, identity, false);
	device_note_known(model, device, source->rank);
	return device;
}

struct device *model_device_of_driver(struct model *model, struct source *source,
				      const struct identity *identity)
{
	struct device *device = device_find(model, identity);

	if (!device)
		device = device_new(model, identity, 0, 0);
	if (!device)
		return NULL;
	device_learn(device, identity, true);
	device_note_known(model, device, source->rank);
	device->was_listed = true;
	model->driver_numbers = MAX(model->driver_numbers, identity->index + 1);
	return device;
}

void model_device_forget(struct model *model, struct source *source, struct device *device)
{
	unsigned int left = device->known_by & ~(1u << source->rank);

	if (source->rank == SOURCE_KMD)
		left &= ~HEARD_OF_BY;
	if (device->known_by && !left && !device->users->len)
		model_tell(model, DEVICE_GOES, NULL, device);
	device->known_by = left;
	device_note_shown(device);
}

void device_unattributed(const struct model *model, const struct device *device,
			 uint64_t bytes[KIND_COUNT])
{
	memset(bytes, 0, sizeof *bytes * KIND_COUNT);
	for (guint i = 0; i < model->sources->len; i++) {
		struct source *source = model->sources->pdata[i];

		if (source->ops->unattributed)
			source->ops->unattributed(source, device, bytes);
	}
}

static void device_note_peaks(struct device *device, unsigned int kinds,
			      const struct amount *amounts)
{
	for (; kinds; kinds &= kinds - 1) {
		int kind = __builtin_ctz(kinds);

		if (amounts[kind].used_bytes > device->peak_bytes[kind])
			device->peak_bytes[kind] = amounts[kind].used_bytes;
	}
}

void device_note_sums(struct device *device, unsigned int kinds, const struct amount *amounts)
{
	device_note_peaks(device, kinds, amounts);
	device_check_thresholds(device, kinds, amounts);
}

/* The counters include what processes that left had allocated (and so freed), which keeps them from
 * going down. */
void device_read(struct device *device, unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (kinds >> kind & 1)
			amounts[kind] = device->gone[kind];
	holdings_add((struct holding **)device->users->pdata, device->users->len, kinds, amounts);
	device_note_sums(device, kinds, amounts);
	device_note_failures(device, kinds, amounts);
}

void device_note_peak_of(const struct holding *holding, enum kind kind, uint64_t own)
{
	uint64_t *peak = &holding->device->peak_bytes[kind];

	if (own > holding->old_peak_bytes[kind] && own > *peak)
		*peak = own;
}

void device_note_own_peak(const struct holding *holding, unsigned int kinds)
{
	for (; kinds; kinds &= kinds - 1) {
		enum kind kind = (enum kind)__builtin_ctz(kinds);

		device_note_peak_of(holding, kind, holding_own_peak(holding, kind));
	}
}

uint64_t device_peak(struct device *device, enum kind kind)
{
	for (guint i = 0; i < device->users->len; i++)
		device_note_own_peak(device->users->pdata[i], 1u << kind);
	return device->peak_bytes[kind];
}

void device_peak_reset(struct device *device, enum kind kind)
{
	struct amount amounts[KIND_COUNT];

	for (guint i = 0; i < device->users->len; i++) {
		struct holding *holding = device->users->pdata[i];

		holding->old_peak_bytes[kind] = holding_own_peak(holding, kind);
		holding->restarted |= 1u << kind;
	}
	device->peak_bytes[kind] = 0;
	device_read(device, 1u << kind, amounts);
}

void model_devices_init(struct model *model)
{
	model->devices = g_tree_new_full(model_compare_numbers, NULL, NULL, device_free);
	model->device_by_serial = g_hash_table_new(g_int64_hash, g_int64_equal);
}

struct device *model_device(const struct model *model, uint64_t serial)
{
	return g_hash_table_lookup(model->device_by_serial, &serial);
}

struct device *model_device_numbered(const struct model *model, uint32_t number)
{
	return g_tree_lookup(model->devices, GUINT_TO_POINTER(number));
}
