/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a slot is, and what each process holds by all its slots. */
#include "metal.h"
#include "proc.h"
#include <string.h>
#include <time.h>

/* Older releases of TT-Metal write the monotonic clock, newer ones the time of day. No uptime comes
 * near the difference: this is thirty-one years. */
#define EPOCH_FROM_NS 1000000000000000000u

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Whether a process that started then can have made this update. The offset between the clocks is
 * taken now, as it must be when the time of day has been set since; start times are rounded down to
 * a tick, so the doubt is the process's. */
static bool was_there(uint64_t start_ticks, uint64_t updated_ns)
{
	uint64_t start = proc_ticks_to_boot_ns(start_ticks);
	uint64_t monotonic = clock_ns(CLOCK_MONOTONIC);
	uint64_t boot = clock_ns(CLOCK_BOOTTIME); /* last: it is never behind */

	if (updated_ns >= EPOCH_FROM_NS)
		return updated_ns >= clock_ns(CLOCK_REALTIME) - boot + start;
	return updated_ns && updated_ns + (boot - monotonic) >= start;
}

static bool is_plausible(const struct metal *metal, pid_t pid, const struct metal_slot *slot,
			 uint64_t *start_ticks)
{
	return proc_start_ticks(metal->model->proc, pid, start_ticks) == 0 &&
	       was_there(*start_ticks, slot->updated_ns) &&
	       proc_is_program(metal->model->proc, pid);
}

static bool is_meant(const struct metal_dir *dir, const struct metal_member *member,
		     const struct metal_slot *slot, uint64_t *start_ticks)
{
	return member->dir == dir && member->inner == slot->pid &&
	       is_plausible(dir->metal, member->pid, slot, start_ticks);
}

/* The driver's word on who has a device open counts most: with several pid namespaces in one
 * directory a number can mean several processes. Ours comes first, because whoever makes a
 * namespace can choose the numbers in it. */
static pid_t member_numbered(const struct metal_dir *dir, const struct metal_slot *slot,
			     uint64_t *start_ticks)
{
	const struct metal_member *ours =
		g_hash_table_lookup(dir->metal->members, GINT_TO_POINTER(slot->pid));

	if (ours && is_meant(dir, ours, slot, start_ticks))
		return ours->pid;
	for (guint i = 0; i < dir->members->len; i++) {
		const struct metal_member *member = dir->members->pdata[i];

		if (is_meant(dir, member, slot, start_ticks))
			return member->pid;
	}
	return 0;
}

static pid_t other_numbered(const struct metal_dir *dir, const struct metal_slot *slot,
			    uint64_t *start_ticks)
{
	for (guint i = 0; i < dir->namespace->len; i++) {
		const struct metal_number *number =
			&g_array_index(dir->namespace, struct metal_number, i);

		if (number->inner == slot->pid &&
		    is_plausible(dir->metal, number->pid, slot, start_ticks) &&
		    *start_ticks == number->start_ticks)
			return number->pid;
	}
	return 0;
}

/* Numbers of threads are in /proc, too, and cannot be watched. */
static bool is_process_of_ours(const struct metal_dir *dir, pid_t pid)
{
	const char *proc = dir->metal->model->proc;
	pid_t leader;

	return dir->is_host && proc_thread_group(proc, pid, &leader) == 0 && leader == pid;
}

/* The process that the slot means, as we number it; 0 if there is none (that we know of). */
static pid_t slot_pid(const struct metal_dir *dir, const struct metal_slot *slot,
		      uint64_t *start_ticks)
{
	pid_t pid = member_numbered(dir, slot, start_ticks);

	if (!pid && is_plausible(dir->metal, slot->pid, slot, start_ticks) &&
	    is_process_of_ours(dir, slot->pid))
		pid = slot->pid;
	return pid ? pid : other_numbered(dir, slot, start_ticks);
}

static struct metal_process *owner_get(struct metal *metal, pid_t pid, uint64_t start_ticks)
{
	struct process *process = model_process_by_pid(metal->model, pid);
	struct metal_process *owner;
	uid_t uid;
	gid_t gid;

	if (process && process->start_ticks == start_ticks && process->joined[SOURCE_TT_METAL])
		return process->joined[SOURCE_TT_METAL];
	if (proc_ids(metal->model->proc, pid, &uid, &gid))
		return NULL;
	owner = g_new0(struct metal_process, 1);
	owner->shares = g_ptr_array_new_with_free_func(g_free);
	owner->process =
		model_join(metal->model, &metal->source, owner, pid, uid, gid, start_ticks);
	if (owner->process)
		return owner;
	metal_process_free(owner);
	return NULL;
}

static struct metal_process *owner_find(struct metal_file *file, struct metal_seat *seat,
					const struct metal_slot *slot)
{
	uint64_t start_ticks;
	pid_t pid = slot_pid(file->dir, slot, &start_ticks);

	if (!pid && seat->doubt == DOUBT_NONE && metal_dir_ask(file->dir))
		seat->doubt = DOUBT_ASKED;
	else
		seat->doubt = DOUBT_NONE;
	return pid ? owner_get(file->metal, pid, start_ticks) : NULL;
}

/* What was found out holds as long as the slot is the same process's: a ghost stays one until its
 * slot changes, and a process that was there once is there until its end. Only when more is known
 * of who is there, another may turn out to be meant. */
struct metal_process *metal_owner(struct metal_file *file, const struct metal_slot *slot)
{
	struct metal_seat *seat = &file->seats[slot->place];
	bool same_pid = seat->pid == slot->pid;
	bool same = same_pid && seat->updated_ns == slot->updated_ns;
	bool known = same_pid && seat->doubt != DOUBT_AGAIN && (seat->owner || same);
	struct metal_process *found;

	if (!same)
		seat->doubt = DOUBT_NONE;
	seat->pid = slot->pid;
	seat->updated_ns = slot->updated_ns;
	if (known)
		return seat->owner;
	found = owner_find(file, seat, slot);
	if (found || !same_pid)
		seat->owner = found;
	return seat->owner;
}

struct metal_share *metal_share_get(struct metal *metal, struct metal_process *owner,
				    struct device *device)
{
	struct metal_share *share;

	for (guint i = 0; i < owner->shares->len; i++) {
		share = owner->shares->pdata[i];
		if (share->device == device)
			return share;
	}
	share = g_new0(struct metal_share, 1);
	share->owner = owner;
	share->device = device;
	g_ptr_array_add(owner->shares, share);
	model_hold(metal->model, &metal->source, owner->process, device, share, DEVICE_NO_INDEX);
	return share;
}

/* One part less. The process goes with its last. */
void metal_share_put(struct metal *metal, struct metal_share *share)
{
	struct metal_process *owner = share->owner;

	if (--share->parts)
		return;
	if (owner->shares->len == 1) {
		model_leave(metal->model, &metal->source, owner->process);
		metal_forget(metal, owner);
		metal_process_free(owner);
		return;
	}
	model_let_go(metal->model, &metal->source, process_holding(owner->process, share->device));
	g_ptr_array_remove(owner->shares, share);
}

/* Slots that were its own are nobody's until they change. */
void metal_forget(struct metal *metal, const struct metal_process *owner)
{
	for (guint i = 0; i < metal->files->len; i++) {
		struct metal_file *file = metal->files->pdata[i];

		for (int place = 0; place < METAL_SLOTS; place++)
			if (file->seats[place].owner == owner)
				file->seats[place].owner = NULL;
	}
}

void metal_process_free(struct metal_process *owner)
{
	g_ptr_array_free(owner->shares, TRUE);
	g_free(owner);
}

static void note_highest(uint64_t *peak, uint64_t value)
{
	if (value > *peak)
		*peak = value;
}

/* After all parts are up to date: what grew was allocated since the last look. */
void metal_process_settle(struct metal_process *owner)
{
	uint64_t sums[KIND_COUNT] = {0};

	for (guint i = 0; i < owner->shares->len; i++) {
		struct metal_share *share = owner->shares->pdata[i];

		for (int kind = 0; kind < KIND_COUNT; kind++) {
			uint64_t used = share->used[kind];

			if (used > share->seen[kind])
				share->allocated[kind] += used - share->seen[kind];
			share->seen[kind] = used;
			note_highest(&share->peak[kind], used);
			sums[kind] += used;
		}
	}
	for (int kind = 0; kind < KIND_COUNT; kind++)
		note_highest(&owner->peak[kind], sums[kind]);
}
