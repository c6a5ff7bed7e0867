/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known only by looking at each of a process's live buffers: sums by tag, and how old they
 * are. There can be a million of them, so a survey walks over them in slices, is kept, and is good
 * for a second; nobody pays while nobody asks. Pure: whoever asks is told to come again.
 *
 * A process's surveys are its own and go with it, or when nobody has asked for SURVEY_KEEP_NS. Each
 * takes up to some half a MiB, if the process makes as many tags, devices and kinds as count.
 */
#ifndef SURVEY_H
#define SURVEY_H

#include "ages.h"
#include "model.h"
#include "tally.h"

#define SURVEY_SLICE   8192 /* records that are looked at in one slice: some 1 ms */
#define SURVEY_PROCESS 64   /* what visiting a process costs, in records */
#define SURVEY_TAGS    2048 /* sums by tag, device and kind of one process; see tally.h */

#define SURVEY_GOOD_NS 1000000000u
#define SURVEY_KEEP_NS 10000000000u

/* A process with no more records than these is looked at anew each time somebody asks. */
#define SURVEY_FEW 2048

/* The buffers of one process, of about one moment. Changes no more. */
struct survey {
	uint64_t number;   /* never given to another */
	uint64_t begun_ns; /* since the epoch */
	struct tally tally;
	GArray *places; /* struct survey_place */
};

/* Those of one device and kind. */
struct survey_place {
	uint32_t device; /* its number */
	enum kind kind;
	uint64_t oldest_ns; /* since the epoch */
	struct ages ages;
};

/* A slice of work: what is left of it, in records. */
struct survey_slice {
	int64_t left;
};

/* The survey of a process, which does up to a slice of work. NULL: the slice is used up, come
 * again. `waits_for` is the caller's to keep in between, and 0 at first. The survey is good until
 * the loop goes on. */
const struct survey *survey_get(struct model *model, struct process *process, uint64_t *waits_for,
				struct survey_slice *slice);

/* For who can neither wait nor do long work, and may be called while others use a survey: that of a
 * process of few records, made now, which is the caller's to free, or a survey_recent(). `own` is
 * set to the former, or NULL. */
const struct survey *survey_at_once(struct model *model, const struct process *process,
				    uint64_t age_ns, struct survey **own);
void survey_free(struct survey *survey); /* NULL will do */

/* One that is there and no older than `age_ns`. NULL: there is none, and none is begun. */
const struct survey *survey_recent(const struct model *model, const struct process *process,
				   uint64_t age_ns);

/* NULL: there were none. */
const struct survey_place *survey_place(const struct survey *survey, uint32_t device,
					enum kind kind);

/* Where a tour of all processes of a device stands; all zeros is the start. */
struct survey_tour {
	pid_t last;
	uint64_t waits_for;
};

/* One process with its survey, NULL if its source knows no buffers. */
typedef void survey_take(void *data, const struct holding *holding, const struct survey *survey);

/* Calls `take` for each process of the device, by pid, as its survey is there. Does up to a slice
 * of work; true when it was through with them all. */
bool survey_tour(struct model *model, const struct device *device, struct survey_tour *tour,
		 survey_take *take, void *data);

/* Of struct process. NULL will do. */
void surveyor_free(struct surveyor *surveyor);

#endif
