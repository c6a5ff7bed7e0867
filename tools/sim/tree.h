/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of ttmem-fake-driver. Whoever changes it holds its lock; who reads it needs none, because
 * files are only ever replaced. What goes wrong ends the process with a message.
 */
#ifndef TTMEM_SIM_TREE_H
#define TTMEM_SIM_TREE_H

#include <limits.h>
#include <stdio.h>

/* The lock is the caller's until tree_unlock(). */
int tree_lock(const char *root);
void tree_unlock(int lock);

void tree_write(const char *path, const char *text);

/* The file's text, for the caller to free, or NULL if there is no such file. */
char *tree_read(const char *path);

/* snprintf() into an array of PATH_MAX bytes. */
#define tree_path(path, ...) tree_check_path(path, snprintf(path, PATH_MAX, __VA_ARGS__))
void tree_check_path(const char *path, int length);

/* Puts this process into the pids files of its devices, or takes it out. */
void tree_hold(const char *root, const unsigned *devices, unsigned n);
void tree_leave(const char *root, const unsigned *devices, unsigned n);

#endif
