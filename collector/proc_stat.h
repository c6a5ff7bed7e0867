/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/<pid>/stat, without ever waiting long for the process.
 *
 * Newer kernels (6.18 does) take a lock for it that the process holds while it is in execve(2), and
 * one that waits there for a file system which does not answer holds it without end. Anybody may
 * have such a process. So statm, which takes no lock, is looked at first: in the middle of execve
 * there is no program text. As it may begin just after that, the read itself is done by a thread,
 * which is left behind if it does not come back.
 */
#ifndef PROC_STAT_H
#define PROC_STAT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Ends it with a zero byte. Returns the length or a negative errno: -EBUSY in the middle of execve.
 * May be called in any thread. */
int proc_stat_read(const char *proc, pid_t pid, char *text, size_t size);

/* Whether a process is in the middle of execve(2), where the links of its descriptors, its maps and
 * more make whoever looks wait for it, without end perhaps. Waits some milliseconds for one that
 * has only just begun. May be called in any thread. */
bool proc_in_execve(const char *proc, pid_t pid);

/* A small file of /proc/<pid>, at once. */
int proc_slurp(const char *proc, pid_t pid, const char *name, char *text, size_t size);

#endif
