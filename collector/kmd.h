/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of the kernel driver: which devices there are, and who has them open. It knows nothing
 * of what they hold.
 *
 * The driver's files are read in a thread of its own, because some of them wait while a chip is
 * reset. Nothing is read unless somebody asks, and then at most every KMD_AGAIN_NS; a reader waits
 * for the news a moment, which is nearly always enough, but not for ever.
 */
#ifndef KMD_H
#define KMD_H

#include "model.h"
#include <pthread.h>

#define KMD_AGAIN_NS  100000000u
#define KMD_SILENT_NS 1000000000u /* then it hangs */

struct kmd_look;

struct kmd {
	struct source source;
	struct model *model;
	char *sysfs;  /* "/sys/class/tenstorrent" */
	char *procfs; /* "/proc/driver/tenstorrent" */
	pthread_t thread;
	bool has_thread;      /* if none could be made, the driver does not answer */
	pthread_mutex_t lock; /* over what follows, up to the next comment */
	pthread_cond_t cond;
	bool wanted;
	bool ending;
	struct kmd_look *news;
	/* The loop's own. */
	uint64_t asked_ns;
	uint64_t silent_ns; /* since when no look has come back; 0: the last one has */
	uint64_t round;
	GHashTable *devices; /* number -> struct device */
	GHashTable *openers; /* pid -> struct kmd_opener */
	/* Somebody reads, or watches. */
	void (*asked)(void *data);
	/* A process has a device open that had none before, or still has but nothing else is known
	 * of it; and one that has none any more. NULL, as above: nobody wants to know. */
	void (*opened)(struct process *process, void *data);
	void (*closed)(pid_t pid, void *data);
	void *hook_data;
};

void kmd_init(struct kmd *kmd, struct model *model, const char *sysfs, const char *procfs);
/* False if the thread hangs in the driver: then all of it must stay where it is. */
bool kmd_fini(struct kmd *kmd);

#endif
