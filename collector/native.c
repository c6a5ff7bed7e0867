/* SPDX-License-Identifier: Apache-2.0 */
#include "native.h"
#include "proc.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BINDS_FREE 256

static guint inode_hash(gconstpointer key)
{
	const struct ledger *ledger = key;

	return (guint)(ledger->view.inode ^ ledger->view.file_device << 16);
}

static gboolean inode_equal(gconstpointer a, gconstpointer b)
{
	const struct ledger *left = a, *right = b;

	return left->view.inode == right->view.inode &&
	       left->view.file_device == right->view.file_device;
}

static struct ledger *ledger_of(const struct process *process)
{
	return process->joined[SOURCE_NATIVE];
}

static const struct claim *claim_of(const struct holding *holding)
{
	return &holding->claims[SOURCE_NATIVE];
}

/* A device that was used or described since the last look is bound, perhaps to another one than
 * before: what is known of it may have grown. */
static void ledger_bind(struct native *native, struct ledger *ledger)
{
	struct process *process = ledger->process;
	uint32_t generation = ledger_view_generation(&ledger->view);
	uint64_t used = ledger_view_devices(&ledger->view);
	bool complete = true;

	for (; used; used &= used - 1) {
		uint32_t index = (uint32_t)__builtin_ctzll(used);
		struct identity identity;
		struct device *device;

		if (!ledger_view_identity(&ledger->view, index, &identity)) {
			complete = false;
			continue;
		}
		device = model_device_get(native->model, &native->source, &identity, process->uid);
		if (!device)
			continue;
		model_hold(native->model, &native->source, process, device, ledger, index);
	}
	if (complete)
		ledger->view.seen_generation = generation;
}

/* An honest process changes its device table some dozens of times. One that does so for ever is
 * looked at ten times a second and costs the others nothing. */
static bool may_bind(struct native *native, struct ledger *ledger)
{
	uint64_t now = native->model->now_ns();

	if (ledger->binds < BINDS_FREE) {
		ledger->binds++;
		return true;
	}
	if (now - ledger->last_bind_ns < 100000000u && now >= ledger->last_bind_ns)
		return false;
	ledger->last_bind_ns = now;
	return true;
}

static void ledger_bind_news(struct native *native, struct ledger *ledger)
{
	if (ledger_view_generation(&ledger->view) != ledger->view.seen_generation &&
	    may_bind(native, ledger))
		ledger_bind(native, ledger);
}

#define AHEAD 8 /* ledgers whose first line is fetched while this one is looked at */

/* One call is good for all ledgers that were armed since the last read. */
static void pay_fence(struct native *native)
{
	if (!native->owes_fence)
		return;
	native->owes_fence = false;
	ledger_view_fence_owners();
}

static void native_sync(struct source *source, const struct scope *only)
{
	struct native *native = (struct native *)source;
	GPtrArray *ledgers = native->ledgers;
	const struct process *process;

	pay_fence(native);
	if (native->before_sync)
		native->before_sync(native->before_sync_data);
	native_check_execs(native);
	if (only && only->is_list)
		return;
	/* Now: who has just come may have taken its place. */
	process = only ? model_process(native->model, only->serial) : NULL;
	if (process) {
		if (ledger_of(process))
			ledger_bind_news(native, ledger_of(process));
		return;
	}
	/* Of a device, too: whoever uses it for the first time says so in his ledger alone. */
	for (guint i = 0; i < ledgers->len; i++) {
		struct ledger *ledger = ledgers->pdata[i];

		if (i + AHEAD < ledgers->len)
			ledger_view_fetch(ledgers->pdata[i + AHEAD]);
		ledger_bind_news(native, ledger);
	}
}

static void native_read(struct source *source, struct holding *const *holdings, size_t count,
			unsigned int kinds, struct amount amounts[KIND_COUNT])
{
	pay_fence((struct native *)source);
	for (size_t i = 0; i < count; i++) {
		struct ledger *ledger = holdings[i]->source_data;

		if (i + AHEAD < count)
			ledger_view_fetch_cells(holdings[i + AHEAD]->source_data,
						holdings[i + AHEAD]->slots, kinds);
		ledger_view_amounts(&ledger->view, holdings[i]->slots, kinds, amounts);
	}
}

/* The library's own mark, which is per device index: exact for a holding of one index. */
static uint64_t native_holding_peak(struct source *source, const struct holding *holding,
				    enum kind kind)
{
	const struct ledger *ledger = ledger_of(holding->process);
	uint64_t sum = 0;

	(void)source;
	for (uint64_t slots = claim_of(holding)->slots; slots; slots &= slots - 1)
		sum += ledger_view_peak(&ledger->view, (uint32_t)__builtin_ctzll(slots), kind);
	return sum;
}

static uint64_t native_peak(struct source *source, const struct process *process, enum kind kind)
{
	(void)source;
	return ledger_view_peak(&ledger_of(process)->view, LEDGER_ALL_DEVICES, kind);
}

static void native_errors(struct source *source, const struct process *process,
			  struct recording_errors *errors)
{
	(void)source;
	ledger_view_errors(&ledger_of(process)->view, errors);
}

static uint64_t native_buffer_estimate(struct source *source, const struct process *process)
{
	(void)source;
	return ledger_view_records(&ledger_of(process)->view);
}

/* The device that an index means; UINT32_MAX if it could not be bound. */
static uint32_t device_number(const struct process *process, uint32_t index)
{
	for (guint i = 0; i < process->holdings->len; i++) {
		const struct holding *holding = process->holdings->pdata[i];

		if (claim_of(holding)->slots >> index & 1)
			return holding->source->rank == SOURCE_NATIVE ? holding->device->number
								      : UINT32_MAX;
	}
	return UINT32_MAX;
}

/* A chunk at a time, as many as there is room for if all were full: empty ones are work too. */
static size_t native_buffers(struct source *source, const struct process *process,
			     struct buffer_cursor *cursor, struct buffer *rows, size_t room)
{
	struct ledger *ledger = ledger_of(process);
	struct ledger_record records[LEDGER_CHUNK_RECORDS];
	size_t count = 0;

	pay_fence((struct native *)source);
	for (; !cursor->done && room >= LEDGER_CHUNK_RECORDS; room -= LEDGER_CHUNK_RECORDS) {
		int live = ledger_view_chunk(&ledger->view, (uint32_t)cursor->next, records);

		if (live < 0)
			cursor->done = true;
		else
			cursor->next++;
		for (int i = 0; i < live; i++) {
			const struct ledger_record *record = &records[i];
			uint32_t device = device_number(process, record->device);

			if (device == UINT32_MAX)
				continue;
			rows[count++] = (struct buffer){
				.address = record->address,
				.size_bytes = record->size,
				.time_ns = record->time_ns,
				.thread = record->thread,
				.device = device,
				.kind = record->kind,
				.tag = ledger_view_tag(&ledger->view, record->tag),
			};
		}
	}
	return count;
}

static void native_failure(struct source *source, const struct holding *holding, enum kind kind,
			   struct failure *failure)
{
	pay_fence((struct native *)source);
	ledger_view_failure(&ledger_of(holding->process)->view, claim_of(holding)->slots, kind,
			    failure);
}

static void native_ended(struct source *source, struct process *process)
{
	struct native *native = (struct native *)source;

	native->end_peer(ledger_of(process)->peer);
}

/* A ledger that cannot be armed, has no doorbell to ring, or whose owner leaves to us a fence that
 * the kernel does not let us make, is polled. */
static enum bell native_arm(struct source *source, struct process *process)
{
	struct native *native = (struct native *)source;
	struct ledger *ledger = ledger_of(process);
	bool is_fenceless = ledger_view_is_fenceless(&ledger->view);

	if ((is_fenceless && !native->can_fence) || !ledger->peer || !native->listen ||
	    !native->listen(ledger->peer) || !ledger_view_arm(&ledger->view, true))
		return BELL_POLL;
	native->owes_fence |= is_fenceless;
	return BELL_RINGS;
}

static const struct source_ops native_ops = {
	.sync = native_sync,
	.ended = native_ended,
	.read = native_read,
	.arm = native_arm,
	.holding_peak = native_holding_peak,
	.peak = native_peak,
	.errors = native_errors,
	.buffer_estimate = native_buffer_estimate,
	.buffers = native_buffers,
	.failure = native_failure,
};

static void ledger_free(gpointer data)
{
	struct ledger *ledger = data;

	ledger_view_close(&ledger->view);
	if (ledger->memory >= 0)
		close(ledger->memory);
	g_free(ledger);
}

void native_init(struct native *native, struct model *model)
{
	memset(native, 0, sizeof *native);
	native->source.name = "native";
	native->source.ops = &native_ops;
	native->source.rank = SOURCE_NATIVE;
	native->source.state = SOURCE_DOWN;
	native->model = model;
	native->can_fence = ledger_view_fence_owners();
	native->by_inode = g_hash_table_new_full(inode_hash, inode_equal, ledger_free, NULL);
	native->ledgers = g_ptr_array_new();
	model_add_source(model, &native->source);
}

void native_fini(struct native *native)
{
	while (native->ledgers->len)
		native_release(native, native->ledgers->pdata[0]);
	g_ptr_array_free(native->ledgers, TRUE);
	g_hash_table_destroy(native->by_inode);
}

/* The number in the header is what the process calls itself, which in a container is not what we
 * call it. A forked child's, or anyone else's, ledger does not pass. */
static bool is_own_ledger(const struct native *native, const struct ledger_view *view, pid_t pid)
{
	pid_t said = ledger_view_pid(view), inner;

	return said == pid ||
	       (proc_innermost_pid(native->model->proc, pid, &inner) == 0 && said == inner);
}

/* A process's new ledger ends its old one: it has called exec, or closed everything and started
 * again. */
static void release_old(struct native *native, pid_t pid)
{
	struct process *old = model_process_by_pid(native->model, pid);

	if (old && ledger_of(old))
		native->end_peer(ledger_of(old)->peer);
}

struct ledger *native_adopt(struct native *native, int fd, pid_t pid, uid_t uid, gid_t gid,
			    const char **why)
{
	struct ledger *ledger = g_new0(struct ledger, 1);
	char comm[sizeof ledger->process->comm];
	uint64_t start_ticks;

	/* At once: it may end while the rest is found out. */
	proc_comm(native->model->proc, pid, comm);
	ledger->memory = -1;
	ledger->since_ns = native->model->now_ns();
	if (ledger_view_open(&ledger->view, fd, uid, why)) {
		g_free(ledger);
		return NULL;
	}
	if (!is_own_ledger(native, &ledger->view, pid))
		*why = "it is the ledger of another process";
	else if (g_hash_table_contains(native->by_inode, ledger))
		*why = "it is known already";
	else if (proc_start_ticks(native->model->proc, pid, &start_ticks))
		*why = "its process has ended";
	if (*why) {
		ledger_view_abandon(&ledger->view);
		g_free(ledger);
		return NULL;
	}
	release_old(native, pid);
	ledger->process =
		model_join(native->model, &native->source, ledger, pid, uid, gid, start_ticks);
	if (!*ledger->process->comm)
		memcpy(ledger->process->comm, comm, sizeof comm);
	ledger->place = native->ledgers->len;
	g_ptr_array_add(native->ledgers, ledger);
	g_hash_table_add(native->by_inode, ledger);
	ledger_bind(native, ledger);
	return ledger;
}

void native_release(struct native *native, struct ledger *ledger)
{
	struct ledger *last = native->ledgers->pdata[native->ledgers->len - 1];

	/* It may have begun, failed and ended since somebody looked. */
	ledger_bind_news(native, ledger);
	model_leave(native->model, &native->source, ledger->process);
	last->place = ledger->place;
	g_ptr_array_remove_index_fast(native->ledgers, ledger->place);
	g_hash_table_remove(native->by_inode, ledger);
}
