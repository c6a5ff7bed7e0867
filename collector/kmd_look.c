/* SPDX-License-Identifier: Apache-2.0 */
#include "kmd_look.h"
#include "deadline.h"
#include <errno.h>
#include <string.h>

#define END_WAIT_US 200000

/* It says nothing of the driver. */
static bool is_own_want(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

static GArray *read_pids(const char *procfs, uint32_t number, struct kmd_look *look)
{
	static pid_t pids[DRIVER_MAX_PIDS]; /* one thread */
	GArray *array = g_array_new(FALSE, FALSE, sizeof(pid_t));
	int count = driver_pids(procfs, number, pids, G_N_ELEMENTS(pids));

	if (count > 0)
		g_array_append_vals(array, pids, (guint)count);
	if (is_own_want(count))
		look->error = count;
	if (count < 0 && !look->pids_error) {
		look->pids_error = count;
		look->pids_error_number = number;
	}
	return array;
}

static bool is_complete(const struct driver_device *device)
{
	return device->asic_id && *device->board && *device->pci;
}

static const struct driver_device *known_before(const struct kmd_look *before, uint32_t number,
						ino_t inode)
{
	for (size_t i = 0; before && i < before->count; i++)
		if (before->devices[i].number == number && before->devices[i].inode == inode &&
		    is_complete(&before->devices[i]))
			return &before->devices[i];
	return NULL;
}

/* Attributes do not change as long as the directory is the same one. */
static struct kmd_look *look_make(const struct kmd *kmd, const struct kmd_look *before)
{
	struct kmd_look *look = g_new0(struct kmd_look, 1);
	uint32_t numbers[DRIVER_MAX_DEVICES];
	ino_t inodes[DRIVER_MAX_DEVICES];
	int count = driver_list(kmd->sysfs, numbers, inodes, DRIVER_MAX_DEVICES), error = 0;

	look->error = count < 0 ? count : 0;
	for (int i = 0; i < count; i++) {
		struct driver_device *device = &look->devices[look->count];
		const struct driver_device *same = known_before(before, numbers[i], inodes[i]);

		if (same)
			*device = *same;
		else
			error = driver_read(kmd->sysfs, numbers[i], device);
		if (is_own_want(error))
			look->error = error;
		if (!device->inode)
			continue;
		look->pids[look->count++] = read_pids(kmd->procfs, numbers[i], look);
	}
	return look;
}

void kmd_look_free(struct kmd_look *look)
{
	for (size_t i = 0; look && i < look->count; i++)
		g_array_free(look->pids[i], TRUE);
	g_free(look);
}

/* What was made of the last look stays with the thread: attributes are taken over from it. */
static struct kmd_look *look_remember(const struct kmd_look *look)
{
	struct kmd_look *copy = g_memdup2(look, sizeof *look);

	memset(copy->pids, 0, sizeof copy->pids);
	for (size_t i = 0; i < copy->count; i++)
		copy->pids[i] = g_array_new(FALSE, FALSE, sizeof(pid_t));
	return copy;
}

static void *thread_main(void *data)
{
	struct kmd *kmd = data;
	struct kmd_look *before = NULL, *look;

	pthread_mutex_lock(&kmd->lock);
	while (!kmd->ending) {
		if (!kmd->wanted) {
			pthread_cond_wait(&kmd->cond, &kmd->lock);
			continue;
		}
		pthread_mutex_unlock(&kmd->lock);
		look = look_make(kmd, before);
		kmd_look_free(before);
		before = look_remember(look);
		pthread_mutex_lock(&kmd->lock);
		kmd_look_free(kmd->news);
		kmd->news = look;
		kmd->wanted = false;
		pthread_cond_broadcast(&kmd->cond);
	}
	kmd->wanted = false;
	pthread_cond_broadcast(&kmd->cond);
	pthread_mutex_unlock(&kmd->lock);
	kmd_look_free(before);
	return NULL;
}

void kmd_look_begin(struct kmd *kmd)
{
	pthread_mutex_init(&kmd->lock, NULL);
	deadline_cond_init(&kmd->cond);
	kmd->has_thread = !pthread_create(&kmd->thread, NULL, thread_main, kmd);
}

struct kmd_look *kmd_look_wait(struct kmd *kmd, gint64 wait_us)
{
	struct timespec end = deadline_after(wait_us);
	struct kmd_look *look;
	bool hangs;

	pthread_mutex_lock(&kmd->lock);
	hangs = kmd->wanted; /* since the last time */
	kmd->wanted = true;
	pthread_cond_broadcast(&kmd->cond);
	while (kmd->wanted && !hangs && deadline_wait(&kmd->cond, &kmd->lock, &end))
		;
	look = kmd->news;
	kmd->news = NULL;
	pthread_mutex_unlock(&kmd->lock);
	return look;
}

bool kmd_look_end(struct kmd *kmd)
{
	struct timespec end = deadline_after(END_WAIT_US);
	bool hangs;

	pthread_mutex_lock(&kmd->lock);
	kmd->ending = true;
	pthread_cond_broadcast(&kmd->cond);
	while (kmd->wanted && kmd->has_thread && deadline_wait(&kmd->cond, &kmd->lock, &end))
		;
	hangs = kmd->wanted && kmd->has_thread;
	pthread_mutex_unlock(&kmd->lock);
	if (hangs)
		return false;
	if (kmd->has_thread)
		pthread_join(kmd->thread, NULL);
	kmd_look_free(kmd->news);
	pthread_mutex_destroy(&kmd->lock);
	pthread_cond_destroy(&kmd->cond);
	return true;
}
