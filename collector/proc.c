/* SPDX-License-Identifier: Apache-2.0 */
#include "proc.h"
#include "model.h"
#include "proc_stat.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD, the same in all kernels so far */

/* The name in stat may hold anything, a parenthesis and newlines too: count from the last one.
 * Returns the blank before the field, or NULL. */
static const char *stat_field(const char *text, int number)
{
	const char *at = strrchr(text, ')');

	for (int field = 2; at && field < number; field++)
		at = strchr(at + 1, ' ');
	return at;
}

static bool stat_number(const char *text, int number, uint64_t *value)
{
	const char *at = stat_field(text, number);

	return at && sscanf(at, " %lu", value) == 1;
}

int proc_start_ticks(const char *proc, pid_t pid, uint64_t *ticks)
{
	char text[1024];
	int length = proc_stat_read(proc, pid, text, sizeof text);

	if (length < 0)
		return length;
	return stat_number(text, 22, ticks) ? 0 : -EPROTO;
}

/* The first thread of a process can end before the others: it stays as a zombie. */
bool proc_is_program(const char *proc, pid_t pid)
{
	char text[1024];
	uint64_t flags, threads;
	const char *state;

	if (proc_stat_read(proc, pid, text, sizeof text) < 0 || !stat_number(text, 9, &flags) ||
	    !stat_number(text, 20, &threads))
		return false;
	state = stat_field(text, 3);
	return !(flags & KERNEL_THREAD) && (!strchr("ZX", state[1]) || threads > 1);
}

#define EXITING 4 /* the kernel's PF_EXITING */

bool proc_is_exiting(const char *proc, pid_t pid)
{
	char text[1024];
	uint64_t flags;

	return proc_stat_read(proc, pid, text, sizeof text) < 0 || !stat_number(text, 9, &flags) ||
	       flags & EXITING;
}

void proc_ending_decode(int status, struct ending *ending)
{
	*ending = WIFSIGNALED(status) ? (struct ending){ENDING_SIGNAL, WTERMSIG(status)}
				      : (struct ending){ENDING_EXIT, WEXITSTATUS(status)};
}

/* To those who may not know, stat says 0. What they may not do either is to follow this link, which
 * leads nowhere once the process has ended. */
static bool may_know(const char *proc, pid_t pid)
{
	char path[256], target[1];

	snprintf(path, sizeof path, "%s/%d/exe", proc, (int)pid);
	return readlink(path, target, sizeof target) < 0 && errno == ENOENT;
}

void proc_ending(const char *proc, pid_t pid, uint64_t start_ticks, struct ending *ending)
{
	char text[1024], state;
	const char *at;
	uint64_t ticks;
	int status;

	*ending = (struct ending){ENDING_UNKNOWN, 0};
	if (proc_stat_read(proc, pid, text, sizeof text) < 0)
		return;
	at = stat_field(text, 3);
	if (!at || sscanf(at, " %c", &state) != 1)
		return;
	at = stat_field(text, 22);
	if (!at || sscanf(at, " %lu", &ticks) != 1 || ticks != start_ticks)
		return;
	at = stat_field(text, 52);
	if (state != 'Z' && state != 'X')
		ending->how = ENDING_DETACHED;
	else if (at && sscanf(at, " %d", &status) == 1 && may_know(proc, pid))
		proc_ending_decode(status, ending);
}

void proc_comm(const char *proc, pid_t pid, char comm[16])
{
	char text[64];
	int length = proc_slurp(proc, pid, "comm", text, sizeof text);

	memset(comm, 0, 16);
	if (length <= 0)
		return;
	if (text[length - 1] == '\n')
		length--;
	memcpy(comm, text, length < 15 ? (size_t)length : 15);
}

/* A line of status such as "Tgid:\t12"; its last number. The name is escaped there, so a line's
 * start cannot be forged. The groups, of which there can be thousands, may come before it. */
static int status_last_number(const char *proc, pid_t pid, const char *key, pid_t *number)
{
	char path[256], *line = NULL, *tab;
	size_t room = 0;
	FILE *status;

	snprintf(path, sizeof path, "%s/%d/status", proc, (int)pid);
	status = fopen(path, "re");
	if (!status)
		return -errno;
	*number = 0;
	while (!*number && getline(&line, &room, status) > 0) {
		tab = strncmp(line, key, strlen(key)) ? NULL : strrchr(line, '\t');
		*number = tab ? (pid_t)strtol(tab, NULL, 10) : 0;
	}
	free(line);
	fclose(status);
	return *number > 0 ? 0 : -EPROTO;
}

int proc_thread_group(const char *proc, pid_t tid, pid_t *pid)
{
	return status_last_number(proc, tid, "Tgid:", pid);
}

int proc_innermost_pid(const char *proc, pid_t pid, pid_t *inner)
{
	return status_last_number(proc, pid, "NSpid:", inner);
}

/* The path of a line such as "4:memory:/user.slice", NULL if it has none. Hierarchies with a name
 * and no controller come between the others. */
static const char *cgroup_of_line(const char *line, bool *is_unified)
{
	const char *controllers = strchr(line, ':');
	const char *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path || path[1] != '/')
		return NULL;
	*is_unified = !strncmp(line, "0::", 3);
	if (!*is_unified && (path == controllers + 1 || !strncmp(controllers, ":name=", 6)))
		return NULL;
	return path + 1;
}

char *proc_cgroup(const char *proc, pid_t pid)
{
	char path[256], *line = NULL, *found = NULL;
	bool is_unified = false;
	size_t room = 0;
	FILE *file;

	snprintf(path, sizeof path, "%s/%d/cgroup", proc, (int)pid);
	file = fopen(path, "re");
	if (!file)
		return NULL;
	while (!is_unified && getline(&line, &room, file) > 0) {
		const char *here = cgroup_of_line(line, &is_unified);

		if (here && (is_unified || !found)) {
			free(found);
			found = strndup(here, strcspn(here, "\n"));
		}
	}
	free(line);
	fclose(file);
	return found;
}

int proc_ids(const char *proc, pid_t pid, uid_t *uid, gid_t *gid)
{
	char text[4096];
	int length = proc_slurp(proc, pid, "status", text, sizeof text);
	const char *user, *group;

	if (length < 0)
		return length;
	user = strstr(text, "\nUid:\t");
	group = strstr(text, "\nGid:\t");
	if (!user || !group || sscanf(user, "\nUid:\t%*u\t%u", uid) != 1 ||
	    sscanf(group, "\nGid:\t%*u\t%u", gid) != 1)
		return -EPROTO;
	return 0;
}

static bool has_number(char *text, unsigned long number)
{
	char *save = NULL;

	for (char *word = strtok_r(text, " \t\n", &save); word;
	     word = strtok_r(NULL, " \t\n", &save))
		if (strtoul(word, NULL, 10) == number)
			return true;
	return false;
}

bool proc_in_group(const char *proc, pid_t tid, gid_t group)
{
	static const char key[] = "Groups:\t";
	char path[256], *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *status;

	if (tid <= 0)
		return false;
	snprintf(path, sizeof path, "%s/%d/status", proc, (int)tid);
	status = fopen(path, "re");
	if (!status)
		return false;
	while (getline(&line, &room, status) > 0) {
		if (strncmp(line, key, strlen(key)))
			continue;
		found = has_number(line + strlen(key), group);
		break;
	}
	free(line);
	fclose(status);
	return found;
}

bool proc_maps_inode(const char *proc, pid_t pid, ino_t inode)
{
	char path[256], line[512];
	bool found = false;
	unsigned long seen;
	FILE *maps;

	snprintf(path, sizeof path, "%s/%d/maps", proc, (int)pid);
	maps = fopen(path, "re");
	if (!maps)
		return false;
	while (!found && fgets(line, sizeof line, maps))
		found = sscanf(line, "%*s %*s %*s %*s %lu", &seen) == 1 && seen == inode;
	fclose(maps);
	return found;
}

int proc_memory_open(const char *proc, pid_t pid)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%d/pagemap", proc, (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* A pagemap belongs to the address space and not to the process. What is read from one comes in
 * entries of eight bytes: less is refused, while there is anything to read. */
bool proc_memory_is_gone(int memory)
{
	char byte;

	return memory >= 0 && pread(memory, &byte, sizeof byte, 0) == 0;
}

uint64_t proc_ticks_to_epoch_ns(uint64_t ticks)
{
	static uint64_t boot_ns;
	struct timespec real, boot;

	/* Taken once, so that a start time does not wander when the clock is adjusted. */
	if (!boot_ns) {
		clock_gettime(CLOCK_REALTIME, &real);
		clock_gettime(CLOCK_BOOTTIME, &boot);
		boot_ns = (uint64_t)(real.tv_sec - boot.tv_sec) * 1000000000u +
			  (uint64_t)(real.tv_nsec - boot.tv_nsec);
	}
	return boot_ns + proc_ticks_to_boot_ns(ticks);
}

uint64_t proc_ticks_to_boot_ns(uint64_t ticks)
{
	return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}
