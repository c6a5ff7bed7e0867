/* SPDX-License-Identifier: Apache-2.0 */
/* The few things that are read from /proc, whose place can be injected. None of these can block on
 * the process: `status`, `statm` and `comm` take no lock that it could hold; for `stat` see
 * proc_stat.h. */
#ifndef PROC_H
#define PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ending;

/* Field 22 of stat: clock ticks between boot and the start. 0 or a negative errno. */
int proc_start_ticks(const char *proc, pid_t pid, uint64_t *ticks);

/* Neither a thread of the kernel nor one that has ended and is not waited for yet. */
bool proc_is_program(const char *proc, pid_t pid);

/* Whether it is about to end, or has ended: it lets go of its memory and then of its descriptors
 * before its end is an event. */
bool proc_is_exiting(const char *proc, pid_t pid);

/* How it ended, if it has and nobody has waited for it yet, or that it lives on (then whoever let
 * go of it is detached). Unknown when it has gone, or when we may not know. */
void proc_ending(const char *proc, pid_t pid, uint64_t start_ticks, struct ending *ending);

/* The same from the status that wait(2) gives. */
void proc_ending_decode(int status, struct ending *ending);

/* The name, as the kernel has it; empty if the process is gone. */
void proc_comm(const char *proc, pid_t pid, char comm[16]);

/* The path of its cgroup: of the unified hierarchy, or where there is none of the first
 * controller's. A new string of any bytes but newlines, not empty; NULL if it is not known. From
 * Linux 6.7 this takes no lock; before, one that no process can hold. */
char *proc_cgroup(const char *proc, pid_t pid);

/* The process of a thread id. 0 or a negative errno. */
int proc_thread_group(const char *proc, pid_t tid, pid_t *pid);

/* The number that the process itself goes by, in its own pid namespace. */
int proc_innermost_pid(const char *proc, pid_t pid, pid_t *inner);

/* The effective user and group. 0 or a negative errno. */
int proc_ids(const char *proc, pid_t pid, uid_t *uid, gid_t *gid);

/* Whether a thread is in this group by its list of further groups, which a file system is not told
 * of. */
bool proc_in_group(const char *proc, pid_t tid, gid_t group);

/* The start in ns since boot, suspended time included, and the clocks to compare it with. */
uint64_t proc_ticks_to_boot_ns(uint64_t ticks);

/* Whether a file with this inode number is mapped. May wait for the process's memory lock: not for
 * the loop. */
bool proc_maps_inode(const char *proc, pid_t pid, ino_t inode);

/* A descriptor of the address space that a process has now, which is for proc_memory_is_gone(); -1:
 * not to be had. May wait for an exec: not for the loop. */
int proc_memory_open(const char *proc, pid_t pid);

/* Whether nobody has it any more: the process has called exec, or ends. Waits for nothing. */
bool proc_memory_is_gone(int memory);

/* The moment of a start in ns since the epoch. */
uint64_t proc_ticks_to_epoch_ns(uint64_t ticks);

#endif
